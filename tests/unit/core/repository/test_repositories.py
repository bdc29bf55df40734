"""What every repository does: in a folder, in moto's S3, in rclone's S3."""

import hashlib
import os
from collections.abc import Iterator
from pathlib import Path

import pytest

from spoqplus_backup.core.errors import IntegrityError
from spoqplus_backup.core.repository import s3 as s3_module
from spoqplus_backup.core.repository.base import Repository, Stored
from spoqplus_backup.core.repository.local import LocalRepository
from spoqplus_backup.core.repository.s3 import S3Repository
from support import s3

MIB = 1 << 20
KEY = "daily/20250101_030000/database/000001.sql.zst.age"


def digest(content: bytes) -> str:
    return hashlib.sha256(content).hexdigest()


@pytest.fixture(scope="module")
def moto_endpoint() -> Iterator[str]:
    with s3.moto() as endpoint:
        yield endpoint


@pytest.fixture(scope="module")
def rclone_endpoint(tmp_path_factory: pytest.TempPathFactory) -> Iterator[str]:
    with s3.rclone(tmp_path_factory.mktemp("rclone") / "data") as endpoint:
        yield endpoint


@pytest.fixture(params=["local", "moto", "rclone"])
def repository(request: pytest.FixtureRequest, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Repository:
    """An empty repository. On S3, what is more than 6 MiB goes in pieces of 5 MiB, the smallest that S3 takes."""
    if request.param == "local":
        (tmp_path / "repository").mkdir()
        return LocalRepository("local", tmp_path / "repository")
    monkeypatch.setattr(s3_module, "SINGLE_BYTES", 6 * MIB)
    monkeypatch.setattr(s3_module, "PIECE_BYTES", 5 * MIB)
    endpoint = request.getfixturevalue(f"{request.param}_endpoint")
    return S3Repository("s3", lambda: s3.s3_client(s3.record(endpoint)), s3.BUCKET, f"test/{tmp_path.name}")


@pytest.fixture(params=[0, 1000, 12 * MIB + 17], ids=["empty", "small", "in-pieces"])
def content(request: pytest.FixtureRequest) -> bytes:
    return os.urandom(request.param)


def stored(repository: Repository, folder: Path, content: bytes, key: str = KEY) -> str:
    source = folder / "source"
    source.unlink(missing_ok=True)  # a folder's repository may have linked it
    source.write_bytes(content)
    repository.put(key, source, digest(content))
    return digest(content)


def test_what_was_put_comes_back(repository: Repository, tmp_path: Path, content: bytes) -> None:
    source, target, sent, got = tmp_path / "part", tmp_path / "in" / "part", [0], [0]
    source.write_bytes(content)

    assert repository.put(KEY, source, digest(content), sent.append) is True
    found = repository.stat(KEY)
    repository.check(KEY, len(content), digest(content))
    repository.check(KEY, len(content), digest(content), read_back=True)
    repository.get(KEY, target, digest(content), len(content), got.append)

    assert found is not None
    assert found.bytes == len(content)
    assert found.sha256 in (None, digest(content))
    assert target.read_bytes() == content
    assert sum(sent) == sum(got) == len(content)
    assert [path.name for path in target.parent.iterdir()] == ["part"]


def test_it_is_not_sent_again_but_what_differs_is(repository: Repository, tmp_path: Path, content: bytes) -> None:
    source, sent = tmp_path / "part", [0]
    source.write_bytes(content)
    repository.put(KEY, source, digest(content))

    assert repository.put(KEY, source, digest(content), sent.append) is False
    assert sum(sent) == len(content)

    other = bytes(byte ^ 1 for byte in content[:1]) + content[1:] + b"x"
    stored(repository, tmp_path, other)
    repository.check(KEY, len(other), digest(other), read_back=True)


def test_another_content_of_one_size_replaces_it(repository: Repository, tmp_path: Path) -> None:
    stored(repository, tmp_path, b"old")
    stored(repository, tmp_path, b"new")

    assert repository.read(KEY) == b"new"


def test_what_is_not_there(repository: Repository, tmp_path: Path) -> None:
    assert repository.stat(KEY) is None
    for attempt in (
        lambda: repository.check(KEY, 1, digest(b"")),
        lambda: repository.get(KEY, tmp_path / "target", digest(b""), 1),
        lambda: repository.read(KEY),
    ):
        with pytest.raises(IntegrityError, match=f"{KEY} is not there"):
            attempt()
    assert not list(tmp_path.glob("target*"))
    repository.delete(KEY)


@pytest.mark.parametrize("change", ["flipped", "truncated", "longer"])
def test_what_was_changed_is_found(repository: Repository, tmp_path: Path, content: bytes, change: str) -> None:
    """By whoever can write there: the object is replaced by another."""
    if not content:
        content = b"x"
    changed = {"flipped": content[:-1] + bytes([content[-1] ^ 1]), "truncated": content[:-1], "longer": content + b"x"}
    stored(repository, tmp_path, content)
    stored(repository, tmp_path, changed[change])
    expected = (len(content), digest(content))

    for attempt in (
        lambda: repository.check(KEY, *expected),
        lambda: repository.check(KEY, *expected, read_back=True),
        lambda: repository.get(KEY, tmp_path / "target", expected[1], expected[0]),
    ):
        with pytest.raises(IntegrityError, match=KEY):
            attempt()
    assert not list(tmp_path.glob("target*"))


def test_small_objects(repository: Repository) -> None:
    repository.put_bytes("daily/1/manifest.json", b"{}")
    repository.put_bytes("daily/1/manifest.json", b'{"a": 1}')

    assert repository.read("daily/1/manifest.json") == b'{"a": 1}'
    assert repository.stat("daily/1/manifest.json") in (Stored(8, None), Stored(8, digest(b'{"a": 1}')))

    repository.delete("daily/1/manifest.json")
    assert repository.stat("daily/1/manifest.json") is None


def test_listing(repository: Repository) -> None:
    keys = ["daily/1/a/1", "daily/1/a/2", "daily/1/manifest.json", "daily/10/manifest.json", "safety/1/한글 이름"]
    for key in keys:
        repository.put_bytes(key, b"x")

    assert list(repository.list()) == keys
    assert list(repository.list("daily/1/")) == keys[:3]
    assert list(repository.list("daily/1")) == keys[:4]
    assert list(repository.list("weekly/")) == []
    assert repository.list_folders() == ("daily", "safety")
    assert repository.list_folders("daily/") == ("1", "10")
    assert repository.list_folders("weekly/") == ()


def test_listing_with_sizes(repository: Repository) -> None:
    sizes = {"faces/00/a": 3, "faces/00/b": 0, "faces/01/c": 1000, "faces.txt": 1}
    for key, size in sizes.items():
        repository.put_bytes(key, bytes(size))

    assert list(repository.sizes("faces/00/")) == [("faces/00/a", 3), ("faces/00/b", 0)]
    assert dict(repository.sizes()) == sizes
    assert list(repository.sizes("weekly/")) == []


def test_an_object_of_which_only_the_checksum_is_known_can_be_checked(repository: Repository, tmp_path: Path) -> None:
    sha256 = stored(repository, tmp_path, b"content")

    repository.check(KEY, None, sha256)
    repository.check(KEY, None, sha256, read_back=True)
    with pytest.raises(IntegrityError, match="SHA-256"):
        repository.check(KEY, None, digest(b"another"))


def test_a_probe_leaves_nothing(repository: Repository) -> None:
    repository.probe()

    assert list(repository.list()) == []


def marked(repository: Repository) -> list[tuple[str, int]]:
    return [(found.folder, found.bytes) for found in repository.list_marked("daily/", "manifest.json")]


def test_folders_that_hold_a_certain_object(repository: Repository) -> None:
    for name in ("20250103_030000", "20250101_030000", "20250102_030000"):
        repository.put_bytes(f"daily/{name}/database/000001.sql.zst.age", b"part")
    repository.put_bytes("daily/20250103_030000/manifest.json", b"three")
    repository.put_bytes("daily/20250103_030000/manifest.json.sig", b"signature")
    repository.put_bytes("daily/20250103_030000/uploads/000001.tar.zst.age", b"part")
    repository.put_bytes("daily/20250101_030000/manifest.json", b"one")
    repository.put_bytes("daily/20250101_030000/manifest.jsoo", b"close by")
    repository.put_bytes("daily/manifest.json", b"not in a folder")
    repository.put_bytes("daily/20250104_030000/database/manifest.json", b"too deep")
    repository.put_bytes("weekly/20250105_040000/manifest.json", b"elsewhere")

    assert marked(repository) == [("20250101_030000", 3), ("20250103_030000", 5)]
    assert list(repository.list_marked("monthly/", "manifest.json")) == []


def test_the_tag_changes_with_the_object(repository: Repository) -> None:
    tags = set()
    for content in (b"one", b"two"):
        repository.put_bytes("daily/20250101_030000/manifest.json", content)
        tags |= {found.tag for found in repository.list_marked("daily/", "manifest.json")}
    assert len(tags) == 2


def test_a_page_may_end_anywhere_in_a_folder(
    repository: Repository, monkeypatch: pytest.MonkeyPatch, request: pytest.FixtureRequest
) -> None:
    """With pages of few keys each place where one may end comes up: before a marker, at it, behind it."""
    expected = []
    for number in range(1, 8):
        folder = f"2025010{number}_030000"
        for name in [f"database/{part:06d}.sql.zst.age" for part in range(number)] + ["uploads/000001.tar.zst.age"]:
            repository.put_bytes(f"daily/{folder}/{name}", b"part")
        if number != 4:
            repository.put_bytes(f"daily/{folder}/manifest.json", folder.encode())
            repository.put_bytes(f"daily/{folder}/manifest.json.sig", b"signature")
            expected.append((folder, len(folder)))
    if isinstance(repository, S3Repository):
        client = repository._client
        whole = client.list_objects_v2
        for keys in range(1, 12):
            monkeypatch.setattr(client, "list_objects_v2", lambda keys=keys, **kw: whole(**kw, MaxKeys=keys))
            assert marked(repository) == expected, f"pages of {keys}"
    assert marked(repository) == expected
