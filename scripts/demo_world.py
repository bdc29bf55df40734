"""What the demonstration runs on: databases, an S3 server, a Slack, keys, a configuration and an Airflow of its own.

Everything lies in one folder and listens on free ports of the loopback interface; it ends with the `with` block.
"""

import contextlib
import fcntl
import hashlib
import json
import logging
import os
import secrets
import shutil
import urllib.request
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import demo_files
import spoq_data
from airflow_instance import AirflowInstance
from demo_terminal import shown
from slack_sink import SlackSink
from spoqplus_backup.core.crypto import generate_signing_key
from spoqplus_backup.core.mysql.sandbox import SandboxServer, ServerPrograms
from spoqplus_backup.core.process import output_of
from spoqplus_backup.core.settings import Settings, load_settings
from spoqplus_backup.messages import Language

DATABASE = spoq_data.DATABASE
SITE = "spoqplus"
BUCKET = "spoqplus-backup"
ADMIN, APPROVER = "admin", "oncall"
DATABASE_USER = "spoqplus_backup"
PRODUCTION_MEMORY_MIB = 384
TEST_MEMORY_MIB = 128

# The DAGs don't change while it runs, and the backup wants the processors.
QUICK = {
    "AIRFLOW__DAG_PROCESSOR__MIN_FILE_PROCESS_INTERVAL": "600",
    "AIRFLOW__DAG_PROCESSOR__REFRESH_INTERVAL": "600",
}

Tell = Callable[..., None]


class DemoError(Exception):
    """The demonstration can't go on; the message says why and what to do."""


@dataclass(frozen=True)
class World:
    """Everything that runs while the demonstration lasts."""

    directory: Path
    language: Language
    production: SandboxServer
    test: SandboxServer
    s3_url: str
    slack: SlackSink
    settings: Settings
    airflow: AirflowInstance

    @property
    def identity_file(self) -> Path:
        """The private key that opens the backups."""
        return self.settings.encryption.identity_files[0]

    @property
    def www(self) -> Path:
        """The web server's files."""
        return self.directory / "www"

    @property
    def local_root(self) -> Path:
        """The repository on disk."""
        return self.directory / "backup"


@contextlib.contextmanager
def running(folder: Path, language: Language, megabytes: int, tell: Tell) -> Iterator[World]:
    """Start it all; `tell` is called with a text's key and its fields. Airflow may still be starting when this yields.

    Raises:
        DemoError: another demonstration runs in this folder.
    """
    with contextlib.ExitStack() as stack:
        stack.enter_context(_alone(folder))
        directory = folder / "run"
        shutil.rmtree(directory, ignore_errors=True)
        directory.mkdir(mode=0o700)
        production = stack.enter_context(_production(folder, directory / "mariadb", megabytes, tell))
        test = stack.enter_context(
            SandboxServer.start(directory / "mariadb-test", ServerPrograms.mariadb(), memory_mib=TEST_MEMORY_MIB)
        )
        tell("world.test", address=f"127.0.0.1:{test.port}")
        s3_url = stack.enter_context(_s3())
        tell("world.s3", url=s3_url, bucket=BUCKET)
        slack = stack.enter_context(SlackSink())
        tell("world.slack", url=slack.url)
        demo_files.make(directory / "www")
        tell("world.files", folder=shown(directory / "www"))
        settings = _configured(directory, language)
        tell("world.keys", folder=shown(directory / "keys"), count=len(settings.encryption.recipients))
        tell("world.configuration", file=shown(settings.source))
        connections = _connections(production, test, s3_url, slack)
        os.environ.update(connections)  # the demonstration looks into the repositories itself, too
        airflow = AirflowInstance(
            directory / "airflow",
            {"SPOQPLUS_BACKUP_CONFIG": str(settings.source)} | QUICK | connections,
            users={ADMIN: "admin", APPROVER: "op"},
        )
        stack.callback(airflow.stop)
        airflow.launch()
        yield World(directory, language, production, test, s3_url, slack, settings, airflow)


@contextlib.contextmanager
def _alone(folder: Path) -> Iterator[None]:
    folder.mkdir(parents=True, exist_ok=True)
    with (folder / "lock").open("a") as lock:
        try:
            fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            raise DemoError(f"Another demonstration runs in {folder}: end it with Ctrl-C first.") from None
        yield


# ---- databases ----


@contextlib.contextmanager
def _production(folder: Path, directory: Path, megabytes: int, tell: Tell) -> Iterator[SandboxServer]:
    """A MariaDB that holds the data set: a copy of one that an earlier demonstration filled, if there is one."""
    programs = ServerPrograms.mariadb()
    made_from = [Path(spoq_data.__file__).read_bytes(), output_of([str(programs.find("mariadbd")), "--version"])]
    name = f"mariadb-{megabytes}-{hashlib.sha256(b''.join(made_from)).hexdigest()[:12]}"
    template = folder / "templates" / name
    if not template.exists():
        tell("world.filling", megabytes=megabytes)
        _fill(template, programs, megabytes)
    directory.mkdir()
    # by `cp`: it keeps holes, and shares blocks where the file system can
    output_of(["cp", "--archive", "--reflink=auto", f"{template}/data", f"{directory}/data"])
    with _started(directory, programs) as server:
        with server.connect() as connection, connection.cursor() as cursor:
            cursor.execute("SELECT VERSION(), @@log_bin")
            ((version, binary_log),) = cursor.fetchall()
        tell(
            "world.production",
            version=version,
            address=f"127.0.0.1:{server.port}",
            socket=shown(server.socket),
            binary_log="ON" if binary_log else "OFF",
        )
        yield server


def _started(directory: Path, programs: ServerPrograms) -> SandboxServer:
    # the redo log is kept small so that the copy is quick
    options = {"innodb-log-file-size": "96M"}
    return SandboxServer.start(directory, programs, options=options, memory_mib=PRODUCTION_MEMORY_MIB)


def _fill(template: Path, programs: ServerPrograms, megabytes: int) -> None:
    """Make a data directory with the data set, complete or not at all."""
    shutil.rmtree(template.parent, ignore_errors=True)  # of an older data set
    part = template.with_name(f"{template.name}.part")
    with _started(part, programs) as server:
        spoq_data.load(server.connect, megabytes)
        with server.connect() as connection, connection.cursor() as cursor:
            cursor.execute("SET GLOBAL innodb_fast_shutdown = 0")  # the copies start sooner
    part.rename(template)


def _account(server: SandboxServer) -> str:
    """Make the account that Airflow uses; returns its connection."""
    password = secrets.token_urlsafe(24)
    with server.connect() as connection, connection.cursor() as cursor:
        for host in ("127.0.0.1", "localhost"):  # what the server calls a client on this machine
            cursor.execute(f"CREATE OR REPLACE USER {DATABASE_USER}@{host!r} IDENTIFIED BY {password!r}")
            # a production restore brings everything back, accounts included
            cursor.execute(f"GRANT ALL PRIVILEGES ON *.* TO {DATABASE_USER}@{host!r} WITH GRANT OPTION")
    return _connection("mysql", host="127.0.0.1", port=server.port, login=DATABASE_USER, password=password)


# ---- S3 ----


@contextlib.contextmanager
def _s3() -> Iterator[str]:
    """moto's S3 server with an empty bucket; it keeps objects in memory. Yields its URL."""
    import boto3
    from moto.server import ThreadedMotoServer

    logging.getLogger("werkzeug").setLevel(logging.WARNING)  # a line for each request, else
    server = ThreadedMotoServer("127.0.0.1", 0, verbose=False)
    server.start()
    try:
        url = "http://{}:{}".format(*server.get_host_and_port())
        # what an earlier world of this process kept belongs to the process, not to its server
        urllib.request.urlopen(urllib.request.Request(f"{url}/moto-api/reset", method="POST")).close()  # noqa: S310 (our own)
        client = boto3.client("s3", endpoint_url=url, region_name="us-east-1", **_S3_KEYS)
        client.create_bucket(Bucket=BUCKET)
        yield url
    finally:
        server.stop()


_S3_KEYS = {"aws_access_key_id": "demo", "aws_secret_access_key": "demo-secret"}  # moto lets everybody in


# ---- configuration ----


def _configured(directory: Path, language: Language) -> Settings:
    """Make keys and write the site's file, as the README tells a real site to do."""
    keys = directory / "keys"
    keys.mkdir()
    recipients = [_age_key(keys / name) for name in ("restore.txt", "safe-deposit.txt")]
    generate_signing_key(keys / "signing.pem", keys / "signing.pub.pem")
    file = directory / "spoqplus.yaml"
    file.write_text(
        f"""# Written by scripts/demo.py: a site as small as this demonstration.
site: {SITE}
language: {language}
schedules: # by hand here: trigger them in the UI
  binlog_archive: null
  incremental_backup: null
  retention: null
  recovery_test: null
  watchdog: null
recovery_test:
  faces: {{images: null}} # a few pictures here, not one for each member
files:
  - name: uploads
    paths: [{json.dumps(f"{directory}/www/{demo_files.UPLOADS}")}]
  - name: logs
    paths: [{json.dumps(f"{directory}/www/{demo_files.LOGS}")}]
  - name: config
    paths: {json.dumps([f"{directory}/www/{name}" for name in (demo_files.ENVIRONMENT, demo_files.CONFIG)])}
    level: full
faces:
  directory: {json.dumps(f"{directory}/www/{demo_files.FACES}")}
restore:
  ownership: {{}} # as they were
mirror: null # a second folder on this disk would show nothing new
environment: null
staging:
  directory: staging
repositories:
  - name: local
    root: {json.dumps(f"file://{directory / 'backup'}")}
  - name: s3
    root: s3://{BUCKET}
    connection: spoqplus_aws
encryption:
  recipients:
    - {recipients[0]}
    - {recipients[1]}
  identity_files: [keys/restore.txt]   # on a real site: on hosts that restore only
signing:
  private_key_file: keys/signing.pem
  public_key_files: [keys/signing.pub.pem]
alerts:
  minimum_backup_bytes: 1048576
""",
        "utf-8",
    )
    return load_settings(file)


def _age_key(identity: Path) -> str:
    """Make an age key pair; returns its public key."""
    output_of(["age-keygen", "-o", str(identity)])
    return output_of(["age-keygen", "-y", str(identity)]).decode().strip()


def _connections(production: SandboxServer, test: SandboxServer, s3_url: str, slack: SlackSink) -> dict[str, str]:
    found = {
        "spoqplus_mysql": _account(production),
        "spoqplus_test_mysql": _account(test),
        "spoqplus_aws": _connection(
            "aws",
            login=_S3_KEYS["aws_access_key_id"],
            password=_S3_KEYS["aws_secret_access_key"],
            extra={"endpoint_url": s3_url, "region_name": "us-east-1"},
        ),
        "spoqplus_slack": slack.connection,
    }
    return {f"AIRFLOW_CONN_{name.upper()}": value for name, value in found.items()}


def _connection(kind: str, **fields: Any) -> str:
    return json.dumps({"conn_type": kind, **fields})
