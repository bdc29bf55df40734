"""What restores of files leave beside their places: of those that did not end, and what is kept; and how it goes."""

import re
from collections.abc import Iterator, Sequence
from pathlib import Path

from pydantic import ValidationError

from spoqplus_backup.core.errors import BackupError, PermanentError
from spoqplus_backup.core.notice import Notice, notice
from spoqplus_backup.core.recovery.files import places as placing
from spoqplus_backup.core.recovery.files.component import components_of
from spoqplus_backup.core.recovery.files.places import STAGE, Place, place_of, short_name
from spoqplus_backup.core.recovery.files.plan import PlannedFiles
from spoqplus_backup.core.recovery.files.steps import alone, are_replaced
from spoqplus_backup.core.recovery.plan import PLAN, RestorePlan, restores_directory
from spoqplus_backup.core.settings import Settings
from spoqplus_backup.core.staging import read_json

_RUN = re.compile("[0-9a-f]{8}")  # `short_name`


def leftover_notices(settings: Settings, run_id: str, files: Sequence[PlannedFiles]) -> Iterator[Notice]:
    """What lies beside the places of a plan that other restores left, and what to do with it."""
    found: dict[str, list[Path]] = {}
    for planned in files:
        for top in planned.tops:
            for run, path in _left(place_of(Path(planned.root), top)):
                found.setdefault(run, []).append(path)
    found.pop(short_name(run_id), None)
    for run, paths in found.items():
        names = ", ".join(map(str, dict.fromkeys(paths)))
        plan = _plan_of(settings, run)
        if plan is None:
            sentence = "{paths} is left of a restore that this machine has no plan of: look into it, then remove it."
            yield notice("plan.left_unknown", sentence, paths=names)
        elif are_replaced(settings, plan):
            yield notice(
                "plan.left_unfinished",
                "The restore {run} put files in place and was never verified: {paths} holds what was there before. "
                "Clear its failed task, or put that back: spoqplus-backup restore --put-back {run}",
                paths=names,
                run=plan.run_id,
            )
        else:
            sentence = "{paths} is left of the restore {run}. To remove it: spoqplus-backup restore --drop {run}"
            yield notice("plan.left_aside", sentence, paths=names, run=plan.run_id)


def _left(place: Place) -> Iterator[tuple[str, Path]]:
    """What restores left beside a place, and the short names of their runs."""
    for beginning in (STAGE, place.kept_name):
        for path in place.beside(beginning):
            if match := _RUN.match(path.name, len(beginning)):
                yield match[0], path


def _plan_of(settings: Settings, run: str) -> RestorePlan | None:
    """The plan of a restore by its short name, where this machine has one that can be read."""
    for path in restores_directory(settings).glob(f"*-{run}/{PLAN}"):
        try:
            return RestorePlan.model_validate(read_json(path))
        except (BackupError, ValidationError):
            continue
    return None


def drop_files(settings: Settings, plan: RestorePlan) -> list[str]:
    """Remove all that a restore of files left: what it unpacked, what it keeps aside, what was fetched; where that was.

    Raises:
        PermanentError: it put files in place and was never verified, so this would be the only copy of what was there.
    """
    with alone(settings):
        if are_replaced(settings, plan):
            raise PermanentError(
                f"The restore {plan.run_id} put files in place and was never verified: go on with it (--resume), or "
                "put back what was there (--put-back), before that is dropped."
            )
        dropped: dict[Path, None] = {}
        for component in components_of(settings, plan):
            stages = component.state.stage_paths().values() if component.state else ()
            for path in (*stages, *component.kept()):
                if path.exists():
                    dropped[path] = None
                    placing.remove(path)
            placing.remove(component.work)
        return [str(path) for path in dropped]
