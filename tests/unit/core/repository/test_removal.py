"""Listing with ages and removing for good: in a folder, in moto's S3, in rclone's S3."""

from collections.abc import Iterator
from datetime import datetime, timedelta, timezone
from pathlib import Path

import pytest

from spoqplus_backup.core.repository import s3_removal
from spoqplus_backup.core.repository.removal import Entry, LocalRemover, Remover
from spoqplus_backup.core.repository.s3_removal import S3Remover
from support import s3

BUCKET = "never-versioned"  # moto's buckets are those of the process: other tests keep versions in theirs
KEYS = ["daily/1/a/000001", "daily/1/a/000002", "daily/1/manifest.json", "daily/1/manifest.json.sig", "daily/10/x"]


@pytest.fixture(scope="module")
def moto_endpoint() -> Iterator[str]:
    with s3.moto() as endpoint:
        s3.make_bucket(endpoint, BUCKET)
        yield endpoint


@pytest.fixture(scope="module")
def rclone_endpoint(tmp_path_factory: pytest.TempPathFactory) -> Iterator[str]:
    with s3.rclone(tmp_path_factory.mktemp("rclone") / "data") as endpoint:
        s3.make_bucket(endpoint, BUCKET)
        yield endpoint


@pytest.fixture(params=["local", "moto", "rclone"])
def remover(request: pytest.FixtureRequest, tmp_path: Path) -> Remover:
    """A repository with some objects of five bytes."""
    made: Remover
    if request.param == "local":
        (tmp_path / "repository").mkdir()
        made = LocalRemover("local", tmp_path / "repository")
    else:
        endpoint = request.getfixturevalue(f"{request.param}_endpoint")
        made = S3Remover("s3", lambda: s3.s3_client(s3.record(endpoint)), BUCKET, f"test/{tmp_path.name}")
    for key in KEYS:
        made.put_bytes(key, b"bytes")
    return made


def test_a_listing_is_sorted_and_tells_size_and_age(remover: Remover) -> None:
    found = list(remover.entries("daily/"))
    assert [entry.key for entry in found] == sorted(KEYS)
    assert {entry.bytes for entry in found} == {5}
    for entry in found:
        assert abs(datetime.now(timezone.utc) - entry.modified) < timedelta(minutes=5)
    assert [entry.key for entry in remover.entries("daily/1/manifest")] == KEYS[2:4]
    assert list(remover.entries("weekly/")) == []


def test_what_is_removed_is_gone_and_counted_and_the_rest_stays(remover: Remover) -> None:
    removed = remover.remove(list(remover.entries("daily/1/manifest.json")))
    assert (removed.objects, removed.bytes, removed.refused) == (2, 10, [])
    removed = remover.remove_below("daily/1/")
    assert (removed.objects, removed.bytes, removed.refused) == (2, 10, [])
    assert list(remover.list("daily/")) == ["daily/10/x"]
    assert remover.list_folders("daily/") == ("10",)


def test_what_is_gone_already_is_no_error(remover: Remover) -> None:
    entries = list(remover.entries("daily/1/a/"))
    remover.remove(entries)
    assert remover.remove(entries).refused == []
    assert remover.remove([]).objects == 0
    assert remover.remove_below("nothing/there/").objects == 0


def test_nothing_is_locked_where_no_versions_are_kept(remover: Remover) -> None:
    assert not remover.keeps_versions()
    assert remover.locked_until(KEYS[0]) is None


def test_there_are_no_broken_uploads(remover: Remover) -> None:
    assert list(remover.broken_uploads("daily/")) == []


def test_many_objects_go_in_several_requests(remover: Remover, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(s3_removal, "AT_ONCE", 2)
    assert remover.remove_below("daily/").objects == 5
    assert list(remover.list()) == []


def test_a_broken_write_is_found_and_can_be_aborted_twice(tmp_path: Path) -> None:
    folder = tmp_path / "repository" / "daily" / "1"
    folder.mkdir(parents=True)
    (folder / "000001.sql.partial").write_bytes(b"half")
    remover = LocalRemover("local", tmp_path / "repository")

    (found,) = remover.broken_uploads("daily/")

    assert (found.key, found.bytes) == ("daily/1/000001.sql.partial", 4)
    assert list(remover.entries("daily/")) == [], "it is no object"
    remover.abort(found)
    remover.abort(found)
    assert not folder.exists()
    assert remover.root.exists()


def test_an_object_that_vanishes_while_it_is_listed_is_left_out(tmp_path: Path) -> None:
    (tmp_path / "repository").mkdir()
    remover = LocalRemover("local", tmp_path / "repository")
    for name in ("a", "b", "c"):
        remover.put_bytes(f"daily/{name}/x", b"bytes")
    found = remover.entries("daily/")
    seen = [next(found).key]
    remover.remove([Entry("daily/b/x", 5, datetime.now(timezone.utc))])
    assert [*seen, *(entry.key for entry in found)] == ["daily/a/x", "daily/c/x"]
