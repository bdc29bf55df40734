"""Reads what GNU tar writes: a stream, its headers, and the records of its extended (pax) headers.

Only the posix format is known, as `archive.py` asks for it: extended headers (`x`) before what they are about, GNU's
sparse files 1.0 and dump directories in them. Everything else is refused. Source: POSIX, `pax`; GNU tar's manual, "Tar
Internals".
"""

import struct
from collections.abc import Callable, Iterator
from typing import NamedTuple

from spoqplus_backup.core.errors import IntegrityError

BLOCK = 512
EXTENDED = b"x"
REGULAR = b"0"
BUFFER_BYTES = 1 << 20
VALUE_BYTES = 1 << 20  # the longest value that is kept; names are at most 4 KiB, and of a sparse file's map none is

_HEADER = struct.Struct("100s8s8s8s12s12s8s1s100s8s32s32s8s8s155s12x")
_CHECKSUM = slice(148, 156)
_BASE_256 = 0x80
_HEAD_BYTES = 64 << 10
_DUMPDIR = b"GNU.dumpdir"
_WANTED = frozenset(
    (
        *(b"path", b"linkpath", b"size", b"uid", b"gid", b"uname", b"gname", b"mtime"),
        *(b"GNU.sparse.major", b"GNU.sparse.name", b"GNU.sparse.realsize", b"GNU.sparse.map"),
    )
)


class TruncatedError(IntegrityError):
    """The stream ended too early."""


class Header(NamedTuple):
    """One header block as it stands there; extended records may say otherwise."""

    name: bytes
    mode: int
    uid: int
    gid: int
    size: int
    mtime: int
    kind: bytes
    link: bytes
    user: bytes
    group: bytes


class TarStream:
    """The bytes of a tar, in pieces of the size that is asked for; `position` counts those that were given out."""

    def __init__(self, read: Callable[[memoryview], int]) -> None:
        """`read` fills the beginning of a buffer and says how many bytes; 0 at the end."""
        self._read = read
        self._view = memoryview(bytearray(BUFFER_BYTES))
        self._start = self._end = 0
        self.position = 0

    def some(self, most: int) -> memoryview:
        """At least one and at most so many bytes, good until the next call; none at the end."""
        if self._start == self._end:
            self._start, self._end = 0, self._read(self._view)
        piece = self._view[self._start : min(self._end, self._start + most)]
        self._start += len(piece)
        self.position += len(piece)
        return piece

    def pieces(self, count: int) -> Iterator[memoryview]:
        """Exactly so many bytes.

        Raises:
            TruncatedError: there are fewer.
        """
        while count:
            piece = self.some(count)
            if not piece:
                raise TruncatedError(f"The archive ends after {self.position} bytes, in the middle: it is truncated.")
            count -= len(piece)
            yield piece

    def exactly(self, count: int) -> bytes:
        """Exactly so many bytes, for small counts."""
        if self._end - self._start >= count:
            return bytes(self.some(count))
        return b"".join(map(bytes, self.pieces(count)))


def padding(size: int) -> int:
    """The bytes that fill up the last block of so many."""
    return -size % BLOCK


def parse_header(block: bytes, position: int) -> Header:
    """Read a header; `position` is where it stands, for the error.

    Raises:
        IntegrityError: it is none.
    """
    name, mode, uid, gid, size, mtime, checksum, kind, link, magic, user, group, _, _, prefix = _HEADER.unpack(block)
    if not magic.startswith(b"ustar"):
        raise _no_header(position)
    try:
        right = _number(checksum) == sum(block) - sum(block[_CHECKSUM]) + 8 * ord(" ")
        name, prefix = _text(name), _text(prefix)
        header = Header(
            name=prefix + b"/" + name if prefix else name,
            mode=_number(mode) & 0o7777,
            uid=_number(uid),
            gid=_number(gid),
            size=_number(size),
            mtime=_number(mtime),
            kind=REGULAR if kind == b"\0" else kind,
            link=_text(link),
            user=_text(user),
            group=_text(group),
        )
    except ValueError as error:
        raise _no_header(position) from error
    if not right:
        raise _no_header(position)
    return header


def _no_header(position: int) -> IntegrityError:
    return IntegrityError(f"The archive is damaged: there is no header at byte {position}.")


def _text(field: bytes) -> bytes:
    return field.partition(b"\0")[0]


def _number(field: bytes) -> int:
    if field[0] & _BASE_256:  # of what octal digits have no room for: negative, or large
        value = int.from_bytes(field, "big")
        bits = 8 * len(field)
        return value - (1 << bits) if field[0] == 0xFF else value - (_BASE_256 << bits - 8)
    return int(field.strip(b" \0") or b"0", 8)


class Extended:
    """The records of an extended header that matter here.

    Values that are not wanted (attributes, ACLs) are passed over; a dump directory, the list of what a folder holds,
    is counted: it is as long as its folder is large. So memory stays constant.
    """

    def __init__(self) -> None:
        self.records: dict[bytes, bytes] = {}
        self.is_dumpdir = False
        self.listed = 0
        """The files (not folders) that the dump directory names."""
        self._last = b""

    def feed(self, take: Callable[[int], bytes], size: int) -> None:
        """Read an extended header's content of so many bytes with `take`.

        Raises:
            IntegrityError: it is not well-formed.
        """
        data = b""
        while data or size:
            while b"=" not in data and size and len(data) < _HEAD_BYTES:
                size -= (count := min(size, _HEAD_BYTES))
                data += take(count)
            head, equals, data = data.partition(b"=")
            digits, _, key = head.partition(b" ")
            length = int(digits) - len(head) - 1 if digits.isdigit() and equals else 0
            if length < 1 or length > len(data) + size:
                raise IntegrityError("The archive is damaged: an extended header has a record without an end.")
            value: list[bytes] = []
            kept = 0
            while length:
                if not data:
                    size -= (count := min(size, _HEAD_BYTES))
                    data = take(count)
                piece, data = data[:length], data[length:]
                length -= len(piece)
                if key == _DUMPDIR:
                    self._count(piece)
                elif key in _WANTED:
                    value.append(piece)
                    kept += len(piece)
                    if kept > VALUE_BYTES:
                        raise IntegrityError(f"The archive has a record {key!r} of more than {VALUE_BYTES} bytes.")
            if key in _WANTED:
                self.records[key] = b"".join(value)[:-1]

    def _count(self, piece: bytes) -> None:
        """Entries are a letter, a name and a zero; `Y` and `N` are files in this archive and files that are not."""
        if not self.is_dumpdir:
            self.is_dumpdir, self._last = True, b"\0"
        piece = self._last + piece
        self.listed += piece.count(b"\0Y") + piece.count(b"\0N")
        self._last = piece[-1:]

    def number(self, key: bytes, default: int) -> int:
        """A whole number among the records."""
        value = self.records.get(key)
        try:
            return default if value is None else int(value)
        except ValueError as error:
            raise IntegrityError(f"The archive is damaged: the record {key!r} is no number.") from error
