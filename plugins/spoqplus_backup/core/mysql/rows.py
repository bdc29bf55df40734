"""Sends the rows of a dump to a server, statement by statement, over a connection of its own.

The `mysql` client reads every byte of a dump to find where statements end, which costs a fifth of what the server needs
to store the rows. Rows need none of that care: an INSERT ends at `;` and a newline, which no value holds.
"""

import logging
import re
import time
from collections.abc import Callable, Iterable, Iterator
from functools import partial

from spoqplus_backup.core.connections import DatabaseLogin
from spoqplus_backup.core.errors import IntegrityError
from spoqplus_backup.core.manifest import Flavour
from spoqplus_backup.core.mysql import server
from spoqplus_backup.core.process import check_cancelled

log = logging.getLogger(__name__)

TRIES = 5
PAUSE_SECONDS = 0.1  # times the number of the try: who was in the way gets on
_LOST = (1205, 1213)  # waited too long for a lock; deadlock

NAME = rb"`(?:[^`]|``)*`"
INSERT_HEAD = re.compile(rb"INSERT INTO " + NAME + rb" (?:\((?:" + NAME + rb"|\w+|, )*\) )?VALUES(\n| )\(")
_END = b";\n"

# What the header of a dump sets before rows are read.
_SETTINGS = (
    "SET SESSION time_zone = '+00:00'",
    "SET SESSION unique_checks = 0, foreign_key_checks = 0",
    "SET SESSION sql_mode = 'NO_AUTO_VALUE_ON_ZERO'",
    "SET SESSION sql_notes = 0",
)
_HISTORY = "/*M!101100 SET SESSION system_versioning_insert_history = 1 */"


def statements(chunks: Iterable[bytes]) -> Iterator[bytes]:
    """Cut rows into their INSERT statements; the memory that it takes is that of the longest one.

    Raises:
        IntegrityError: the bytes are not whole INSERT statements.
    """
    waiting = bytearray()
    searched = 0  # no end before this offset
    for chunk in chunks:
        waiting += chunk
        start = 0
        while (end := _end(waiting, start, searched)) >= 0:
            yield bytes(waiting[start:end])
            start = searched = end + len(_END)
        searched = max(len(waiting) - 1, start) - start
        del waiting[:start]
    if waiting:
        words = bytes(waiting[:100]).decode("utf-8", "replace")
        raise IntegrityError(f"The rows do not end with a statement: `{words}` is left; the index is damaged.")


def _end(data: bytearray, start: int, searched: int) -> int:
    head = INSERT_HEAD.match(data, start)  # names may hold any text, also the end of a statement
    return data.find(_END, max(head.end(), searched)) if head else -1


def until_not_lost(run: Callable[[], object]) -> None:
    """Run a statement that is a transaction of its own; one that loses against another's locks begins again.

    Rows of one table are inserted on several connections, and MariaDB locks an empty table as a whole for its first
    rows. The server undoes what lost, so nothing is there twice.

    Raises:
        StatementError: the server refused it, or it lost time and again.
    """
    for number in range(1, TRIES):
        try:
            run()
        except server.StatementError as error:
            if error.code not in _LOST:
                raise
            log.info("Beginning again: %s", error)
            check_cancelled()
            time.sleep(PAUSE_SECONDS * number)
        else:
            return
    run()


class RowSession:
    """A connection whose session is as a dump's rows expect it."""

    def __init__(self, login: DatabaseLogin, flavour: Flavour, *, binary_log: bool) -> None:
        self._connection = server.Connection(login)
        self._database: str | None = None
        history = [_HISTORY] if flavour == "mariadb" else []
        for statement in (*_SETTINGS, f"SET SESSION sql_log_bin = {int(binary_log)}", *history):
            self._connection.rows(statement)

    def rows(self, statement: str) -> list[server.Row]:
        """Execute one statement and return its rows.

        Raises:
            StatementError: the server refused it.
        """
        return self._connection.rows(statement)

    def use(self, database: str) -> None:
        """Make a database the one that names without one are in."""
        if database != self._database:
            self._connection.rows(f"USE {server.quoted(database)}")
            self._database = database

    def insert(self, chunks: Iterable[bytes]) -> None:
        """Execute a segment of rows.

        Raises:
            StatementError: the server refused a statement.
            Cancelled: the task was cancelled between two statements.
        """
        for statement in statements(chunks):
            check_cancelled()
            until_not_lost(partial(self._connection.execute, statement))

    def close(self) -> None:
        """End the connection."""
        self._connection.close()
