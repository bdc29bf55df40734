"""How much an archive will hold: a walk over its paths that ends in time, whatever they are."""

import contextlib
import fnmatch
import os
import stat
import time
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass, field
from datetime import datetime
from pathlib import Path

from spoqplus_backup.core.process import check_cancelled

MEMBER_BYTES = 2048  # headers and padding of a member
NAME_BYTES = 64  # of a file that did not change, in the list of its folder
NAMED = 5


@dataclass
class Measure:
    """What was found. `bytes` is what the raw parts will take; `complete` is False when the time was up."""

    bytes: int = 0
    files: int = 0
    complete: bool = True
    unreadable: list[str] = field(default_factory=list)
    """The first folders that this process may not read."""


def measure(paths: Iterable[Path], exclude: Sequence[str], seconds: float, since: datetime | None = None) -> Measure:
    """Add up what lies below the paths, for at most so many seconds.

    Args:
        paths: files and folders.
        exclude: patterns of names that are left out.
        seconds: when to stop.
        since: only what was changed after it; everything when None.
    """
    found = Measure()
    deadline = time.monotonic() + seconds
    newer_than = since.timestamp() if since else None
    for status in _walk(paths, exclude, found):
        changed = newer_than is None or max(status.st_mtime, status.st_ctime) >= newer_than
        found.bytes += MEMBER_BYTES if changed else NAME_BYTES
        if changed and stat.S_ISREG(status.st_mode):
            found.bytes += min(status.st_size, status.st_blocks * 512)  # holes take no room in a tar
        found.files += not stat.S_ISDIR(status.st_mode)
        if time.monotonic() > deadline:
            found.complete = False
            break
    return found


def _walk(paths: Iterable[Path], exclude: Sequence[str], found: Measure) -> Iterator[os.stat_result]:
    waiting = []
    for path in paths:
        status = path.lstat()
        yield status
        if stat.S_ISDIR(status.st_mode):
            waiting.append(os.fspath(path))
    while waiting:
        check_cancelled()
        folder = waiting.pop()
        for entry in _entries(folder, found):
            if any(_matches(entry, pattern) for pattern in exclude):
                continue
            with contextlib.suppress(FileNotFoundError):  # it went meanwhile
                yield entry.stat(follow_symlinks=False)
                if entry.is_dir(follow_symlinks=False):
                    waiting.append(entry.path)


def _matches(entry: os.DirEntry[str], pattern: str) -> bool:
    """As tar has it: a pattern is about the end of a path, from any slash on."""
    return fnmatch.fnmatchcase(entry.path, f"*/{pattern.lstrip('/')}")


def _entries(folder: str, found: Measure) -> Iterator[os.DirEntry[str]]:
    try:
        with os.scandir(folder) as entries:
            yield from entries
    except FileNotFoundError:  # it went meanwhile
        return
    except PermissionError:
        if len(found.unreadable) < NAMED:
            found.unreadable.append(folder)
