"""The ways to a database in the DR region: the replica, and when that is lost, our backups or a snapshot of RDS."""

import logging
import tempfile
from collections.abc import Iterator
from dataclasses import dataclass, field
from datetime import datetime, timedelta, timezone
from pathlib import Path

from spoqplus_backup.core.connections import Connections
from spoqplus_backup.core.crypto import scheme_for
from spoqplus_backup.core.dr.findings import Finding, Subject, Verdict, WayOut
from spoqplus_backup.core.dr.places import dr_repository
from spoqplus_backup.core.dr.rds import Instance, find_instance, find_snapshot
from spoqplus_backup.core.dr.server import dr_login, dr_settings, is_writable, replica_lag
from spoqplus_backup.core.errors import AbsentError, BackupError
from spoqplus_backup.core.manifest import BinlogSegment, Flavour, Manifest
from spoqplus_backup.core.mysql.gtid import GtidSet, GtidState
from spoqplus_backup.core.notice import Notice, notice
from spoqplus_backup.core.recovery.archived import ArchivedLogs
from spoqplus_backup.core.recovery.index import read_index
from spoqplus_backup.core.recovery.planning import FETCH_BYTES_PER_SECOND, FIXED_SECONDS, LOAD_BYTES_PER_SECOND
from spoqplus_backup.core.recovery.windows import Run, Window, fulls, run_of, window_or_problem
from spoqplus_backup.core.repository.base import Repository
from spoqplus_backup.core.repository.catalog import Catalog
from spoqplus_backup.core.run import DATABASE
from spoqplus_backup.core.settings import Settings

log = logging.getLogger(__name__)

PROMOTION_SECONDS = 600.0  # what AWS says it takes: several minutes and a restart
SNAPSHOT_SECONDS = 2400.0
MINUTE = 60.0


@dataclass
class Found:
    """What was found of the ways, filled step by step."""

    ways: list[WayOut] = field(default_factory=list)
    findings: list[Finding] = field(default_factory=list)
    segment: BinlogSegment | None = None
    """The last log that a restore would apply."""
    complete_until: datetime | None = None
    """Up to when backups and logs hold everything."""

    def say(self, subject: Subject, verdict: Verdict, what: Notice) -> None:
        """Add a finding."""
        self.findings.append(Finding(subject=subject, verdict=verdict, what=what))


def look_at_ways(settings: Settings, connections: Connections, region: str, now: datetime) -> Found:
    """All of them; a way that can't be looked at is not usable, and says why."""
    found = Found()
    _backups(settings, connections, now, found)
    _replica(settings, connections, region, now, found)
    _snapshot(settings, connections, region, found)
    if not any(way.usable for way in found.ways):
        found.say("replica", "fails", notice("dr.no_way", "There is no way to a database in the DR region."))
    return found


def minutes(seconds: float) -> str:
    """Rounded as a person says it."""
    return f"{seconds / MINUTE:.1f}"


def _backups(settings: Settings, connections: Connections, now: datetime, found: Found) -> None:
    usable = False
    seconds = 0.0
    try:
        repository = dr_repository(settings, connections)
        manifest = next(fulls(Catalog(repository, settings.signing.public_key_files, settings.site)), None)
        if manifest is None:
            found.say(
                "backups",
                "fails",
                notice("dr.backups.none", "{repository} has no full backup.", repository=repository.url),
            )
        else:
            usable = True
            seconds = _restore_seconds(manifest)
            window = _window(settings, connections, repository, manifest, found)
            found.complete_until = window.end
            found.findings += _judged_backup(settings, repository, manifest, window, now)
            usable = _can_open(settings, connections, repository, manifest, found)
    except BackupError as error:
        found.say(
            "backups", "fails", notice("dr.backups.error", "The backups can't be looked at: {words}", words=error)
        )
    found.ways.append(WayOut(way="backups", usable=usable, complete_until=found.complete_until, seconds=seconds))


def _restore_seconds(manifest: Manifest) -> float:
    component = manifest.component(DATABASE)
    return FIXED_SECONDS + component.raw_bytes / LOAD_BYTES_PER_SECOND + component.stored_bytes / FETCH_BYTES_PER_SECOND


def _window(
    settings: Settings, connections: Connections, repository: Repository, manifest: Manifest, found: Found
) -> Window:
    logs = ArchivedLogs(settings, connections, repository)
    window = window_or_problem(logs, manifest)
    if window.has_logs:
        run: Run = run_of(logs, manifest)
        found.segment = logs.segment(run.timeline, run.names[-1])
    return window


def _judged_backup(
    settings: Settings, repository: Repository, manifest: Manifest, window: Window, now: datetime
) -> Iterator[Finding]:
    lost = (now - window.end).total_seconds()
    late = lost > settings.objectives.rpo_hours * 3600
    yield Finding(
        subject="backups",
        verdict="warning" if late else "good",
        what=notice(
            "dr.backups",
            "The newest full backup in {repository} is {backup}; backups and archived logs there hold everything up to "
            "{until}: {minutes} minutes would be lost.",
            repository=repository.url,
            backup=manifest.name,
            until=f"{window.end:%Y-%m-%d %H:%M:%S} UTC",
            minutes=minutes(lost),
        ),
    )
    if window.problem is not None:
        yield Finding(
            subject="backups",
            verdict="warning",
            what=notice("dr.backups.logs", "The logs lead no further: {words}", words=window.problem),
        )


def _can_open(
    settings: Settings, connections: Connections, repository: Repository, manifest: Manifest, found: Found
) -> bool:
    """Whether this worker has the key: it opens the list of what the backup holds."""
    with tempfile.TemporaryDirectory() as folder:
        try:
            scheme = scheme_for(settings, connections, manifest.encryption.scheme)
            read_index(repository, manifest, manifest.component(DATABASE), scheme, Path(folder))
        except BackupError as error:
            found.say(
                "backups",
                "warning",
                notice(
                    "dr.backups.key",
                    "This worker can't open the backup {backup}: {words}",
                    backup=manifest.name,
                    words=error,
                ),
            )
            return False
    found.say("backups", "good", notice("dr.backups.opens", "This worker's key opens {backup}.", backup=manifest.name))
    return True


def _replica(settings: Settings, connections: Connections, region: str, now: datetime, found: Found) -> None:
    dr = dr_settings(settings)
    identifier = dr.database.replica
    usable, until = False, None
    try:
        instance = find_instance(connections.aws_client(dr.connection, "rds", region), identifier)
        usable, until = _judged_replica(settings, connections, region, now, instance, found)
    except AbsentError:
        found.say(
            "replica",
            "fails",
            notice("dr.replica.lost", "There is no replica {replica} in {region}.", replica=identifier, region=region),
        )
    except BackupError as error:
        found.say(
            "replica", "fails", notice("dr.replica.error", "The replica can't be looked at: {words}", words=error)
        )
    found.ways.append(WayOut(way="replica", usable=usable, complete_until=until, seconds=PROMOTION_SECONDS))


def _judged_replica(
    settings: Settings, connections: Connections, region: str, now: datetime, instance: Instance, found: Found
) -> tuple[bool, datetime | None]:
    """Whether it can be promoted, and up to when it holds everything."""
    if instance.is_hopeless:
        found.say(
            "replica",
            "fails",
            notice(
                "dr.replica.status",
                "The replica {replica} is {status}, so it can't be promoted.",
                replica=instance.identifier,
                status=instance.status,
            ),
        )
        return False, None
    if not instance.is_replica:
        found.say(
            "replica",
            "warning",
            notice(
                "dr.replica.promoted", "{replica} is promoted already: it is no replica.", replica=instance.identifier
            ),
        )
        return True, found.complete_until
    until = _replica_until(settings, connections, region, now, instance, found)
    limit = dr_settings(settings).database.maximum_lag_minutes * MINUTE
    if until is None:
        found.say(
            "replica",
            "warning",
            notice(
                "dr.replica.unknown",
                "The replica {replica} can be promoted; how far behind it is nobody knows.",
                replica=instance.identifier,
            ),
        )
        return True, None
    behind = (now - until).total_seconds()
    found.say(
        "replica",
        "fails" if behind > limit else "good",
        notice(
            "dr.replica",
            "The replica {replica} is {status} and {minutes} minutes behind.",
            replica=instance.identifier,
            status=instance.status,
            minutes=minutes(behind),
        ),
    )
    return True, until


def _replica_until(
    settings: Settings, connections: Connections, region: str, now: datetime, instance: Instance, found: Found
) -> datetime | None:
    """Up to when the replica holds everything: by its lag, or at least what the archived logs hold."""
    dr = dr_settings(settings)
    login = None
    try:
        login = dr_login(settings, connections, region)
        executed = is_writable(login).gtids
    except BackupError as error:
        log.info("The replica can't be asked itself: %s", error)
        executed = None
    lag = replica_lag(connections.aws_client(dr.connection, "cloudwatch", region), instance.identifier, now, login)
    known = [] if lag.seconds is None else [(lag.at or now) - timedelta(seconds=lag.seconds)]
    if executed is not None and found.segment is not None and found.complete_until is not None:
        if holds(found.segment.server.flavour, executed, found.segment.gtids_after):
            known.append(found.complete_until)
        else:
            found.say(
                "replica",
                "warning",
                notice(
                    "dr.replica.behind_logs",
                    "The replica lacks transactions that are in the archived log {log}: the backups would lose less.",
                    log=found.segment.name,
                ),
            )
    return max(known, default=None)


def lacks(settings: Settings, connections: Connections, executed: str | None) -> BinlogSegment | None:
    """The last archived log, when a server has not executed everything in it; None also where nobody can tell."""
    found = Found()
    if executed is None:
        return None
    _backups(settings, connections, datetime.now(timezone.utc), found)
    segment = found.segment
    if segment is None or holds(segment.server.flavour, executed, segment.gtids_after):
        return None
    return segment


def holds(flavour: Flavour, executed: str, archived: str) -> bool:
    """Whether a server has executed everything that the archived logs hold, by their GTIDs."""
    if flavour == "mysql":
        return GtidSet.parse(archived) <= GtidSet.parse(executed)
    there = GtidState.parse(executed)
    wanted = GtidState.parse(archived)
    newest = {gtid.domain: there.newest(gtid.domain) for gtid in wanted.entries()}
    for gtid in wanted.entries():
        last = newest[gtid.domain]
        if last is None or last.sequence < gtid.sequence:
            return False
    return True


def _snapshot(settings: Settings, connections: Connections, region: str, found: Found) -> None:
    dr = dr_settings(settings)
    how = dr.database.restore
    if how is None:
        return
    usable, created = False, None
    try:
        snapshot = find_snapshot(connections.aws_client(dr.connection, "rds", region), how)
        usable, created = True, snapshot.created
        what = notice(
            "dr.snapshot",
            "RDS has the snapshot {snapshot} of {created}.",
            snapshot=snapshot.identifier,
            created=f"{created:%Y-%m-%d %H:%M:%S} UTC",
        )
    except BackupError as error:
        what = notice("dr.snapshot.error", "No snapshot can be used: {words}", words=error)
    found.say("snapshot", "good" if usable else "warning", what)
    found.ways.append(WayOut(way="snapshot", usable=usable, complete_until=created, seconds=SNAPSHOT_SECONDS))
