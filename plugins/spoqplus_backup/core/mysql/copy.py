"""Brings tables of a private server, where they were rolled forward, into another schema of the server that people use.

Nothing else of that server is touched: the tables go in with their structure and rows, without triggers, and what a log
said of other databases never came near it.
"""

import contextlib
from collections.abc import Iterator, Sequence
from pathlib import Path

from spoqplus_backup.core.connections import DatabaseLogin
from spoqplus_backup.core.manifest import Flavour
from spoqplus_backup.core.mysql import client, server
from spoqplus_backup.core.process import Child, ProcessError
from spoqplus_backup.core.progress import Progress
from spoqplus_backup.core.staging import write_all

BLOCK_BYTES = 1 << 18
STALL_SECONDS = 600.0


def copy_tables(
    source: DatabaseLogin,
    database: str,
    tables: Sequence[str],
    target: DatabaseLogin,
    schema: str,
    *,
    flavour: Flavour,
    client_directory: Path | None,
    binary_log: bool,
) -> int:
    """Copy tables of one database, in place of tables of those names in the schema; returns the bytes of SQL.

    Args:
        source: the private server.
        database: whose tables.
        tables: their names.
        target: the server that gets them.
        schema: made when it is missing.
        flavour: of both servers.
        client_directory: where the vendor's programs are, if not on PATH.
        binary_log: whether the target's binary log gets what is copied.

    Raises:
        ProcessError: mysqldump or mysql failed; its own words are in the message. Called again it begins anew.
    """
    dumping = client.find("mysqldump", client_directory, flavour)
    loading = client.find("mysql", client_directory, flavour)
    options = [
        "--single-transaction",
        "--quick",
        "--hex-blob",
        "--tz-utc",
        "--default-character-set=utf8mb4",
        "--max-allowed-packet=1G",
        "--skip-triggers",
        "--skip-add-locks",
    ]
    options += ["--no-tablespaces", "--set-gtid-purged=OFF"] if flavour == "mysql" else []
    progress = Progress(f"copy to {schema}")
    with server.connect(target) as connection:
        connection.rows(f"CREATE DATABASE IF NOT EXISTS {server.quoted(schema)}")
    begin = f"SET SESSION sql_log_bin = {int(binary_log)};\nUSE {server.quoted(schema)};\n".encode()
    with (
        client.logged_in(dumping, source) as (dump_argv, dump_fds),
        Child([*dump_argv, *options, "--", database, *tables], pass_fds=dump_fds) as dump,
        client.logged_in(loading, target) as (load_argv, load_fds),
        _loading(Child([*load_argv, "--binary-mode", "--comments"], stdin=-1, stdout=-3, pass_fds=load_fds)) as load,
    ):
        write_all(load.stdin, begin)
        buffer = memoryview(bytearray(BLOCK_BYTES))
        while count := dump.readinto(buffer, STALL_SECONDS):
            write_all(load.stdin, buffer[:count])
            progress.add(count)
        dump.finish()
    progress.finish()
    return progress.done


@contextlib.contextmanager
def _loading(child: Child) -> Iterator[Child]:
    with child:
        try:
            yield child
            child.stdin.close()
        except BrokenPipeError:
            child.finish()  # says why the client went away
            raise ProcessError("mysql", "ended before it had read everything", child.stderr) from None
        child.finish()
