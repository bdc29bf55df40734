"""Tables copied next to production, and what differs between then and now."""

from collections.abc import Iterator

import pytest

from spoqplus_backup.core.errors import PermanentError
from spoqplus_backup.core.mysql import server
from spoqplus_backup.core.mysql.copy import copy_tables
from spoqplus_backup.core.mysql.difference import TableDifference, difference, differences
from spoqplus_backup.core.mysql.sandbox import SandboxServer
from spoqplus_backup.core.process import ProcessError
from support.servers import client_directory, login, rows

pytestmark = pytest.mark.integration

COLUMNS = """
    id INT, part VARCHAR(10), name VARCHAR(50), note TEXT, photo BLOB, flags BIT(5), level ENUM('a', 'B', 'b가'),
    paid DECIMAL(10, 3), score DOUBLE, born DATE, at DATETIME(6), doc JSON, place POINT,
    total INT GENERATED ALWAYS AS (id * 2) VIRTUAL
"""
ROW = (
    "(%s, 'x', '한글', 'Long ''text''', 0x00275C0A, b'10101', 'b가', 1.500, 0.1, '2025-01-31', "
    "'2025-01-31 03:00:00.123456', '{\"a\": [1, null]}', ST_GeomFromText('POINT(1 2)'), DEFAULT)"
)


@pytest.fixture
def connection(db_server: SandboxServer) -> Iterator[server.Connection]:
    """A server with a table as it was (schema `then`) and as it is now (schema `club`)."""
    made = db_server.connect()
    for schema in ("then", "club"):
        rows(made, f"CREATE DATABASE `{schema}`")
        rows(made, f"CREATE TABLE `{schema}`.`members` ({COLUMNS}, PRIMARY KEY (part, id))")
        for number in range(20):
            rows(made, f"INSERT INTO `{schema}`.`members` VALUES {ROW % number}")
    made.close()
    with server.connect(login(db_server)) as found:
        yield found


def counts(found: TableDifference) -> tuple[int, int, int, int]:
    return found.only_restored, found.only_current, found.changed, found.same


def test_equal_tables_do_not_differ(connection: server.Connection) -> None:
    assert counts(difference(connection, "club", "then", "members")) == (0, 0, 0, 20)


def test_deleted_added_and_changed_rows_are_counted_and_named(connection: server.Connection) -> None:
    connection.rows("DELETE FROM club.members WHERE id IN (3, 7)")
    connection.rows("UPDATE club.members SET paid = 1.501 WHERE id = 5")
    connection.rows(f"INSERT INTO club.members VALUES {ROW % 99}")
    found = difference(connection, "club", "then", "members")
    assert counts(found) == (2, 1, 1, 17)
    assert found.key == ("part", "id")
    assert found.samples == {"only_restored": ("x, 3", "x, 7"), "only_current": ("x, 99",), "changed": ("x, 5",)}


@pytest.mark.parametrize(
    "change",
    [
        "name = '한글 '",
        "note = 'long ''text'''",
        "note = NULL",
        "photo = 0x00275C0B",
        "flags = b'10100'",
        "level = 'B'",
        "score = 0.1000000001",
        "born = '2025-02-01'",
        "at = '2025-01-31 03:00:00.123457'",
        "doc = '{\"a\": [1, 0]}'",
        "place = ST_GeomFromText('POINT(1 3)')",
    ],
)
def test_every_type_is_compared_to_the_byte(connection: server.Connection, change: str) -> None:
    connection.rows(f"UPDATE club.members SET {change} WHERE id = 5")
    assert counts(difference(connection, "club", "then", "members")) == (0, 0, 1, 19)


def test_rows_without_a_key_are_compared_as_a_whole(connection: server.Connection) -> None:
    for schema in ("then", "club"):
        connection.rows(f"ALTER TABLE `{schema}`.members DROP PRIMARY KEY")
    connection.rows(f"INSERT INTO club.members VALUES {ROW % 4}")  # twice now
    connection.rows("UPDATE club.members SET photo = NULL WHERE id = 5")
    connection.rows("DELETE FROM club.members WHERE id = 6")
    found = difference(connection, "club", "then", "members")
    assert counts(found) == (2, 2, 0, 18)
    assert found.key == ()


def test_columns_that_only_one_has_are_named_and_the_others_compared(connection: server.Connection) -> None:
    connection.rows("ALTER TABLE club.members ADD email VARCHAR(50), DROP COLUMN note")
    found = difference(connection, "club", "then", "members")
    assert counts(found) == (0, 0, 0, 20)
    assert found.columns_differ == ("email", "note")


def test_a_table_that_was_dropped_is_wholly_gone(connection: server.Connection) -> None:
    connection.rows("DROP TABLE club.members")
    with pytest.raises(PermanentError, match=r"no table club\.members"):
        difference(connection, "club", "then", "members")
    (found,) = differences(connection, "then", [("club", "members")])
    assert counts(found) == (20, 0, 0, 0)


def test_tables_are_copied_next_to_those_in_use(
    connection: server.Connection, db_server: SandboxServer, restore_target: SandboxServer
) -> None:
    connection.rows("CREATE TRIGGER `then`.t BEFORE INSERT ON `then`.members FOR EACH ROW SET NEW.note = 'trigger'")
    connection.rows("CREATE TABLE `then`.`weird ``name-한글` (id INT) SELECT 7 AS id")
    for _ in range(2):  # a second time it begins anew
        copied = copy_tables(
            login(db_server),
            "then",
            ["members", "weird `name-한글"],
            login(restore_target),
            "club_20250131",
            flavour=db_server.flavour,
            client_directory=client_directory(db_server.flavour),
            binary_log=False,
        )
        assert copied > 0
    with server.connect(login(restore_target)) as target:
        there = server.objects(target, server.databases(target))
        assert {(item.kind, item.database, item.name) for item in there} == {
            ("table", "club_20250131", "members"),
            ("table", "club_20250131", "weird `name-한글"),
        }
        assert server.count_rows(target, "club_20250131", "members") == 20


def test_a_table_that_is_not_there_fails_the_copy_with_mysqldump_s_words(
    connection: server.Connection, db_server: SandboxServer, restore_target: SandboxServer
) -> None:
    with pytest.raises(ProcessError, match="nowhere"):
        copy_tables(
            login(db_server),
            "then",
            ["nowhere"],
            login(restore_target),
            "club_20250131",
            flavour=db_server.flavour,
            client_directory=client_directory(db_server.flavour),
            binary_log=False,
        )
