"""Compresses the parts of a dump with zstd, each proved before its raw file goes.

The level of the configuration is the most that is spent: dumps are full of numbers, which level 1 often makes as
small as level 3, in half the time. A sample of each part decides (`docs/decisions/0003-compression-level.md`).
"""

import hashlib
import logging
from pathlib import Path

import zstandard

from spoqplus_backup.core.errors import IntegrityError
from spoqplus_backup.core.manifest import Model
from spoqplus_backup.core.process import check_cancelled
from spoqplus_backup.core.staging import read_json, write_all, write_json, written_aside

log = logging.getLogger(__name__)

COMPRESSED = "zst"
PARTS = "parts"
BLOCK_BYTES = 1 << 20
SAMPLE_BYTES = 256 << 10
WORTH = 0.98  # a higher level has to make the sample at least this much smaller


class PartRecord(Model):
    """What is known of one part so far; `sealed_*` only after encryption."""

    raw_bytes: int
    raw_sha256: str
    compressed_bytes: int
    sealed_bytes: int | None = None
    sealed_sha256: str | None = None
    sealed_for: tuple[str, ...] | None = None


def part_record(directory: Path, name: str) -> PartRecord | None:
    """The record of a part in a component's staging folder; None before it was compressed."""
    content = read_json(directory / PARTS / f"{name}.json")
    return None if content is None else PartRecord.model_validate(content)


def write_part_record(directory: Path, name: str, record: PartRecord) -> None:
    """Write a part's record, complete or not at all."""
    write_json(directory / PARTS / f"{name}.json", record)


def compressed_path(directory: Path, name: str) -> Path:
    """Where the compressed part of a raw file lies."""
    return directory / COMPRESSED / f"{name}.zst"


def compress_part(raw: Path, directory: Path, level: int) -> PartRecord:
    """Compress one raw part into a component's staging folder, read the result back, and write its record.

    The raw file stays; whoever has the record may remove it.

    Raises:
        IntegrityError: what was compressed does not come back as it was: memory or disk is faulty.
    """
    target = compressed_path(directory, raw.name)
    size, digest = raw.stat().st_size, hashlib.sha256()
    compressor = zstandard.ZstdCompressor(level=_level_for(raw, size, level), write_checksum=True)
    with raw.open("rb", buffering=0) as source, written_aside(target) as out:
        chunker = compressor.chunker(size=size, chunk_size=BLOCK_BYTES)
        while block := source.read(BLOCK_BYTES):
            check_cancelled()
            digest.update(block)
            for chunk in chunker.compress(block):
                write_all(out, chunk)
        for chunk in chunker.finish():  # type: ignore[no-untyped-call]
            write_all(out, chunk)
    _prove(target, size)
    record = PartRecord(raw_bytes=size, raw_sha256=digest.hexdigest(), compressed_bytes=target.stat().st_size)
    write_part_record(directory, raw.name, record)
    return record


def _level_for(raw: Path, size: int, level: int) -> int:
    """The level to use: the configured one only where it makes a sample from the middle smaller than level 1 does."""
    if level <= 1 or size <= SAMPLE_BYTES:
        return level
    with raw.open("rb") as file:
        file.seek((size - SAMPLE_BYTES) // 2)
        sample = file.read(SAMPLE_BYTES)
    quick, thorough = (len(zstandard.ZstdCompressor(level=tried).compress(sample)) for tried in (1, level))
    return level if thorough <= quick * WORTH else 1


def _prove(path: Path, size: int) -> None:
    """Decompress to the end: zstd's own checksum, made of what went in, says whether the same came out."""
    seen = 0
    with path.open("rb") as file, zstandard.ZstdDecompressor().stream_reader(file) as reader:
        try:
            while block := reader.read(BLOCK_BYTES):
                seen += len(block)
        except zstandard.ZstdError as error:
            path.unlink()
            raise IntegrityError(f"{path} can't be decompressed ({error}): memory or disk is faulty.") from error
    if seen != size:
        path.unlink()
        raise IntegrityError(f"{path} decompresses to {seen} bytes, not {size}: memory or disk is faulty.")
