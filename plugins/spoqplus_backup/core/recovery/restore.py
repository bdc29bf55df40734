"""The steps of a restore behind its plan: fetch and prove, load, look whether everything is there."""

import logging
import shutil
from collections import Counter
from collections.abc import Callable, Sequence
from datetime import datetime
from pathlib import Path

from spoqplus_backup.core.archive.gaps import begin_unlogged, end_unlogged
from spoqplus_backup.core.connections import Connections, DatabaseLogin
from spoqplus_backup.core.cores import usable_cores
from spoqplus_backup.core.crypto import scheme_for
from spoqplus_backup.core.errors import IntegrityError, PermanentError
from spoqplus_backup.core.manifest import Component, DumpObject, Index, Manifest, Part
from spoqplus_backup.core.mysql import accounts, client, server
from spoqplus_backup.core.mysql.dump import Selection
from spoqplus_backup.core.mysql.load import Journal, Source, Target, held_events, load, segment_bytes
from spoqplus_backup.core.preflight import PreflightReport, preflight
from spoqplus_backup.core.progress import Progress
from spoqplus_backup.core.recovery.archived import LOGS
from spoqplus_backup.core.recovery.files.fetch import fetch_files
from spoqplus_backup.core.recovery.files.steps import finish_files, kept_aside, verify_files
from spoqplus_backup.core.recovery.index import index_path, open_index
from spoqplus_backup.core.recovery.keeping import keep_sets, release_sets
from spoqplus_backup.core.recovery.place import SANDBOX, forget_progress, private_place, working_server
from spoqplus_backup.core.recovery.plan import VERIFIED, RestorePlan, goes_to_binary_log, restore_directory
from spoqplus_backup.core.recovery.reach import target_login
from spoqplus_backup.core.recovery.roll_forward import (
    Held,
    Touched,
    apply_binlogs,
    compare,
    fetch_logs,
    forget_replay,
    replay_record,
    untouched,
    with_cascades,
)
from spoqplus_backup.core.recovery.single_tables import compare_with_now
from spoqplus_backup.core.repository.catalog import SAFETY, Catalog, SetRef
from spoqplus_backup.core.repository.opener import open_repository
from spoqplus_backup.core.run import ACCOUNTS, DATABASE, StageSummary
from spoqplus_backup.core.settings import Settings
from spoqplus_backup.core.stages import STORE_THREADS, in_parallel
from spoqplus_backup.core.staging import locked, read_json, write_json

log = logging.getLogger(__name__)

MOST_CONNECTIONS = 4

Detail = dict[str, str | int | float | bool | None]  # of a summary


def safety_preflight(
    settings: Settings, connections: Connections, plan: RestorePlan, run_id: str, run_after: datetime
) -> PreflightReport | None:
    """Preflight of the backup of what a restore will overwrite; None when it overwrites nothing.

    The set is an ordinary one of the cadence `safety`: the tables of one database, or whole databases.
    """
    if not plan.replaces:
        return None
    databases = tuple(sorted({database for database, _ in plan.overwrites} | {*plan.may_drop}))
    tables: tuple[str, ...] = ()
    if len(databases) == 1 and plan.request.tables:
        _, login = target_login(settings, connections, plan.request.environment)
        with server.connect(login) as connection:
            base = {
                (item.database, item.name) for item in server.objects(connection, databases) if item.kind == "table"
            }
        tables = tuple(name for database, name in plan.overwrites if (database, name) in base)
    chosen = Selection(databases=databases, tables=tables)
    return preflight(settings, connections, SAFETY, run_id, run_after, components=(DATABASE,), chosen=chosen)


def fetch(settings: Settings, connections: Connections, plan: RestorePlan) -> StageSummary:
    """Bring every object that the plan needs to this machine and prove it: size, checksum, and that the key opens it.

    Raises:
        IntegrityError: an object is missing or is not what the signed manifest says; the message names it.
        WrongKeyError: the key at hand does not open it.
        BackupError: retention is deleting the set right now.
    """
    keep_sets(settings, connections, plan)
    repository = open_repository(settings, plan.repository, connections)
    manifest = _manifest(settings, connections, plan)
    scheme = scheme_for(settings, connections, manifest.encryption.scheme)
    directory = restore_directory(settings, plan.run_id)
    wanted = [(component, part) for component, parts in _parts(manifest, plan) for part in parts]
    progress = Progress("fetch", plan.fetch_bytes)

    def one(item: tuple[Component, Part]) -> None:
        component, part = item
        path = directory / component.name / part.name
        key = f"{manifest.name}/{component.name}/{part.name}"
        repository.get(key, path, part.sha256, part.stored_bytes, progress.add)
        scheme.check_can_open(path)

    in_parallel(one, wanted, STORE_THREADS)
    logs = fetch_logs(settings, connections, repository, plan, progress) if plan.has_database else 0
    of_files = fetch_files(settings, connections, plan, progress)
    return StageSummary(
        stage="fetch",
        component="",
        parts=len(wanted) + logs + of_files,
        bytes_in=plan.fetch_bytes,
        bytes_out=progress.done,
        seconds=progress.finish(),
        detail={"repository": repository.name, "backup": plan.backup},
    )


def load_set(settings: Settings, connections: Connections, plan: RestorePlan, generation: int) -> StageSummary:
    """Load what was fetched into the target: accounts, then structure, rows, programs and views.

    Started again after a failure it goes on with the tables that are missing; after it was finished, it does nothing
    for the same `generation` and loads everything anew for another one (the task was cleared).

    Raises:
        ProcessError: the server refused a statement.
        PermanentError: something that was fetched is gone: clear `fetch`.
    """
    keep_sets(settings, connections, plan)
    manifest = _manifest(settings, connections, plan)
    directory = restore_directory(settings, plan.run_id)
    place = private_place(settings, connections, plan)
    with locked(directory / "lock", f"the restore {plan.run_id}"):
        if done := read_json(directory / "load.json"):
            if done["generation"] == generation:
                return StageSummary.model_validate(done["summary"])
            if place is not None:
                place.renew()
            forget_progress(directory)
        _tell_archive(begin_unlogged, settings, connections, plan)
        with working_server(settings, connections, plan) as login:
            summary = _load(settings, connections, plan, manifest, login)
        if plan.replay is None:
            _tell_archive(end_unlogged, settings, connections, plan)
        write_json(directory / "load.json", {"generation": generation, "summary": summary.model_dump(mode="json")})
    return summary


def _load(
    settings: Settings, connections: Connections, plan: RestorePlan, manifest: Manifest, login: DatabaseLogin
) -> StageSummary:
    directory = restore_directory(settings, plan.run_id)
    target = Target(
        login=login,
        program=client.find("mysql", settings.database.client_directory, manifest.server.flavour),
        connections=settings.restore.connections or min(usable_cores() + 1, MOST_CONNECTIONS),
        binary_log=goes_to_binary_log(settings, plan),  # a private server has none
        into_schema=plan.request.into_schema if plan.place == "server" else None,
        hold_events=plan.place == "server" and plan.replay is not None,
    )
    progress = Progress("load")
    sources = {item.name: _source(settings, connections, manifest, item.name, directory) for item in plan.components}
    logins = sources.pop(ACCOUNTS, None)
    if logins is not None:  # before the data, whose programs name them as definers
        if plan.place != "server":
            accounts.clear(login)
        accounts.restore(login, segment_bytes(logins, "accounts"), binary_log=target.binary_log)
        # a view on another view is made only where its definer may read that one
        accounts.restore(login, segment_bytes(logins, "grants"), binary_log=target.binary_log, again=True)
    for planned in plan.components:
        if planned.name in sources:
            tables = frozenset(planned.tables) if planned.tables else None
            journal = Journal(directory / f"{planned.name}.loaded")
            progress.add(load(sources[planned.name], target, journal, tables))
    if logins is not None:  # behind the data, which they are on
        accounts.restore(login, segment_bytes(logins, "grants"), binary_log=target.binary_log)
    return StageSummary(
        stage="load",
        component="",
        parts=sum(len(planned.parts) for planned in plan.components),
        bytes_in=plan.sql_bytes,
        bytes_out=progress.done,
        seconds=progress.finish(),
        detail={"connections": target.connections, "target": plan.target},
    )


def _tell_archive(
    what: Callable[[Settings, Connections, str, str], None],
    settings: Settings,
    connections: Connections,
    plan: RestorePlan,
) -> None:
    """Where production is changed without its logs, tell the archive that this begins or has ended."""
    request = plan.request
    if (
        plan.place == "server"
        and request.environment == "production"
        and request.into_schema is None
        and not settings.restore.binary_log
    ):
        what(settings, connections, plan.run_id, f"The restore {plan.run_id} of {plan.backup}")


def roll_forward(settings: Settings, connections: Connections, plan: RestorePlan) -> StageSummary:
    """Replay the fetched logs on what was loaded, up to the target; see `apply_binlogs`."""
    keep_sets(settings, connections, plan)
    manifest = _manifest(settings, connections, plan)
    directory = restore_directory(settings, plan.run_id)
    source = _source(settings, connections, manifest, DATABASE, directory)
    summary = apply_binlogs(
        settings,
        connections,
        plan,
        Held(
            objects=source.index.objects,
            events=held_events(source) if plan.place == "server" else [],
            coordinates=manifest.component(DATABASE).coordinates,
        ),
    )
    _tell_archive(end_unlogged, settings, connections, plan)
    return summary


def verify_restored(settings: Settings, connections: Connections, plan: RestorePlan) -> StageSummary:
    """Everything that was restored is what the backup holds: of a server every object and the rows of every table, of
    files every size and checksum.

    After a replay the rows are asked of what the logs did not touch; of the others, that the replay was complete. When
    all is well, what the files replaced goes.

    Raises:
        IntegrityError: what is missing or differs, by name.
        PermanentError: the logs were not replayed, or the files not put in place.
    """
    path = restore_directory(settings, plan.run_id) / VERIFIED
    done = read_json(path)
    summary = StageSummary.model_validate(done) if done else _verify(settings, connections, plan)
    if not done:
        write_json(path, summary)  # from here on nothing is put back
    finish_files(settings, plan)
    for name in (*(planned.name for planned in plan.components), LOGS, SANDBOX):  # the plan and the results stay
        shutil.rmtree(path.parent / name, ignore_errors=True)
    release_sets(settings, connections, plan)
    return summary


def _verify(settings: Settings, connections: Connections, plan: RestorePlan) -> StageSummary:
    progress = Progress("verify", sum(planned.bytes for planned in plan.files) or None)
    detail: Detail = {}
    if plan.has_database:
        detail |= _verify_server(settings, connections, plan)
    if plan.files:
        detail |= verify_files(settings, plan, progress)
        detail["kept_aside"] = ", ".join(kept_aside(settings, plan)) or None
    if plan.has_database:
        compare_with_now(settings, connections, plan)
        if plan.place == "server":
            forget_replay(settings, connections, plan)
    return StageSummary(
        stage="verify_restore",
        component="",
        parts=sum(number for name in ("tables", "files") if isinstance(number := detail.get(name), int)),
        bytes_in=0,
        bytes_out=0,
        seconds=progress.finish(),
        detail=detail,
    )


def _verify_server(settings: Settings, connections: Connections, plan: RestorePlan) -> Detail:
    """See `verify_restored`."""
    manifest = _manifest(settings, connections, plan)
    directory = restore_directory(settings, plan.run_id)
    with working_server(settings, connections, plan) as login, server.connect(login) as connection:
        touched = _touched(connection, directory, plan)
        problems, tables, rows = _compare(settings, connections, plan, manifest, connection, touched)
    if problems:
        raise IntegrityError(f"The restored data are not what the backup holds: {'; '.join(problems[:10])}.")
    return {"tables": tables, "rows": rows, "objects": plan.objects} | _point_reached(touched)


def _compare(
    settings: Settings,
    connections: Connections,
    plan: RestorePlan,
    manifest: Manifest,
    connection: server.Connection,
    touched: Touched | None,
) -> tuple[list[str], int, int]:
    """What is wrong, and how many tables and rows were counted."""
    directory = restore_directory(settings, plan.run_id)
    problems: list[str] = []
    tables = rows = 0
    for planned in plan.components:
        if planned.name == ACCOUNTS:
            continue
        index = _source(settings, connections, manifest, planned.name, directory).index
        wanted = _expected(index, planned.tables, plan.request.into_schema if plan.place == "server" else None)
        if touched is not None:
            wanted = untouched(wanted, touched)
        problems += _missing(wanted, server.objects(connection, sorted({item.database for item in wanted})))
        for item in wanted:
            if item.kind != "table" or problems:
                continue
            found = server.count_rows(connection, item.database, item.name)
            tables, rows = tables + 1, rows + found
            if found != item.rows:
                problems.append(f"{item.database}.{item.name} has {found} rows, the backup has {item.rows}")
    return problems, tables, rows


def _touched(connection: server.Connection, directory: Path, plan: RestorePlan) -> Touched | None:
    """What the replay changed, when there was to be one.

    Raises:
        PermanentError: it is not complete, or stands on an earlier load.
        IntegrityError: it applied other transactions than planned.
    """
    if plan.replay is None and replay_record(directory) is None:
        return None
    record, loaded = replay_record(directory), read_json(directory / "load.json")
    if record is None or loaded is None or record.generation != loaded["generation"]:
        raise PermanentError("The logs were not replayed on what is loaded: clear the task apply_binlogs.")
    if plan.replay is not None and not record.own_logs:  # with the server's own logs it is more than was planned
        compare(plan.replay, record.touched)
    return with_cascades(connection, record.touched)


def _point_reached(touched: Touched | None) -> Detail:
    if touched is None:
        return {}
    last_at = touched.last_at.isoformat() if touched.last_at else None
    return {"transactions": touched.transactions, "last_at": last_at, "last_gtid": touched.last_gtid}


def _manifest(settings: Settings, connections: Connections, plan: RestorePlan) -> Manifest:
    repository = open_repository(settings, plan.repository, connections)
    catalog = Catalog(repository, settings.signing.public_key_files, settings.site)
    manifest = catalog.resolve(plan.backup)
    if catalog.manifest_sha256(SetRef(manifest.cadence, manifest.id)) != plan.manifest_sha256:
        raise IntegrityError(
            f"The manifest of {plan.backup} is not the one that was planned with: plan the restore again."
        )
    return manifest


def _parts(manifest: Manifest, plan: RestorePlan) -> list[tuple[Component, Sequence[Part]]]:
    found: list[tuple[Component, Sequence[Part]]] = []
    for planned in plan.components:
        component = manifest.component(planned.name)
        names = set(planned.parts)
        found.append((component, [part for part in component.parts if part.name in names] + [component.index]))
    return found


def _source(settings: Settings, connections: Connections, manifest: Manifest, name: str, directory: Path) -> Source:
    component = manifest.component(name)
    scheme = scheme_for(settings, connections, manifest.encryption.scheme)
    index: Index = open_index(index_path(directory, component), component, scheme)
    whole = any(segment.kind == "database" for segment in index.segments)
    return Source(
        parts=[directory / component.name / part.name for part in component.parts],
        index=index,
        scheme=scheme,
        database=None if whole or not index.databases else index.databases[0],
    )


def _expected(index: Index, tables: Sequence[tuple[str, str]], into_schema: str | None) -> list[DumpObject]:
    chosen = set(tables)
    found = [item for item in index.objects if not chosen or (item.database, item.table or item.name) in chosen]
    if into_schema is None:
        return found
    return [item.model_copy(update={"database": into_schema}) for item in found if item.kind in ("table", "sequence")]


def _missing(wanted: Sequence[DumpObject], there: Sequence[DumpObject]) -> list[str]:
    have = Counter((item.kind, item.database, item.name) for item in there)
    gone = [item for item in wanted if not have[item.kind, item.database, item.name]]
    return [f"the {item.kind} {item.database}.{item.name} is missing" for item in gone]
