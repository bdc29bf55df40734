"""The replica in the DR region: how far behind it is, its promotion, and an instance made of a snapshot instead of it.

Every function can be called again: what is done already is a success, what is under way goes on.
"""

import logging
import threading
import time
from collections.abc import Mapping
from dataclasses import dataclass
from datetime import datetime, timedelta, timezone
from typing import Any

from spoqplus_backup.core.dr.errors import aws_calls, code_of
from spoqplus_backup.core.errors import AbsentError, BackupError, PermanentError
from spoqplus_backup.core.process import check_cancelled
from spoqplus_backup.core.settings_dr import RestoreInstanceSettings

log = logging.getLogger(__name__)

AVAILABLE = "available"
LAG_WINDOW = timedelta(minutes=15)
# https://docs.aws.amazon.com/AmazonRDS/latest/UserGuide/accessing-monitoring.html: a person has to look at these.
_NEVER = frozenset(
    {"failed", "deleting", "stopped", "stopping", "storage-full", "insufficient-capacity", "restore-error"}
    | {"incompatible-network", "incompatible-option-group", "incompatible-parameters", "incompatible-restore"}
    | {"inaccessible-encryption-credentials", "inaccessible-encryption-credentials-recoverable"}
)


@dataclass(frozen=True)
class Instance:
    """An RDS instance. `source` is what it replicates from; None: it is a server of its own."""

    identifier: str
    arn: str
    status: str
    source: str | None
    endpoint: str | None
    port: int
    engine: str
    engine_version: str
    backup_retention_days: int
    replication: str | None

    @property
    def is_replica(self) -> bool:
        """Whether it still replicates, so that it takes no writes."""
        return self.source is not None

    @property
    def is_available(self) -> bool:
        """Whether RDS does nothing with it just now."""
        return self.status == AVAILABLE

    @property
    def is_hopeless(self) -> bool:
        """Whether it is in a state that it does not leave by itself."""
        return self.status in _NEVER


@dataclass(frozen=True)
class Lag:
    """How far a replica is behind, in seconds; None when nobody says. `by` is who was asked."""

    seconds: float | None
    by: str
    at: datetime | None
    detail: str


@dataclass(frozen=True)
class Promotion:
    """What was asked for; `already`: nothing had to be asked for."""

    instance: Instance
    already: bool


@dataclass(frozen=True)
class Snapshot:
    """A snapshot of an instance, which was taken at `created`."""

    identifier: str
    instance: str
    created: datetime
    encrypted: bool


def find_instance(rds: Any, identifier: str) -> Instance:
    """Look an instance up.

    Raises:
        AbsentError: there is none of that identifier in this region.
    """
    from botocore.exceptions import ClientError

    with aws_calls(f"To look at the instance {identifier} in {_region(rds)}"):
        try:
            found = rds.describe_db_instances(DBInstanceIdentifier=identifier)["DBInstances"]
        except ClientError as error:
            if not code_of(error).startswith("DBInstanceNotFound"):
                raise
            found = []
    if not found:
        raise AbsentError(
            f"There is no RDS instance {identifier} in {_region(rds)}: correct `dr.database`, or restore one."
        )
    return _instance(found[0])


def _instance(found: Mapping[str, Any]) -> Instance:
    endpoint = found.get("Endpoint") or {}
    replication = [
        str(info.get("Status"))
        for info in found.get("StatusInfos") or ()
        if info.get("StatusType") == "read replication"
    ]
    return Instance(
        identifier=found["DBInstanceIdentifier"],
        arn=found.get("DBInstanceArn", ""),
        status=found.get("DBInstanceStatus", ""),
        source=found.get("ReadReplicaSourceDBInstanceIdentifier") or None,
        endpoint=endpoint.get("Address"),
        port=endpoint.get("Port") or 3306,
        engine=found.get("Engine", ""),
        engine_version=found.get("EngineVersion", ""),
        backup_retention_days=found.get("BackupRetentionPeriod") or 0,
        replication=replication[0] if replication else None,
    )


def _region(client: Any) -> str:
    return str(client.meta.region_name)


def lag_by_cloudwatch(cloudwatch: Any, identifier: str, now: datetime) -> Lag:
    """The newest `ReplicaLag` of the last quarter of an hour; -1 there means that replication is not running."""
    try:
        with aws_calls(f"To ask CloudWatch for the lag of {identifier}"):
            points = cloudwatch.get_metric_statistics(
                Namespace="AWS/RDS",
                MetricName="ReplicaLag",
                Dimensions=[{"Name": "DBInstanceIdentifier", "Value": identifier}],
                StartTime=now - LAG_WINDOW,
                EndTime=now,
                Period=60,
                Statistics=["Maximum"],
            )["Datapoints"]
    except BackupError as error:
        return Lag(None, "cloudwatch", None, str(error))
    if not points:
        return Lag(None, "cloudwatch", None, f"CloudWatch has no ReplicaLag of {identifier} since {now - LAG_WINDOW}")
    newest = max(points, key=lambda point: point["Timestamp"])
    at, seconds = newest["Timestamp"].astimezone(timezone.utc), float(newest["Maximum"])
    if seconds < 0:
        return Lag(None, "cloudwatch", at, f"CloudWatch says that {identifier} does not replicate")
    return Lag(seconds, "cloudwatch", at, f"CloudWatch's ReplicaLag of {identifier} at {at:%H:%M} UTC")


def promote(rds: Any, identifier: str, *, backup_retention_days: int, backup_window: str | None = None) -> Promotion:
    """Ask RDS to make a server of its own of a replica. It takes minutes: `promoted` tells when it is one.

    Raises:
        AbsentError: there is no such instance.
        PermanentError: RDS refuses.
    """
    from botocore.exceptions import ClientError

    instance = find_instance(rds, identifier)
    if not instance.is_replica:
        log.info("%s is no replica (any more): nothing to promote", identifier)
        return Promotion(instance, already=True)
    _refuse_hopeless(instance)
    options: dict[str, Any] = {"BackupRetentionPeriod": backup_retention_days}
    if backup_window:
        options["PreferredBackupWindow"] = backup_window
    with aws_calls(f"To promote {identifier} in {_region(rds)}"):
        try:
            rds.promote_read_replica(DBInstanceIdentifier=identifier, **options)
        except ClientError as error:
            if not code_of(error).startswith("InvalidDBInstanceState"):
                raise
            log.info("%s is %s: RDS takes no promotion now; it is under way, or will be asked for again", identifier,
                     instance.status)  # fmt: skip
            return Promotion(instance, already=False)
    log.info("RDS was asked to promote %s, which replicated from %s", identifier, instance.source)
    return Promotion(instance, already=False)


def promoted(rds: Any, identifier: str) -> Instance | None:
    """The instance when it is a server of its own and available; None: not yet.

    Raises:
        PermanentError: it is in a state that it does not leave by itself.
    """
    instance = find_instance(rds, identifier)
    _refuse_hopeless(instance)
    done = instance.is_available and not instance.is_replica
    log.info("%s is %s%s", identifier, instance.status, ", still a replica" if instance.is_replica else "")
    return instance if done else None


def _refuse_hopeless(instance: Instance) -> None:
    if instance.is_hopeless:
        raise PermanentError(
            f"{instance.identifier} is {instance.status} and won't become available by itself: look at it in the RDS "
            "console (Logs & events), or restore another instance from a snapshot or a backup."
        )


@dataclass(frozen=True)
class Waiting:
    """What is waited for: an instance that is to be a server of its own; `asks` is how a promotion is asked for."""

    identifier: str
    asks: Mapping[str, Any] | None = None

    def look(self, rds: Any) -> Instance | None:
        """As `promoted`; asks again when a replica stands there available: RDS promotes none that it is backing up."""
        instance = promoted(rds, self.identifier)
        if instance is None and self.asks is not None:
            found = find_instance(rds, self.identifier)
            if found.is_replica and found.is_available:
                promote(rds, self.identifier, **self.asks)
        return instance

    def wait(self, rds: Any, deadline: float, poll_seconds: float) -> Instance:
        """Wait until it is one; `deadline` is in seconds of `time.time`.

        Raises:
            BackupError: it was not by then.
            PermanentError: it never will be.
            Cancelled: the task was.
        """
        instance = promoted(rds, self.identifier)  # what was asked for a moment ago is not asked for again
        while instance is None:
            check_deadline(self.identifier, deadline)
            pause(poll_seconds)
            instance = self.look(rds)
        return instance


def check_deadline(what: str, deadline: float) -> None:
    """Raises `BackupError` when it is over; `what` is what was waited for."""
    if time.time() > deadline:
        raise BackupError(
            f"{what}: that is no available server that takes writes after `dr.database.wait_minutes`: look at it in "
            "the RDS console. A retry goes on waiting; nothing is done twice."
        )


def pause(seconds: float) -> None:
    """Wait, and raise `Cancelled` within a second when the task is cancelled."""
    end = time.monotonic() + seconds
    while (left := end - time.monotonic()) > 0:
        check_cancelled()
        threading.Event().wait(min(left, 1))
    check_cancelled()


def newest_snapshot(rds: Any, source: str) -> Snapshot | None:
    """The newest usable snapshot of an instance in this region, automatic or by hand; None: there is none."""
    with aws_calls(f"To list the snapshots of {source} in {_region(rds)}"):
        pages = rds.get_paginator("describe_db_snapshots").paginate(DBInstanceIdentifier=source)
        found = [_snapshot(item) for page in pages for item in page["DBSnapshots"] if item["Status"] == AVAILABLE]
    return max(found, key=lambda snapshot: snapshot.created, default=None)


def find_snapshot(rds: Any, how: RestoreInstanceSettings) -> Snapshot:
    """The snapshot that the settings name, or the newest one of their instance.

    Raises:
        AbsentError: there is none.
    """
    from botocore.exceptions import ClientError

    snapshot = None
    if how.snapshot is None:
        snapshot = newest_snapshot(rds, how.source or "")
    else:
        with aws_calls(f"To look at the snapshot {how.snapshot} in {_region(rds)}"):
            try:
                found = rds.describe_db_snapshots(DBSnapshotIdentifier=how.snapshot)["DBSnapshots"]
            except ClientError as error:
                if not code_of(error).startswith("DBSnapshotNotFound"):
                    raise
                found = []
        snapshot = _snapshot(found[0]) if found else None
    if snapshot is None:
        raise AbsentError(
            f"There is no snapshot {how.snapshot or f'of {how.source}'} in {_region(rds)}: copy one there, or restore "
            "from the DR bucket instead."
        )
    return snapshot


def _snapshot(found: Mapping[str, Any]) -> Snapshot:
    return Snapshot(
        identifier=found["DBSnapshotIdentifier"],
        instance=found["DBInstanceIdentifier"],
        created=found["SnapshotCreateTime"].astimezone(timezone.utc),
        encrypted=bool(found.get("Encrypted")),
    )


def restore_from_snapshot(rds: Any, how: RestoreInstanceSettings, snapshot: Snapshot) -> Promotion:
    """Ask RDS for a new instance of a snapshot; one that is there already is taken as it is. `promoted` tells when.

    Raises:
        PermanentError: RDS refuses.
    """
    try:
        return Promotion(find_instance(rds, how.instance), already=True)
    except AbsentError:
        pass
    chosen = {
        "DBInstanceClass": how.instance_class,
        "DBSubnetGroupName": how.subnet_group,
        "VpcSecurityGroupIds": list(how.security_groups),
        "DBParameterGroupName": how.parameter_group,
    }
    with aws_calls(f"To restore {how.instance} of the snapshot {snapshot.identifier} in {_region(rds)}"):
        rds.restore_db_instance_from_db_snapshot(
            DBInstanceIdentifier=how.instance,
            DBSnapshotIdentifier=snapshot.identifier,
            MultiAZ=how.multi_az,
            PubliclyAccessible=False,
            **{name: value for name, value in chosen.items() if value},
        )
    log.info("RDS was asked for %s of the snapshot %s of %s", how.instance, snapshot.identifier, snapshot.created)
    return Promotion(find_instance(rds, how.instance), already=False)
