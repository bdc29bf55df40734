"""What a process that handles keys and data does first: nothing of them gets into a file of others, or a core dump."""

import contextlib
import ctypes
import os
import resource
from collections.abc import Iterator

UMASK = 0o077
_GET_DUMPABLE, _SET_DUMPABLE = 3, 4  # of prctl(2)


def confine() -> None:
    """For the rest of this process: files for its user alone, no core dumps, memory that no other process reads.

    What it starts inherits the first two. The kernel forgets the third when another program begins, and never lets
    it keep root out.
    """
    os.umask(UMASK)
    resource.setrlimit(resource.RLIMIT_CORE, (0, 0))
    set_dumpable(False)


def is_dumpable() -> bool:
    """Whether this process may leave a core dump, and its user's other processes may look into its memory."""
    return bool(ctypes.CDLL(None).prctl(_GET_DUMPABLE, 0, 0, 0, 0))


def set_dumpable(dumpable: bool) -> None:
    """Say so of this process."""
    ctypes.CDLL(None).prctl(_SET_DUMPABLE, int(dumpable), 0, 0, 0)


@contextlib.contextmanager
def open_to_children() -> Iterator[None]:
    """For the length of a block programs of the same user may open `/proc/<this process>/fd/<number>`."""
    before = is_dumpable()
    set_dumpable(True)
    try:
        yield
    finally:
        set_dumpable(before)
