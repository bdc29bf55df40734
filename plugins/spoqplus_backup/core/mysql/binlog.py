"""The binary logs of a running server: which there are, closing the current one, fetching closed ones, retention.

Nothing in here purges a log or changes a setting. Sizes in bytes, durations in seconds, times UTC by the server's
clock.
"""

import re
import shutil
from collections.abc import Callable
from dataclasses import dataclass
from datetime import datetime, timezone
from pathlib import Path

from spoqplus_backup.core.connections import DatabaseLogin
from spoqplus_backup.core.errors import BackupError, DiskFullError, PermanentError
from spoqplus_backup.core.manifest import Flavour
from spoqplus_backup.core.mysql import client
from spoqplus_backup.core.mysql.server import Connection, StatementError
from spoqplus_backup.core.process import Child, ProcessError, output_of

POLL_SECONDS = 0.1
DAY_SECONDS = 86400

_ENCRYPTED_HEADER_BYTES = 512  # of a log that MySQL encrypts on its disk; it is sent without
_EVENTS_LOOKED_AT = 50
# What a log holds before anything was written to it, and what closes it.
_WITHOUT_CONTENT = frozenset(
    {"Format_desc", "Previous_gtids", "Gtid_list", "Binlog_checkpoint", "Start_encryption", "Stop", "Rotate"}
)
_NO_SUCH_LOG = "Could not find first log file name"
_CUT_OFF = "binlog truncated in the middle of event"
_FIRST_EVENT = re.compile(rb"^# at 4\n#(\d{6}) +(\d+:\d\d:\d\d) server id", re.MULTILINE)
# Not RDS: no such table, or none that this login may read.
_NOT_RDS = {1044, 1049, 1142, 1143, 1146, 1370}


class LogMissingError(PermanentError):
    """The server no longer has a log that was to be fetched: it was purged, or the logs were reset."""


@dataclass(frozen=True)
class ServerLog:
    """A log as the server lists it. `bytes` are those that are sent."""

    name: str
    bytes: int


def logs(connection: Connection) -> list[ServerLog]:
    """All logs, oldest first; the last one is being written."""
    return [_listed(*row) for row in connection.rows("SHOW BINARY LOGS")]


def _listed(name: object, size: object, encrypted: object = "No") -> ServerLog:
    header = _ENCRYPTED_HEADER_BYTES if str(encrypted).lower() == "yes" else 0
    return ServerLog(str(name), int(str(size)) - header)


def position(connection: Connection, flavour: Flavour) -> tuple[str, int]:
    """The log that is being written, and where its end is now.

    Raises:
        PermanentError: the server writes no binary log.
    """
    try:
        rows = connection.rows("SHOW BINARY LOG STATUS" if flavour == "mysql" else "SHOW MASTER STATUS")
    except StatementError:
        if flavour != "mysql":
            raise
        rows = connection.rows("SHOW MASTER STATUS")  # before 8.2
    if not rows:
        raise PermanentError(
            f"The server {connection.login.address} writes no binary log: set log_bin and restart it, or set "
            "`schedules.binlog_archive` to null and live with the last full backup."
        )
    return str(rows[0][0]), int(rows[0][1])


def clock(connection: Connection) -> datetime:
    """The server's time, UTC, to the microsecond."""
    found = connection.value("SELECT CAST(UTC_TIMESTAMP(6) AS CHAR)")
    return datetime.fromisoformat(str(found)).replace(tzinfo=timezone.utc)


def purged_gtids(connection: Connection, flavour: Flavour) -> str | None:
    """MySQL's transactions that are in none of the server's logs; None where there are no such sets."""
    return str(connection.value("SELECT @@GLOBAL.gtid_purged")) if flavour == "mysql" else None


def is_empty(connection: Connection, name: str) -> bool:
    """Whether a log holds no transaction yet."""
    quoted = name.replace("\\", "\\\\").replace("'", "\\'")
    # as bytes: it shows the statements, which need not be text
    rows = connection.raw_rows(f"SHOW BINLOG EVENTS IN '{quoted}' LIMIT {_EVENTS_LOOKED_AT}")
    return len(rows) < _EVENTS_LOOKED_AT and all((row[2] or b"").decode() in _WITHOUT_CONTENT for row in rows)


def rotate(connection: Connection) -> None:
    """Close the log that is being written and begin the next; not written to the log itself."""
    connection.rows("FLUSH LOCAL BINARY LOGS")


def created_at(program: client.Program, login: DatabaseLogin, name: str, stall_seconds: float) -> datetime:
    """When a log of the server was begun, to the second: what its first event says.

    Raises:
        LogMissingError: the server has no such log.
    """
    with client.logged_in(program, login) as (argv, fds):
        try:
            text = output_of(
                [*argv, "--read-from-remote-server", "--stop-position=5", name],
                pass_fds=fds,
                stall_seconds=stall_seconds,
            )
        except ProcessError as error:
            raise _explained(error, name, login) from error
    match = _FIRST_EVENT.search(text)
    if match is None:
        raise BackupError(f"{program.path} does not show when {name} of {login.address} was begun: try again.")
    moment = datetime.strptime(f"{match[1].decode()} {match[2].decode()}", "%y%m%d %H:%M:%S")  # noqa: DTZ007
    return moment.replace(tzinfo=timezone.utc)


def fetch(
    program: client.Program,
    login: DatabaseLogin,
    log: ServerLog,
    directory: Path,
    stall_seconds: float,
    progress: Callable[[int], None],
) -> Path:
    """Copy a closed log from the server, byte for byte, its checksums looked at on the way.

    Args:
        program: mysqlbinlog of the server's vendor.
        login: where the server is.
        log: which one, with its size.
        directory: an empty folder for it.
        stall_seconds: when nothing comes for so long it is given up.
        progress: is told each number of bytes that came.

    Returns:
        The file. It is shorter than the server's only where the server itself says that its log breaks off in the
        middle of an event, as after a crash of its machine.

    Raises:
        LogMissingError: the server no longer has it.
        DiskFullError: there is no room left.
        ProcessError: mysqlbinlog failed or stalled.
        BackupError: less came than the server has.
    """
    target = directory / log.name
    options = ["--read-from-remote-server", "--raw", "--verify-binlog-checksum", f"--result-file={directory}/"]
    cut_off = False
    with client.logged_in(program, login) as (argv, fds), Child([*argv, *options, log.name], pass_fds=fds) as child:
        reason = _watch(child, target, stall_seconds, progress)
        try:
            child.finish(reason)
        except ProcessError as error:
            cut_off = _CUT_OFF in error.stderr and target.exists()
            if not cut_off:
                _refuse_full_disk(directory, log)
                raise _explained(error, log.name, login) from error
    size = target.stat().st_size if target.exists() else 0
    if size != log.bytes and not cut_off:
        _refuse_full_disk(directory, log)  # MariaDB's program does not say so and ends well
        raise BackupError(
            f"Of {log.name} came {size} bytes but the server {login.address} has {log.bytes}: try again; if it stays "
            "so, look at the server's disk."
        )
    return target


def _refuse_full_disk(directory: Path, log: ServerLog) -> None:
    written = sum(path.stat().st_size for path in directory.iterdir())
    if shutil.disk_usage(directory).free < log.bytes - written:
        raise DiskFullError(
            f"No space left on the staging disk for {log.name}: free some or point `staging.directory` elsewhere."
        )


def _watch(child: Child, target: Path, stall_seconds: float, progress: Callable[[int], None]) -> str | None:
    """Follow the file until the program ends; why it was ended, if it was."""
    seen, quiet = 0, 0.0
    while not child.wait_for_output(POLL_SECONDS):  # it prints nothing: this is its end
        size = target.stat().st_size if target.exists() else 0
        quiet = 0.0 if size > seen else quiet + POLL_SECONDS
        progress(max(0, size - seen))
        seen = max(seen, size)
        if quiet > stall_seconds:
            child.terminate()
            return f"gave no byte for {stall_seconds:.0f} s and was ended"
    size = target.stat().st_size if target.exists() else 0
    progress(max(0, size - seen))
    return None


def _explained(error: ProcessError, name: str, login: DatabaseLogin) -> BackupError:
    if _NO_SUCH_LOG in error.stderr:
        return LogMissingError(
            f"The server {login.address} no longer has {name}: it was purged, or the logs were reset. Clear the task "
            "list_logs with everything downstream of it: it finds out what is there and names the gap."
        )
    if "Access denied" in error.stderr:
        return PermanentError(
            f"The server {login.address} does not let {login.user} read its binary logs: GRANT REPLICATION SLAVE ON "
            f"*.* TO it. {error.stderr.strip()}"
        )
    return error


def retention_seconds(connection: Connection) -> float | None:
    """How long the server keeps its logs; None when it keeps them until somebody purges them."""
    found = connection.variables("binlog_expire_logs_seconds", "expire_logs_days", "binlog_expire_logs_auto_purge")
    if found.get("binlog_expire_logs_auto_purge", "ON").upper() == "OFF":
        return None
    seconds = float(found.get("binlog_expire_logs_seconds") or 0)
    seconds = seconds or float(found.get("expire_logs_days") or 0) * DAY_SECONDS
    return seconds or None


def rds_retention_hours(connection: Connection) -> tuple[bool, float | None]:
    """Whether this is RDS, and for how many hours it keeps its logs; None: it may remove them at once."""
    try:
        rows = connection.rows("SELECT value FROM mysql.rds_configuration WHERE name = 'binlog retention hours'")
    except StatementError as error:
        if error.code in _NOT_RDS:
            return False, None
        raise
    value = rows[0][0] if rows else None
    return True, None if value is None else float(value)
