"""A repository in a folder, and what can be wrong with its disk."""

import errno
import hashlib
import os
import tracemalloc
from pathlib import Path

import pytest

from spoqplus_backup.core.errors import BackupError, DiskFullError, IntegrityError, PermanentError
from spoqplus_backup.core.repository.local import LocalRepository

CONTENT = b"content" * 1000
SHA256 = hashlib.sha256(CONTENT).hexdigest()
KEY = "daily/20250101_030000/database/000001.sql.zst.age"


@pytest.fixture
def source(tmp_path: Path) -> Path:
    path = tmp_path / "staging" / "part"
    path.parent.mkdir()
    path.write_bytes(CONTENT)
    return path


@pytest.fixture
def repository(tmp_path: Path) -> LocalRepository:
    (tmp_path / "repository").mkdir()
    return LocalRepository("local", tmp_path / "repository")


@pytest.fixture
def another_disk(monkeypatch: pytest.MonkeyPatch) -> None:
    """The repository lies on another disk than the staging area."""

    def refuse(*_: object) -> None:
        raise OSError(errno.EXDEV, "Invalid cross-device link")

    monkeypatch.setattr(os, "link", refuse)


def files(folder: Path) -> list[str]:
    return sorted(path.name for path in folder.rglob("*") if not path.is_dir())


def fill(repository: LocalRepository, key: str) -> None:
    """The disk is full from now on: the kernel itself refuses what is written under this key."""
    partial = repository.root / f"{key}.partial"
    partial.parent.mkdir(parents=True, exist_ok=True)
    partial.symlink_to("/dev/full")


def test_on_one_disk_a_part_is_stored_once(repository: LocalRepository, source: Path) -> None:
    repository.put(KEY, source, SHA256)

    assert (repository.root / KEY).samefile(source)
    source.unlink()
    repository.check(KEY, len(CONTENT), SHA256)


@pytest.mark.usefixtures("another_disk")
def test_on_another_disk_it_is_copied(repository: LocalRepository, source: Path) -> None:
    assert repository.put(KEY, source, SHA256)

    assert not (repository.root / KEY).samefile(source)
    assert files(repository.root) == ["000001.sql.zst.age"]
    repository.check(KEY, len(CONTENT), SHA256)


def test_a_link_that_a_killed_task_left_is_no_obstacle(repository: LocalRepository, source: Path) -> None:
    (repository.root / KEY).parent.mkdir(parents=True)
    (repository.root / f"{KEY}.partial").write_bytes(b"half")
    (repository.root / f"{KEY}.link.partial").hardlink_to(source)

    assert repository.put(KEY, source, SHA256)
    assert list(repository.list()) == [KEY]


def test_a_file_that_changed_since_is_not_stored(repository: LocalRepository, source: Path) -> None:
    with pytest.raises(IntegrityError, match=str(source)):
        repository.put(KEY, source, hashlib.sha256(b"other").hexdigest())

    assert files(repository.root) == []


@pytest.mark.usefixtures("another_disk")
def test_a_full_disk(repository: LocalRepository, source: Path, tmp_path: Path) -> None:
    fill(repository, KEY)

    with pytest.raises(DiskFullError, match=rf"No space left on the disk of {repository.root}.*: free some"):
        repository.put(KEY, source, SHA256)

    assert files(repository.root) == []
    assert repository.stat(KEY) is None


def test_a_full_disk_while_a_manifest_is_written(repository: LocalRepository) -> None:
    repository.put_bytes("daily/1/manifest.json", b"old")
    fill(repository, "daily/1/manifest.json")

    with pytest.raises(DiskFullError):
        repository.put_bytes("daily/1/manifest.json", b"new")

    assert repository.read("daily/1/manifest.json") == b"old"


def test_a_full_staging_disk_while_a_part_is_fetched(repository: LocalRepository, source: Path, tmp_path: Path) -> None:
    repository.put(KEY, source, SHA256)
    target = LocalRepository("staging", tmp_path / "restore")
    fill(target, "part")

    with pytest.raises(DiskFullError, match=str(target.root)):
        repository.get(KEY, target.root / "part", SHA256, len(CONTENT))

    assert files(target.root) == []


def test_a_folder_that_can_not_be_made(tmp_path: Path) -> None:
    with pytest.raises(
        PermanentError, match=r"local can't have the folder .*/mnt/backup \(No such file.*mount its disk"
    ):
        LocalRepository("local", tmp_path / "mnt" / "backup").probe()
    (tmp_path / "file").write_text("")
    with pytest.raises(PermanentError, match="can't have the folder"):
        LocalRepository("local", tmp_path / "file").probe()


@pytest.mark.parametrize(
    ("code", "expected", "words"),
    [
        (errno.EACCES, PermanentError, "is refused (Permission denied): make"),
        (errno.EROFS, PermanentError, "is refused (Read-only file system)"),
        (errno.EIO, BackupError, "Input/output error: look after the disk"),
        (errno.EDQUOT, DiskFullError, "No space left"),
    ],
)
def test_what_the_system_refuses(
    repository: LocalRepository,
    source: Path,
    monkeypatch: pytest.MonkeyPatch,
    code: int,
    expected: type[BackupError],
    words: str,
) -> None:
    def refuse(*_: object) -> None:
        raise OSError(code, os.strerror(code))

    monkeypatch.setattr(os, "link", refuse)

    with pytest.raises(BackupError) as caught:
        repository.put(KEY, source, SHA256)
    assert type(caught.value) is expected
    assert words in str(caught.value)


def test_deleting_takes_empty_folders_along(repository: LocalRepository) -> None:
    repository.put_bytes(KEY, b"x")
    repository.put_bytes("daily/20250101_030000/manifest.json", b"x")

    repository.delete(KEY)
    assert repository.list_folders("daily/20250101_030000/") == ()
    repository.delete("daily/20250101_030000/manifest.json")
    assert list(repository.root.iterdir()) == []


@pytest.mark.usefixtures("another_disk")
def test_memory_does_not_grow_with_the_file(repository: LocalRepository, tmp_path: Path) -> None:
    source = tmp_path / "large"
    source.touch()
    os.truncate(source, 64 << 20)
    digest = hashlib.sha256(bytes(64 << 20)).hexdigest()

    tracemalloc.start()
    try:
        repository.put(KEY, source, digest)
        repository.get(KEY, tmp_path / "target", digest, 64 << 20)
        _, most = tracemalloc.get_traced_memory()
    finally:
        tracemalloc.stop()

    assert most < 8 << 20


@pytest.mark.parametrize("key", ["../other", "/etc/passwd", "daily/../../other"])
def test_a_key_never_leaves_the_folder(repository: LocalRepository, key: str) -> None:
    with pytest.raises(PermanentError, match="it would lie outside"):
        repository.read(key)
