"""Before a backup: can it work, and what is at risk? Also gives the set its id."""

import logging
from collections.abc import Callable, Mapping
from datetime import datetime, timedelta
from zoneinfo import ZoneInfo

from spoqplus_backup.core.cadence import cadence_named
from spoqplus_backup.core.connections import Connections
from spoqplus_backup.core.errors import PermanentError
from spoqplus_backup.core.files.checks import check_files
from spoqplus_backup.core.manifest import MANIFEST, Flavour, Manifest, Model
from spoqplus_backup.core.mysql import client, server
from spoqplus_backup.core.mysql.dump import Selection, selection
from spoqplus_backup.core.notice import Notice, notice
from spoqplus_backup.core.process import find_program
from spoqplus_backup.core.repository.opener import open_repositories
from spoqplus_backup.core.reservation import free_bytes, refuse_hopeless, reserve
from spoqplus_backup.core.run import DATABASE, BackupRun, component_names
from spoqplus_backup.core.settings import Settings, check_beside, check_settings
from spoqplus_backup.core.staging import Staging

log = logging.getLogger(__name__)

RAW_FACTOR = 1.5  # SQL text against the server's own estimate of its rows (hexadecimal blobs take twice their size)
ID_FORMAT = "%Y%m%d_%H%M%S"

# What a backup needs; any of a tuple will do.
_NEEDED: Mapping[Flavour, tuple[tuple[str, ...], ...]] = {
    "mysql": (
        ("SELECT",),
        ("SHOW VIEW",),
        ("TRIGGER",),
        ("EVENT",),
        ("RELOAD", "FLUSH_TABLES"),
        ("REPLICATION CLIENT",),
        ("BACKUP_ADMIN",),
    ),
    "mariadb": (
        ("SELECT",),
        ("SHOW VIEW",),
        ("TRIGGER",),
        ("EVENT",),
        ("RELOAD",),
        ("BINLOG MONITOR", "REPLICATION CLIENT", "SUPER"),
    ),
}

_MAY_NOT_EXECUTE = 1370

# What a server should have for its logs to be of use, and what is said of another value.
_WANTED: Mapping[str, tuple[tuple[str, ...], Callable[[str], Notice]]] = {
    "log_bin": (
        ("ON", "1"),
        lambda value: notice(
            "preflight.log_bin",
            "The server has log_bin={value}, not ON: there are no binary logs: nothing after a full backup can be "
            "restored.",
            value=value,
        ),
    ),
    "binlog_format": (
        ("ROW",),
        lambda value: notice(
            "preflight.binlog_format",
            "The server has binlog_format={value}, not ROW: a replay may give other rows than the original.",
            value=value,
        ),
    ),
    "binlog_row_image": (
        ("FULL",),
        lambda value: notice(
            "preflight.binlog_row_image",
            "The server has binlog_row_image={value}, not FULL: a lost row can't be read back from the logs.",
            value=value,
        ),
    ),
    "sync_binlog": (
        ("1",),
        lambda value: notice(
            "preflight.sync_binlog",
            "The server has sync_binlog={value}, not 1: a power cut can lose transactions from the logs.",
            value=value,
        ),
    ),
    "innodb_flush_log_at_trx_commit": (
        ("1",),
        lambda value: notice(
            "preflight.flush_log",
            "The server has innodb_flush_log_at_trx_commit={value}, not 1: a power cut can lose committed "
            "transactions.",
            value=value,
        ),
    ),
}


class PreflightReport(Model):
    """What preflight found. Sizes in bytes."""

    set_id: str
    flavour: Flavour
    version: str
    tools: dict[str, str]
    warnings: tuple[Notice, ...]
    estimated_bytes: int
    free_bytes: int


def preflight(
    settings: Settings,
    connections: Connections,
    cadence: str,
    run_id: str,
    run_after: datetime,
    components: tuple[str, ...] | None = None,
    chosen: Selection | None = None,
) -> PreflightReport:
    """Check everything a backup needs, then claim the id of its set and reserve room for it on the staging disk.

    Args:
        settings: the site.
        connections: where its credentials are.
        cadence: `daily`, `weekly`, `safety`, ...
        run_id: names the run; a retry with the same one gets the same set id.
        run_after: the time of the run; its local form becomes the set's id.
        components: what will be backed up; all that a daily backup has when None.
        chosen: what `database` is of, when it is not what the configuration says.

    Raises:
        PermanentError: all that is wrong, in one message.
        BackupError: a server or repository can't be reached now, or other runs fill the staging disk for long.
    """
    names = component_names(settings) if components is None else components
    if problems := check_settings(settings, connections, components=names, replicas=False):
        raise PermanentError(" ".join(problems))
    warnings = encryption_warnings(settings)
    login = connections.database(settings.database.connection)
    with server.connect(login) as connection:
        facts = server.facts(connection)
        program = client.find("mysqldump", settings.database.client_directory, facts.flavour)
        problems = _problems(
            lambda: client.refuse_older(program, facts.version),
            lambda: check_privileges(connection, facts.flavour),
            lambda: _check_programs(settings),
        )
        warnings += server_warnings(settings, connection, facts)
        databases = (chosen or selection(settings, DATABASE, login)).databases
        problems += _problems(lambda: check_views(connection, facts.flavour, databases))
        estimated = estimated_bytes(connection, databases)
    files = check_files(BackupRun(settings, connections, cadence, "", run_id), names)
    problems += files.problems
    warnings += files.warnings
    estimated += files.bytes
    rules = cadence_named(cadence)
    problems += _problems(lambda: refuse_hopeless(settings, estimated))
    if components is None:
        warnings += [
            notice("preflight.beside", "Beside the set: {problem}", problem=problem)
            for problem in check_beside(settings, connections)
        ]
    for repository in open_repositories(settings, connections, long_term=rules.long_term):
        problems += _problems(repository.probe)
    if problems:
        raise PermanentError(" ".join(problems))
    set_id = claim_set_id(settings, connections, cadence, run_id, run_after, names, chosen)
    staging = Staging(settings.staging.directory, settings.site, cadence, set_id)
    if staging.owner() is not None:  # else it is published
        wait_seconds = settings.staging.wait_hours * 3600 if rules.waits else 0.0
        reserve(settings, staging, run_id, estimated, wait_seconds)
    for warning in warnings:
        log.warning("%s", warning.words)
    return PreflightReport(
        set_id=set_id,
        flavour=facts.flavour,
        version=facts.version_text,
        tools={"mysqldump": f"{program.flavour} {program.version_text}", **files.tools},
        warnings=tuple(warnings),
        estimated_bytes=estimated,
        free_bytes=free_bytes(settings.staging.directory),
    )


def claim_set_id(
    settings: Settings,
    connections: Connections,
    cadence: str,
    run_id: str,
    run_after: datetime,
    components: tuple[str, ...] | None = None,
    chosen: Selection | None = None,
) -> str:
    """The local time of the run as `YYYYMMDD_HHMMSS`, or the next second that no other run has."""
    repository = open_repositories(settings, connections)[0]
    moment = run_after.astimezone(ZoneInfo(settings.timezone))
    while True:
        set_id = moment.strftime(ID_FORMAT)
        key = f"{cadence}/{set_id}/{MANIFEST}"
        if repository.stat(key) is None:
            if Staging(settings.staging.directory, settings.site, cadence, set_id).claim(
                run_id, component_names(settings) if components is None else components, chosen
            ):
                return set_id
        elif Manifest.from_json(repository.read(key), key).run_id == run_id:
            return set_id
        moment += timedelta(seconds=1)


def estimated_bytes(connection: server.Connection, databases: tuple[str, ...]) -> int:
    """How much a dump of these may need on the staging disk."""
    return int(server.data_bytes(connection, databases) * RAW_FACTOR)


def _problems(*checks: Callable[[], object]) -> list[str]:
    found = []
    for check in checks:
        try:
            check()
        except PermanentError as error:
            found.append(str(error))
    return found


def _check_programs(settings: Settings) -> None:
    if settings.encryption.scheme == "age":
        find_program("age", "age")
    else:
        find_program("openssl", "openssl")


def check_privileges(connection: server.Connection, flavour: Flavour) -> None:
    """See that the login has what a dump needs.

    Raises:
        PermanentError: it has not; names what to grant.
    """
    granted = server.privileges(connection).get("*.*", frozenset())
    if granted & {"ALL PRIVILEGES", "ALL"}:
        return
    missing = [" or ".join(names) for names in _NEEDED[flavour] if not granted & set(names)]
    if missing:
        raise PermanentError(
            f"The login {connection.login.user} lacks {', '.join(missing)} on *.*: without them a dump fails or leaves "
            f"things out silently. GRANT {', '.join(name.split(' or ')[0] for name in missing)} ON *.* TO it."
        )


def check_views(connection: server.Connection, flavour: Flavour, databases: tuple[str, ...]) -> None:
    """MariaDB's mysqldump fails at a view that calls a function which its login may not execute; MySQL's does not."""
    refused = set()
    for database in databases if flavour == "mariadb" else ():
        views = connection.rows("SELECT TABLE_NAME FROM information_schema.VIEWS WHERE TABLE_SCHEMA = %s", (database,))
        for (view,) in views:
            try:
                connection.rows(f"SHOW FIELDS FROM {server.quoted(database)}.{server.quoted(str(view))}")
            except server.StatementError as error:
                if error.code == _MAY_NOT_EXECUTE:
                    refused.add(str(error).partition(" for routine ")[2].strip(" ."))
    if refused:
        raise PermanentError(
            f"The login {connection.login.user} may not execute {', '.join(sorted(refused))}, which views call, so "
            "mysqldump fails at them. GRANT EXECUTE ON FUNCTION to it for each (or EXECUTE ON *.*)."
        )


def encryption_warnings(settings: Settings) -> list[Notice]:
    """How the encryption could be safer."""
    if settings.encryption.scheme == "openssl":
        sentence = (
            "encryption.scheme is openssl: whoever can write backups can read them too. age is the stronger choice."
        )
        return [notice("preflight.openssl", sentence)]
    if len(settings.encryption.recipients) == 1:
        sentence = (
            "There is only one recipient: when its key is lost, every backup is. Add a second key, kept elsewhere."
        )
        return [notice("preflight.one_recipient", sentence)]
    return []


def server_warnings(settings: Settings, connection: server.Connection, facts: server.ServerFacts) -> list[Notice]:
    """What of the server's settings and tables makes a backup worth less."""
    variables = connection.variables(*_WANTED, "gtid_mode")
    found = [
        say(variables.get(name, "unset"))
        for name, (good, say) in _WANTED.items()
        if variables.get(name, "").upper() not in good
    ]
    mode = variables.get("gtid_mode", "OFF")
    if facts.flavour == "mysql" and facts.log_bin and mode != "ON":
        sentence = "The server has gtid_mode={value}, not ON: a restore point can't be named by GTID."
        found.append(notice("preflight.gtid_mode", sentence, value=mode))
    engines = connection.rows(
        "SELECT TABLE_SCHEMA, TABLE_NAME, ENGINE FROM information_schema.TABLES WHERE TABLE_TYPE = 'BASE TABLE' "
        "AND ENGINE <> 'InnoDB' AND TABLE_SCHEMA NOT IN ('mysql', 'information_schema', 'performance_schema', 'sys')"
    )
    if engines:
        named = ", ".join(f"{database}.{table} ({engine})" for database, table, engine in engines[:10])
        sentence = "{count} tables are not InnoDB, so not part of the consistent snapshot: {names}."
        found.append(notice("preflight.engines", sentence, count=len(engines), names=named))
    floats = connection.rows(
        "SELECT TABLE_SCHEMA, TABLE_NAME, COLUMN_NAME FROM information_schema.COLUMNS WHERE DATA_TYPE = 'float' "
        "AND TABLE_SCHEMA NOT IN ('mysql', 'information_schema', 'performance_schema', 'sys')"
    )
    if floats:
        named = ", ".join(".".join(names) for names in floats[:10])
        sentence = "mysqldump writes FLOAT with six digits, others are lost (DOUBLE keeps them): {names}."
        found.append(notice("preflight.floats", sentence, names=named))
    long = connection.rows(
        "SELECT ID, TIME FROM information_schema.PROCESSLIST WHERE COMMAND = 'Query' AND TIME > %s",
        (settings.database.long_query_seconds,),
    )
    sentence = "The query of connection {number} has run for {seconds} s: the dump may have to wait for it."
    found += [notice("preflight.long_query", sentence, number=number, seconds=seconds) for number, seconds in long]
    return found
