"""Groups the events of a binary log into transactions, and sums a log up: what its sidecar says of it."""

import re
from collections.abc import Iterable, Iterator
from dataclasses import dataclass, field
from datetime import datetime
from typing import Literal

import zstandard

from spoqplus_backup.core.errors import IntegrityError
from spoqplus_backup.core.mysql import binlog_events as events
from spoqplus_backup.core.mysql.binlog_events import Event, Format, Kind, LogReader, Read
from spoqplus_backup.core.mysql.binlog_gtids import Begin, begin, gtid_list, previous_gtids
from spoqplus_backup.core.mysql.binlog_rows import Layout, count_rows, layout, packed
from spoqplus_backup.core.mysql.gtid import Gtid, GtidSet, GtidState, MariaDbGtid, MySqlGtid

Change = Literal["insert", "update", "delete", "statement"]
Closed = Literal["rotate", "stop", "crash"]

STATEMENT_CHARACTERS = 200  # of a statement is kept, for people
PAYLOAD_BYTES = 1 << 16  # of a compressed transaction is decompressed at a time

_CHANGES: dict[int, Change] = {
    Kind.WRITE_ROWS_V1: "insert",
    Kind.WRITE_ROWS: "insert",
    Kind.WRITE_ROWS_COMPRESSED_V1: "insert",
    Kind.WRITE_ROWS_COMPRESSED: "insert",
    Kind.UPDATE_ROWS_V1: "update",
    Kind.UPDATE_ROWS: "update",
    Kind.PARTIAL_UPDATE_ROWS: "update",
    Kind.UPDATE_ROWS_COMPRESSED_V1: "update",
    Kind.UPDATE_ROWS_COMPRESSED: "update",
    Kind.DELETE_ROWS_V1: "delete",
    Kind.DELETE_ROWS: "delete",
    Kind.DELETE_ROWS_COMPRESSED_V1: "delete",
    Kind.DELETE_ROWS_COMPRESSED: "delete",
}
ROW_EVENTS = frozenset(_CHANGES)
_QUERIES = (Kind.QUERY, Kind.QUERY_COMPRESSED)
_COMMENTS = (Kind.ANNOTATE_ROWS, Kind.ROWS_QUERY)
_BEGIN = re.compile(r"BEGIN|XA START |START TRANSACTION", re.IGNORECASE)
_END = re.compile(r"(?:COMMIT|ROLLBACK)\Z|XA (?:COMMIT|ROLLBACK) ", re.IGNORECASE)  # not ROLLBACK TO a savepoint
_BOUNDARY = re.compile(rf"{_BEGIN.pattern}|{_END.pattern}|XA END ", re.IGNORECASE)


@dataclass
class Transaction:
    """One transaction, or one statement that is its own: `start` and `end` are offsets in the log."""

    start: int
    end: int
    gtid: Gtid | None
    at: datetime
    """When it was committed: to the microsecond in MySQL's logs, to the second in MariaDB's."""
    commit_start: int | None = None
    """Where the event that commits it lies; None for a statement that commits by itself."""
    statements: list[tuple[str, str]] = field(default_factory=list)
    """Database and text (its beginning) of statements, and of those that made rows where the log holds them."""
    queries: list[tuple[str, str]] = field(default_factory=list)
    """Of `statements` those that are to be executed; the others are remarks about rows."""
    changes: dict[tuple[str, str], dict[Change, int]] = field(default_factory=dict)
    """For each table how many events of which kind."""
    rows: dict[tuple[str, str], dict[Change, int | None]] = field(default_factory=dict)
    """For each table how many rows, when they are counted; None where a type is not known."""


class Transactions:
    """The transactions of one log, in the log's order. What the log is as a whole is known behind the last one."""

    def __init__(
        self, read: Read, where: str, *, count_rows: bool = False, characters: int = STATEMENT_CHARACTERS
    ) -> None:
        """Read the beginning of a log; see `LogReader`.

        Args:
            read: as for `LogReader`.
            where: as for `LogReader`.
            count_rows: count the rows of each event, which takes a row's event into memory as a whole.
            characters: how much of a statement is kept.
        """
        self._reader = LogReader(read, where, events.WHOLE | events.ROWS if count_rows else events.WHOLE)
        self._count_rows = count_rows
        self._characters = characters
        self._layouts: dict[int, Layout] = {}
        self._where = where
        self.before = ""
        """The GTIDs before this log: a set of MySQL's, a state of MariaDB's, in normal form."""
        self.closed: Closed = "crash"
        self.closed_at: datetime | None = None
        """When the server ended the log, to the second; None when it died."""
        self.next_log: str | None = None
        self.end = self._reader.end
        """Where the last whole transaction (or event outside of one) ends."""
        self._state: GtidSet | GtidState = GtidState() if self.format.flavour == "mariadb" else GtidSet()
        self._open: Transaction | None = None
        self._standalone = False
        self._begun = False
        self._tables: dict[int, tuple[str, str]] = {}

    @property
    def format(self) -> Format:
        """What the log's first event says."""
        return self._reader.format

    @property
    def after(self) -> str:
        """The GTIDs with this log's own, as far as it was read."""
        return str(self._state)

    @property
    def state(self) -> "GtidSet | GtidState":
        """`after`, not yet as text."""
        return self._state

    @property
    def truncated(self) -> bool:
        """Whether the log ended inside of an event or a transaction: its writer died, or it is still being written."""
        return self._reader.truncated or self._open is not None

    def __iter__(self) -> Iterator[Transaction]:
        """Each whole transaction.

        Raises:
            IntegrityError: an event is damaged.
        """
        for event in self._reader:
            done = self._take(event)
            if done is not None:
                yield done
            if self._open is None:
                self.end = event.end

    def _take(self, event: Event) -> Transaction | None:
        if (first := begin(event)) is not None:
            self._start(event, first)
            return None
        if event.kind == Kind.PREVIOUS_GTIDS:
            self._state = previous_gtids(event)
            self.before = str(self._state)
        elif event.kind == Kind.MARIADB_GTID_LIST:
            self._state = gtid_list(event)
            self.before = str(self._state)
        elif event.kind == Kind.ROTATE:
            self.closed, self.next_log, self.closed_at = "rotate", events.next_log(event), event.at
        elif event.kind == Kind.STOP:
            self.closed, self.closed_at = "stop", event.at
        elif self._open is not None:
            return self._continue(self._open, event)
        return None

    def _start(self, event: Event, first: Begin) -> None:
        if self._open is not None:
            raise IntegrityError(f"{self._where} is damaged: no end of the transaction at {self._open.start}.")
        self._open = Transaction(event.start, event.end, first.gtid, first.committed_at or event.at)
        self._precise = first.committed_at is not None
        self._standalone, self._begun = first.standalone, event.kind == Kind.MARIADB_GTID and not first.standalone

    def _continue(self, transaction: Transaction, event: Event) -> Transaction | None:
        if event.kind == Kind.TRANSACTION_PAYLOAD:
            for inner in _payload(event, whole=self._count_rows):
                self._note(transaction, inner)
            return self._finish(transaction, event, commits=True)
        self._note(transaction, event)
        if event.kind in (Kind.XID, Kind.XA_PREPARE):
            return self._finish(transaction, event, commits=True)
        if event.kind in _QUERIES:
            text = events.query(event).text
            if self._begun:
                return self._finish(transaction, event, commits=True) if _END.match(text) else None
            if not self._standalone and _BEGIN.match(text):
                self._begun = True
                return None
            return self._finish(transaction, event, commits=False)
        return None

    def _finish(self, transaction: Transaction, event: Event, *, commits: bool) -> Transaction:
        transaction.end = event.end
        transaction.commit_start = event.start if commits else None
        if not self._precise:
            transaction.at = event.at
        match self._state, transaction.gtid:
            case (GtidSet() as known, MySqlGtid() as gtid):
                known.add(gtid)
            case (GtidState() as state, MariaDbGtid() as named):
                state.add(named)
        self._open = None
        self._tables.clear()
        self._layouts.clear()
        return transaction

    def _note(self, transaction: Transaction, event: Event) -> None:
        if event.kind == Kind.TABLE_MAP:
            number, database, table = events.table_of(event)
            self._tables[number] = (database, table)
            if self._count_rows:
                self._layouts[number] = layout(event)
        elif change := _CHANGES.get(event.kind):
            named = self._tables.get(events.rows_table(event), ("?", "?"))
            counts = transaction.changes.setdefault(named, {})
            counts[change] = counts.get(change, 0) + 1
            if self._count_rows:
                self._count(transaction.rows.setdefault(named, {}), change, event)
        elif event.kind in _QUERIES:
            statement = events.query(event)
            if not _BOUNDARY.match(statement.text):
                transaction.queries.append((statement.database, statement.text[: self._characters]))
                transaction.statements.append(transaction.queries[-1])
        elif event.kind in _COMMENTS:
            body = event.body[1:] if event.kind == Kind.ROWS_QUERY else event.body
            transaction.statements.append(("", body.decode("utf-8", "replace")[: self._characters]))

    def _count(self, counts: dict[Change, int | None], change: Change, event: Event) -> None:
        known = self._layouts.get(events.rows_table(event))
        found = None if known is None else count_rows(event, known)
        before = counts.get(change, 0)
        counts[change] = None if found is None or before is None else before + found


def _payload(event: Event, *, whole: bool = False) -> Iterator[Event]:
    """The events inside of MySQL's compressed transaction; they carry no checksums of their own."""
    body, at = event.body, 0
    fields: dict[int, int] = {}
    while (kind := body[at]) != 0:
        length, at = packed(body, at + 1)
        fields[kind], _ = packed(body, at)
        at += length
    content = body[at + 1 :]
    if fields.get(2) == 255:  # stored as it is
        yield from _headless([content], whole=whole)
        return
    reader = zstandard.ZstdDecompressor().decompressobj()
    blocks = (
        reader.decompress(content[start : start + PAYLOAD_BYTES]) for start in range(0, len(content), PAYLOAD_BYTES)
    )
    yield from _headless(blocks, whole=whole)


def _headless(blocks: Iterable[bytes], *, whole: bool) -> Iterator[Event]:
    waiting = b""
    for block in blocks:
        waiting += block
        while len(waiting) >= events.HEADER_BYTES:
            timestamp, kind, server_id, length, _, flags = events.unpack_header(waiting)
            if length < events.HEADER_BYTES or len(waiting) < length:
                break
            body = waiting[events.HEADER_BYTES : length]
            if not whole:
                body = body[: events.HEAD_BYTES]
            yield Event(kind, timestamp, server_id, 0, 0, flags, body)
            waiting = waiting[length:]


@dataclass
class LogSummary:
    """A log as a whole. Sizes in bytes; times are those of transactions, None when it has none."""

    format: Format
    bytes: int
    end: int
    before: str
    after: str
    closed: Closed
    next_log: str | None
    truncated: bool
    closed_at: datetime | None = None
    transactions: int = 0
    first_at: datetime | None = None
    last_at: datetime | None = None
    earliest_at: datetime | None = None
    latest_at: datetime | None = None
    tables: dict[tuple[str, str], dict[Change, int]] = field(default_factory=dict)
    """For each table how many events of which kind. Statements between BEGIN and COMMIT, as the statement and the mixed
    format log them, count for their default database's table ''."""
    statements: int = 0
    """Transactions that are a statement, such as those that change definitions."""

    def add(self, table: tuple[str, str], change: Change, count: int) -> None:
        """Note some events."""
        counts = self.tables.setdefault(table, {})
        counts[change] = counts.get(change, 0) + count


def summarise(read: Read, where: str, size: int) -> LogSummary:
    """Read a log to its end.

    Raises:
        IntegrityError: it is damaged.
    """
    log = Transactions(read, where)
    sums = LogSummary(log.format, size, 0, "", "", "crash", None, truncated=False)
    for found in log:
        sums.transactions += 1
        sums.first_at = sums.first_at or found.at
        sums.last_at = found.at
        sums.earliest_at = min(sums.earliest_at or found.at, found.at)
        sums.latest_at = max(sums.latest_at or found.at, found.at)
        sums.statements += found.commit_start is None
        for table, counts in found.changes.items():
            for change, count in counts.items():
                sums.add(table, change, count)
        if found.commit_start is not None:
            for database, _ in found.queries:
                sums.add((database, ""), "statement", 1)
    sums.end, sums.before, sums.after = log.end, log.before, log.after
    sums.closed, sums.next_log, sums.truncated = log.closed, log.next_log, log.truncated
    sums.closed_at = log.closed_at
    return sums
