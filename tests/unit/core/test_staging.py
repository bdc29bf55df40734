"""Locks of the staging area: one process at a time, and never longer than the block."""

import os
from pathlib import Path

import pytest

from spoqplus_backup.core.errors import BackupError
from spoqplus_backup.core.staging import locked


def test_nobody_else_gets_in_and_is_told_who_is(tmp_path: Path) -> None:
    with (
        locked(tmp_path / "lock", "the set"),
        pytest.raises(BackupError, match=rf"\(pid {os.getpid()}\) works on the set"),
        locked(tmp_path / "lock", "the set"),
    ):
        pass


def test_it_ends_with_the_block_though_a_child_still_has_the_file_open(tmp_path: Path) -> None:
    """As one has that another thread forked, until it executes its program."""
    path = tmp_path / "lock"
    with locked(path, "the set"):
        (held,) = (fd for fd in Path("/proc/self/fd").iterdir() if points_to(fd) == path)
        inherited = os.dup(int(held.name))
    try:
        with locked(path, "the set"):
            pass
    finally:
        os.close(inherited)


def points_to(fd: Path) -> Path | None:
    try:
        return fd.readlink()
    except FileNotFoundError:  # what listed them
        return None
