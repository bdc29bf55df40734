"""Rolls a loaded backup forward: the planned logs are fetched and proved, opened, and replayed up to the target."""

import hashlib
import logging
from collections.abc import Iterator, Sequence
from contextlib import suppress
from dataclasses import dataclass, field
from datetime import datetime
from pathlib import Path

from spoqplus_backup.core.connections import Connections
from spoqplus_backup.core.crypto import scheme_for
from spoqplus_backup.core.errors import IntegrityError, PermanentError
from spoqplus_backup.core.manifest import BinlogSegment, Coordinates, DumpObject, Model
from spoqplus_backup.core.mysql import server
from spoqplus_backup.core.mysql.binlog_transactions import Transaction, Transactions
from spoqplus_backup.core.mysql.statements import Statement, parse
from spoqplus_backup.core.process import check_cancelled
from spoqplus_backup.core.progress import Progress
from spoqplus_backup.core.recovery.applier import apply_logs
from spoqplus_backup.core.recovery.archived import LOGS, ArchivedLogs, fetch_log, next_name, opened, sealed_log
from spoqplus_backup.core.recovery.own_logs import gtids_of, own_logs
from spoqplus_backup.core.recovery.place import private_place, rebuild_job, working_server
from spoqplus_backup.core.recovery.plan import RestorePlan, goes_to_binary_log, restore_directory
from spoqplus_backup.core.recovery.reach import target_login
from spoqplus_backup.core.recovery.replay import Options, Replay, ReplayResult, forget, replay
from spoqplus_backup.core.recovery.target import PlannedReplay, has_gtid
from spoqplus_backup.core.repository.base import Repository
from spoqplus_backup.core.repository.binlogs import Timeline
from spoqplus_backup.core.run import ACCOUNTS, StageSummary
from spoqplus_backup.core.settings import Settings
from spoqplus_backup.core.stages import STORE_THREADS, in_parallel
from spoqplus_backup.core.staging import locked, read_json, write_all, write_json, written_aside

log = logging.getLogger(__name__)

OWN = "own"  # the folder of a lost server's last logs
RAW = "raw"  # the folder of the opened logs
RECORD = "replay.json"  # there when the replay is complete
BEGUN = "replay-begun.json"
STATEMENT_CHARACTERS = 1 << 16
BLOCK_BYTES = 1 << 20


class Touched(Model):
    """What the replayed transactions changed; `everything` when a statement did not tell."""

    transactions: int = 0
    last_at: datetime | None = None
    last_gtid: str | None = None
    tables: frozenset[tuple[str, str]] = frozenset()
    databases: frozenset[str] = frozenset()
    everything: bool = False
    made: frozenset[tuple[str, str]] = frozenset()
    """What they make before anything else is done to it: it must not be there when the replay begins."""
    made_databases: frozenset[str] = frozenset()
    made_accounts: frozenset[str] = frozenset()

    def has(self, database: str, *names: str | None) -> bool:
        """Whether one of these tables or programs may be changed."""
        return (
            self.everything
            or database in self.databases
            or any(name is not None and (database, name) in self.tables for name in names)
        )


class ReplayRecord(Model):
    """A complete replay. `generation` is that of the load that it went on from."""

    generation: int
    summary: StageSummary
    touched: Touched
    own_logs: tuple[str, ...] = ()
    """Logs of the lost server that were not archived."""


def fetch_logs(
    settings: Settings, connections: Connections, repository: Repository, plan: RestorePlan, progress: Progress
) -> int:
    """Bring the planned logs here and prove them: signature and chain of the sidecars, checksums, and that the key
    opens them. Returns how many there are.

    Raises:
        IntegrityError: a log is missing, is not what its sidecar says, or its sidecar is not the planned one.
        WrongKeyError: the key at hand does not open one.
    """
    if plan.replay is None:
        return 0
    logs = ArchivedLogs(settings, connections, repository)
    directory = restore_directory(settings, plan.run_id)
    timeline = Timeline(plan.replay.server_id, plan.replay.timeline)
    chain = logs.chain(timeline, [planned.name for planned in plan.replay.logs])
    for planned, (segment, digest) in zip(plan.replay.logs, chain, strict=True):
        if digest != planned.sidecar_sha256:
            raise IntegrityError(
                f"The sidecar of {repository.url}/{segment.key} is not the one that was planned with: plan the restore "
                "again."
            )

    def one(segment: BinlogSegment) -> None:
        logs.scheme(segment).check_can_open(fetch_log(repository, segment, directory, progress))

    in_parallel(one, [segment for segment, _ in chain], STORE_THREADS)
    return len(chain)


@dataclass(frozen=True)
class Held:
    """What the backup has: its objects, the scheduled events that the load kept from running, where it was taken."""

    objects: Sequence[DumpObject]
    events: Sequence[tuple[str, str]]
    coordinates: Coordinates


def apply_binlogs(settings: Settings, connections: Connections, plan: RestorePlan, held: Held) -> StageSummary:
    """Replay the fetched logs on what was loaded, up to the planned offset.

    Started again after a failure it goes on; after it was finished it does nothing, until the load is made anew. What
    the logs make and the backup does not have, an earlier restore may have left at the target: it goes first. On a
    private server the server's own applier does it; of a server that is rebuilt its own last logs come behind.

    Raises:
        PermanentError: nothing was loaded, or something else was replayed on it: clear `load`.
        IntegrityError: a log does not hold what its sidecar says.
    """
    if plan.replay is None and plan.place != "rebuild":
        raise PermanentError("This restore has no target in time: there is nothing to replay.")
    directory = restore_directory(settings, plan.run_id)
    with locked(directory / "lock", f"the restore {plan.run_id}"):
        loaded = read_json(directory / "load.json")
        if loaded is None:
            raise PermanentError("The backup is not loaded, so no log can be replayed on it: clear the task load.")
        generation = loaded["generation"]
        if (record := replay_record(directory)) is not None and record.generation == generation:
            return record.summary
        way, own, touched = _way(settings, connections, plan, held.coordinates)
        result = ReplayResult()
        if way is not None:
            options = Options(
                key=f"{plan.run_id}#{generation}",
                binary_log=goes_to_binary_log(settings, plan),
                skip_accounts=all(component.name != ACCOUNTS for component in plan.components),
                databases=frozenset(settings.database.databases) or None,
                events=tuple(held.events),
                stall_seconds=settings.database.stall_seconds,
            )
            result = _replay(settings, connections, plan, way, held, touched, options)
            _check_end(touched, result)
        summary = _summary(way, own, touched, result)
        done = ReplayRecord(generation=generation, summary=summary, touched=touched, own_logs=own)
        write_json(directory / RECORD, done)
        with suppress(FileNotFoundError):
            (directory / BEGUN).unlink()
    return summary


def _way(
    settings: Settings, connections: Connections, plan: RestorePlan, at: Coordinates
) -> tuple[Replay | None, tuple[str, ...], Touched]:
    """What is replayed, the names of those logs that are a lost server's own, and what they change."""
    directory = restore_directory(settings, plan.run_id)
    planned, way, touched = plan.replay, None, Touched()
    if planned is not None:
        way = Replay(open_logs(settings, connections, planned, directory), planned.start, planned.stop)
        touched = read_touched(way)
        compare(planned, touched)
    if plan.place != "rebuild" or not (planned is None or planned.target.is_end):
        return way, (), touched
    job = rebuild_job(settings, connections, plan)
    folder = job.settings.log_directory or (job.record.old if job.record else job.path)
    own: list[Path] = []
    copies = directory / LOGS / OWN
    if way is not None:
        own = own_logs(folder, next_name(way.names[-1]), gtids_of(way.logs[-1]), copies)
        way = Replay((*way.logs, *own), way.start)
    elif at.file is not None and at.position is not None:
        own = own_logs(folder, at.file, None, copies)
        if own and _is_of(own[0], at):
            way = Replay(tuple(own), at.position)
    if way is None or not own:
        return way, (), touched
    return way, tuple(path.name for path in own), read_touched(way)


def _is_of(path: Path, at: Coordinates) -> bool:
    """Whether a log is the one that a backup was taken beside: names come again when logs are reset."""
    with path.open("rb", buffering=BLOCK_BYTES) as file:
        read = Transactions(file.read, str(path))
        ends = read.end == at.position
        for transaction in read:
            check_cancelled()
            ends = ends or at.position in (transaction.start, transaction.end)
            if at.gtid and transaction.end == at.position and not has_gtid(at.gtid, transaction.gtid):
                return False
    return ends


def _replay(
    settings: Settings,
    connections: Connections,
    plan: RestorePlan,
    way: Replay,
    held: Held,
    touched: Touched,
    options: Options,
) -> ReplayResult:
    place = private_place(settings, connections, plan)
    if place is not None and options.databases is None:
        return apply_logs(way, place.flavour, place.datadir, place.start)
    if place is not None:
        log.warning("The databases are chosen by `database.databases`: mysqlbinlog replays them, which takes longer.")
    directory = restore_directory(settings, plan.run_id)
    generation = int(options.key.rpartition("#")[2])
    with working_server(settings, connections, plan) as login:
        with server.connect(login) as connection:
            flavour = server.facts(connection).flavour
            if not _is_begun(directory, way, generation):
                clear_way(connection, plan, touched, held.objects, options)
                write_json(directory / BEGUN, _what(way, generation))
        return replay(way, login, flavour, settings.database.client_directory, options)


def forget_replay(settings: Settings, connections: Connections, plan: RestorePlan) -> None:
    """Take away what the target notes of the replay, when the restore is proved."""
    record = replay_record(restore_directory(settings, plan.run_id))
    if record is not None:
        _, login = target_login(settings, connections, plan.request.environment)
        forget(login, f"{plan.run_id}#{record.generation}", binary_log=goes_to_binary_log(settings, plan))


def replay_record(directory: Path) -> ReplayRecord | None:
    """The record of a complete replay in a restore's folder; None before."""
    content = read_json(directory / RECORD)
    return None if content is None else ReplayRecord.model_validate(content)


def _what(way: Replay, generation: int) -> dict[str, object]:
    return {
        "generation": generation,
        "logs": [[path.parent.name, path.name] for path in way.logs],
        "start": way.start,
        "stop": way.stop,
    }


def _is_begun(directory: Path, way: Replay, generation: int) -> bool:
    """Whether an earlier try began to replay this.

    Raises:
        PermanentError: it was something else.
    """
    before = read_json(directory / BEGUN)
    if before is not None and before != _what(way, generation):
        raise PermanentError(
            "Another plan's logs were replayed on what is loaded: clear the task load with everything downstream."
        )
    return before is not None


def open_logs(
    settings: Settings, connections: Connections, planned: PlannedReplay, directory: Path
) -> tuple[Path, ...]:
    """Open the fetched logs into raw files, each complete or absent; what a crash left unfinished is cut off.

    Raises:
        IntegrityError: one does not hold what its sidecar says, or was not fetched.
    """
    progress = Progress("open logs", sum(one.log.raw_bytes for one in planned.logs))
    folder = directory / LOGS / RAW / planned.timeline
    paths = []
    for one in planned.logs:
        path = folder / one.name
        paths.append(path)
        if path.exists() and path.stat().st_size == one.end_of_file:
            continue
        sealed = sealed_log(directory, planned.folder, one.log.name)
        digest, seen, left = hashlib.sha256(), 0, one.end_of_file
        with opened(sealed, scheme_for(settings, connections, one.scheme)) as source, written_aside(path) as out:
            while block := source.read(BLOCK_BYTES):
                check_cancelled()
                digest.update(block)
                seen += len(block)
                write_all(out, block[:left])
                left -= min(left, len(block))
                progress.add(len(block))
            if (seen, digest.hexdigest()) != (one.log.raw_bytes, one.log.raw_sha256):
                raise IntegrityError(f"{sealed} does not hold what its sidecar says: restore from another repository.")
    progress.finish()
    return tuple(paths)


def in_range(way: Replay) -> Iterator[Transaction]:
    """The transactions that will be replayed, read from the opened logs.

    Raises:
        IntegrityError: an event is damaged.
    """
    for number, path in enumerate(way.logs):
        start = way.start if number == 0 else 0
        stop = way.stop if number == len(way.logs) - 1 else None
        with path.open("rb", buffering=BLOCK_BYTES) as file:
            for transaction in Transactions(file.read, path.name, characters=STATEMENT_CHARACTERS):
                check_cancelled()
                if stop is not None and transaction.start >= stop:
                    break
                if transaction.start >= start:
                    yield transaction


@dataclass
class _Seen:
    """What the transactions read so far are about."""

    tables: set[tuple[str, str]] = field(default_factory=set)
    databases: set[str] = field(default_factory=set)
    accounts: set[str] = field(default_factory=set)
    made: set[tuple[str, str]] = field(default_factory=set)
    made_databases: set[str] = field(default_factory=set)
    made_accounts: set[str] = field(default_factory=set)
    everything: bool = False

    def take(self, statement: Statement) -> None:
        names = {*statement.tables, *statement.objects}
        self.made |= {*statement.made} - self.tables
        if statement.kind == "create":
            known = self.databases | {database for database, _ in self.tables}
            self.made_databases |= {*statement.databases} - known
        if statement.makes_accounts:
            self.made_accounts |= {*statement.accounts} - self.accounts
        self.tables |= names
        self.databases |= {*statement.databases}
        self.accounts |= {*statement.accounts}
        self.everything = self.everything or not statement.known


def read_touched(way: Replay) -> Touched:
    """What the transactions change that will be replayed."""
    seen, count = _Seen(), 0
    last: Transaction | None = None
    for last in in_range(way):
        count += 1
        seen.tables.update(name for name in last.changes if name[1])
        for database, text in last.queries:
            seen.take(parse(database, text))
    return Touched(
        transactions=count,
        last_at=last.at if last else None,
        last_gtid=str(last.gtid) if last and last.gtid else None,
        tables=frozenset(seen.tables),
        databases=frozenset(seen.databases),
        everything=seen.everything,
        made=frozenset(seen.made),
        made_databases=frozenset(seen.made_databases),
        made_accounts=frozenset(seen.made_accounts),
    )


def compare(planned: PlannedReplay, touched: Touched) -> None:
    """See that the replayed transactions are those of the plan.

    Raises:
        IntegrityError: they are not.
    """
    if (touched.transactions, touched.last_at) != (planned.transactions, planned.last_at):
        raise IntegrityError(
            f"The fetched logs hold {touched.transactions} transactions up to {touched.last_at}, not the planned "
            f"{planned.transactions} up to {planned.last_at}: plan the restore again."
        )


def _check_end(touched: Touched, result: ReplayResult) -> None:
    """Hold what the replay says it ended with against the logs; what was left out on purpose may be the last one."""
    last = result.last
    if last is not None and not result.left_out and (last.gtid, last.at) != (touched.last_gtid, touched.last_at):
        raise IntegrityError(
            f"The replay ended with {last.gtid or last.log} of {last.at.isoformat()}, not with the planned "
            f"{touched.last_gtid} of {touched.last_at}: clear the task load with everything downstream."
        )


def _summary(way: Replay | None, own: Sequence[str], touched: Touched, result: ReplayResult) -> StageSummary:
    size = max(way.size, 0) if way else 0
    return StageSummary(
        stage="apply_binlogs",
        component="",
        parts=len(way.logs) if way else 0,
        bytes_in=size,
        bytes_out=size,
        seconds=round(result.seconds, 3),
        detail={
            "transactions": touched.transactions,
            "left_out": result.left_out,
            "last_at": touched.last_at.isoformat() if touched.last_at else None,
            "last_gtid": touched.last_gtid,
            "own_logs": ", ".join(own) or None,
        },
    )


def with_cascades(connection: server.Connection, touched: Touched) -> Touched:
    """`touched` with the tables whose rows foreign keys change along: no log tells of those."""
    rows = connection.rows(
        "SELECT CONSTRAINT_SCHEMA, TABLE_NAME, UNIQUE_CONSTRAINT_SCHEMA, REFERENCED_TABLE_NAME "
        "FROM information_schema.REFERENTIAL_CONSTRAINTS"
    )
    tables = set(touched.tables)
    grown = True
    while grown:
        more = {
            (database, table)
            for database, table, parent_database, parent in rows
            if (parent_database, parent) in tables or parent_database in touched.databases
        }
        grown = not more <= tables
        tables |= more
    return touched.model_copy(update={"tables": frozenset(tables)})


def untouched(objects: Sequence[DumpObject], touched: Touched) -> list[DumpObject]:
    """What has to be there as the backup has it."""
    return [item for item in objects if not touched.has(item.database, item.name, item.table)]


def clear_way(
    connection: server.Connection, plan: RestorePlan, touched: Touched, held: Sequence[DumpObject], options: Options
) -> None:
    """Drop what the logs are about to make and the backup does not have: an earlier restore left it at the target.

    Raises:
        PermanentError: it is in a database of production that the plan did not see, and that nobody saved.
    """
    have = {(item.database, item.name) for item in held}
    databases = {item.database for item in held}
    wanted = touched.made - have
    connection.rows(f"SET SESSION sql_log_bin = {int(options.binary_log)}")
    connection.rows("SET SESSION foreign_key_checks = 0")
    there = set(server.databases(connection))
    for name in sorted(touched.made_databases & there - databases):
        if options.databases is None or name in options.databases:
            if plan.request.environment == "production" and name not in plan.may_drop:
                raise PermanentError(
                    f"The database {name} was made after the plan: clear the task plan and plan again."
                )
            log.info("Dropped the database %s, which the logs make", name)
            connection.rows(f"DROP DATABASE {server.quoted(name)}")
            there.discard(name)
    for item in server.objects(connection, sorted({database for database, _ in wanted} & there)):
        if (item.database, item.name) in wanted:
            log.info("Dropped the %s %s.%s, which the logs make", item.kind, item.database, item.name)
            name = f"{server.quoted(item.database)}.{server.quoted(item.name)}"
            connection.rows(f"DROP {item.kind.upper()} IF EXISTS {name}")
    if not options.skip_accounts:
        _clear_accounts(connection, touched)


def _clear_accounts(connection: server.Connection, touched: Touched) -> None:
    flavour = server.facts(connection).flavour
    own = connection.value("SELECT CURRENT_USER()")
    for account in sorted(touched.made_accounts):
        user, at, host = account.rpartition("@")
        if f"{user[1:-1]}@{host[1:-1]}" == own:
            continue
        kind = "USER" if at or flavour == "mysql" else "ROLE"
        log.info("Dropped the account %s, if it was there, for the logs make it", account)
        connection.rows(f"DROP {kind} IF EXISTS {account}")
