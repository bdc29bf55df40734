"""Finding out what is known of a site's backups: listings, the newest few manifests, the newest sidecars and reports.

It costs the same for ten sets and for ten thousand, but for their listing. What can't be reached is left out and said;
nothing in here is ever the reason that a backup, a page or a scrape fails.
"""

import contextlib
import logging
import shutil
import time
from collections import Counter, deque
from collections.abc import Callable, Collection, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from datetime import datetime, timezone
from pathlib import Path
from typing import Any, TypeVar
from urllib.parse import unquote, urlsplit

from spoqplus_backup.core.connections import Connections
from spoqplus_backup.core.errors import BackupError
from spoqplus_backup.core.manifest import Component, Manifest
from spoqplus_backup.core.monitor.expiry import expiries
from spoqplus_backup.core.monitor.model import (
    Deletions,
    DiskSpace,
    KnownSet,
    Reach,
    RepositoryState,
    SiteFacts,
    test_facts,
)
from spoqplus_backup.core.monitor.recovery_points import reach
from spoqplus_backup.core.monitor.schedule import RECOVERY_TEST, after, cron_of, schedules
from spoqplus_backup.core.parallel import in_parallel
from spoqplus_backup.core.proof.model import Proof
from spoqplus_backup.core.proof.store import past_proofs, proved_sets
from spoqplus_backup.core.recovery.windows import unreachable
from spoqplus_backup.core.repository.catalog import INCREMENTAL, NAMED_ONLY, Catalog
from spoqplus_backup.core.repository.details import described
from spoqplus_backup.core.repository.details_cache import DetailsCache
from spoqplus_backup.core.repository.holds import holds
from spoqplus_backup.core.repository.opener import open_all
from spoqplus_backup.core.repository.survey import SetCopies, Survey, ref_of
from spoqplus_backup.core.retention.facts import named_time
from spoqplus_backup.core.retention.journal import RetentionRecord, last_record
from spoqplus_backup.core.settings import Settings

log = logging.getLogger(__name__)

RECENT = 8  # sets of a cadence whose manifests are read: the newest, and what it is compared with
TESTS = 6  # reports of recovery tests that are read
CADENCES = ("daily", "weekly", "monthly", INCREMENTAL)  # whose sets have a schedule

T = TypeVar("T")


@dataclass
class Memory:
    """What never changes once it was read, from one gathering to the next of the same process: proved manifests."""

    known: dict[tuple[str, ...], Manifest] = field(default_factory=dict)
    used: dict[tuple[str, ...], Manifest] = field(default_factory=dict)

    def once(self, key: tuple[str, ...], read: Callable[[], Manifest]) -> Manifest:
        """What was read under a key before, or now."""
        if key not in self.used:
            self.used[key] = self.known.get(key) or read()
        return self.used[key]

    def forget_the_rest(self) -> None:
        """Keep what was asked for since the last time."""
        self.known, self.used = self.used, {}


@dataclass
class _Listed:
    """What the listings tell: the newest few of each cadence, newest first, and how many there are where."""

    recent: dict[str, tuple[SetCopies, ...]]
    counts: Counter[str]
    in_repository: Counter[str]
    first_id: str | None


def gather(
    settings: Settings, connections: Connections, *, now: datetime | None = None, memory: Memory | None = None
) -> SiteFacts:
    """Everything that is known of a site's backups. Never raises because of a repository.

    Args:
        settings: the site.
        connections: where its credentials are.
        now: UTC; the present when None.
        memory: of earlier gatherings.
    """
    began = time.monotonic()
    now = now or datetime.now(timezone.utc)
    memory = memory or Memory()
    catalogs = {
        repository.name: Catalog(repository, settings.signing.public_key_files, settings.site)
        for repository in open_all(settings, connections)
    }
    failures = _absent(settings)
    listed = _list(settings, [item for name, item in catalogs.items() if name not in failures], failures)
    up = {name: catalog for name, catalog in catalogs.items() if name not in failures}
    proofs = _proofs(settings, up)
    sets = _sets(settings, up, listed, _holds(settings, up), proved_sets(proofs))
    reaches = _reaches(settings, connections, up, sets, memory)
    memory.forget_the_rest()
    first_at = named_time(settings, listed.first_id) if listed.first_id else None
    return SiteFacts(
        site=settings.site,
        as_of=now,
        seconds=time.monotonic() - began,
        repositories=tuple(_state(settings, name, now, failures, listed) for name in catalogs),
        sets=sets,
        counts=dict(listed.counts),
        first_at=first_at,
        reaches=reaches,
        gaps=tuple(unreachable([window for item in reaches for window in item.windows])),
        tests=tuple(map(test_facts, proofs)),
        deletions=tuple(_deletions(settings, up)),
        next={name: after(settings, cron, now) for name, cron in schedules(settings).items()},
        due=_due(settings, listed, proofs, first_at),
        staging=_space(settings.staging.directory),
        expiries=expiries(settings, connections),
    )


def _folder(settings: Settings, name: str) -> Path | None:
    """Of a repository that is one."""
    chosen = settings.repository(name)
    return Path(unquote(urlsplit(chosen.root).path)) if chosen.is_local else None


def _absent(settings: Settings) -> dict[str, BackupError]:
    """The folders that are not there: one whose disk is not mounted must not count as one without backups."""
    folders = {item.name: _folder(settings, item.name) for item in settings.repositories}
    return {
        name: BackupError(f"{folder} is not on this machine: mount its disk, or make the first backup.")
        for name, folder in folders.items()
        if folder is not None and not folder.is_dir()
    }


def _list(settings: Settings, catalogs: Sequence[Catalog], failures: dict[str, BackupError]) -> _Listed:
    """One pass over all sets; one that can't be listed is added to the failures, and what it told is dropped."""
    survey = Survey(settings, catalogs)
    recent: dict[str, deque[SetCopies]] = {}
    counts: Counter[str] = Counter()
    in_repository: Counter[str] = Counter()
    first_id = None
    for found in survey.sets():
        first_id = first_id or found.id
        counts[found.cadence] += 1
        in_repository.update(copy.repository for copy in found.copies)
        recent.setdefault(found.cadence, deque(maxlen=RECENT)).appendleft(found)
    failures |= survey.failures
    for name, error in failures.items():
        log.warning("The repository %s of %s can't be looked at: %s", name, settings.site, error)
    told = {cadence: tuple(_without(sets, survey.failures)) for cadence, sets in recent.items()}
    return _Listed({cadence: sets for cadence, sets in told.items() if sets}, counts, in_repository, first_id)


def _without(sets: Iterable[SetCopies], failed: Collection[str]) -> Iterator[SetCopies]:
    for found in sets:
        copies = tuple(copy for copy in found.copies if copy.repository not in failed)
        if copies:
            yield found.model_copy(update={"copies": copies})


def _each(catalogs: Mapping[str, Catalog], look: Callable[[Catalog], T]) -> dict[str, T]:
    """What each repository answers, side by side; one that fails meanwhile is left out."""

    def one(catalog: Catalog) -> T | None:
        try:
            return look(catalog)
        except BackupError as error:
            log.warning("%s: %s", catalog.repository.url, error)
            return None

    found = in_parallel(one, list(catalogs.values()), len(catalogs))
    return {name: answer for name, answer in zip(catalogs, found, strict=True) if answer is not None}


def _proofs(settings: Settings, catalogs: Mapping[str, Catalog]) -> list[Proof]:
    """The newest recovery tests, newest first, of the first repository that has any: each primary has all."""

    def look(catalog: Catalog) -> list[Proof]:
        return past_proofs(catalog.repository, settings.signing.public_key_files, TESTS, settings.site)

    for name, catalog in catalogs.items():
        if found := _each({name: catalog}, look).get(name):
            return found
    return []


def _holds(settings: Settings, catalogs: Mapping[str, Catalog]) -> dict[str, str]:
    found = _each(catalogs, lambda catalog: holds(catalog.repository, settings.signing.public_key_files))
    return {name: words for answer in found.values() for name, words in answer.items()}


def _sets(
    settings: Settings,
    catalogs: dict[str, Catalog],
    listed: _Listed,
    held: Mapping[str, str],
    proved: Mapping[str, datetime],
) -> dict[str, tuple[KnownSet, ...]]:
    wanted = [found for sets in listed.recent.values() for found in sets]
    with contextlib.closing(DetailsCache.of(settings)) as cache:
        read = list(described(catalogs, cache, iter(wanted), read=True))
    sets: dict[str, list[KnownSet]] = {cadence: [] for cadence in listed.recent}
    for item in read:
        name = item.found.name
        known = KnownSet(**dict(item), proved_at=proved.get(name), held=held.get(name))
        sets[item.found.cadence].append(known)
    return {cadence: tuple(items) for cadence, items in sets.items()}


def _reaches(
    settings: Settings,
    connections: Connections,
    catalogs: Mapping[str, Catalog],
    sets: Mapping[str, Sequence[KnownSet]],
    memory: Memory,
) -> tuple[Reach, ...]:
    fulls = sorted(
        (item for cadence, items in sets.items() if cadence not in NAMED_ONLY for item in items if item.details),
        key=lambda item: item.found.id,
        reverse=True,
    )

    def look(catalog: Catalog) -> Reach:
        tags = {item.found.name: _tag(item, catalog) for item in fulls}

        def load(item: KnownSet) -> Manifest:
            key = (catalog.repository.url, item.found.name, str(tags[item.found.name]))
            return memory.once(key, lambda: _without_parts(catalog.load(ref_of(item.found))))

        there = [item for item in fulls if tags[item.found.name] is not None][:RECENT]
        return reach(settings, connections, catalog.repository, there, load)

    return tuple(_each(catalogs, look).values())


def _tag(item: KnownSet, catalog: Catalog) -> str | None:
    """That of the manifest in a repository; None where it has none."""
    return next((copy.tag for copy in item.found.copies if copy.repository == catalog.repository.name), None)


def _without_parts(manifest: Manifest) -> Manifest:
    """What is remembered: a large backup has thousands of parts."""

    def slim(component: Component) -> Component:
        return component.model_copy(update={"parts": (), "lists": ()})

    return manifest.model_copy(update={"components": tuple(map(slim, manifest.components)), "binlogs": ()})


def _state(
    settings: Settings, name: str, now: datetime, failures: Mapping[str, BackupError], listed: _Listed
) -> RepositoryState:
    chosen, error = settings.repository(name), failures.get(name)
    folder = _folder(settings, name)
    return RepositoryState(
        name=name,
        role=chosen.role,
        medium=chosen.kept_on,
        offsite=chosen.is_offsite,
        as_of=now,
        error=None if error is None else str(error),
        sets=0 if error is not None else listed.in_repository[name],
        disk=None if folder is None else _space(folder),
    )


def _deletions(settings: Settings, catalogs: Mapping[str, Catalog]) -> Iterable[Deletions]:
    def look(catalog: Catalog) -> RetentionRecord | None:
        return last_record(catalog.repository, settings.signing.public_key_files, settings.site)

    for name, record in _each(catalogs, look).items():
        if record is not None:
            yield _deleted(name, record)


def _deleted(name: str, record: RetentionRecord) -> Deletions:
    report = record.report
    counts: dict[str, Any] = {
        "sets": report.count("sets"),
        "unfinished": report.count("unfinished"),
        "refused": report.count("refused"),
    }
    return Deletions(
        repository=name,
        at=record.planned_at,
        **counts,
        **report.model_dump(include={"logs", "uploads", "faces", "bytes"}),
    )


def _due(
    settings: Settings, listed: _Listed, proofs: Sequence[Proof], first_at: datetime | None
) -> dict[str, datetime | None]:
    """When what comes behind the newest of its kind was or will be scheduled; None: by hand, or nothing is there yet.

    Of what never was there it is the first time behind the site's first set.
    """
    since = {
        name: named_time(settings, sets[0].id) if (sets := listed.recent.get(name)) else first_at for name in CADENCES
    }
    due = {name: after(settings, cron_of(settings, name), at) if at else None for name, at in since.items()}
    tested = proofs[0].started_at if proofs else first_at
    due[RECOVERY_TEST] = after(settings, settings.schedules.recovery_test, tested) if tested else None
    return due


def _space(folder: Path) -> DiskSpace | None:
    """None where the folder is not on this machine."""
    with contextlib.suppress(OSError):
        usage = shutil.disk_usage(folder)
        return DiskSpace(free=usage.free, total=usage.total)
    return None
