"""The numbered parts of a component: how large they get, and how they are written."""

from collections.abc import Callable
from pathlib import Path
from typing import IO

from spoqplus_backup.core.staging import write_all

MIB = 1 << 20
PARTS_WANTED = 200


def part_bytes(part_mib: int | None, size: int | None) -> int:
    """How large a part should get: as set, or 16 to 128 MiB, so that the whole makes about 200 of them."""
    if part_mib is not None:
        return part_mib * MIB
    return min(max((size or 0) // PARTS_WANTED, 16 * MIB), 128 * MIB)


class PartWriter:
    """Writes numbered parts (`000001.sql`, ...) into a folder."""

    def __init__(self, directory: Path, on_part: Callable[[Path], None] | None = None, suffix: str = ".sql") -> None:
        """`on_part` is told of each part that is whole."""
        self._directory = directory
        self._on_part = on_part
        self._suffix = suffix
        self._file: IO[bytes] | None = None
        self.number = 1
        self.offset = 0

    def write(self, data: bytes | bytearray | memoryview) -> None:
        """Append to the current part."""
        if self._file is None:
            self._file = self._path.open("wb", buffering=0)
        write_all(self._file, data)
        self.offset += len(data)

    @property
    def _path(self) -> Path:
        return self._directory / f"{self.number:06d}{self._suffix}"

    def next_part(self) -> None:
        """End the current part, unless it is empty; what comes next begins another one."""
        if self._file is not None:
            self.close()
            if self._on_part:
                self._on_part(self._path)
            self.number += 1
            self.offset = 0

    def close(self) -> None:
        """Close the current part."""
        if self._file is not None:
            self._file.close()
            self._file = None
