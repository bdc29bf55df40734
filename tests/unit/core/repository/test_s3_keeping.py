"""Storage classes and object lock: what is stored is kept as configured, and nobody deletes what is locked."""

from collections.abc import Iterator
from datetime import datetime, timedelta, timezone
from hashlib import sha256
from pathlib import Path
from typing import Any

import pytest

from spoqplus_backup.core.errors import IntegrityError, PermanentError
from spoqplus_backup.core.repository import s3 as s3_module
from spoqplus_backup.core.repository.base import Keeping
from spoqplus_backup.core.repository.s3 import S3Repository
from support import s3

KEY = "monthly/20250101_050000/database/000001.sql.zst.age"
MIB = 1 << 20
LOCKED = "spoqplus-locked"
DAYS = 30


@pytest.fixture(scope="module")
def endpoint() -> Iterator[str]:
    with s3.moto() as found:
        s3.s3_client(s3.record(found)).create_bucket(Bucket=LOCKED, ObjectLockEnabledForBucket=True)
        yield found


@pytest.fixture
def client(endpoint: str) -> Any:
    return s3.s3_client(s3.record(endpoint))


def open_at(endpoint: str, prefix: str, keeping: Keeping | None = None, bucket: str = LOCKED) -> S3Repository:
    return S3Repository("dr", lambda: s3.s3_client(s3.record(endpoint)), bucket, prefix, keeping)


@pytest.fixture(params=[1000, 12 * MIB + 17], ids=["small", "in-pieces"])
def source(request: pytest.FixtureRequest, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.setattr(s3_module, "SINGLE_BYTES", 6 * MIB)
    monkeypatch.setattr(s3_module, "PIECE_BYTES", 5 * MIB)
    path = tmp_path / "part"
    path.write_bytes(bytes(request.param))
    return path


def put(repository: S3Repository, source: Path) -> None:
    repository.put(KEY, source, sha256(source.read_bytes()).hexdigest())


def check(repository: S3Repository, source: Path) -> None:
    content = source.read_bytes()
    repository.check(KEY, len(content), sha256(content).hexdigest(), read_back=True)


def head(client: Any, prefix: str, key: str = KEY) -> dict[str, Any]:
    found: dict[str, Any] = client.head_object(Bucket=LOCKED, Key=f"{prefix}/{key}")
    return found


@pytest.mark.parametrize("mode", ["governance", "compliance"])
def test_an_object_is_in_its_class_and_locked(
    endpoint: str, client: Any, source: Path, tmp_path: Path, mode: str
) -> None:
    repository = open_at(endpoint, tmp_path.name, Keeping("GLACIER_IR", mode, DAYS))
    repository.probe()
    put(repository, source)
    repository.put_bytes("monthly/20250101_050000/manifest.json", b"{}")

    found = head(client, tmp_path.name)
    assert (found["StorageClass"], found["ObjectLockMode"]) == ("GLACIER_IR", mode.upper())
    until = datetime.now(timezone.utc) + timedelta(days=DAYS)
    assert abs(found["ObjectLockRetainUntilDate"] - until) < timedelta(minutes=5)
    manifest = head(client, tmp_path.name, "monthly/20250101_050000/manifest.json")
    assert manifest["ObjectLockMode"] == mode.upper()
    assert manifest.get("StorageClass") in (None, "STANDARD")  # it is read whenever backups are listed in detail
    check(repository, source)
    with pytest.raises(client.exceptions.ClientError, match="AccessDenied"):
        client.delete_object(Bucket=LOCKED, Key=f"{tmp_path.name}/{KEY}", VersionId=found["VersionId"])


def test_the_probe_is_not_locked(endpoint: str, client: Any, tmp_path: Path) -> None:
    open_at(endpoint, tmp_path.name, Keeping(None, "compliance", DAYS)).probe()
    found = client.list_object_versions(Bucket=LOCKED, Prefix=f"{tmp_path.name}/.probe/").get("Versions", [])
    assert found
    for version in found:
        client.delete_object(Bucket=LOCKED, Key=version["Key"], VersionId=version["VersionId"])


def test_without_configuration_nothing_is_locked(endpoint: str, client: Any, source: Path, tmp_path: Path) -> None:
    repository = open_at(endpoint, tmp_path.name)
    put(repository, source)
    check(repository, source)
    assert "ObjectLockMode" not in head(client, tmp_path.name)


def test_what_was_stored_before_the_lock_was_configured_is_found_and_locked(
    endpoint: str, client: Any, source: Path, tmp_path: Path
) -> None:
    put(open_at(endpoint, tmp_path.name), source)
    repository = open_at(endpoint, tmp_path.name, Keeping(None, "governance", DAYS))
    with pytest.raises(
        PermanentError, match=r"000001\.sql\.zst\.age is not locked, or the policy lacks s3:GetObjectRet"
    ):
        check(repository, source)

    put(repository, source)  # it is there already, and is not sent again

    check(repository, source)
    assert head(client, tmp_path.name)["ObjectLockMode"] == "GOVERNANCE"


@pytest.mark.parametrize(
    ("before", "after"),
    [
        (("governance", 10), ("GOVERNANCE", DAYS)),
        (("governance", 90), ("GOVERNANCE", 90)),
        (("compliance", 10), ("COMPLIANCE", DAYS)),
        (("compliance", 90), ("COMPLIANCE", 90)),
        (None, ("GOVERNANCE", DAYS)),
    ],
)
def test_a_lock_is_made_longer_and_never_shorter_or_weaker(
    endpoint: str,
    client: Any,
    tmp_path: Path,
    before: tuple[str, int] | None,
    after: tuple[str, int],
) -> None:
    path = tmp_path / "object"
    path.write_bytes(b"shared")
    put(open_at(endpoint, tmp_path.name, Keeping(None, *before) if before else None), path)
    repository = open_at(endpoint, tmp_path.name, Keeping(None, "governance", DAYS))

    repository.lock(KEY)

    found = head(client, tmp_path.name)
    until = datetime.now(timezone.utc) + timedelta(days=after[1])
    assert found["ObjectLockMode"] == after[0]
    assert abs(found["ObjectLockRetainUntilDate"] - until) < timedelta(minutes=5)


def test_what_is_not_there_can_t_be_locked(endpoint: str, tmp_path: Path) -> None:
    with pytest.raises(IntegrityError, match="is not there"):
        open_at(endpoint, tmp_path.name, Keeping(None, "governance", DAYS)).lock(KEY)
    open_at(endpoint, tmp_path.name).lock(KEY)  # without a lock nobody asks


def test_a_bucket_without_object_lock_is_refused_before_the_dump(endpoint: str, tmp_path: Path) -> None:
    repository = open_at(endpoint, tmp_path.name, Keeping(None, "governance", DAYS), bucket=s3.BUCKET)
    with pytest.raises(PermanentError, match="The bucket spoqplus-backup has no object lock: enable it there"):
        repository.probe()


def test_a_class_that_the_server_does_not_know_is_refused_before_the_dump(endpoint: str, tmp_path: Path) -> None:
    with pytest.raises(PermanentError, match="InvalidStorageClass.*storage class of dr"):
        open_at(endpoint, tmp_path.name, Keeping("NO_SUCH_CLASS")).probe()


def test_another_class_than_configured_is_a_warning(
    endpoint: str, source: Path, tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    put(open_at(endpoint, tmp_path.name), source)
    check(open_at(endpoint, tmp_path.name, Keeping("STANDARD_IA")), source)
    assert "is in the storage class STANDARD, not STANDARD_IA" in caplog.text
