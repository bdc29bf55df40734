"""Which tables a server changed between two places of its binary log."""

import tempfile
from collections.abc import Collection
from pathlib import Path

from spoqplus_backup.core.connections import DatabaseLogin
from spoqplus_backup.core.errors import BackupError, PermanentError
from spoqplus_backup.core.mysql import binlog, client
from spoqplus_backup.core.mysql.binlog_filter import touched
from spoqplus_backup.core.mysql.binlog_transactions import Transactions
from spoqplus_backup.core.mysql.fingerprint import Place
from spoqplus_backup.core.mysql.server import Connection


class LogChanges:
    """Fetches the logs between two places into a folder that it removes again, and reads them.

    Args:
        program: mysqlbinlog of the server's vendor.
        login: with REPLICATION SLAVE.
        directory: with room for the logs.
        stall_seconds: a fetch that brings nothing for so long is given up.
    """

    def __init__(self, program: client.Program, login: DatabaseLogin, directory: Path, stall_seconds: float) -> None:
        self._program = program
        self._login = login
        self._directory = directory
        self._stall_seconds = stall_seconds

    def __call__(self, connection: Connection, since: Place, until: Place) -> Collection[tuple[str, str]] | None:
        """The tables; `database, ""` for a statement that may change any of its tables. None: the logs don't tell."""
        binlog.rotate(connection)
        listed = binlog.logs(connection)
        names = [log.name for log in listed]
        if since.log not in names or until.log not in names[names.index(since.log) :]:
            return None
        wanted = listed[names.index(since.log) : names.index(until.log) + 1]
        found: set[tuple[str, str]] = set()
        try:
            for log in wanted:
                begin = since.position if log.name == since.log else 0
                end = until.position if log.name == until.log else None
                found |= self._in_log(log, begin, end)
        except (PermanentError, BackupError):
            return None
        return found

    def _in_log(self, log: binlog.ServerLog, begin: int, end: int | None) -> set[tuple[str, str]]:
        found: set[tuple[str, str]] = set()
        with tempfile.TemporaryDirectory(dir=self._directory) as folder:
            path = binlog.fetch(self._program, self._login, log, Path(folder), self._stall_seconds, lambda count: None)
            with path.open("rb") as file:
                for transaction in Transactions(file.read, log.name):
                    if transaction.start < begin or (end is not None and transaction.start >= end):
                        continue
                    found.update(transaction.changes)
                    if transaction.queries:
                        found.update((database, "") for database in touched(transaction))
        return found
