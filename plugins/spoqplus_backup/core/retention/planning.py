"""The plan of a retention run for each repository, as it is shown, approved and kept on disk between the tasks."""

import hashlib
import logging
import re
import shutil
from collections.abc import Iterable
from dataclasses import dataclass
from datetime import datetime, timedelta, timezone
from pathlib import Path

from spoqplus_backup.core.connections import Connections
from spoqplus_backup.core.errors import IntegrityError, PermanentError
from spoqplus_backup.core.repository.binlogs import ROOT as BINLOG
from spoqplus_backup.core.repository.removal import Entry, Remover, open_others, open_remover
from spoqplus_backup.core.repository.retention import plan_retention
from spoqplus_backup.core.repository.retention_model import Decision, RepositoryPlan
from spoqplus_backup.core.retention.faces import FACES, garbage
from spoqplus_backup.core.retention.facts import Gathered, gather, judge
from spoqplus_backup.core.retention.work import anything_under_way, is_fresh
from spoqplus_backup.core.settings import Settings
from spoqplus_backup.core.staging import read_json, write_json

log = logging.getLogger(__name__)

_UNSAFE = re.compile(r"[^A-Za-z0-9._-]+")


def plan_repository(settings: Settings, connections: Connections, name: str, run_id: str) -> RepositoryPlan:
    """Decide about everything in a repository, and keep the plan for the run's later tasks.

    Raises:
        BackupError: the repository can't be reached or read in full: nothing is decided then.
    """
    now = datetime.now(timezone.utc)
    _drop_old_runs(settings, run_id, now)
    remover = open_remover(settings, name, connections)
    plan, _ = decide(settings, remover, open_others(settings, name, connections), now)
    write_json(_plan_file(settings, run_id, name), plan)
    return plan


def decide(
    settings: Settings, remover: Remover, others: Iterable[Remover], now: datetime
) -> tuple[RepositoryPlan, Gathered]:
    """What goes from a repository by what is in it now, and what was found.

    What would go is looked at more closely, and then decided about again: that can only keep more.
    """
    gathered = gather(settings, remover, others, now)
    keep = settings.repository(remover.name).keep
    plan = plan_retention(gathered.facts, keep, settings.retention, now)
    if candidates := [decision.name for decision in plan.deletions]:
        gathered.facts = judge(settings, remover, gathered, candidates)
        plan = plan_retention(gathered.facts, keep, settings.retention, now)
    plan = plan.model_copy(update={"unread": tuple(gathered.unread)})
    return _with_faces(settings, remover, gathered, plan, now), gathered


def faces_must_wait(settings: Settings, plan: RepositoryPlan, now: datetime) -> str | None:
    """The set that is being made and may need an object that no published one names; None: there is none."""
    since = now - timedelta(hours=settings.retention.unfinished_hours)
    if (here := anything_under_way(settings, since)) is not None:
        return here
    unfinished = (item for item in plan.decisions if item.kind == "unfinished" and item.reason == "under_way")
    return next((item.name for item in unfinished if not item.name.startswith(f"{BINLOG}/")), None)


def _with_faces(
    settings: Settings, remover: Remover, gathered: Gathered, plan: RepositoryPlan, now: datetime
) -> RepositoryPlan:
    """The plan with what becomes of the face objects that no set which stays names."""
    if FACES not in remover.list_folders() or settings.repository(remover.name).keep.forever:
        return plan
    return plan.model_copy(
        update={"decisions": (*plan.decisions, *_about_faces(settings, remover, gathered, plan, now))}
    )


def _about_faces(
    settings: Settings, remover: Remover, gathered: Gathered, plan: RepositoryPlan, now: datetime
) -> list[Decision]:
    if (waiting := faces_must_wait(settings, plan, now)) is not None:
        return [Decision(kind="faces", name=FACES, keep=True, reason="under_way", detail=waiting, at=now)]
    whole, gone = _Count(), _Count()
    before = now - timedelta(hours=settings.retention.minimum_age_hours)
    try:
        for entry in garbage(remover, gathered.face_lists, plan.kept_sets, before, whole.add):
            gone.add(entry)
    except IntegrityError as error:
        log.warning("No face object is deleted from %s: %s", remover.url, error)
        return [Decision(kind="faces", name=FACES, keep=True, reason="untrusted", detail=str(error), at=now)]

    def some(count: _Count, *, keep: bool) -> Decision:
        return Decision(
            kind="faces",
            name=FACES,
            keep=keep,
            reason="faces_needed" if keep else "faces_not_needed",
            detail=f"{count.objects:,}",
            bytes=count.bytes,
            at=now,
        )

    stay = _Count(whole.objects - gone.objects, whole.bytes - gone.bytes)
    return [some(stay, keep=True), *([some(gone, keep=False)] if gone.objects else [])]


@dataclass
class _Count:
    objects: int = 0
    bytes: int = 0

    def add(self, entry: Entry) -> None:
        self.objects += 1
        self.bytes += entry.bytes


def run_directory(settings: Settings, run_id: str) -> Path:
    """Where a run keeps its plans and what it has done."""
    readable = _UNSAFE.sub("_", run_id)[:80]
    digest = hashlib.sha256(run_id.encode()).hexdigest()[:8]
    return settings.staging.directory / "retention" / settings.site / f"{readable}-{digest}"


def load_plan(settings: Settings, run_id: str, name: str) -> RepositoryPlan:
    """The plan that this run made for a repository.

    Raises:
        PermanentError: it is gone.
    """
    path = _plan_file(settings, run_id, name)
    content = read_json(path)
    if content is None:
        raise PermanentError(f"There is no plan {path}: clear the task plan of the run {run_id}.")
    return RepositoryPlan.model_validate(content)


def asked_by(settings: Settings, name: str) -> str | None:
    """The last run that asked a person whether so much may go from a repository."""
    content = read_json(_asked_file(settings, name))
    return None if content is None else str(content["run"])


def note_asked(settings: Settings, run_id: str, name: str) -> None:
    """Note that this run asks."""
    write_json(_asked_file(settings, name), {"run": run_id})


def forget_run(settings: Settings, run_id: str) -> None:
    """Remove what a run kept, when it is reported."""
    shutil.rmtree(run_directory(settings, run_id), ignore_errors=True)


def _drop_old_runs(settings: Settings, run_id: str, now: datetime) -> None:
    """Remove what failed runs kept: nobody clears their tasks any more. One may still wait for its approval."""
    limits = settings.retention
    since = now - timedelta(hours=max(limits.unfinished_hours, limits.approval_hours))
    own = run_directory(settings, run_id)
    for path in sorted(own.parent.glob("*")):
        if path != own and path.is_dir() and not is_fresh(path, since):
            log.info("What is left of an older run is removed: %s", path)
            shutil.rmtree(path, ignore_errors=True)


def _asked_file(settings: Settings, name: str) -> Path:
    return settings.staging.directory / "retention" / settings.site / f"{name}.asked.json"


def _plan_file(settings: Settings, run_id: str, name: str) -> Path:
    return run_directory(settings, run_id) / f"{name}.plan.json"
