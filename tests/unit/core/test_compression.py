"""Parts are compressed no harder than it pays, and proved."""

import os
import random
from pathlib import Path

import pytest
import zstandard

from spoqplus_backup.core.compression import (
    compress_part,
    compressed_path,
    part_record,
)
from spoqplus_backup.core.errors import IntegrityError


def raw_part(directory: Path, content: bytes, name: str = "000001.sql") -> Path:
    path = directory / "raw" / name
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_bytes(content)
    return path


def numbers(size: int) -> bytes:
    rng = random.Random(1)
    return ",".join(f"{rng.gauss(0, 1):.8f}" for _ in range(size // 11)).encode()


def prose(size: int) -> bytes:
    rng = random.Random(1)
    words = [bytes(rng.choices(b"abcdefghijklmnopqrstuvwxyz", k=rng.randint(2, 9))) for _ in range(3000)]
    return b" ".join(rng.choices(words, k=size // 6))


def compressed_size(content: bytes, level: int) -> int:
    return len(zstandard.ZstdCompressor(level=level, write_checksum=True).compress(content))


def test_what_comes_back_is_what_went_in(tmp_path: Path) -> None:
    content = os.urandom(3 << 20)
    record = compress_part(raw_part(tmp_path, content), tmp_path, 3)
    path = compressed_path(tmp_path, "000001.sql")
    assert zstandard.ZstdDecompressor().decompress(path.read_bytes()) == content
    assert part_record(tmp_path, "000001.sql") == record
    assert (record.raw_bytes, record.compressed_bytes) == (len(content), path.stat().st_size)


@pytest.mark.parametrize("content", [b"", b"x"])
def test_tiny_parts(content: bytes, tmp_path: Path) -> None:
    assert compress_part(raw_part(tmp_path, content), tmp_path, 3).raw_bytes == len(content)


@pytest.mark.parametrize(("content", "used"), [(numbers(2 << 20), 1), (prose(2 << 20), 9)], ids=["numbers", "prose"])
def test_a_level_that_does_not_pay_is_not_spent(content: bytes, used: int, tmp_path: Path) -> None:
    sizes = {level: compressed_size(content, level) for level in (1, 9)}
    assert (sizes[9] < sizes[1] * 0.98) is (used == 9), "the premise"
    assert compress_part(raw_part(tmp_path, content), tmp_path, 9).compressed_bytes == sizes[used]


def test_a_result_that_does_not_come_back_is_refused(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    from spoqplus_backup.core import compression

    def faulty(file: object, data: bytes) -> None:
        file.write(data[:-1] + bytes([data[-1] ^ 1]))  # type: ignore[attr-defined]

    monkeypatch.setattr(compression, "write_all", faulty)
    with pytest.raises(IntegrityError, match="memory or disk is faulty"):
        compress_part(raw_part(tmp_path, numbers(1 << 20)), tmp_path, 3)
    assert not compressed_path(tmp_path, "000001.sql").exists()
    assert part_record(tmp_path, "000001.sql") is None
