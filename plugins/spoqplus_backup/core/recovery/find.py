"""Finds the bad transaction: which ones changed a table, read from the archived logs without downloading all of them.

Sidecars choose the logs by time, the small encrypted indexes by table; only those that are left are fetched, one at a
time, to a folder that goes afterwards.
"""

import contextlib
import fnmatch
import logging
import re
import shutil
import tempfile
from collections import deque
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from datetime import datetime
from pathlib import Path

from pydantic import ValidationError

from spoqplus_backup.core.connections import Connections
from spoqplus_backup.core.errors import IntegrityError, PermanentError, SettingsError
from spoqplus_backup.core.manifest import BinlogSegment, BinlogTables, Model
from spoqplus_backup.core.mysql.binlog_transactions import Transaction, Transactions
from spoqplus_backup.core.mysql.statements import DEFINITIONS, KINDS, Kind, Statement, parse
from spoqplus_backup.core.process import check_cancelled
from spoqplus_backup.core.progress import human_bytes
from spoqplus_backup.core.recovery.archived import ArchivedLogs, fetch_log, opened
from spoqplus_backup.core.recovery.target import read_target
from spoqplus_backup.core.repository.binlogs import Timeline
from spoqplus_backup.core.repository.opener import open_all
from spoqplus_backup.core.settings import Settings

log = logging.getLogger(__name__)

LIMIT = 20
SIDECARS_AT_ONCE = 64
STATEMENT_CHARACTERS = 1 << 16  # that a name is looked for in; shown are far fewer
SHOWN_CHARACTERS = 200

_SPACE = re.compile(r"\s+")


class Search(Model):
    """What is looked for. `tables` are `database.table` with `*` and `?`; times UTC, both ends belong to it."""

    tables: tuple[str, ...]
    kinds: tuple[Kind, ...] = ("delete", "drop", "truncate")
    since: datetime | None = None
    until: datetime | None = None
    limit: int = LIMIT
    newest_first: bool = True

    def matches(self, database: str, table: str) -> bool:
        """Whether a table is one of those."""
        name = f"{database}.{table}"
        return any(name == pattern or fnmatch.fnmatchcase(name, pattern) for pattern in self.tables)

    def matches_database(self, database: str) -> bool:
        """Whether a database has one of those."""
        patterns = (pattern.partition(".")[0] for pattern in self.tables)
        return any(database == pattern or fnmatch.fnmatchcase(database, pattern) for pattern in patterns)

    def wants(self, kind: str) -> bool:
        """Whether statements of this kind are looked for."""
        return kind in self.kinds or ("ddl" in self.kinds and kind in DEFINITIONS)

    def holds(self, at: datetime) -> bool:
        """Whether a time is in the stretch."""
        return (self.since is None or at >= self.since) and (self.until is None or at <= self.until)


class Found(Model):
    """What a transaction did to a table. `rows` is None for statements, and for a type that can't be counted."""

    kind: str
    table: str
    rows: int | None


class Candidate(Model):
    """A transaction that was looked for. `place` and `gtid` are what `before_gtid` takes."""

    at: datetime
    gtid: str | None
    place: str
    found: tuple[Found, ...]
    statement: str

    @property
    def point(self) -> str:
        """What to write as `before_gtid`."""
        return self.gtid or self.place


@dataclass
class Effort:
    """How much was looked at: logs with a sidecar in the stretch, and those that had to be read."""

    logs: int = 0
    read: int = 0
    fetched_bytes: int = 0
    read_bytes: int = 0
    transactions: int = 0


def read_search(
    tables: Sequence[str],
    kinds: Sequence[str],
    since: str | None,
    until: str | None,
    zone: str,
    limit: int = LIMIT,
    *,
    newest_first: bool = True,
) -> Search:
    """Check what a person asks for.

    Raises:
        SettingsError: a table, a kind or a time can't be read.
    """
    for table in tables:
        if not re.fullmatch(r"[^.]+\..+", table, re.DOTALL):
            raise SettingsError(
                f"The table {table!r} can't be looked for: write database.table; * and ? stand for any."
            )
    if unknown := [kind for kind in kinds if kind not in KINDS]:
        raise SettingsError(f"The kind {unknown[0]!r} can't be looked for: choose of {', '.join(KINDS)}.")
    if limit < 1:
        raise SettingsError(f"The limit {limit} finds nothing: write 1 or more.")
    times = [None if text is None else read_target("to_time", text, zone).time for text in (since, until)]
    return Search.model_validate(
        {
            "tables": tuple(tables),
            **({"kinds": tuple(kinds)} if kinds else {}),
            "since": times[0],
            "until": times[1],
            "limit": limit,
            "newest_first": newest_first,
        }
    )


def find(logs: ArchivedLogs, search: Search, effort: Effort) -> Iterator[Candidate]:
    """The transactions that are looked for, as they are found, at most `search.limit`.

    Args:
        logs: of one repository.
        search: what is looked for.
        effort: is filled in on the way.

    Raises:
        IntegrityError: a sidecar, an index or a log can't be trusted.
    """
    staging = logs.settings.staging.directory / "find"
    staging.mkdir(parents=True, exist_ok=True)
    left = search.limit
    with _folder(staging) as directory:
        for segment in _in_stretch(logs, search):
            check_cancelled()
            effort.logs += 1
            if not _may_hold(logs, segment, search, directory, effort):
                continue
            for candidate in _read(logs, segment, search, left, directory, effort):
                yield candidate
                left -= 1
            if left <= 0:
                return


def find_in_first(
    settings: Settings, connections: Connections, repository: str | None, search: Search, effort: Effort
) -> Iterator[Candidate]:
    """`find` in the repository of that name, or in the first one that has logs.

    Raises:
        PermanentError: none has any.
    """
    opened_ones = open_all(settings, connections)
    for one in opened_ones:
        if repository not in (None, one.name):
            continue
        logs = ArchivedLogs(settings, connections, one)
        if logs.timelines():
            yield from find(logs, search, effort)
            return
    names = ", ".join(one.name for one in opened_ones if repository in (None, one.name))
    raise PermanentError(f"No binary log is archived in {names}: nothing can be found there.")


@contextlib.contextmanager
def _folder(parent: Path) -> Iterator[Path]:
    directory = Path(tempfile.mkdtemp(dir=parent))
    try:
        yield directory
    finally:
        shutil.rmtree(directory, ignore_errors=True)


def _in_stretch(logs: ArchivedLogs, search: Search) -> Iterator[BinlogSegment]:
    """The logs that have transactions in the stretch of time, in the order that is asked for."""
    found = _newest_first(logs, search)
    if search.newest_first:
        yield from found
    else:
        yield from reversed(list(found))


def _newest_first(logs: ArchivedLogs, search: Search) -> Iterator[BinlogSegment]:
    timelines = logs.timelines()
    for timeline in sorted(timelines, key=lambda one: _begun(logs, one), reverse=True):
        names = logs.names(timeline)
        for end in range(len(names), 0, -SIDECARS_AT_ONCE):
            loaded = logs.load(timeline, names[max(0, end - SIDECARS_AT_ONCE) : end])
            for segment, _ in reversed(loaded):
                # Later than its archiving nothing in a log can have happened, whatever its server's clock said.
                if search.since is not None and segment.archived_at < search.since:
                    break
                if _overlaps(segment, search):
                    yield segment
            else:
                continue
            break


def _begun(logs: ArchivedLogs, timeline: Timeline) -> tuple[bool, float]:
    names = logs.names(timeline)
    return (bool(names), logs.segment(timeline, names[0]).archived_at.timestamp() if names else 0.0)


def _overlaps(segment: BinlogSegment, search: Search) -> bool:
    if segment.earliest_at is None or segment.latest_at is None:
        return False
    return (search.since is None or segment.latest_at >= search.since) and (
        search.until is None or segment.earliest_at <= search.until
    )


def _may_hold(logs: ArchivedLogs, segment: BinlogSegment, search: Search, directory: Path, effort: Effort) -> bool:
    """Whether a log's index says that it is about one of the tables, or has statements that may be."""
    index = _index(logs, segment, directory)
    effort.fetched_bytes += segment.index.stored_bytes
    if index.statements and any(search.wants(kind) for kind in DEFINITIONS):
        return True
    for database, table, counts in index.tables:
        if "statement" in counts or (
            search.matches(database, table) and any(search.wants(change) for change in counts)
        ):
            return True
    return False


def _index(logs: ArchivedLogs, segment: BinlogSegment, directory: Path) -> BinlogTables:
    part = segment.index
    path = directory / part.name
    logs.repository.get(f"{segment.folder}/{part.name}", path, part.sha256, part.stored_bytes)
    with opened(path, logs.scheme(segment)) as file:
        content = file.read()
    path.unlink()
    try:
        return BinlogTables.model_validate_json(content)
    except ValidationError as error:
        raise IntegrityError(
            f"{logs.repository.url}/{segment.folder}/{part.name} can't be read ({error.error_count()} faults)."
        ) from error


def _read(
    logs: ArchivedLogs, segment: BinlogSegment, search: Search, left: int, directory: Path, effort: Effort
) -> Iterator[Candidate]:
    path = fetch_log(logs.repository, segment, directory)
    effort.read += 1
    effort.fetched_bytes += segment.log.stored_bytes
    effort.read_bytes += segment.log.raw_bytes
    effort.transactions += segment.transactions
    log.info("Reading %s (%s)", segment.key, human_bytes(segment.log.raw_bytes))
    where = f"{logs.repository.url}/{segment.key}"
    with opened(path, logs.scheme(segment)) as file:
        transactions = Transactions(file.read, where, count_rows=True, characters=STATEMENT_CHARACTERS)
        found = _matching(transactions, segment, search)
        if search.newest_first:
            yield from reversed(deque(found, maxlen=left))
        else:
            for _, candidate in zip(range(left), found, strict=False):
                yield candidate
    path.unlink()


def _matching(transactions: Transactions, segment: BinlogSegment, search: Search) -> Iterator[Candidate]:
    for transaction in transactions:
        check_cancelled()
        if not search.holds(transaction.at):
            continue
        rows = list(_rows(transaction, search))
        statements = list(_statements(transaction, search))
        found = (*rows, *(one for one, _ in statements))
        if found:
            yield Candidate(
                at=transaction.at,
                gtid=str(transaction.gtid) if transaction.gtid else None,
                place=f"{segment.name}:{transaction.start}",
                found=found,
                statement=_words(transaction, found, statements),
            )


def _rows(transaction: Transaction, search: Search) -> Iterator[Found]:
    for (database, table), counts in transaction.rows.items():
        if search.matches(database, table):
            for change, rows in counts.items():
                if search.wants(change):
                    yield Found(kind=change, table=f"{database}.{table}", rows=rows)


def _statements(transaction: Transaction, search: Search) -> Iterator[tuple[Found, str]]:
    for database, text in transaction.queries:
        statement = parse(database, text)
        if search.wants(statement.kind):
            for name in _named(statement, search):
                yield Found(kind=statement.kind, table=name, rows=None), text


def _named(statement: Statement, search: Search) -> list[str]:
    tables = [".".join(name) for name in statement.tables if search.matches(*name)]
    if statement.kind != "drop":  # what else is done to a database is not done to its tables
        return tables
    return tables + [f"{database}.*" for database in statement.databases if search.matches_database(database)]


def _words(transaction: Transaction, found: Sequence[Found], statements: Sequence[tuple[Found, str]]) -> str:
    """The statement that did it, as the log has it; else a summary."""
    texts = [text for _, text in statements] or _remarks(transaction, {(one.kind, one.table) for one in found})
    if not texts:
        return ", ".join(f"{one.kind.upper()} {one.table} ({_amount(one.rows)})" for one in found)
    text = _SPACE.sub(" ", texts[0]).strip()
    return text if len(text) <= SHOWN_CHARACTERS else f"{text[: SHOWN_CHARACTERS - 3]}..."


def _remarks(transaction: Transaction, found: set[tuple[str, str]]) -> list[str]:
    """The statements that made rows, those first that name a table that was found; remarks don't say their database."""
    wanted = {(kind, table.partition(".")[2]) for kind, table in found}

    def is_about_it(text: str) -> bool:
        statement = parse("", text)
        return any((statement.kind, table) in wanted for _, table in statement.tables)

    return sorted((text for _, text in transaction.statements), key=is_about_it, reverse=True)


def _amount(rows: int | None) -> str:
    if rows is None:
        return "rows not counted"
    return f"{rows:,} row" if rows == 1 else f"{rows:,} rows"
