"""What a restore will do, written down before it does anything: shown to the person who approves it, then followed."""

import hashlib
import logging
import re
import shutil
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime, timezone
from pathlib import Path
from typing import Any, Literal

from pydantic import Field, ValidationError

from spoqplus_backup.core.connections import Connections, DatabaseLogin
from spoqplus_backup.core.crypto import scheme_for
from spoqplus_backup.core.errors import BackupError, IntegrityError, PermanentError, SettingsError
from spoqplus_backup.core.manifest import Component, DumpObject, Flavour, Index, Manifest, Model
from spoqplus_backup.core.mysql import client, server
from spoqplus_backup.core.mysql.sandbox import ServerPrograms
from spoqplus_backup.core.progress import human_bytes
from spoqplus_backup.core.recovery.archived import ArchivedLogs
from spoqplus_backup.core.recovery.find import read_search
from spoqplus_backup.core.recovery.index import read_index
from spoqplus_backup.core.recovery.target import (
    PARAMETERS,
    TO_THE_END,
    PlannedReplay,
    Target,
    choose,
    read_target,
)
from spoqplus_backup.core.recovery.windows import Window
from spoqplus_backup.core.repository.base import Repository
from spoqplus_backup.core.repository.catalog import Catalog, SetRef
from spoqplus_backup.core.repository.opener import open_repositories
from spoqplus_backup.core.run import ACCOUNTS, DATABASE, component_names
from spoqplus_backup.core.settings import Settings
from spoqplus_backup.core.staging import read_json, write_json

log = logging.getLogger(__name__)

# Measured on two cores, server and client on one machine; loading is bound by the server's processor.
LOAD_BYTES_PER_SECOND = 20e6
FETCH_BYTES_PER_SECOND = 100e6
FIXED_SECONDS = 30.0
SANDBOX_FACTOR = 2.0  # of the SQL: rows with their indexes, and the logs that InnoDB keeps

Environment = Literal["test", "production"]
Place = Literal["server", "rebuild", "sandbox"]
_UNSAFE = re.compile(r"[^A-Za-z0-9._-]+")


class RestoreRequest(Model):
    """What a person asked for."""

    environment: Environment = "test"
    backup: str = Field(default="latest", min_length=1)
    repository: str | None = None
    components: tuple[str, ...] = (DATABASE,)
    tables: tuple[str, ...] = ()
    into_schema: str | None = Field(default=None, min_length=1, max_length=64)
    dry_run: bool = False
    safety_backup: bool = True
    rebuild: bool = False
    to_time: str | None = Field(default=None, min_length=1)
    to_gtid: str | None = Field(default=None, min_length=1)
    before_gtid: str | None = Field(default=None, min_length=1)
    find_tables: tuple[str, ...] = ()
    find_kinds: tuple[str, ...] = ()
    find_since: str | None = Field(default=None, min_length=1)

    @property
    def finds(self) -> bool:
        """Whether this only looks for transactions: nothing is restored."""
        return bool(self.find_tables)

    @property
    def has_target(self) -> bool:
        """Whether a point in time is asked for."""
        return any(getattr(self, name) is not None for name in PARAMETERS)

    @property
    def place(self) -> Place:
        """Where it works: single tables are rolled forward in a sandbox, for logs are of whole servers."""
        if self.rebuild:
            return "rebuild"
        return "sandbox" if self.tables and self.has_target else "server"

    @property
    def replays(self) -> bool:
        """Whether logs may be applied: of a server that is rebuilt its own last ones always are."""
        return self.has_target or self.rebuild

    @property
    def saves(self) -> bool:
        """Whether production is saved before: a server that is rebuilt keeps its old data directory instead."""
        return self.environment == "production" and self.safety_backup and not self.rebuild

    def target(self, zone: str) -> Target | None:
        """The point in time that is asked for; a time without a zone is of `zone`.

        Raises:
            SettingsError: it can't be read, or there are two.
        """
        given = [(name, text) for name in PARAMETERS if (text := getattr(self, name)) is not None]
        if len(given) > 1:
            raise SettingsError(f"The parameters {given[0][0]} and {given[1][0]} exclude each other: name one point.")
        return read_target(*given[0], zone) if given else None


class PlannedComponent(Model):
    """A component of the set that will be restored. `tables` are (database, table) pairs; empty: all of it."""

    name: str
    databases: tuple[str, ...]
    tables: tuple[tuple[str, str], ...] = ()
    parts: tuple[str, ...]
    fetch_bytes: int
    sql_bytes: int
    rows: int


class RestorePlan(Model):
    """What a restore will do. Sizes in bytes, times in seconds."""

    run_id: str
    request: RestoreRequest
    made_at: datetime
    site: str
    backup: str
    backup_finished_at: datetime
    backup_server: str
    manifest_sha256: str
    repository: str
    target: str
    connection: str
    components: tuple[PlannedComponent, ...]
    overwrites: tuple[tuple[str, str], ...]
    objects: int
    seconds: float
    rto_seconds: float
    warnings: tuple[str, ...] = ()
    replay: PlannedReplay | None = None
    windows: tuple[Window, ...] = ()
    may_drop: tuple[str, ...] = ()
    """Databases at the target that the backup does not have: when the replayed logs make them, these go first."""
    place: Place = "server"

    @property
    def flavour(self) -> Flavour:
        """Whose server it is."""
        return "mariadb" if self.backup_server.startswith("mariadb") else "mysql"

    @property
    def copied(self) -> tuple[tuple[str, str], ...]:
        """Database and name of the tables that are copied out of a sandbox."""
        if self.place != "sandbox":
            return ()
        pairs = (name.split(".", 1) for name in self.request.tables)
        return tuple((database, table) for database, table in pairs)

    @property
    def replaces(self) -> bool:
        """Whether anything is lost without a safety backup."""
        return bool(self.overwrites or self.may_drop)

    @property
    def fetch_bytes(self) -> int:
        """What is downloaded."""
        logs = self.replay.stored_bytes if self.replay else 0
        return sum(component.fetch_bytes for component in self.components) + logs

    @property
    def sql_bytes(self) -> int:
        """What the server executes."""
        return sum(component.sql_bytes for component in self.components)

    @property
    def rows(self) -> int:
        """Rows that will be there afterwards."""
        return sum(component.rows for component in self.components)


def validate_request(settings: Settings, params: Mapping[str, Any]) -> RestoreRequest:
    """Check the parameters of a trigger; the REST API lets through what the form would not.

    Raises:
        SettingsError: one sentence that names the parameter and the remedy.
    """
    given = {name: value for name, value in params.items() if value is not None}
    try:
        request = RestoreRequest.model_validate(given)
    except ValidationError as error:
        first = error.errors(include_url=False, include_input=False)[0]
        name = ".".join(map(str, first["loc"]))
        parameters = ", ".join(RestoreRequest.model_fields)
        reason = (
            f"there is no such parameter; there are {parameters}"
            if first["type"] == "extra_forbidden"
            else first["msg"]
        )
        raise SettingsError(f"The parameter {name} is wrong: {reason}.") from None
    known = component_names(settings)
    if unknown := [name for name in request.components if name not in known]:
        raise SettingsError(
            f"The parameter components has {unknown[0]}, which is none of {', '.join(known)}: choose of these."
        )
    if not request.components:
        raise SettingsError(f"The parameter components is empty: choose of {', '.join(known)}.")
    if DATABASE in request.components and set(request.components) - {DATABASE, ACCOUNTS}:
        raise SettingsError(
            f"The parameter components has {DATABASE}, which holds the others' tables already: choose one of them."
        )
    for table in request.tables:
        if not re.fullmatch(r"[^.]+\..+", table, re.DOTALL):
            raise SettingsError(f"The parameter tables has {table!r}: write database.table.")
    if request.repository is not None:
        settings.repository(request.repository)
    if request.into_schema is not None and request.into_schema.lower() in server.SYSTEM_DATABASES:
        raise SettingsError(
            f"The parameter into_schema is {request.into_schema}, the server's own: name another schema."
        )
    _check_point(settings, request)
    _check_rebuild(settings, request)
    return request


def _check_rebuild(settings: Settings, request: RestoreRequest) -> None:
    if not request.rebuild:
        return
    if request.tables or request.into_schema is not None or DATABASE not in request.components:
        raise SettingsError(
            "The parameter rebuild makes a whole server anew: choose the component database and leave tables and "
            "into_schema empty."
        )
    if request.environment not in settings.restore.rebuild:
        raise SettingsError(
            f"The parameter rebuild needs to know how: set `restore.rebuild.{request.environment}` in "
            f"{settings.source}, with data_directory, stop and start."
        )


def _check_point(settings: Settings, request: RestoreRequest) -> None:
    """What a point in time can't go together with, and what is looked for."""
    if (target := request.target(settings.timezone)) is not None:
        if bool(request.tables) != (request.into_schema is not None):
            missing, why = (
                ("into_schema", "single tables of an earlier moment are put beside the ones of now")
                if request.tables
                else ("tables", "at a point in time only tables go into another schema")
            )
            raise SettingsError(
                f"The parameter {target.parameter} needs {missing}, too: {why}. Name it, or leave both empty."
            )
        if len({table.split(".", 1)[0] for table in request.tables}) > 1:
            raise SettingsError("The parameter into_schema takes the tables of one database: start a restore for each.")
        if DATABASE not in request.components:
            raise SettingsError(f"The parameter {target.parameter} needs the component {DATABASE}, which logs go on.")
    if request.finds:
        read_search(request.find_tables, request.find_kinds, request.find_since, None, settings.timezone)
    elif request.find_kinds or request.find_since is not None:
        raise SettingsError("The parameter find_tables is empty: name the tables to look for as database.table.")


def restore_directory(settings: Settings, run_id: str) -> Path:
    """The folder of a restore on the worker's disk."""
    readable = _UNSAFE.sub("_", run_id)[:80]
    return (
        settings.staging.directory
        / "restore"
        / settings.site
        / f"{readable}-{hashlib.sha256(run_id.encode()).hexdigest()[:8]}"
    )


def target_login(settings: Settings, connections: Connections, environment: Environment) -> tuple[str, DatabaseLogin]:
    """The connection of an environment; for `test`, refuses one that leads to the production server.

    Raises:
        PermanentError: test and production are one and the same server.
    """
    production_id = settings.database.connection
    if environment == "production":
        return production_id, connections.database(production_id)
    test_id = settings.restore.test_connection
    test, production = connections.database(test_id), connections.database(production_id)
    same = f"The connection {test_id} leads to the production server ({production_id}): point it at a test server."
    if test.address == production.address:
        raise PermanentError(same)
    with server.connect(test) as connection:
        identity = server.facts(connection).identity
    if identity == _identity_if_up(production):
        raise PermanentError(same)
    return test_id, test


def _identity_if_up(login: DatabaseLogin) -> str | None:
    try:
        with server.connect(login) as connection:
            return server.facts(connection).identity
    except BackupError as error:  # it is down, which is when restores are tested in earnest; the addresses do differ
        log.warning("The production server can't be asked whether it is the test server: %s", error)
        return None


def make_plan(settings: Settings, connections: Connections, request: RestoreRequest, run_id: str) -> RestorePlan:
    """Find the backup, prove its manifest, look at the target, and write down what will be done.

    Nothing is changed anywhere but in the restore's own folder.

    Raises:
        PermanentError: the request can't be met; the message says why.
    """
    place = request.place
    directory = restore_directory(settings, run_id)
    there_first = _reach(settings, connections, request)
    found = _find_set(settings, connections, request, directory)
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
        warnings = _rebuild_warnings(settings, request, look, there_first.login)
    else:
        saved = {(request.into_schema or item.database, item.name) for item in objects}
        warnings = _warnings(settings, manifest, look, saved, request, planned) + _replay_warnings(look.may_drop)
    if place == "sandbox":
        warnings += _sandbox_warnings(settings, manifest, planned, replay)
    plan = RestorePlan(
        run_id=run_id,
        request=request,
        made_at=datetime.now(timezone.utc),
        site=settings.site,
        backup=manifest.name,
        backup_finished_at=manifest.finished_at,
        backup_server=f"{manifest.server.flavour} {manifest.server.version}",
        manifest_sha256=found.digest,
        repository=repository.name,
        target=f"{look.words} at {there_first.login.address}",
        connection=there_first.connection,
        components=tuple(planned),
        overwrites=tuple(sorted(wanted & look.there)) if place != "rebuild" else (),
        objects=len(objects),
        seconds=round(
            FIXED_SECONDS
            + fetch / FETCH_BYTES_PER_SECOND
            + sql / LOAD_BYTES_PER_SECOND
            + (replay.seconds if replay else 0.0),
            1,
        ),
        rto_seconds=settings.objectives.rto_hours * 3600,
        warnings=warnings,
        replay=replay,
        windows=tuple(found.windows),
        may_drop=look.may_drop,
        place=place,
    )
    write_json(directory / "plan.json", plan)
    return plan


@dataclass(frozen=True)
class _Reached:
    """The server that is restored to; `is_up` is only False for one that is to be rebuilt."""

    connection: str
    login: DatabaseLogin
    is_up: bool = True


@dataclass(frozen=True)
class _Look:
    """What is at the target; `words` say what it is."""

    words: str
    facts: server.ServerFacts | None
    there: frozenset[tuple[str, str]] = frozenset()
    may_drop: tuple[str, ...] = ()


def _reach(settings: Settings, connections: Connections, request: RestoreRequest) -> _Reached:
    """See that the target can be reached, and is not production when it is to be the test server.

    Raises:
        PermanentError: test and production are one and the same server.
        BackupError: it can't be reached, and is not to be rebuilt.
    """
    if not request.rebuild:
        return _Reached(*target_login(settings, connections, request.environment))
    connection = settings.database.connection
    if request.environment == "test":
        connection = settings.restore.test_connection
        _check_apart(settings, connections)
    login = connections.database(connection)
    return _Reached(connection, login, is_up=_identity_if_up(login) is not None)


def _check_apart(settings: Settings, connections: Connections) -> None:
    test, production = (
        connections.database(name) for name in (settings.restore.test_connection, settings.database.connection)
    )
    rebuilt = settings.restore.rebuild
    same_files = "production" in rebuilt and (
        rebuilt["production"].data_directory == rebuilt["test"].data_directory
        or rebuilt["production"].stop == rebuilt["test"].stop
    )
    ours, theirs = _identity_if_up(test), _identity_if_up(production)
    if test.address == production.address or same_files or (ours is not None and ours == theirs):
        raise PermanentError(
            f"The connection {settings.restore.test_connection} or `restore.rebuild.test` leads to the production "
            f"server ({settings.database.connection}): point both at a test server."
        )


def _look(
    settings: Settings,
    request: RestoreRequest,
    reached: _Reached,
    manifest: Manifest,
    planned: list[PlannedComponent],
    replay: PlannedReplay | None,
) -> _Look:
    if not reached.is_up:
        return _Look(f"{manifest.server.flavour} (not running)", None)
    with server.connect(reached.login) as connection:
        facts = server.facts(connection)
        there = {(item.database, item.name) for item in server.objects(connection, _databases(request, planned))}
        drops = replay is not None and request.place == "server"
        may_drop = _may_drop(settings, server.databases(connection), planned) if drops else ()
    _check_flavour(settings, manifest, facts)
    return _Look(f"{facts.flavour} {facts.version_text}", facts, frozenset(there), may_drop)


def _wanted(request: RestoreRequest, objects: Sequence[DumpObject]) -> set[tuple[str, str]]:
    """What is put in place of what is there."""
    if request.place == "sandbox":
        return {(str(request.into_schema), name.split(".", 1)[1]) for name in request.tables}
    return {
        (request.into_schema or item.database, item.name)
        for item in objects
        if item.kind in ("table", "view", "sequence")
    }


def _rebuild_warnings(
    settings: Settings, request: RestoreRequest, look: _Look, login: DatabaseLogin
) -> tuple[str, ...]:
    how = settings.restore.rebuild[request.environment]
    kept = "stays there" if how.keep_old else "goes when the new server is verified and answers"
    found = [
        f"The whole server is made anew: {' '.join(how.stop)!r} stops its service, and its data directory "
        f"{how.data_directory} is moved aside. There is no safety backup: the old directory is the copy, and {kept}.",
        "What the server holds and the backup and the logs do not is gone afterwards.",
        "Its binary logs begin anew: the next backups start a new timeline, trigger a full backup when it is done.",
    ]
    if look.facts is None:
        found.append(f"The server {login.address} does not answer: what it is was taken from the backup.")
    return tuple(found)


def _sandbox_warnings(
    settings: Settings, manifest: Manifest, planned: list[PlannedComponent], replay: PlannedReplay | None
) -> tuple[str, ...]:
    """See that a private server can be started here, and warn when its disk may be too small."""
    flavour = manifest.server.flavour
    ServerPrograms(flavour, settings.restore.server_directory).find("mariadbd" if flavour == "mariadb" else "mysqld")
    needed = round(sum(item.sql_bytes for item in planned) * SANDBOX_FACTOR) + 2 * (replay.bytes if replay else 0)
    folder = next(path for path in (settings.staging.directory, *settings.staging.directory.parents) if path.exists())
    free = shutil.disk_usage(folder).free
    if free > needed:
        return ()
    return (
        f"A private server takes about {human_bytes(needed)} in {settings.staging.directory}, which has "
        f"{human_bytes(free)} free: make room, or point staging.directory elsewhere.",
    )


def load_plan(settings: Settings, run_id: str) -> RestorePlan:
    """The plan of a run, as its plan task wrote it.

    Raises:
        PermanentError: there is none on this worker.
    """
    content = read_json(restore_directory(settings, run_id) / "plan.json")
    if content is None:
        raise PermanentError(
            f"There is no plan of {run_id} on this worker's disk: clear the task plan with everything downstream."
        )
    return RestorePlan.model_validate(content)


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
    for repository in open_repositories(settings, connections):
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


def _replay_warnings(may_drop: Sequence[str]) -> tuple[str, ...]:
    if not may_drop:
        return ()
    names = ", ".join(may_drop[:5]) + (f" and {len(may_drop) - 5} more" if len(may_drop) > 5 else "")
    return (f"The backup has no {names}: when the logs make such a database, what is there of that name goes first.",)


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


def _warnings(
    settings: Settings,
    manifest: Manifest,
    look: _Look,
    saved: set[tuple[str, str]],
    request: RestoreRequest,
    planned: list[PlannedComponent],
) -> tuple[str, ...]:
    found = []
    facts, there = look.facts, look.there
    if facts is not None and not manifest.server.version.startswith(".".join(map(str, facts.version[:2]))):
        found.append(f"The backup is of version {manifest.server.version}, the target is {facts.version_text}.")
    left = there - saved
    if left and not request.tables:
        names = ", ".join(f"{database}.{name}" for database, name in sorted(left)[:5])
        more = f" and {len(left) - 5} more" if len(left) > 5 else ""
        found.append(f"What the backup does not have stays as it is: {names}{more}.")
    if request.environment == "production" and request.into_schema is None and not settings.restore.binary_log:
        found.append(
            "What is loaded is not written to the binary log (restore.binary_log): replicas won't have it, and the "
            "logs lead to no point behind this restore: trigger a full backup when it is done."
        )
    if request.environment == "production" and any(item.name == "face_encodings" for item in planned):
        found.append("The component face_encodings holds active rows only: rows that are not active will be gone.")
    if request.environment == "production" and not request.safety_backup:
        found.append("There will be no safety backup: what is overwritten can't be brought back.")
    return tuple(found)
