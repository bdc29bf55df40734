"""The measures that other tests trust: the hard data set, the comparison of two servers, the writer."""

import copy

import pytest

import compare
from spoqplus_backup.core.mysql.sandbox import SandboxServer
from support import hard_data, writer
from support.servers import quoted, rows

pytestmark = pytest.mark.integration


def observed(server: SandboxServer) -> compare.Snapshot:
    connection = server.connect()
    try:
        return compare.snapshot(connection, hard_data.DATABASES)
    finally:
        connection.close()


def changed(server: SandboxServer, before: compare.Snapshot, *statements: str) -> list[str]:
    """The differences that these statements, run in the main database, make."""
    connection = server.connect(database=hard_data.MAIN)
    try:
        for statement in statements:
            rows(connection, statement)
    finally:
        connection.close()
    return compare.differences(before, observed(server))


@pytest.fixture
def hard_server(db_server: SandboxServer) -> SandboxServer:
    hard_data.build(db_server, small_tables=20, big_row_mib=1)
    return db_server


def test_data_set_holds_every_kind_of_object(hard_server: SandboxServer) -> None:
    seen = observed(hard_server)
    assert len(seen["database"]) == len(hard_data.DATABASES)
    assert len(seen["table"]) >= 75
    assert {f"{hard_data.ODD}.{name}" for name in hard_data.ODD_TABLES} <= seen["table"].keys()
    for kind, least in {"view": 15, "trigger": 10, "routine": 10, "event": 4, "account": 6}.items():
        assert len(seen[kind]) >= least, kind
    own = "sequence" if hard_server.flavour == "mariadb" else "library"
    assert seen[own]
    assert seen["table"]["spoq_hard.no_rows"]["rows"]["count"] == 0
    assert seen["table"]["spoq_hard.no_key"]["rows"]["count"] == 6
    assert seen["view"]["spoq_hard.of_a_ghost"]["rows"] == "error 1449"


def test_big_row_is_as_big_as_asked_for(db_server: SandboxServer) -> None:
    hard_data.build(db_server, small_tables=0, big_row_mib=64)
    connection = db_server.connect(database=hard_data.MAIN)
    assert rows(connection, "SELECT MAX(LENGTH(body)) FROM big_rows") == [(64 << 20,)]
    connection.close()


def test_nothing_differs_from_itself(hard_server: SandboxServer) -> None:
    before = observed(hard_server)
    assert compare.differences(before, observed(hard_server)) == []
    assert changed(hard_server, before, "ANALYZE TABLE texts", "FLUSH TABLES", "SET GLOBAL time_zone = '+09:00'") == []
    changed(hard_server, before, "SET GLOBAL time_zone = 'SYSTEM'")


# one statement, and the words that the comparison has to find for it
CHANGES = (
    (
        "UPDATE bytes SET big = INSERT(big, 25000, 1, CHAR(ASCII(SUBSTR(big, 25000, 1)) ^ 1)) WHERE id = 1",
        "table spoq_hard.bytes",
    ),
    (
        "UPDATE big_rows SET body = CONCAT(SUBSTR(body, 1, 1000000), 'x', SUBSTR(body, 1000002)) WHERE id = 2",
        "big_rows: rows",
    ),
    ("DELETE FROM no_key WHERE name = '같은' LIMIT 1", "table spoq_hard.no_key: rows was {'count': 6"),
    ("UPDATE no_key SET amount = 2 WHERE name = '같은' LIMIT 2", "table spoq_hard.no_key: rows"),
    ("UPDATE no_key SET name = '' WHERE name IS NULL LIMIT 1", "table spoq_hard.no_key: rows"),
    ("UPDATE invisible SET hidden_too = 101 WHERE id = 1", "table spoq_hard.invisible: rows"),
    ("UPDATE times SET fine = fine + INTERVAL 1 MICROSECOND, touched = touched WHERE id = 1", "spoq_hard.times: rows"),
    ("UPDATE times SET day = '0000-00-01', touched = touched WHERE id = 10", "spoq_hard.times: rows"),
    ("UPDATE numbers SET many = many ^ 1 WHERE one = b'1' LIMIT 1", "spoq_hard.numbers: rows"),
    ("UPDATE numbers SET exact = exact + 1e-30 WHERE exact = 0", "spoq_hard.numbers: rows"),
    ("UPDATE texts SET short = CONCAT(short, ' ') WHERE id = 1", "spoq_hard.texts: rows"),
    ("UPDATE choices SET one = 0 WHERE id = 1", "spoq_hard.choices: rows"),
    ("UPDATE places SET any_kind = ST_GeomFromText('POINT(1 2)', 0) WHERE id = 1", "spoq_hard.places: rows"),
    ("ALTER TABLE computed DROP CHECK `check it's > 0`", "spoq_hard.computed: definition"),
    ("ALTER TABLE cycle_a DROP FOREIGN KEY to_b", "spoq_hard.cycle_a: definition"),
    ("ALTER TABLE by_range TRUNCATE PARTITION rest", "spoq_hard.by_range: rows was {'count': 3"),
    ("DROP TABLE my_isam", "table spoq_hard.my_isam is missing"),
    ("DROP TRIGGER guarded_bi_0", "trigger spoq_hard.guarded_bi_0 is missing"),
    (
        "CREATE OR REPLACE VIEW counted AS SELECT name, COUNT(*) + 0 AS n FROM no_key GROUP BY name",
        "view spoq_hard.counted",
    ),
    ("ALTER EVENT nightly DISABLE", "event spoq_hard.nightly"),
    ("ALTER PROCEDURE one_line COMMENT 'other'", "routine spoq_hard.one_line (procedure)"),
    ("DROP FUNCTION doubled", "routine spoq_hard.doubled (function) is missing"),
    ("ALTER DATABASE latin1_db CHARACTER SET utf8mb4", "database latin1_db: charset"),
    ("REVOKE EXECUTE ON PROCEDURE looks_like_a_dump FROM 'app'@'%'", "account `app`@`%`: grants"),
    ("DROP ROLE readers", "account `readers`"),
)


def test_every_change_is_found(hard_server: SandboxServer) -> None:
    for statement, words in CHANGES:
        if hard_server.flavour == "mariadb":
            statement = statement.replace("DROP CHECK", "DROP CONSTRAINT")
        before = observed(hard_server)
        found = changed(hard_server, before, "SET SESSION sql_mode = '', foreign_key_checks = 0", statement)
        assert any(words in line for line in found), f"{statement}: {found}"


def test_a_trigger_that_fires_in_another_order_is_found(hard_server: SandboxServer) -> None:
    before = observed(hard_server)
    ((definition,),) = (rows(hard_server.connect(database=hard_data.MAIN), "SHOW CREATE TRIGGER guarded_bi")[0][2:3],)
    found = changed(hard_server, before, "DROP TRIGGER guarded_bi", definition)
    assert any("trigger spoq_hard.guarded_bi: order was 2, is 3" in line for line in found), found


def test_what_only_one_side_has_is_named() -> None:
    before: compare.Snapshot = {"table": {"d.a": {"rows": 1}, "d.b": {"rows": 2}}}
    after = copy.deepcopy(before)
    after["table"]["d.c"] = after["table"].pop("d.a")
    after["table"]["d.b"]["rows"] = 3
    assert compare.differences(before, after) == [
        "table d.a is missing",
        "table d.b: rows was 2, is 3",
        "table d.c is new",
    ]


def test_writer_tells_a_snapshot_from_a_careless_copy(db_server: SandboxServer) -> None:
    connection = db_server.connect()
    writer.create(connection, bulk_mib=1)
    with writer.Writer(db_server.connect) as writing:
        writer.copy_without_snapshot(connection, "careless", writing.wait_for)
        rows(connection, "SET SESSION TRANSACTION ISOLATION LEVEL REPEATABLE READ")
        rows(connection, "START TRANSACTION WITH CONSISTENT SNAPSHOT")
        writing.wait_for(10)
        assert writer.violations(connection) == []
        rows(connection, "COMMIT")
    assert writing.transactions > 10
    assert writer.violations(connection) == []
    assert len(writer.violations(connection, "careless")) >= 2
    rows(connection, f"DELETE FROM {quoted(writer.DATABASE)}.zz_entries LIMIT 1")
    assert "1 entries of ab_entries are not in zz_entries" in writer.violations(connection)
    connection.close()
