"""Replays binary logs into a server: all of them through one mysqlbinlog into one session of the vendor's client.

A stand-in: it begins anew each time and knows nothing of GTIDs that the target executed itself.
"""

import shutil
import time
from dataclasses import dataclass
from datetime import datetime
from pathlib import Path

from spoqplus_backup.core.connections import DatabaseLogin
from spoqplus_backup.core.errors import PermanentError
from spoqplus_backup.core.manifest import Flavour
from spoqplus_backup.core.mysql import client
from spoqplus_backup.core.process import Child


@dataclass(frozen=True)
class Replay:
    """Raw logs in order; `start` is an offset in the first, `stop` one in the last (None: to its end)."""

    logs: tuple[Path, ...]
    start: int
    stop: int | None


@dataclass(frozen=True)
class Options:
    """How to replay; see the parameters' names."""

    key: str
    binary_log: bool = True
    skip_accounts: bool = False
    databases: frozenset[str] | None = None


@dataclass(frozen=True)
class Applied:
    """The last transaction that was applied. `place` is the offset behind it in `log`."""

    gtid: str | None
    at: datetime
    log: str
    place: int


@dataclass
class ReplayResult:
    """What one call did."""

    transactions: int = 0
    left_out: int = 0
    bytes: int = 0
    seconds: float = 0.0
    last: Applied | None = None


def replay(
    job: Replay, login: DatabaseLogin, flavour: Flavour, client_directory: Path | None, options: Options
) -> ReplayResult:
    """Apply the logs to a server.

    Raises:
        ProcessError: a program failed, or the server refused a statement.
    """
    begun = time.monotonic()
    program = client.find("mysql", client_directory, flavour)
    folder = str(client_directory) if client_directory else None
    names = ("mariadb-binlog", "mysqlbinlog") if flavour == "mariadb" else ("mysqlbinlog",)
    places = (folder, None) if flavour == "mariadb" else (folder,)  # MariaDB's may lie beside other clients
    path = next((found for place in places for name in names if (found := shutil.which(name, path=place))), None)
    if path is None:
        raise PermanentError(f"There is no {names[0]} for the {flavour} server: install the vendor's client programs.")
    arguments = [path, "--no-defaults", f"--start-position={job.start}"]
    arguments += ["--skip-gtids"] if flavour == "mysql" else []
    arguments += [f"--stop-position={job.stop}"] if job.stop is not None else []
    arguments += [] if options.binary_log else ["--disable-log-bin"]
    with (
        client.logged_in(program, login) as (argv, fds),
        Child([*arguments, *map(str, job.logs)]) as source,
        Child([*argv, "--binary-mode", "--force=0"], stdin=source.stdout, pass_fds=fds) as sink,
    ):
        sink.finish()
        source.finish()
    size = sum(log.stat().st_size for log in job.logs)
    return ReplayResult(bytes=size, seconds=time.monotonic() - begun)


def forget(login: DatabaseLogin, key: str, *, binary_log: bool = True) -> None:
    """Take away what the target notes of a replay: nothing."""
