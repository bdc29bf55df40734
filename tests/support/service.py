"""A database server as a service of a machine: started and stopped by commands, running on after they have ended."""

import os
import shlex
import signal
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path

from spoqplus_backup.core.connections import ConnectionRecord
from spoqplus_backup.core.mysql.sandbox import ServerPrograms
from support.servers import OPTIONS, is_alive, wait_until


@dataclass(frozen=True)
class Service:
    """The commands, the data directory, and where clients find the server."""

    folder: Path
    start: tuple[str, ...]
    stop: tuple[str, ...]
    data: Path
    socket: Path

    @property
    def pid(self) -> int:
        return int((self.folder / "pid").read_text())

    def record(self, connection_id: str) -> ConnectionRecord:
        """A connection to it, as root."""
        return ConnectionRecord(
            id=connection_id, type="mysql", login="root", password="", extra={"unix_socket": str(self.socket)}
        )

    def kill(self) -> None:
        """As a power cut would."""
        with suppress(FileNotFoundError, ProcessLookupError):
            pid = self.pid
            os.kill(pid, signal.SIGKILL)
            wait_until(lambda: not is_alive(pid), 30, "the end of the service")


def make_service(folder: Path, programs: ServerPrograms, data: Path) -> Service:
    """Write the service's configuration and commands; nothing is started."""
    temporary = folder / "tmp"  # of its own: a MariaDB that starts clears away the temporary tables that it finds
    temporary.mkdir(parents=True)
    socket, config = Path("/tmp") / f"spoq-{os.getpid()}-{folder.name}.sock", folder / "my.cnf"
    options = OPTIONS | {"datadir": str(data), "socket": str(socket), "log-error": str(folder / "error.log")}
    options |= {"tmpdir": str(temporary)}
    options |= {"pid-file": str(folder / "pid"), "server-id": "1", "log-bin": "binlog", "skip-networking": "ON"}
    own = {"mysqlx": "OFF", "secure-file-priv": "", "gtid-mode": "ON", "enforce-gtid-consistency": "ON"}
    options |= own if programs.flavour == "mysql" else {"binlog-format": "ROW"}
    config.write_text("[mysqld]\n" + "".join(f"{name}={value}\n" for name, value in options.items()))
    daemon = programs.find("mariadbd" if programs.flavour == "mariadb" else "mysqld")
    user = " --user=root" if os.geteuid() == 0 else ""
    start = f"setsid {shlex.quote(str(daemon))} --defaults-file={config}{user} </dev/null >/dev/null 2>&1 &\n"
    pid = folder / "pid"
    dead = "grep -qs '^State:.*Z' /proc/$pid/status"  # killed before, and nobody waited for it
    stop = f"pid=$(cat {pid}) || exit 0\nkill $pid || exit 0\nwhile [ -e {pid} ] && ! {dead}; do sleep 0.05; done\n"
    for name, text in (("start", start), ("stop", stop)):
        (folder / name).write_text(f"#!/bin/sh\n{text}")
        (folder / name).chmod(0o755)
    return Service(folder, (str(folder / "start"),), (str(folder / "stop"),), data, socket)
