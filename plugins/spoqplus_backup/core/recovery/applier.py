"""Replays binary logs as a replica would: they become relay logs of a server whose data directory is ours.

The server's own applier reads them, without SQL text and on several threads, up to the exact place: what lies behind it
is cut off. See `docs/decisions/0012`. Any other server takes `replay.py`.
"""

import json
import logging
import os
import shutil
import time
from collections.abc import Callable, Mapping
from contextlib import closing
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Literal

from spoqplus_backup.core.connections import DatabaseLogin
from spoqplus_backup.core.cores import usable_cores
from spoqplus_backup.core.errors import BackupError, PermanentError
from spoqplus_backup.core.manifest import Flavour
from spoqplus_backup.core.mysql import server
from spoqplus_backup.core.mysql.binlog_events import HEADER_BYTES, Kind, unpack_header
from spoqplus_backup.core.mysql.binlog_transactions import Transactions
from spoqplus_backup.core.mysql.binlog_write import cut_log
from spoqplus_backup.core.mysql.gtid import GtidSet
from spoqplus_backup.core.mysql.sandbox import SandboxServer
from spoqplus_backup.core.process import check_cancelled
from spoqplus_backup.core.progress import EVERY_SECONDS, human_bytes
from spoqplus_backup.core.recovery import scheduled_events
from spoqplus_backup.core.recovery.replay import ACCOUNT_ERRORS, Applied, ReplayResult
from spoqplus_backup.core.recovery.replay_logs import (
    Found,
    Replay,
    check,
    last_transaction,
    mysql_gtids,
    transactions,
)

log = logging.getLogger(__name__)

NO_PLACE = 1872  # ER_REPLICA_RLI_INIT_REPOSITORY
RELAY = "spoqplus-relay"
RECORD = "spoqplus-applier.json"
SERVER_ID = 4294901000  # none that wrote the logs: a server leaves its own transactions out
POLL_SECONDS = 0.05
LOG_TAIL_BYTES = 4096

Start = Callable[[Mapping[str, str]], SandboxServer]
Phase = Literal["applying", "done"]


@dataclass(frozen=True)
class _Names:
    """What differs between the vendors."""

    options: Mapping[str, str]
    workers: str
    skip_errors: str
    log_updates: str
    status: str
    running: str
    start: str
    stop: str
    reset: str


_NAMES: Mapping[Flavour, _Names] = {
    "mariadb": _Names(
        options={"skip-slave-start": "", "slave-parallel-mode": "optimistic", "slave-max-allowed-packet": "1G"},
        workers="slave-parallel-threads",
        skip_errors="slave-skip-errors",
        log_updates="log-slave-updates",
        status="SHOW SLAVE STATUS",
        running="Slave_SQL_Running",
        start="START SLAVE SQL_THREAD",
        stop="STOP SLAVE",
        reset="RESET SLAVE ALL",
    ),
    "mysql": _Names(
        options={
            "skip-replica-start": "",
            "replica-preserve-commit-order": "ON",
            "replica-max-allowed-packet": "1G",
        },
        workers="replica-parallel-workers",
        skip_errors="replica-skip-errors",
        log_updates="log-replica-updates",
        status="SHOW REPLICA STATUS",
        running="Replica_SQL_Running",
        start="START REPLICA SQL_THREAD",
        stop="STOP REPLICA",
        reset="RESET REPLICA ALL",
    ),
}


def apply_logs(
    job: Replay,
    flavour: Flavour,
    datadir: Path,
    start: Start,
    *,
    workers: int | None = None,
    binary_log: bool = False,
) -> ReplayResult:
    """Apply logs to a server that is stopped, and stop it again; a call after an interruption goes on.

    Args:
        job: the logs, from the end of the snapshot that the server holds.
        flavour: the server's.
        datadir: its data directory.
        start: starts it with some more options.
        workers: threads that apply; as many as there are cores when None.
        binary_log: the server's own binary log gets what is applied, under the same GTIDs: a rebuilt production.

    Raises:
        PermanentError: the applier stopped at an error (the server's own words), or the data directory can't take it.
        BackupError: the server died; the next call goes on.
    """
    check(job)
    run = _Run(job, flavour, datadir)
    found = run.read_record()
    if found == "done":
        log.info("applier: these logs were applied already")
        return ReplayResult(gtids="kept", last=run.last())
    started = time.monotonic()
    if found is None or flavour == "mariadb":
        run.place()
    options = _options(flavour, workers or usable_cores(), binary_log=binary_log)
    try:
        with start(options) as running:
            run.apply(running, again=found is not None)
    except _LostPlaceError as error:
        log.warning("applier: %s: it begins at the first log again and leaves out what was applied", error)
        run.place()
        with start(options) as running:
            run.apply(running, again=True)
    run.clean()
    run.write_record("done")
    run.result.seconds = time.monotonic() - started
    log.info("applier: %s in %.1f s; last %s", human_bytes(job.size), run.result.seconds, run.result.last)
    return run.result


def forget_applied(datadir: Path) -> None:
    """Take away what the data directory notes of this; harmless when there is nothing."""
    (datadir / RECORD).unlink(missing_ok=True)


def _options(flavour: Flavour, workers: int, *, binary_log: bool) -> dict[str, str]:
    names = _NAMES[flavour]
    options = {
        "relay-log": RELAY,
        "relay-log-index": f"{RELAY}.index",
        "relay-log-purge": "OFF",
        "relay-log-recovery": "OFF",
        "server-id": str(SERVER_ID),
        "sync-binlog": "0",
        "innodb-flush-log-at-trx-commit": "2",
        "event-scheduler": "OFF",
        "max-allowed-packet": "1G",
        "replicate-wild-ignore-table": "spoqplus_restore.%",
        names.workers: str(workers),
        names.skip_errors: ",".join(map(str, ACCOUNT_ERRORS)),
    }
    logged = {names.log_updates: "ON"} if binary_log else {"skip-log-bin": ""}
    return options | dict(names.options) | logged


class _LostPlaceError(BackupError):
    """MySQL was killed while it noted where it goes on, and can't read that any more; it has forgotten it now."""


class _Run:
    def __init__(self, job: Replay, flavour: Flavour, datadir: Path) -> None:
        self._job = job
        self._flavour = flavour
        self._names = _NAMES[flavour]
        self._datadir = datadir
        self.result = ReplayResult(gtids="kept")

    # ---- files in the data directory ----

    def read_record(self) -> Phase | None:
        """How far an earlier call came."""
        path = self._datadir / RECORD
        if not path.exists():
            return None
        found = json.loads(path.read_text())
        phase: Phase = found.pop("phase")
        if found != self._identity():
            raise PermanentError(
                f"{self._datadir} holds a server to which other logs were applied ({path}): restore it anew."
            )
        return phase

    def write_record(self, phase: Phase) -> None:
        """Note how far this call came."""
        part = self._datadir / f"{RECORD}.part"
        with part.open("w") as file:
            json.dump(self._identity() | {"phase": phase}, file)
            file.flush()
            os.fsync(file.fileno())
        part.rename(self._datadir / RECORD)

    def _identity(self) -> dict[str, Any]:
        return {
            "logs": [[path.name, path.stat().st_size] for path in self._job.logs],
            "start": self._job.start,
            "stop": self._job.stop,
        }

    def place(self) -> None:
        """Copy the logs into the data directory as relay logs, what does not count cut off."""
        self.clean()
        owner = self._datadir.stat()
        names = []
        for number, path in enumerate(self._job.logs, 1):
            target = self._datadir / _relay(number)
            cut_log(path, target, self._end(path, last=number == len(self._job.logs)))
            names.append(f"./{target.name}\n")
        (self._datadir / f"{RELAY}.index").write_text("".join(names))
        for path in self._datadir.glob(f"{RELAY}.*"):
            if path.stat().st_uid != owner.st_uid:
                shutil.chown(path, owner.st_uid, owner.st_gid)

    def _end(self, path: Path, *, last: bool) -> int:
        if last and self._job.stop is not None:
            self.result.last = self.last()  # refuses a stop that is no transaction's end
            return self._job.stop
        if _closed_well(path):
            return path.stat().st_size
        with path.open("rb") as file:
            read = Transactions(file.read, str(path))
            for _ in read:
                check_cancelled()
        return read.end

    def clean(self) -> None:
        """Take the relay logs away, and what the server noted of them."""
        names = [f"{RELAY}.*", f"{RELAY}-*", "relay-log.info", "master.info", "multi-master.info"]
        for path in (path for name in names for path in self._datadir.glob(name)):
            path.unlink()

    # ---- the server ----

    def apply(self, running: SandboxServer, *, again: bool) -> None:
        """Let a started server apply the relay logs, and make it forget them."""
        login = DatabaseLogin(host=None, user=running.user, password="", socket=str(running.socket))
        with closing(server.Connection(login)) as connection:
            wanted = GtidSet()
            if self._flavour == "mysql":
                before, wanted = mysql_gtids(self._job)
                self._prepare_mysql(connection, before, wanted, again=again)
            else:
                self._prepare_mariadb(connection, again=again)
            disabled = scheduled_events.for_replicas(connection)
            self._start(connection, wanted)
            self.result.last = self.result.last or self.last()  # while the server works
            if self.result.last is not None:
                self._wait(running, connection, self.result.last)
            connection.rows(self._names.stop)
            self._verify(connection, wanted)
            connection.rows(self._names.reset)
            connection.rows("SET SESSION sql_log_bin = 0")
            scheduled_events.give_back(connection, self._job, disabled)
            if self._flavour == "mariadb":
                connection.rows("SET GLOBAL gtid_slave_pos = ''")

    def _start(self, connection: server.Connection, wanted: GtidSet) -> None:
        try:
            connection.rows(self._names.start)
        except server.StatementError as error:
            if error.code != NO_PLACE or not wanted:  # without GTIDs nobody knows what was applied
                raise
            connection.rows(self._names.reset)
            raise _LostPlaceError(str(error)) from error

    def _prepare_mysql(self, connection: server.Connection, before: GtidSet, wanted: GtidSet, *, again: bool) -> None:
        if again and self._status(connection):
            return  # its tables say where it goes on
        self._refuse_replica(connection)
        assign = ""
        if connection.value("SELECT @@GLOBAL.gtid_mode") == "ON":
            executed = GtidSet.parse(str(connection.value("SELECT @@GLOBAL.gtid_executed")))
            if not again and wanted.subtract(executed) != wanted:
                raise PermanentError(
                    f"The server in {self._datadir} has executed transactions of these logs ({executed}) and would "
                    "leave them out: restore it anew, or replay through mysqlbinlog."
                )
            if missing := before.subtract(executed):
                connection.rows("SET GLOBAL gtid_purged = %s", (f"+{missing}",))
            if not wanted:
                assign = ", ASSIGN_GTIDS_TO_ANONYMOUS_TRANSACTIONS = LOCAL"
        elif wanted:
            raise PermanentError(
                f"The logs have GTIDs and the server in {self._datadir} runs with gtid_mode "
                "OFF: start it with gtid_mode=ON and enforce_gtid_consistency=ON."
            )
        connection.rows(
            "CHANGE REPLICATION SOURCE TO SOURCE_HOST = 'none', SOURCE_USER = 'none', SOURCE_AUTO_POSITION = 0, "
            f"RELAY_LOG_FILE = '{_relay(1)}', RELAY_LOG_POS = {self._job.start}{assign}"
        )
        self.write_record("applying")

    def _prepare_mariadb(self, connection: server.Connection, *, again: bool) -> None:
        number, place = 0, self._job.start
        if again:
            number, place = self._applied_by_mariadb(connection)
        else:
            self._refuse_replica(connection)
            connection.rows("SET GLOBAL gtid_slave_pos = ''")
            self.write_record("applying")
        # without the names of the source's log, MariaDB 10.11.19 crashes in compare_log_names with parallel threads
        connection.rows(
            "CHANGE MASTER TO MASTER_HOST = 'none', MASTER_USER = 'none', MASTER_USE_GTID = no, "
            f"MASTER_LOG_FILE = '{self._job.logs[number].name}', MASTER_LOG_POS = {place}, "
            f"RELAY_LOG_FILE = '{_relay(number + 1)}', RELAY_LOG_POS = {place}"
        )

    def _applied_by_mariadb(self, connection: server.Connection) -> tuple[int, int]:
        """Number of the log and offset behind what was applied.

        The position in relay-log.info may lag after a crash; `gtid_slave_pos` is part of each transaction, and without
        MASTER_USE_GTID transactions are committed in the order of the log, those of different domains, too.
        """
        position = set(str(connection.value("SELECT @@GLOBAL.gtid_slave_pos")).split(","))
        number, place = 0, self._job.start
        if position == {""}:
            return number, place
        for found in transactions(self._job, self._job.logs[0].name, self._job.start):
            if isinstance(found, Found) and str(found.transaction.gtid) in position:
                number, place = self._job.names.index(found.log.name), found.transaction.end
        log.info("applier: goes on at %s:%d", self._job.names[number], place)
        return number, place

    def _refuse_replica(self, connection: server.Connection) -> None:
        if self._status(connection):
            raise PermanentError(
                f"The server in {self._datadir} is a replica already ({self._names.status}): logs are applied to a "
                f"server of their own only. If it need not be one any more: {self._names.reset}."
            )

    def _status(self, connection: server.Connection) -> dict[str, Any]:
        return connection.named_row(self._names.status)

    def _wait(self, running: SandboxServer, connection: server.Connection, last: Applied) -> None:
        """Wait until all is committed: the position that a server tells is behind the last transaction then."""
        end = (self._job.names.index(last.log) + 1, last.place)
        told = time.monotonic()
        while True:
            check_cancelled()
            try:
                status = self._status(connection)
            except server.StatementError as error:
                if running.is_running():
                    raise
                tail = running.error_log.read_bytes()[-LOG_TAIL_BYTES:].decode("utf-8", "replace").strip()
                raise BackupError(f"The server in {self._datadir} died while it applied logs:\n{tail}") from error
            if status["Last_SQL_Errno"] or status[self._names.running] != "Yes":
                raise self._stopped(connection, status)
            number, place = int(str(status["Relay_Log_File"]).rpartition(".")[2]), int(status["Relay_Log_Pos"])
            if (number, place) >= end:
                return
            if time.monotonic() - told >= EVERY_SECONDS:
                told = time.monotonic()
                done = sum(path.stat().st_size for path in self._job.logs[: number - 1]) + place - self._job.start
                name = self._job.names[number - 1]
                log.info("applier: %s of %s, %s:%d", human_bytes(done), human_bytes(self._job.size), name, place)
            time.sleep(POLL_SECONDS)

    def _stopped(self, connection: server.Connection, status: Mapping[str, Any]) -> PermanentError:
        words = [f"{status['Last_SQL_Error']} (error {status['Last_SQL_Errno']})"]
        if self._flavour == "mysql":  # there it says only where the words are
            query = (
                "SELECT LAST_ERROR_MESSAGE FROM performance_schema.replication_applier_status_by_worker "
                "WHERE LAST_ERROR_NUMBER <> 0"
            )
            words = [str(message) for (message,) in connection.rows(query)] or words
        number = int(str(status["Relay_Log_File"]).rpartition(".")[2])
        name = self._job.names[min(number, len(self._job.logs)) - 1]
        return PermanentError(
            f"The server in {self._datadir} stopped applying at {name}:{status['Relay_Log_Pos']}: {'; '.join(words)}"
        )

    def last(self) -> Applied | None:
        """The last transaction that the logs hold."""
        found = last_transaction(self._job)
        if found is None:
            return None
        gtid = str(found.transaction.gtid) if found.transaction.gtid else None
        return Applied(gtid, found.transaction.at, found.log.name, found.transaction.end)

    def _verify(self, connection: server.Connection, wanted: GtidSet) -> None:
        """Believe the end of the logs only when the server knows their last transactions."""
        if wanted:
            executed = GtidSet.parse(str(connection.value("SELECT @@GLOBAL.gtid_executed")))
            if missing := wanted.subtract(executed):
                raise BackupError(f"The server in {self._datadir} read all logs and did not apply {missing}.")
        elif self._flavour == "mariadb" and self.result.last is not None:
            position = str(connection.value("SELECT @@GLOBAL.gtid_slave_pos"))
            if self.result.last.gtid not in position.split(","):
                raise BackupError(
                    f"The server in {self._datadir} read all logs and came to {position}, not to {self.result.last}."
                )


def _relay(number: int) -> str:
    return f"{RELAY}.{number:06d}"


def _closed_well(path: Path) -> bool:
    """Whether a log ends with its Rotate or Stop event: then all of its transactions are whole."""
    size = path.stat().st_size
    with path.open("rb") as file:
        tail_bytes = min(size, 1024)
        file.seek(size - tail_bytes)
        tail = file.read()
    for at in range(max(0, tail_bytes - HEADER_BYTES), -1, -1):
        _, kind, _, length, behind, _ = unpack_header(tail[at : at + HEADER_BYTES])
        if kind in (Kind.ROTATE, Kind.STOP) and length == tail_bytes - at and behind == size & 0xFFFFFFFF:
            return True
    return False
