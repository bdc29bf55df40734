"""What a server holds at one exact place of its binary log, and what differs from that elsewhere.

    <directory>/fingerprint.json           place, totals of each table, hashes of definitions; written last
                <number>.rows.zst          of one table: a line for each row, its hash and its key; mode 600
                <number>.json              the table's totals and the place they are of; written behind its rows

A try that was interrupted has lost its snapshot. The next one begins with a new snapshot, at a later place, and keeps
the tables that no transaction between the two places changed.
"""

import contextlib
import hashlib
import json
import logging
import os
import re
import time
from collections.abc import Callable, Collection, Iterator, Sequence
from dataclasses import dataclass, field
from datetime import datetime
from pathlib import Path
from typing import Any

import zstandard

from spoqplus_backup.core.connections import DatabaseLogin
from spoqplus_backup.core.errors import BackupError, PermanentError
from spoqplus_backup.core.manifest import Flavour, Model
from spoqplus_backup.core.mysql import accounts, binlog, server
from spoqplus_backup.core.mysql.replay_marker import SCHEMA
from spoqplus_backup.core.mysql.row_hash import HASH_DIGITS, SESSION, TableShape, hashed_rows, shape
from spoqplus_backup.core.mysql.server import Connection, quoted
from spoqplus_backup.core.process import check_cancelled
from spoqplus_backup.core.progress import human_seconds
from spoqplus_backup.core.staging import read_json, write_json

log = logging.getLogger(__name__)

RECORD = "fingerprint.json"
NO_SUCH_ROUTINE = 1305  # ER_SP_DOES_NOT_EXIST
LOCK_SECONDS = 20
SAMPLES = 5
LOOK_EVERY_ROWS = 2000
HELD_ROWS = 100_000  # of either side wait for their partner on the other
LOG_SECONDS = 10.0
_SUM = 1 << (4 * HASH_DIGITS)
# What says nothing of a table: the number of its next row, and a character set that its collation names anyway.
_NOISE = re.compile(r" AUTO_INCREMENT=\d+| CHARACTER SET \w+(?= COLLATE )")


class Place(Model):
    """A place in the binary log between two transactions. `at` is the server's clock, UTC."""

    log: str
    position: int
    gtid: str | None
    at: datetime


class TableTotals(Model):
    """Rows of a table, and the sum of their hashes: the same for the same rows in any order."""

    database: str
    name: str
    rows: int
    checksum: str
    key: tuple[str, ...]
    file: str | None
    """Name of the file of its rows; None of a table without a primary key."""

    @property
    def full_name(self) -> str:
        """`database.table`."""
        return f"{self.database}.{self.name}"


class Fingerprint(Model):
    """A server at one place. `definitions` are SHA-256 by `kind database.name`."""

    flavour: Flavour
    version: str
    place: Place
    tables: tuple[TableTotals, ...]
    definitions: dict[str, str]
    accounts: dict[str, str] | None = None
    """SHA-256 of how each account is made and what it may do; None: this login may not read that."""
    seconds: float
    kept: int = 0
    """Tables that an earlier try had read already."""
    measured: dict[str, Any] = {}
    """What else was asked in the snapshot."""

    @property
    def databases(self) -> tuple[str, ...]:
        """All that were looked at."""
        kinds = (name.partition(" ") for name in self.definitions)
        return tuple(sorted(name for kind, _, name in kinds if kind == "database"))

    @property
    def rows(self) -> int:
        """Of all tables."""
        return sum(table.rows for table in self.tables)


class _Read(Model):
    """The totals of one table and the place that they are of."""

    place: Place
    totals: TableTotals


@dataclass
class Pace:
    """How much of the time a server is asked, and for how long at most.

    Args:
        load: share of the time that is spent with reading, above 0 and up to 1.
        seconds: after which the whole is given up.
    """

    load: float = 1.0
    seconds: float = 3600.0
    started: float = field(default_factory=time.monotonic)
    _last: float = field(default_factory=time.monotonic)

    def rest(self, where: str) -> None:
        """Rest as long as `load` asks for since the last call.

        Raises:
            BackupError: the time is over.
        """
        check_cancelled()
        worked = time.monotonic() - self._last
        time.sleep(worked * (1 - self.load) / self.load)
        self._last = time.monotonic()
        if self._last - self.started > self.seconds:
            raise BackupError(
                f"Reading {where} was ended: all tables have to be read within {human_seconds(self.seconds)}. The "
                "next try keeps what this one has read and nobody changed. Give it more time or a greater load "
                "(`recovery_test.fingerprint`)."
            )


Measure = Callable[[Connection], dict[str, Any]]
ChangedSince = Callable[[Connection, Place, Place], Collection[tuple[str, str]] | None]


def take(
    login: DatabaseLogin,
    directory: Path,
    databases: Sequence[str],
    pace: Pace,
    changed_since: ChangedSince,
    *,
    lock_ddl: bool,
    measure: Measure | None = None,
) -> Fingerprint:
    """Read every table in one snapshot; nothing is written to the server.

    Args:
        login: with SELECT on everything, RELOAD, and what reads definitions.
        directory: of this fingerprint alone; what an interrupted try left there is used again.
        databases: empty for all.
        pace: how fast.
        changed_since: the tables (`database, ""` for all of a database) that were changed between two places of the
            binary log; None when that is not known.
        lock_ddl: hold off statements that change definitions while these are read.
        measure: asks more, in the same snapshot.

    Raises:
        BackupError: the server can't be asked, a table was altered meanwhile, or the time is over. Try again.
    """
    if content := read_json(directory / RECORD):
        return Fingerprint.model_validate(content)
    directory.mkdir(parents=True, exist_ok=True, mode=0o700)
    with server.connect(login) as connection:
        facts = server.facts(connection)
        names = tuple(databases) or server.databases(connection)
        lock = server.definitions_locked(login, facts.flavour, LOCK_SECONDS) if lock_ddl else contextlib.nullcontext()
        with lock:
            place = _begin(connection, facts.flavour)
            tables = [
                shape(connection, item.database, item.name)
                for item in server.objects(connection, names)
                if item.kind == "table"
            ]
            definitions = definitions_of(connection, facts, names)
            logins = accounts_of(connection, facts)
        measured = measure(connection) if measure else {}
        kept = _kept(connection, directory, place, changed_since)
        totals = [
            kept.get((table.database, table.name)) or _read(connection, directory, number, table, place, pace)
            for number, table in enumerate(tables, 1)
        ]
    found = Fingerprint(
        flavour=facts.flavour,
        version=facts.version_text,
        place=place,
        tables=tuple(totals),
        definitions=definitions,
        accounts=logins,
        seconds=time.monotonic() - pace.started,
        kept=len(kept),
        measured=measured,
    )
    write_json(directory / RECORD, found)
    return found


def _begin(connection: Connection, flavour: Flavour) -> Place:
    """Open a snapshot of which the place in the binary log is known: for that moment no transaction can commit."""
    for statement in SESSION:
        connection.rows(statement)
    connection.rows("SET SESSION lock_wait_timeout = %s", (LOCK_SECONDS,))
    connection.rows("SET SESSION TRANSACTION ISOLATION LEVEL REPEATABLE READ")
    connection.rows("FLUSH TABLES WITH READ LOCK")
    try:
        connection.rows("START TRANSACTION WITH CONSISTENT SNAPSHOT")
        name, position = _end_of_logs(connection, flavour)
        gtid = connection.value("SELECT @@GLOBAL." + ("gtid_executed" if flavour == "mysql" else "gtid_binlog_pos"))
        return Place(log=name, position=position, gtid=str(gtid or "") or None, at=binlog.clock(connection))
    finally:
        connection.rows("UNLOCK TABLES")


def _end_of_logs(connection: Connection, flavour: Flavour) -> tuple[str, int]:
    """Behind the last transaction: of a log that holds none yet, the end of the one before it."""
    name, position = binlog.position(connection, flavour)
    earlier = [log for log in binlog.logs(connection) if log.name < name]
    if earlier and binlog.is_empty(connection, name):
        return earlier[-1].name, earlier[-1].bytes
    return name, position


def _kept(
    connection: Connection, directory: Path, place: Place, changed_since: ChangedSince
) -> dict[tuple[str, str], TableTotals]:
    found = [_Read.model_validate(read_json(path)) for path in sorted(directory.glob("[0-9]*.json"))]
    kept = {}
    for before in {item.place.model_dump_json(): item.place for item in found}.values():
        changed = changed_since(connection, before, place)
        for item in (item for item in found if item.place == before and changed is not None):
            name = (item.totals.database, item.totals.name)
            if name not in (changed or ()) and (name[0], "") not in (changed or ()):
                kept[name] = item.totals
    if found:
        log.info("An earlier try read %s tables, %s of them are still the same", len(found), len(kept))
    return kept


def _read(
    connection: Connection, directory: Path, number: int, table: TableShape, place: Place, pace: Pace
) -> TableTotals:
    stem = _free_stem(directory, number)
    name = f"{table.database}.{table.name}"
    count, total, said = 0, 0, time.monotonic()
    with _rows_file(directory / f"{stem}.rows.zst" if table.key else None) as write:
        for digest, key in hashed_rows(connection, table):
            count += 1
            total += int(digest, 16)
            write(digest, key)
            if count % LOOK_EVERY_ROWS == 0:
                pace.rest(name)
                if time.monotonic() - said > LOG_SECONDS:
                    said = time.monotonic()
                    log.info("fingerprint: %s: %s rows so far", name, count)
    pace.rest(name)
    totals = TableTotals(
        database=table.database,
        name=table.name,
        rows=count,
        checksum=_checksum(total),
        key=table.key,
        file=f"{stem}.rows.zst" if table.key else None,
    )
    write_json(directory / f"{stem}.json", _Read(place=place, totals=totals))
    return totals


def _free_stem(directory: Path, number: int) -> str:
    """A file name that no table of an earlier try has."""
    stem, attempt = f"{number:06d}", 0
    while (directory / f"{stem}.json").exists():
        attempt += 1
        stem = f"{number:06d}-{attempt}"
    return stem


def _checksum(total: int) -> str:
    return f"{total % _SUM:0{HASH_DIGITS}x}"


@contextlib.contextmanager
def _rows_file(path: Path | None) -> Iterator[Callable[[str, tuple[str, ...]], object]]:
    if path is None:
        yield lambda digest, key: None
        return
    descriptor = os.open(path, os.O_WRONLY | os.O_CREAT | os.O_TRUNC, 0o600)
    with os.fdopen(descriptor, "wb") as raw, zstandard.ZstdCompressor().stream_writer(raw, closefd=False) as packed:
        yield lambda digest, key: packed.write(f"{digest} {json.dumps(key, ensure_ascii=False)}\n".encode())


def _rows_of(path: Path) -> Iterator[tuple[str, str]]:
    with path.open("rb") as raw, zstandard.open(raw, "rt", encoding="utf-8", newline="\n") as lines:
        for line in lines:
            digest, _, key = line.rstrip("\n").partition(" ")
            yield digest, key


# ---- definitions ---------------------------------------------------------------------------------------------------

_SHOWN = {  # what SHOW CREATE calls them, and which of its columns are the definition
    "table": ("TABLE", slice(1, 2)),
    "view": ("VIEW", slice(1, 4)),
    "trigger": ("TRIGGER", slice(1, 6)),
    "function": ("FUNCTION", slice(1, 6)),
    "procedure": ("PROCEDURE", slice(1, 6)),
    "event": ("EVENT", slice(1, 7)),
    "sequence": ("SEQUENCE", slice(1, 2)),
    "package": ("PACKAGE", slice(1, 6)),
    "library": ("LIBRARY", slice(1, 3)),
}


def definitions_of(connection: Connection, facts: server.ServerFacts, databases: Sequence[str]) -> dict[str, str]:
    """SHA-256 of what SHOW CREATE says of each object, by `kind database.name`; counters for new rows do not count.

    Raises:
        BackupError: this login may not see a definition.
    """
    found = {}
    for item in server.objects(connection, databases):
        found[f"{item.kind} {item.database}.{item.name}"] = _shown(connection, item.kind, item.database, item.name)
    for database in databases:
        rows = connection.rows(f"SHOW CREATE DATABASE {quoted(database)}")
        found[f"database {database}"] = _digest(rows[0][1:])
    return found


def accounts_of(connection: Connection, facts: server.ServerFacts) -> dict[str, str] | None:
    """SHA-256 of each account's definition and grants; None when this login may not read the schema `mysql`."""
    try:
        return {name: _digest([text]) for name, text in accounts.definitions(connection, facts).items()}
    except server.StatementError as error:
        log.warning("Accounts are not compared: %s", error)
        return None


def _shown(connection: Connection, kind: str, database: str, name: str) -> str:
    words, columns = _SHOWN[kind]
    place = f"{quoted(database)}.{quoted(name)}"
    shown = connection.rows(f"SHOW CREATE {words} {place}")
    if kind == "package":
        try:
            shown += connection.rows(f"SHOW CREATE PACKAGE BODY {place}")
        except server.StatementError as error:
            if error.code != NO_SUCH_ROUTINE:  # a package may have no body
                raise
    parts = [part for row in shown for part in row[columns]]
    if not parts or any(part is None for part in parts):
        raise PermanentError(
            f"The server does not show the definition of the {kind} {database}.{name} to {connection.login.user}: "
            "grant it SHOW_ROUTINE, TRIGGER, EVENT and SHOW VIEW."
        )
    return _digest(parts)


def _digest(parts: Sequence[object]) -> str:
    text = "\0".join(part.decode("utf-8", "replace") if isinstance(part, bytes) else str(part) for part in parts)
    return hashlib.sha256(_NOISE.sub("", text).encode("utf-8", "surrogateescape")).hexdigest()


# ---- what differs --------------------------------------------------------------------------------------------------


class TableMismatch(Model):
    """A table that is not the same. Keys are of the first rows that differ, as JSON lists."""

    table: str
    expected_rows: int
    found_rows: int | None
    """None: there is no such table."""
    missing: tuple[str, ...] = ()
    unexpected: tuple[str, ...] = ()
    changed: tuple[str, ...] = ()


class Mismatch(Model):
    """All that differs from a fingerprint. `definitions` are names, each with `changed`, `missing` or `unexpected`."""

    tables: tuple[TableMismatch, ...]
    definitions: dict[str, str]
    rows: int
    """Rows that were compared."""

    @property
    def same(self) -> bool:
        """Whether nothing differs."""
        return not self.tables and not self.definitions


def compare(
    expected: Fingerprint,
    directory: Path,
    login: DatabaseLogin,
    databases: Sequence[str] = (),
    *,
    with_accounts: bool = False,
) -> Mismatch:
    """Read every table of another server and tell what differs from a fingerprint.

    Args:
        expected: what should be there.
        directory: where the fingerprint lies, with its files of rows.
        login: the other server, of the same vendor and version.
        databases: those to look at; empty for all but the replay's own, so that one too many is seen.
        with_accounts: compare accounts, too, but for the one that `login` is.

    Raises:
        BackupError: the server can't be asked.
    """
    with server.connect(login) as connection:
        for statement in SESSION:
            connection.rows(statement)
        facts = server.facts(connection)
        there_are = server.databases(connection)
        names = [name for name in there_are if (name in databases if databases else name != SCHEMA)]
        definitions = definitions_of(connection, facts, names)
        differ = dict(_different(expected.definitions, definitions))
        if with_accounts and expected.accounts is not None:
            differ |= _different(expected.accounts, accounts_of(connection, facts) or {})
            differ.pop(f"account '{login.user}'@'localhost'", None)
        there = {(item.database, item.name) for item in server.objects(connection, names) if item.kind == "table"}
        tables = [_mismatch(connection, directory, table, there) for table in expected.tables]
        known = {(table.database, table.name) for table in expected.tables}
        for database, name in sorted(there - known):
            count = server.count_rows(connection, database, name)
            tables.append(TableMismatch(table=f"{database}.{name}", expected_rows=0, found_rows=count))
    return Mismatch(
        tables=tuple(table for table in tables if table is not None),
        definitions=differ,
        rows=expected.rows,
    )


def _different(expected: dict[str, str], found: dict[str, str]) -> Iterator[tuple[str, str]]:
    for name in sorted(expected.keys() | found.keys()):
        if name not in found:
            yield name, "missing"
        elif name not in expected:
            yield name, "unexpected"
        elif expected[name] != found[name]:
            yield name, "changed"


def _mismatch(
    connection: Connection, directory: Path, table: TableTotals, there: Collection[tuple[str, str]]
) -> TableMismatch | None:
    if (table.database, table.name) not in there:
        return TableMismatch(table=table.full_name, expected_rows=table.rows, found_rows=None)
    pairs = _Pairs(_rows_of(directory / table.file) if table.file else iter(()))
    count = total = 0
    for digest, key in hashed_rows(connection, shape(connection, table.database, table.name)):
        count += 1
        total += int(digest, 16)
        if table.file:
            pairs.add(digest, json.dumps(key, ensure_ascii=False))
        if count % LOOK_EVERY_ROWS == 0:
            check_cancelled()
    pairs.finish()
    if (count, _checksum(total)) == (table.rows, table.checksum):
        return None
    return TableMismatch(
        table=table.full_name,
        expected_rows=table.rows,
        found_rows=count,
        missing=tuple(pairs.missing),
        unexpected=tuple(pairs.unexpected),
        changed=tuple(pairs.changed),
    )


class _Pairs:
    """Pairs rows of two sides that come in the same order, each maybe with some that the other lacks."""

    def __init__(self, expected: Iterator[tuple[str, str]]) -> None:
        self.missing: list[str] = []
        self.unexpected: list[str] = []
        self.changed: list[str] = []
        self._expected = expected
        self._ours: dict[str, str] = {}  # key to hash, of expected rows that have no partner yet
        self._theirs: dict[str, str] = {}

    def add(self, digest: str, key: str) -> None:
        """Take the next row that was found, and the next that was expected."""
        self._pair(self._ours, self._theirs, key, digest)
        self._next()
        _drop_oldest(self._theirs, self.unexpected)
        _drop_oldest(self._ours, self.missing)

    def finish(self) -> None:
        """Take what is left: rows without a partner are missing or unexpected."""
        while self._next():
            _drop_oldest(self._ours, self.missing)
        self.missing += list(self._ours)[: SAMPLES - len(self.missing)]
        self.unexpected += list(self._theirs)[: SAMPLES - len(self.unexpected)]

    def _next(self) -> bool:
        row = next(self._expected, None)
        if row is not None:
            self._pair(self._theirs, self._ours, row[1], row[0])
        return row is not None

    def _pair(self, others: dict[str, str], own: dict[str, str], key: str, digest: str) -> None:
        other = others.pop(key, None)
        if other is None:
            own[key] = digest
        elif other != digest and len(self.changed) < SAMPLES:
            self.changed.append(key)


def _drop_oldest(waiting: dict[str, str], samples: list[str]) -> None:
    while len(waiting) > HELD_ROWS:
        key = next(iter(waiting))
        del waiting[key]
        if len(samples) < SAMPLES:
            samples.append(key)
