"""Puts what was unpacked in the place of what is there, and back again, by renames.

A piece is done when it no longer lies in the stage, and undone when nothing of it lies aside any more: so both ways can
stop anywhere, and be started again.
"""

import errno
import logging
import os
from collections.abc import Iterable
from dataclasses import dataclass

from spoqplus_backup.core.errors import BackupError, PermanentError, disk_full
from spoqplus_backup.core.process import check_cancelled
from spoqplus_backup.core.recovery.files.beneath import Beneath, MakeFolder
from spoqplus_backup.core.recovery.files.names import shown

log = logging.getLogger(__name__)

MOST_TIMES = 100
_OCCUPIED = (errno.ENOTEMPTY, errno.EEXIST, errno.ENOTDIR, errno.EISDIR)


@dataclass(frozen=True)
class Piece:
    """A file or folder. All three names are relative to the same folder (`Beneath.root`).

    `staged` None is something that is there and only goes aside, for the backup does not have it.
    """

    staged: bytes | None
    target: bytes
    aside: bytes


def swap(beneath: Beneath, pieces: Iterable[Piece]) -> int:
    """Put each piece in place and what was there aside; returns how many that were.

    Raises:
        PermanentError: a rename is refused.
    """
    count = 0
    for piece in pieces:
        check_cancelled()
        if piece.staged is not None and beneath.status(piece.staged) is None:
            continue  # it is in place
        for _ in range(MOST_TIMES):  # once, unless somebody makes anew what has just been put aside
            if beneath.status(piece.target) is not None:
                _rename(beneath, piece.target, _free(beneath, piece.aside), make=_make)
            if piece.staged is None or _has_placed(beneath, piece.staged, piece.target):
                break
        count += 1
    return count


def _has_placed(beneath: Beneath, staged: bytes, target: bytes) -> bool:
    """Put a piece in place; False when something is there again."""
    try:
        _rename(beneath, staged, target)
    except PermanentError as error:
        if isinstance(error.__cause__, OSError) and error.__cause__.errno in _OCCUPIED:
            return False
        raise
    return True


def swap_back(beneath: Beneath, pieces: Iterable[Piece]) -> int:
    """Put back what was there; returns how many pieces that were.

    Raises:
        PermanentError: a rename is refused.
    """
    count = 0
    for piece in pieces:
        replaced = _status(beneath, piece.aside) is not None
        placed = piece.staged is not None and _status(beneath, piece.staged) is None
        if _status(beneath, piece.target) is not None:
            if piece.staged is not None and placed:
                _rename(beneath, piece.target, piece.staged, make=_make)
            elif replaced:  # the application missed it, and made it anew
                _rename(beneath, piece.target, _free(beneath, piece.aside))
        if replaced:
            _rename(beneath, piece.aside, piece.target)
        count += replaced or placed
    return count


def _status(beneath: Beneath, name: bytes) -> os.stat_result | None:
    try:
        return beneath.status(name)
    except (FileNotFoundError, PermanentError):  # not even its folder, or no folder: nothing was put there
        return None


def _free(beneath: Beneath, aside: bytes) -> bytes:
    """A name that nothing has: somebody may have made anew what was put aside already."""
    for number in range(MOST_TIMES):
        name = aside + (b"" if not number else b".%d" % number)
        if _status(beneath, name) is None:
            return name
    raise PermanentError(
        f"/{shown(aside)} is there {MOST_TIMES} times: look who makes anew what is put aside, and remove them."
    )


def _rename(beneath: Beneath, source: bytes, target: bytes, make: MakeFolder | None = None) -> None:
    source_parent, _, source_name = source.rpartition(b"/")
    target_parent, _, target_name = target.rpartition(b"/")
    try:
        fd = os.dup(beneath.folder(source_parent))
        try:
            to = beneath.folder(target_parent, make)
            os.rename(source_name, target_name, src_dir_fd=fd, dst_dir_fd=to)
        finally:
            os.close(fd)
    except OSError as error:
        raise _explained(error, beneath, source, target) from error


def _make(fd: int, step: bytes, name: bytes) -> None:
    del name
    os.mkdir(step, 0o700, dir_fd=fd)


def _explained(error: OSError, beneath: Beneath, source: bytes, target: bytes) -> BackupError:
    if full := disk_full(error, beneath.root):
        return full
    words = f"/{shown(source)} can't become /{shown(target)} ({error.strerror})"
    if error.errno in (errno.EBUSY, errno.EXDEV):
        return PermanentError(f"{words}: something is mounted there: name its folders one by one in the configuration.")
    return PermanentError(f"{words}: let the worker run as root, or as who may write there.")
