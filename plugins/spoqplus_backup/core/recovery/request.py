"""What a person asks of a restore: its parameters, and what is wrong with them."""

import re
from collections.abc import Mapping
from typing import Any, Literal

from pydantic import Field, ValidationError

from spoqplus_backup.core.errors import SettingsError
from spoqplus_backup.core.manifest import Model
from spoqplus_backup.core.mysql import server
from spoqplus_backup.core.recovery.files.names import Patterns
from spoqplus_backup.core.recovery.files.plan import root_for
from spoqplus_backup.core.recovery.find import read_search
from spoqplus_backup.core.recovery.target import PARAMETERS, Target, read_target
from spoqplus_backup.core.run import ACCOUNTS, DATABASE, component_names, database_names
from spoqplus_backup.core.settings import Settings

Environment = Literal["test", "production", "sandbox", "dr"]
Place = Literal["server", "rebuild", "sandbox"]


OF_A_SANDBOX = frozenset(("to_place", "private"))  # fields that only a recovery test sets


class RestoreRequest(Model):
    """What a person asked for; `sandbox` is the recovery test's environment and `dr` the failover's, which ask so.

    `private` is a sandbox that is started for it, not a server that the configuration names.
    """

    environment: Environment = "test"
    backup: str = Field(default="latest", min_length=1)
    repository: str | None = None
    components: tuple[str, ...] = (DATABASE,)
    tables: tuple[str, ...] = ()
    paths: tuple[str, ...] = ()
    target_root: str | None = Field(default=None, min_length=1)
    into_schema: str | None = Field(default=None, min_length=1, max_length=64)
    dry_run: bool = False
    safety_backup: bool = True
    rebuild: bool = False
    to_time: str | None = Field(default=None, min_length=1)
    to_gtid: str | None = Field(default=None, min_length=1)
    before_gtid: str | None = Field(default=None, min_length=1)
    to_place: str | None = Field(default=None, min_length=1)
    find_tables: tuple[str, ...] = ()
    find_kinds: tuple[str, ...] = ()
    find_since: str | None = Field(default=None, min_length=1)
    private: bool = False

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
        return "sandbox" if self.private or (self.tables and self.has_target) else "server"

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


def validate_request(settings: Settings, params: Mapping[str, Any]) -> RestoreRequest:
    """Check the parameters of a trigger; the REST API lets through what the form would not.

    Raises:
        SettingsError: one sentence that names the parameter and the remedy.
    """
    given = {name: value for name, value in params.items() if value is not None}
    _refuse_sandbox(given)
    try:
        request = RestoreRequest.model_validate(given)
    except ValidationError as error:
        first = error.errors(include_url=False, include_input=False)[0]
        name = ".".join(map(str, first["loc"]))
        reason = (
            f"there is no such parameter; there are {_known()}" if first["type"] == "extra_forbidden" else first["msg"]
        )
        raise SettingsError(f"The parameter {name} is wrong: {reason}.") from None
    known = component_names(settings)
    if unknown := [name for name in request.components if name not in known]:
        raise SettingsError(
            f"The parameter components has {unknown[0]}, which is none of {', '.join(known)}: choose of these."
        )
    if not request.components:
        raise SettingsError(f"The parameter components is empty: choose of {', '.join(known)}.")
    of_database = [name for name in request.components if name in database_names(settings)]
    if DATABASE in request.components and set(of_database) - {DATABASE, ACCOUNTS}:
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
    _check_files(settings, request)
    return request


def parameters() -> tuple[str, ...]:
    """What a person may ask for by name."""
    return tuple(name for name in RestoreRequest.model_fields if name not in OF_A_SANDBOX)


def _known() -> str:
    return ", ".join(parameters())


def _refuse_sandbox(given: Mapping[str, Any]) -> None:
    """What only a recovery test or a failover asks for."""
    if given.get("environment") in ("sandbox", "dr"):
        raise SettingsError("The parameter environment is wrong: choose test or production.")
    if own := sorted(given.keys() & OF_A_SANDBOX):
        raise SettingsError(f"The parameter {own[0]} is wrong: there is no such parameter; there are {_known()}.")


def of_database(settings: Settings, request: RestoreRequest) -> RestoreRequest:
    """The part of a request that is about a database server; it may name no component."""
    known = database_names(settings)
    return request.model_copy(update={"components": tuple(name for name in request.components if name in known)})


def _check_files(settings: Settings, request: RestoreRequest) -> None:
    """What parameters of files need, and what they can't go together with."""
    of_files = [name for name in request.components if name not in database_names(settings)]
    if request.paths and (len(of_files) != 1 or len(request.components) != 1):
        raise SettingsError("The parameter paths is of one component of files: name only that one in components.")
    Patterns(request.paths)
    if request.target_root is not None and not of_files:
        raise SettingsError("The parameter target_root is of components of files: name one in components.")
    root_for(settings, request.environment, request.target_root)
    if request.tables and len(of_files) == len(request.components):
        raise SettingsError("The parameter tables is of the database: name its component, or leave tables empty.")


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
