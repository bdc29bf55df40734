"""The server that is restored to: a test server is never production by another name."""

import logging
from dataclasses import dataclass

from spoqplus_backup.core.connections import Connections, DatabaseLogin
from spoqplus_backup.core.errors import BackupError, PermanentError
from spoqplus_backup.core.mysql import server
from spoqplus_backup.core.recovery.request import Environment, RestoreRequest
from spoqplus_backup.core.settings import Settings

log = logging.getLogger(__name__)


def target_login(settings: Settings, connections: Connections, environment: Environment) -> tuple[str, DatabaseLogin]:
    """The connection of an environment; for another than production, refuses one that leads to that server.

    Raises:
        PermanentError: both are one and the same server.
    """
    production_id = settings.database.connection
    if environment == "production":
        return production_id, connections.database(production_id)
    test_id, test = _other_login(settings, connections, environment)
    production = connections.database(production_id)
    same = f"The connection {test_id} leads to the production server ({production_id}): point it at another server."
    if test.address == production.address:
        raise PermanentError(same)
    with server.connect(test) as connection:
        identity = server.facts(connection).identity
    if identity == _identity_if_up(production):
        raise PermanentError(same)
    return test_id, test


def _other_login(settings: Settings, connections: Connections, environment: Environment) -> tuple[str, DatabaseLogin]:
    if environment == "dr":
        from spoqplus_backup.core.dr.server import dr_login, dr_settings

        return dr_settings(settings).database.connection, dr_login(settings, connections)
    test_id = settings.restore.test_connection
    if environment == "sandbox":
        test_id = settings.recovery_test.connection or test_id
    return test_id, connections.database(test_id)


def _identity_if_up(login: DatabaseLogin) -> str | None:
    try:
        with server.connect(login) as connection:
            return server.facts(connection).identity
    except BackupError as error:  # it is down, which is when restores are tested in earnest; the addresses do differ
        log.warning("The production server can't be asked whether it is the test server: %s", error)
        return None


@dataclass(frozen=True)
class Reached:
    """The server that is restored to; `is_up` is only False for one that is to be rebuilt."""

    connection: str
    login: DatabaseLogin
    is_up: bool = True


def reach(settings: Settings, connections: Connections, request: RestoreRequest) -> Reached:
    """See that the target can be reached, and is not production when it is to be the test server.

    Raises:
        PermanentError: test and production are one and the same server.
        BackupError: it can't be reached, and is not to be rebuilt.
    """
    if request.private:
        return Reached("", DatabaseLogin(host=None, user="", password="", socket="a private server"), is_up=False)
    if not request.rebuild:
        return Reached(*target_login(settings, connections, request.environment))
    connection = settings.database.connection
    if request.environment == "test":
        connection = settings.restore.test_connection
        _check_apart(settings, connections)
    login = connections.database(connection)
    return Reached(connection, login, is_up=_identity_if_up(login) is not None)


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


@dataclass(frozen=True)
class Look:
    """What is at the target; `words` say what it is."""

    words: str
    facts: server.ServerFacts | None
    there: frozenset[tuple[str, str]] = frozenset()
    may_drop: tuple[str, ...] = ()
