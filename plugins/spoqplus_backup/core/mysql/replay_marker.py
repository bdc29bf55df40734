"""What a replay has applied, noted at the target itself: in the transaction that it notes, where that can be."""

import contextlib
import hashlib
from collections.abc import Iterator
from dataclasses import dataclass
from typing import Literal

from spoqplus_backup.core.connections import DatabaseLogin
from spoqplus_backup.core.errors import PermanentError
from spoqplus_backup.core.mysql import binlog_events as events
from spoqplus_backup.core.mysql import server
from spoqplus_backup.core.mysql.binlog_events import Event, Kind
from spoqplus_backup.core.mysql.binlog_transactions import ROW_EVENTS, Transaction
from spoqplus_backup.core.mysql.binlog_write import SAFE_LOG_NAME

SCHEMA = "spoqplus_restore"
TABLE = "replayed"
NAME_CHARACTERS = 190

State = Literal["start", "intent", "done"]
Gtids = Literal["kept", "own"]

_FULL = f"`{SCHEMA}`.`{TABLE}`"
_CREATE = (
    f"CREATE DATABASE IF NOT EXISTS `{SCHEMA}`",
    f"CREATE TABLE IF NOT EXISTS {_FULL} (`id` CHAR(32) CHARACTER SET ascii PRIMARY KEY, "
    f"`name` VARCHAR({NAME_CHARACTERS}) CHARACTER SET utf8mb4 NOT NULL, `gtids` CHAR(4) CHARACTER SET ascii NOT NULL, "
    "`state` CHAR(6) CHARACTER SET ascii NOT NULL, `log` VARCHAR(255) CHARACTER SET ascii NOT NULL, "
    "`place` BIGINT NOT NULL) ENGINE=InnoDB",
)


class Notes:
    """Knows the notes of earlier replays among the events of a transaction: a server that was restored logged them."""

    def __init__(self) -> None:
        self._tables: set[int] = set()

    def has(self, event: Event) -> bool:
        """Whether an event is (part of) a note; asked for every event in order, of whose body 4 KiB do."""
        if event.kind == Kind.TABLE_MAP:
            number, database, _ = events.table_of(event)
            (self._tables.add if database == SCHEMA else self._tables.discard)(number)
            return number in self._tables
        if event.kind in ROW_EVENTS:
            return events.rows_table(event) in self._tables
        if event.kind in (Kind.QUERY, Kind.QUERY_COMPRESSED):
            return events.query(event).text.startswith(f"UPDATE {_FULL} ")
        return False


def noted_in(transaction: Transaction) -> bool:
    """Whether a transaction holds a note of a replay."""
    changed = any(database == SCHEMA for database, _ in transaction.changes)
    return changed or any(SCHEMA in text for _, text in transaction.statements)


@dataclass(frozen=True)
class Marker:
    """The last transaction: applied up to `place` (`done`), or begun there and perhaps applied (`intent`)."""

    state: State
    log: str
    place: int
    """Offset in the log: behind the last applied transaction, or the start of the one that was begun."""
    gtids: Gtids


def identity(key: str) -> str:
    """A replay's id in the table."""
    return hashlib.sha256(key.encode()).hexdigest()[:32]


def update(key: str, state: State, log: str, place: int) -> str:
    """The statement that moves a replay's marker; safe under every sql_mode and character set."""
    return f"UPDATE {_FULL} SET `state` = '{state}', `log` = '{log}', `place` = {place} WHERE `id` = '{identity(key)}'"


@contextlib.contextmanager
def _connected(login: DatabaseLogin, *, binary_log: bool) -> Iterator[server.Connection]:
    with server.connect(login) as connection:
        connection.rows(f"SET SESSION sql_log_bin = {int(binary_log)}")
        yield connection


def begin(login: DatabaseLogin, key: str, marker: Marker, *, binary_log: bool) -> Marker:
    """The marker of a replay that was begun before; else `marker`, which is noted. `binary_log`: log the table too.

    Raises:
        PermanentError: a log's name can't be noted.
    """
    if not SAFE_LOG_NAME.fullmatch(marker.log):
        raise PermanentError(f"{marker.log!r} is no name of a binary log.")
    with _connected(login, binary_log=binary_log) as connection:
        for statement in _CREATE:
            connection.rows(statement)
        connection.rows(
            f"INSERT IGNORE INTO {_FULL} (`id`, `name`, `gtids`, `state`, `log`, `place`) "
            "VALUES (%s, %s, %s, %s, %s, %s)",
            (identity(key), key[:NAME_CHARACTERS], marker.gtids, marker.state, marker.log, marker.place),
        )
    found = read(login, key)
    if found is None:
        raise PermanentError(f"{SCHEMA}.{TABLE} on {login.address} does not keep what is written to it.")
    return found


def exists(connection: server.Connection) -> bool:
    """Whether the target has the table."""
    found = "SELECT 1 FROM information_schema.TABLES WHERE TABLE_SCHEMA = %s AND TABLE_NAME = %s"
    return bool(connection.rows(found, (SCHEMA, TABLE)))


def read(login: DatabaseLogin, key: str, *, wait: bool = True) -> Marker | None:
    """How far a replay has come; None when it was never begun.

    A session that was cut off may still be committing: it holds the row, so this waits for its end, unless told not to.
    """
    with server.connect(login) as connection:
        if not exists(connection):
            return None
        wanted = f"SELECT `state`, `log`, `place`, `gtids` FROM {_FULL} WHERE `id` = %s"
        rows = connection.rows(f"{wanted} FOR UPDATE" if wait else wanted, (identity(key),))
    return Marker(rows[0][0], rows[0][1], int(rows[0][2]), rows[0][3]) if rows else None


def move(login: DatabaseLogin, key: str, state: State, log: str, place: int) -> None:
    """Move a marker from outside of the replay; never in the target's binary log."""
    with _connected(login, binary_log=False) as connection:
        connection.execute(update(key, state, log, place).encode())


def forget(login: DatabaseLogin, key: str, *, binary_log: bool) -> None:
    """Take a replay's marker away, and with the last one the schema; harmless when there is none.

    Args:
        login: the target's.
        key: the replay's.
        binary_log: as the replay itself was told, so that replicas have the schema exactly as long as the target.
    """
    with _connected(login, binary_log=binary_log) as connection:
        if not exists(connection):
            return
        connection.rows(f"DELETE FROM {_FULL} WHERE `id` = %s", (identity(key),))
        if not connection.value(f"SELECT COUNT(*) FROM {_FULL}"):
            connection.rows(f"DROP DATABASE `{SCHEMA}`")
