"""A restore to a point: everything before it is there, nothing behind it, on both vendors' real servers."""

from pathlib import Path
from typing import Any

import pytest

from compare import differences, snapshot
from spoqplus_backup.cli import main
from spoqplus_backup.core.errors import IntegrityError, PermanentError, SettingsError
from spoqplus_backup.core.mysql.binlog_transactions import Transaction, Transactions
from spoqplus_backup.core.mysql.sandbox import SandboxServer
from spoqplus_backup.core.process import ProcessError
from spoqplus_backup.core.recovery import restore as recovery
from spoqplus_backup.core.recovery import roll_forward
from spoqplus_backup.core.recovery.plan import restore_directory
from spoqplus_backup.core.run import BackupRun
from support.archive import log_names, rotate
from support.backups import Site, make_site
from support.servers import rows, run, start

pytestmark = pytest.mark.integration


def transactions(server: SandboxServer, number: int) -> list[Transaction]:
    """Those of the server's log of that place in their order."""
    name = log_names(server)[number]
    with (server.datadir / name).open("rb") as file:
        return list(Transactions(file.read, name))


def state(server: SandboxServer, *databases: str) -> Any:
    return snapshot(server.connect(), databases or ("spoqplus",), accounts=False)


@pytest.fixture
def site(db_server: SandboxServer, restore_target: SandboxServer, tmp_path: Path) -> Site:
    """A full backup and three logs behind it: rows, definitions, a new database, new accounts."""
    run(
        db_server,
        "CREATE DATABASE spoqplus",
        "CREATE TABLE spoqplus.members (id INT PRIMARY KEY, name VARCHAR(50))",
        "CREATE TABLE spoqplus.visits (id INT PRIMARY KEY, member INT, FOREIGN KEY (member) "
        "REFERENCES spoqplus.members (id) ON DELETE CASCADE)",
        "CREATE TABLE spoqplus.quiet (id INT PRIMARY KEY)",
        "INSERT INTO spoqplus.quiet VALUES (1), (2)",
        "INSERT INTO spoqplus.members VALUES (1, '김철수'), (2, 'Lee'), (3, 'Park')",
        "INSERT INTO spoqplus.visits VALUES (10, 1), (20, 2)",
        "CREATE USER kim@localhost",
    )
    made = make_site(tmp_path, db_server, restore_target)
    made.back_up()
    run(
        db_server,
        "INSERT INTO spoqplus.members VALUES (4, 'Choi')",
        "CREATE TABLE spoqplus.payments (id INT PRIMARY KEY, amount DECIMAL(10,2))",
        "GRANT SELECT ON spoqplus.members TO kim@localhost",
        "CREATE USER lee@localhost",
    )
    rotate(db_server)
    run(
        db_server,
        "CREATE DATABASE later",
        "CREATE TABLE later.t (id INT PRIMARY KEY)",
        "INSERT INTO later.t VALUES (1)",
        "INSERT INTO spoqplus.payments VALUES (1, 1000), (2, 2500.5)",
        "UPDATE spoqplus.members SET name = 'Kim' WHERE id = 1",
    )
    return made


def apply(site: Site, **params: Any) -> Any:
    plan = site.plan(**params)
    recovery.fetch(site.settings, site.connections, plan)
    recovery.load_set(site.settings, site.connections, plan, 1)
    recovery.roll_forward(site.settings, site.connections, plan)
    return plan, recovery.verify_restored(site.settings, site.connections, plan)


def test_everything_but_the_bad_statement(site: Site, db_server: SandboxServer, restore_target: SandboxServer) -> None:
    before = state(db_server, "spoqplus", "later")
    run(db_server, "DELETE FROM spoqplus.members", "INSERT INTO spoqplus.members VALUES (99, 'too late')")
    site.archive()
    bad = transactions(db_server, 1)[-2]
    for _ in range(2):  # a second time over what the first one left
        plan, summary = apply(site, before_gtid=str(bad.gtid))
        assert differences(before, state(restore_target, "spoqplus", "later")) == []
    assert plan.replay is not None
    assert summary.detail["transactions"] == plan.replay.transactions == 9
    assert summary.detail["tables"] == 1, "the one that no log touched"
    assert rows(restore_target.connect(), "SHOW GRANTS FOR kim@localhost")[1:] != []
    assert rows(restore_target.connect(), "SELECT COUNT(*) FROM mysql.user WHERE User = 'lee'") == [(1,)]
    assert not (restore_directory(site.settings, plan.run_id) / ".logs").exists()


def test_to_the_end_with_a_log_of_a_server_that_was_killed(tmp_path: Path, restore_target: SandboxServer) -> None:
    directory = tmp_path / "server"
    flavour = restore_target.flavour
    server = start(directory, flavour, memory_mib=128)
    try:
        run(server, "CREATE DATABASE spoqplus", "CREATE TABLE spoqplus.t (id INT PRIMARY KEY)")
        site = make_site(tmp_path / "site", server, restore_target)
        site.back_up()
        run(server, "INSERT INTO spoqplus.t VALUES (1)")
        server.kill()
        with (server.datadir / "binlog.000001").open("ab") as file:
            file.write(b"\0" * 3)  # it died while it wrote
        server = start(directory, flavour, memory_mib=128)
        run(server, "INSERT INTO spoqplus.t VALUES (2)")
        site.archive()
        last = transactions(server, 1)[-1]
        apply(site, to_gtid=str(last.gtid))
        assert differences(state(server), state(restore_target)) == []
    finally:
        server.stop()


def test_what_breaks_is_refused_before_the_first_statement(
    site: Site, db_server: SandboxServer, restore_target: SandboxServer
) -> None:
    run(db_server, "FLUSH BINARY LOGS", "INSERT INTO spoqplus.quiet VALUES (3)")
    site.archive()
    last = transactions(db_server, 2)[-1]
    root = Path(site.settings.repositories[0].root.removeprefix("file://"))
    plan = site.plan(to_gtid=str(last.gtid))
    sealed = root / "binlog" / "1" / "000001" / f"{log_names(db_server)[1]}.zst.age"
    content = sealed.read_bytes()
    sealed.write_bytes(content[:-1])
    with pytest.raises(IntegrityError, match=sealed.name):
        recovery.fetch(site.settings, site.connections, plan)
    sealed.write_bytes(content)
    sidecar = sealed.with_name(f"{log_names(db_server)[1]}.json")
    good = sidecar.read_bytes()
    sidecar.write_bytes(good.replace(b'"end": ', b'"end": 1'))
    with pytest.raises(IntegrityError, match="is not signed by any key"):
        recovery.fetch(site.settings, site.connections, plan)
    sidecar.unlink()
    with pytest.raises(IntegrityError, match=sidecar.name):
        recovery.fetch(site.settings, site.connections, plan)
    assert "spoqplus" not in [name for (name,) in rows(restore_target.connect(), "SHOW DATABASES")]
    sidecar.write_bytes(good)
    recovery.fetch(site.settings, site.connections, plan)


def test_a_replay_is_done_once_for_each_load(
    site: Site, db_server: SandboxServer, restore_target: SandboxServer, monkeypatch: pytest.MonkeyPatch
) -> None:
    site.archive()
    last = transactions(db_server, 1)[-1]
    plan = site.plan(to_gtid=str(last.gtid))
    recovery.fetch(site.settings, site.connections, plan)
    with pytest.raises(PermanentError, match="clear the task load"):
        recovery.roll_forward(site.settings, site.connections, plan)
    recovery.load_set(site.settings, site.connections, plan, 1)
    with pytest.raises(PermanentError, match="clear the task apply_binlogs"):
        recovery.verify_restored(site.settings, site.connections, plan)
    real = roll_forward.replay
    keys: list[str] = []

    def fails_first(job: Any, login: Any, flavour: Any, directory: Any, options: Any) -> Any:
        keys.append(options.key)
        if len(keys) == 1:
            raise ProcessError("mysql", "was killed by signal SIGKILL", "")
        return real(job, login, flavour, directory, options)

    monkeypatch.setattr(roll_forward, "replay", fails_first)
    with pytest.raises(ProcessError):
        recovery.roll_forward(site.settings, site.connections, plan)
    recovery.roll_forward(site.settings, site.connections, plan)
    recovery.roll_forward(site.settings, site.connections, plan)  # cleared when it was finished: nothing is done
    assert keys == [f"{plan.run_id}#1"] * 2, "a retry goes on with the same replay"
    recovery.load_set(site.settings, site.connections, plan, 2)
    recovery.roll_forward(site.settings, site.connections, plan)
    assert keys[2:] == [f"{plan.run_id}#2"], "another load needs another replay"
    recovery.verify_restored(site.settings, site.connections, plan)
    assert differences(state(db_server, "spoqplus", "later"), state(restore_target, "spoqplus", "later")) == []


def test_a_lost_row_of_a_table_that_no_log_touched_is_found(
    site: Site, db_server: SandboxServer, restore_target: SandboxServer
) -> None:
    site.archive()
    plan = site.plan(to_gtid=str(transactions(db_server, 1)[-1].gtid))
    recovery.fetch(site.settings, site.connections, plan)
    recovery.load_set(site.settings, site.connections, plan, 1)
    recovery.roll_forward(site.settings, site.connections, plan)
    run(restore_target, "DELETE FROM spoqplus.quiet WHERE id = 2", "DELETE FROM spoqplus.visits")
    with pytest.raises(IntegrityError, match=r"spoqplus\.quiet has 1 rows, the backup has 2\."):
        recovery.verify_restored(site.settings, site.connections, plan)


def test_what_the_logs_make_anew_on_production_is_in_the_plan_and_saved(site: Site, db_server: SandboxServer) -> None:
    from datetime import datetime, timezone

    before = state(db_server, "spoqplus", "later")
    run(db_server, "INSERT INTO later.t VALUES (2)")
    site.archive()
    bad = transactions(db_server, 1)[-1]
    plan = site.plan(environment="production", before_gtid=str(bad.gtid))
    assert plan.may_drop == ("later",)
    assert any("The backup has no later" in warning.words for warning in plan.warnings)
    report = recovery.safety_preflight(site.settings, site.connections, plan, "r/1", datetime.now(timezone.utc))
    assert report is not None
    run_ = BackupRun(site.settings, site.connections, "safety", report.set_id, "r/1")
    assert run_.staging.selection()["databases"] == ["later", "spoqplus"]
    if db_server.flavour == "mariadb":  # MySQL's server skips what it executed itself, which the stand-in does not mind
        rows(db_server.connect(), "SET GLOBAL gtid_strict_mode = 0")
    recovery.fetch(site.settings, site.connections, plan)
    recovery.load_set(site.settings, site.connections, plan, 1)
    recovery.roll_forward(site.settings, site.connections, plan)
    recovery.verify_restored(site.settings, site.connections, plan)
    assert differences(before, state(db_server, "spoqplus", "later")) == []


@pytest.mark.parametrize(
    ("params", "words"),
    [
        ({"to_time": "2026-01-02T03:04:05Z", "to_gtid": "0-1-1"}, "exclude each other"),
        ({"to_time": "soon"}, "write a time such as"),
        ({"before_gtid": "x"}, "write a GTID"),
        ({"to_time": "2026-01-02T03:04:05Z", "tables": ["spoqplus.members"]}, "needs into_schema"),
        ({"to_time": "latest", "tables": ["a.b", "c.d"], "into_schema": "e"}, "tables of one database"),
        ({"to_time": "2026-01-02T03:04:05Z", "into_schema": "yesterday"}, "needs tables"),
        ({"to_gtid": "0-1-1", "components": ["accounts"]}, "needs the component database"),
        ({"to_gtid": ["0-1-1"]}, "to_gtid is wrong"),
        ({"find_tables": ["members"]}, "write database.table"),
        ({"find_tables": ["a.b"], "find_kinds": ["eat"]}, "choose of"),
        ({"find_tables": ["a.b"], "find_since": "soon"}, "write a time such as"),
        ({"find_kinds": ["delete"]}, "find_tables is empty"),
    ],
)
def test_parameters_that_are_wrong(mariadb_server: SandboxServer, tmp_path: Path, params: Any, words: str) -> None:
    site = make_site(tmp_path, mariadb_server)
    with pytest.raises(SettingsError, match=words):
        site.plan(**params)


@pytest.fixture
def command_line(site: Site, monkeypatch: pytest.MonkeyPatch) -> Site:
    """The site as the command line finds it."""
    site.export(monkeypatch)
    return site


def test_from_the_shell(
    command_line: Site,
    db_server: SandboxServer,
    restore_target: SandboxServer,
    capsys: pytest.CaptureFixture[str],
) -> None:
    before = state(db_server, "spoqplus", "later")
    run(db_server, "DELETE FROM spoqplus.members", "INSERT INTO spoqplus.members VALUES (99, 'too late')")
    command_line.archive()

    assert main(["windows"]) == 0
    assert "daily/" in capsys.readouterr().out
    assert (
        main(["find", "--table", "spoqplus.members", "--kind", "delete,drop,truncate", "--since", "2026-01-01 00:00"])
        == 0
    )
    shown = capsys.readouterr().out
    bad = str(transactions(db_server, 1)[-2].gtid)
    assert f"  {bad}  delete spoqplus.members 4 rows  DELETE " in shown
    assert main(["restore", "--before-gtid", bad, "--dry-run"]) == 0
    assert main(["restore", "--before-gtid", bad]) == 0
    assert "apply_binlogs: " in capsys.readouterr().out
    assert differences(before, state(restore_target, "spoqplus", "later")) == []
    assert main(["find", "--table", "spoqplus.quiet", "--kind", "drop"]) == 0
    assert main(["restore", "--to-time", "1999-01-01T00:00:00Z"]) == 1
    assert "Reachable: daily/" in capsys.readouterr().err
