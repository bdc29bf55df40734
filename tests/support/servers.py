"""Private database servers for tests, and how one of them becomes empty again."""

import os
import shutil
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

from compare import SYSTEM_USERS, quoted, rows
from spoqplus_backup.core.manifest import Flavour
from spoqplus_backup.core.mysql.sandbox import SandboxServer, ServerPrograms

PROJECT = Path(__file__).resolve().parents[2]
MYSQL_DIRECTORY = Path(os.environ.get("SPOQPLUS_TEST_MYSQL_DIR", PROJECT / "build" / "mysql-9.7"))
# A test's server need not survive a power cut.
# Throw-away servers: nothing has to survive a power cut, and syncing is what their many small tables would wait for.
OPTIONS = {"innodb-flush-log-at-trx-commit": "2", "sync-binlog": "0", "innodb-flush-method": "nosync"}
SYSTEM_DATABASES = ("mysql", "information_schema", "performance_schema", "sys")


def programs(flavour: Flavour) -> ServerPrograms:
    """The programs of one vendor; fails with what to do when they are missing."""
    if flavour == "mariadb":
        return ServerPrograms.mariadb()
    if not (MYSQL_DIRECTORY / "bin" / "mysqld").exists():
        raise AssertionError(f"There is no MySQL 9.7 in {MYSQL_DIRECTORY}. Run: scripts/get-mysql.sh build/mysql-9.7")
    return ServerPrograms.mysql(MYSQL_DIRECTORY / "bin")


def running(flavour: Flavour, directory: Path) -> Iterator[SandboxServer]:
    """A server for as long as the generator lives; its files go with it."""
    try:
        with SandboxServer.start(directory, programs(flavour), options=OPTIONS, memory_mib=128) as server:
            yield server
    finally:
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


def wait_until(true: Callable[[], bool], seconds: float, what: str) -> None:
    """Poll until something is so; fails with its name after `seconds`."""
    deadline = time.monotonic() + seconds
    while not true():
        assert time.monotonic() < deadline, f"Waited {seconds:.0f} s in vain for {what}."
        time.sleep(0.05)
