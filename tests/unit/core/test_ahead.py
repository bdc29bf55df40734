"""While a dump goes on, finished parts are compressed and encrypted, and nothing of that can spoil the dump."""

import os
from pathlib import Path

import pytest

from spoqplus_backup.core.ahead import WorkAhead, working_ahead
from spoqplus_backup.core.compression import compress_part, compressed_path, part_record
from spoqplus_backup.core.crypto import AgeScheme, OpensslScheme
from spoqplus_backup.core.errors import DiskFullError
from spoqplus_backup.core.sealed import unsealed
from spoqplus_backup.core.sealing import is_sealed, seal_part, sealed_path
from support.keys import age_pair
from support.servers import wait_until

SCHEME = OpensslScheme("password")


class FailingScheme(OpensslScheme):
    def encrypt(self, source: Path, target: Path) -> tuple[int, str]:
        raise DiskFullError("there is no room")


def raw_part(directory: Path, content: bytes, name: str = "000001.sql") -> Path:
    path = directory / "raw" / name
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_bytes(content)
    return path


def test_parts_are_compressed_and_encrypted(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("spoqplus_backup.core.ahead.usable_cores", lambda: 2)
    content = os.urandom(1 << 20)
    raw = raw_part(tmp_path, content)
    compressed = compressed_path(tmp_path, raw.name)
    with working_ahead(tmp_path, 3, SCHEME) as ahead:
        assert ahead is not None
        ahead.add(raw)
        wait_until(
            lambda: is_sealed(tmp_path, raw.name, SCHEME, part_record(tmp_path, raw.name)) and not compressed.exists(),
            20,
            "the part to be encrypted",
        )
    assert not raw.exists()
    with unsealed(sealed_path(tmp_path, raw.name, SCHEME), SCHEME) as reader:
        assert reader.read(2 << 20) == content


def test_a_part_that_can_not_be_compressed_fails_the_dump(tmp_path: Path) -> None:
    ahead = WorkAhead(tmp_path, 3, SCHEME)
    ahead.add(tmp_path / "missing.sql")
    ahead._thread.join(20)
    with pytest.raises(FileNotFoundError):
        ahead.add(tmp_path / "next.sql")
    ahead.stop()


def test_parts_that_can_not_be_encrypted_are_left_to_the_encrypt_task(
    tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    ahead = WorkAhead(tmp_path, 3, FailingScheme("password"))
    raws = [raw_part(tmp_path, b"rows", f"{number:06d}.sql") for number in (1, 2)]
    for raw in raws:
        ahead.add(raw)
    wait_until(lambda: not raws[-1].exists(), 20, "both parts to be compressed")
    ahead.stop()
    for raw in raws:
        record = part_record(tmp_path, raw.name)
        assert record is not None
        assert record.sealed_bytes is None
        assert compressed_path(tmp_path, raw.name).exists()
    assert "there is no room" in caplog.text


def test_one_core_is_left_to_mysqldump(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("spoqplus_backup.core.ahead.usable_cores", lambda: 1)
    with working_ahead(tmp_path, 3, SCHEME) as ahead:
        assert ahead is None


def test_what_was_encrypted_for_others_does_not_count(tmp_path: Path) -> None:
    """The recipients may be changed between two tasks of a run."""
    before, after = (AgeScheme((age_pair(tmp_path, name).recipient,)) for name in ("before", "after"))
    raw = raw_part(tmp_path, b"rows")
    record = seal_part(tmp_path, raw.name, before, compress_part(raw, tmp_path, 3))
    assert is_sealed(tmp_path, raw.name, before, record)
    assert not is_sealed(tmp_path, raw.name, after, record)
