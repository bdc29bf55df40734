"""What all contestants share: data, a database server to dump, equal empty ones to restore to, an S3 server.

Everything lies below one folder. The data set and the empty server are made once and used again by the next run.
"""

import contextlib
import hashlib
import json
import os
import secrets
import shutil
import socket
import subprocess
import time
import urllib.error
import urllib.request
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import yaml

import spoq_data
from bench.measure import BenchError
from spoqplus_backup.core.crypto import generate_signing_key
from spoqplus_backup.core.mysql.sandbox import SandboxServer, ServerPrograms, stop_leftover

PROJECT = Path(__file__).resolve().parents[2]
STORE_START_SECONDS = 30.0
AWSCLI = "awscli==1.46.3"
UPLOADS = "uploads"


@dataclass(frozen=True)
class Keys:
    """The keys of all contestants. The identity opens what is encrypted to the recipient."""

    identity: Path
    recipient: str
    signing_private: Path
    signing_public: Path
    password: str


@dataclass(frozen=True)
class Store:
    """A running S3 server."""

    pid: int
    url: str
    access_key: str
    secret_key: str


@dataclass(frozen=True)
class World:
    """Where everything is.

    Attributes:
        folder: what all of it lies below.
        megabytes: the size of the data (10^6 bytes).
        keys: of all contestants.
        aws: the program aws.
        staging: the folder in which a contestant may leave files while it works.
        uploads: the folder of files that is backed up, if any.
    """

    folder: Path
    megabytes: int
    keys: Keys
    aws: Path
    staging: Path
    uploads: Path | None = None

    @property
    def store(self) -> Path:
        """The folder of the S3 server: a bucket is a folder in it, an object a file."""
        return self.folder / "store"

    @property
    def restored(self) -> Path:
        """The folder below which files are restored."""
        return self.folder / "restored"

    def clean(self) -> None:
        """Empty the staging folder and let the disk come to rest."""
        shutil.rmtree(self.staging, ignore_errors=True)
        self.staging.mkdir(parents=True)
        os.sync()

    def peer_env(self, database: SandboxServer | None, store: Store, bucket: str) -> dict[str, str]:
        """The environment of a peer's script."""
        login = self.folder / "login.cnf"
        login.write_text(f"[client]\nuser=root\nsocket={database.socket if database else ''}\n")
        programs = [str(self.aws.parent), str(PROJECT / ".venv" / "bin"), os.environ["PATH"]]
        return {
            "PATH": os.pathsep.join(programs),
            "HOME": str(self.folder),  # no one's own configuration of rclone, aws or mysql
            "LOGIN": str(login),
            "STAGING": str(self.staging),
            "BUCKET": bucket,
            "UPLOADS": str(self.uploads or ""),
            "RESTORED": str(self.restored),
            "RECIPIENT": self.keys.recipient,
            "IDENTITY": str(self.keys.identity),
            "BACKUP_PASSWORD": self.keys.password,
            "AWS_ACCESS_KEY_ID": store.access_key,
            "AWS_SECRET_ACCESS_KEY": store.secret_key,
            "AWS_DEFAULT_REGION": "us-east-1",
            "AWS_ENDPOINT_URL": store.url,
            "RCLONE_CONFIG": "/dev/null",
            "RCLONE_CONFIG_STORE_TYPE": "s3",
            "RCLONE_CONFIG_STORE_PROVIDER": "Rclone",
            "RCLONE_CONFIG_STORE_ENDPOINT": store.url,
            "RCLONE_CONFIG_STORE_ACCESS_KEY_ID": store.access_key,
            "RCLONE_CONFIG_STORE_SECRET_ACCESS_KEY": store.secret_key,
        }

    def our_env(
        self, source: SandboxServer | None, target: SandboxServer | None, store: Store, bucket: str
    ) -> dict[str, str]:
        """The environment of our own run: a configuration file, and connections as Airflow has them."""
        config = self.folder / "spoqplus.yaml"
        config.write_text(yaml.safe_dump(self._settings(bucket)))
        nowhere = str(self.folder / "no-server.sock")  # production is down while a restore is measured
        s3 = {
            "conn_type": "aws",
            "login": store.access_key,
            "password": store.secret_key,
            "extra": {"endpoint_url": store.url},
        }
        return {
            "PATH": os.environ["PATH"],
            "HOME": str(self.folder),
            "PYTHONPATH": os.pathsep.join([str(PROJECT / "plugins"), str(PROJECT / "scripts")]),
            "SPOQPLUS_BACKUP_CONFIG": str(config),
            "AIRFLOW_CONN_BENCH_SOURCE": _database_connection(str(source.socket) if source else nowhere),
            "AIRFLOW_CONN_BENCH_TARGET": _database_connection(str(target.socket) if target else nowhere),
            "AIRFLOW_CONN_BENCH_STORE": json.dumps(s3),
        }

    def _settings(self, bucket: str) -> dict[str, Any]:
        return {
            "site": "bench",
            "language": "en",
            "database": {"connection": "bench_source"},
            "components": [],  # the peers dump every row once
            "files": [{"name": UPLOADS, "paths": [str(self.uploads)]}] if self.uploads else [],
            "faces": None,
            "mirror": None,
            "environment": None,
            "staging": {"directory": str(self.staging)},
            "repositories": [{"name": "s3", "root": f"s3://{bucket}", "connection": "bench_store"}],
            "encryption": {"recipients": [self.keys.recipient], "identity_files": [str(self.keys.identity)]},
            "signing": {
                "private_key_file": str(self.keys.signing_private),
                "public_key_files": [str(self.keys.signing_public)],
            },
            "slack": {"connection": None},
            "restore": {
                "test_connection": "bench_target",
                "files_root": str(self.restored),
                "ownership": {UPLOADS: None},  # as they were archived: the peers do no more
            },
        }


def _database_connection(socket_path: str) -> str:
    return json.dumps({"conn_type": "mysql", "login": "root", "extra": {"unix_socket": socket_path}})


def make_world(folder: Path, megabytes: int) -> World:
    """Make what is missing: keys, awscli in an environment of its own (it pins another botocore than ours)."""
    folder.mkdir(parents=True, exist_ok=True)
    if not (folder / "keys" / "complete").exists():
        shutil.rmtree(folder / "store", ignore_errors=True)  # nothing in there could be opened with new keys
        _make_keys(folder / "keys")
    aws = _awscli(PROJECT / "build" / "awscli")
    return World(folder=folder, megabytes=megabytes, keys=_keys(folder / "keys"), aws=aws, staging=folder / "staging")


def _make_keys(folder: Path) -> None:
    shutil.rmtree(folder, ignore_errors=True)
    folder.mkdir()
    subprocess.run(["age-keygen", "--output", folder / "identity.txt"], check=True, capture_output=True)
    generate_signing_key(folder / "signing.pem", folder / "signing.pub.pem")
    (folder / "password").write_text(secrets.token_hex(16))
    (folder / "complete").touch()


def _keys(folder: Path) -> Keys:
    identity = folder / "identity.txt"
    made = subprocess.run(["age-keygen", "-y", identity], check=True, capture_output=True, text=True)
    return Keys(
        identity=identity,
        recipient=made.stdout.strip(),
        signing_private=folder / "signing.pem",
        signing_public=folder / "signing.pub.pem",
        password=(folder / "password").read_text(),
    )


def _awscli(folder: Path) -> Path:
    program, done = folder / "bin" / "aws", folder / ".complete"
    if not done.exists() or done.read_text() != AWSCLI:
        say(f"installing {AWSCLI} into {folder}")
        uv, python = PROJECT / ".venv" / "bin" / "uv", PROJECT / ".venv" / "bin" / "python"
        subprocess.run([uv, "venv", "--quiet", "--clear", "--python", python, folder], check=True)
        subprocess.run([uv, "pip", "install", "--quiet", "--python", folder / "bin" / "python", AWSCLI], check=True)
        done.write_text(AWSCLI)
    return program


def say(words: str) -> None:
    """Tell whoever waits what is being done."""
    print(f"[bench] {words}", flush=True)


# ---- servers --------------------------------------------------------------------------------------------------------


def buffer_pool_mib(megabytes: int) -> int:
    """InnoDB's buffer pool, the same for the source and every target: the data fit, as on a server of their size."""
    return max(256, megabytes * 3 // 2)


@contextlib.contextmanager
def source_server(world: World, megabytes: int) -> Iterator[SandboxServer]:
    """The server that is dumped, filled with the data set (once)."""
    folder = world.folder / f"source-{megabytes}"
    recipe = hashlib.sha256(Path(spoq_data.__file__).read_bytes()).hexdigest()
    done = folder / "filled"
    if not done.exists() or done.read_text() != recipe:
        stop_leftover(folder)
        shutil.rmtree(folder, ignore_errors=True)
        say(f"making a data set of {megabytes} MB in {folder}")
    with _server(folder, megabytes) as server:
        if not done.exists():
            spoq_data.load(server.connect, megabytes)
            done.write_text(recipe)
        yield server


@contextlib.contextmanager
def empty_server(world: World, megabytes: int) -> Iterator[SandboxServer]:
    """A fresh server without data, with the options of the source."""
    template, folder = world.folder / "empty", world.folder / "target"
    if not (template / "complete").exists():
        shutil.rmtree(template, ignore_errors=True)
        with _server(template, megabytes):
            pass
        shutil.rmtree(template / "data" / "performance_schema", ignore_errors=True)
        (template / "complete").touch()
    stop_leftover(folder)
    shutil.rmtree(folder, ignore_errors=True)
    shutil.copytree(template, folder)
    os.sync()
    with _server(folder, megabytes) as server:
        yield server
    shutil.rmtree(folder)


def _server(folder: Path, megabytes: int) -> SandboxServer:
    return SandboxServer.start(folder, ServerPrograms.mariadb(), memory_mib=buffer_pool_mib(megabytes))


@contextlib.contextmanager
def store_server(world: World, root: Path | None = None) -> Iterator[Store]:
    """`rclone serve s3` of a folder (None: `world.store`) on a free port, for one case; buckets stay for the next."""
    root = root or world.store
    root.mkdir(exist_ok=True)
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        address = f"127.0.0.1:{probe.getsockname()[1]}"
    access, secret = "bench", secrets.token_hex(16)
    env = {"PATH": os.environ["PATH"], "HOME": str(world.folder), "RCLONE_CONFIG": "/dev/null"}
    env |= {"RCLONE_AUTH_KEY": f'"{access},{secret}"'}
    rclone = PROJECT / ".venv" / "bin" / "rclone"
    with (world.folder / "store.log").open("wb") as log:
        process = subprocess.Popen(
            [rclone, "serve", "s3", "--addr", address, str(root)], env=env, stdout=log, stderr=log
        )
    try:
        url = f"http://{address}"
        _wait_for(url, process)
        yield Store(process.pid, url, access, secret)
    finally:
        process.terminate()
        process.wait()


def _wait_for(url: str, process: "subprocess.Popen[bytes]") -> None:
    deadline = time.monotonic() + STORE_START_SECONDS
    while time.monotonic() < deadline and process.poll() is None:
        try:
            urllib.request.urlopen(url, timeout=5)  # noqa: S310 (our own server)
        except urllib.error.HTTPError:  # it wants a signature: it is there
            return
        except OSError:
            time.sleep(0.05)
        else:
            return
    raise BenchError(f"`rclone serve s3` did not answer at {url}: see store.log beside the results.")


# ---- what a database holds ------------------------------------------------------------------------------------------


_PROGRAMS = {
    "views": "SELECT COUNT(*) FROM information_schema.VIEWS WHERE TABLE_SCHEMA = %s",
    "triggers": "SELECT COUNT(*) FROM information_schema.TRIGGERS WHERE TRIGGER_SCHEMA = %s",
    "routines": "SELECT COUNT(*) FROM information_schema.ROUTINES WHERE ROUTINE_SCHEMA = %s",
    "events": "SELECT COUNT(*) FROM information_schema.EVENTS WHERE EVENT_SCHEMA = %s",
}


def content(server: SandboxServer) -> Mapping[str, tuple[int, int]]:
    """Rows and checksum of every table of the data set, and how many programs and views there are."""
    found: dict[str, tuple[int, int]] = {}
    connection = server.connect()
    with contextlib.closing(connection), connection.cursor() as cursor:
        cursor.execute(
            "SELECT TABLE_NAME FROM information_schema.TABLES WHERE TABLE_SCHEMA = %s AND TABLE_TYPE = 'BASE TABLE'",
            (spoq_data.DATABASE,),
        )
        for (table,) in cursor.fetchall():
            name = f"`{spoq_data.DATABASE}`.`{table}`"
            cursor.execute(f"CHECKSUM TABLE {name}")
            checksum = cursor.fetchall()[0][1]
            cursor.execute(f"SELECT COUNT(*) FROM {name}")  # noqa: S608 (a name of our own)
            found[table] = (cursor.fetchall()[0][0], checksum)
        for kind, count in _PROGRAMS.items():
            cursor.execute(count, (spoq_data.DATABASE,))
            found[kind] = (cursor.fetchall()[0][0], 0)
    return found
