"""A private database server in a directory of its own: for the demo, the tests, the benchmark and recovery tests.

Everything it makes lies below one directory: `data/` (the data directory), `tmp/`, `error.log`, `server.pid` and the
socket. It listens on that socket and, unless told otherwise, on a free port of 127.0.0.1. `root` logs in without a
password, so it is for data that whoever can log in to this machine may see, or for a machine that nobody else logs in
to. The server dies with the thread that started it; a leftover of a machine's crash is ended by the next start.
"""

import contextlib
import os
import shutil
import signal
import socket
import tempfile
import time
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from pathlib import Path
from subprocess import DEVNULL
from typing import Any

from spoqplus_backup.core.errors import BackupError, PermanentError
from spoqplus_backup.core.manifest import Flavour
from spoqplus_backup.core.process import Child, output_of

START_SECONDS = 60.0
STOP_SECONDS = 60.0
INITIALISE_SECONDS = 120.0
POLL_SECONDS = 0.02
LOG_TAIL_BYTES = 4096
SOCKET_PATH_BYTES = 107  # sockaddr_un.sun_path, unix(7)
PORT_ATTEMPTS = 3

_SYSTEM_DIRECTORIES = ("/usr/sbin", "/usr/local/sbin", "/usr/libexec")  # often not on the PATH of a plain user
_REMEDY: Mapping[Flavour, str] = {
    "mariadb": "apt-get install mariadb-server",
    "mysql": "get one with `scripts/get-mysql.sh DIR` and name DIR/bin",
}
_PORT_TAKEN = ("Bind on TCP/IP port", "Address already in use", "Do you already have another")


@dataclass(frozen=True)
class ServerPrograms:
    """Whose server it is, and the folder that holds its programs (None: PATH)."""

    flavour: Flavour
    bin_dir: Path | None = None

    @classmethod
    def mariadb(cls, bin_dir: Path | None = None) -> "ServerPrograms":
        """MariaDB's, of the machine; raises `PermanentError` when they are not installed."""
        programs = cls("mariadb", bin_dir)
        programs.find("mariadbd")
        programs.find("mariadb-install-db")
        return programs

    @classmethod
    def mysql(cls, bin_dir: Path) -> "ServerPrograms":
        """MySQL's, of a folder such as `scripts/get-mysql.sh` makes; raises `PermanentError` when there are none."""
        programs = cls("mysql", bin_dir)
        programs.find("mysqld")
        return programs

    def find(self, name: str) -> Path:
        """The path of one program.

        Raises:
            PermanentError: it is missing; says what to install.
        """
        folders = [str(self.bin_dir)] if self.bin_dir else [os.environ.get("PATH", ""), *_SYSTEM_DIRECTORIES]
        if found := shutil.which(name, path=os.pathsep.join(folders)):
            return Path(found).absolute()
        where = f"in {self.bin_dir}" if self.bin_dir else "on PATH"
        raise PermanentError(
            f"There is no {name} {where} for a private {self.flavour} server: {_REMEDY[self.flavour]}."
        )


@dataclass(frozen=True)
class DataDirectory:
    """Where a private server's data lie. Others than a sandbox's own come with a configuration and an owner.

    Args:
        path: the data directory; initialised when it is not there.
        defaults_file: the option file of the server that it belongs to: sizes of pages and names of files have to be
            the same for both. Without one the server gets the options of a sandbox.
        user: who the files belong to, and whom the server runs as; only root can make them another's.
    """

    path: Path
    defaults_file: Path | None = None
    user: str | None = None

    def arguments(self) -> list[str]:
        """The first arguments of the server's programs."""
        source = f"--defaults-file={self.defaults_file}" if self.defaults_file else "--no-defaults"
        user = self.user or ("root" if os.geteuid() == 0 else None)  # both refuse to run as root unless told to
        return [source, *([f"--user={user}"] if user else [])]

    def give(self, path: Path) -> None:
        """Make a file or folder the server's own."""
        if self.user:
            shutil.chown(path, self.user)


class SandboxServer:
    """A running private server. Make one with `start`; end it with `stop`, `kill` or the end of a `with` block."""

    def __init__(
        self,
        programs: ServerPrograms,
        directory: Path,
        datadir: Path,
        child: Child,
        socket_path: Path,
        port: int | None,
    ) -> None:
        self.programs = programs
        self.user = "root"
        self.flavour = programs.flavour
        self.directory = directory
        self.datadir = datadir
        self.error_log = directory / "error.log"
        self.socket = socket_path
        self.port = port
        self.pid = child.pid
        self._child = child

    @classmethod
    def start(
        cls,
        directory: Path,
        programs: ServerPrograms,
        *,
        tcp: bool = True,
        options: Mapping[str, str] | None = None,
        memory_mib: int = 256,
        host: DataDirectory | None = None,
        user: str = "root",
    ) -> "SandboxServer":
        """Start a server on `directory` and wait until it answers; what an earlier start left there is used again.

        Args:
            directory: made if it is missing; a server that still runs there is ended first.
            programs: which server.
            tcp: listen on a free port of 127.0.0.1, too.
            options: more server options, `name: value`; an empty value is an option without one.
            memory_mib: InnoDB's buffer pool; the process takes about 150 MiB (MySQL: 450) beside it.
            host: a data directory that lies elsewhere, with its own configuration; `directory`/data when None.
            user: an account that logs in without a password; others than root have to be made by an `init-file`.

        Raises:
            BackupError: it did not start; holds the end of the server's own error log.
        """
        directory = directory.absolute()
        directory.mkdir(parents=True, exist_ok=True)
        host = host or DataDirectory(directory / "data")
        stop_leftover(directory, host.path)
        _initialise(directory, programs, host)
        socket_path = _socket_path(directory)
        host.give(directory)
        for attempt in range(1, PORT_ATTEMPTS + 1):
            port = _free_port() if tcp else None
            server = cls._launch(directory, host, programs, socket_path, port, dict(options or {}), memory_mib)
            server.user = user
            try:
                server._wait_until_it_answers()
                return server
            except BackupError as error:
                server.kill()
                if attempt == PORT_ATTEMPTS or not any(words in str(error) for words in _PORT_TAKEN):
                    raise
        raise AssertionError  # the loop returns or raises

    @classmethod
    def _launch(
        cls,
        directory: Path,
        host: DataDirectory,
        programs: ServerPrograms,
        socket_path: Path,
        port: int | None,
        options: Mapping[str, str],
        memory_mib: int,
    ) -> "SandboxServer":
        log = directory / "error.log"
        log.write_bytes(b"")
        temporary = directory / "tmp"
        shutil.rmtree(temporary, ignore_errors=True)
        temporary.mkdir()
        for path in (log, temporary):
            host.give(path)
        settings = (_settings(programs.flavour, memory_mib) if host.defaults_file is None else {}) | {
            "datadir": str(host.path),
            "tmpdir": str(temporary),
            "log-error": str(log),
            "pid-file": str(directory / "server.own.pid"),
            "socket": str(socket_path),
        }
        settings |= {"port": str(port), "bind-address": "127.0.0.1"} if port else {"skip-networking": ""}
        name = "mariadbd" if programs.flavour == "mariadb" else "mysqld"
        argv = [str(programs.find(name)), *host.arguments(), *_arguments(settings | dict(options))]
        child = Child(argv, stdout=DEVNULL, name=name)
        (directory / "server.pid").write_text(f"{child.pid}\n")
        return cls(programs, directory, host.path, child, socket_path, port)

    def connect(self, **overrides: Any) -> Any:
        """A MySQLdb connection as `user` over the socket: utf8mb4, autocommit; `overrides` as of `MySQLdb.connect`."""
        import MySQLdb  # late: the DAG processor has to start quickly

        options: dict[str, Any] = {
            "unix_socket": str(self.socket),
            "user": self.user,
            "charset": "utf8mb4",
            "autocommit": True,
        }
        return MySQLdb.connect(**(options | overrides))

    def is_running(self) -> bool:
        """Whether the server's process lives; it may have crashed."""
        return not _child_has_ended(self.pid)

    def stop(self) -> None:
        """Shut down cleanly; after 60 s by force. Harmless when it has ended already."""
        self._end(signal.SIGTERM)

    def kill(self) -> None:
        """End the process at once, as a power cut would: what was committed is there after the next start."""
        self._end(signal.SIGKILL)

    def __enter__(self) -> "SandboxServer":
        return self

    def __exit__(self, kind: object, error: object, trace: object) -> None:
        self.stop()

    def _end(self, how: signal.Signals) -> None:
        if self.is_running():
            os.kill(self.pid, how)
            if not _wait_until(lambda: _child_has_ended(self.pid), STOP_SECONDS):
                os.kill(self.pid, signal.SIGKILL)
        self._child.finish(allowed=range(-signal.NSIG, 256))  # how it ended says nothing that this caller asked for
        for name in ("server.pid", "server.own.pid"):
            (self.directory / name).unlink(missing_ok=True)
        self.socket.unlink(missing_ok=True)
        if self.socket.parent != self.directory:
            shutil.rmtree(self.socket.parent, ignore_errors=True)

    def _wait_until_it_answers(self) -> None:
        import MySQLdb  # late: the DAG processor has to start quickly

        deadline = time.monotonic() + START_SECONDS
        while not _child_has_ended(self.pid):
            with contextlib.suppress(MySQLdb.Error):  # not yet
                self.connect().close()
                return
            if time.monotonic() > deadline:
                raise BackupError(self._failure(f"did not answer within {START_SECONDS:.0f} s"))
            time.sleep(POLL_SECONDS)
        raise BackupError(self._failure("ended at once"))

    def _failure(self, what: str) -> str:
        tail = self.error_log.read_bytes()[-LOG_TAIL_BYTES:].decode("utf-8", "replace") + self._child.stderr
        return (
            f"The private {self.flavour} server in {self.directory} {what}. The end of its error log:\n{tail.strip()}"
        )


def stop_leftover(directory: Path, datadir: Path | None = None) -> None:
    """End the server that an earlier run left behind on `directory`, if one still runs there."""
    datadir = datadir or directory.absolute() / "data"
    record = directory / "server.pid"
    with contextlib.suppress(FileNotFoundError, ValueError, ProcessLookupError):
        pid = int(record.read_text())
        command = Path(f"/proc/{pid}/cmdline").read_bytes().split(b"\0")
        if os.fsencode(f"--datadir={datadir}") in command:
            os.kill(pid, signal.SIGTERM)
            if not _wait_until(lambda: _has_ended(pid), STOP_SECONDS):
                os.kill(pid, signal.SIGKILL)
                _wait_until(lambda: _has_ended(pid), STOP_SECONDS)
    record.unlink(missing_ok=True)


def _settings(flavour: Flavour, memory_mib: int) -> dict[str, str]:
    """The options that both servers get, as a production server should have them, and each one's own."""
    settings = {
        "server-id": "1",
        "log-bin": "binlog",
        "binlog-row-image": "FULL",
        "sync-binlog": "1",
        "innodb-flush-log-at-trx-commit": "1",
        "character-set-server": "utf8mb4",
        "max-allowed-packet": "1G",
        "innodb-buffer-pool-size": f"{memory_mib}M",
        "secure-file-priv": "",
        "local-infile": "ON",
    }
    own: Mapping[Flavour, dict[str, str]] = {
        "mariadb": {"binlog-format": "ROW", "innodb-log-file-size": f"{max(memory_mib, 96)}M"},
        "mysql": {  # rows are all that its binary log can hold by now
            "gtid-mode": "ON",
            "enforce-gtid-consistency": "ON",
            "mysqlx": "OFF",
            "innodb-redo-log-capacity": f"{max(memory_mib, 100)}M",
        },
    }
    return settings | own[flavour]


def _arguments(settings: Mapping[str, str]) -> list[str]:
    without_value = {"skip-networking"}
    return [
        f"--{name}" if value == "" and (name in without_value or name.startswith("skip-")) else f"--{name}={value}"
        for name, value in settings.items()
    ]


def _initialise(directory: Path, programs: ServerPrograms, host: DataDirectory) -> None:
    """Make the data directory, complete or not at all."""
    target = host.path
    if target.exists():
        return
    part = target.with_name(f"{target.name}.part")
    shutil.rmtree(part, ignore_errors=True)
    if host.user:
        part.mkdir()
        host.give(part)
    if programs.flavour == "mariadb":
        argv = [str(programs.find("mariadb-install-db")), *host.arguments(), "--auth-root-authentication-method=normal"]
        temporary = directory / "install-tmp"  # of its own: servers that start clear away each other's temporary tables
        temporary.mkdir(exist_ok=True)
        host.give(temporary)
        argv += ["--skip-test-db", f"--tmpdir={temporary}"]
    else:
        argv = [str(programs.find("mysqld")), *host.arguments(), "--initialize-insecure"]
    output_of([*argv, f"--datadir={part}"], stall_seconds=INITIALISE_SECONDS, talks=True)
    part.rename(target)


def _socket_path(directory: Path) -> Path:
    path = directory / "server.sock"
    if len(os.fsencode(path)) <= SOCKET_PATH_BYTES:
        return path
    # not below TMPDIR, which may be long, too
    return Path(tempfile.mkdtemp(prefix="spoqplus-", dir="/tmp")) / "server.sock"


def _free_port() -> int:
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return int(probe.getsockname()[1])


def _child_has_ended(pid: int) -> bool:
    """Whether a child of this process has ended; its exit status stays for whoever waits for it."""
    try:
        return os.waitid(os.P_PID, pid, os.WEXITED | os.WNOHANG | os.WNOWAIT) is not None
    except ChildProcessError:  # and was waited for
        return True


def _has_ended(pid: int) -> bool:
    """Whether a process of any parent is gone or a zombie."""
    try:
        state = Path(f"/proc/{pid}/stat").read_bytes().rpartition(b")")[2].split()[0]
    except (FileNotFoundError, ProcessLookupError):
        return True
    return state in (b"Z", b"X")


def _wait_until(true: Callable[[], bool], seconds: float) -> bool:
    deadline = time.monotonic() + seconds
    while not true():
        if time.monotonic() > deadline:
            return False
        time.sleep(POLL_SECONDS)
    return True
