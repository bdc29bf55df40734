"""Reads a binary log as it lies on disk: its events one by one, each proved by its own checksum, in constant memory.

The format is that of MySQL 5.6 and later and MariaDB 10.0 and later (version 4): four magic bytes, then events of 19
header bytes, a body and, unless the server writes none, a CRC32. Only what a backup asks of a log is decoded: GTIDs,
statements, which tables rows belong to, where transactions end. Values of columns are mysqlbinlog's to decode.

Sources: MySQL's `libs/mysql/binlog/event`, MariaDB's `sql/log_event.h`; seen with MySQL 9.7 and MariaDB 10.11.
"""

import struct
import zlib
from collections.abc import Callable, Container, Iterator
from dataclasses import dataclass
from datetime import datetime, timezone
from enum import IntEnum

from spoqplus_backup.core.errors import IntegrityError
from spoqplus_backup.core.manifest import Flavour

MAGIC = b"\xfebin"
HEADER_BYTES = 19
CHECKSUM_BYTES = 4
HEAD_BYTES = 64 << 10  # of a body is kept; longer ones are rows, or statements that nobody reads to their end
BLOCK_BYTES = 1 << 20

_HEADER = struct.Struct("<IBIIIH")
_IN_USE = 0x0001  # flag of a log that is open, or was when the server died
_FLAGS_AT = 17

Read = Callable[[int], bytes]


class Kind(IntEnum):
    """The event types that are looked at."""

    QUERY = 2
    STOP = 3
    ROTATE = 4
    FORMAT_DESCRIPTION = 15
    XID = 16
    TABLE_MAP = 19
    WRITE_ROWS_V1 = 23
    UPDATE_ROWS_V1 = 24
    DELETE_ROWS_V1 = 25
    ROWS_QUERY = 29
    WRITE_ROWS = 30
    UPDATE_ROWS = 31
    DELETE_ROWS = 32
    GTID = 33
    ANONYMOUS_GTID = 34
    PREVIOUS_GTIDS = 35
    XA_PREPARE = 38
    PARTIAL_UPDATE_ROWS = 39
    TRANSACTION_PAYLOAD = 40
    GTID_TAGGED = 42
    ANNOTATE_ROWS = 160
    MARIADB_CHECKPOINT = 161
    MARIADB_GTID = 162
    MARIADB_GTID_LIST = 163
    START_ENCRYPTION = 164
    QUERY_COMPRESSED = 165
    WRITE_ROWS_COMPRESSED_V1 = 166
    UPDATE_ROWS_COMPRESSED_V1 = 167
    DELETE_ROWS_COMPRESSED_V1 = 168
    WRITE_ROWS_COMPRESSED = 169
    UPDATE_ROWS_COMPRESSED = 170
    DELETE_ROWS_COMPRESSED = 171


ROWS = frozenset(
    {
        Kind.WRITE_ROWS_V1,
        Kind.UPDATE_ROWS_V1,
        Kind.DELETE_ROWS_V1,
        Kind.WRITE_ROWS,
        Kind.UPDATE_ROWS,
        Kind.DELETE_ROWS,
        Kind.PARTIAL_UPDATE_ROWS,
        Kind.WRITE_ROWS_COMPRESSED_V1,
        Kind.UPDATE_ROWS_COMPRESSED_V1,
        Kind.DELETE_ROWS_COMPRESSED_V1,
        Kind.WRITE_ROWS_COMPRESSED,
        Kind.UPDATE_ROWS_COMPRESSED,
        Kind.DELETE_ROWS_COMPRESSED,
    }
)
WHOLE = frozenset({Kind.PREVIOUS_GTIDS, Kind.MARIADB_GTID_LIST, Kind.TRANSACTION_PAYLOAD})  # bodies kept to the end


@dataclass(frozen=True)
class Event:
    """One event. Positions are offsets in the file; `body` is without header and checksum and may be cut off."""

    kind: int
    timestamp: int
    """Seconds since 1970, UTC."""
    server_id: int
    start: int
    end: int
    flags: int
    body: bytes

    @property
    def at(self) -> datetime:
        """When, to the second."""
        return datetime.fromtimestamp(self.timestamp, timezone.utc)


@dataclass(frozen=True)
class Format:
    """What a log's first event says of the log."""

    flavour: Flavour
    version: str
    server_id: int
    created_at: datetime
    checksums: bool
    in_use: bool


class LogReader:
    """The events of one log. `format` is known from the start; `end` is where the last whole event ends."""

    def __init__(self, read: Read, where: str, whole: Container[int] = WHOLE) -> None:
        """Read the magic bytes and the first event.

        Args:
            read: gives at most so many bytes, fewer at the end only.
            where: names the log in errors.
            whole: of which kinds the whole body is kept, however long; has `WHOLE` in it.

        Raises:
            IntegrityError: it is no binary log, or its first event is damaged.
        """
        self._read = _exactly(read)
        self._where = where
        self._whole = whole
        self._checksums = False
        self._truncated = False
        self.end = len(MAGIC)
        if (magic := self._read(len(MAGIC))) != MAGIC:
            raise IntegrityError(f"{where} is no binary log: it begins with {magic[:8].hex()}.")
        first = self._next()
        if first is None or first.kind != Kind.FORMAT_DESCRIPTION:
            raise IntegrityError(f"{where} is no binary log: it does not begin with a format description.")
        self.first = first
        self.format = self._format(first)

    @property
    def truncated(self) -> bool:
        """Whether the log ended in the middle of an event; known once all events were read."""
        return self._truncated

    def __iter__(self) -> Iterator[Event]:
        """The events behind the first one, up to the last whole one.

        Raises:
            IntegrityError: an event's checksum is wrong.
        """
        while (event := self._next()) is not None:
            yield event

    def _next(self) -> Event | None:
        start = self.end
        header = self._read(HEADER_BYTES)
        if len(header) < HEADER_BYTES:
            self._truncated = bool(header)
            return None
        timestamp, kind, server_id, length, _, flags = unpack_header(header)
        if length < HEADER_BYTES:
            raise IntegrityError(f"{self._where} is damaged at {start}: an event of {length} bytes can't be.")
        if kind == Kind.FORMAT_DESCRIPTION:  # the flag is not part of the checksum
            header = header[:_FLAGS_AT] + struct.pack("<H", flags & ~_IN_USE)
        body = self._body(kind, header, length - HEADER_BYTES, start)
        if body is None:
            self._truncated = True
            return None
        self.end = start + length
        return Event(kind, timestamp, server_id, start, self.end, flags, body)

    def _body(self, kind: int, header: bytes, length: int, start: int) -> bytes | None:
        """The body, its checksum looked at; None when the file ends before it does."""
        if kind == Kind.FORMAT_DESCRIPTION or kind in self._whole or length <= HEAD_BYTES:
            content = self._read(length)
            if len(content) < length:
                return None
            if kind == Kind.FORMAT_DESCRIPTION:
                self._checksums = content[-CHECKSUM_BYTES - 1] == 1  # its own, and then all others'
                self._check(zlib.crc32(content[:-CHECKSUM_BYTES], zlib.crc32(header)), content[-CHECKSUM_BYTES:], start)
                return content[:-CHECKSUM_BYTES]
            if not self._checksums:
                return content
            self._check(zlib.crc32(content[:-CHECKSUM_BYTES], zlib.crc32(header)), content[-CHECKSUM_BYTES:], start)
            return content[:-CHECKSUM_BYTES]
        return self._long_body(header, length, start)

    def _long_body(self, header: bytes, length: int, start: int) -> bytes | None:
        head = b""
        digest = zlib.crc32(header)
        left = length - (CHECKSUM_BYTES if self._checksums else 0)
        while left:
            block = self._read(min(left, BLOCK_BYTES))
            if not block:
                return None
            head = head or block[:HEAD_BYTES]
            digest = zlib.crc32(block, digest)
            left -= len(block)
        if self._checksums:
            stored = self._read(CHECKSUM_BYTES)
            if len(stored) < CHECKSUM_BYTES:
                return None
            self._check(digest, stored, start)
        return head

    def _check(self, digest: int, stored: bytes, start: int) -> None:
        if self._checksums and digest != int.from_bytes(stored, "little"):
            raise IntegrityError(f"{self._where} is damaged: the checksum of its event at {start} is wrong.")

    def _format(self, first: Event) -> Format:
        version = first.body[2:52].rstrip(b"\0").decode("utf-8", "replace")
        return Format(
            flavour="mariadb" if "mariadb" in version.lower() else "mysql",
            version=version,
            server_id=first.server_id,
            created_at=first.at,
            checksums=self._checksums,
            in_use=bool(first.flags & _IN_USE),
        )


def unpack_header(content: bytes) -> tuple[int, int, int, int, int, int]:
    """Timestamp, type, server id, length, next position and flags of an event that begins here."""
    timestamp, kind, server_id, length, behind, flags = _HEADER.unpack_from(content)
    return timestamp, kind, server_id, length, behind, flags


def _exactly(read: Read) -> Read:
    """Turn a `read` that may give less than it was asked for into one that does so at the end only."""

    def whole(wanted: int) -> bytes:
        found = read(wanted)
        if len(found) == wanted or not found:
            return found
        pieces, missing = [found], wanted - len(found)
        while missing and (more := read(missing)):
            pieces.append(more)
            missing -= len(more)
        return b"".join(pieces)

    return whole


@dataclass(frozen=True)
class Query:
    """A statement in the log. `text` may be cut off after 64 KiB."""

    database: str
    text: str


def query(event: Event) -> Query:
    """Decode a QUERY event (plain or MariaDB's compressed one)."""
    _, _, database_bytes, _, status_bytes = struct.unpack_from("<IIBHH", event.body)
    at = 13 + status_bytes
    database = event.body[at : at + database_bytes].decode("utf-8", "replace")
    content = event.body[at + database_bytes + 1 :]
    if event.kind == Kind.QUERY_COMPRESSED:
        content = uncompressed(content)
    return Query(database, content.decode("utf-8", "replace"))


def uncompressed(content: bytes) -> bytes:
    """MariaDB's compression inside of events: a header byte, the length, then zlib; as far as there are bytes."""
    length_bytes = content[0] & 0x07 if content else 0
    return zlib.decompressobj().decompress(content[1 + length_bytes :], HEAD_BYTES)


def table_of(event: Event) -> tuple[int, str, str]:
    """A TABLE_MAP event: the number that rows refer to, database and table."""
    number = int.from_bytes(event.body[:6], "little")
    at = 8
    names = []
    for _ in range(2):
        length = event.body[at]
        names.append(event.body[at + 1 : at + 1 + length].decode("utf-8", "replace"))
        at += 1 + length + 1
    return number, names[0], names[1]


def rows_table(event: Event) -> int:
    """The number of the table that a rows event is about."""
    return int.from_bytes(event.body[:6], "little")


def next_log(event: Event) -> str:
    """The name that a ROTATE event says the log goes on under."""
    return event.body[8:].decode("utf-8", "replace")
