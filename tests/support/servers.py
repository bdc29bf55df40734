"""Private database servers for tests, and how one of them becomes empty again."""

import contextlib
import fcntl
import hashlib
import os
import shutil
import subprocess
import threading
import time
from collections.abc import Callable, Iterator
from datetime import datetime, timezone
from pathlib import Path
from typing import Any

from compare import SYSTEM_USERS, quoted, rows
from spoqplus_backup.core.connections import DatabaseLogin
from spoqplus_backup.core.manifest import Flavour
from spoqplus_backup.core.mysql.sandbox import SandboxServer, ServerPrograms

PROJECT = Path(__file__).resolve().parents[2]
MYSQL_DIRECTORY = Path(os.environ.get("SPOQPLUS_TEST_MYSQL_DIR", PROJECT / "build" / "mysql-9.7"))
# Throw-away servers: nothing has to survive a power cut, and syncing is what their many small tables would wait for.
OPTIONS = {"innodb-flush-log-at-trx-commit": "2", "sync-binlog": "0", "innodb-flush-method": "nosync"}
TEMPLATES = PROJECT / "build" / "servers"  # data directories of servers that nobody wrote to
SYSTEM_DATABASES = ("mysql", "information_schema", "performance_schema", "sys")


def programs(flavour: Flavour) -> ServerPrograms:
    """The programs of one vendor; fails with what to do when they are missing."""
    if flavour == "mariadb":
        return ServerPrograms.mariadb()
    if not (MYSQL_DIRECTORY / "bin" / "mysqld").exists():
        raise AssertionError(f"There is no MySQL 9.7 in {MYSQL_DIRECTORY}. Run: scripts/get-mysql.sh build/mysql-9.7")
    return ServerPrograms.mysql(MYSQL_DIRECTORY / "bin")


def client_directory(flavour: Flavour) -> Path | None:
    """Where a vendor's client programs are; None for those on PATH."""
    return MYSQL_DIRECTORY / "bin" if flavour == "mysql" else None


def login(server: SandboxServer) -> DatabaseLogin:
    """How the core logs in at a sandbox, as root."""
    return DatabaseLogin(host=None, user="root", password="", socket=str(server.socket))


def run(server: SandboxServer, *statements: str) -> list[tuple[Any, ...]]:
    """Run statements in one session of their own; the rows of the last one."""
    connection = server.connect()
    try:
        found: list[tuple[Any, ...]] = []
        for statement in statements:
            found = rows(connection, statement)
        return found
    finally:
        connection.close()


@contextlib.contextmanager
def writing(server: SandboxServer, statement: str) -> Iterator[None]:
    """Execute a statement again and again, in a session of its own, while the block runs."""
    ended = threading.Event()

    def write() -> None:
        connection = server.connect()
        while not ended.wait(0.02):
            rows(connection, statement)
        connection.close()

    thread = threading.Thread(target=write, name="writer")
    thread.start()
    try:
        yield
    finally:
        ended.set()
        thread.join()


def start(directory: Path, flavour: Flavour, *, memory_mib: int = 64, tcp: bool = True, **more: str) -> SandboxServer:
    """Start a throw-away server, on what an earlier start left in `directory` or else on a copy of the template."""
    if not (directory / "data").exists():
        copy_template(flavour, directory / "data")
    return SandboxServer.start(directory, programs(flavour), options=OPTIONS | more, memory_mib=memory_mib, tcp=tcp)


def copy_template(flavour: Flavour, target: Path) -> None:
    """Make a data directory as an initialised server has it, in a tenth of the time that to initialise one takes."""
    vendor = programs(flavour)
    daemon = vendor.find("mariadbd" if flavour == "mariadb" else "mysqld")
    version = subprocess.run([daemon, "--no-defaults", "--version"], check=True, capture_output=True).stdout
    template = TEMPLATES / f"{flavour}-{hashlib.sha256(version).hexdigest()[:16]}"
    TEMPLATES.mkdir(parents=True, exist_ok=True)
    with (TEMPLATES / f"{flavour}.lock").open("w") as lock:
        fcntl.flock(lock, fcntl.LOCK_EX)  # of two sessions at a time one makes it
        if not template.exists():
            shutil.rmtree(aside := template.with_suffix(".part"), ignore_errors=True)
            SandboxServer.start(aside, vendor, options=OPTIONS, memory_mib=64, tcp=False).stop()
            for own in (*aside.glob("data/binlog.*"), aside / "data" / "auto.cnf"):  # each copy is a server of its own
                own.unlink(missing_ok=True)
            (aside / "data").rename(template)
            shutil.rmtree(aside)
    target.parent.mkdir(parents=True, exist_ok=True)
    subprocess.run(["cp", "-a", "--sparse=always", template, target], check=True)


def running(flavour: Flavour, directory: Path) -> Iterator[SandboxServer]:
    """A server for as long as the generator lives; its files go with it."""
    server = start(directory, flavour, memory_mib=128)
    try:
        yield server
    finally:
        server.kill()
        shutil.rmtree(directory, ignore_errors=True)


def databases(connection: Any) -> list[str]:
    """Every database that is not the server's own."""
    return [name for (name,) in rows(connection, "SHOW DATABASES") if name.lower() not in SYSTEM_DATABASES]


def accounts(connection: Any) -> list[tuple[str, str]]:
    """User and host of every account and role that is not the server's own."""
    found = rows(connection, "SELECT User, Host FROM mysql.user ORDER BY 1, 2")
    return [(user, host) for user, host in found if user not in SYSTEM_USERS]


def empty(server: SandboxServer) -> None:
    """Drop everything that is not the server's own: databases, accounts, roles, binary logs."""
    connection = server.connect()
    try:
        rows(connection, "SET SESSION foreign_key_checks = 0")
        for name in databases(connection):
            rows(connection, f"DROP DATABASE {quoted(name)}")
        for user, host in accounts(connection):
            # MariaDB's roles have no host, and DROP USER refuses them
            kind = "ROLE" if server.flavour == "mariadb" and host == "" else "USER"
            rows(connection, f"DROP {kind} {quoted(user)}" + (f"@{quoted(host)}" if host else ""))
        rows(connection, "RESET MASTER" if server.flavour == "mariadb" else "RESET BINARY LOGS AND GTIDS")
    finally:
        connection.close()


def is_alive(pid: int) -> bool:
    """Whether a process of any parent runs; one that has ended and was not waited for does not."""
    try:
        return Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[0] not in "ZX"
    except (FileNotFoundError, ProcessLookupError):
        return False


def next_second() -> None:
    """Wait for it: MariaDB's events, and when a log was begun, are known to the second."""
    second = datetime.now(timezone.utc).second
    wait_until(lambda: datetime.now(timezone.utc).second != second, 2, "the next second")


def wait_until(true: Callable[[], bool], seconds: float, what: str) -> None:
    """Poll until something is so; fails with its name after `seconds`."""
    deadline = time.monotonic() + seconds
    while not true():
        assert time.monotonic() < deadline, f"Waited {seconds:.0f} s in vain for {what}."
        time.sleep(0.05)
