"""The bad transaction is found in the archived logs, with exact numbers of rows, on both vendors' real servers."""

import json
from datetime import timedelta
from pathlib import Path
from typing import Any

import pytest

from spoqplus_backup.core.errors import SettingsError
from spoqplus_backup.core.mysql.sandbox import SandboxServer
from spoqplus_backup.core.recovery.archived import ArchivedLogs
from spoqplus_backup.core.recovery.find import Candidate, Effort, find, read_search
from spoqplus_backup.core.repository.opener import open_repositories
from support.backups import Site, make_site
from support.servers import rows

pytestmark = pytest.mark.integration

COLUMNS = """
    id INT PRIMARY KEY, tiny TINYINT, small SMALLINT UNSIGNED, medium MEDIUMINT, big BIGINT, flag BIT(1), bits BIT(37),
    f FLOAT, d DOUBLE, price DECIMAL(10,2), huge DECIMAL(65,30), whole DECIMAL(9,0), y YEAR, day DATE, at DATETIME,
    at6 DATETIME(6), at3 DATETIME(3), stamp TIMESTAMP NULL, stamp5 TIMESTAMP(5) NULL, t TIME, t2 TIME(2), c CHAR(3),
    c255 CHAR(255) CHARACTER SET utf8mb4, v VARCHAR(20), v300 VARCHAR(300), b BINARY(16), vb VARBINARY(2000),
    e ENUM('a','b'), s SET('x','y','z'), tt TINYTEXT, tx TEXT, mt MEDIUMTEXT, lt LONGTEXT, tb TINYBLOB, lb LONGBLOB,
    j JSON, p POINT, g GEOMETRY
"""
OWN = {"mariadb": ", u UUID, i INET6, vc VARCHAR(500) COMPRESSED, tc TEXT COMPRESSED", "mysql": ", ve VECTOR(5)"}
VALUES = {
    "tiny": "1", "small": "65535", "medium": "-8388608", "big": "-1", "flag": "b'1'", "bits": "b'101'", "f": "1.5",
    "d": "-2.5", "price": "-12.34", "huge": "123.456", "whole": "999999999", "y": "2026", "day": "'2026-01-02'",
    "at": "'2026-01-02 03:04:05'", "at6": "'2026-01-02 03:04:05.678901'", "at3": "'2026-01-02 03:04:05.678'",
    "stamp": "'2026-01-02 03:04:05'", "stamp5": "'2026-01-02 03:04:05.5'", "t": "'-12:00:00'", "t2": "'12:00:00.25'",
    "c": "'abc'", "c255": "REPEAT('🏸', 255)", "v": "'김철수'", "v300": "REPEAT('x', 300)", "b": "REPEAT('b', 16)",
    "vb": "REPEAT('v', 1999)", "e": "'b'", "s": "'x,z'", "tt": "'tiny'", "tx": "REPEAT('t', 5000)",
    "mt": "REPEAT('m', 70000)", "lt": "''", "tb": "x'00ff'", "lb": "REPEAT('l', 200000)",
    "j": """'{"a": [1, 2, {"b": "c"}]}'""", "p": "ST_GeomFromText('POINT(1 2)')",
    "g": "ST_GeomFromText('LINESTRING(0 0, 1 1, 2 2)')",
}  # fmt: skip
OWN_VALUES = {
    "mariadb": {"u": "UUID()", "i": "'::1'", "vc": "REPEAT('c', 400)", "tc": "REPEAT('d', 4000)"},
    "mysql": {"ve": "TO_VECTOR('[1,2,3,4,5]')"},
}


def run(connection: Any, *statements: str) -> None:
    for statement in statements:
        rows(connection, statement)


def search(site: Site, tables: str, kinds: str = "", **options: Any) -> tuple[list[Candidate], Effort]:
    repository = open_repositories(site.settings, site.connections)[0]
    logs = ArchivedLogs(site.settings, site.connections, repository)
    effort = Effort()
    since, until = options.pop("since", None), options.pop("until", None)
    wanted = read_search(tables.split(), kinds.split(), since, until, site.settings.timezone, **options)
    found = list(find(logs, wanted, effort))
    assert list((site.settings.staging.directory / "find").iterdir()) == [], "nothing is left on the disk"
    return found, effort


def told(candidates: list[Candidate]) -> list[tuple[str, str, int | None]]:
    return [(one.kind, one.table, one.rows) for candidate in candidates for one in candidate.found]


@pytest.fixture
def site(db_server: SandboxServer, tmp_path: Path) -> Site:
    run(db_server.connect(), "CREATE DATABASE spoqplus")
    return make_site(tmp_path, db_server)


def test_rows_of_all_types_are_counted(site: Site, db_server: SandboxServer) -> None:
    connection = db_server.connect()
    flavour = db_server.flavour
    values = VALUES | OWN_VALUES[flavour]
    names = ", ".join(f"`{name}`" for name in ("id", *values))
    run(connection, f"CREATE TABLE spoqplus.types ({COLUMNS}{OWN[flavour]})")

    def insert(ids: range, given: dict[str, str]) -> str:
        lines = ", ".join(f"({number}, {', '.join(given.values())})" for number in ids)
        return f"INSERT INTO spoqplus.types ({names}) VALUES {lines}"

    nulls = dict.fromkeys(values, "NULL")
    mixed = {name: value if number % 3 else "NULL" for number, (name, value) in enumerate(values.items())}
    run(connection, insert(range(7), values), insert(range(10, 21), nulls), insert(range(30, 43), mixed))
    run(connection, "UPDATE spoqplus.types SET small = small + 0, tx = CONCAT('again ', IFNULL(tx, '')), bits = b'1'")
    run(connection, "SET SESSION binlog_row_image = MINIMAL", "UPDATE spoqplus.types SET v = 'z', lb = REPEAT('q', 99)")
    run(connection, "DELETE FROM spoqplus.types WHERE id < 20", "SET SESSION binlog_row_image = FULL")
    if flavour == "mysql":
        run(
            connection,
            "SET SESSION binlog_row_value_options = PARTIAL_JSON",
            "UPDATE spoqplus.types SET j = JSON_SET(j, '$.a[0]', 9)",
            "SET SESSION binlog_transaction_compression = ON",
        )
    run(connection, "DELETE FROM spoqplus.types")
    site.archive()
    found, _ = search(site, "spoqplus.types", "insert update delete", newest_first=False)
    with_json = sum(1 for number in range(30, 43) if mixed["j"] != "NULL")
    assert told(found) == [
        ("insert", "spoqplus.types", 7),
        ("insert", "spoqplus.types", 11),
        ("insert", "spoqplus.types", 13),
        ("update", "spoqplus.types", 31),
        ("update", "spoqplus.types", 31),
        ("delete", "spoqplus.types", 17),
        *([("update", "spoqplus.types", with_json)] if flavour == "mysql" and with_json else []),
        ("delete", "spoqplus.types", 14),
    ]


def test_mariadb_s_compressed_events_are_counted(mariadb_server: SandboxServer, tmp_path: Path) -> None:
    from support.servers import empty

    empty(mariadb_server)
    connection = mariadb_server.connect()
    run(connection, "CREATE DATABASE spoqplus", "CREATE TABLE spoqplus.t (id INT PRIMARY KEY, v TEXT)")
    site = make_site(tmp_path, mariadb_server)
    run(connection, "SET GLOBAL log_bin_compress = ON, GLOBAL log_bin_compress_min_len = 10")
    try:
        run(
            mariadb_server.connect(),
            "INSERT INTO spoqplus.t SELECT seq, REPEAT('x', 1000) FROM spoqplus.seq_1_to_5000",
            "UPDATE spoqplus.t SET v = REPEAT('y', 100) WHERE id <= 1234",
            "DELETE FROM spoqplus.t",
        )
    finally:
        run(connection, "SET GLOBAL log_bin_compress = OFF")
    site.archive()
    found, _ = search(site, "spoqplus.t", "insert update delete", newest_first=False)
    assert [rows for _, _, rows in told(found)] == [5000, 1234, 5000]
    assert found[2].statement == "DELETE FROM spoqplus.t"


def test_definitions_are_found_by_their_statements(site: Site, db_server: SandboxServer) -> None:
    connection = db_server.connect()
    run(
        connection,
        "USE spoqplus",
        "CREATE TABLE members (id INT)",
        "CREATE TABLE `odd ``name` (id INT)",
        "CREATE TABLE other (id INT)",
        "TRUNCATE members",
        "ALTER TABLE other ADD members INT",
        "ALTER TABLE members ADD name TEXT",
        "RENAME TABLE members TO old, other TO members",
        "DROP TABLE old, members",
        "DROP TABLE `odd ``name`",
        "DROP DATABASE spoqplus",
    )
    site.archive()
    found, _ = search(site, "spoqplus.members", "ddl", newest_first=False)
    assert told(found) == [
        ("create", "spoqplus.members", None),
        ("truncate", "spoqplus.members", None),
        ("alter", "spoqplus.members", None),
        ("rename", "spoqplus.members", None),
        ("rename", "spoqplus.members", None),
        ("drop", "spoqplus.members", None),
        ("drop", "spoqplus.*", None),
    ]
    assert "TRUNCATE members" in found[1].statement
    assert told(search(site, "spoqplus.odd*", "drop")[0]) == [
        ("drop", "spoqplus.*", None),
        ("drop", "spoqplus.odd `name", None),
    ]
    assert told(search(site, "spoqplus.members")[0])[-1] == ("truncate", "spoqplus.members", None)


def test_statements_are_found_where_rows_are_not_logged(site: Site, db_server: SandboxServer) -> None:
    connection = db_server.connect()
    run(
        connection,
        "CREATE TABLE spoqplus.members (id INT PRIMARY KEY)",
        "INSERT INTO spoqplus.members VALUES (1), (2)",
        "SET SESSION binlog_format = STATEMENT",
        "USE spoqplus",
        "DELETE FROM members",
    )
    site.archive()
    (found,), _ = search(site, "spoqplus.members", "delete")
    assert found.statement == "DELETE FROM members"
    assert told([found]) == [("delete", "spoqplus.members", None)]


def test_sidecars_and_indexes_choose_what_is_read(site: Site, db_server: SandboxServer) -> None:
    connection = db_server.connect()
    run(connection, "CREATE TABLE spoqplus.members (id INT PRIMARY KEY)", "CREATE TABLE spoqplus.logs (id INT)")
    site.archive()
    run(connection, "INSERT INTO spoqplus.members VALUES (1), (2), (3)")
    site.archive()
    for number in range(3):
        run(connection, f"INSERT INTO spoqplus.logs VALUES ({number})", "DELETE FROM spoqplus.logs")
        site.archive()
    run(connection, "DELETE FROM spoqplus.members WHERE id = 1", "DELETE FROM spoqplus.members")
    site.archive()

    found, effort = search(site, "spoqplus.members", "delete")
    assert [rows for _, _, rows in told(found)] == [2, 1], "newest first"
    assert (effort.logs, effort.read) == (6, 1)
    oldest, effort = search(site, "spoqplus.members", "delete", newest_first=False, limit=1)
    assert oldest == [found[1]]
    every, effort = search(site, "spoqplus.*", "insert delete", limit=3)
    assert len(every) == 3
    assert effort.read == 2, "the rest was not needed"
    later = (found[0].at + timedelta(seconds=2)).isoformat()
    assert search(site, "spoqplus.*", "insert delete", since=later)[0] == []
    everything = search(site, "spoqplus.*", "insert delete", until=later, since=(found[1].at).isoformat())[0]
    assert found[0] in everything
    assert "spoqplus.members" in json.dumps(told(everything))
    expected = "DELETE FROM spoqplus.members"
    if db_server.flavour == "mysql":  # it does not log the statements of rows unless it is told to
        expected = "DELETE spoqplus.members (2 rows)"
    assert found[0].statement == expected
    assert found[0].point == found[0].gtid


@pytest.mark.parametrize(
    ("arguments", "words"),
    [
        ((["members"], [], None, None), "write database.table"),
        ((["a.b"], ["erase"], None, None), "choose of insert"),
        ((["a.b"], [], "long ago", None), "write a time such as"),
    ],
)
def test_a_search_that_can_t_be(arguments: Any, words: str) -> None:
    with pytest.raises(SettingsError, match=words):
        read_search(*arguments, "UTC")
