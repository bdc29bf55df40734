"""The vendor's own client programs: which they are, and how they get their credentials.

MySQL's programs go with a MySQL server and MariaDB's with a MariaDB server: the other vendor's client fails, or worse,
leaves things out.
"""

import contextlib
import re
import shutil
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

from spoqplus_backup.core.connections import DatabaseLogin
from spoqplus_backup.core.errors import PermanentError
from spoqplus_backup.core.manifest import Flavour
from spoqplus_backup.core.process import output_of, secret_fd

_PACKAGE = {"mariadb": "mariadb-client", "mysql": "mysql-client (MySQL's own, of the server's version)"}
# Debian keeps MySQL's name of it in the package of MariaDB's server.
_MARIADB_NAMES = {"mysqlbinlog": "mariadb-binlog"}
_VERSION = re.compile(r"(?:Distrib|Ver|from) (\d+\.\d+\.\d+)")
_OWN_VERSION = re.compile(r"Ver (\d+)\.(\d+) for")
_MARIADB_VERSION = re.compile(r"(?:Distrib |from )?(\d+\.\d+\.\d+)-MariaDB")


@dataclass(frozen=True)
class Program:
    """A client program: where it is and what it says of itself."""

    path: str
    flavour: Flavour
    version: tuple[int, int, int]

    @property
    def version_text(self) -> str:
        """`10.11.19`."""
        return ".".join(map(str, self.version))


def find(name: str, directory: Path | None, flavour: Flavour) -> Program:
    """The program `name` (`mysqldump`, `mysql`, `mysqlbinlog`) of the vendor that the server is of.

    Args:
        name: MySQL's name of it; where MariaDB's client package has it under MariaDB's name alone, that is tried too.
        directory: where to look first; PATH after that.
        flavour: the server's.

    Raises:
        PermanentError: there is none, or it is the other vendor's.
    """
    names = [name, _MARIADB_NAMES[name]] if flavour == "mariadb" and name in _MARIADB_NAMES else [name]
    path = next(
        filter(None, (shutil.which(tried, path=str(directory) if directory else None) for tried in names)), None
    )
    remedy = f"install {_PACKAGE[flavour]}, or point `database.client_directory` at the folder that holds it"
    if path is None:
        where = f"in {directory}" if directory else "on PATH"
        raise PermanentError(f"There is no {name} {where}: {remedy}.")
    text = output_of([path, "--version"], stall_seconds=20).decode("utf-8", "replace").strip()
    program = _identified(path, text)
    if program is None:
        raise PermanentError(f"{path} does not say its version ({text[:200]}): {remedy}.")
    if program.flavour != flavour:
        raise PermanentError(f"{path} is a {program.flavour} program but the server is {flavour}: {remedy}.")
    return program


def _identified(path: str, text: str) -> Program | None:
    """What a program is by what it says of its version; None when it does not tell."""
    mariadb = _MARIADB_VERSION.search(text)
    if version := mariadb or _VERSION.search(text):
        major, minor, patch = map(int, version[1].split("."))
        return Program(path, "mariadb" if mariadb else "mysql", (major, minor, patch))
    if version := _OWN_VERSION.search(text):  # mysqlbinlog up to MariaDB 10.11 and MySQL 5.7 has its own
        about = output_of([path, "--no-defaults", "--help"], stall_seconds=20).decode("utf-8", "replace")
        return Program(path, "mariadb" if "MariaDB" in about else "mysql", (int(version[1]), int(version[2]), 0))
    return None


def refuse_older(program: Program, server_version: tuple[int, int, int]) -> None:
    """A client older than its server may not know what it dumps.

    Raises:
        PermanentError: its major and minor version is below the server's.
    """
    if program.version[:2] < server_version[:2]:
        server = ".".join(map(str, server_version))
        raise PermanentError(
            f"{program.path} is version {program.version_text}, older than the server's {server}: "
            f"install {_PACKAGE[program.flavour]} {server_version[0]}.{server_version[1]} or later."
        )


def _quoted(value: str) -> str:
    escaped = value.replace("\\", "\\\\").replace('"', '\\"').replace("\n", "\\n").replace("\r", "\\r")
    return f'"{escaped}"'


def option_file(login: DatabaseLogin, flavour: Flavour) -> bytes:
    """The content of an option file that logs a client program in."""
    options = {"user": login.user, "password": login.password}
    if login.socket:
        options |= {"socket": login.socket, "protocol": "socket"}
    else:
        options |= {"host": login.host or "localhost", "port": str(login.port), "protocol": "tcp"}
    options |= {
        name: value
        for name, value in (("ssl-ca", login.ssl_ca), ("ssl-cert", login.ssl_cert), ("ssl-key", login.ssl_key))
        if value
    }
    if login.ssl_mode and flavour == "mysql":
        options["ssl-mode"] = login.ssl_mode
    lines = [f"{name}={_quoted(value)}" for name, value in options.items()]
    if login.ssl_mode and flavour == "mariadb":
        lines += ["ssl"] if login.ssl_mode.upper().startswith(("REQUIRED", "VERIFY")) else []
        lines += ["ssl-verify-server-cert"] if login.ssl_mode.upper().startswith("VERIFY") else []
    return "\n".join(["[client]", *lines, ""]).encode()


@contextlib.contextmanager
def logged_in(program: Program, login: DatabaseLogin) -> Iterator[tuple[list[str], tuple[int, ...]]]:
    """The first arguments of a call of `program`, and the descriptor to pass on, which hold the credentials.

    The option file lies in memory only, and no other option file (of the machine, of the user) is read.
    """
    with secret_fd(option_file(login, program.flavour)) as fd:
        yield [program.path, f"--defaults-file=/dev/fd/{fd}"], (fd,)
