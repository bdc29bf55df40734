"""Replaying binary logs through the server's own applier: the same result as the logs' server, and every time exact."""

import contextlib
import random
import threading
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

import pytest

import compare
from spoqplus_backup.core.errors import BackupError, PermanentError
from spoqplus_backup.core.mysql.sandbox import SandboxServer
from spoqplus_backup.core.recovery.applier import apply_logs
from spoqplus_backup.core.recovery.replay import Replay, ReplayResult
from support import servers
from support.logs import FIRST_OFFSET, content, count_up, counted, take_logs, transactions, write_everything
from support.servers import rows, wait_until

pytestmark = pytest.mark.integration


class Target:
    """A server that is started for the applier, and again to look at it."""

    def __init__(self, folder: Path, flavour: str) -> None:
        self.folder = folder
        self.programs = servers.programs(flavour)  # type: ignore[arg-type]
        self.flavour = self.programs.flavour
        self.datadir = folder / "data"
        self.started: SandboxServer | None = None

    def start(self, options: Mapping[str, str]) -> SandboxServer:
        self.started = servers.start(self.folder, self.flavour, **options)
        return self.started

    def run(self, *statements: str) -> list[tuple[Any, ...]]:
        found: list[tuple[Any, ...]] = []
        with self.start({}) as server:
            connection = server.connect()
            for statement in statements:
                found = rows(connection, statement)
            connection.close()
        return found

    def apply(self, job: Replay, *, binary_log: bool = False) -> ReplayResult:
        return apply_logs(job, self.flavour, self.datadir, self.start, workers=4, binary_log=binary_log)

    def look(self, at: Callable[[SandboxServer], object]) -> object:
        with self.start({}) as server:
            return at(server)


@pytest.fixture
def target(db_server: SandboxServer, tmp_path: Path) -> Target:
    servers.copy_template(db_server.flavour, tmp_path / "target" / "data")
    return Target(tmp_path / "target", db_server.flavour)


@pytest.mark.parametrize("binary_log", [True, False], ids=["logged", "unlogged"])
def test_everything_that_a_server_logs_is_applied_as_it_was(
    db_server: SandboxServer, target: Target, tmp_path: Path, binary_log: bool
) -> None:
    write_everything(db_server)
    result = target.apply(Replay(take_logs(db_server, tmp_path / "logs"), FIRST_OFFSET), binary_log=binary_log)
    left = [path.name for path in target.datadir.iterdir() if "relay" in path.name or "master" in path.name]
    assert left == []
    assert result.last is not None
    assert compare.differences(content(db_server), target.look(content)) == []  # type: ignore[arg-type]


def test_start_and_stop_are_exact(db_server: SandboxServer, target: Target, tmp_path: Path) -> None:
    count_up(db_server, 200)
    take_logs(db_server, tmp_path / "logs")
    count_up(db_server, 200, fresh=False)
    logs = take_logs(db_server, tmp_path / "logs")
    middle, stop = transactions(logs[0])[103], transactions(logs[1])[49]
    target.apply(Replay(logs[:1], FIRST_OFFSET, middle.end))
    assert target.look(counted) == 100
    (target.datadir / "spoqplus-applier.json").unlink()
    result = target.apply(Replay(logs, middle.end, stop.end))
    assert target.look(counted) == 250
    assert result.last is not None
    assert result.last.place == stop.end


@pytest.mark.timeout(120)
def test_whenever_the_server_is_killed_every_transaction_is_applied_once(
    db_server: SandboxServer, target: Target, tmp_path: Path
) -> None:
    count_up(db_server, 3000)
    take_logs(db_server, tmp_path / "logs")
    count_up(db_server, 3000, fresh=False)
    logs = take_logs(db_server, tmp_path / "logs")
    rng, killed = random.Random(db_server.flavour), 0
    for _ in range(4):
        target.started = None
        killer = threading.Thread(target=_kill, args=(target, rng.uniform(0.1, 0.6)))
        killer.start()
        try:
            target.apply(Replay(logs, FIRST_OFFSET))
        except PermanentError:
            raise
        except BackupError:
            killed += 1
        killer.join()
    target.apply(Replay(logs, FIRST_OFFSET))
    assert killed
    assert target.look(counted) == 6000
    target.apply(Replay(logs, FIRST_OFFSET))
    assert target.look(counted) == 6000


@pytest.mark.timeout(120)
def test_a_server_that_lost_its_place_when_it_was_killed_begins_again(
    db_server: SandboxServer, target: Target, tmp_path: Path
) -> None:
    count_up(db_server, 3000)
    logs = take_logs(db_server, tmp_path / "logs")
    killer = threading.Thread(target=_kill, args=(target, 0.3))
    killer.start()
    with contextlib.suppress(BackupError):
        target.apply(Replay(logs, FIRST_OFFSET))
    killer.join()
    (index,) = target.datadir.glob("*relay*.index")
    index.write_bytes(b"")
    target.apply(Replay(logs, FIRST_OFFSET))
    assert target.look(counted) == 3000


def _kill(target: Target, seconds: float) -> None:
    wait_until(lambda: target.started is not None, 30, "the server to start")
    threading.Event().wait(seconds)
    assert target.started is not None
    target.started.kill()


def test_what_the_applier_refuses_is_named(db_server: SandboxServer, target: Target, tmp_path: Path) -> None:
    count_up(db_server, 20)
    logs = take_logs(db_server, tmp_path / "logs")
    middle = transactions(logs[0])[9].end
    target.apply(Replay(logs, FIRST_OFFSET, middle))
    (target.datadir / "spoqplus-applier.json").unlink()
    target.run("SET SESSION sql_log_bin = 0", "DELETE FROM app.counter")
    with pytest.raises(PermanentError, match=rf"stopped applying at binlog.000001:{middle}: .*app.counter"):
        target.apply(Replay(logs, middle))


def test_a_rebuilt_server_logs_under_the_same_gtids(db_server: SandboxServer, target: Target, tmp_path: Path) -> None:
    """Its snapshot has the first transactions; the logs bring the others."""
    count_up(db_server, 20)
    logs = take_logs(db_server, tmp_path / "logs")
    found = transactions(logs[0])
    target.apply(Replay(logs, FIRST_OFFSET, found[9].end), binary_log=True)
    (target.datadir / "spoqplus-applier.json").unlink()
    if db_server.flavour == "mysql":
        target.run("RESET BINARY LOGS AND GTIDS")  # a dump holds rows, not GTIDs
    target.apply(Replay(logs, found[9].end), binary_log=True)
    wanted = "SELECT @@GLOBAL.gtid_binlog_state" if db_server.flavour == "mariadb" else "SELECT @@GLOBAL.gtid_executed"
    connection = db_server.connect()
    assert target.run(wanted) == rows(connection, wanted)
    connection.close()


def test_logs_of_other_work_are_refused(db_server: SandboxServer, target: Target, tmp_path: Path) -> None:
    count_up(db_server, 20)
    logs = take_logs(db_server, tmp_path / "logs")
    found = transactions(logs[0])
    target.apply(Replay(logs, FIRST_OFFSET, found[9].end))
    with pytest.raises(PermanentError, match="to which other logs were applied"):
        target.apply(Replay(logs, found[9].end))


def test_of_a_log_whose_server_died_the_whole_transactions_count(
    db_server: SandboxServer, target: Target, tmp_path: Path
) -> None:
    count_up(db_server, 10)
    logs = take_logs(db_server, tmp_path / "logs")
    last = transactions(logs[0])[-1]
    logs[0].write_bytes(logs[0].read_bytes()[: last.end - 3])
    result = target.apply(Replay(logs, FIRST_OFFSET))
    assert target.look(counted) == 9
    assert result.last is not None
    assert result.last.place == last.start


def test_accounts_that_were_restored_as_of_a_later_moment_do_not_stop_it(
    db_server: SandboxServer, target: Target, tmp_path: Path
) -> None:
    connection = db_server.connect()
    for statement in ("CREATE USER gone", "CREATE DATABASE app", "CREATE TABLE app.t (a INT)", "FLUSH BINARY LOGS"):
        rows(connection, statement)
    for number, statement in enumerate(
        ("ALTER USER gone IDENTIFIED BY 'x'", "GRANT SELECT ON app.* TO gone", "REVOKE SELECT ON app.* FROM gone")
        + ("DROP USER gone",)
    ):
        rows(connection, f"INSERT INTO app.t VALUES ({number})")
        rows(connection, statement)
    rows(connection, "INSERT INTO app.t VALUES (99)")
    connection.close()
    target.run("SET SESSION sql_log_bin = 0", "CREATE DATABASE app", "CREATE TABLE app.t (a INT)")
    target.apply(Replay(take_logs(db_server, tmp_path / "logs")[1:], FIRST_OFFSET))
    assert compare.differences(content(db_server), target.look(content)) == []  # type: ignore[arg-type]


@pytest.mark.parametrize("form", ["ROW", "STATEMENT"])
def test_rows_that_were_loaded_from_a_file(db_server: SandboxServer, target: Target, tmp_path: Path, form: str) -> None:
    """As statements they lie in the log with the file's content, in events of their own."""
    file = tmp_path / "rows.csv"
    file.write_text("".join(f"{number},김철수 {number}\n" for number in range(20_000)))
    file.chmod(0o644)
    connection = db_server.connect(local_infile=True)
    rows(connection, "CREATE DATABASE app")
    rows(connection, "CREATE TABLE app.t (a INT PRIMARY KEY, b VARCHAR(40)) CHARACTER SET utf8mb4")
    rows(connection, f"SET SESSION binlog_format = {form}")
    if db_server.flavour == "mysql":
        rows(connection, "SET GLOBAL local_infile = ON")
    load = f"LOAD DATA LOCAL INFILE '{file}' INTO TABLE app.t CHARACTER SET utf8mb4 FIELDS TERMINATED BY ','"
    rows(connection, load)
    connection.close()
    logs = take_logs(db_server, tmp_path / "logs")
    target.apply(Replay(logs, FIRST_OFFSET))
    assert compare.differences(content(db_server), target.look(content)) == []  # type: ignore[arg-type]
    assert target.run("SELECT COUNT(*) FROM app.t") == [(20_000,)]


def test_transactions_without_a_gtid(tmp_path: Path) -> None:
    """Of a server with gtid_mode=OFF: they get GTIDs of the new server's own."""
    servers.copy_template("mysql", tmp_path / "target" / "data")
    target = Target(tmp_path / "target", "mysql")
    options = {"gtid-mode": "OFF", "enforce-gtid-consistency": "OFF"}
    with servers.start(tmp_path / "off", "mysql", **options) as source:
        count_up(source, 50)
        logs = take_logs(source, tmp_path / "logs")
        assert {one.gtid for path in logs for one in transactions(path)} == {None}
        result = target.apply(Replay(logs, FIRST_OFFSET), binary_log=True)
        assert result.last is not None
        assert compare.differences(content(source), target.look(content)) == []  # type: ignore[arg-type]
    assert target.look(counted) == 50
    assert target.run("SELECT @@GLOBAL.gtid_executed")[0][0].endswith(":1-54")
