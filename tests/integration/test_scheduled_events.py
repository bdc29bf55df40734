"""Scheduled events of backup and logs: none runs during a replay, and then each is what backup and logs say."""

from pathlib import Path
from typing import Any

import pytest

from compare import differences, snapshot
from spoqplus_backup.core.mysql.sandbox import SandboxServer
from spoqplus_backup.core.process import ProcessError
from spoqplus_backup.core.recovery import replay, scheduled_events
from spoqplus_backup.core.recovery import restore as recovery
from support.backups import make_site
from support.servers import rows, run, wait_until

pytestmark = pytest.mark.integration

OFTEN = "ON SCHEDULE EVERY 1 SECOND"
LATER = "ON SCHEDULE EVERY 1 DAY STARTS '2037-01-01'"


def state(server: SandboxServer) -> Any:
    connection = server.connect()
    found = snapshot(connection, ("spoqplus",), accounts=False)
    modes = "SELECT EVENT_NAME, SQL_MODE, DEFINER, STATUS FROM information_schema.EVENTS ORDER BY 1"
    found["modes"] = {str(name): {"all": tuple(rest)} for name, *rest in rows(connection, modes)}
    connection.close()
    return found


def test_no_event_runs_before_the_replay_is_complete(
    db_server: SandboxServer, restore_target: SandboxServer, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The target's scheduler is on, the events would run each second, and the replay fails in the middle once."""
    run(
        db_server,
        "SET GLOBAL event_scheduler = OFF",  # so that rows come from the target's events alone
        "CREATE DATABASE spoqplus",
        "CREATE TABLE spoqplus.ticks (what VARCHAR(20))",
        "CREATE TABLE spoqplus.t (id INT PRIMARY KEY)",
        "USE spoqplus",
        f"CREATE EVENT runs {OFTEN} DO INSERT INTO spoqplus.ticks VALUES ('runs')",
        f"CREATE EVENT changed {OFTEN} COMMENT 'it\\'s' DO INSERT INTO spoqplus.ticks VALUES ('changed')",
        f"CREATE EVENT stays_off {OFTEN} DISABLE DO INSERT INTO spoqplus.ticks VALUES ('ENABLE')",
        f"CREATE EVENT goes_on {LATER} DISABLE DO DELETE FROM spoqplus.ticks",
        f"CREATE EVENT dropped {OFTEN} DO INSERT INTO spoqplus.ticks VALUES ('dropped')",
        "SET sql_mode = 'ANSI_QUOTES,NO_BACKSLASH_ESCAPES', time_zone = '+05:30'",
        f'CREATE EVENT "odd "" ENABLE" {LATER} DO DELETE FROM spoqplus.ticks',
    )
    site = make_site(tmp_path, db_server, restore_target)
    site.back_up()
    run(
        db_server,
        "USE spoqplus",
        "INSERT INTO t VALUES (1)",
        f"CREATE EVENT made {OFTEN} ENABLE DO BEGIN INSERT INTO spoqplus.ticks VALUES ('made'); END",
        f"CREATE EVENT made_off {OFTEN} DISABLE DO INSERT INTO spoqplus.ticks VALUES ('made_off')",
        "ALTER EVENT changed ON SCHEDULE EVERY 2 SECOND",
        "ALTER EVENT CHANGED RENAME TO renamed",
        "ALTER EVENT goes_on ENABLE",
        "DROP EVENT dropped",
        f"CREATE DEFINER = nobody@`10.%` EVENT other {LATER} DO DELETE FROM spoqplus.ticks",
        "INSERT INTO t VALUES (2)",
    )
    site.archive()
    wanted = state(db_server)
    run(restore_target, "SET GLOBAL event_scheduler = ON")
    try:
        plan = site.plan(to_time="latest")
        recovery.fetch(site.settings, site.connections, plan)
        recovery.load_set(site.settings, site.connections, plan, 1)
        settle(restore_target)
        monkeypatch.setattr(replay, "give_back_held", fails)
        with pytest.raises(ProcessError):
            recovery.roll_forward(site.settings, site.connections, plan)
        settle(restore_target)
        assert run(restore_target, "SELECT * FROM spoqplus.ticks") == []
        monkeypatch.setattr(replay, "give_back_held", scheduled_events.give_back_held)
        run(restore_target, "SET GLOBAL event_scheduler = OFF")  # or they would run while they are compared
        recovery.roll_forward(site.settings, site.connections, plan)
        assert differences(wanted, state(restore_target)) == []
    finally:
        run(restore_target, "SET GLOBAL event_scheduler = OFF")


def fails(*_: Any) -> None:
    raise ProcessError("mysql", "was killed by signal SIGKILL", "")


def settle(server: SandboxServer) -> None:
    """Let the time pass in which an event that is made now, and runs each second, runs."""
    run(
        server,
        "CREATE DATABASE probe",
        "CREATE TABLE probe.ticks (id INT)",
        f"CREATE EVENT probe.probe {OFTEN} DO INSERT INTO probe.ticks VALUES (1)",
    )
    wait_until(lambda: len(run(server, "SELECT * FROM probe.ticks")) >= 2, 10, "a scheduled event to run twice")
    run(server, "DROP DATABASE probe")
