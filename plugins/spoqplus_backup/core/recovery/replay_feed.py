"""What mysqlbinlog is fed with: the events of all logs as one, and between them what notes how far the replay came.

The notes are events themselves, put where a server would have put them. So nobody has to find the ends of transactions
in mysqlbinlog's text, where any value may look like one, and mysqlbinlog itself sets the session right again behind
each of them.
"""

import re
from collections.abc import Callable
from dataclasses import dataclass
from typing import Literal

from spoqplus_backup.core.errors import PermanentError
from spoqplus_backup.core.mysql import replay_marker as markers
from spoqplus_backup.core.mysql.binlog_events import HEADER_BYTES, Event, Kind, unpack_header
from spoqplus_backup.core.mysql.binlog_write import mariadb_begin, payload_events, query_event, with_text
from spoqplus_backup.core.mysql.event_statements import hold
from spoqplus_backup.core.mysql.gtid import MariaDbGtid
from spoqplus_backup.core.recovery.replay_logs import MAGIC_BYTES, Found, OpenLog

Nature = Literal["atomic", "statement", "prepare", "create", "loose"]

COPY_BYTES = 1 << 20
BUFFER_BYTES = 1 << 18
HEAD_BYTES = 4096  # of an event that is looked at
_PAYLOAD = Kind.TRANSACTION_PAYLOAD
_CREATE = re.compile(r"\s*CREATE\b", re.IGNORECASE)
_EVENT = re.compile(r".*?\bEVENT\b", re.IGNORECASE | re.DOTALL)


def _kind(found: Found, at: int) -> int:
    return found.log.read(at + 4, at + 5)[0]


def _event(content: bytes) -> Event:
    timestamp, kind, server_id, length, _, flags = unpack_header(content)
    return Event(kind, timestamp, server_id, 0, length, flags, content[HEADER_BYTES : HEADER_BYTES + HEAD_BYTES])


def nature(found: Found) -> Nature:
    """How a transaction is committed.

    `atomic`: with all that is put into it. `statement`: one that commits by itself. `prepare`: the first half of an XA
    transaction. `create`: a table made together with its rows. `loose`: no engine keeps it together.
    """
    transaction = found.transaction
    if transaction.commit_start is None:
        return "statement"
    kind = _kind(found, transaction.commit_start)
    if kind == Kind.XA_PREPARE:
        return "prepare"
    if any(_CREATE.match(text) for _, text in transaction.statements):
        return "create"
    return "atomic" if kind in (Kind.XID, _PAYLOAD) else "loose"


@dataclass(frozen=True)
class Notes:
    """How applied transactions are noted.

    `gtids`: kept by a target that knows itself by them what it has executed, so that no notes are needed; or its own.
    `unlogged`: the session writes a binary log, which notes outside of transactions stay out of.
    """

    key: str
    gtids: markers.Gtids
    unlogged: bool


class Feed:
    """Writes the stream; `flush` at its end.

    Scheduled events that the logs make or enable are held: what they did is in the logs. `scheduled_events.give_back`
    makes them what they are in the end.
    """

    def __init__(self, write: Callable[[bytes], None], notes: Notes) -> None:
        self._write = write
        self._notes = notes
        self._buffer = bytearray()
        self._begun = False
        self._domain: int | None = None

    def open_log(self, log: OpenLog) -> None:
        """Begin a log: its first event says how to read the others."""
        self._put(log.read(MAGIC_BYTES if self._begun else 0, log.head_end))
        self._begun = True

    def apply(self, found: Found) -> None:
        """One transaction, with its notes."""
        if self._notes.gtids == "kept":
            if found.transaction.gtid is None:
                raise PermanentError(f"The transaction {found} has no GTID, others of these logs have: restore anew.")
            self._as_it_is(found)
        elif nature(found) == "atomic":
            self._atomic(found)
        else:
            self._note(found, "intent", found.transaction.start)
            self._copy(found, self._head(found), found.transaction.end)
            self._note(found, "done", found.transaction.end)

    def leave_out(self, found: Found) -> None:
        """Instead of a transaction that is left out: nothing, or an empty one where GTIDs are kept."""
        if self._notes.gtids == "kept":
            start = found.transaction.start
            self._copy(found, start, start + self._length(found, start))
            self._query(found, "BEGIN")
            self._query(found, "COMMIT")

    def flush(self) -> None:
        """Send what waits."""
        if self._buffer:
            self._write(bytes(self._buffer))
            self._buffer.clear()

    def _as_it_is(self, found: Found) -> None:
        start, commit = found.transaction.start, found.transaction.commit_start
        if commit is not None and markers.noted_in(found.transaction) and _kind(found, commit) == _PAYLOAD:
            self._copy(found, start, commit)
            self._payload(found, None)
        else:
            self._copy(found, start, found.transaction.end)

    def _atomic(self, found: Found) -> None:
        transaction = found.transaction
        commit = transaction.commit_start or transaction.start
        start = self._head(found)
        note = markers.update(self._notes.key, "done", found.log.name, transaction.end)
        self._copy(found, start, commit)
        if _kind(found, commit) == _PAYLOAD:
            self._payload(found, note)
        else:
            self._query(found, note)
            self._copy(found, commit, transaction.end)

    def _payload(self, found: Found, note: str | None) -> None:
        """A compressed transaction as its events, the note before the last one, which commits it."""
        notes, waiting = markers.Notes(), b""
        body = found.log.event_at(found.transaction.commit_start or 0).body
        for inner in payload_events(body, checksums=found.log.checksums):
            if not notes.has(_event(inner)):
                self._put(waiting)
                waiting = inner
        if note is not None:
            self._query(found, note)
        self._put(waiting)

    def _head(self, found: Found) -> int:
        """Begin a transaction that gets a GTID of the target's own; returns where its other events begin.

        MySQL's mysqlbinlog leaves the GTIDs out when it is told to; MariaDB's event also stands for the beginning.
        """
        start = found.transaction.start
        if not isinstance(found.transaction.gtid, MariaDbGtid):
            return start
        behind = start + self._length(found, start)
        if found.transaction.gtid.domain != self._domain:
            self._domain = found.transaction.gtid.domain
            self._query(found, f"SET @@session.gtid_domain_id = {self._domain}")
        if found.transaction.commit_start is not None:
            self._query(found, mariadb_begin(found.log.read(start, behind)))
        return behind

    def _note(self, found: Found, state: markers.State, place: int) -> None:
        statements = [markers.update(self._notes.key, state, found.log.name, place)]
        if self._notes.unlogged:
            statements = ["SET SESSION sql_log_bin = 0", *statements, "SET SESSION sql_log_bin = 1"]
        for statement in statements:
            self._query(found, statement)

    def _length(self, found: Found, at: int) -> int:
        return unpack_header(found.log.read(at, at + HEADER_BYTES))[3]

    def _query(self, found: Found, text: str) -> None:
        server_id = found.log.log.format.server_id
        timestamp = int(found.transaction.at.timestamp())
        self._put(query_event(text, timestamp, server_id, checksums=found.log.checksums))

    def _copy(self, found: Found, start: int, end: int) -> None:
        """Events of the log as they are, without the notes of an earlier replay."""
        if found.transaction.commit_start is None and any(_EVENT.match(text) for _, text in found.transaction.queries):
            self._copy_held(found, start, end)
            return
        if not markers.noted_in(found.transaction):
            self._copy_bytes(found, start, end)
            return
        notes = markers.Notes()
        while start < end:
            length = self._length(found, start)
            if not notes.has(_event(found.log.read(start, start + min(length, HEAD_BYTES)))):
                self._copy_bytes(found, start, start + length)
            start += length

    def _copy_held(self, found: Found, start: int, end: int) -> None:
        while start < end:
            length = self._length(found, start)
            content = found.log.read(start, start + length)
            if _kind(found, start) in (Kind.QUERY, Kind.QUERY_COMPRESSED):
                content = with_text(content, hold, checksums=found.log.checksums)
            self._put(content)
            start += length

    def _copy_bytes(self, found: Found, start: int, end: int) -> None:
        while start < end:
            behind = min(end, start + COPY_BYTES)
            self._put(found.log.read(start, behind))
            start = behind

    def _put(self, content: bytes) -> None:
        self._buffer += content
        if len(self._buffer) >= BUFFER_BYTES:
            self.flush()
