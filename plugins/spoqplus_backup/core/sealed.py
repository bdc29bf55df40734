"""Reads what the chain has sealed: decrypt, then decompress, as a stream."""

import contextlib
from collections.abc import Iterator
from pathlib import Path
from typing import BinaryIO, cast

import zstandard

from spoqplus_backup.core.crypto import Scheme
from spoqplus_backup.core.errors import IntegrityError


class Unsealed:
    """The raw bytes of a stored part."""

    def __init__(self, reader: zstandard.ZstdDecompressionReader, path: Path) -> None:
        self._reader = reader
        self._path = path

    def read(self, size: int) -> bytes:
        """At most `size` bytes; none at the end.

        Raises:
            IntegrityError: the part is damaged.
            WrongKeyError: the key at hand does not open it.
        """
        try:
            return self._reader.read(size)
        except zstandard.ZstdError as error:
            raise IntegrityError(f"{self._path} can't be decompressed ({error}): the part is damaged.") from error


@contextlib.contextmanager
def unsealed(path: Path, scheme: Scheme) -> Iterator[Unsealed]:
    """Open a stored part for reading."""
    with (
        scheme.decrypting(path) as plain,
        zstandard.ZstdDecompressor().stream_reader(cast("BinaryIO", plain)) as reader,
    ):
        yield Unsealed(reader, path)
