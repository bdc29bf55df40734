"""The staging area of runs that failed: whether a set is still being made, and the end of what nobody goes on with.

A failed run's staging stays for its retry. When its unfinished set goes from the repositories, it has to go too, and
before: a task that is cleared later would otherwise publish a set whose objects are gone.
"""

import contextlib
import logging
import os
import re
import shutil
from collections.abc import Iterator
from datetime import datetime, timezone
from pathlib import Path

from spoqplus_backup.core.errors import BackupError
from spoqplus_backup.core.settings import Settings
from spoqplus_backup.core.staging import Staging, locked

log = logging.getLogger(__name__)

LOCK = "lock"

_ID = re.compile(r"\d{8}_\d{6}")


def is_under_way(settings: Settings, cadence: str, set_id: str, since: datetime) -> bool:
    """Whether this host works on a set, or has done so after `since`."""
    return is_fresh(Staging(settings.staging.directory, settings.site, cadence, set_id).path, since)


def anything_under_way(settings: Settings, since: datetime) -> str | None:
    """A set that this host works on, or has worked on after `since`; None when there is none."""
    for path in _staged(settings):
        if is_fresh(path, since):
            return f"{path.parent.name}/{path.name}"
    return None


def drop_abandoned(settings: Settings, since: datetime) -> list[str]:
    """Remove the staging of runs that nobody has gone on with after `since`; the names of their sets."""
    dropped = []
    for path in _staged(settings):
        name = f"{path.parent.name}/{path.name}"
        try:
            with _all_locked(path):
                if is_fresh(path, since):
                    continue
                shutil.rmtree(path)
        except BackupError as error:
            log.info("The staging of %s stays: %s", name, error)
            continue
        except FileNotFoundError:  # another run removes it, too
            continue
        log.warning("The staging of %s, a run that nobody went on with, is removed: %s", name, path)
        dropped.append(name)
    return dropped


def _staged(settings: Settings) -> Iterator[Path]:
    yield from sorted(
        path
        for path in (settings.staging.directory / settings.site).glob("*/*")
        if _ID.fullmatch(path.name) and path.is_dir()
    )


def is_fresh(path: Path, since: datetime) -> bool:
    """Whether anything in a folder changed after `since`."""
    return any(datetime.fromtimestamp(seconds, timezone.utc) > since for seconds in _times(path))


def _times(path: Path) -> Iterator[float]:
    with contextlib.suppress(FileNotFoundError):
        yield path.stat().st_mtime
        for folder, folders, files in os.walk(path):
            for name in {*folders, *files} - {LOCK}:
                with contextlib.suppress(FileNotFoundError):
                    yield Path(folder, name).lstat().st_mtime


@contextlib.contextmanager
def _all_locked(path: Path) -> Iterator[None]:
    """Keep every task away from a set's components. A lock's own time counts for nothing, as it changes here.

    Raises:
        BackupError: a task works on one of them.
    """
    with contextlib.ExitStack() as stack:
        for found in sorted(path.glob(f"*/{LOCK}")):
            stack.enter_context(locked(found, f"the component {found.parent.name} of {path}"))
        yield
