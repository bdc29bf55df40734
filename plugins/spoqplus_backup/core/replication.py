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
from datetime import datetime, timezone
from itertools import islice
from pathlib import Path

from spoqplus_backup.core.archive.delivery import fill_up
from spoqplus_backup.core.archive.incremental import ref_problems
from spoqplus_backup.core.cadence import cadence_named
from spoqplus_backup.core.connections import Connections
from spoqplus_backup.core.errors import BackupError, IntegrityError, PermanentError
from spoqplus_backup.core.manifest import MANIFEST, SIGNATURE, Manifest, Model, Part
from spoqplus_backup.core.progress import Progress
from spoqplus_backup.core.replication_plan import (
    FOLDER,
    CopyPlan,
    Damaged,
    GoneError,
    catalog_of,
    catalogs_of,
    has,
    refuse_other,
    trusted_in,
)
from spoqplus_backup.core.repository.base import Repository, missing
from spoqplus_backup.core.repository.binlogs import BinlogCatalog
from spoqplus_backup.core.repository.catalog import SetRef
from spoqplus_backup.core.repository.leases import FACES, leased
from spoqplus_backup.core.repository.opener import open_replicas, open_repositories, open_repository
from spoqplus_backup.core.run import FACE_IMAGES
from spoqplus_backup.core.settings import Settings
from spoqplus_backup.core.stages import STORE_THREADS, in_parallel
from spoqplus_backup.core.staging import PARTIAL, locked

log = logging.getLogger(__name__)

SharedObjects = Callable[[Repository, Manifest], Iterable[tuple[str, str]]]
"""Key and SHA-256, sorted by key, of the objects outside of its folder that a set needs; in which repository it is."""

PURPOSE = "copy"  # of the leases
LOCK_SECONDS = 1500.0  # another run may be copying
BATCH = 1000  # shared objects that are looked at together


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
    failed: dict[str, BackupError] = field(default_factory=dict)  # sets that the replica at hand did not get

    @property
    def damaged(self) -> list[str]:
        return [name for name, error in self.failed.items() if isinstance(error, IntegrityError)]

    def warn(self, words: str) -> None:
        if words not in self.warnings:
            log.warning("%s", words)
            self.warnings.append(words)


def copy_sets(
    settings: Settings, connections: Connections, plan: CopyPlan, shared: SharedObjects | None = None
) -> CopyReport:
    """Copy the sets of a plan, each to its end before the next: one that can't be copied does not hold up others.

    An object that is damaged in one source is taken from another, with a warning; so is a set that was deleted since
    the plan was made.

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
        damaged = Damaged.read(settings)
        for replica, names in plan.sets.items():
            work.failed = {}
            for name in names:
                done = _copied(work, connections, replica, name)
                if done is not None:
                    group = copied if done else present
                    group[replica] = (*group.get(replica, ()), name)
            found = {name: datetime.now(timezone.utc) for name in work.damaged}
            before = {name: at for name, at in damaged.sets.get(replica, {}).items() if name not in names}
            damaged.sets[replica] = before | found
        damaged.write(settings)
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


def _copied(work: _Work, connections: Connections, replica: str, name: str) -> bool | None:
    """Copy one set; False when it was there, None when it could not be copied."""
    ref = SetRef(*name.split("/", 1))
    long_term = cadence_named(ref.cadence).long_term
    try:
        into = _Target(
            own=open_repository(work.settings, replica, connections, long_term=long_term),
            sharing=open_repository(work.settings, replica, connections, long_term=long_term, shared=True),
            beside=open_repository(work.settings, replica, connections),
        )
        return _copy_set(work, into, ref)
    except GoneError as error:
        work.failed[name] = error
        work.warn(str(error))
    except BackupError as error:  # the next set may be well
        log.warning("%s could not be copied to %s: %s", name, replica, error)
        work.failed[name] = error
        work.failures.append(error)
    return None


@dataclass(frozen=True)
class _Target:
    """A replica, opened for a set's own objects, for those that several sets name, and for what is not kept long."""

    own: Repository
    sharing: Repository
    beside: Repository


def _copy_set(work: _Work, into: _Target, ref: SetRef) -> bool:
    target = into.own
    sources = catalogs_of(work.settings, work.sources)
    if has(target, ref):
        refuse_other(sources, catalog_of(work.settings, target), ref)
        return False
    trusted = trusted_in(sources, ref)
    manifest = trusted.proved.manifest
    _check_bases(work, target, manifest)
    log.info("Copying %s to %s", ref.name, target.url)
    objects = {f"{ref.name}/{key}": part for key, part in manifest.objects().items()}
    used = [ref.name, *([FACES] if any(item.name == FACE_IMAGES for item in manifest.components) else [])]
    with contextlib.ExitStack() as stack:  # retention leaves it alone meanwhile, here and there
        holders = _leased_holders(stack, trusted.holders, target, ref)
        stack.enter_context(leased(into.beside, used, f"replication from {holders[0].name}", PURPOSE))
        _send(work, holders, target, objects)
        if work.shared is not None:
            _send_shared(work, holders, into.sharing, work.shared(holders[0], manifest))
        _check_logs(work.settings, target, manifest)
        target.put_bytes(f"{ref.name}/{SIGNATURE}", trusted.proved.signature)
        target.put_bytes(f"{ref.name}/{MANIFEST}", trusted.proved.content)
    log.info("Published %s in %s", ref.name, target.url)
    return True


def _check_bases(work: _Work, target: Repository, manifest: Manifest) -> None:
    """See that nothing which a set depends on failed before it; a base that is damaged damages it, too.

    Raises:
        BackupError: something did.
    """
    for base in manifest.depends_on:
        if (failure := work.failed.get(base)) is not None:
            words = f"{manifest.name} depends on {base}, which could not be copied to {target.url}."
            raise IntegrityError(words) if isinstance(failure, IntegrityError) else BackupError(words)


def _leased_holders(
    stack: contextlib.ExitStack, holders: Sequence[Repository], target: Repository, ref: SetRef
) -> list[Repository]:
    """Those that keep the set until the stack ends: of a copy that is being deleted nothing is read.

    Raises:
        GoneError: it was deleted everywhere.
        BackupError: none can keep it.
    """
    failure: BackupError | None = None
    found = []
    for holder in holders:
        try:
            stack.enter_context(leased(holder, [ref.name], f"replication to {target.name}", PURPOSE))
            if has(holder, ref):  # retention may have ended before the lease began
                found.append(holder)
        except BackupError as error:
            log.warning("%s is not copied from %s: %s", ref.name, holder.name, error)
            failure = error
    if not found:
        raise failure or GoneError(f"{ref.name} was deleted before it could be copied to {target.url}.")
    return found


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
