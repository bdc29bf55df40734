"""Rows that meet others' locks on their way into a table."""

from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from typing import Any

import pytest

from compare import rows
from spoqplus_backup.core.mysql import rows as row_sessions
from spoqplus_backup.core.mysql.rows import RowSession
from spoqplus_backup.core.mysql.sandbox import SandboxServer
from spoqplus_backup.core.mysql.server import StatementError
from support.backups import database_record
from support.connections import FixedConnections
from support.servers import wait_until

pytestmark = pytest.mark.integration

WAITING = "SELECT COUNT(*) FROM information_schema.INNODB_TRX WHERE trx_state = 'LOCK WAIT'"
ROWS = b"INSERT INTO `visits` VALUES\n(1,'one'),\n(2,'two');\n"


@pytest.fixture
def session(db_server: SandboxServer) -> Iterator[RowSession]:
    connection = db_server.connect()
    rows(connection, "CREATE DATABASE spoqplus")
    rows(connection, "CREATE TABLE spoqplus.visits (id INT PRIMARY KEY, note VARCHAR(20))")
    rows(connection, "CREATE TABLE spoqplus.others (id INT PRIMARY KEY)")
    login = FixedConnections(database_record("here", db_server)).database("here")
    session = RowSession(login, db_server.flavour, binary_log=False)
    session.use("spoqplus")
    yield session
    session.close()


@pytest.fixture
def heavy(db_server: SandboxServer, session: RowSession) -> Any:
    """A transaction that has changed so much that a deadlock is another's loss; it holds the second row."""
    rows(db_server.connect(), "INSERT INTO spoqplus.visits VALUES (9, 'no table is empty')")
    connection = db_server.connect(autocommit=False, db="spoqplus")
    rows(connection, "INSERT INTO others VALUES " + ", ".join(f"({number})" for number in range(500)))
    rows(connection, "INSERT INTO visits VALUES (2, 'second')")
    return connection


def is_waiting(server: SandboxServer) -> bool:
    return rows(server.connect(), WAITING)[0][0] > 0


def test_rows_that_lose_a_deadlock_are_inserted_again_once(
    db_server: SandboxServer, session: RowSession, heavy: Any, caplog: pytest.LogCaptureFixture
) -> None:
    caplog.set_level("INFO")
    with ThreadPoolExecutor(1) as pool:
        inserted = pool.submit(session.insert, [ROWS])
        wait_until(lambda: is_waiting(db_server), 10, "the rows to wait for the second one")
        rows(heavy, "INSERT INTO visits VALUES (1, 'first')")  # each waits for the other now
        heavy.rollback()
        inserted.result(timeout=20)
    assert "Deadlock" in caplog.text
    there = rows(db_server.connect(), "SELECT id, note FROM spoqplus.visits ORDER BY id")
    assert there == [(1, "one"), (2, "two"), (9, "no table is empty")]


def test_who_loses_time_and_again_gets_the_servers_words(
    db_server: SandboxServer, session: RowSession, heavy: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(row_sessions, "PAUSE_SECONDS", 0)
    monkeypatch.setattr(row_sessions, "TRIES", 2)
    session.rows("SET SESSION innodb_lock_wait_timeout = 1")
    with pytest.raises(StatementError, match=r"Lock wait timeout .*1205"):
        session.insert([ROWS])
    heavy.rollback()
    assert [number for (number,) in rows(db_server.connect(), "SELECT id FROM spoqplus.visits")] == [9]
