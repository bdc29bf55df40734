"""Nothing is deleted because a folder was emptied, or its disk not mounted: what every sync asks before it works."""

import os
from pathlib import Path

from spoqplus_backup.core.errors import PermanentError
from spoqplus_backup.core.settings import SourceGuard


class GuardError(PermanentError):
    """A sync would have believed a source that is gone, or deleted more than is plausible. Nothing was changed."""


def check_source(directory: Path, guard: SourceGuard, section: str) -> None:
    """See that a folder is there, mounted and not empty.

    Args:
        directory: the source of a sync.
        guard: how it is told from an empty mount point.
        section: the settings that name it, for the error.

    Raises:
        GuardError: it is not.
    """
    if guard.mount_point is not None:
        check_mounted(guard.mount_point, f"{section}.mount_point")
    try:
        with os.scandir(directory) as entries:
            empty = next(entries, None) is None
    except OSError as error:
        raise GuardError(
            f"The folder {directory} can't be read ({error.strerror}): mount its disk, correct its permissions or the "
            f"path in `{section}`. Nothing was changed."
        ) from error
    if empty:
        raise GuardError(
            f"The folder {directory} is empty, as one is whose disk is not mounted: look after it. If it is to be "
            f"empty, set `{section}: null`. Nothing was changed."
        )
    if guard.marker is not None and not os.path.lexists(directory / guard.marker):
        raise GuardError(
            f"The folder {directory} lacks {guard.marker}, by which it is known (`{section}.marker`): mount its disk. "
            "Nothing was changed."
        )


def check_mounted(path: Path, field: str) -> None:
    """See that something is mounted at a path.

    Raises:
        GuardError: nothing is, or it can't be looked at.
    """
    try:
        mounted = path.is_mount()
    except OSError as error:
        raise GuardError(
            f"{path} can't be looked at ({error.strerror}): mount its disk. Nothing was changed."
        ) from error
    if not mounted:
        raise GuardError(f"Nothing is mounted at {path} (`{field}`): mount its disk. Nothing was changed.")


def allowed_deletions(known: int, guard: SourceGuard) -> int:
    """How many of `known` files may be gone at once."""
    return int(known * guard.maximum_deletions + 1e-9)  # 0.1 times 30 is a hair less than 3 in some arithmetics


def check_deletions(directory: Path, gone: int, known: int, guard: SourceGuard, section: str) -> None:
    """See that not more is gone from a folder than is plausible.

    Raises:
        GuardError: more is.
    """
    if gone > allowed_deletions(known, guard):
        raise GuardError(
            f"{gone} of {known} files are gone from {directory}, more than {guard.maximum_deletions:.0%} "
            f"(`{section}.maximum_deletions`): look what happened there. If it is meant, raise the setting for one "
            "run. Nothing was deleted."
        )
