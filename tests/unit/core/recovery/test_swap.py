"""What is put in place and back, and that no link is followed on the way."""

import os
from pathlib import Path

import pytest

from spoqplus_backup.core.errors import PermanentError
from spoqplus_backup.core.recovery.files.beneath import Beneath
from spoqplus_backup.core.recovery.files.swap import Piece, swap, swap_back

PIECE = Piece(b"stage/new", b"place", b"place.replaced")


def content(top: Path) -> dict[str, str]:
    return {str(path.relative_to(top)): path.read_text() for path in top.rglob("*") if path.is_file()}


@pytest.fixture
def top(tmp_path: Path) -> Path:
    for name in ("stage/new", "place"):
        (tmp_path / name).mkdir(parents=True)
        (tmp_path / name / "file").write_text(name)
    return tmp_path


def test_there_and_back(top: Path) -> None:
    before = content(top)
    with Beneath(str(top)) as beneath:
        assert swap(beneath, [PIECE]) == 1
        assert content(top) == {"place/file": "stage/new", "place.replaced/file": "place"}
        assert swap(beneath, [PIECE]) == 0, "it is in place"
        assert swap_back(beneath, [PIECE]) == 1
        assert content(top) == before
        assert swap_back(beneath, [PIECE]) == 0


def test_what_was_not_there_is_not_there_again(top: Path) -> None:
    new = Piece(b"stage/new", b"other", b"other.replaced")
    with Beneath(str(top)) as beneath:
        swap(beneath, [new])
        assert content(top) == {"other/file": "stage/new", "place/file": "place"}
        swap_back(beneath, [new])
        assert content(top) == {"stage/new/file": "stage/new", "place/file": "place"}


def test_what_the_backup_does_not_have_only_goes_aside(top: Path) -> None:
    gone = Piece(None, b"place", b"aside/deep/place")
    with Beneath(str(top)) as beneath:
        swap(beneath, [gone])
        assert content(top) == {"aside/deep/place/file": "place", "stage/new/file": "stage/new"}
        swap_back(beneath, [gone])
        assert content(top)["place/file"] == "place"


def test_a_link_is_put_aside_itself(top: Path) -> None:
    (top / "elsewhere").mkdir()
    (top / "elsewhere/file").write_text("elsewhere")
    (top / "place/file").unlink()
    (top / "place").rmdir()
    (top / "place").symlink_to("elsewhere")
    with Beneath(str(top)) as beneath:
        swap(beneath, [PIECE])
    assert (top / "place.replaced").is_symlink()
    assert (top / "elsewhere/file").read_text() == "elsewhere"


@pytest.mark.parametrize("name", [b"link", b"link/deep", b"file", b"file/deep"])
def test_nothing_is_done_through_a_link_or_file(top: Path, name: bytes) -> None:
    (top / "outside/deep").mkdir(parents=True)
    (top / "link").symlink_to(top / "outside")
    (top / "file").write_text("a file")
    with Beneath(str(top)) as beneath, pytest.raises(PermanentError, match="is no folder but a file or a link"):
        swap(beneath, [Piece(b"stage/new", name + b"/place", b"aside")])
    assert (top / "stage/new/file").exists()


def test_folders_that_are_missing_are_made_by_whom_it_concerns(top: Path) -> None:
    made: list[bytes] = []

    def make(fd: int, step: bytes, name: bytes) -> None:
        made.append(name)
        os.mkdir(step, 0o700, dir_fd=fd)

    with Beneath(str(top)) as beneath:
        with pytest.raises(FileNotFoundError):
            beneath.folder(b"a/b")
        beneath.folder(b"a/b", make)
        assert beneath.status(b"a/b/c") is None
        assert beneath.status(b"place/file") is not None
    assert made == [b"a", b"a/b"]
