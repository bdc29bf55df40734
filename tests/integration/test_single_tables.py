"""Single tables of an earlier moment beside those of now, and what differs; production stays as it is."""

from pathlib import Path
from typing import Any

import pytest

from compare import differences, snapshot
from spoqplus_backup.core.errors import PermanentError
from spoqplus_backup.core.mysql.sandbox import SandboxServer
from spoqplus_backup.core.process import ProcessError
from spoqplus_backup.core.recovery import restore as recovery
from spoqplus_backup.core.recovery.plan import restore_directory
from spoqplus_backup.core.recovery.single_tables import compare_with_now, copy_out
from spoqplus_backup.plan_text import differences_markdown
from support import servers
from support.backups import make_site
from support.servers import run

pytestmark = pytest.mark.integration


def state(server: SandboxServer, database: str) -> Any:
    connection = server.connect()
    found = snapshot(connection, (database,), accounts=False)
    connection.close()
    return found


def test_a_table_before_the_bad_statement_beside_the_one_of_now(db_server: SandboxServer, tmp_path: Path) -> None:
    programs = servers.programs(db_server.flavour)
    folder = str(programs.bin_dir) if programs.bin_dir else None
    site = make_site(tmp_path, db_server, restore={"server_directory": folder})
    run(
        db_server,
        "CREATE DATABASE spoqplus",
        "CREATE TABLE spoqplus.members (id INT PRIMARY KEY, name VARCHAR(50) CHARACTER SET utf8mb4)",
        "CREATE TABLE spoqplus.visits (id INT PRIMARY KEY)",
        "INSERT INTO spoqplus.members VALUES (1, '김철수'), (2, 'Lee')",
        "CREATE DATABASE before_it",
        "CREATE TABLE before_it.members (old INT)",
    )
    site.back_up()
    run(
        db_server,
        "INSERT INTO spoqplus.members VALUES (3, 'Park'), (4, 'Choi')",
        "CREATE USER kim@localhost IDENTIFIED BY 'x'",
        "ALTER USER root@localhost REQUIRE NONE",
    )
    ((file, position),) = [row[:2] for row in run(db_server, status(db_server))]
    run(db_server, "DELETE FROM spoqplus.members WHERE id < 3", "UPDATE spoqplus.members SET name = 'P' WHERE id = 3")
    run(db_server, "INSERT INTO spoqplus.members VALUES (9, 'new')")
    site.archive()
    now = state(db_server, "spoqplus")

    plan = site.plan(
        environment="production",
        tables=["spoqplus.members"],
        into_schema="before_it",
        before_gtid=f"{file}:{position}",
    )
    assert plan.overwrites == (("before_it", "members"),)
    step = (site.settings, site.connections, plan)
    recovery.fetch(*step)
    recovery.load_set(*step, 1)
    recovery.roll_forward(*step)
    with pytest.raises(PermanentError, match="clear the task copy_tables"):
        recovery.verify_restored(*step)
    copy_out(*step)
    recovery.verify_restored(*step)
    (found,) = compare_with_now(*step)
    assert (found.only_restored, found.only_current, found.changed, found.same) == (2, 1, 1, 1)
    assert found.samples == {"only_restored": ("1", "2"), "only_current": ("9",), "changed": ("3",)}
    assert "`spoqplus.members` | 2 | 1 | 1 | 1 |" in differences_markdown(site.settings, (found,))
    assert run(db_server, "SELECT name FROM before_it.members ORDER BY id") == [
        ("김철수",),
        ("Lee",),
        ("Park",),
        ("Choi",),
    ]
    assert differences(now, state(db_server, "spoqplus")) == []
    assert not (restore_directory(site.settings, plan.run_id) / "sandbox").exists()


def status(server: SandboxServer) -> str:
    return "SHOW MASTER STATUS" if server.flavour == "mariadb" else "SHOW BINARY LOG STATUS"


def test_without_server_programs_the_plan_says_what_to_do(mariadb_server: SandboxServer, tmp_path: Path) -> None:
    servers.empty(mariadb_server)
    run(mariadb_server, "CREATE DATABASE spoqplus", "CREATE TABLE spoqplus.t (id INT)", "FLUSH BINARY LOGS")
    site = make_site(tmp_path, mariadb_server, restore={"server_directory": str(tmp_path)})
    site.back_up()
    run(mariadb_server, "INSERT INTO spoqplus.t VALUES (1)")
    site.archive()
    with pytest.raises(PermanentError, match="There is no mariadbd"):
        site.plan(environment="production", tables=["spoqplus.t"], into_schema="x", to_time="latest")


def test_a_restore_past_the_logs_ends_what_they_reach_until_the_next_full_backup(
    db_server: SandboxServer, tmp_path: Path
) -> None:
    """It is loaded into the running production, whose own log gets nothing of it."""
    site = make_site(tmp_path, db_server)
    run(db_server, "CREATE DATABASE spoqplus", "CREATE TABLE spoqplus.t (id INT PRIMARY KEY)")
    site.back_up()
    run(db_server, "INSERT INTO spoqplus.t VALUES (1)")
    site.archive()
    plan = site.plan(environment="production")
    recovery.fetch(site.settings, site.connections, plan)
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(recovery, "load", fails)
        with pytest.raises(ProcessError):
            recovery.load_set(site.settings, site.connections, plan, 1)
    during, *_ = run(db_server, "SHOW BINARY LOGS")[-1]
    run(db_server, "INSERT INTO spoqplus.t VALUES (20)")
    recovery.load_set(site.settings, site.connections, plan, 1)
    recovery.verify_restored(site.settings, site.connections, plan)
    run(db_server, "INSERT INTO spoqplus.t VALUES (2)")
    log, *_ = run(db_server, "SHOW BINARY LOGS")[-1]
    assert site.archive("rotate", "list_logs", "fetch").gap is not None
    site.archive("compress", "encrypt", "upload", "verify")
    for name in (during, log):
        behind = f"{name}:{first_place(db_server, str(name))}"
        with pytest.raises(PermanentError, match=r"can't be reached.*which the server's logs do not hold"):
            site.plan(to_gtid=behind, environment="production")
    assert site.plan(environment="production", to_time="latest").replay.last_at is not None  # type: ignore[union-attr]
    site.back_up()
    run(db_server, "INSERT INTO spoqplus.t VALUES (3)")
    site.archive()
    assert site.plan(environment="production", to_time="latest").replay.transactions == 1  # type: ignore[union-attr]


def fails(*_: Any, **__: Any) -> None:
    raise ProcessError("mysql", "was killed by signal SIGKILL", "")


def first_place(server: SandboxServer, name: str) -> int:
    from spoqplus_backup.core.mysql.binlog_transactions import Transactions

    with (server.datadir / name).open("rb") as file:
        return next(iter(Transactions(file.read, name))).start
