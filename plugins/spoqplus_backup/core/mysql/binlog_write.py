"""Writes events of a binary log: statements of our own between those of a server, and logs that end where we want.

The form is the server's (see `binlog_events.py`), so mysqlbinlog, and a replica, take them for a server's own.
"""

import os
import re
import struct
import zlib
from collections.abc import Callable, Iterator
from pathlib import Path

import zstandard

from spoqplus_backup.core.errors import IntegrityError
from spoqplus_backup.core.mysql.binlog_events import CHECKSUM_BYTES, HEADER_BYTES, Kind, unpack_header

COPY_BYTES = 1 << 20

_HEADER = struct.Struct("<IBIIIH")
_QUERY = struct.Struct("<IIBHH")  # thread, seconds, bytes of the database's name, error, bytes of the status variables
_SUPPRESS_USE = 0x0008
_FLAGS_AT = 17
_IN_USE = 0x0001
_GROUP_COMMIT, _PREPARED_XA = 2, 64  # flags of MariaDB's GTID event
_MARIADB_GTID_BYTES = 13  # sequence, domain, flags
_COMPRESSION_TYPE, _STORED = 2, 255


def event(kind: int, timestamp: int, server_id: int, body: bytes, *, checksums: bool, flags: int = 0) -> bytes:
    """A whole event. Its place in the file is left out, which readers of a stream do not miss."""
    length = HEADER_BYTES + len(body) + (CHECKSUM_BYTES if checksums else 0)
    content = _HEADER.pack(timestamp, kind, server_id, length, 0, flags) + body
    return content + struct.pack("<I", zlib.crc32(content)) if checksums else content


def query_event(text: str, timestamp: int, server_id: int, *, checksums: bool) -> bytes:
    """A statement that leaves the session as it is: it names no database, no modes and no character sets."""
    body = _QUERY.pack(0, 0, 0, 0, 0) + b"\0" + text.encode()
    return event(Kind.QUERY, timestamp, server_id, body, checksums=checksums, flags=_SUPPRESS_USE)


def with_text(content: bytes, change: Callable[[str], str], *, checksums: bool) -> bytes:
    """A QUERY event whose statement `change` made another one; the event as it is when it left it alone.

    The statement's bytes are of the session's character set; `change` gets each as the character of that number.
    """
    timestamp, kind, server_id, length, _, flags = unpack_header(content)
    body = content[HEADER_BYTES : length - (CHECKSUM_BYTES if checksums else 0)]
    _, _, database_bytes, _, status_bytes = _QUERY.unpack_from(body)
    at = _QUERY.size + status_bytes + database_bytes + 1
    stored = body[at:]
    if kind == Kind.QUERY_COMPRESSED:
        stored = zlib.decompress(stored[1 + (stored[0] & 0x07) :])
    before = stored.decode("latin-1")
    after = change(before)
    if after == before:
        return content
    return event(
        Kind.QUERY, timestamp, server_id, body[:at] + after.encode("latin-1"), checksums=checksums, flags=flags
    )


def mariadb_begin(gtid_event: bytes) -> str:
    """What MariaDB's GTID event stands for beside its number: the statement that begins the transaction."""
    body = gtid_event[HEADER_BYTES:]
    flags, at = body[_MARIADB_GTID_BYTES - 1], _MARIADB_GTID_BYTES
    if not flags & _PREPARED_XA:
        return "START TRANSACTION"
    if flags & _GROUP_COMMIT:
        at += 8
    form, gtrid, bqual = struct.unpack_from("<iBB", body, at)
    at += 6
    names = body[at : at + gtrid], body[at + gtrid : at + gtrid + bqual]
    return f"XA START X'{names[0].hex()}',X'{names[1].hex()}',{form}"


def payload_events(body: bytes, *, checksums: bool) -> Iterator[bytes]:
    """The events inside of MySQL's compressed transaction, as if they lay in the log themselves."""
    at, stored = 0, False
    while (kind := body[at]) != 0:
        length, at = _packed(body, at + 1)
        stored = stored or (kind == _COMPRESSION_TYPE and _packed(body, at)[0] == _STORED)
        at += length
    content = body[at + 1 :]
    chunks = [content] if stored else zstandard.ZstdDecompressor().read_to_iter(content)
    waiting = bytearray()
    for chunk in chunks:
        waiting += chunk
        while len(waiting) >= HEADER_BYTES and len(waiting) >= (
            length := unpack_header(bytes(waiting[:HEADER_BYTES]))[3]
        ):
            timestamp, inner, server_id, _, _, flags = unpack_header(bytes(waiting[:HEADER_BYTES]))
            inside = bytes(waiting[HEADER_BYTES:length])
            yield event(inner, timestamp, server_id, inside, checksums=checksums, flags=flags)
            del waiting[:length]


def _packed(body: bytes, at: int) -> tuple[int, int]:
    first = body[at]
    width = {252: 2, 253: 3, 254: 8}.get(first, 0)
    if not width:
        return first, at + 1
    return int.from_bytes(body[at + 1 : at + 1 + width], "little"), at + 1 + width


def cut_log(source: Path, target: Path, end: int) -> None:
    """Write a log's first `end` bytes as a log that was closed properly; complete or absent.

    `end` is where a transaction ends (`LogSummary.end` for the log of a server that died, or where to stop).

    Raises:
        IntegrityError: the log is shorter than that.
    """
    part = target.with_name(target.name + ".part")
    with source.open("rb") as reader, part.open("wb") as writer:
        left = end
        while left and (block := reader.read(min(left, COPY_BYTES))):
            writer.write(block)
            left -= len(block)
        if left:
            raise IntegrityError(f"{source} ends {left} bytes before {end}: it is not the log that was archived.")
        flags_at = 4 + _FLAGS_AT  # not part of the event's checksum
        writer.seek(flags_at)
        with source.open("rb") as again:
            again.seek(flags_at)
            (flags,) = struct.unpack("<H", again.read(2))
        writer.write(struct.pack("<H", flags & ~_IN_USE))
        writer.flush()
        os.fsync(writer.fileno())
    part.rename(target)


SAFE_LOG_NAME = re.compile(r"[\w.-]+", re.ASCII)
