"""Cuts the stream of GNU tar into parts while it is written, and notes what lies where.

The stream is read once, and memory does not grow with it (but for the map of a sparse file, 16 bytes for each piece of
data in it). A part ends before a member that no longer fits into it; a member that is larger than a part is cut where
the part is full. In order, concatenated, the parts are the tar to the byte.
"""

import hashlib
from array import array
from collections.abc import Callable
from dataclasses import dataclass
from typing import Literal, NamedTuple

from spoqplus_backup.core.errors import IntegrityError
from spoqplus_backup.core.files.tar_stream import (
    BLOCK,
    EXTENDED,
    REGULAR,
    Extended,
    Header,
    TarStream,
    padding,
    parse_header,
)
from spoqplus_backup.core.part_writer import PartWriter
from spoqplus_backup.core.process import check_cancelled

MemberType = Literal["file", "directory", "symlink", "hardlink", "fifo", "character", "block"]

HEAD_BYTES = 1 << 20  # of a member's headers: more of them (a folder of ten thousands) are written before all are there
HELD_BYTES = 256 << 10
_ZEROS = memoryview(bytes(1 << 20))
_END = bytes(BLOCK)
_TYPES: dict[bytes, MemberType] = {
    REGULAR: "file",
    b"7": "file",
    b"5": "directory",
    b"2": "symlink",
    b"1": "hardlink",
    b"6": "fifo",
    b"3": "character",
    b"4": "block",
}


class Member(NamedTuple):
    """A member of the tar: its `length` bytes, headers included, begin in `part` at `offset` and run on into the next.

    `size` is that of the file, holes included, and `sha256` of its content (None of everything but regular files).
    `mtime` is in seconds since 1970.
    """

    part: int
    offset: int
    length: int
    type: MemberType
    path: bytes
    size: int
    mode: int
    uid: int
    gid: int
    user: bytes
    group: bytes
    mtime: float
    link: bytes | None
    sha256: str | None


@dataclass
class Totals:
    """What went by. `files` are members that are no folders, `listed` the files that folders name as theirs."""

    members: int = 0
    files: int = 0
    listed: int = 0
    raw_bytes: int = 0


class TarCutter:
    """Reads a tar to its end (`run`), writes its parts, and tells of each member."""

    def __init__(self, stream: TarStream, writer: PartWriter, part_bytes: int, note: Callable[[Member], None]) -> None:
        self.totals = Totals()
        self._stream = stream
        self._writer = writer
        self._part_bytes = part_bytes
        self._note = note
        self._head: bytearray | None = None  # what of a member waits for the part that it will lie in
        self._held = bytearray()
        self._filled = 0  # of the part at hand
        self._at = (0, 0)

    def run(self) -> None:
        """Read everything.

        Raises:
            TruncatedError: the stream ends too early.
            IntegrityError: it is not what GNU tar writes.
        """
        while self._member():
            check_cancelled()
        self._tail()
        self._flush()
        self._writer.close()
        self.totals.raw_bytes = self._stream.position

    def _member(self) -> bool:
        """Read the next member; False when there is none."""
        start = self._stream.position
        self._head = bytearray()
        extended = Extended()
        block = self._take(BLOCK)
        if block == _END:
            self._begin(BLOCK)
            return False
        header = parse_header(block, start)
        while header.kind == EXTENDED:
            extended.feed(self._take, header.size)
            self._take(padding(header.size))
            header = parse_header(self._take(BLOCK), self._stream.position - BLOCK)
        kind = _TYPES.get(header.kind)
        if kind is None:
            raise IntegrityError(f"The archive has a member of the unknown type {header.kind!r} at byte {start}.")
        stored = extended.number(b"size", header.size) if kind == "file" else 0
        length = self._stream.position - start + stored + padding(stored)
        if self._head is not None:
            self._begin(length)
        sha256 = self._content(extended, stored) if kind == "file" else None
        self._tell(header, kind, extended, length, stored, sha256)
        return True

    def _tell(
        self, header: Header, kind: MemberType, extended: Extended, length: int, stored: int, sha256: str | None
    ) -> None:
        said = extended.records
        self.totals.members += 1
        self.totals.files += kind != "directory"
        self.totals.listed += extended.listed
        path = said.get(b"GNU.sparse.name") or said.get(b"path") or header.name
        self._note(
            Member(
                part=self._at[0],
                offset=self._at[1],
                length=length,
                type=kind,
                path=path.rstrip(b"/") or path,
                size=extended.number(b"GNU.sparse.realsize", stored),
                mode=header.mode,
                uid=extended.number(b"uid", header.uid),
                gid=extended.number(b"gid", header.gid),
                user=said.get(b"uname", header.user),
                group=said.get(b"gname", header.group),
                mtime=float(said.get(b"mtime", header.mtime)),
                link=said.get(b"linkpath", header.link) if kind in ("symlink", "hardlink") else None,
                sha256=sha256,
            )
        )

    def _content(self, extended: Extended, stored: int) -> str:
        digest = hashlib.sha256()
        major = extended.records.get(b"GNU.sparse.major")
        if major == b"1":
            self._sparse(digest, extended.number(b"GNU.sparse.realsize", 0), stored)
        elif major is None and b"GNU.sparse.map" not in extended.records:
            self._copy(stored, digest)
        else:
            raise IntegrityError("The archive has a sparse file of an unknown version: write it with GNU tar 1.14 on.")
        self._copy(padding(stored))
        return digest.hexdigest()

    def _sparse(self, digest: "hashlib._Hash", size: int, stored: int) -> None:
        """A map (how many pieces; offset and length of each) in blocks of its own, then the pieces."""
        numbers, text, wanted = array("Q"), b"", 1
        while len(numbers) < wanted:
            if stored < BLOCK:
                raise IntegrityError("The archive is damaged: the map of a sparse file has no end.")
            *lines, text = (text + self._take(BLOCK)).split(b"\n")
            stored -= BLOCK
            if not all(map(bytes.isdigit, lines)):
                raise IntegrityError("The archive is damaged: the map of a sparse file is no list of numbers.")
            numbers.extend(map(int, lines))
            if numbers:
                wanted = 1 + 2 * numbers[0]
        at = 0
        for offset, length in zip(numbers[1:wanted:2], numbers[2:wanted:2], strict=True):
            _hash_zeros(digest, offset - at)
            self._copy(length, digest)
            stored -= length
            self._copy(fill := min(padding(length), stored))
            stored -= fill
            at = offset + length
        _hash_zeros(digest, size - at)
        self._copy(stored)

    def _tail(self) -> None:
        """Behind the first empty block there is a second one, and zeros to the end of the record."""
        if self._take(BLOCK) != _END:
            raise IntegrityError("The archive is damaged: a lone empty block stands among its members.")
        while piece := self._stream.some(BLOCK << 7):
            if any(piece):
                raise IntegrityError("The archive is damaged: there is something behind its end.")
            self._out(piece)

    def _take(self, count: int) -> bytes:
        data = self._stream.exactly(count)
        if self._head is None:
            self._out(memoryview(data))
        else:
            self._head += data
            if len(self._head) > HEAD_BYTES:
                self._begin(self._part_bytes)
        return data

    def _copy(self, count: int, digest: "hashlib._Hash | None" = None) -> None:
        for piece in self._stream.pieces(count):
            if digest is not None:
                digest.update(piece)
            self._out(piece)
            if len(piece) == len(_ZEROS):
                check_cancelled()

    def _begin(self, length: int) -> None:
        """A member of so many bytes begins: in this part if it fits, else in the next."""
        if self._filled and self._filled + length > self._part_bytes:
            self._next_part()
        self._at = (self._writer.number, self._filled)
        head, self._head = self._head, None
        self._out(memoryview(head or b""))

    def _out(self, piece: memoryview) -> None:
        while piece:
            if self._filled == self._part_bytes:
                self._next_part()
            now, piece = piece[: self._part_bytes - self._filled], piece[self._part_bytes - self._filled :]
            self._filled += len(now)
            if len(now) < HELD_BYTES:  # a call of the system for each header would be many
                self._held += now
                if len(self._held) >= HELD_BYTES:
                    self._flush()
            else:
                self._flush()
                self._writer.write(now)

    def _next_part(self) -> None:
        self._flush()
        self._writer.next_part()
        self._filled = 0

    def _flush(self) -> None:
        if self._held:
            self._writer.write(self._held)
            self._held.clear()


def _hash_zeros(digest: "hashlib._Hash", count: int) -> None:
    while count > 0:
        check_cancelled()
        digest.update(_ZEROS[:count])
        count -= len(_ZEROS)
