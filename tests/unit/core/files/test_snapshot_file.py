"""Folders that were moved are left out of what GNU tar gets to see; everything else stays to the byte."""

import io
import os
import subprocess
from pathlib import Path

import pytest

from spoqplus_backup.core.errors import PermanentError
from spoqplus_backup.core.files.snapshot_file import copy_without_moved, is_snapshot


@pytest.fixture
def snapshot(tmp_path: Path) -> bytes:
    """Of a tree of three folders, as tar itself wrote it."""
    for name in ("tree/a", "tree/회원\n사진"):
        (tmp_path / name).mkdir(parents=True)
        (tmp_path / name / "file").write_text("")
    (tmp_path / "tree" / os.fsdecode(b"\xff")).write_text("")
    command = ["tar", "-c", f"--listed-incremental={tmp_path}/snapshot", "-f", "/dev/null", "-C", tmp_path, "tree"]
    subprocess.run(command, check=True)
    return (tmp_path / "snapshot").read_bytes()


def copied(snapshot: bytes, root: Path) -> tuple[bytes, int]:
    target = io.BytesIO()
    left_out = copy_without_moved(io.BytesIO(snapshot), target, os.fsencode(root) + b"/")
    return target.getvalue(), left_out


def test_nothing_was_moved(snapshot: bytes, tmp_path: Path) -> None:
    assert copied(snapshot, tmp_path) == (snapshot, 0)
    assert is_snapshot(io.BytesIO(snapshot))


@pytest.mark.parametrize("what", ["removed", "renamed", "now a file", "another folder"])
def test_a_folder_that_is_not_where_it_was(what: str, snapshot: bytes, tmp_path: Path) -> None:
    folder = tmp_path / "tree/a"
    if what == "removed":
        (folder / "file").unlink()
        folder.rmdir()
    else:
        folder.rename(tmp_path / "tree/b")
    if what == "now a file":
        folder.write_text("")
    if what == "another folder":
        folder.mkdir()
    found, left_out = copied(snapshot, tmp_path)
    assert left_out == 1
    start = snapshot.index(b"\0tree/a\0")
    end = start + len(b"\0tree/a\0Yfile\0\0")
    assert snapshot[start : end + 1] == b"\0tree/a\0Yfile\0\0\0"
    assert found.endswith(snapshot[end + 1 :])
    assert b"\0tree/a\0" not in found
    assert found.startswith(snapshot[: snapshot.index(b"\0tree/a\0") - 60])


def test_all_below_a_folder_that_became_a_file(snapshot: bytes, tmp_path: Path) -> None:
    (tmp_path / "tree").rename(tmp_path / "moved")
    (tmp_path / "tree").write_text("")
    found, left_out = copied(snapshot, tmp_path)
    assert left_out == 3
    assert snapshot.startswith(found)


def test_damage(snapshot: bytes, tmp_path: Path) -> None:
    for damaged in (b"", b"something else", snapshot[1:]):
        assert not is_snapshot(io.BytesIO(damaged))
        with pytest.raises(PermanentError, match="no snapshot of GNU tar"):
            copied(damaged, tmp_path)
    whole = [end for end in range(len(snapshot)) if snapshot[:end].endswith(b"\0\0\0")]  # a folder less
    for end in set(range(snapshot.index(b"\n") + 1, len(snapshot))) - set(whole):
        if snapshot[:end].count(b"\0") != 2 or snapshot[end - 1]:  # no folder at all
            with pytest.raises(PermanentError, match="is damaged"):
                copied(snapshot[:end], tmp_path)
