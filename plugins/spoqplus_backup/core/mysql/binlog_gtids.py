"""Decodes the events of a binary log that name transactions: what came before the log, and each one's GTID and time."""

import struct
from dataclasses import dataclass
from datetime import datetime, timedelta, timezone
from uuid import UUID

from spoqplus_backup.core.mysql.binlog_events import Event, Kind
from spoqplus_backup.core.mysql.gtid import Gtid, GtidSet, GtidState, MariaDbGtid, MySqlGtid, Source

EPOCH = datetime(1970, 1, 1, tzinfo=timezone.utc)

_MYSQL = struct.Struct("<B16sq")  # flags, UUID, number
_LOGICAL_CLOCK_BYTES = 17  # type, last committed, sequence number
_MARIADB = struct.Struct("<QIB")  # sequence, domain, flags
_ORIGINAL_FOLLOWS = 1 << 55
_STANDALONE, _DDL = 1, 32  # MariaDB's flags: no COMMIT ends it; it changes definitions
_COUNT_MASK = (1 << 28) - 1
_TAGGED_FORMAT = 1


@dataclass(frozen=True)
class Begin:
    """What the first event of a transaction says."""

    gtid: Gtid | None
    committed_at: datetime | None
    """To the microsecond, where the event carries it."""
    standalone: bool
    """One statement, ended by no COMMIT; MySQL's events do not tell."""


def previous_gtids(event: Event) -> GtidSet:
    """MySQL's PREVIOUS_GTIDS: all that was executed before this log."""
    body = event.body
    (header,) = struct.unpack_from("<Q", body)
    tagged = header >> 56 == _TAGGED_FORMAT
    count = (header >> 8) & ((1 << 48) - 1) if tagged else header
    at = 8
    found = GtidSet()
    for _ in range(count):
        uuid, at = str(UUID(bytes=body[at : at + 16])), at + 16
        tag = ""
        if tagged:
            length, at = _variable(body, at)
            tag, at = body[at : at + length].decode(), at + length
        (intervals,) = struct.unpack_from("<Q", body, at)
        at += 8
        for _ in range(intervals):
            first, behind = struct.unpack_from("<qq", body, at)
            at += 16
            found.update(GtidSet({(uuid, tag): [(first, behind - 1)]}))
    return found


def gtid_list(event: Event) -> GtidState:
    """MariaDB's GTID_LIST: the state of all domains before this log."""
    (count,) = struct.unpack_from("<I", event.body)
    entries = (struct.unpack_from("<IIQ", event.body, 4 + 16 * number) for number in range(count & _COUNT_MASK))
    return GtidState(MariaDbGtid(*entry) for entry in entries)


def begin(event: Event) -> Begin | None:
    """What a transaction's first event says; None for any other event."""
    if event.kind == Kind.MARIADB_GTID:
        sequence, domain, flags = _MARIADB.unpack_from(event.body)
        return Begin(MariaDbGtid(domain, event.server_id, sequence), None, bool(flags & _STANDALONE))
    if event.kind in (Kind.GTID, Kind.ANONYMOUS_GTID):
        _, uuid, number = _MYSQL.unpack_from(event.body)
        gtid = MySqlGtid((str(UUID(bytes=uuid)), ""), number) if event.kind == Kind.GTID else None
        return Begin(gtid, _commit_time(event.body[_MYSQL.size + _LOGICAL_CLOCK_BYTES :]), standalone=False)
    if event.kind == Kind.GTID_TAGGED:
        return _tagged(event.body)
    return None


def _commit_time(rest: bytes) -> datetime | None:
    if len(rest) < 7:  # MySQL 5.7
        return None
    return EPOCH + timedelta(microseconds=int.from_bytes(rest[:7], "little") & ~_ORIGINAL_FOLLOWS)


def _tagged(body: bytes) -> Begin:
    """MySQL's GTID with a tag: fields by number, in its serialization format 1."""
    at = 0
    for _ in range(3):  # version, size, last field that may not be ignored
        _, at = _variable(body, at)
    source: Source = ("", "")
    number, time = 0, None
    while at < len(body):
        field, at = _variable(body, at)
        if field == 1:
            octets = []
            for _ in range(16):
                octet, at = _variable(body, at)
                octets.append(octet)
            source = (str(UUID(bytes=bytes(octets))), "")
        elif field == 3:
            length, at = _variable(body, at)
            source, at = (source[0], body[at : at + length].decode()), at + length
        else:
            value, at = _variable(body, at)
            if field == 2:
                number = value >> 1  # signed numbers are folded; a GTID's is positive
            elif field == 6:
                time = EPOCH + timedelta(microseconds=value)
    return Begin(MySqlGtid(source, number), time, standalone=False)


def _variable(body: bytes, at: int) -> tuple[int, int]:
    """An integer whose first byte ends in as many ones as bytes follow; and where the next field begins."""
    first = body[at]
    more = 0
    while first >> more & 1 and more < 8:
        more += 1
    value = int.from_bytes(body[at : at + more + 1], "little") >> (more + 1)
    return value, at + more + 1
