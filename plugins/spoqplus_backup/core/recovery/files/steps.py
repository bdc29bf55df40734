"""The steps of a restore of files: unpack and put in place, owners, verify; and the way back.

All components are unpacked and proved before the first of them is put in place. Until the restore is verified
(`verify.json` is there) everything that was replaced lies aside and can be put back; from then on it goes.
"""

import contextlib
import logging
import os
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

from spoqplus_backup.core.connections import Connections
from spoqplus_backup.core.errors import IntegrityError, PermanentError
from spoqplus_backup.core.progress import Progress
from spoqplus_backup.core.recovery.files import places as placing
from spoqplus_backup.core.recovery.files.beneath import Beneath
from spoqplus_backup.core.recovery.files.component import OBJECTS, RestoredComponent, components_of
from spoqplus_backup.core.recovery.files.owners import Owner, configured_owner, give
from spoqplus_backup.core.recovery.files.plan import archive_folder, check_places
from spoqplus_backup.core.recovery.files.preparing import prepare
from spoqplus_backup.core.recovery.files.replacing import ROOT, put_back, put_in_place
from spoqplus_backup.core.recovery.files.verify import Comparison, Verdict, compare
from spoqplus_backup.core.recovery.keeping import keep_sets
from spoqplus_backup.core.recovery.plan import VERIFIED, RestorePlan, restore_directory, restores_directory
from spoqplus_backup.core.run import StageSummary
from spoqplus_backup.core.settings import Settings
from spoqplus_backup.core.staging import locked

log = logging.getLogger(__name__)

LOCK_SECONDS = 60.0


def restore_files(settings: Settings, connections: Connections, plan: RestorePlan, generation: int) -> StageSummary:
    """Unpack every component beside its target, prove it, then put all of them in place.

    Started again after a failure it goes on with what is missing; for another `generation` (the task was cleared) it
    puts back what was there and begins anew. When something can't be put in place, what was there comes back.

    Raises:
        IntegrityError: an archive would be written out of its root, or is not what its index says. Nothing is replaced.
        DiskFullError: no room is left. Nothing is replaced.
        PermanentError: the worker may not write there, or what was fetched is gone.
    """
    keep_sets(settings, connections, plan)
    components = components_of(settings, plan)
    progress = Progress("restore_files", sum(planned.stream_bytes for planned in plan.files))
    with alone(settings):
        if is_verified(settings, plan):  # it was interrupted while it removed what it had replaced
            _drop_replaced(settings, components)
        for component in components:
            check_places(settings, component.planned, plan.request.environment)
            if component.state is not None and component.state.generation != generation:
                put_back(component)
        for component in components:
            state = component.state
            if state is None or state.generation != generation or state.step in ("unpacking", "put_back"):
                (restore_directory(settings, plan.run_id) / VERIFIED).unlink(missing_ok=True)
                prepare(settings, connections, component, generation, progress)
                log.info("%s: unpacked and proved", component.planned.name)
        try:
            pieces = sum(_put_in_place(component) for component in components)
        except Exception as error:
            log.warning("%s Putting back what was there.", error)
            for component in reversed(components):
                try:
                    put_back(component)
                except PermanentError as another:  # the task after_failure offers it once more
                    log.warning("%s: what was there could not be put back: %s", component.planned.name, another)
            raise
    return StageSummary(
        stage="restore_files",
        component="",
        parts=sum(planned.files for planned in plan.files),
        bytes_in=sum(planned.stream_bytes for planned in plan.files),
        bytes_out=sum(planned.bytes for planned in plan.files),
        seconds=progress.finish(),
        detail={
            "files": sum(planned.files for planned in plan.files),
            "pieces": pieces,
            "order": " → ".join(planned.name for planned in plan.files),
            "kept_aside": ", ".join(str(path) for component in components for path in component.kept()) or None,
        },
    )


def _put_in_place(component: RestoredComponent) -> int:
    count = put_in_place(component)
    kept = ", ".join(map(str, component.kept()))
    log.info("%s: in place%s", component.planned.name, f"; what was there is kept as {kept}" if kept else "")
    return count


def alone(settings: Settings) -> contextlib.AbstractContextManager[None]:
    """One restore of files at a time on a machine: two would put each other's files aside."""
    return locked(restores_directory(settings) / "files.lock", f"a restore of files of {settings.site}", LOCK_SECONDS)


def set_ownership(settings: Settings, plan: RestorePlan) -> StageSummary:
    """Give what was restored to whom `restore.ownership` says, with its modes; null leaves it as it was archived.

    Nobody but root gives files away: of another worker they stay its own, which is said, and only the modes are set.

    Raises:
        PermanentError: this machine has no such user, or root may not give files away there.
    """
    progress = Progress("set_ownership")
    total = _Given()
    said = []
    for component in components_of(settings, plan):
        owner = configured_owner(settings, component.planned.name)
        if owner is None or not component.is_in_place:
            continue
        given = _give_all(component, owner)
        total.add(given)
        chosen = settings.restore.ownership[component.planned.name]
        assert chosen is not None  # noqa: S101 (there is an owner)
        words = f"{component.planned.name} {chosen.owner}:{chosen.group} {chosen.folders}/{chosen.files}"
        if given.refused:
            words += f" (the worker is not root: {given.refused} stay its own)"
            log.warning("%s", words)
        said.append(words)
    return StageSummary(
        stage="set_ownership",
        component="",
        parts=total.seen,
        bytes_in=0,
        bytes_out=0,
        seconds=progress.finish(),
        detail={
            "ownership": ", ".join(said) or None,
            "changed": total.changed,
            "not_given": total.refused or None,
        },
    )


@dataclass
class _Given:
    """How many files, folders and links were looked at, changed, and could not be given to their owner."""

    seen: int = 0
    changed: int = 0
    refused: int = 0

    def add(self, other: "_Given") -> None:
        """Count those of another, too."""
        self.seen += other.seen
        self.changed += other.changed
        self.refused += other.refused


def _give_all(component: RestoredComponent, owner: Owner) -> _Given:
    given = _Given()
    name_of = component.final_names()
    with component.tree() as tree, Beneath(ROOT) as beneath:
        for node in tree.chosen():
            parent, _, step = name_of(node).rpartition(b"/")
            try:
                fd = beneath.folder(parent)
                try:
                    given.changed += give(fd, step, owner)
                except PermanentError:
                    if os.geteuid() == 0:
                        raise
                    given.refused += 1
                    given.changed += give(fd, step, owner.modes_only())
            except FileNotFoundError:  # verify says whether that is a fault
                continue
            given.seen += 1
    return given


def verify_files(
    settings: Settings, plan: RestorePlan, progress: Progress
) -> dict[str, str | int | float | bool | None]:
    """Compare every restored file with the index: type, size, SHA-256, owner, mode. Returns numbers for the summary.

    What does not match is put back to what was there. What others changed since it was put in place is only counted.

    Raises:
        IntegrityError: something differs, by name.
        PermanentError: it was not put in place.
    """
    total = Verdict()
    problems: list[str] = []
    for component in components_of(settings, plan):
        verdict = _compare(settings, component, progress)
        problems += [f"{component.planned.name}: /{problem}" for problem in verdict.problems]
        total.files += verdict.files
        total.changed += verdict.changed
        total.changed_names += verdict.changed_names
    if problems:
        put_back_files(settings, plan)
        more = f" and {len(problems) - 10} more" if len(problems) > 10 else ""
        raise IntegrityError(
            f"The restored files are not what the backup holds: {'; '.join(problems[:10])}{more}. What was there "
            "before was put back: clear restore_files, or restore another set."
        )
    if total.changed:
        log.warning("Changed by others since: %s", ", ".join(total.changed_names))
    return {"files": total.files, "changed_since": total.changed or None}


def _compare(settings: Settings, component: RestoredComponent, progress: Progress) -> Verdict:
    state = component.state
    if state is None or not component.is_in_place:
        raise PermanentError(f"{component.planned.name} was not put in place: clear the task restore_files.")
    owner = configured_owner(settings, component.planned.name)
    with component.tree() as tree, Beneath(ROOT) as beneath:
        how = Comparison(beneath, component.final_names(), owner, state.at, os.geteuid() == 0, component.whole)
        return compare(tree, how, progress)


def kept_aside(settings: Settings, plan: RestorePlan) -> list[str]:
    """What stays beside the places when the restore is verified: what `restore.keep_replaced` says, and what the
    application made anew in the moment of the swap.
    """
    return [str(path) for component in components_of(settings, plan) for path in _staying(settings, component)]


def _staying(settings: Settings, component: RestoredComponent) -> list[Path]:
    state = component.state
    going = [] if state is None or settings.restore.keep_replaced else component.replaced(state.generation)
    return [path for path in component.kept() if path not in going]


def is_verified(settings: Settings, plan: RestorePlan) -> bool:
    """Whether the whole restore was verified: then what it replaced may be gone in part, and is never put back."""
    return (restore_directory(settings, plan.run_id) / VERIFIED).exists()


def _drop_replaced(settings: Settings, components: Sequence[RestoredComponent]) -> None:
    in_place = [component for component in components if component.is_in_place]
    for component in in_place:  # before anything goes: half of what was replaced must never be put back
        component.note("verified")
    for component in in_place:
        state, staying = component.state, _staying(settings, component)
        assert state is not None  # noqa: S101 (it is in place)
        for path in (*dict.fromkeys(state.stage_paths().values()), *component.kept()):
            if path not in staying:
                placing.remove(path)


def finish_files(settings: Settings, plan: RestorePlan) -> None:
    """After everything was verified, what was fetched goes, and what was replaced unless `keep_replaced` is set."""
    components = components_of(settings, plan)
    _drop_replaced(settings, components)
    for component in components:
        for planned in component.planned.archives:
            placing.remove(archive_folder(component.work, planned.set))
        placing.remove(component.work / OBJECTS)


def put_back_files(settings: Settings, plan: RestorePlan) -> StageSummary:
    """Put back what was there before; what was restored goes. Does nothing where nothing was replaced.

    Raises:
        PermanentError: a rename is refused.
    """
    progress = Progress("put_back")
    with alone(settings):
        count = sum(put_back(component) for component in reversed(components_of(settings, plan)))
    return StageSummary(
        stage="put_back",
        component="",
        parts=count,
        bytes_in=0,
        bytes_out=0,
        seconds=progress.finish(),
        detail={"files": ", ".join(planned.name for planned in plan.files)},
    )


def were_put_back(settings: Settings, plan: RestorePlan) -> bool:
    """Whether what was there is back already, though perhaps not all that was restored is gone."""
    return any(
        component.state is not None and component.state.step == "put_back"
        for component in components_of(settings, plan)
    )


def are_replaced(settings: Settings, plan: RestorePlan) -> bool:
    """Whether files were put in place, and neither verified nor put back."""
    if is_verified(settings, plan):
        return False
    return any(component.state is not None and component.state.is_begun for component in components_of(settings, plan))
