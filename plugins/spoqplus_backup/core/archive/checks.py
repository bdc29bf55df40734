"""What the archive needs of a server, and what puts it at risk. Nothing is changed."""

from collections.abc import Mapping
from datetime import datetime, timezone

from croniter import croniter  # type: ignore[import-untyped] # it ships no types

from spoqplus_backup.core.errors import PermanentError
from spoqplus_backup.core.manifest import Flavour
from spoqplus_backup.core.mysql import binlog, server
from spoqplus_backup.core.notice import Notice, notice
from spoqplus_backup.core.progress import human_seconds
from spoqplus_backup.core.settings import Settings

INTERVALS_KEPT = 4  # a server has to keep its logs for at least so many archive intervals
FIRES_LOOKED_AT = 200  # of the schedule: two days of every quarter of an hour, half a year of daily

# Any of a tuple will do.
_NEEDED: Mapping[Flavour, tuple[tuple[str, ...], ...]] = {
    "mysql": (("REPLICATION SLAVE",), ("REPLICATION CLIENT",), ("RELOAD",)),
    "mariadb": (
        ("REPLICATION SLAVE",),
        ("BINLOG MONITOR", "REPLICATION CLIENT", "SUPER"),
        ("RELOAD",),
    ),
}

_ACCESS_DENIED = 1227
# whether a replica logs what it applies, and what tells whether it is one
_REPLICA: Mapping[Flavour, tuple[str, str]] = {
    "mysql": ("log_replica_updates", "SHOW REPLICA STATUS"),
    "mariadb": ("log_slave_updates", "SHOW ALL SLAVES STATUS"),
}


def check_privileges(connection: server.Connection, flavour: Flavour) -> None:
    """See that the login may close and read binary logs.

    Raises:
        PermanentError: it may not; says what to grant.
    """
    granted = server.privileges(connection).get("*.*", frozenset())
    if granted & {"ALL PRIVILEGES", "ALL"}:
        return
    missing = [names[0] for names in _NEEDED[flavour] if not granted & set(names)]
    if missing:
        raise PermanentError(
            f"The login {connection.login.user} lacks {', '.join(missing)} on *.*, without which binary logs can't be "
            f"closed, listed and read. GRANT {', '.join(missing)} ON *.* TO it."
        )


def check_logs_hold_all(connection: server.Connection, flavour: Flavour) -> None:
    """See that the server does not apply another one's transactions without writing them to its own logs.

    A login that may not ask for that (REPLICA MONITOR of MariaDB) is taken at its word.

    Raises:
        PermanentError: it does; says what to set.
    """
    variable, status = _REPLICA[flavour]
    if connection.variables(variable).get(variable, "ON").upper() in ("ON", "1"):
        return
    try:
        replicates = bool(connection.rows(status))
    except server.StatementError as error:
        if error.code != _ACCESS_DENIED:
            raise
        return
    if replicates:
        raise PermanentError(
            f"The server {connection.login.address} is a replica that does not log what it applies, so its logs can't "
            f"bring its data back: set {variable}=ON and restart it, or archive the logs of its source."
        )


def archive_interval(settings: Settings) -> float | None:
    """The longest time between two runs of the archive's schedule, in seconds; None when it has none."""
    cron = settings.schedules.binlog_archive
    if cron is None:
        return None
    fires = croniter(cron, datetime(2025, 1, 1, tzinfo=timezone.utc))
    moments = [fires.get_next(float) for _ in range(FIRES_LOOKED_AT)]
    return float(max(later - earlier for earlier, later in zip(moments, moments[1:], strict=False)))


def retention_warnings(settings: Settings, connection: server.Connection) -> tuple[Notice, ...]:
    """What could make the server remove a log before it is archived."""
    found = []
    interval = archive_interval(settings)
    kept = binlog.retention_seconds(connection)
    rds, hours = binlog.rds_retention_hours(connection)
    if rds:
        kept = None if hours is None else hours * 3600
        if hours is None:
            sentence = (
                "RDS keeps no binary logs: `binlog retention hours` is NULL, so a log may be gone before it is "
                "archived. CALL mysql.rds_set_configuration('binlog retention hours', 24)."
            )
            found.append(notice("archive.rds_retention", sentence))
    if interval is not None and kept is not None and kept < INTERVALS_KEPT * interval:
        sentence = (
            "The server removes its binary logs after {kept}, and the archive runs every {interval}: after {runs} runs "
            "that failed, logs would be lost. Let it keep them for at least a day (binlog_expire_logs_seconds, on RDS "
            "`binlog retention hours`)."
        )
        times = {"kept": human_seconds(kept), "interval": human_seconds(interval)}
        found.append(notice("archive.retention", sentence, runs=INTERVALS_KEPT, **times))
    return tuple(found)
