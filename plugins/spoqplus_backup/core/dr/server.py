"""The database server in the DR region, asked by its own protocol: how to log in, its lag, whether it takes writes."""

import contextlib
import logging
from dataclasses import dataclass, replace
from datetime import datetime, timezone
from typing import Any

from spoqplus_backup.core.connections import Connections, DatabaseLogin
from spoqplus_backup.core.dr.rds import Lag, check_deadline, find_instance, lag_by_cloudwatch, pause
from spoqplus_backup.core.errors import AbsentError, BackupError, PermanentError, SettingsError
from spoqplus_backup.core.mysql.server import StatementError, connect, facts
from spoqplus_backup.core.process import Cancelled
from spoqplus_backup.core.settings import Settings
from spoqplus_backup.core.settings_dr import DrSettings

log = logging.getLogger(__name__)

_LAG_COLUMNS = ("Seconds_Behind_Source", "Seconds_Behind_Master")
_SYNTAX = 1064


@dataclass(frozen=True)
class Writable:
    """Whether a server takes writes, and the GTIDs that it has executed (None: it keeps none)."""

    writable: bool
    gtids: str | None
    detail: str


def dr_settings(settings: Settings) -> DrSettings:
    """The section `dr`.

    Raises:
        SettingsError: the site has none.
    """
    if settings.dr is None:
        raise SettingsError(
            f"{settings.source}: `dr` is null: no disaster recovery is configured; fill the section in."
        )
    return settings.dr


def dr_login(settings: Settings, connections: Connections, region: str | None = None) -> DatabaseLogin:
    """The login at the server in the DR region; without a host in the connection, RDS says where it is.

    That is what was restored instead of a lost replica, or else the replica.

    Raises:
        AbsentError: RDS has neither.
        SettingsError: there is no such connection.
    """
    dr = dr_settings(settings)
    login = connections.database(dr.database.connection)
    if login.host or login.socket:
        return login
    rds = connections.aws_client(dr.connection, "rds", region or dr.region)
    instance = None
    if dr.database.restore is not None:  # only a failover makes it, so it is the one that counts
        with contextlib.suppress(AbsentError):
            instance = find_instance(rds, dr.database.restore.instance)
    instance = instance or find_instance(rds, dr.database.replica)
    if instance.endpoint is None:
        raise BackupError(f"The RDS instance {instance.identifier} has no address yet: it is {instance.status}.")
    return replace(login, host=instance.endpoint, port=instance.port)


def is_writable(login: DatabaseLogin) -> Writable:
    """Ask a server whether it takes writes.

    Raises:
        BackupError: it can't be reached.
        PermanentError: it refuses the login.
    """
    with connect(login) as connection:
        flavour = facts(connection).flavour
        found = connection.variables("read_only", "super_read_only", "gtid_executed", "gtid_current_pos")
    closed = [name for name in ("super_read_only", "read_only") if found.get(name, "OFF").upper() in ("ON", "1")]
    gtids = found.get("gtid_executed" if flavour == "mysql" else "gtid_current_pos", "").replace("\n", "") or None
    detail = f"{login.address} has {closed[0]}=ON" if closed else f"{login.address} takes writes"
    return Writable(not closed, gtids, detail)


def wait_until_writable(login: DatabaseLogin, deadline: float, poll_seconds: float) -> Writable:
    """Wait until a server takes writes; `deadline` is in seconds of `time.time`.

    Raises:
        BackupError: it does not by then, or can't be reached.
        PermanentError: it refuses the login.
        Cancelled: the task was.
    """
    while True:
        try:
            found = is_writable(login)
        except (PermanentError, Cancelled):
            raise
        except BackupError as error:
            found = Writable(False, None, str(error))
        log.info("%s", found.detail)
        if found.writable:
            return found
        check_deadline(found.detail, deadline)
        pause(poll_seconds)


def lag_by_server(login: DatabaseLogin) -> Lag:
    """What the replica says of itself; `seconds` None when it does not replicate, or can't be asked."""
    now = datetime.now(timezone.utc)
    try:
        with connect(login) as connection:
            row = _replica_status(connection)
    except BackupError as error:
        return Lag(None, "server", None, str(error))
    if not row:
        return Lag(None, "server", now, f"{login.address} replicates from nobody")
    seconds = next((row[name] for name in _LAG_COLUMNS if row.get(name) is not None), None)
    if seconds is None:
        words = row.get("Last_SQL_Error") or row.get("Last_IO_Error") or "it is stopped"
        return Lag(None, "server", now, f"{login.address} does not replicate: {words}")
    return Lag(float(seconds), "server", now, f"{login.address} says so itself")


def _replica_status(connection: Any) -> dict[str, Any]:
    try:
        found: dict[str, Any] = connection.named_row("SHOW REPLICA STATUS")
    except StatementError as error:
        if error.code != _SYNTAX:  # MySQL before 8.0.22, MariaDB before 10.5
            raise
        found = connection.named_row("SHOW SLAVE STATUS")
    return found


def replica_lag(cloudwatch: Any, identifier: str, now: datetime, login: DatabaseLogin | None) -> Lag:
    """The replica's own word, which is of this moment, or else CloudWatch's."""
    own = lag_by_server(login) if login is not None else None
    if own is not None and own.seconds is not None:
        return own
    told = lag_by_cloudwatch(cloudwatch, identifier, now)
    return (
        told if own is None or told.seconds is not None else Lag(None, "unknown", None, f"{own.detail}; {told.detail}")
    )
