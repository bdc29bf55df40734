"""The format of GNU tar's snapshot files (version 2), as far as it takes to leave folders out of one.

A line `GNU tar-<version>-2`, two fields with the time, then of each folder six fields (NFS or not, seconds,
nanoseconds, device, inode, name) and its list: an entry for each name in it, an empty one, and one more empty field.
Every field ends in a zero byte. Source: GNU tar's manual, "Format of the Incremental Snapshot Files".

tar knows a folder again by its inode and archives a renamed one as a line `R old T new` in its parent's list. Where a
file has been in the new place, tar itself can't restore that. So a folder that is not where it was (or another one is,
under its name) is left out of the copy that tar gets: it is new, then, and all its files are in the archive. What an
incremental archive does not hold is in the full one under the same name.
"""

import os
import re
from collections.abc import Iterator
from typing import IO

from spoqplus_backup.core.errors import PermanentError
from spoqplus_backup.core.process import check_cancelled

CHUNK_BYTES = 1 << 20
_FIRST_LINE = re.compile(rb"GNU tar-\S+-2\n")
_LINE_BYTES = 100
_INODE, _NAME, _FIELDS = 4, 5, 6


def is_snapshot(file: IO[bytes]) -> bool:
    """Whether this is the format that is known here; reads the first line."""
    return _FIRST_LINE.fullmatch(file.readline(_LINE_BYTES)) is not None


def copy_without_moved(source: IO[bytes], target: IO[bytes], root: bytes = b"/") -> int:
    """Copy a snapshot without the folders that are no longer in their place below `root`; returns how many those are.

    Raises:
        PermanentError: it is no snapshot, or damaged.
    """
    line = source.readline(_LINE_BYTES)
    if not _FIRST_LINE.fullmatch(line):
        raise PermanentError(f"This is no snapshot of GNU tar: it begins with {line!r}.")
    target.write(line)
    fields = _fields(source)
    try:
        for _ in range(2):
            target.write(next(fields) + b"\0")
        return _copy_folders(fields, target, root)
    except (StopIteration, RuntimeError, ValueError) as error:
        raise PermanentError("The snapshot of GNU tar is damaged: it ends in the middle of a folder.") from error


def _copy_folders(fields: Iterator[bytes], target: IO[bytes], root: bytes) -> int:
    left_out = 0
    for first in fields:
        check_cancelled()
        head = [first, *(next(fields) for _ in range(_FIELDS - 1))]
        stays = _is_there(root + head[_NAME], int(head[_INODE]))
        left_out += not stays
        if stays:
            target.write(b"\0".join(head) + b"\0")
        for entry in fields:
            if stays:
                target.write(entry + b"\0")
            if not entry:
                break
        end = next(fields)
        if end:
            raise ValueError("a folder's list has no end")
        if stays:
            target.write(b"\0")
    return left_out


def _is_there(path: bytes, inode: int) -> bool:
    try:
        return os.lstat(path).st_ino == inode
    except OSError:  # it is gone, or what was a folder above it is a file
        return False


def _fields(source: IO[bytes]) -> Iterator[bytes]:
    rest = b""
    while chunk := source.read(CHUNK_BYTES):
        *whole, rest = (rest + chunk).split(b"\0")
        yield from whole
    if rest:
        raise ValueError("the last field has no end")
