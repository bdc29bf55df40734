"""The archive's stages up to encryption: rotate, list_logs, fetch, compress, encrypt."""

import logging
import os
import shutil
from collections.abc import Callable
from dataclasses import dataclass
from datetime import datetime, timezone
from pathlib import Path

from spoqplus_backup.core.archive.area import (
    RAW,
    Area,
    Breaks,
    FetchedLog,
    ListedLog,
    Listing,
    Rotation,
    Staged,
    TimelineRecord,
)
from spoqplus_backup.core.archive.checks import check_logs_hold_all, check_privileges, retention_warnings
from spoqplus_backup.core.archive.continuity import Present, decide, history_gap, next_timeline
from spoqplus_backup.core.archive.gaps import give_up_unlogged
from spoqplus_backup.core.archive.known import Known, from_fetched, known_logs
from spoqplus_backup.core.archive.summary import ArchiveSummary
from spoqplus_backup.core.compression import PartRecord, compress_part, compressed_path, part_record
from spoqplus_backup.core.connections import Connections
from spoqplus_backup.core.cores import usable_cores
from spoqplus_backup.core.crypto import scheme_for
from spoqplus_backup.core.errors import BackupError, PermanentError, disk_full
from spoqplus_backup.core.manifest import BinlogTables, Coordinates, Gap, Part, Server
from spoqplus_backup.core.mysql import binlog, client, server
from spoqplus_backup.core.mysql.binlog_transactions import LogSummary, summarise
from spoqplus_backup.core.mysql.gtid import goes_on, unlogged
from spoqplus_backup.core.progress import Progress
from spoqplus_backup.core.repository.binlogs import log_number
from spoqplus_backup.core.sealing import is_sealed, seal_part, sealed_path
from spoqplus_backup.core.settings import Settings
from spoqplus_backup.core.stages import in_parallel
from spoqplus_backup.core.staging import PARTIAL, sync_directory, write_json

log = logging.getLogger(__name__)


def rotate(settings: Settings, connections: Connections) -> ArchiveSummary:
    """Close the server's current log if something new is in it, and note the moment up to which all is in closed logs.

    An empty one is closed after half of the promised RPO: only an archived log proves to whoever sees the repositories
    alone (a restore, the metrics) that nothing was written meanwhile.

    Raises:
        PermanentError: the server writes no binary log, or not all to it, or the login may not close or read it.
    """
    area, started = Area(settings), Progress("rotate")
    login = connections.database(settings.database.connection)
    with area.locked(), server.connect(login) as connection:
        facts = server.facts(connection)
        check_privileges(connection, facts.flavour)
        check_logs_hold_all(connection, facts.flavour)
        give_up_unlogged(area, connection, settings.objectives.rto_hours)
        client.find("mysqlbinlog", settings.database.client_directory, facts.flavour)
        current, _ = binlog.position(connection, facts.flavour)
        checked_at = binlog.clock(connection)  # before the log is closed: what is committed later may be in the next
        since = before.rotated_at if (before := area.rotation()) else None
        rested = since is not None and (checked_at - since).total_seconds() >= settings.objectives.rpo_hours * 1800
        wanted = rested or not binlog.is_empty(connection, current)
        if wanted:
            binlog.rotate(connection)
        now, at = binlog.position(connection, facts.flavour)
        closed = [found.name for found in _closed(binlog.logs(connection), now)]
        rotation = Rotation(
            server=_server(facts, now, at),
            checked_at=checked_at,
            up_to=closed[-1] if closed else None,
            rotated=wanted,
            rotated_at=checked_at if wanted or since is None else since,
            warnings=retention_warnings(settings, connection),
        )
        area.write(rotation)
    for warning in rotation.warnings:
        log.warning("%s", warning.words)
    log.info("%s is being written; closed logs reach up to %s", now, rotation.up_to)
    return ArchiveSummary(
        stage="rotate",
        parts=int(wanted),
        bytes_in=0,
        bytes_out=0,
        seconds=started.finish(),
        warnings=rotation.warnings,
        detail={"rotated": wanted, "up_to": rotation.up_to},
    )


def list_logs(settings: Settings, connections: Connections) -> ArchiveSummary:
    """Find the closed logs that are not archived yet, and the timeline that they belong to.

    A gap in front of them is in the result, and kept until a run has asked for a full backup because of it.

    Raises:
        BackupError: the server, or every repository, can't be reached.
        PermanentError: rotate has not run.
    """
    area, started = Area(settings), Progress("list_logs")
    login = connections.database(settings.database.connection)
    with area.locked(), server.connect(login) as connection:
        rotation = area.rotation()
        if rotation is None:
            raise PermanentError(f"There is no {area.path}/rotation.json: clear the task rotate.")
        facts = server.facts(connection)
        program = client.find("mysqlbinlog", settings.database.client_directory, facts.flavour)
        known = known_logs(settings, connections, area)
        purged = binlog.purged_gtids(connection, facts.flavour)  # before the logs: one may go in between
        now, at = binlog.position(connection, facts.flavour)
        present = _up_to(binlog.logs(connection), now)
        stall = settings.database.stall_seconds
        status = area.status()
        decision = decide(
            known,
            Present(
                facts.server_id,
                facts.uuid,
                present,
                lambda name: binlog.created_at(program, login, name, stall),
                purged,
            ),
            status.recovery_point.last_event_at if status else None,
            _pending_gap(area, facts.server_id, known.of(facts.server_id)),
        )
        if decision.gap is not None:
            open_timeline(area, facts.server_id, decision.timeline, decision.gap)
            there = {found.name for found in present}
            area.write(Breaks(places=tuple(one for one in area.breaks().places if one.log in there)))
        listing = Listing(
            checked_at=rotation.checked_at,
            server=_server(facts, now, at),
            timeline=decision.timeline,
            logs=tuple(ListedLog(name=found.name, bytes=found.bytes) for found in decision.logs),
            gap=decision.gap,
            gtids_purged=purged,
        )
        area.write(listing)
    names = [found.name for found in listing.logs]
    log.info("%d logs to fetch in timeline %s: %s", len(names), listing.timeline, ", ".join(names[:20]) or "none")
    return ArchiveSummary(
        stage="list_logs",
        parts=len(names),
        bytes_in=sum(found.bytes for found in listing.logs),
        bytes_out=0,
        seconds=started.finish(),
        gap=listing.gap,
        detail={"timeline": listing.timeline, **_from_to(names)},
    )


def _pending_gap(area: Area, server_id: int, own: Known | None) -> Gap | None:
    """The gap of a timeline of this server that was opened and has no log yet."""
    for opened_for, timeline, record in reversed(area.timelines()):
        if opened_for == server_id and (own is None or timeline > own.timeline):
            return record.gap
    return None


def open_timeline(area: Area, server_id: int, timeline: str, gap: Gap) -> None:
    """Note why a timeline begins, loudly; a run that finds the same gap again changes nothing."""
    before = area.timeline(server_id, timeline)
    if before is not None and (before.gap.reason, before.gap.after) == (gap.reason, gap.after):
        return
    log.error("Gap in the binary logs: %s A new timeline %s of server %d is opened.", gap.words, timeline, server_id)
    at_work = area.unlogged()
    if at_work is not None and not at_work.given_up:
        gap = gap.model_copy(update={"unlogged": True})
    area.write_timeline(server_id, timeline, TimelineRecord(gap=gap, opened_at=datetime.now(timezone.utc)))


def _server(facts: server.ServerFacts, file: str, at: int) -> Server:
    return Server(
        flavour=facts.flavour,
        version=facts.version_text,
        id=facts.server_id,
        uuid=facts.uuid,
        coordinates=Coordinates(file=file, position=at),
    )


def _up_to(logs: list[binlog.ServerLog], current: str) -> list[binlog.ServerLog]:
    """The logs with the current one as the last: one that was begun since is for the next run."""
    names = [found.name for found in logs]
    return logs[: names.index(current) + 1] if current in names else logs


def _closed(logs: list[binlog.ServerLog], current: str) -> list[binlog.ServerLog]:
    return _up_to(logs, current)[:-1]


def _from_to(names: list[str]) -> dict[str, str]:
    return {"from": names[0], "to": names[-1]} if names else {}


@dataclass
class _Fetching:
    """What one call of fetch goes by."""

    area: Area
    listing: Listing
    timeline: str
    previous: Known | None
    program: client.Program
    settings: Settings
    connections: Connections
    progress: Progress
    gap: Gap | None = None
    transactions: int = 0


def fetch(settings: Settings, connections: Connections) -> ArchiveSummary:
    """Bring the listed logs to the staging area, read each to its end, and prove that it follows the one before.

    Raises:
        PermanentError: list_logs has not run.
        LogMissingError: the server no longer has one of them.
        IntegrityError: one is damaged.
        DiskFullError: there is no room left.
        BackupError: the server went away or stalled; a retry goes on with the log that is missing.
    """
    area = Area(settings)
    with area.locked():
        listing = area.listing()
        if listing is None:
            raise PermanentError(f"There is no {area.path}/listing.json: clear the task list_logs.")
        known = known_logs(settings, connections, area).of(listing.server.id)
        same = known is not None and known.timeline >= listing.timeline  # greater: an earlier try found a gap
        todo = [log for log in listing.logs if not (same and known and not _is_behind(known.name, log.name))]
        program = client.find("mysqlbinlog", settings.database.client_directory, listing.server.flavour)
        state = _Fetching(
            area=area,
            listing=listing,
            timeline=known.timeline if same and known else listing.timeline,
            previous=known if same else None,
            program=program,
            settings=settings,
            connections=connections,
            progress=Progress("fetch", sum(found.bytes for found in todo)),
        )
        for found in todo:
            _fetch_one(state, found)
        _look_ahead(state)
    return ArchiveSummary(
        stage="fetch",
        parts=len(todo),
        bytes_in=sum(found.bytes for found in todo),
        bytes_out=0,
        seconds=state.progress.finish(),
        gap=state.gap or listing.gap,
        detail={
            "timeline": state.timeline,
            "transactions": state.transactions,
            **_from_to([item.name for item in todo]),
        },
    )


def _is_behind(earlier: str, name: str) -> bool:
    return log_number(name) > log_number(earlier)


def _fetch_one(state: _Fetching, found: ListedLog) -> None:
    folder = state.area.directory(state.listing.server.id, state.timeline, found.name)
    partial = folder.with_name(folder.name + PARTIAL)
    shutil.rmtree(partial, ignore_errors=True)
    raw_folder = partial / RAW
    try:
        raw_folder.mkdir(parents=True)
        raw = binlog.fetch(
            state.program,
            state.connections.database(state.settings.database.connection),
            binlog.ServerLog(found.name, found.bytes),
            raw_folder,
            state.settings.database.stall_seconds,
            state.progress.add,
        )
        summary = read_log(raw)
        with raw.open("rb") as file:
            os.fsync(file.fileno())
        if state.previous is None:
            _keep_unlogged(state, found.name)
        elif (gap := _gap_before(state, state.previous, found.name, summary.before)) is not None:
            _begin_timeline(state, gap, found.name)
        fetched = _fetched(state, found, summary)
        write_json(raw_folder / f"{found.name}.tables.json", _tables(summary))
        write_json(partial / "fetched.json", fetched)
        folder = state.area.directory(state.listing.server.id, state.timeline, found.name)
        folder.parent.mkdir(parents=True, exist_ok=True)
        shutil.rmtree(folder, ignore_errors=True)  # without a record: nothing of it was ever used
        partial.rename(folder)
        sync_directory(folder.parent)
    except OSError as error:
        if full := disk_full(error, partial):
            raise full from error
        raise
    finally:
        shutil.rmtree(partial, ignore_errors=True)
    state.transactions += summary.transactions
    state.previous = from_fetched(fetched)
    log.info("%s: %d bytes, %d transactions, %s", found.name, summary.bytes, summary.transactions, summary.closed)


def _look_ahead(state: _Fetching) -> None:
    """Where the log that is being written begins anew, its timeline is opened at once: one run tells of all gaps."""
    current = state.listing.server.coordinates.file
    if state.previous is not None and current is not None and (gap := _noted_gap(state, state.previous, current)):
        _begin_timeline(state, gap, current)


def _gap_before(state: _Fetching, previous: Known, name: str, before: str) -> Gap | None:
    """Why a log does not follow the one before it; None when it does."""
    if (noted := _noted_gap(state, previous, name)) is not None:
        return noted
    if goes_on(state.listing.server.flavour, (previous.gtids_before, previous.gtids_after), before):
        return None
    return history_gap(previous, name, before)


def _noted_gap(state: _Fetching, previous: Known, name: str) -> Gap | None:
    noted = state.area.breaks().at(state.listing.server.id, name)
    if noted is None:
        return None
    return Gap(
        reason="history",
        after=previous.name,
        lost_from=previous.last_at,
        unlogged=noted.unlogged,
        words=noted.words,
    )


def _keep_unlogged(state: _Fetching, name: str) -> None:
    """A timeline that was opened for another reason begins where a change without logs was noted, too."""
    area, server_id = state.area, state.listing.server.id
    noted, record = area.breaks().at(server_id, name), area.timeline(server_id, state.timeline)
    if noted is not None and noted.unlogged and record is not None:
        gap = record.gap.model_copy(update={"unlogged": True})
        area.write_timeline(server_id, state.timeline, record.model_copy(update={"gap": gap}))


def _begin_timeline(state: _Fetching, gap: Gap, name: str) -> None:
    """The log at hand is the first one of a new timeline."""
    area, server_id, status = state.area, state.listing.server.id, state.area.status()
    if gap.lost_from is None and status is not None:
        gap = gap.model_copy(update={"lost_from": status.recovery_point.last_event_at})
    state.timeline = next_timeline(state.timeline)
    state.gap, state.previous = gap, None
    open_timeline(area, server_id, state.timeline, gap)
    later = [one for one in area.breaks().places if one.server_id != server_id or _is_behind(name, one.log)]
    area.write(Breaks(places=tuple(later)))


def read_log(raw: Path) -> LogSummary:
    """Read a raw log to its end.

    Raises:
        IntegrityError: it is damaged.
    """
    with raw.open("rb") as file:
        return summarise(file.read, str(raw), raw.stat().st_size)


def _fetched(state: _Fetching, found: ListedLog, summary: LogSummary) -> FetchedLog:
    purged = state.listing.gtids_purged
    return FetchedLog(
        server=state.listing.server.model_copy(update={"coordinates": Coordinates()}),
        timeline=state.timeline,
        name=found.name,
        created_at=summary.format.created_at,
        fetched_at=datetime.now(timezone.utc),
        bytes=summary.bytes,
        server_bytes=found.bytes,
        end=summary.end,
        closed=summary.closed,
        closed_at=summary.closed_at,
        truncated=summary.truncated,
        transactions=summary.transactions,
        first_at=summary.first_at,
        last_at=summary.last_at,
        earliest_at=summary.earliest_at,
        latest_at=summary.latest_at,
        gtids_before=summary.before,
        gtids_after=summary.after,
        gtids_unlogged=None if purged is None else unlogged(purged, summary.after),
        previous=state.previous.name if state.previous else None,
    )


def _tables(summary: LogSummary) -> BinlogTables:
    tables = [
        (database, table, {str(kind): count for kind, count in counts.items()})
        for (database, table), counts in sorted(summary.tables.items())
    ]
    return BinlogTables(tables=tuple(tables), statements=summary.statements)


def compress(settings: Settings, connections: Connections) -> ArchiveSummary:
    """Compress each fetched log and its index with zstd, prove the result, then remove the raw one.

    Raises:
        PermanentError: a raw log is gone.
        IntegrityError: what was compressed does not come back as it was.
    """
    del connections  # every stage is called alike

    def one(staged: Staged, raw: Path) -> PartRecord:
        if not raw.exists():
            raise _gone(raw, staged)
        return compress_part(raw, staged.directory, settings.compression.level)

    def finished(staged: Staged, raw: Path) -> PartRecord | None:
        record = part_record(staged.directory, raw.name)
        path = compressed_path(staged.directory, raw.name)
        if record is None or not (record.sealed_bytes or _has_size(path, record.compressed_bytes)):
            return None
        raw.unlink(missing_ok=True)
        return record

    return _each(settings, "compress", one, finished)


def encrypt(settings: Settings, connections: Connections) -> ArchiveSummary:
    """Encrypt each compressed log and its index to the recipients, then remove the compressed one.

    Raises:
        PermanentError: a compressed log is gone.
    """
    scheme = scheme_for(settings, connections)

    def one(staged: Staged, raw: Path) -> PartRecord:
        known, source = part_record(staged.directory, raw.name), compressed_path(staged.directory, raw.name)
        if known is None or not source.exists():
            raise _gone(source, staged)
        return seal_part(staged.directory, raw.name, scheme, known)

    def finished(staged: Staged, raw: Path) -> PartRecord | None:
        record = part_record(staged.directory, raw.name)
        if record is None or not is_sealed(staged.directory, raw.name, scheme, record):
            return None
        compressed_path(staged.directory, raw.name).unlink(missing_ok=True)
        return record

    return _each(settings, "encrypt", one, finished)


def sealed(settings: Settings, connections: Connections, staged: Staged) -> tuple[Part, Part] | None:
    """The encrypted log and index of a staged log; None before both are complete."""
    scheme = scheme_for(settings, connections)
    parts = []
    for raw in (staged.raw, staged.tables):
        record = part_record(staged.directory, raw.name)
        path = sealed_path(staged.directory, raw.name, scheme)
        if record is None or record.sealed_sha256 is None or not _has_size(path, record.sealed_bytes):
            return None
        parts.append(
            Part(
                name=path.name,
                raw_bytes=record.raw_bytes,
                raw_sha256=record.raw_sha256,
                stored_bytes=record.sealed_bytes or 0,
                sha256=record.sealed_sha256,
            )
        )
    return parts[0], parts[1]


def _each(
    settings: Settings,
    stage: str,
    one: Callable[[Staged, Path], PartRecord],
    finished: Callable[[Staged, Path], PartRecord | None],
) -> ArchiveSummary:
    area = Area(settings)
    with area.locked():
        files = [(staged, raw) for staged in area.staged() for raw in (staged.raw, staged.tables)]
        todo = [(staged, raw) for staged, raw in files if finished(staged, raw) is None]
        progress = Progress(stage, sum(staged.fetched.bytes for staged, raw in todo if raw == staged.raw))

        def work(item: tuple[Staged, Path]) -> PartRecord:
            record = one(*item)
            finished(*item)  # removes its input
            progress.add(record.raw_bytes)
            return record

        records = in_parallel(work, todo, settings.compression.workers or usable_cores())
    compressed = sum(record.compressed_bytes for record in records)
    return ArchiveSummary(
        stage=stage,
        parts=len({staged.directory for staged, _ in todo}),
        bytes_in=sum(record.raw_bytes for record in records) if stage == "compress" else compressed,
        bytes_out=compressed if stage == "compress" else sum(record.sealed_bytes or 0 for record in records),
        seconds=progress.finish(),
    )


def _has_size(path: Path, size: int | None) -> bool:
    return size is not None and path.exists() and path.stat().st_size == size


def _gone(path: Path, staged: Staged) -> BackupError:
    return PermanentError(
        f"{path} is gone: remove the folder {staged.directory} and clear the task list_logs with everything "
        "downstream of it; the log is fetched again if the server still has it."
    )
