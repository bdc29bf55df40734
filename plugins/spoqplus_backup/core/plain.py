"""No encryption, as a scheme: for lists that say nothing, and for what a site wants to store readable."""

import contextlib
import hashlib
import io
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Literal

from spoqplus_backup.core.errors import IntegrityError
from spoqplus_backup.core.process import check_cancelled
from spoqplus_backup.core.staging import write_all, written_aside

BLOCK_BYTES = 1 << 20


@dataclass(frozen=True)
class PlainScheme:
    """Copies."""

    name: Literal["none"] = "none"
    suffix: str = ""
    readers: tuple[str, ...] = ()

    def encrypt(self, source: Path, target: Path) -> tuple[int, str]:
        """Copy a file; size and SHA-256 of the result."""
        size, digest = 0, hashlib.sha256()
        with source.open("rb") as plain, written_aside(target) as out:
            while block := plain.read(BLOCK_BYTES):
                check_cancelled()
                digest.update(block)
                write_all(out, block)
                size += len(block)
        return size, digest.hexdigest()

    @contextlib.contextmanager
    def decrypting(self, source: Path) -> Iterator[io.RawIOBase]:
        """The file itself."""
        try:
            file = source.open("rb", buffering=0)
        except FileNotFoundError as error:
            raise IntegrityError(f"{source} is not there: fetch the set again.") from error
        with file:
            yield file

    def check_can_open(self, source: Path) -> None:
        """Anybody can."""
