"""What the doctor asks of others: the database server and the repositories, and how their clocks go."""

import shutil
from collections.abc import Callable, Iterator
from datetime import datetime, timezone
from email.utils import parsedate_to_datetime
from pathlib import Path
from urllib.parse import unquote, urlsplit

from spoqplus_backup.core.connections import Connections
from spoqplus_backup.core.doctor.local import room
from spoqplus_backup.core.doctor.model import Area, Line, doubtful, good, wrong
from spoqplus_backup.core.errors import BackupError
from spoqplus_backup.core.mysql import client, server
from spoqplus_backup.core.mysql.dump import selection
from spoqplus_backup.core.notice import Notice, notice
from spoqplus_backup.core.preflight import check_privileges, check_views, estimated_bytes, server_warnings
from spoqplus_backup.core.progress import human_bytes
from spoqplus_backup.core.repository.opener import open_repository
from spoqplus_backup.core.reservation import refuse_hopeless
from spoqplus_backup.core.run import DATABASE
from spoqplus_backup.core.settings import RepositorySettings, Settings

SKEW_SECONDS = 5.0  # beyond, times in names and messages mislead
HOPELESS_SECONDS = 300.0  # S3 refuses requests from 15 minutes on, and a point in time would be another one
PROGRAMS = ("mysqldump", "mysql", "mysqlbinlog")


def production(settings: Settings, connections: Connections) -> Iterator[Line]:
    """The server that is backed up: as preflight asks it, changing nothing."""
    name = settings.database.connection
    login = connections.database(name)
    with server.connect(login) as connection:
        facts = server.facts(connection)
        yield from _reached(name, connection, facts)
        yield from _programs(settings, facts)
        databases = selection(settings, DATABASE, login).databases
        yield _judged("permissions", name, lambda: check_privileges(connection, facts.flavour))
        yield _judged("permissions", f"{name}: views", lambda: check_views(connection, facts.flavour, databases))
        for warning in server_warnings(settings, connection, facts):
            yield doubtful("configuration", name, warning)
        needed = estimated_bytes(connection, databases)
    said = notice("doctor.needs", "a dump may need {needed}", needed=human_bytes(needed))
    yield _judged("space", "staging.directory", lambda: refuse_hopeless(settings, needed), said)


def target(settings: Settings, connections: Connections) -> Iterator[Line]:
    """The server that is restored to."""
    name = settings.restore.test_connection
    with server.connect(connections.database(name)) as connection:
        facts = server.facts(connection)
        yield from _reached(name, connection, facts)
        yield from _programs(settings, facts)


def _reached(name: str, connection: server.Connection, facts: server.ServerFacts) -> Iterator[Line]:
    what = f"{facts.flavour} {facts.version_text}"
    sentence = "{server} at {address}, as {user}"
    where = {"address": connection.login.address, "user": connection.login.user}
    yield good("connections", name, notice("doctor.server", sentence, server=what, **where))
    began = datetime.now(timezone.utc)
    told = connection.value("SELECT UTC_TIMESTAMP(6)").replace(tzinfo=timezone.utc)
    yield clock(name, (told - began).total_seconds())


def _programs(settings: Settings, facts: server.ServerFacts) -> Iterator[Line]:
    """The client programs of the server's vendor."""
    for name in PROGRAMS:
        try:
            program = client.find(name, settings.database.client_directory, facts.flavour)
            if name != "mysqlbinlog":  # which has a version of its own
                client.refuse_older(program, facts.version)
            said = notice("doctor.program", "{program}, {version}", program=program.path, version=program.version_text)
            yield good("tools", name, said)
        except BackupError as error:
            yield wrong("tools", name, error)


def repository(
    settings: Settings, connections: Connections, item: RepositorySettings, *, writing: bool
) -> Iterator[Line]:
    """A repository: can it be listed, and written to?"""
    opened = open_repository(settings, item.name, connections)
    folders = opened.list_folders()
    said = notice("doctor.repository", "{url}, {count} folders", url=opened.url, count=len(folders))
    yield good("connections", item.name, said)
    if writing:
        yield _judged("permissions", item.name, opened.probe)
    if item.connection is None:
        folder = Path(unquote(urlsplit(item.root).path))
        if not folder.is_dir():
            sentence = "{folder} is not on this machine yet: mount its disk, or make the folder for the first backup."
            yield doubtful("connections", item.name, notice("doctor.no_folder", sentence, folder=folder))
            return
        yield room(item.name, *shutil.disk_usage(folder)[::2])
    else:
        yield from _clock_of_bucket(connections, item, item.connection)


def _clock_of_bucket(connections: Connections, item: RepositorySettings, connection: str) -> Iterator[Line]:
    """By the header Date of an answer, which is exact to the second."""
    from botocore.exceptions import BotoCoreError, ClientError

    try:
        answer = connections.s3_client(connection).head_bucket(Bucket=urlsplit(item.root).netloc)
    except (BotoCoreError, ClientError) as error:
        raise BackupError(f"{item.root} does not tell its time: {error}: see that {connection} may list it.") from error
    told = answer["ResponseMetadata"]["HTTPHeaders"].get("date")
    if told:
        skew = (parsedate_to_datetime(told) - datetime.now(timezone.utc)).total_seconds()
        yield clock(item.name, skew + 0.5)


def clock(name: str, skew: float) -> Line:
    """How another clock goes against this machine's; seconds, positive when it is ahead."""
    values = {"skew": f"{skew:+.1f}"}
    if abs(skew) <= SKEW_SECONDS:
        return good("clock", name, notice("doctor.clock", "{skew} s against this machine", **values))
    sentence = "goes {skew} s against this machine's clock: set both by NTP (timedatectl status)."
    said = notice("doctor.skew", sentence, **values)
    return wrong("clock", name, said) if abs(skew) > HOPELESS_SECONDS else doubtful("clock", name, said)


def _judged(area: Area, name: str, check: Callable[[], object], said: Notice | None = None) -> Line:
    try:
        check()
    except BackupError as error:
        return wrong(area, name, error)
    return good(area, name, said)
