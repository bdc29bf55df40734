"""How far the archived logs lead from each full backup: the points in time that a restore can reach, and those not."""

import logging
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass
from datetime import datetime, timedelta

from spoqplus_backup.core.errors import IntegrityError, PermanentError
from spoqplus_backup.core.manifest import BinlogSegment, Component, Manifest, Model
from spoqplus_backup.core.mysql.gtid import GtidSet, GtidState
from spoqplus_backup.core.recovery.archived import ArchivedLogs, follows, next_name
from spoqplus_backup.core.repository.binlogs import Timeline
from spoqplus_backup.core.repository.catalog import SAFETY, Catalog
from spoqplus_backup.core.run import DATABASE
from spoqplus_backup.core.stages import STORE_THREADS, in_parallel

log = logging.getLogger(__name__)

SECOND = timedelta(seconds=1)


class Window(Model):
    """What can be reached from one full backup: from its snapshot to the end of the logs behind it."""

    backup: str
    start: datetime
    end: datetime
    timeline: str | None = None
    first_log: str | None = None
    last_log: str | None = None
    problem: str | None = None
    """Why it has no logs, or why they lead no further; None when nothing is wrong."""

    @property
    def has_logs(self) -> bool:
        """Whether there is more than the snapshot."""
        return self.first_log is not None


class Unreachable(Model):
    """A stretch of time between windows."""

    start: datetime
    end: datetime
    reason: str


class NoLogsError(PermanentError):
    """No archived log holds the place where a backup's snapshot was taken."""


@dataclass(frozen=True)
class Run:
    """The logs behind a full backup, without a gap; `first` is the one with its snapshot."""

    manifest: Manifest
    component: Component
    timeline: Timeline
    first: BinlogSegment
    names: tuple[str, ...]
    missing: str | None
    """The log that is not there although later ones of the timeline are."""

    @property
    def position(self) -> int:
        """Where in `first` the snapshot stands."""
        return self.component.coordinates.position or 0


def fulls(catalog: Catalog) -> Iterator[Manifest]:
    """The full backups of a repository, newest first.

    Raises:
        IntegrityError: a manifest can't be trusted.
    """
    refs = [ref for ref in catalog.sets() if ref.cadence != SAFETY]
    for start in range(0, len(refs), STORE_THREADS):
        for manifest in in_parallel(catalog.load, refs[start : start + STORE_THREADS], STORE_THREADS):
            if is_full(manifest):
                yield manifest


def is_full(manifest: Manifest) -> bool:
    """Whether a set is a full backup: a safety backup holds what a restore replaced, and nothing else."""
    return manifest.cadence != SAFETY and any(component.name == DATABASE for component in manifest.components)


def run_of(logs: ArchivedLogs, manifest: Manifest) -> Run:
    """Find the timeline that holds a full backup's snapshot, and how far it leads.

    Raises:
        NoLogsError: none does.
        IntegrityError: a sidecar can't be trusted.
    """
    component = manifest.component(DATABASE)
    at = component.coordinates
    if at.file is None or at.position is None:
        raise NoLogsError(f"{manifest.name} has no coordinates: its server wrote no binary log.")
    found = [
        (timeline, segment)
        for timeline in reversed(logs.timelines(manifest.server.id))
        if at.file in logs.names(timeline)
        and holds(segment := logs.segment(timeline, at.file), manifest.server.uuid, component)
    ]
    if not found:
        raise NoLogsError(
            f"No archived log holds the snapshot of {manifest.name} ({at.file} {at.position}, server "
            f"{manifest.server.id}) in {logs.repository.url}: it was not archived yet, or not at all."
        )
    # A log that was made while the dump ran (its time is in whole seconds) may be of a server that was reset after it.
    began = component.started_at.replace(microsecond=0)
    timeline, first = next((pair for pair in found if pair[1].created_at < began), found[-1])
    opening = logs.segment(timeline, logs.names(timeline)[0]).gap
    if opening is not None and opening.unlogged:
        raise NoLogsError(
            f"No log leads on from {manifest.name}: while it was taken, its server was changed in ways that its logs "
            f"do not hold. {opening.words}"
        )
    names, missing = _without_a_gap(logs.names(timeline), first.name)
    return Run(manifest, component, timeline, first, names, missing)


def holds(segment: BinlogSegment, uuid: str | None, component: Component) -> bool:
    """Whether a log of the snapshot's file name is the very file: names and positions come again after a reset."""
    at = component.coordinates
    if uuid and segment.server.uuid and uuid != segment.server.uuid:
        return False
    if (at.position or 0) > segment.log.raw_bytes:
        return False
    # It was open when the snapshot was taken, and is archived when it is closed.
    if segment.archived_at < component.started_at or segment.created_at > component.finished_at:
        return False
    return at.gtid is None or _fits(segment, at.gtid, at.position or 0)


def _fits(segment: BinlogSegment, gtid: str, position: int) -> bool:
    if segment.server.flavour == "mysql":
        executed = GtidSet.parse(gtid)
        whole = position >= segment.end
        return GtidSet.parse(segment.gtids_before) <= executed and (
            not whole or GtidSet.parse(segment.gtids_after) <= executed
        )
    before, after = GtidState.parse(segment.gtids_before), GtidState.parse(segment.gtids_after)
    wanted = GtidState.parse(gtid)
    return all(
        before.last(one.domain, one.server) <= one.sequence <= after.last(one.domain, one.server)
        for one in wanted.entries()
    )


def _without_a_gap(names: Sequence[str], first: str) -> tuple[tuple[str, ...], str | None]:
    later = names[names.index(first) :]
    run = [later[0]]
    for name in later[1:]:
        if not follows(run[-1], name):
            return tuple(run), next_name(run[-1])
        run.append(name)
    return tuple(run), None


def snapshot_at(manifest: Manifest) -> datetime:
    """When a full backup's snapshot was taken, as finely as its server's events tell: MariaDB's know whole seconds."""
    taken = manifest.component(DATABASE).started_at
    return taken.replace(microsecond=0) if manifest.server.flavour == "mariadb" else taken


def window_of(logs: ArchivedLogs, run: Run) -> Window:
    """From the snapshot to the end of the logs behind it; only the sidecars at the end are read."""
    start = snapshot_at(run.manifest)
    return Window(
        backup=run.manifest.name,
        start=start,
        end=max(start, _end_of(logs, run) or start),
        timeline=run.timeline.name,
        first_log=run.first.name,
        last_log=run.names[-1],
        problem=_why_no_further(logs, run),
    )


def _end_of(logs: ArchivedLogs, run: Run) -> datetime | None:
    """Up to when the logs hold everything: the last transaction, or the second before the last log was ended.

    In that second itself something may have been written to the next log already.
    """
    known: list[datetime] = []
    for name in reversed(run.names):
        segment = logs.segment(run.timeline, name)
        if segment.closed_at is not None:
            known.append(segment.closed_at - SECOND)
        if segment.last_at is not None:
            known.append(segment.last_at)
            break
    return max(known, default=None)


def _why_no_further(logs: ArchivedLogs, run: Run) -> str | None:
    if run.missing is not None:
        return f"{run.timeline.folder}/{run.missing} is missing in {logs.repository.url}"
    last = run.names[-1]
    for timeline in logs.timelines():
        own = timeline.server_id == run.timeline.server_id
        names = logs.names(timeline)
        if not names or (own and timeline.name <= run.timeline.name):
            continue
        first = logs.segment(timeline, names[0])
        # a timeline of another server goes on from here only when it says so
        if first.gap is not None and (own or (first.gap.reason == "server" and first.gap.after == last)):
            return first.gap.words
        if own:
            return f"the timeline {timeline.name} begins"
    return None


def windows(logs: ArchivedLogs, manifests: Iterable[Manifest]) -> list[Window]:
    """The window of every full backup, newest first; one whose logs can't be used says why.

    Args:
        logs: of the repository that the backups are in.
        manifests: as of `fulls`.

    Raises:
        IntegrityError: a manifest can't be trusted.
    """
    return [window_or_problem(logs, manifest) for manifest in manifests]


def window_or_problem(logs: ArchivedLogs, manifest: Manifest) -> Window:
    """A full backup's window; when no log can be used, its snapshot alone and the reason."""
    try:
        return window_of(logs, run_of(logs, manifest))
    except (NoLogsError, IntegrityError) as error:
        taken = snapshot_at(manifest)
        return Window(backup=manifest.name, start=taken, end=taken, problem=str(error))


def unreachable(found: Sequence[Window]) -> list[Unreachable]:
    """The stretches between windows, oldest first; both ends are reachable themselves."""
    stretches: list[Unreachable] = []
    ordered = sorted(found, key=lambda window: (window.start, window.end))
    if not ordered:
        return []
    furthest = ordered[0]
    for window in ordered[1:]:
        if window.start > furthest.end:
            reason = furthest.problem or f"no archived log leads from {furthest.backup} to {window.backup}"
            stretches.append(Unreachable(start=furthest.end, end=window.start, reason=reason))
        if window.end > furthest.end:
            furthest = window
    return stretches
