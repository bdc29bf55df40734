"""The secondary keys of big tables are made after their rows, and nobody can tell afterwards."""

import contextlib
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from compare import differences, snapshot
from spoqplus_backup.core.errors import IntegrityError
from spoqplus_backup.core.mysql import deferred
from spoqplus_backup.core.mysql.deferred import DeferredKeys
from spoqplus_backup.core.mysql.rows import RowSession
from spoqplus_backup.core.mysql.sandbox import SandboxServer
from spoqplus_backup.core.mysql.server import Row, StatementError
from spoqplus_backup.core.recovery import restore as recovery
from support import hard_data
from support.backups import Site, database_record, make_site
from support.connections import FixedConnections
from support.servers import rows

pytestmark = pytest.mark.integration

TABLES = (
    """CREATE TABLE clubs (id INT AUTO_INCREMENT PRIMARY KEY, code VARCHAR(20) NOT NULL, area INT, city INT,
        UNIQUE KEY uk_code (code), KEY ix_area (area, city), KEY ix_city (city))""",
    """CREATE TABLE visits (id BIGINT AUTO_INCREMENT PRIMARY KEY, club INT NOT NULL, guest INT, note VARCHAR(200),
        KEY z_first (note(10)), KEY `odd ``name` (guest, club) COMMENT 'it''s; KEY `x` (a),',
        UNIQUE KEY maybe (guest, id), KEY ix_club (club), KEY a_last (note(20), id),
        CONSTRAINT fk_club FOREIGN KEY (club) REFERENCES clubs (id) ON DELETE CASCADE,
        CONSTRAINT a_before FOREIGN KEY (guest) REFERENCES visits_of (id) ON DELETE SET NULL)""",
    "CREATE TABLE visits_of (id INT PRIMARY KEY, name VARCHAR(20), KEY ix_name (name))",
    """CREATE TABLE by_code (id INT PRIMARY KEY, code VARCHAR(20), other INT, KEY ix_other (other),
        CONSTRAINT by_code FOREIGN KEY (code) REFERENCES clubs (code))""",
    "CREATE TABLE counted (id INT NOT NULL AUTO_INCREMENT, a INT PRIMARY KEY, KEY ix_counted (id), KEY ix_a (a, id))",
    """CREATE TABLE words (id INT PRIMARY KEY, text TEXT, place POINT NOT NULL, n INT,
        KEY ix_n (n), FULLTEXT KEY ft (text), SPATIAL KEY sp (place), UNIQUE KEY uk_n (n, id))""",
    """CREATE TABLE computed_too (id INT PRIMARY KEY, a INT, b INT GENERATED ALWAYS AS (a + 1) STORED, KEY ix_b (b))""",
    """CREATE TABLE split (id INT, day INT, n INT, PRIMARY KEY (id, day), KEY ix_n (n), UNIQUE KEY uk_n (n, day, id))
        PARTITION BY RANGE (day) (PARTITION p0 VALUES LESS THAN (10), PARTITION p1 VALUES LESS THAN MAXVALUE)""",
    "CREATE TABLE keyless (a INT NOT NULL, b INT, UNIQUE KEY uk_a (a), KEY ix_b (b))",
    "CREATE TABLE tree (id INT PRIMARY KEY, parent INT, KEY up (parent), "
    "CONSTRAINT up FOREIGN KEY (parent) REFERENCES tree (id))",
)
ROWS = (
    "INSERT INTO clubs VALUES (5, 'a', 1, 1), (7, 'b', 2, NULL)",
    "DELETE FROM clubs WHERE id = 0",
    "INSERT INTO visits_of VALUES (1, 'x'), (2, NULL)",
    "INSERT INTO visits VALUES (1, 5, 1, 'one'), (9, 7, NULL, NULL), (10, 7, NULL, NULL)",
    "INSERT INTO by_code VALUES (1, 'a', 1), (2, NULL, 2)",
    "INSERT INTO counted VALUES (1, 1), (2, 2)",
    "INSERT INTO words VALUES (1, '회원 club', ST_GeomFromText('POINT(1 2)'), 1)",
    "INSERT INTO computed_too (id, a) VALUES (1, 1)",
    "INSERT INTO split VALUES (1, 1, 1), (2, 20, 1)",
    "INSERT INTO keyless VALUES (1, 1)",
    "INSERT INTO tree VALUES (1, NULL), (2, 1)",
    "ALTER TABLE clubs AUTO_INCREMENT = 1000",
)
DEFERRED = {"clubs": False, "visits": True, "visits_of": True, "by_code": True, "computed_too": False}


@pytest.fixture(autouse=True)
def _every_table_is_big(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("spoqplus_backup.core.mysql.load.DEFER_BYTES", 1)


@pytest.fixture
def source(db_server: SandboxServer) -> SandboxServer:
    connection = db_server.connect()
    for statement in (
        "CREATE DATABASE spoqplus",
        "USE spoqplus",
        "SET SESSION foreign_key_checks = 0",
        *TABLES,
        *ROWS,
    ):
        rows(connection, statement)
    return db_server


@pytest.fixture
def site(source: SandboxServer, restore_target: SandboxServer, tmp_path: Path) -> Site:
    site = make_site(tmp_path, source, restore_target)
    site.back_up()
    return site


@pytest.fixture
def session(source: SandboxServer) -> Iterator[RowSession]:
    login = FixedConnections(database_record("here", source)).database("here")
    session = RowSession(login, source.flavour, binary_log=False)
    yield session
    session.close()


def observed(server: SandboxServer) -> Any:
    return snapshot(server.connect(), ("spoqplus",), accounts=False)


def test_tables_come_back_identical(source: SandboxServer, restore_target: SandboxServer, site: Site) -> None:
    site.restore()
    assert differences(observed(source), observed(restore_target)) == []


def test_hard_data_come_back_identical(db_server: SandboxServer, restore_target: SandboxServer, tmp_path: Path) -> None:
    names = hard_data.build(db_server, small_tables=20, big_row_mib=1)
    before = snapshot(db_server.connect(), names, accounts=False)
    site = make_site(tmp_path, db_server, restore_target)
    site.back_up()
    site.restore()
    assert differences(before, snapshot(restore_target.connect(), names, accounts=False)) == []


def test_which_tables_lose_their_keys_for_a_while(session: RowSession) -> None:
    session.use("spoqplus")
    found = deferred.references(session)
    for table, expected in DEFERRED.items():
        keys = deferred.without_keys(session, "spoqplus", table)
        assert (keys is not None and not deferred.is_referenced(keys, found)) is expected, table


@pytest.mark.parametrize(
    "statement",
    [
        "INSERT INTO visits VALUES (100, 999, NULL, NULL)",
        "INSERT INTO visits VALUES (100, 5, 999, NULL)",
        "INSERT INTO by_code VALUES (100, 'nowhere', 1)",
        "DELETE FROM tree WHERE id = 1",
    ],
)
def test_foreign_keys_hold_afterwards(restore_target: SandboxServer, site: Site, statement: str) -> None:
    site.restore()
    with pytest.raises(Exception, match="foreign key constraint fails"):
        rows(restore_target.connect(database="spoqplus"), statement)
    rows(restore_target.connect(database="spoqplus"), "DELETE FROM clubs WHERE id = 7")
    assert rows(restore_target.connect(), "SELECT id FROM spoqplus.visits") == [(1,)], "cascaded"


def test_a_value_that_is_there_twice_is_refused(session: RowSession) -> None:
    session.rows("CREATE TABLE spoqplus.twice (id INT PRIMARY KEY, n INT NOT NULL, UNIQUE KEY uk_n (n))")
    keys = deferred.without_keys(session, "spoqplus", "twice")
    assert keys is not None
    assert deferred.take_away(session, keys)
    session.rows("INSERT INTO twice VALUES (1, 1), (2, 1)")
    with pytest.raises(StatementError, match="Duplicate entry '1'"):
        keys.restore(session)


def test_who_loses_against_another_alter_table_begins_again() -> None:
    class Losing(RowSession):
        def __init__(self, code: int) -> None:
            self.code = code
            self.asked: list[str] = []

        def use(self, database: str) -> None:
            pass

        def rows(self, statement: str) -> list[Row]:
            self.asked.append(statement)
            if statement.startswith("ALTER") and len(self.asked) < 3:
                raise StatementError("lost", self.code)
            return [("t", "as it was")]

    keys = DeferredKeys("d", "t", "as it was", "ALTER away", ("ALTER back",))
    losing = Losing(1213)
    keys.restore(losing)
    assert losing.asked == ["ALTER back"] * 3 + ["SHOW CREATE TABLE `t`"]
    with pytest.raises(StatementError, match="lost"):
        keys.restore(Losing(1062))


def test_a_table_that_comes_out_otherwise_is_an_error(session: RowSession) -> None:
    session.rows("CREATE TABLE spoqplus.changed (id INT PRIMARY KEY, n INT, KEY ix_n (n))")
    keys = deferred.without_keys(session, "spoqplus", "changed")
    assert keys is not None
    assert deferred.take_away(session, keys)
    session.rows("ALTER TABLE changed ADD KEY foreign_to_us (n, id)")
    with pytest.raises(IntegrityError, match=r"spoqplus\.changed is not what it was"):
        keys.restore(session)


def test_a_table_whose_keys_can_not_go_is_made_anew(
    source: SandboxServer, restore_target: SandboxServer, site: Site, monkeypatch: pytest.MonkeyPatch
) -> None:
    def half_way(session: RowSession, keys: DeferredKeys) -> bool:
        session.use(keys.database)
        with contextlib.suppress(StatementError):
            session.rows(keys.drop)
        return False

    monkeypatch.setattr("spoqplus_backup.core.mysql.load.take_away", half_way)
    site.restore()
    assert differences(observed(source), observed(restore_target)) == []


def test_a_load_that_broke_off_before_the_keys_goes_on(
    source: SandboxServer, restore_target: SandboxServer, site: Site, monkeypatch: pytest.MonkeyPatch
) -> None:
    def lost(self: DeferredKeys, session: RowSession) -> None:
        raise StatementError("the server has gone away", 2006)

    plan = site.plan()
    recovery.fetch(site.settings, site.connections, plan)
    with monkeypatch.context() as patched:
        patched.setattr(DeferredKeys, "restore", lost)
        with pytest.raises(StatementError, match="gone away"):
            recovery.load_set(site.settings, site.connections, plan, 1)
    recovery.load_set(site.settings, site.connections, plan, 1)
    recovery.verify_restored(site.settings, site.connections, plan)
    assert differences(observed(source), observed(restore_target)) == []
