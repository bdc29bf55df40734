"""Fingerprints: one exact state of a server, every row and definition of it, and what differs from it elsewhere."""

import json
from pathlib import Path

import pytest

from spoqplus_backup.core.errors import BackupError
from spoqplus_backup.core.mysql import client, fingerprint
from spoqplus_backup.core.mysql.fingerprint import Fingerprint, Mismatch, Pace, compare, take
from spoqplus_backup.core.mysql.log_changes import LogChanges
from spoqplus_backup.core.mysql.sandbox import SandboxServer
from support import hard_data
from support.backups import make_site
from support.servers import client_directory, login, run, wait_until

pytestmark = pytest.mark.integration


def changes(server: SandboxServer, directory: Path) -> LogChanges:
    program = client.find("mysqlbinlog", client_directory(server.flavour), server.flavour)
    return LogChanges(program, login(server), directory, 60)


def taken(server: SandboxServer, directory: Path, pace: Pace | None = None, name: str = "fingerprint") -> Fingerprint:
    return take(login(server), directory / name, (), pace or Pace(), changes(server, directory), lock_ddl=True)


def differs(server: SandboxServer, directory: Path, expected: Fingerprint) -> Mismatch:
    return compare(expected, directory / "fingerprint", login(server))


class Meddling(Pace):
    """Does something at the first rest: while the snapshot is open and the first table is read."""

    def __init__(self, server: SandboxServer, *statements: str, fails: str = "") -> None:
        super().__init__()
        self.server, self.statements, self.fails = server, statements, fails

    def rest(self, where: str) -> None:
        super().rest(where)
        if self.statements:
            run(self.server, *self.statements)
            self.statements = ()
        if where == self.fails:
            raise BackupError(f"the connection was lost in {where}")


@pytest.fixture
def club(db_server: SandboxServer) -> SandboxServer:
    run(
        db_server,
        "CREATE DATABASE club",
        "CREATE TABLE club.a_first (id INT PRIMARY KEY, name VARCHAR(20))",
        "CREATE TABLE club.members (part CHAR(1), id INT, name VARCHAR(50), photo LONGBLOB, PRIMARY KEY (part, id))",
        "CREATE TABLE club.no_key (id INT, name VARCHAR(20))",
        "INSERT INTO club.a_first VALUES (1, 'x'), (2, 'y')",
        "INSERT INTO club.members VALUES ('a', 1, '김하나', 0x0027), ('a', 2, '이둘', NULL), ('b', 1, '박셋', ''), "
        "('b', 2, '최넷', 0x00)",
        "INSERT INTO club.no_key VALUES (1, 'x'), (1, 'x'), (2, NULL)",
    )
    return db_server


def test_a_server_is_the_same_as_its_own_fingerprint(db_server: SandboxServer, tmp_path: Path) -> None:
    hard_data.build(db_server, small_tables=20, big_row_mib=1)
    found = taken(db_server, tmp_path)
    assert found.rows > 200
    assert len({table.full_name for table in found.tables}) >= 75
    assert {name.partition(" ")[0] for name in found.definitions} >= {"table", "view", "trigger", "event", "database"}
    assert differs(db_server, tmp_path, found).same


def test_what_differs_is_named_with_counts_and_keys(club: SandboxServer, tmp_path: Path) -> None:
    found = taken(club, tmp_path)
    run(
        club,
        "DELETE FROM club.members WHERE part = 'a' AND id = 2",
        "UPDATE club.members SET photo = 0x01 WHERE part = 'b' AND id = 2",
        "INSERT INTO club.members VALUES ('c', 9, '새', NULL), ('c', 10, '새', NULL)",
        "DROP TABLE club.a_first",
        "CREATE TABLE club.of_a_stranger (id INT PRIMARY KEY)",
    )
    (first, members, stranger) = differs(club, tmp_path, found).tables
    assert (first.table, first.expected_rows, first.found_rows) == ("club.a_first", 2, None)
    assert (members.table, members.expected_rows, members.found_rows) == ("club.members", 4, 5)
    assert [json.loads(key) for key in members.missing] == [["a", "2"]]
    assert [json.loads(key) for key in members.changed] == [["b", "2"]]
    assert [json.loads(key) for key in members.unexpected] == [["c", "9"], ["c", "10"]]
    assert (stranger.table, stranger.expected_rows, stranger.found_rows) == ("club.of_a_stranger", 0, 0)


@pytest.mark.parametrize(
    "change",
    [
        "UPDATE club.members SET name = '김하나 ' WHERE part = 'a' AND id = 1",
        "UPDATE club.members SET photo = '' WHERE part = 'a' AND id = 2",
        "UPDATE club.members SET photo = NULL WHERE part = 'b' AND id = 1",
        "UPDATE club.no_key SET name = '' WHERE id = 2",
        "DELETE FROM club.no_key WHERE id = 1 LIMIT 1",
        "INSERT INTO club.no_key VALUES (2, NULL)",
    ],
)
def test_one_changed_value_is_seen(club: SandboxServer, tmp_path: Path, change: str) -> None:
    found = taken(club, tmp_path)
    run(club, change)
    (table,) = differs(club, tmp_path, found).tables
    assert table.table in change


def test_the_order_of_rows_without_a_key_does_not_count(club: SandboxServer, tmp_path: Path) -> None:
    found = taken(club, tmp_path)
    run(club, "DELETE FROM club.no_key", "INSERT INTO club.no_key VALUES (2, NULL), (1, 'x'), (1, 'x')")
    assert differs(club, tmp_path, found).same


@pytest.mark.parametrize(
    ("statement", "said"),
    [
        ("ALTER TABLE club.members ADD KEY (name)", {"table club.members": "changed"}),
        ("CREATE VIEW club.seen AS SELECT 1", {"view club.seen": "unexpected"}),
        ("DROP TRIGGER club.greet", {"trigger club.greet": "missing"}),
        ("ALTER DATABASE club CHARACTER SET ascii", {"database club": "changed"}),
    ],
)
def test_definitions_that_differ_are_named(
    club: SandboxServer, tmp_path: Path, statement: str, said: dict[str, str]
) -> None:
    run(club, "CREATE TRIGGER club.greet BEFORE INSERT ON club.no_key FOR EACH ROW SET NEW.name = 'hi'")
    found = taken(club, tmp_path)
    run(club, statement)
    assert differs(club, tmp_path, found).definitions == said


def test_what_is_written_meanwhile_is_not_of_the_snapshot(club: SandboxServer, tmp_path: Path) -> None:
    found = taken(club, tmp_path, Meddling(club, "DELETE FROM club.members", "INSERT INTO club.no_key VALUES (7, '')"))
    (members, no_key) = differs(club, tmp_path, found).tables
    assert (members.expected_rows, members.found_rows) == (4, 0)
    assert (no_key.expected_rows, no_key.found_rows) == (3, 4)


def test_the_next_try_keeps_the_tables_that_nobody_changed(club: SandboxServer, tmp_path: Path) -> None:
    with pytest.raises(BackupError, match="lost in club.no_key"):
        taken(club, tmp_path, Meddling(club, "UPDATE club.members SET name = 'new'", fails="club.no_key"))
    run(club, "FLUSH BINARY LOGS", "INSERT INTO club.no_key VALUES (8, '')")
    found = taken(club, tmp_path)
    assert found.kept == 1, "a_first: members was changed, no_key was changed behind the place of the first try"
    assert differs(club, tmp_path, found).same
    assert {table.full_name: table.rows for table in found.tables}["club.no_key"] == 4


def test_a_try_after_a_statement_about_tables_keeps_none(club: SandboxServer, tmp_path: Path) -> None:
    with pytest.raises(BackupError, match="lost"):
        taken(club, tmp_path, Meddling(club, fails="club.no_key"))
    run(club, "TRUNCATE TABLE club.a_first")
    found = taken(club, tmp_path)
    assert found.kept == 0
    assert differs(club, tmp_path, found).same


def test_a_try_whose_logs_are_gone_keeps_none(club: SandboxServer, tmp_path: Path) -> None:
    with pytest.raises(BackupError, match="lost"):
        taken(club, tmp_path, Meddling(club, fails="club.no_key"))
    run(club, "FLUSH BINARY LOGS", "FLUSH BINARY LOGS")
    newest = run(club, "SHOW BINARY LOGS")[-1][0]

    def purged() -> bool:  # MariaDB holds a log until its checkpoint has moved on
        run(club, f"PURGE BINARY LOGS TO '{newest}'")
        return len(run(club, "SHOW BINARY LOGS")) == 1

    wait_until(purged, 20, "the server to let go of its logs")
    assert taken(club, tmp_path).kept == 0


def test_a_fingerprint_that_is_there_is_not_taken_again(club: SandboxServer, tmp_path: Path) -> None:
    found = taken(club, tmp_path)
    run(club, "DELETE FROM club.members")
    assert taken(club, tmp_path) == found


def test_it_ends_when_the_time_is_over_and_says_what_to_do(club: SandboxServer, tmp_path: Path) -> None:
    with pytest.raises(BackupError, match=r"Reading club\.a_first was ended.*recovery_test\.fingerprint"):
        taken(club, tmp_path, Pace(seconds=0))


def test_many_missing_rows_are_paired_in_constant_memory(
    club: SandboxServer, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(fingerprint, "HELD_ROWS", 10)
    values = ", ".join(f"('m', {number}, '', NULL)" for number in range(200))
    run(club, f"INSERT INTO club.members VALUES {values}")
    found = taken(club, tmp_path)
    run(club, "DELETE FROM club.members WHERE part = 'm' AND id < 100")
    (members,) = differs(club, tmp_path, found).tables
    assert (members.expected_rows, members.found_rows) == (204, 104)
    assert [json.loads(key)[1] for key in members.missing] == ["0", "1", "2", "3", "4"]


def test_the_rows_are_readable_by_their_owner_alone(club: SandboxServer, tmp_path: Path) -> None:
    taken(club, tmp_path)
    files = list((tmp_path / "fingerprint").glob("*.rows.zst"))
    assert len(files) == 2
    assert {path.stat().st_mode & 0o777 for path in files} == {0o600}


def test_a_restored_server_equals_the_one_that_was_backed_up(
    db_server: SandboxServer, restore_target: SandboxServer, tmp_path: Path
) -> None:
    hard_data.build(db_server, small_tables=20, big_row_mib=1)
    found = taken(db_server, tmp_path)
    site = make_site(tmp_path, db_server, restore_target)
    site.back_up()
    site.restore(components=["accounts", "database"])
    assert differs(restore_target, tmp_path, found) == Mismatch(tables=(), definitions={}, rows=found.rows)
