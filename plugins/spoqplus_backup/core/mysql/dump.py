"""The dump stage: mysqldump's stream, cut into parts on the staging disk while it is written.

Leaves `raw/000001.sql` ..., `raw/index.json` and, last, its record (`component.py`) in the component's staging folder.
"""

import contextlib
import logging
import re
import time
from collections import Counter
from collections.abc import Callable, Iterator, Sequence
from datetime import datetime, timezone
from pathlib import Path

from spoqplus_backup.core.ahead import working_ahead
from spoqplus_backup.core.component import ComponentRecord, make_component, raw_parts
from spoqplus_backup.core.connections import DatabaseLogin
from spoqplus_backup.core.crypto import Scheme, scheme_for
from spoqplus_backup.core.errors import BackupError, IntegrityError, PermanentError
from spoqplus_backup.core.manifest import Coordinates, DumpObject, Index, Model, ObjectCounts, Segment, Server
from spoqplus_backup.core.mysql import accounts, client, events, server
from spoqplus_backup.core.mysql.cutter import Cutter, Found
from spoqplus_backup.core.part_writer import PartWriter, part_bytes
from spoqplus_backup.core.process import Child
from spoqplus_backup.core.progress import Progress
from spoqplus_backup.core.run import ACCOUNTS, DATABASE, BackupRun, StageSummary
from spoqplus_backup.core.settings import Settings
from spoqplus_backup.core.staging import write_json

log = logging.getLogger(__name__)

BLOCK_BYTES = 1 << 20
FULL_PIPE_BYTES = 256 << 10
FILL_SECONDS = 0.002
LOCK_SECONDS = 60
INDEX = "index.json"
SUFFIX = ".sql"

_FILE_AND_POSITION = re.compile(rb"_LOG_FILE='([^']+)', \w+_LOG_POS=(\d+)")
_MYSQL_GTIDS = re.compile(rb"GTID_PURGED=(?:/\*!80000 )?'\+'?(?:\*/ )?'?([0-9a-zA-Z:,\-\s]*)'", re.DOTALL)
_MARIADB_GTID = re.compile(rb"gtid_slave_pos='([^']*)'")


class Selection(Model):
    """What one call of mysqldump writes: whole databases, or tables of one database with a condition."""

    databases: tuple[str, ...]
    tables: tuple[str, ...] = ()
    where: str | None = None

    @property
    def whole(self) -> bool:
        """Whether this is whole databases."""
        return not self.tables


def dump(run: BackupRun, component: str, generation: int) -> StageSummary:
    """Dump one component into the staging area; a finished dump of the same generation is left as it is.

    Args:
        run: the backup.
        component: `database`, `accounts`, or the name of a table selection.
        generation: any number that changes when the task was cleared, not when it is retried.

    Raises:
        ProcessError: mysqldump failed, was killed, or stalled; its own words are in the message.
        IntegrityError: the dump is not whole.
    """
    return make_component(
        run, component, "dump", generation, lambda directory: _dump_into(run, component, generation, directory)
    )


def _dump_into(run: BackupRun, component: str, generation: int, directory: Path) -> ComponentRecord:
    settings = run.settings
    started_at = datetime.now(timezone.utc)
    login = run.connections.database(settings.database.connection)
    with server.connect(login) as connection:
        facts = server.facts(connection)
    with raw_parts(directory) as raw:
        if component == ACCOUNTS:
            index, rows, tools = accounts.write(login, facts, raw), None, {}
            at = Coordinates()
        else:
            program = client.find("mysqldump", settings.database.client_directory, facts.flavour)
            client.refuse_older(program, facts.version)
            scheme = scheme_for(settings, run.connections)
            index, at = _run_mysqldump(
                settings, login, facts, program, lambda: _selection(run, component, login), scheme, raw
            )
            rows = sum(item.rows or 0 for item in index.objects)
            tools = {"mysqldump": f"{program.flavour} {program.version_text}"}
        write_json(raw / INDEX, index)
    return ComponentRecord(
        generation=generation,
        stage="dump",
        kind="logical",
        content="accounts" if component == ACCOUNTS else "dump",
        suffix=SUFFIX,
        index=INDEX,
        started_at=started_at,
        finished_at=datetime.now(timezone.utc),
        server=Server(
            flavour=facts.flavour, version=facts.version_text, id=facts.server_id, uuid=facts.uuid, coordinates=at
        ),
        tools=tools,
        counts=server.counts(index.objects) if component != ACCOUNTS else ObjectCounts(accounts=len(index.objects)),
        rows=rows,
        parts=max(segment.part for segment in index.segments),
        raw_bytes=sum(segment.length for segment in index.segments),
    )


def _selection(run: BackupRun, component: str, login: DatabaseLogin) -> Selection:
    if component == DATABASE and (claimed := run.staging.selection()):
        return Selection.model_validate(claimed)
    return selection(run.settings, component, login)


def selection(settings: Settings, component: str, login: DatabaseLogin) -> Selection:
    """What a component is of; for `database` without a list, all databases that the server has now."""
    if component == DATABASE:
        names = settings.database.databases
        if not names:
            with server.connect(login) as connection:
                names = server.databases(connection)
        if not names:
            raise PermanentError(f"The server {login.address} has no database to back up that this login may see.")
        return Selection(databases=names)
    chosen = next((item for item in settings.components if item.name == component), None)
    if chosen is None:
        known = ", ".join((DATABASE, ACCOUNTS, *(item.name for item in settings.components)))
        raise PermanentError(f"The configuration {settings.source} has no component {component}; it has {known}.")
    split = [table.split(".", 1) for table in chosen.tables]
    return Selection(databases=(split[0][0],), tables=tuple(table for _, table in split), where=chosen.where)


def _run_mysqldump(
    settings: Settings,
    login: DatabaseLogin,
    facts: server.ServerFacts,
    program: client.Program,
    select: Callable[[], Selection],
    scheme: Scheme,
    raw: Path,
) -> tuple[Index, Coordinates]:
    chosen = select()
    with contextlib.ExitStack() as stack:
        if chosen.whole and settings.database.lock_ddl:
            stack.enter_context(server.definitions_locked(login, facts.flavour, LOCK_SECONDS))
            chosen = select()  # with a database that was created before the lock was there
        with server.connect(login) as connection:
            expected = _expected(connection, chosen)
            size = server.data_bytes(connection, chosen.databases) if chosen.whole else None
        ahead = stack.enter_context(working_ahead(raw.parent, settings.compression.level, scheme))
        cutter = Cutter(
            PartWriter(raw, on_part=ahead.add if ahead else None),
            part_bytes(settings.database.part_mib, size),
            database=None if chosen.whole else chosen.databases[0],
        )
        progress = Progress("dump", size)
        own_events = chosen.whole and events.trap_mysqldump(login, chosen.databases)
        arguments = dump_arguments(facts, program, chosen, with_events=not own_events)
        with client.logged_in(program, login) as (argv, fds), Child([*argv, *arguments], pass_fds=fds) as child:
            for block in _blocks(child, settings.database.stall_seconds):
                cutter.feed(block)
                progress.add(len(block))
            child.finish()
        cutter.close()
        progress.finish()
        if own_events:
            segments, count = events.write(login, chosen.databases, raw, cutter.segments[-1].part + 1)
            cutter.segments += segments
            cutter.found.programs["events"] = count
    _check_completed(cutter.found)
    found = _with_rows(expected, cutter.segments)
    _check_complete(chosen, found, cutter)
    names = chosen.databases
    return Index(segments=tuple(cutter.segments), objects=found, databases=names), coordinates(cutter.found)


def _blocks(child: Child, stall_seconds: float) -> Iterator[bytes]:
    """The output in blocks of 1 MiB: mysqldump writes 4 KiB at a time.

    To wake up for each of those took an eighth of all processor time of a backup, here and in mysqldump: the pipe,
    which holds what mysqldump writes in 5 ms and more, is left to fill a while.
    """
    buffer = bytearray(BLOCK_BYTES)
    view = memoryview(buffer)
    filled = 0
    while count := child.readinto(view[filled:], stall_seconds):
        filled += count
        if filled == BLOCK_BYTES:
            yield bytes(buffer)
            filled = 0
        elif count < FULL_PIPE_BYTES:
            time.sleep(FILL_SECONDS)
    if filled:
        yield bytes(view[:filled])


def dump_arguments(
    facts: server.ServerFacts, program: client.Program, chosen: Selection, *, with_events: bool = True
) -> list[str]:
    """The arguments of mysqldump behind its credentials (`notes`: what each vendor leaves out by default)."""
    arguments = [
        "--single-transaction",
        "--quick",
        "--triggers",
        "--hex-blob",
        "--tz-utc",
        "--default-character-set=utf8mb4",
        "--max-allowed-packet=1G",
        "--skip-add-locks",  # a lock in one part would keep the others from being loaded beside it
        "--skip-disable-keys",
    ]
    if facts.flavour == "mysql":
        arguments += ["--no-tablespaces", f"--set-gtid-purged={'COMMENTED' if chosen.whole else 'OFF'}"]
        arguments += ["--source-data=2"] if facts.log_bin else []
    else:
        arguments += ["--master-data=2", "--gtid"] if facts.log_bin else []
        arguments += ["--dump-history"] if program.version >= (10, 11, 0) else []
    if chosen.whole:
        arguments += ["--events"] if with_events else []
        return [*arguments, "--routines", "--databases", "--", *chosen.databases]
    where = [f"--where={chosen.where}"] if chosen.where else []
    return [*arguments, *where, "--", *chosen.databases, *chosen.tables]


def coordinates(found: Found) -> Coordinates:
    """Where the snapshot stands in the binary logs, as the dump itself says; empty without binary logging."""
    head, tail = bytes(found.header), found.tail
    place = _FILE_AND_POSITION.search(head)
    gtid = _MYSQL_GTIDS.search(head) or _MARIADB_GTID.search(tail) or _MARIADB_GTID.search(head)
    return Coordinates(
        file=place[1].decode() if place else None,
        position=int(place[2]) if place else None,
        gtid="".join(gtid[1].decode().split()) if gtid else None,
    )


def _expected(connection: server.Connection, chosen: Selection) -> tuple[DumpObject, ...]:
    everything = server.objects(connection, chosen.databases)
    if chosen.whole:
        return everything
    tables = set(chosen.tables)
    found = tuple(
        item
        for item in everything
        if (item.kind == "table" and item.name in tables) or (item.kind == "trigger" and item.table in tables)
    )
    missing = tables - {item.name for item in found if item.kind == "table"}
    if missing:
        raise PermanentError(
            f"There is no table {', '.join(sorted(missing))} in the database {chosen.databases[0]}: "
            "correct `components` in the configuration."
        )
    return found


def _with_rows(expected: Sequence[DumpObject], segments: Sequence[Segment]) -> tuple[DumpObject, ...]:
    rows: Counter[tuple[str | None, str | None]] = Counter()
    for segment in segments:
        rows[segment.database, segment.table] += segment.rows
    return tuple(
        item.model_copy(update={"rows": rows[item.database, item.name]}) if item.kind == "table" else item
        for item in expected
    )


def _check_completed(found: Found) -> None:
    last = found.tail.rstrip().rpartition(b"\n")[2]
    if not last.startswith(b"-- Dump completed"):
        words = last[-200:].decode("utf-8", "replace")
        raise IntegrityError(f"The dump does not end with `-- Dump completed` but with `{words}`: it is truncated.")


def _check_complete(chosen: Selection, expected: Sequence[DumpObject], cutter: Cutter) -> None:
    """Hold what the dump has against the server's catalogue: a missing privilege leaves things out silently.

    Raises:
        BackupError: something is missing, or there that should not be.
    """
    dumped = {(s.database, s.table) for s in cutter.segments if s.kind == "structure" and s.table is not None}
    wanted = {(item.database, item.name) for item in expected if item.kind in ("table", "view", "sequence")}
    problems = [f"{database}.{name} is missing" for database, name in sorted(wanted - dumped, key=str)]
    problems += [f"{database}.{name} was not there before" for database, name in sorted(dumped - wanted, key=str)]
    programs = cutter.found.programs
    kinds = Counter(item.kind for item in expected)
    pairs = [("triggers", kinds["trigger"], programs.get("triggers", 0))]
    if chosen.whole:
        routines = kinds["function"] + kinds["procedure"] + kinds["package"] + kinds["library"]
        pairs += [
            ("routines", routines, programs.get("routines", 0)),
            ("events", kinds["event"], programs.get("events", 0)),
        ]
    problems += [f"{found} of {want} {kind}" for kind, want, found in pairs if want != found]
    if problems:
        raise BackupError(
            f"The dump does not hold what the server's catalogue lists: {'; '.join(problems[:10])}. "
            "Definitions changed meanwhile, or the login lacks a privilege (TRIGGER, EVENT, SELECT, SHOW VIEW on *.*)."
        )
