"""Makes the plan of a restore: finds the backup, proves its manifest, looks at the target. Nothing is changed."""

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime, timezone
from pathlib import Path
from typing import Any

from spoqplus_backup.core.connections import Connections
from spoqplus_backup.core.crypto import scheme_for
from spoqplus_backup.core.errors import BackupError, IntegrityError, PermanentError
from spoqplus_backup.core.manifest import Component, DumpObject, Index, Manifest
from spoqplus_backup.core.mysql import client, server
from spoqplus_backup.core.recovery.archived import ArchivedLogs
from spoqplus_backup.core.recovery.files.leftovers import leftover_notices
from spoqplus_backup.core.recovery.files.plan import PlannedFiles, Wish, check_places, in_order, plan_files, root_for
from spoqplus_backup.core.recovery.index import read_index
from spoqplus_backup.core.recovery.keeping import keep_sets
from spoqplus_backup.core.recovery.plan import PLAN, PlannedComponent, RestorePlan, restore_directory
from spoqplus_backup.core.recovery.plan_warnings import (
    rebuild_warnings,
    replay_warnings,
    sandbox_warnings,
    target_warnings,
)
from spoqplus_backup.core.recovery.reach import Look, Reached, reach
from spoqplus_backup.core.recovery.request import RestoreRequest, of_database
from spoqplus_backup.core.recovery.target import TO_THE_END, PlannedReplay, choose
from spoqplus_backup.core.recovery.windows import Window
from spoqplus_backup.core.repository.base import Repository
from spoqplus_backup.core.repository.catalog import Catalog, SetRef
from spoqplus_backup.core.repository.opener import open_all
from spoqplus_backup.core.run import ACCOUNTS, DATABASE, database_names
from spoqplus_backup.core.settings import Settings
from spoqplus_backup.core.staging import write_json

# Measured on two cores, server and client on one machine; loading is bound by the server's processor.
LOAD_BYTES_PER_SECOND = 20e6
FETCH_BYTES_PER_SECOND = 100e6
FIXED_SECONDS = 30.0


def make_plan(settings: Settings, connections: Connections, request: RestoreRequest, run_id: str) -> RestorePlan:
    """Find the backup, prove its manifest, look at the target, and write down what will be done.

    Nothing is changed anywhere but in the restore's own folder. From here to the end of the restore (unless the plan is
    all that is wanted) retention leaves the sets alone that it reads; see `keeping`.

    Raises:
        PermanentError: the request can't be met; the message says why.
        BackupError: retention is deleting one of the sets right now.
    """
    directory = restore_directory(settings, run_id)
    database = of_database(settings, request)
    there_first = reach(settings, connections, request) if database.components else None
    found = _find_set(settings, connections, request, directory)
    of_files = _plan_files(settings, connections, request, found, directory)
    fields = (
        _plan_database(settings, connections, database, found, there_first, directory)
        if there_first is not None
        else _NO_DATABASE | {"target": ", ".join(dict.fromkeys(planned.root for planned in of_files))}
    )
    about_files = [*leftover_notices(settings, run_id, of_files)]
    about_files += [warning for planned in of_files for warning in planned.warnings]
    plan = RestorePlan(
        **fields
        | {
            "run_id": run_id,
            "request": request,
            "made_at": datetime.now(timezone.utc),
            "site": settings.site,
            "backup": found.manifest.name,
            "backup_finished_at": found.manifest.finished_at,
            "backup_server": f"{found.manifest.server.flavour} {found.manifest.server.version}",
            "manifest_sha256": found.digest,
            "repository": found.repository.name,
            "rto_seconds": settings.objectives.rto_hours * 3600,
            "replay": found.replay,
            "windows": tuple(found.windows),
            "place": request.place,
            "files": of_files,
            "seconds": round(fields["seconds"] + sum(planned.seconds for planned in of_files), 1),
            "warnings": (*fields["warnings"], *about_files),
        }
    )
    if not request.dry_run:
        keep_sets(settings, connections, plan)
    write_json(directory / PLAN, plan)
    return plan


_NO_DATABASE: dict[str, Any] = {
    "connection": "",
    "components": (),
    "overwrites": (),
    "objects": 0,
    "seconds": FIXED_SECONDS,
    "warnings": (),
}


def _plan_files(
    settings: Settings, connections: Connections, request: RestoreRequest, found: "_FoundSet", directory: Path
) -> tuple[PlannedFiles, ...]:
    """What of files will be restored; see `plan_files`."""
    names = in_order([name for name in request.components if name not in database_names(settings)])
    if not names:
        return ()
    planned = []
    for name in names:
        content = found.manifest.component(name).content
        wish = Wish(
            root=root_for(settings, request.environment, request.target_root, content),
            paths=request.paths,
            outside_links=settings.restore.outside_links,
        )
        one = plan_files(settings, connections, found.repository, found.manifest, name, wish, directory)
        check_places(settings, one, request.environment)
        planned.append(one.model_copy(update={"seconds": one.seconds + one.fetch_bytes / FETCH_BYTES_PER_SECOND}))
    return tuple(planned)


def _plan_database(
    settings: Settings,
    connections: Connections,
    request: RestoreRequest,
    found: "_FoundSet",
    there_first: Reached,
    directory: Path,
) -> dict[str, Any]:
    """What of a server will be restored: the fields of the plan that are about it."""
    place = request.place
    repository, manifest, replay = found.repository, found.manifest, found.replay
    scheme = scheme_for(settings, connections, manifest.encryption.scheme)
    # what is loaded: into a sandbox everything, for the logs are about everything
    loads = request.model_copy(update={"tables": (), "into_schema": None}) if place == "sandbox" else request
    planned, objects = [], []
    for name in _component_names(request, manifest, replay):
        component = manifest.component(name)
        index = read_index(repository, manifest, component, scheme, directory)
        if place == "sandbox" and name == DATABASE:
            _chosen_tables(request, component, index)
        planned.append(_plan_component(loads, component, index))
        objects += _chosen_objects(index, planned[-1])
    look = _look(settings, request, there_first, manifest, planned, replay)
    wanted = _wanted(request, objects)
    fetch = sum(item.fetch_bytes for item in planned) + (replay.stored_bytes if replay else 0)
    sql = sum(item.sql_bytes for item in planned)
    if place == "rebuild":
        warnings = rebuild_warnings(settings, request, look, there_first.login)
    else:
        saved = {(request.into_schema or item.database, item.name) for item in objects}
        warnings = target_warnings(settings, manifest, look, saved, request, planned) + replay_warnings(look.may_drop)
    if place == "sandbox":
        warnings += sandbox_warnings(settings, manifest, planned, replay)
    return {
        "target": f"{look.words} at {there_first.login.address}",
        "connection": there_first.connection,
        "components": tuple(planned),
        "overwrites": tuple(sorted(wanted & look.there)) if place != "rebuild" else (),
        "objects": len(objects),
        "seconds": FIXED_SECONDS
        + fetch / FETCH_BYTES_PER_SECOND
        + sql / LOAD_BYTES_PER_SECOND
        + (replay.seconds if replay else 0.0),
        "warnings": warnings,
        "may_drop": look.may_drop,
    }


def _look(
    settings: Settings,
    request: RestoreRequest,
    reached: Reached,
    manifest: Manifest,
    planned: list[PlannedComponent],
    replay: PlannedReplay | None,
) -> Look:
    if not reached.is_up:
        return Look(f"{manifest.server.flavour} (not running)", None)
    with server.connect(reached.login) as connection:
        facts = server.facts(connection)
        there = {(item.database, item.name) for item in server.objects(connection, _databases(request, planned))}
        drops = replay is not None and request.place == "server"
        may_drop = _may_drop(settings, server.databases(connection), planned) if drops else ()
    _check_flavour(settings, manifest, facts)
    return Look(f"{facts.flavour} {facts.version_text}", facts, frozenset(there), may_drop)


def _wanted(request: RestoreRequest, objects: Sequence[DumpObject]) -> set[tuple[str, str]]:
    """What is put in place of what is there."""
    if request.place == "sandbox":
        return {(str(request.into_schema), name.split(".", 1)[1]) for name in request.tables}
    return {
        (request.into_schema or item.database, item.name)
        for item in objects
        if item.kind in ("table", "view", "sequence")
    }


@dataclass(frozen=True)
class _FoundSet:
    """A backup in a repository: its manifest (proved), that one's SHA-256, and the way to the target when there is one.

    `windows` are those of every full backup there.
    """

    repository: Repository
    manifest: Manifest
    digest: str
    replay: PlannedReplay | None = None
    windows: Sequence[Window] = ()


def _find_set(settings: Settings, connections: Connections, request: RestoreRequest, directory: Path) -> _FoundSet:
    """The first repository that has the backup, and the logs that lead from it to the target."""
    complaints = []
    target = request.target(settings.timezone) or (TO_THE_END if request.rebuild else None)
    for repository in open_all(settings, connections):
        if request.repository is not None and repository.name != request.repository:
            continue
        catalog = Catalog(repository, settings.signing.public_key_files, settings.site)
        replay: PlannedReplay | None = None
        windows: list[Window] = []
        try:
            if target is None:
                manifest = catalog.resolve(request.backup, request.components)
            else:
                logs = ArchivedLogs(settings, connections, repository)
                manifest, replay, windows = choose(catalog, logs, request.backup, target, directory)
            digest = catalog.manifest_sha256(SetRef(manifest.cadence, manifest.id))
            return _FoundSet(repository, manifest, digest, replay, windows)
        except IntegrityError:
            raise  # a forged or damaged manifest is not to be passed over in silence
        except BackupError as error:
            complaints.append(str(error))
    raise PermanentError(" ".join(complaints))


def _component_names(request: RestoreRequest, manifest: Manifest, replay: PlannedReplay | None) -> tuple[str, ...]:
    """What is asked for; before a replay the accounts too, for the logs may hold grants to them.

    Raises:
        PermanentError: a server is to be made anew, and nobody could log in there.
    """
    has_accounts = any(component.name == ACCOUNTS for component in manifest.components)
    if request.rebuild and not has_accounts:
        raise PermanentError(f"The backup {manifest.name} has no accounts, so nobody could log in: choose another.")
    if request.rebuild:
        return (DATABASE, ACCOUNTS)
    if replay is None or ACCOUNTS in request.components or not has_accounts:
        return request.components
    return (*request.components, ACCOUNTS)


def _plan_component(request: RestoreRequest, component: Component, index: Index) -> PlannedComponent:
    tables = _chosen_tables(request, component, index)
    database = index.databases[0] if len(index.databases) == 1 else None
    needed = [
        segment
        for segment in index.segments
        if not tables or segment.kind == "header" or (segment.database or database, segment.table) in tables
    ]
    numbers = sorted({segment.part for segment in needed})
    parts = [component.parts[number - 1] for number in numbers]
    objects = [item for item in index.objects if item.kind == "table"]
    return PlannedComponent(
        name=component.name,
        databases=tuple(sorted({name for name, _ in tables})) or index.databases,
        tables=tuple(sorted(tables)),
        parts=tuple(part.name for part in parts),
        fetch_bytes=sum(part.stored_bytes for part in parts),
        sql_bytes=sum(segment.length for segment in needed),
        rows=sum(item.rows or 0 for item in objects if not tables or (item.database, item.name) in tables),
    )


def _chosen_tables(request: RestoreRequest, component: Component, index: Index) -> set[tuple[str, str]]:
    if component.content == "accounts" or not request.tables:
        if request.into_schema is not None and len(index.databases) > 1:
            raise PermanentError(
                f"The parameter into_schema takes one database, but the backup has {', '.join(index.databases)}: "
                "name the tables to restore."
            )
        return set()
    there = {(item.database, item.name) for item in index.objects if item.kind in ("table", "view", "sequence")}
    chosen = {(name.split(".", 1)[0], name.split(".", 1)[1]) for name in request.tables}
    if missing := sorted(chosen - there):
        names = ", ".join(f"{database}.{table}" for database, table in missing)
        raise PermanentError(
            f"The backup's component {component.name} has no table {names}: correct the parameter tables."
        )
    if request.into_schema is not None and len({database for database, _ in chosen}) > 1:
        raise PermanentError("The parameter into_schema takes the tables of one database: start a restore for each.")
    return chosen


def _chosen_objects(index: Index, planned: PlannedComponent) -> list[DumpObject]:
    if not planned.tables:
        return list(index.objects)
    tables = set(planned.tables)
    return [item for item in index.objects if (item.database, item.table or item.name) in tables]


def _may_drop(settings: Settings, there: Sequence[str], planned: Sequence[PlannedComponent]) -> tuple[str, ...]:
    """Databases at the target that logs may make: of those that are backed up, the ones that the backup lacks."""
    held = {name for component in planned for name in component.databases}
    chosen = settings.database.databases
    return tuple(name for name in there if name not in held and (not chosen or name in chosen))


def _databases(request: RestoreRequest, planned: list[PlannedComponent]) -> tuple[str, ...]:
    if request.into_schema is not None:
        return (request.into_schema,)
    return tuple(sorted({name for component in planned for name in component.databases}))


def _check_flavour(settings: Settings, manifest: Manifest, facts: server.ServerFacts) -> None:
    if facts.flavour != manifest.server.flavour:
        raise PermanentError(
            f"The backup {manifest.name} is of {manifest.server.flavour} but the target is {facts.flavour}: "
            "restore it to a server of the same vendor."
        )
    client.refuse_older(client.find("mysql", settings.database.client_directory, facts.flavour), facts.version)
