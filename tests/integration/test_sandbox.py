"""The private database server: starts on nothing, is found again, dies when it is told to."""

import os
import socket
import subprocess
import sys
from pathlib import Path

import pytest

from spoqplus_backup.core.errors import BackupError, PermanentError
from spoqplus_backup.core.mysql import sandbox
from spoqplus_backup.core.mysql.sandbox import SandboxServer, ServerPrograms
from support import servers

pytestmark = pytest.mark.integration


@pytest.fixture(params=["mariadb", "mysql"])
def vendor(request: pytest.FixtureRequest) -> ServerPrograms:
    return servers.programs(request.param)


def start(directory: Path, vendor: ServerPrograms, **more: object) -> SandboxServer:
    return SandboxServer.start(directory, vendor, options=servers.OPTIONS, memory_mib=64, **more)


def test_server_has_what_a_backup_needs(db_server: SandboxServer) -> None:
    connection = db_server.connect()
    found = servers.rows(connection, "SELECT @@log_bin, @@binlog_format, @@character_set_server, @@port, @@datadir")
    connection.close()
    assert found == [(1, "ROW", "utf8mb4", db_server.port, f"{db_server.datadir}/")]
    assert db_server.port is not None
    over_tcp = db_server.connect(unix_socket="", host="127.0.0.1", port=db_server.port)
    assert servers.rows(over_tcp, "SELECT CURRENT_USER()") in ([("root@localhost",)], [("root@127.0.0.1",)])
    over_tcp.close()


def test_server_of_both_vendors_is_what_it_says(mariadb_server: SandboxServer, mysql_server: SandboxServer) -> None:
    for server, word in ((mariadb_server, "MariaDB"), (mysql_server, "9.7.")):
        connection = server.connect()
        assert word in servers.rows(connection, "SELECT VERSION()")[0][0]
        connection.close()


def test_data_survive_a_stop_and_a_kill(tmp_path: Path, vendor: ServerPrograms) -> None:
    # the socket's path would be longer than the system allows
    directory = tmp_path / ("long" * 25)
    with start(directory, vendor) as server:
        connection = server.connect()
        servers.rows(connection, "CREATE DATABASE club")
        servers.rows(connection, "CREATE TABLE club.members (name VARCHAR(20)) SELECT '김' AS name")
        connection.close()
        server.kill()
        assert not server.is_running()
    with start(directory, vendor, tcp=False) as server:
        connection = server.connect()
        assert servers.rows(connection, "SELECT name FROM club.members") == [("김",)]
        assert server.port is None
        connection.close()
    assert not server.is_running()
    assert not server.socket.exists()


def test_leftover_of_an_earlier_run_is_ended(tmp_path: Path, vendor: ServerPrograms) -> None:
    first = start(tmp_path, vendor)
    with start(tmp_path, vendor) as second:
        assert not first.is_running()
        assert second.is_running()
    first.stop()


def test_server_dies_with_its_parent(tmp_path: Path, vendor: ServerPrograms) -> None:
    script = (
        "import os, pathlib, sys\n"
        "from spoqplus_backup.core.mysql.sandbox import SandboxServer, ServerPrograms\n"
        "bin_dir = pathlib.Path(sys.argv[2]) if sys.argv[2] else None\n"
        "server = SandboxServer.start(pathlib.Path(sys.argv[1]), ServerPrograms(sys.argv[3], bin_dir))\n"
        "print(server.pid, flush=True)\n"
        "os.kill(os.getpid(), 9)\n"
    )
    argv = [sys.executable, "-c", script, str(tmp_path / "dies"), str(vendor.bin_dir or ""), vendor.flavour]
    environment = os.environ | {"PYTHONPATH": str(servers.PROJECT / "plugins")}
    process = subprocess.run(argv, env=environment, capture_output=True, text=True, timeout=60, check=False)
    pid = int(process.stdout)
    servers.wait_until(lambda: not servers.is_alive(pid), 20, f"the end of the server {pid}")


def test_port_that_was_taken_meanwhile_is_replaced(
    tmp_path: Path, vendor: ServerPrograms, monkeypatch: pytest.MonkeyPatch
) -> None:
    with socket.socket() as occupant:
        occupant.bind(("127.0.0.1", 0))
        occupant.listen()
        taken, choose = occupant.getsockname()[1], sandbox._free_port
        ports = iter([taken])
        monkeypatch.setattr(sandbox, "_free_port", lambda: next(ports, None) or choose())
        with start(tmp_path, vendor) as server:
            assert server.port not in (None, taken)


def test_error_holds_the_servers_own_words(tmp_path: Path, vendor: ServerPrograms) -> None:
    with pytest.raises(BackupError, match="unknown variable 'no-such-option=1'"):
        SandboxServer.start(tmp_path, vendor, options={"no-such-option": "1"})


def test_missing_programs_say_what_to_install(tmp_path: Path) -> None:
    with pytest.raises(PermanentError, match="apt-get install mariadb-server"):
        ServerPrograms.mariadb(tmp_path)
    with pytest.raises(PermanentError, match=r"scripts/get-mysql\.sh"):
        ServerPrograms.mysql(tmp_path)


def test_emptied_server_has_no_database_and_no_account(db_server: SandboxServer) -> None:
    connection = db_server.connect()
    for statement in ("CREATE DATABASE `a``b`", "CREATE USER 'x y'@'%'", "CREATE ROLE r", "GRANT r TO 'x y'@'%'"):
        servers.rows(connection, statement)
    assert servers.databases(connection) == ["a`b"]
    assert len(servers.accounts(connection)) == 2
    servers.empty(db_server)
    assert servers.databases(connection) == []
    assert servers.accounts(connection) == []
    connection.close()
