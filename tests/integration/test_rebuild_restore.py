"""A lost server is made anew from backup and logs, its own last log included, and put back when that fails."""

import dataclasses
import io
import struct
import zlib
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from types import SimpleNamespace
from typing import Any, cast

import pytest

from compare import differences, snapshot
from spoqplus_backup.cli import main
from spoqplus_backup.core.connections import DatabaseLogin, database_login
from spoqplus_backup.core.errors import BackupError, PermanentError, SettingsError
from spoqplus_backup.core.manifest import Flavour
from spoqplus_backup.core.mysql import server
from spoqplus_backup.core.mysql.binlog_events import MAGIC, Kind, unpack_header
from spoqplus_backup.core.mysql.binlog_transactions import Transactions
from spoqplus_backup.core.mysql.sandbox import SandboxServer
from spoqplus_backup.core.process import ProcessError
from spoqplus_backup.core.recovery import place, roll_forward
from spoqplus_backup.core.recovery import rebuild as rebuilding
from spoqplus_backup.core.recovery import restore as recovery
from spoqplus_backup.core.recovery.plan import RestorePlan
from support import servers
from support.backups import PRODUCTION, Site, make_site
from support.service import Service, make_service

pytestmark = pytest.mark.integration


@dataclass
class Lost:
    """A site whose production is a service on this machine."""

    service: Service
    site: Site
    login: DatabaseLogin
    flavour: Flavour

    def run(self, *statements: str) -> list[tuple[Any, ...]]:
        with server.connect(self.login) as connection:
            found: list[tuple[Any, ...]] = []
            for statement in statements:
                found = connection.rows(statement)
            return found

    def state(self) -> Any:
        import MySQLdb

        connection = MySQLdb.connect(
            unix_socket=self.login.socket, user=self.login.user, password=self.login.password, charset="utf8mb4"
        )
        found = snapshot(connection, ("spoqplus", "later"))
        connection.close()
        return found

    def start(self) -> None:
        rebuilding.start_service(place.rebuild_job(self.site.settings, self.site.connections, self.a_plan()))

    def a_plan(self) -> RestorePlan:
        return cast(
            "RestorePlan",
            SimpleNamespace(
                request=SimpleNamespace(environment="production"),
                connection=PRODUCTION,
                run_id="test/any",
                flavour=self.flavour,
            ),
        )

    def plan(self, **params: Any) -> RestorePlan:
        plan = self.site.plan(environment="production", rebuild=True, **params)
        recovery.fetch(self.site.settings, self.site.connections, plan)
        return plan

    def step(self, what: Any, plan: RestorePlan, *arguments: Any) -> Any:
        return what(self.site.settings, self.site.connections, plan, *arguments)

    def restore(self, **params: Any) -> tuple[RestorePlan, Any]:
        plan = self.plan(**params)
        self.step(place.rebuild_server, plan)
        self.step(recovery.load_set, plan, 1)
        applied = self.step(recovery.roll_forward, plan)
        self.step(recovery.verify_restored, plan)
        self.step(place.start_rebuilt, plan)
        return plan, applied


@pytest.fixture(params=["mariadb", "mysql"])
def lost(request: pytest.FixtureRequest, tmp_path: Path) -> Iterator[Lost]:
    """A full backup, archived logs behind it, and transactions that were not archived any more."""
    vendor = servers.programs(request.param)
    with servers.start(tmp_path / "first", request.param, tcp=False) as first:
        connection = first.connect()
        for statement in (
            "CREATE USER admin@localhost IDENTIFIED BY 'secret'",
            "GRANT ALL PRIVILEGES ON *.* TO admin@localhost WITH GRANT OPTION",
            "GRANT PROXY ON ''@'' TO admin@localhost WITH GRANT OPTION",
            "ALTER USER root@localhost IDENTIFIED BY 'of root'",
        ):
            servers.rows(connection, statement)
        connection.close()
    service = make_service(tmp_path / f"service-{request.param}", vendor, tmp_path / "first" / "data")
    stand_in = cast("SandboxServer", SimpleNamespace(flavour=request.param, socket=service.socket))
    rebuild = {
        "data_directory": str(service.data),
        "stop": list(service.stop),
        "start": list(service.start),
        "defaults_file": str(service.folder / "my.cnf"),
        "server_directory": str(vendor.bin_dir) if vendor.bin_dir else None,
        "memory_mib": 64,
    }
    site = make_site(tmp_path / "site", stand_in, restore={"rebuild": {"production": rebuild}})
    record = dataclasses.replace(service.record(PRODUCTION), login="admin", password="secret")
    site.connections.records[PRODUCTION] = record
    made = Lost(service, site, database_login(record), request.param)
    try:
        fill(made)
        yield made
    finally:
        service.kill()
        service.socket.unlink(missing_ok=True)


def fill(lost: Lost) -> None:
    lost.start()
    lost.run(
        "CREATE DATABASE spoqplus CHARACTER SET utf8mb4", "CREATE TABLE spoqplus.t (id INT PRIMARY KEY, v VARCHAR(20))"
    )
    lost.run("INSERT INTO spoqplus.t VALUES (1, '김철수')", "CREATE USER kim@localhost IDENTIFIED BY 'first'")
    lost.site.back_up()
    lost.run("INSERT INTO spoqplus.t VALUES (2, 'archived')", "CREATE DATABASE later", "CREATE TABLE later.t (id INT)")
    lost.run("ALTER USER kim@localhost IDENTIFIED BY 'second'", "ALTER USER root@localhost IDENTIFIED BY 'root again'")
    lost.run("CREATE EVENT spoqplus.tick ON SCHEDULE EVERY 1 DAY STARTS '2037-01-01' DO DELETE FROM spoqplus.t")
    lost.site.archive()
    lost.run("INSERT INTO spoqplus.t VALUES (3, 'not archived')", "FLUSH LOCAL BINARY LOGS")
    lost.run("DELETE FROM spoqplus.t WHERE id = 2", "INSERT INTO later.t VALUES (4)")


def test_a_server_that_died_is_there_again_up_to_its_last_transaction(lost: Lost) -> None:
    before = lost.state()
    lost.service.kill()
    last = sorted(lost.service.data.glob("binlog.0*"))[-1]
    with last.open("ab") as file:
        file.write(b"\0" * 3)  # it died while it wrote
    plan, applied = lost.restore()
    assert "not running" in plan.target
    assert any("does not answer" in warning.words for warning in plan.warnings)
    assert differences(before, lost.state()) == []
    assert applied.detail["own_logs"].endswith(last.name)
    assert not any("before-" in path.name for path in lost.service.data.parent.iterdir())
    assert lost.run("SELECT COUNT(*) FROM mysql.user WHERE User = 'spoqplus_restore'") == [(0,)]
    root = database_login(lost.service.record(PRODUCTION))
    with pytest.raises(PermanentError, match="Access denied"), server.connect(root):
        pass
    lost.run("INSERT INTO spoqplus.t VALUES (5, 'goes on')")


def test_to_a_point_without_what_came_later(lost: Lost) -> None:
    log = lost.service.data / lost.run("SHOW BINARY LOGS")[-2][0]
    with log.open("rb") as file:
        missing = [one.gtid for one in Transactions(file.read, log.name)][-1]
    with pytest.raises(PermanentError, match="can't be reached"):
        lost.plan(before_gtid=str(missing))
    archived = lost.service.data / lost.run("SHOW BINARY LOGS")[-3][0]
    with archived.open("rb") as file:
        bad = list(Transactions(file.read, archived.name))[-1]
    _, applied = lost.restore(before_gtid=str(bad.gtid))
    assert applied.detail["own_logs"] is None
    assert lost.run("SELECT id FROM spoqplus.t") == [(1,), (2,)]
    assert lost.run("SELECT * FROM information_schema.EVENTS") == []


@pytest.mark.parametrize("lost", ["mariadb"], indirect=True)
def test_without_any_archived_log_the_server_s_own_ones_do(lost: Lost) -> None:
    before = lost.state()
    lost.site.back_up()
    lost.run("INSERT INTO spoqplus.t VALUES (6, 'behind it')", "INSERT INTO spoqplus.t VALUES (7, 'too')")
    before = lost.state()
    plan, applied = lost.restore(to_time="latest")
    assert plan.replay is None
    assert applied.detail["transactions"] == 2
    assert differences(before, lost.state()) == []


@pytest.mark.parametrize("lost", ["mariadb"], indirect=True)
def test_a_load_that_fails_is_put_back_and_one_that_is_made_anew_begins_anew(
    lost: Lost, monkeypatch: pytest.MonkeyPatch
) -> None:
    before = lost.state()
    plan = lost.plan(to_time="latest")
    with pytest.raises(PermanentError, match="clear the task rebuild"):
        lost.step(recovery.load_set, plan, 1)
    lost.step(place.rebuild_server, plan)
    with monkeypatch.context() as failing:
        failing.setattr(recovery, "load", fails)
        with pytest.raises(ProcessError):
            lost.step(recovery.load_set, plan, 1)
    with pytest.raises(BackupError):
        lost.run("SELECT 1")
    lost.step(recovery.load_set, plan, 1)
    lost.step(recovery.roll_forward, plan)
    lost.step(recovery.load_set, plan, 2)
    lost.step(recovery.roll_forward, plan)
    lost.step(place.put_back, plan)
    assert differences(before, lost.state()) == []
    with pytest.raises(PermanentError, match="nothing to start"):
        lost.step(place.start_rebuilt, plan)
    lost.step(place.rebuild_server, plan)  # cleared after all: what was loaded the first time is not there
    lost.step(recovery.load_set, plan, 2)
    lost.step(recovery.roll_forward, plan)
    lost.step(recovery.verify_restored, plan)
    lost.step(place.start_rebuilt, plan)
    assert differences(before, lost.state()) == []


@pytest.mark.parametrize("lost", ["mariadb"], indirect=True)
def test_chosen_databases_are_replayed_by_mysqlbinlog(lost: Lost, monkeypatch: pytest.MonkeyPatch) -> None:
    chosen = lost.site.settings.database.model_copy(update={"databases": ("spoqplus",)})
    lost.site.settings = lost.site.settings.model_copy(update={"database": chosen})
    monkeypatch.setattr(roll_forward, "apply_logs", fails)
    lost.restore()
    assert lost.run("SELECT id FROM spoqplus.t") == [(1,), (3,)]
    assert lost.run("SELECT STATUS FROM information_schema.EVENTS") == [("ENABLED",)]
    assert lost.run("SHOW DATABASES LIKE 'later'") == []


def shell(*arguments: str) -> int:
    return main(["restore", "--environment", "production", *arguments])


def run_of(shown: str) -> str:
    return shown.partition("--put-back ")[2].split()[0]


def test_from_the_shell(lost: Lost, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]) -> None:
    lost.site.export(monkeypatch)
    before = lost.state()
    lost.service.kill()
    with monkeypatch.context() as patch:
        patch.setattr("spoqplus_backup.cli.roll_forward", interrupts)
        assert shell("--rebuild", "--yes") == 130
    with pytest.raises(BackupError):
        lost.run("SELECT 1")
    run = run_of(capsys.readouterr().out)
    assert shell("--resume", run, "--yes") == 0
    assert differences(before, lost.state()) == []
    shown = capsys.readouterr().out
    assert "start_service: " in shown
    assert "own_logs binlog." in shown
    assert shell("--put-back", run) == 1, "it is verified and the old directory is gone"
    assert "there is nothing to put back" in capsys.readouterr().err
    assert differences(before, lost.state()) == []


@pytest.mark.parametrize("lost", ["mariadb"], indirect=True)
def test_from_the_shell_it_is_put_back(
    lost: Lost, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    lost.site.export(monkeypatch)
    before = lost.state()
    monkeypatch.setattr("sys.stdin", io.StringIO("no\n"))
    assert shell("--rebuild") == 1
    assert "Nothing was changed." in capsys.readouterr().out
    assert differences(before, lost.state()) == []
    configuration = lost.service.folder / "my.cnf"
    good = configuration.read_text()
    configuration.write_text(good + "no-such-option=1\n")  # the new server can't start
    assert shell("--rebuild", "--yes") == 1
    shown = capsys.readouterr()
    assert "Installation of system tables failed" in shown.err
    with pytest.raises(BackupError):
        lost.run("SELECT 1")
    configuration.write_text(good)
    for _ in range(2):
        assert shell("--put-back", run_of(shown.out)) == 0
        assert differences(before, lost.state()) == []
    assert shell("--resume", run_of(shown.out), "--yes") == 0, "tried once more after all"
    assert differences(before, lost.state()) == []


@pytest.mark.parametrize("lost", ["mariadb"], indirect=True)
def test_the_lost_server_s_own_logs_may_be_encrypted(lost: Lost, tmp_path: Path) -> None:
    plan = lost.plan()
    lost.step(place.rebuild_server, plan)
    lost.step(recovery.load_set, plan, 1)
    record = place.rebuild_job(lost.site.settings, lost.site.connections, plan).record
    assert record is not None
    (last, *_) = sorted(record.old.glob("binlog.0*"))[-2:]
    content = last.read_bytes()
    first_end = len(MAGIC) + unpack_header(content[len(MAGIC) :])[3]
    started = struct.pack("<IBIIIH", 0, Kind.START_ENCRYPTION, 1, 40, first_end + 40, 0) + bytes(17)
    body = started + struct.pack("<I", zlib.crc32(started))
    last.write_bytes(content[:first_end] + body + b"\x17" * 500)
    with pytest.raises(PermanentError, match=rf"{last.name} is encrypted by its server.*log_directory"):
        lost.step(recovery.roll_forward, plan)
    last.write_bytes(b"\xfdbin" + b"\x17" * 500)  # as MySQL does it
    with pytest.raises(PermanentError, match=rf"{last.name} is encrypted by its server"):
        lost.step(recovery.roll_forward, plan)
    (tmp_path / "none").mkdir()
    target = lost.site.settings.restore.rebuild["production"].model_copy(update={"log_directory": tmp_path / "none"})
    restore = lost.site.settings.restore.model_copy(update={"rebuild": {"production": target}})
    lost.site.settings = lost.site.settings.model_copy(update={"restore": restore})
    lost.step(recovery.roll_forward, plan)
    lost.step(recovery.verify_restored, plan)
    lost.step(place.start_rebuilt, plan)
    assert lost.run("SELECT id FROM spoqplus.t ORDER BY id") == [(1,), (2,)]


@pytest.mark.parametrize(
    ("params", "words"),
    [
        ({"tables": ["spoqplus.t"]}, "makes a whole server anew"),
        ({"into_schema": "x"}, "makes a whole server anew"),
        ({"components": ["accounts"]}, "makes a whole server anew"),
        ({"environment": "test"}, r"set `restore\.rebuild\.test`"),
    ],
)
def test_what_a_rebuild_does_not_go_with(
    mariadb_server: SandboxServer, tmp_path: Path, params: Any, words: str
) -> None:
    site = make_site(tmp_path, mariadb_server)
    with pytest.raises(SettingsError, match=words):
        site.plan(**({"environment": "production"} | params), rebuild=True)


def interrupts(*_: object, **__: object) -> None:
    raise KeyboardInterrupt


def fails(*_: Any, **__: Any) -> None:
    raise ProcessError("mysql", "was killed by signal SIGKILL", "")
