"""Encrypts the compressed parts of a dump, one file after the other."""

from pathlib import Path

from spoqplus_backup.core.compression import PartRecord, compressed_path, write_part_record
from spoqplus_backup.core.crypto import Scheme

SEALED = "sealed"


def sealed_path(directory: Path, name: str, scheme: Scheme) -> Path:
    """Where the encrypted part of a raw file lies in staging; its name is the object's."""
    return directory / SEALED / f"{name}.zst{scheme.suffix}"


def seal_part(directory: Path, name: str, scheme: Scheme, known: PartRecord) -> PartRecord:
    """Encrypt one compressed part in a component's staging folder and complete its record.

    The compressed file stays; whoever has the record may remove it.

    Raises:
        DiskFullError: no space left for the result.
        ProcessError: the program failed.
    """
    return seal_source(compressed_path(directory, name), directory, name, scheme, known)


def seal_source(source: Path, directory: Path, name: str, scheme: Scheme, known: PartRecord) -> PartRecord:
    """As `seal_part`, of a compressed part that lies anywhere, such as in memory only."""
    sealed_bytes, digest = scheme.encrypt(source, sealed_path(directory, name, scheme))
    record = known.model_copy(
        update={"sealed_bytes": sealed_bytes, "sealed_sha256": digest, "sealed_for": scheme.readers}
    )
    write_part_record(directory, name, record)
    return record


def is_sealed(directory: Path, name: str, scheme: Scheme, record: PartRecord | None) -> bool:
    """Whether the encrypted part is there, and for the readers of today: the configuration may have changed since."""
    if record is None or record.sealed_bytes is None or record.sealed_for != scheme.readers:
        return False
    path = sealed_path(directory, name, scheme)
    return path.exists() and path.stat().st_size == record.sealed_bytes
