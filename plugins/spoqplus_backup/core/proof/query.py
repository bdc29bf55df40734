"""Asks a server the queries of the checks, in bounded time and memory."""

import contextlib
from collections.abc import Iterator
from datetime import date, timedelta
from decimal import Decimal
from itertools import islice

from spoqplus_backup.core.connections import DatabaseLogin
from spoqplus_backup.core.mysql import server
from spoqplus_backup.core.mysql.row_hash import SESSION
from spoqplus_backup.core.mysql.server import Connection
from spoqplus_backup.core.proof.definitions import MOST_ROWS

Answer = list[list[object]]


@contextlib.contextmanager
def reading(login: DatabaseLogin) -> Iterator[Connection]:
    """A connection that can't write, with the session that production was asked with."""
    with server.connect(login) as connection:
        for statement in (*SESSION, "START TRANSACTION READ ONLY"):
            connection.rows(statement)
        yield connection


def answer(connection: Connection, sql: str, seconds: float) -> Answer:
    """The rows of a query as JSON has them; one more than MOST_ROWS when there are more.

    The session is as before afterwards: it may be that of a fingerprint.

    Raises:
        StatementError: the server refuses the query, or it took longer than `seconds`.
    """
    with _bounded(connection, seconds), contextlib.closing(connection.stream(sql)) as rows:
        return [[_plain(value) for value in row] for row in islice(rows, MOST_ROWS + 1)]


@contextlib.contextmanager
def _bounded(connection: Connection, seconds: float) -> Iterator[None]:
    known = connection.variables("max_execution_time", "max_statement_time")  # MySQL's, MariaDB's
    clock = "max_execution_time" if "max_execution_time" in known else "max_statement_time"
    limit = f"{seconds * 1000:.0f}" if clock == "max_execution_time" else f"{seconds:.3f}"
    connection.rows(f"SET SESSION sql_select_limit = {MOST_ROWS + 1}, {clock} = {limit}")
    try:
        yield
    finally:
        connection.rows(f"SET SESSION sql_select_limit = DEFAULT, {clock} = DEFAULT")


def _plain(value: object) -> object:
    if value is None or isinstance(value, (int, float, str)):
        return value
    if isinstance(value, bytes):
        return value.hex()
    if isinstance(value, date):
        return value.isoformat()
    return str(value) if isinstance(value, (Decimal, timedelta)) else repr(value)
