"""Replication: what was published is copied from repository to repository, and the server is not asked again.

A replica gets a set's objects first, each looked at when it has arrived, then signature and manifest: as anywhere, a
set without a manifest does not exist, and with it the copy is on record. What is there already is not sent again, so a
copy that was interrupted goes on. Manifests are copied to the byte, so the same signatures hold.
"""

import contextlib
import logging
import shutil
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from itertools import islice
from pathlib import Path

from spoqplus_backup.core.archive.delivery import fill_up
from spoqplus_backup.core.archive.incremental import ref_problems
from spoqplus_backup.core.cadence import cadence_named
from spoqplus_backup.core.connections import Connections
from spoqplus_backup.core.errors import BackupError, IntegrityError, PermanentError
from spoqplus_backup.core.manifest import MANIFEST, SIGNATURE, Manifest, Model, Part
from spoqplus_backup.core.progress import Progress
from spoqplus_backup.core.repository.base import Repository, missing
from spoqplus_backup.core.repository.binlogs import BinlogCatalog
from spoqplus_backup.core.repository.catalog import SAFETY, Catalog, Proved, SetRef
from spoqplus_backup.core.repository.leases import leased
from spoqplus_backup.core.repository.opener import open_replicas, open_repositories, open_repository
from spoqplus_backup.core.settings import Settings
from spoqplus_backup.core.stages import STORE_THREADS, in_parallel
from spoqplus_backup.core.staging import PARTIAL, locked

log = logging.getLogger(__name__)

SharedObjects = Callable[[Repository, Manifest], Iterable[tuple[str, str]]]
"""Key and SHA-256, sorted by key, of the objects outside of its folder that a set needs; in which repository it is."""

FOLDER = "replication"
LOCK_SECONDS = 1500.0  # another run may be copying
BATCH = 1000  # shared objects that are looked at together


class CopyPlan(Model):
    """What each replica is to get, in order: a set comes behind those that it depends on."""

    sets: dict[str, tuple[str, ...]]
    warnings: tuple[str, ...] = ()


class LogsReport(Model):
    """How many binary logs each replica got; `bytes` with their indexes."""

    copied: dict[str, int]
    bytes: int
    seconds: float


class CopyReport(Model):
    """What a copy did. `copied` and `present` are sets by replica, `failed` sentences; sizes in bytes."""

    copied: dict[str, tuple[str, ...]]
    present: dict[str, tuple[str, ...]]
    sent_objects: int
    sent_bytes: int
    seconds: float
    warnings: tuple[str, ...] = ()


@dataclass
class _Work:
    """A copy under way: where it reads, what it says, and what it could not do."""

    settings: Settings
    sources: list[Repository]
    progress: Progress
    folder: Path
    shared: SharedObjects | None
    sent: list[int] = field(default_factory=list)
    warnings: list[str] = field(default_factory=list)
    failures: list[BackupError] = field(default_factory=list)

    def warn(self, words: str) -> None:
        if words not in self.warnings:
            log.warning("%s", words)
            self.warnings.append(words)


@dataclass(frozen=True)
class _Trusted:
    """A published set: its manifest as it was signed, and the repositories that have it so."""

    proved: Proved
    holders: list[Repository]


def plan_copies(
    settings: Settings, connections: Connections, announced: Sequence[str] = (), asked: Sequence[str] = ()
) -> CopyPlan:
    """Which sets the replicas are to get: those that are named, and those newer than a replica's newest of a cadence.

    So what was published while nobody listened is not forgotten, and what a replica's retention removed does not come
    back. A replica without any set of a cadence gets the newest one. What a set depends on comes with it.

    Args:
        settings: the site.
        connections: where its credentials are.
        announced: sets that were published, as the asset's events name them; one that is gone again is a warning.
        asked: sets that a person names.

    Raises:
        PermanentError: no replica is configured, or a set that was asked for is nowhere.
        IntegrityError: a replica has another set under that name.
        BackupError: a repository can't be reached.
    """
    if not settings.replicas:
        raise PermanentError(
            f"{settings.source}: no repository has `role: replica`, so there is nowhere to copy to: add one, or pause "
            "this DAG."
        )
    sources, published = _published(_catalogs(settings, open_repositories(settings, connections)))
    if unknown := [name for name in asked if name not in published]:
        raise PermanentError(f"There is no set {', '.join(unknown)} in any repository: see `spoqplus-backup list`.")
    warnings = [
        f"{name} was published but is gone again: it is not copied." for name in announced if name not in published
    ]
    named = [published[name] for name in dict.fromkeys([*asked, *announced]) if name in published]
    sets = {}
    for replica in settings.replicas:
        target = _catalog(settings, open_repository(settings, replica.name, connections))
        there = {ref.name: ref for ref in target.sets()}
        wanted = [*(ref for ref in named if ref.name not in there), *_newer(published.values(), there.values())]
        for ref in named:
            if ref.name in there:
                _refuse_other(sources, target, ref)
        sets[replica.name] = tuple(_with_bases(sources, wanted, set(there)))
        log.info("%s lacks %d sets: %s", replica.name, len(sets[replica.name]), ", ".join(sets[replica.name]) or "none")
    return CopyPlan(sets=sets, warnings=tuple(warnings))


def _published(catalogs: Sequence[Catalog]) -> tuple[list[Catalog], dict[str, SetRef]]:
    """The sources that can be listed, and every set in them by its name.

    Raises:
        BackupError: none can.
    """
    failure: BackupError | None = None
    sources: list[Catalog] = []
    found: dict[str, SetRef] = {}
    for catalog in catalogs:
        try:
            found |= {ref.name: ref for ref in catalog.sets()}
        except BackupError as error:
            log.warning("%s is left out: %s", catalog.repository.name, error)
            failure = error
        else:
            sources.append(catalog)
    if not sources and failure is not None:
        raise failure
    return sources, found


def _catalog(settings: Settings, repository: Repository) -> Catalog:
    return Catalog(repository, settings.signing.public_key_files, settings.site)


def _catalogs(settings: Settings, repositories: Iterable[Repository]) -> list[Catalog]:
    return [_catalog(settings, repository) for repository in repositories]


def _newer(published: Iterable[SetRef], there: Iterable[SetRef]) -> list[SetRef]:
    newest: dict[str, str] = {}
    for ref in there:
        newest[ref.cadence] = max(ref.id, newest.get(ref.cadence, ""))
    found: dict[str, list[SetRef]] = {}
    for ref in sorted(published, key=lambda ref: ref.id):
        if ref.cadence != SAFETY and ref.id > newest.get(ref.cadence, ""):
            found.setdefault(ref.cadence, []).append(ref)
    return [ref for cadence, refs in found.items() for ref in (refs if cadence in newest else refs[-1:])]


def _with_bases(sources: Sequence[Catalog], wanted: Iterable[SetRef], there: set[str]) -> list[str]:
    """The sets, oldest first, each behind those that it depends on and the replica lacks."""
    order: dict[str, None] = {}

    def add(ref: SetRef) -> None:
        if ref.name in there or ref.name in order:
            return
        for base in _depends_on(sources, ref):
            add(base)
        order[ref.name] = None

    for ref in sorted(wanted, key=lambda ref: ref.id):
        add(ref)
    return list(order)


def _depends_on(sources: Sequence[Catalog], ref: SetRef) -> list[SetRef]:
    """What a set stands on, as far as a source still has it."""
    try:
        trusted = _trusted(sources, ref)
    except IntegrityError:  # the copy will say so, and go on with the next set
        return []
    bases = [SetRef(*name.split("/", 1)) for name in trusted.proved.manifest.depends_on]
    return [base for base in bases if any(_has(catalog, base) for catalog in sources)]


def _has(catalog: Catalog, ref: SetRef) -> bool:
    return catalog.repository.stat(f"{ref.name}/{MANIFEST}") is not None


def _trusted(sources: Sequence[Catalog], ref: SetRef) -> _Trusted:
    """A set's manifest from the first source where it can be trusted, and every source that has the same.

    Raises:
        IntegrityError: there is none; the first one's reason.
        BackupError: the only sources that may have one can't be reached.
    """
    found: _Trusted | None = None
    failure: BackupError | None = None
    for catalog in sources:
        try:
            if not _has(catalog, ref):
                continue
            proved = catalog.prove(ref)
        except BackupError as error:
            log.warning("%s", error)
            failure = failure or error
            continue
        found = found or _Trusted(proved, [])
        if proved.content == found.proved.content:
            found.holders.append(catalog.repository)
    if found is None:
        raise failure or IntegrityError(f"{ref.name} is in no repository any more: it was deleted meanwhile.")
    return found


def _refuse_other(sources: Sequence[Catalog], target: Catalog, ref: SetRef) -> None:
    """See that a replica's set is the same as ours.

    Raises:
        IntegrityError: it is another one.
    """
    if target.repository.read(f"{ref.name}/{MANIFEST}") != _trusted(sources, ref).proved.content:
        raise IntegrityError(
            f"{target.repository.url} holds another set under the name {ref.name}: another site or host writes there, "
            "or somebody replaced it. Find out which, and move what is there away, before anything is copied."
        )


def copy_sets(
    settings: Settings, connections: Connections, plan: CopyPlan, shared: SharedObjects | None = None
) -> CopyReport:
    """Copy the sets of a plan, each to its end before the next: one that can't be copied does not hold up others.

    An object that is damaged in one source is taken from another, with a warning.

    Args:
        settings: the site.
        connections: where its credentials are.
        plan: which sets, to where.
        shared: tells of objects that several sets name and that lie outside of their folders.

    Raises:
        IntegrityError: an object has no good copy, or a replica has another set under a name; the message names it.
        BackupError: a repository can't be reached.
    """
    folder = settings.staging.directory / settings.site / FOLDER
    copied: dict[str, tuple[str, ...]] = {}
    present: dict[str, tuple[str, ...]] = {}
    with locked(folder / "lock", f"the replication of {settings.site}", LOCK_SECONDS):
        work = _Work(
            settings,
            open_repositories(settings, connections),
            Progress("copy"),
            folder / f"copies{PARTIAL}",
            shared,
            warnings=list(plan.warnings),
        )
        for replica, names in plan.sets.items():
            failed: set[str] = set()
            for name in names:
                done = _copied(work, connections, replica, name, failed)
                if done is None:
                    failed.add(name)
                else:
                    group = copied if done else present
                    group[replica] = (*group.get(replica, ()), name)
        shutil.rmtree(work.folder, ignore_errors=True)
    seconds = work.progress.finish()
    if work.failures:
        passing = [error for error in work.failures if not isinstance(error, PermanentError)]
        raise (passing or work.failures)[0]
    return CopyReport(
        copied=copied,
        present=present,
        sent_objects=len(work.sent),
        sent_bytes=sum(work.sent),
        seconds=seconds,
        warnings=tuple(work.warnings),
    )


def _copied(work: _Work, connections: Connections, replica: str, name: str, failed: set[str]) -> bool | None:
    """Copy one set; False when it was there, None when it could not be copied."""
    ref = SetRef(*name.split("/", 1))
    long_term = cadence_named(ref.cadence).long_term
    try:
        target = open_repository(work.settings, replica, connections, long_term=long_term)
        sharing = open_repository(work.settings, replica, connections, long_term=long_term, shared=True)
        return _copy_set(work, target, sharing, ref, failed)
    except BackupError as error:  # the next set may be well
        log.warning("%s could not be copied to %s: %s", name, replica, error)
        work.failures.append(error)
        return None


def _copy_set(work: _Work, target: Repository, sharing: Repository, ref: SetRef, failed: set[str]) -> bool:
    """Copy one set; `sharing` is the same replica, opened for what several sets name."""
    sources = _catalogs(work.settings, work.sources)
    into = _catalog(work.settings, target)
    if _has(into, ref):
        _refuse_other(sources, into, ref)
        return False
    trusted = _trusted(sources, ref)
    manifest = trusted.proved.manifest
    if missing := failed.intersection(manifest.depends_on):
        raise PermanentError(f"{ref.name} depends on {', '.join(missing)}, which could not be copied to {target.url}.")
    log.info("Copying %s to %s", ref.name, target.url)
    objects = {f"{ref.name}/{key}": part for key, part in manifest.objects().items()}
    with contextlib.ExitStack() as stack:  # retention leaves it alone meanwhile
        for holder in trusted.holders:
            stack.enter_context(leased(holder, [ref.name], f"replication to {target.name}", "copy"))
        _send(work, trusted.holders, target, objects)
        if work.shared is not None:
            _send_shared(work, trusted.holders, sharing, work.shared(trusted.holders[0], manifest))
    _check_logs(work.settings, target, manifest)
    target.put_bytes(f"{ref.name}/{SIGNATURE}", trusted.proved.signature)
    target.put_bytes(f"{ref.name}/{MANIFEST}", trusted.proved.content)
    log.info("Published %s in %s", ref.name, target.url)
    return True


def _send(work: _Work, holders: Sequence[Repository], target: Repository, objects: Mapping[str, Part]) -> None:
    def send(item: tuple[str, Part]) -> None:
        key, part = item
        if not _is_there(target, key, part):
            _bring(work, holders, target, key, part)

    in_parallel(send, list(objects.items()), STORE_THREADS)


def _is_there(target: Repository, key: str, part: Part) -> bool:
    try:
        target.check(key, part.stored_bytes, part.sha256)
    except IntegrityError:
        return False
    return True


def _bring(work: _Work, holders: Sequence[Repository], target: Repository, key: str, part: Part) -> None:
    """One object, by a file of its size: it has to be proved before it is sent."""
    path = work.folder / key
    try:
        for holder in holders[:-1]:
            try:
                holder.get(key, path, part.sha256, part.stored_bytes)
                break
            except BackupError as error:  # damaged, or out of reach: the next one may be well
                work.warn(str(error))
        else:
            holders[-1].get(key, path, part.sha256, part.stored_bytes)
        target.put(key, path, part.sha256, work.progress.add, absent=True)  # or not as it should be
        work.sent.append(part.stored_bytes)
        if not _is_there(target, key, part):
            raise BackupError(f"{target.url}/{key} arrived damaged: the next try sends it again.")
    finally:
        path.unlink(missing_ok=True)


def _send_shared(
    work: _Work, holders: Sequence[Repository], target: Repository, items: Iterable[tuple[str, str]]
) -> None:
    """Objects that are named by what they hold: one that is there is the right one, and is locked for this set."""

    def send(item: tuple[str, str, bool]) -> None:
        key, sha256, is_there = item
        if is_there:
            target.lock(key)
            return
        stored = next((found for holder in holders if (found := holder.stat(key)) is not None), None)
        if stored is None:
            raise missing(f"{holders[0].url}/{key}")
        part = Part(
            name=key.rpartition("/")[2], raw_bytes=0, raw_sha256=sha256, stored_bytes=stored.bytes, sha256=sha256
        )
        _bring(work, holders, target, key, part)

    compared = _compared(items, target)
    while batch := list(islice(compared, BATCH)):
        in_parallel(send, batch, STORE_THREADS)


def _compared(items: Iterable[tuple[str, str]], target: Repository) -> Iterator[tuple[str, str, bool]]:
    """Each with whether a replica lists it; both come sorted, so neither is held in memory."""
    there: Iterator[str] | None = None
    current: str | None = None
    for key, sha256 in items:
        if there is None:
            there = iter(target.list(f"{key.partition('/')[0]}/"))
            current = next(there, None)
        while current is not None and current < key:
            current = next(there, None)
        yield key, sha256, current == key


def _check_logs(settings: Settings, target: Repository, manifest: Manifest) -> None:
    """An incremental set is of use only with its logs, which `copy_logs` brings.

    Raises:
        BackupError: they are not there yet.
    """
    if not manifest.binlogs:
        return
    catalog = BinlogCatalog(target, settings.signing.public_key_files, settings.site)
    if problems := ref_problems(catalog, manifest):
        raise BackupError(f"The logs of {manifest.name} are not in {target.url} yet: {problems[0]}")


def copy_logs(settings: Settings, connections: Connections) -> LogsReport:
    """Bring the archived binary logs that a replica lacks to it, each looked at when it has arrived.

    Raises:
        IntegrityError: no copy of a log can be trusted; the message names it.
        BackupError: a repository can't be reached; other replicas have everything all the same.
    """
    folder = settings.staging.directory / settings.site / FOLDER
    progress = Progress("copy logs")
    copied: dict[str, int] = {}
    failures: list[BackupError] = []
    with locked(folder / "logs.lock", f"the replication of the logs of {settings.site}", LOCK_SECONDS):
        sources = _listed(_binlogs(settings, open_repositories(settings, connections)))
        for target in _binlogs(settings, open_replicas(settings, connections)):
            name = target.repository.name
            try:
                copied[name] = fill_up([*sources, target], [target], folder / f"logs{PARTIAL}", progress)
            except BackupError as error:  # the next replica may be well
                log.warning("Not every log could be copied to %s: %s", name, error)
                failures.append(error)
    seconds = progress.finish()
    if failures:
        raise failures[0]
    return LogsReport(copied=copied, bytes=progress.done, seconds=seconds)


def _listed(catalogs: Sequence[BinlogCatalog]) -> list[BinlogCatalog]:
    """Those that can be listed.

    Raises:
        BackupError: none can.
    """
    failure: BackupError | None = None
    found = []
    for catalog in catalogs:
        try:
            catalog.timelines()
        except BackupError as error:
            log.warning("%s is left out: %s", catalog.repository.name, error)
            failure = error
        else:
            found.append(catalog)
    if not found and failure is not None:
        raise failure
    return found


def _binlogs(settings: Settings, repositories: Iterable[Repository]) -> list[BinlogCatalog]:
    return [BinlogCatalog(repository, settings.signing.public_key_files, settings.site) for repository in repositories]
