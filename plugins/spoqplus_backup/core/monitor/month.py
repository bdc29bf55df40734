"""What became of the promises in a month: for the digest. From manifests, sidecars and reports, never from Airflow.

A scheduled time counts as kept when a set carries a time from then until the next one, also when retention deleted it
since (its journal names it); as failed when only an unfinished set of then is known, and else as missing. Incremental
sets are only counted: where nothing was written there is none, and each covers what came since the last.
"""

import contextlib
import logging
from collections import Counter
from collections.abc import Iterable, Iterator, Sequence
from datetime import datetime, timedelta, timezone
from zoneinfo import ZoneInfo

from spoqplus_backup.core.connections import Connections
from spoqplus_backup.core.errors import BackupError
from spoqplus_backup.core.manifest import Model
from spoqplus_backup.core.monitor.gather import CADENCES, gather
from spoqplus_backup.core.monitor.growth import Growth, Outlook, growth, outlooks
from spoqplus_backup.core.monitor.model import RepositoryState, TestFacts
from spoqplus_backup.core.monitor.promises import HOUR, Promise, promises
from spoqplus_backup.core.monitor.rpo import LossKept, loss_kept
from spoqplus_backup.core.monitor.schedule import after, cron_of
from spoqplus_backup.core.repository.base import Repository
from spoqplus_backup.core.repository.catalog import INCREMENTAL, Catalog
from spoqplus_backup.core.repository.details import Described, described
from spoqplus_backup.core.repository.details_cache import DetailsCache
from spoqplus_backup.core.repository.opener import open_all
from spoqplus_backup.core.repository.survey import Survey
from spoqplus_backup.core.retention.facts import named_time
from spoqplus_backup.core.retention.journal import records
from spoqplus_backup.core.settings import Settings

log = logging.getLogger(__name__)


class CadenceKept(Model):
    """The sets of a cadence: `scheduled` times, how many were `kept`, `failed` and `missing`; `made` are all sets."""

    cadence: str
    scheduled: int
    made: int
    kept: int
    failed: int
    missing: int


class Month(Model):
    """A calendar month of a site, from `start` to before `end` (UTC); what is said of now is of `as_of`.

    `loss` is None when no log or backup tells of it, `growth` when there are no two full backups. `tests` are those
    from the month's beginning until now. `deleted` counts sets that retention deleted, `freed` its bytes.
    """

    site: str
    as_of: datetime
    start: datetime
    end: datetime
    cadences: tuple[CadenceKept, ...]
    loss: LossKept | None
    tests: tuple[TestFacts, ...]
    rto_limit_seconds: float
    growth: Growth | None
    outlooks: tuple[Outlook, ...]
    copies: Promise
    repositories: tuple[RepositoryState, ...]
    deleted: int
    freed: int

    @property
    def is_good(self) -> bool:
        """Whether everything that was promised was kept, and no repository is down."""
        kept = all(not (item.failed or item.missing) for item in self.cadences)
        proved = bool(self.tests) and all(test.verdict == "passed" and test.in_time for test in self.tests)
        little = self.loss is not None and self.loss.worst_seconds <= self.loss.limit_seconds
        return kept and proved and little and self.copies.ok is True and all(state.up for state in self.repositories)


def month_before(settings: Settings, moment: datetime) -> tuple[datetime, datetime]:
    """The calendar month before a moment's, in the site's zone: its beginning and its end, UTC."""
    here = moment.astimezone(ZoneInfo(settings.timezone))
    end = here.replace(day=1, hour=0, minute=0, second=0, microsecond=0)
    start = (end - timedelta(days=1)).replace(day=1)
    return start.astimezone(timezone.utc), end.astimezone(timezone.utc)


def month_of(settings: Settings, connections: Connections, *, now: datetime | None = None) -> Month:
    """What is known of the month before. Never raises because of a repository: one that is down is said.

    Args:
        settings: the site.
        connections: where its credentials are.
        now: UTC; the present when None.
    """
    now = now or datetime.now(timezone.utc)
    start, end = month_before(settings, now)
    facts = gather(settings, connections, now=now)
    up = {state.name for state in facts.repositories if state.up}
    repositories = [item for item in open_all(settings, connections) if item.name in up]
    journal = _Journal(settings, repositories, start)
    sets = _sets(settings, repositories, start - timedelta(days=1), now)
    begun = max(start, facts.first_at or start)
    return Month(
        site=settings.site,
        as_of=now,
        start=start,
        end=end,
        cadences=tuple(_cadences(settings, sets, journal, begun, end)),
        loss=loss_kept(settings, connections, repositories, sets, begun, end),
        rto_limit_seconds=settings.objectives.rto_hours * HOUR,
        tests=tuple(test for test in reversed(facts.tests) if test.finished_at >= start),
        growth=growth(sets, start, now),
        outlooks=outlooks(settings, facts, sets, now),
        copies=next(promise for promise in promises(facts, settings, now) if promise.name == "copies"),
        repositories=facts.repositories,
        deleted=len(journal.sets),
        freed=journal.bytes,
    )


class _Journal:
    """What retention deleted since a moment: a set from each repository is one."""

    def __init__(self, settings: Settings, repositories: Iterable[Repository], since: datetime) -> None:
        self.sets: set[str] = set()
        self.unfinished: set[str] = set()
        self.bytes = 0
        for repository in repositories:
            with _said(repository):
                for record in records(repository, settings.signing.public_key_files, settings.site, since):
                    self.sets |= set(record.report.sets)
                    self.unfinished |= set(record.report.unfinished)
                    self.bytes += record.report.bytes


def _sets(settings: Settings, repositories: Sequence[Repository], start: datetime, end: datetime) -> list[Described]:
    """Those of a time that are still there, oldest first, with what their manifests say."""
    catalogs = [Catalog(repository, settings.signing.public_key_files, settings.site) for repository in repositories]
    found = (item for item in Survey(settings, catalogs).sets() if start <= named_time(settings, item.id) < end)
    with contextlib.closing(DetailsCache.of(settings)) as cache:
        return list(described({item.repository.name: item for item in catalogs}, cache, found, read=True))


def _cadences(
    settings: Settings, sets: Sequence[Described], journal: _Journal, start: datetime, end: datetime
) -> Iterator[CadenceKept]:
    there = {item.found.name for item in sets if item.details is not None} | journal.sets
    for cadence in CADENCES:
        made = sorted(_times(settings, there, cadence))
        tried = sorted(_times(settings, journal.unfinished, cadence))
        ends: Counter[str] = Counter()
        slots = [] if cadence == INCREMENTAL else list(_slots(settings, cadence, start, end))
        for begin, following in slots:
            kept = any(begin <= moment < following for moment in made)
            failed = not kept and any(begin <= moment < following for moment in tried)
            ends["kept" if kept else "failed" if failed else "missing"] += 1
        if slots or made:
            yield CadenceKept(
                cadence=cadence,
                scheduled=len(slots),
                made=sum(start <= moment < end for moment in made),
                kept=ends["kept"],
                failed=ends["failed"],
                missing=ends["missing"],
            )


def _times(settings: Settings, names: Iterable[str], cadence: str) -> Iterator[datetime]:
    prefix = f"{cadence}/"
    return (named_time(settings, name.removeprefix(prefix)) for name in names if name.startswith(prefix))


def _slots(settings: Settings, cadence: str, start: datetime, end: datetime) -> Iterator[tuple[datetime, datetime]]:
    """The scheduled times of a month, each with the next one."""
    cron = cron_of(settings, cadence)
    moment = after(settings, cron, start - timedelta(seconds=1))
    while moment is not None and moment < end:
        following = after(settings, cron, moment)
        if following is None:
            return
        yield moment, following
        moment = following


@contextlib.contextmanager
def _said(repository: Repository) -> Iterator[None]:
    try:
        yield
    except BackupError as error:
        log.warning("%s: %s", repository.url, error)
