"""Reads the headers of a tar stream as GNU tar writes it (posix format, incremental), and nothing else.

GNU tar unpacks the same bytes a moment later. What it might read differently than we do is therefore refused: other
formats, keywords, global headers, a name in two places, numbers in other spellings. Memory holds one member's header.
"""

import re
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from typing import Literal, NoReturn

from spoqplus_backup.core.errors import IntegrityError
from spoqplus_backup.core.recovery.files.names import check_name, refused

EntryType = Literal["file", "directory", "symlink", "hardlink", "fifo"]

BLOCK = 512
MOST_EXTENDED = 256 << 20  # of one header's extended records: the names in a folder of several million files

_TYPES: Mapping[bytes, EntryType] = {
    b"0": "file",
    b"1": "hardlink",
    b"2": "symlink",
    b"5": "directory",
    b"6": "fifo",
}
_DEVICES = (b"3", b"4")
_KEYWORDS = frozenset(
    {"path", "linkpath", "size", "uid", "gid", "uname", "gname", "mtime", "atime", "ctime", "GNU.dumpdir"}
    | {f"GNU.sparse.{name}" for name in ("major", "minor", "name", "realsize")}
    | {"RHT.security.selinux"}
)
_FAMILIES = ("SCHILY.xattr.", "SCHILY.acl.")
_OCTAL = re.compile(rb"([0-7]{1,11})[\0 ]")
_NUMBER = re.compile(rb"0|[1-9][0-9]{0,17}")
_RECORD = re.compile(rb"([1-9][0-9]{0,9}) ")
_ZEROS = bytes(BLOCK)


@dataclass(frozen=True)
class Member:
    """A member's header. `size` is the file's, `stored` its bytes in the stream; they differ where it has holes.

    `name` and `link` are checked to be in their plain form; a symlink's `link` is as it stands. `dumpdir` is what a
    folder held when it was archived, and which folders were renamed (see GNU tar's manual, "Dumpdir").
    """

    type: EntryType
    name: bytes
    link: bytes | None
    size: int
    stored: int
    is_sparse: bool
    dumpdir: bytes | None
    raw: bytes
    offset: int

    @property
    def padded(self) -> int:
        """Bytes of content in the stream, with what fills the last block."""
        return -(-self.stored // BLOCK) * BLOCK

    @property
    def length(self) -> int:
        """Bytes in the stream, header and content."""
        return len(self.raw) + self.padded


class TarReader:
    """Walks through a stream: `next_member`, then all of its `content`, and again.

    Args:
        blocks: the stream, in pieces of any size.
        where: names it in errors.
        offset: where in the whole stream it begins.
    """

    def __init__(self, blocks: Iterator[bytes], where: str, offset: int = 0) -> None:
        self._blocks = blocks
        self._where = where
        self._rest = memoryview(b"")
        self._left = 0
        self.offset = offset

    def next_member(self) -> Member | None:
        """The next header; None at the end of the archive, behind which only zeros may follow.

        Raises:
            IntegrityError: it is damaged, or not what GNU tar would have written.
        """
        for _ in self.content():  # what the caller did not want
            pass
        start = self.offset
        header = self._exactly(BLOCK)
        if header == _ZEROS:
            self._check_end()
            return None
        records: dict[str, bytes] = {}
        raw = header
        if _type(header) == b"x":
            self._check_header(header)
            size = self._octal(header[124:136], "size")
            if size > MOST_EXTENDED:
                self._damaged(f"has an extended header of {size} bytes")
            content = self._exactly(-(-size // BLOCK) * BLOCK)
            records = self._records(content[:size])
            header = self._exactly(BLOCK)
            raw += content + header
        self._check_header(header)
        member = self._member(header, records, raw, start)
        self._left = member.padded
        return member

    def content(self) -> Iterator[memoryview]:
        """The content of the current member, with what fills its last block."""
        while self._left:
            if not self._rest:
                self._more()
            block = self._rest[: self._left]
            self._rest = self._rest[len(block) :]
            self._left -= len(block)
            self.offset += len(block)
            yield block

    def _more(self) -> None:
        block = next(self._blocks, None)
        if block is None:
            self._damaged("ends in the middle of a member")
        self._rest = memoryview(block)

    def _exactly(self, count: int) -> bytes:
        found = bytearray()
        while len(found) < count:
            if not self._rest:
                self._more()
            piece = self._rest[: count - len(found)]
            self._rest = self._rest[len(piece) :]
            found += piece
        self.offset += count
        return bytes(found)

    def _check_end(self) -> None:
        """Behind the first block of zeros comes nothing but zeros: GNU tar fills its last record with them."""
        while True:
            if self._rest.tobytes().strip(b"\0"):
                self._damaged("goes on behind its end")
            self.offset += len(self._rest)
            self._rest = memoryview(next(self._blocks, b""))
            if not self._rest:
                return

    def _check_header(self, header: bytes) -> None:
        total = sum(header[:148]) + sum(header[156:]) + 8 * 32
        if self._octal(header[148:156], "checksum") != total:
            self._damaged("has a header with a wrong checksum")
        if header[257:265] != b"ustar\00000" or header[345:512].strip(b"\0"):
            self._damaged("is not in the posix format of GNU tar")

    def _octal(self, field: bytes, name: str) -> int:
        match = _OCTAL.match(field.lstrip(b" ") if name == "checksum" else field)
        if match is None:
            self._damaged(f"has a header whose {name} can't be read")
        return int(match[1], 8)

    def _records(self, content: bytes) -> dict[str, bytes]:
        records: dict[str, bytes] = {}
        position = 0
        while position < len(content):
            match = _RECORD.match(content, position)
            end = position + int(match[1]) if match else 0
            keyword, equals, value = content[match.end() : end - 1].partition(b"=") if match else (b"", b"", b"")
            if not equals or end > len(content) or content[end - 1 : end] != b"\n":
                self._damaged("has an extended header that can't be read")
            name = keyword.decode("utf-8", "backslashreplace")
            if name in records or not (name in _KEYWORDS or name.startswith(_FAMILIES)):
                self._damaged(f"has an extended header with {name!r}, which GNU tar would not have written so")
            records[name] = value
            position = end
        return records

    def _member(self, header: bytes, records: Mapping[str, bytes], raw: bytes, offset: int) -> Member:
        kind = _type(header)
        name = records.get("GNU.sparse.name", records.get("path", _text(header[:100])))
        if kind in _DEVICES:
            raise refused(self._where, name, "a device file")
        if kind not in _TYPES:
            raise refused(self._where, name, f"a member of the unknown type {kind!r}")
        entry = _TYPES[kind]
        if entry == "directory":  # a slash makes a folder of anything that looks like a file, for GNU tar
            name = name.removesuffix(b"/")
        check_name(self._where, name)
        link = records.get("linkpath", _text(header[157:257])) if entry in ("symlink", "hardlink") else None
        if link is not None and (not link or b"\0" in link):
            raise refused(self._where, name, "a link to nothing")
        if entry == "hardlink" and link is not None:
            check_name(self._where, link)
        stored = self._number(records["size"]) if "size" in records else self._octal(header[124:136], "size")
        sparse = "GNU.sparse.major" in records
        if stored and entry != "file":
            raise refused(self._where, name, f"a {entry} with content")
        if sparse != ("GNU.sparse.name" in records) or sparse != ("GNU.sparse.realsize" in records):
            self._damaged("has a file with holes that is not described in full")
        return Member(
            type=entry,
            name=name,
            link=link,
            size=self._number(records["GNU.sparse.realsize"]) if sparse else stored,
            stored=stored,
            is_sparse=sparse,
            dumpdir=records.get("GNU.dumpdir"),
            raw=raw,
            offset=offset,
        )

    def _number(self, value: bytes) -> int:
        if not _NUMBER.fullmatch(value):
            self._damaged(f"has an extended header with the number {value[:20]!r}")
        return int(value)

    def _damaged(self, what: str) -> NoReturn:
        raise IntegrityError(
            f"{self._where} {what} (byte {self.offset}): nothing of it is restored. Take it from another repository or "
            "restore another set."
        )


def _type(header: bytes) -> bytes:
    return header[156:157]


def _text(field: bytes) -> bytes:
    return field.partition(b"\0")[0]
