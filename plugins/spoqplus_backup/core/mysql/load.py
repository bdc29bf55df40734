"""Brings a dump's parts back into a server: structure, rows on several connections, then programs and views.

The vendor's own `mysql` client executes definitions; each call gets the header of the dump first, so that its session
is the one that the dump was made for. Rows go over connections of our own (`rows.py`), piece by piece, a piece being
what one part holds of them, so that one big table is loaded on all of them; big tables get their secondary keys behind
their rows (`deferred.py`). What was loaded wholly is written down; a load that is started again makes the other tables
anew.
"""

import contextlib
import logging
import os
import threading
from collections import Counter
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence, Set
from dataclasses import dataclass
from itertools import groupby
from operator import itemgetter
from pathlib import Path
from queue import SimpleQueue

from spoqplus_backup.core.connections import DatabaseLogin
from spoqplus_backup.core.crypto import Scheme
from spoqplus_backup.core.errors import IntegrityError
from spoqplus_backup.core.manifest import Index, Segment, SegmentKind
from spoqplus_backup.core.mysql import client, server
from spoqplus_backup.core.mysql.deferred import DeferredKeys, is_referenced, references, take_away, without_keys
from spoqplus_backup.core.mysql.event_statements import hold_dumped
from spoqplus_backup.core.mysql.rows import RowSession
from spoqplus_backup.core.process import Child, ProcessError
from spoqplus_backup.core.progress import Progress
from spoqplus_backup.core.sealed import Unsealed, unsealed
from spoqplus_backup.core.stages import in_parallel
from spoqplus_backup.core.staging import write_all

log = logging.getLogger(__name__)

BLOCK_BYTES = 1 << 18
DEFER_BYTES = 16 << 20  # of SQL: a smaller table is not worth three changes of its definition
PROGRAM_KINDS: tuple[SegmentKind, ...] = ("routines", "views", "triggers", "events")

Table = tuple[str, str]


@dataclass(frozen=True)
class Target:
    """Where to load to, and how.

    `into_schema` takes the place of the dump's own database; `binary_log` says whether the target's binary log gets
    what is loaded (replicas need it; it makes the load slower). `hold_events`: scheduled events do not run yet
    (`held_events` names them).
    """

    login: DatabaseLogin
    program: client.Program
    connections: int
    binary_log: bool
    into_schema: str | None = None
    hold_events: bool = False


@dataclass(frozen=True)
class Source:
    """An encrypted dump on this machine: its parts in order, what lies where, how to open it."""

    parts: Sequence[Path]
    index: Index
    scheme: Scheme
    database: str | None
    """The database of tables that were dumped without naming one."""


@dataclass(frozen=True)
class Piece:
    """Segments of one part that are executed in one session, in order."""

    part: int
    segments: tuple[Segment, ...]

    @property
    def length(self) -> int:
        """Bytes of SQL."""
        return sum(segment.length for segment in self.segments)


class Journal:
    """Which tables are loaded wholly: a file that is added to, so that a retry leaves them alone."""

    def __init__(self, path: Path) -> None:
        self._path = path
        self._lock = threading.Lock()
        self.loaded: set[str] = set(path.read_text().splitlines()) if path.exists() else set()

    def __contains__(self, key: str) -> bool:
        return key in self.loaded

    def add(self, key: str) -> None:
        """Write one down; it is on disk when this returns."""
        with self._lock, self._path.open("a") as file:
            file.write(key + "\n")
            file.flush()
            os.fsync(file.fileno())
            self.loaded.add(key)


def load(source: Source, target: Target, journal: Journal, tables: frozenset[Table] | None = None) -> int:
    """Load a dump, or some of its tables; returns the bytes of SQL that were executed.

    Args:
        source: the dump; every object of it has been proved already.
        target: the server.
        journal: what an earlier try has finished.
        tables: only these (as the dump names them); everything when None.

    Raises:
        ProcessError, StatementError: the server refused a statement; its own words are in the message.
    """
    wanted = _wanted(source, tables, journal, rows_only=target.into_schema is not None)
    loader = _Loader(source, target, Progress("load", sum(segment.length for segment in wanted)))
    loader.databases(wanted, everything=tables is None)
    loader.in_order([segment for segment in wanted if segment.kind == "structure"])
    loader.rows([segment for segment in wanted if segment.kind == "rows"], journal)
    loader.drop_triggers({(str(segment.database), segment.table) for segment in wanted if segment.kind == "triggers"})
    for kind in PROGRAM_KINDS:
        loader.in_order([segment for segment in wanted if segment.kind == kind])
    loader.progress.finish()
    return loader.progress.done


def _key(segment: Segment) -> str:
    return journal_key(segment.database, segment.table)


def journal_key(database: str | None, table: str | None) -> str:
    """A table in the journal."""
    return f"{database}\t{table}".encode("unicode_escape").decode()


def held_events(source: Source) -> list[Table]:
    """Database and name of the scheduled events that a dump makes and that would run."""
    return [
        (str(segment.database), name)
        for segment in _segments(source)
        if segment.kind == "events"
        for name in hold_dumped(_bytes(source, segment))[1]
    ]


def _segments(source: Source) -> Iterator[Segment]:
    """What the dump holds, each with its database."""
    for found in source.index.segments:
        yield found if found.database else found.model_copy(update={"database": source.database})


def _wanted(source: Source, tables: frozenset[Table] | None, journal: Journal, *, rows_only: bool) -> list[Segment]:
    chosen = []
    for segment in _segments(source):
        if segment.kind in ("header", "footer"):
            continue
        if segment.kind in ("structure", "rows") and _key(segment) in journal:
            continue
        if rows_only and segment.kind not in ("structure", "rows"):
            continue
        if tables is not None and (str(segment.database), str(segment.table)) not in tables:
            continue
        chosen.append(segment)
    return chosen


class _Loader:
    def __init__(self, source: Source, target: Target, progress: Progress) -> None:
        self._source = source
        self._target = target
        self.progress = progress
        self._header = segment_bytes(source, "header")

    def databases(self, wanted: Sequence[Segment], *, everything: bool) -> None:
        """Make the databases that are missing, as the dump has them; a piece of a dump only needs them to be there."""
        if self._target.into_schema is not None:
            self._statement(f"CREATE DATABASE IF NOT EXISTS {server.quoted(self._target.into_schema)}")
        elif everything and self._source.index.databases and self._source.database is None:
            creating = [segment for segment in wanted if segment.kind == "database"]
            self._execute([Piece(segment.part, (segment,)) for segment in creating], use=False)
        else:
            for name in sorted({str(segment.database) for segment in wanted if segment.database}):
                self._statement(f"CREATE DATABASE IF NOT EXISTS {server.quoted(name)}")

    def in_order(self, segments: Sequence[Segment]) -> None:
        """Execute segments one after the other in one session."""
        pieces = _pieces(segments)
        if pieces:
            self._execute(pieces)

    def rows(self, segments: Sequence[Segment], journal: Journal) -> None:
        """Execute pieces of rows on all connections; a table is done when all of its pieces are, and its keys are back.

        Tables whose keys come later go first, the biggest at the front, one after the other: while the keys of one
        are made, the rows of the next are loaded.
        """
        left = Counter(_key(segment) for segment in segments)
        pieces = _pieces(segments)
        lock = threading.Lock()
        with self._row_sessions(min(self._target.connections, len(pieces))) as sessions:
            deferred = self._defer_keys(segments, sessions)
            rank = {key: number for number, key in enumerate(deferred)}

            def work(piece: Piece) -> None:
                session = sessions.get()
                try:
                    self._insert(session, piece)
                    with lock:
                        left.subtract(keys := [_key(segment) for segment in piece.segments])
                        whole = [key for key in dict.fromkeys(keys) if not left[key]]
                    for key in whole:
                        if key in deferred:
                            deferred[key].restore(session)
                        journal.add(key)
                finally:
                    sessions.put(session)

            def turn(piece: Piece) -> tuple[int, int]:
                return min(rank.get(_key(segment), len(rank)) for segment in piece.segments), -piece.length

            in_parallel(work, sorted(pieces, key=turn), self._target.connections)

    @contextlib.contextmanager
    def _row_sessions(self, count: int) -> Iterator["SimpleQueue[RowSession]"]:
        sessions: SimpleQueue[RowSession] = SimpleQueue()
        target = self._target
        try:
            for _ in range(count):
                sessions.put(RowSession(target.login, target.program.flavour, binary_log=target.binary_log))
            yield sessions
        finally:
            while not sessions.empty():
                sessions.get().close()

    def _defer_keys(
        self, segments: Sequence[Segment], sessions: "SimpleQueue[RowSession]"
    ) -> Mapping[str, DeferredKeys]:
        """Take the secondary keys from big tables, which are empty now; by table, the biggest first."""
        sizes: Counter[tuple[str, str]] = Counter()
        for segment in segments:
            sizes[str(segment.database), str(segment.table)] += segment.length
        big = [(table, size) for table, size in sizes.most_common() if size >= DEFER_BYTES]
        deferred: dict[str, DeferredKeys] = {}
        if not big:
            return deferred
        session = sessions.get()
        try:
            found = references(session)
            for (database, table), _ in big:
                keys = without_keys(session, self._target.into_schema or database, table)
                if keys is None or is_referenced(keys, found):
                    continue
                if take_away(session, keys):
                    deferred[journal_key(database, table)] = keys
                else:
                    self._make_anew(database, table)
        finally:
            sessions.put(session)
        return deferred

    def _make_anew(self, database: str, table: str) -> None:
        found = _segments(self._source)
        self.in_order([s for s in found if s.kind == "structure" and (s.database, s.table) == (database, table)])

    def _insert(self, session: RowSession, piece: Piece) -> None:
        for segment, chunks in groupby(_chunks(self._source, piece), key=itemgetter(0)):
            session.use(str(self._target.into_schema or segment.database))
            session.insert(self._counted(chunk for _, chunk in chunks))

    def _counted(self, chunks: Iterable[bytes]) -> Iterator[bytes]:
        for chunk in chunks:
            yield chunk
            self.progress.add(len(chunk))

    def drop_triggers(self, tables: Set[tuple[str, str | None]]) -> None:
        """Take away the triggers that an earlier try has made: the dump itself only makes them.

        mysqldump's `--add-drop-trigger` is of no use: MySQL's (9.7.4) doesn't quote the name.
        """
        found = [item for item in self._source.index.objects if item.kind == "trigger"]
        names = [(item.database, item.name) for item in found if (item.database, item.table) in tables]
        if names:
            self._statement(
                *(f"DROP TRIGGER IF EXISTS {server.quoted(database)}.{server.quoted(name)}" for database, name in names)
            )

    def _statement(self, *statements: str) -> None:
        with self._session() as send:
            send("".join(f"{statement};\n" for statement in statements).encode())

    def _execute(self, pieces: Sequence[Piece], *, use: bool = True) -> None:
        with self._session() as send:
            current: str | None = None
            for piece in pieces:
                for segment, chunk in self._definitions(piece):
                    database = self._target.into_schema or segment.database
                    if use and database is not None and database != current:
                        send(f"USE {server.quoted(database)};\n".encode())
                        current = database
                    send(chunk)
                    self.progress.add(len(chunk))

    def _definitions(self, piece: Piece) -> Iterator[tuple[Segment, bytes]]:
        for segment, chunks in groupby(_chunks(self._source, piece), key=itemgetter(0)):
            if segment.kind == "events" and self._target.hold_events:
                yield segment, hold_dumped(b"".join(chunk for _, chunk in chunks))[0]
            else:
                yield from chunks

    @contextlib.contextmanager
    def _session(self) -> Iterator[Callable[[bytes], None]]:
        target = self._target
        options = ["--binary-mode", "--comments", "--default-character-set=utf8mb4", "--max-allowed-packet=1G"]
        with (
            client.logged_in(target.program, target.login) as (argv, fds),
            Child([*argv, *options], stdin=-1, stdout=-3, pass_fds=fds) as child,
        ):
            try:
                write_all(child.stdin, self._header + self._settings())
                yield lambda data: write_all(child.stdin, data)
                child.stdin.close()
            except BrokenPipeError:
                child.finish()  # says why the client went away
                raise ProcessError("mysql", "ended before it had read everything", child.stderr) from None
            child.finish()

    def _settings(self) -> bytes:
        lines = [f"SET SESSION sql_log_bin = {int(self._target.binary_log)};"]
        if self._target.program.flavour == "mariadb":
            lines.append("/*M!101100 SET SESSION system_versioning_insert_history = 1 */;")
        return ("\n".join(lines) + "\n").encode()


def _some(reader: Unsealed, wanted: int, path: Path) -> bytes:
    chunk = reader.read(min(BLOCK_BYTES, wanted))
    if not chunk:
        raise IntegrityError(f"{path} ends before what its index says: the part is damaged.")
    return chunk


def _pieces(segments: Sequence[Segment]) -> list[Piece]:
    by_part: dict[int, list[Segment]] = {}
    for segment in segments:
        by_part.setdefault(segment.part, []).append(segment)
    return [Piece(part, tuple(sorted(found, key=lambda s: s.offset))) for part, found in sorted(by_part.items())]


def segment_bytes(source: Source, kind: SegmentKind) -> bytes:
    """The bytes of all segments of a kind; for small ones only."""
    return b"".join(
        chunk
        for piece in _pieces([segment for segment in source.index.segments if segment.kind == kind])
        for _, chunk in _chunks(source, piece)
    )


def _bytes(source: Source, segment: Segment) -> bytes:
    return b"".join(chunk for _, chunk in _chunks(source, Piece(segment.part, (segment,))))


def _chunks(source: Source, piece: Piece) -> Iterator[tuple[Segment, bytes]]:
    """The bytes of a piece's segments, out of the encrypted part, in chunks of at most 256 KiB."""
    path = source.parts[piece.part - 1]
    with unsealed(path, source.scheme) as reader:
        position = 0
        for segment in piece.segments:
            while position < segment.offset:
                position += len(_some(reader, segment.offset - position, path))
            end = segment.offset + segment.length
            while position < end:
                chunk = _some(reader, end - position, path)
                position += len(chunk)
                yield segment, chunk
        while reader.read(BLOCK_BYTES):  # to the end, so that the part's own checksums are looked at
            pass
