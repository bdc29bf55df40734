"""Carrying out a plan: only what was planned and would still be planned now, the manifest of a set first.

Everything can be interrupted and done again. A set whose manifest is gone does not exist for a restore; what is left
of it goes in the next run. Newer sets go before those they stand on, logs oldest first: what stays is always whole.
"""

import contextlib
import logging
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from datetime import datetime, timedelta, timezone
from itertools import islice
from pathlib import Path

from spoqplus_backup.core.connections import Connections
from spoqplus_backup.core.errors import BackupError, PermanentError
from spoqplus_backup.core.manifest import MANIFEST
from spoqplus_backup.core.process import check_cancelled
from spoqplus_backup.core.progress import Progress, human_bytes
from spoqplus_backup.core.repository import leases
from spoqplus_backup.core.repository.binlogs import SIDECAR, log_number
from spoqplus_backup.core.repository.details_cache import DetailsCache
from spoqplus_backup.core.repository.holds import is_held
from spoqplus_backup.core.repository.removal import BrokenUpload, Entry, Removed, Remover, open_others, open_remover
from spoqplus_backup.core.repository.retention import plan_retention
from spoqplus_backup.core.repository.retention_model import Decision, Kind, RepositoryFacts, RepositoryPlan
from spoqplus_backup.core.retention.faces import FACES, garbage
from spoqplus_backup.core.retention.facts import Gathered, set_names
from spoqplus_backup.core.retention.journal import note_deletions
from spoqplus_backup.core.retention.planning import decide, run_directory
from spoqplus_backup.core.retention.report import RetentionReport
from spoqplus_backup.core.retention.work import anything_under_way, drop_abandoned
from spoqplus_backup.core.settings import Settings
from spoqplus_backup.core.staging import read_json, write_json

log = logging.getLogger(__name__)

AT_ONCE = 1000  # face objects between two looks whether a backup has begun
_EVER = datetime.min.replace(tzinfo=timezone.utc)
MOST_FAILURES = 3  # in a row: then the repository is out of order, and the next try goes on


class _Sparing(Exception):  # noqa: N818 (no error)
    """Somebody uses or holds it."""


class _Run:
    """One repository's deletions, and what became of them."""

    def __init__(self, remover: Remover, run_id: str) -> None:
        self.remover = remover
        self.holders = [remover]  # what they hold stays
        self.run_id = run_id
        self.gone: dict[Kind, list[str]] = {"set": [], "unfinished": [], "log": [], "upload": [], "faces": []}
        self.faces = 0
        self.objects = 0
        self.bytes = 0
        self.refused: list[str] = []
        self.spared: list[str] = []
        self.failures: list[BackupError] = []
        self.progress = Progress(f"retention of {remover.name}")
        self._in_a_row = 0

    @property
    def name(self) -> str:
        """Of its leases."""
        return f"{self.run_id}/{self.remover.name}"

    def each(self, kind: Kind, names: Iterable[str], delete: Callable[[str], bool]) -> bool:
        """Delete one thing after the other; whether all went. What is refused is noted, and the next is tried.

        Raises:
            BackupError: several in a row failed.
        """
        whole = True
        for name in names:
            check_cancelled()
            if self._one(name, delete):
                self.gone[kind].append(name)
                log.info("Deleted %s/%s", self.remover.url, name)
            else:
                whole = False
        return whole

    def _one(self, name: str, delete: Callable[[str], bool]) -> bool:
        try:
            gone = delete(name)
        except _Sparing as reason:
            self.spare(name, str(reason))
            return False
        except PermanentError as error:
            self.refuse(str(error))
            return False
        except BackupError as error:
            log.warning("%s", error)
            self.failures.append(error)
            self._in_a_row += 1
            if self._in_a_row == MOST_FAILURES:
                raise
            return False
        self._in_a_row = 0
        return gone

    def remove(self, entries: Sequence[Entry]) -> bool:
        """Remove objects; False when one was refused, of which the first is noted."""
        return self._count(self.remover.remove(entries))

    def remove_below(self, prefix: str) -> bool:
        """Remove everything whose key begins so."""
        return self._count(self.remover.remove_below(prefix))

    def _count(self, removed: Removed) -> bool:
        self.objects += removed.objects
        self.bytes += removed.bytes
        self.progress.add(removed.bytes)
        if removed.refused:
            more = f" ({len(removed.refused) - 1} more objects beside it)" if len(removed.refused) > 1 else ""
            self.refuse(removed.refused[0][1] + more)
        return not removed.refused

    def refuse(self, words: str) -> None:
        """Note what the repository says."""
        log.warning("%s", words)
        self.refused.append(words)

    def spare(self, name: str, why: str) -> None:
        """Note what stays although it was planned to go."""
        log.warning("%s/%s stays: %s", self.remover.url, name, why)
        self.spared.append(f"{name}: {why}")

    def report(self) -> RetentionReport:
        """What was done up to now."""
        return RetentionReport(
            repository=self.remover.name,
            url=self.remover.url,
            sets=tuple(self.gone["set"]),
            unfinished=tuple(self.gone["unfinished"]),
            logs=len(self.gone["log"]),
            uploads=len(self.gone["upload"]),
            faces=self.faces,
            objects=self.objects,
            bytes=self.bytes,
            refused=tuple(self.refused),
            spared=tuple(self.spared),
            seconds=self.progress.finish(),
        )


def carry_out(
    settings: Settings, connections: Connections, name: str, plan: RepositoryPlan, run_id: str
) -> RetentionReport:
    """Delete from a repository what was planned, as far as it would be planned now.

    A second try of the same run goes on, and reports both. What the repository refuses is in the report.

    Raises:
        BackupError: it can't be reached; the next try goes on.
    """
    run = _Run(open_remover(settings, name, connections), run_id)
    earlier = reported(settings, run_id, name)
    try:
        _carry_out(settings, run, open_others(settings, name, connections), plan)
    finally:
        report = run.report().after(earlier)
        write_json(_done(settings, run_id, name), report)
        log.info("%s: %d objects gone, %s free", report.url, report.objects, human_bytes(report.bytes))
    note_deletions(settings, run.remover, run_id, plan.made_at, report)
    if run.failures:
        raise run.failures[0]
    return report


def _carry_out(settings: Settings, run: _Run, others: Iterable[Remover], plan: RepositoryPlan) -> None:
    drop_abandoned(settings, datetime.now(timezone.utc) - timedelta(hours=settings.retention.unfinished_hours))
    now = datetime.now(timezone.utc)
    fresh, gathered = decide(settings, run.remover, others, now)
    run.holders = [run.remover, *gathered.others]
    todo = _still(plan, fresh)
    dependents = _dependents(gathered.facts)
    run.each("set", _newest_first(todo), lambda name: _delete_set(run, name, dependents))
    _forget_details(settings, run, gathered.facts)
    run.each("unfinished", _rest_of_sets(plan, fresh, todo), lambda name: _delete_unfinished(run, name))
    left = _with_what_stayed(settings, run, gathered.facts, now)
    _delete_logs(run, _still(plan, left))
    run.each("upload", _uploads(todo), lambda name: _abort(run, name, todo))
    _drop_old_leases(run, gathered)
    if any(item.kind == "faces" for item in todo):
        run.each("faces", [FACES], lambda _: _delete_faces(run, settings, left, gathered))


def _forget_details(settings: Settings, run: _Run, facts: RepositoryFacts) -> None:
    """What this machine remembers of sets that are gone, whoever deleted them."""
    with contextlib.closing(DetailsCache.of(settings)) as cache:
        cache.keep_only(run.remover.url, {item.name for item in facts.sets} - set(run.gone["set"]))


def _dependents(facts: RepositoryFacts) -> dict[str, list[str]]:
    """The sets that stand on each set."""
    found: dict[str, list[str]] = {}
    for item in facts.sets:
        for needed in item.depends_on:
            found.setdefault(needed, []).append(item.name)
    return found


def _with_what_stayed(settings: Settings, run: _Run, facts: RepositoryFacts, now: datetime) -> RepositoryPlan:
    """The plan when every set that is still there stays: some were spared or refused, or are due but were not planned.

    They need their logs and faces as any other does.
    """
    gone = set(run.gone["set"])
    sets = tuple(item for item in facts.sets if item.name not in gone)
    stay = facts.model_copy(
        update={"sets": sets, "leases": {item.name: "" for item in sets} | dict(facts.leases), "unfinished": ()}
    )
    return plan_retention(stay, settings.repository(run.remover.name).keep, settings.retention, now)


def reported(settings: Settings, run_id: str, name: str) -> RetentionReport | None:
    """What a run has deleted from a repository so far; None before it tried."""
    content = read_json(_done(settings, run_id, name))
    return None if content is None else RetentionReport.model_validate(content)


def _done(settings: Settings, run_id: str, name: str) -> Path:
    return run_directory(settings, run_id) / f"{name}.done.json"


def _still(plan: RepositoryPlan, fresh: RepositoryPlan) -> list[Decision]:
    """What was planned and is planned again: nobody has looked at the rest."""
    agreed = {(item.kind, item.name, item.detail if item.kind == "upload" else "") for item in plan.deletions}
    return [
        item
        for item in fresh.deletions
        if (item.kind, item.name, item.detail if item.kind == "upload" else "") in agreed
    ]


def _newest_first(todo: Iterable[Decision]) -> list[str]:
    """The sets; one is always newer than those that it depends on."""
    chosen = [item for item in todo if item.kind == "set"]
    return [item.name for item in sorted(chosen, key=lambda item: (item.at, item.name), reverse=True)]


def _rest_of_sets(plan: RepositoryPlan, fresh: RepositoryPlan, todo: Iterable[Decision]) -> list[str]:
    """Abandoned sets, and what an earlier try left of those that it deleted: their manifests are gone."""
    meant = {item.name for item in plan.deletions if item.kind == "set"}
    rest = {item.name for item in fresh.decisions if item.kind == "unfinished" and item.name in meant}
    return sorted({item.name for item in todo if item.kind == "unfinished"} | rest)


def _delete_set(run: _Run, name: str, dependents: Mapping[str, Sequence[str]]) -> bool:
    """The manifest first: refused, the set stays whole. So does a set that another stands on which was not deleted, and
    one that can't be listed to its end.
    """
    if left := [item for item in dependents.get(name, ()) if item not in run.gone["set"]]:
        raise _Sparing(f"{left[0]} stands on it")
    with _alone(run, name):
        if not _remove_first(run, f"{name}/{MANIFEST}", run.remover.everything(f"{name}/")):
            return False
    return True


def _remove_first(run: _Run, key: str, entries: Sequence[Entry]) -> bool:
    """Remove one object, and when it went the others; whether it did."""
    if not run.remove([entry for entry in entries if entry.key == key]):
        return False
    run.remove([entry for entry in entries if entry.key != key])
    return True


def _delete_unfinished(run: _Run, name: str) -> bool:
    if name.startswith("binlog/"):
        if run.remover.stat(name + SIDECAR) is not None:
            raise _Sparing("it was finished")
        return run.remove_below(f"{name}.")
    with _alone(run, name):
        if run.remover.stat(f"{name}/{MANIFEST}") is not None:
            raise _Sparing("it was published")
        return run.remove_below(f"{name}/")


@contextlib.contextmanager
def _alone(run: _Run, name: str) -> Iterator[None]:
    """Nobody begins to use a set in here; see `leases`.

    Raises:
        _Sparing: somebody does already, or holds it.
    """
    lease = leases.take(run.remover, name, run.name, leases.DELETE)
    try:
        users = leases.in_use(leases.leases_of(run.remover, name), datetime.now(timezone.utc))
        if name in users:
            raise _Sparing(users[name])
        if is_held(run.holders, name):
            raise _Sparing("hold")
        yield
    finally:
        leases.release(run.remover, lease)


def _delete_logs(run: _Run, todo: Iterable[Decision]) -> None:
    """Each timeline's oldest first, each sidecar before its log; a timeline ends with the first that does not go."""
    timelines: dict[str, list[str]] = {}
    for item in todo:
        if item.kind == "log":
            timelines.setdefault(item.name.rpartition("/")[0], []).append(item.name)
    for names in timelines.values():
        for name in sorted(names, key=lambda key: log_number(key.rpartition("/")[2])):
            if not run.each("log", [name], lambda key: _delete_log(run, key)):
                break


def _delete_log(run: _Run, key: str) -> bool:
    return _remove_first(run, key + SIDECAR, run.remover.everything(f"{key}."))


def _uploads(todo: Iterable[Decision]) -> list[str]:
    return sorted({item.name for item in todo if item.kind == "upload"})


def _abort(run: _Run, key: str, todo: Iterable[Decision]) -> bool:
    for item in todo:
        if item.kind == "upload" and item.name == key:
            run.remover.abort(BrokenUpload(key, item.detail, item.at, item.bytes))
            run.bytes += item.bytes
    return True


def _drop_old_leases(run: _Run, gathered: Gathered) -> None:
    """Leases that ran out a while ago, of runs that were killed."""
    now = datetime.now(timezone.utc)
    for lease in gathered.leases:
        if not lease.is_valid(now - leases.DURATION):
            leases.release(run.remover, lease)


def _delete_faces(run: _Run, settings: Settings, plan: RepositoryPlan, gathered: Gathered) -> bool:
    """A batch at a time, as long as no backup begins: it may count on an object that is about to go."""
    before = datetime.now(timezone.utc) - timedelta(hours=settings.retention.minimum_age_hours)
    lease = leases.take(run.remover, leases.FACES, run.name, leases.DELETE)
    try:
        for batch in _batches(garbage(run.remover, gathered.face_lists, plan.kept_sets, before)):
            now = datetime.now(timezone.utc)
            used = leases.in_use(leases.leases_of(run.remover, leases.FACES), now)
            begun = anything_under_way(settings, _EVER)  # what is older was dropped above, or somebody works on it
            waiting = begun or _new_set(run, gathered) or used.get(leases.FACES)
            if waiting:
                raise _Sparing(waiting)
            if not run.remove(batch):
                return False
            run.faces += len(batch)
    finally:
        leases.release(run.remover, lease)
    return True


def _new_set(run: _Run, gathered: Gathered) -> str | None:
    """A set that was not there when it was decided which faces nobody needs."""
    facts = gathered.facts
    known = {item.name for item in facts.sets} | {item.name for item in facts.unfinished}
    return next((name for name in set_names(run.remover) if name not in known), None)


def _batches(entries: Iterator[Entry]) -> Iterator[list[Entry]]:
    while batch := list(islice(entries, AT_ONCE)):
        yield batch
