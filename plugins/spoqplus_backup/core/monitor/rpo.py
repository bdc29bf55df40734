"""How much data would have been lost during a time, had the server been lost at the worst moment.

A transaction is at risk from its commit until a repository has it: with its log, or with a full backup that was begun
behind it. So a server where nothing is written loses nothing, however old its last log is. The loss at a moment is the
age of the oldest transaction at risk.
"""

import logging
from collections.abc import Iterator, Sequence
from datetime import datetime, timedelta, timezone

from spoqplus_backup.core.connections import Connections
from spoqplus_backup.core.errors import BackupError
from spoqplus_backup.core.manifest import BinlogSegment, Model
from spoqplus_backup.core.monitor.promises import HOUR
from spoqplus_backup.core.recovery.archived import ArchivedLogs
from spoqplus_backup.core.repository.base import Repository
from spoqplus_backup.core.repository.catalog import NAMED_ONLY
from spoqplus_backup.core.repository.details import Described
from spoqplus_backup.core.settings import Settings

log = logging.getLogger(__name__)

NEVER = datetime.max.replace(tzinfo=timezone.utc)
Risk = tuple[datetime, datetime]  # from the oldest commit of a log until a repository had it
Full = tuple[datetime, datetime]  # when a full backup was begun, and when it was there


class LossKept(Model):
    """The loss from `known_from` on (what tells of earlier is deleted): the worst, and how long it was in limits."""

    worst_seconds: float
    worst_at: datetime
    share: float
    known_from: datetime
    limit_seconds: float


def loss_kept(
    settings: Settings,
    connections: Connections,
    repositories: Sequence[Repository],
    sets: Sequence[Described],
    start: datetime,
    end: datetime,
) -> LossKept | None:
    """The loss between two moments, by the primary repository that keeps its logs longest; None: nothing is known.

    Args:
        settings: the site.
        connections: where its credentials are.
        repositories: those that answer.
        sets: those of the time and since, with a day before it.
        start: UTC.
        end: UTC, a past moment.
    """
    primaries = [item for item in repositories if not settings.repository(item.name).is_replica]
    by_days = sorted(primaries, key=lambda item: settings.repository(item.name).keep.point_in_time_days, reverse=True)
    for repository in by_days:
        fulls = _fulls(sets, repository.name)
        try:
            segments = list(_segments(ArchivedLogs(settings, connections, repository)))
        except BackupError as error:
            log.warning("%s: %s", repository.url, error)
            continue
        known = [at for at, _ in fulls] + [segment.created_at for timeline in segments for segment in timeline]
        if not known or min(known) >= end:
            continue
        risks = [risk for timeline in segments for risk in _of_logs(timeline, fulls)] if segments else _between(fulls)
        return kept(risks, max(start, min(known)), end, settings.objectives.rpo_hours * HOUR)
    return None


def kept(risks: Sequence[Risk], start: datetime, end: datetime, limit: float) -> LossKept:
    """The worst of some risks during a time, and how long none was older than the limit."""
    seen = [(begun, min(over, end)) for begun, over in sorted(risks) if begun < end and over > start]
    worst, worst_at = max(((over - begun, over) for begun, over in seen), default=(timedelta(), start))
    beyond, counted = timedelta(), start
    for begun, over in seen:
        late = max(begun + timedelta(seconds=limit), counted)
        if late < over:
            beyond += over - late
            counted = over
    whole = end - start
    return LossKept(
        worst_seconds=worst.total_seconds(),
        worst_at=worst_at,
        share=1 - beyond / whole if whole else 1.0,
        known_from=start,
        limit_seconds=limit,
    )


def _fulls(sets: Sequence[Described], repository: str) -> list[Full]:
    """A full backup brings back what was there when it began."""
    return sorted(
        (item.details.started_at, item.details.finished_at)
        for item in sets
        if item.details is not None
        and item.found.cadence not in NAMED_ONLY
        and any(copy.repository == repository for copy in item.found.copies)
    )


def _segments(logs: ArchivedLogs) -> Iterator[list[BinlogSegment]]:
    for timeline in logs.timelines():
        if found := [segment for segment, _ in logs.load(timeline, logs.names(timeline))]:
            yield found


def _of_logs(segments: Sequence[BinlogSegment], fulls: Sequence[Full]) -> Iterator[Risk]:
    """Those of a timeline. Behind a gap, logs are no help until a full backup is there that was begun behind it."""
    gap = segments[0].gap
    ready = None if gap is None else _there(fulls, segments[0].created_at)
    if gap is not None and gap.lost_from is not None and ready is not None:
        yield gap.lost_from, ready
    for segment in segments:
        begun, last = segment.earliest_at or segment.first_at, segment.latest_at or segment.last_at
        if begun is None or last is None:
            continue
        archived = segment.archived_at if ready is None else max(segment.archived_at, ready)
        yield from _pieces(begun, last, archived, fulls)


def _pieces(begun: datetime, last: datetime, archived: datetime, fulls: Sequence[Full]) -> Iterator[Risk]:
    """A log's transactions, those before a full backup apart from those behind it, if that was there before the log."""
    for snapshot, finished in fulls:
        if begun < snapshot and finished < archived:
            yield begun, finished
            if snapshot > last:
                return
            begun = snapshot
    yield begun, archived


def _there(fulls: Sequence[Full], moment: datetime) -> datetime:
    """When the first full backup was there that holds what was committed up to a moment."""
    return min((finished for begun, finished in fulls if begun > moment), default=NEVER)


def _between(fulls: Sequence[Full]) -> list[Risk]:
    """Without logs everything since a backup is at risk until the next one is there."""
    ends = [finished for _, finished in fulls[1:]] + [NEVER]
    return [(begun, over) for (begun, _), over in zip(fulls, ends, strict=True)]
