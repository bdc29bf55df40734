"""A lost server rebuilt from nothing in a real Airflow, and its old data directory put back with one click."""

from typing import Any
from urllib.parse import quote

import MySQLdb
import pytest

from slack_sink import words
from support.servers import rows
from support.service import Service
from support.world import DATABASE_PASSWORD, World

pytestmark = [pytest.mark.e2e, pytest.mark.timeout(600)]

DAILY, RESTORE = "lost_daily_backup", "lost_restore"


def clients(lost: Service) -> Any:
    """As the site's own login, which only the restored accounts know once the server is a new one."""
    return MySQLdb.connect(unix_socket=str(lost.socket), user="backup", passwd=DATABASE_PASSWORD, autocommit=True)


def told_late(world: World, run: str) -> bool:
    """Whether somebody was told that a run is not over within the promised time."""
    return any("넘겼는데" in (told := words(message)) and quote(run) in told for message in world.slack.messages)


@pytest.fixture(scope="module")
def backup(world: World) -> str:
    run = world.airflow.trigger(DAILY)
    assert world.airflow.wait(DAILY, run) == "success", world.airflow.task_states(DAILY, run)
    return str(world.airflow.xcom(DAILY, run, "publish")["set"])


def test_a_lost_server_is_rebuilt(world: World, lost: Service, backup: str) -> None:
    lost.kill()
    run = world.airflow.trigger(RESTORE, {"rebuild": True})
    ended = world.airflow.wait(RESTORE, run)
    states = world.airflow.task_states(RESTORE, run)
    assert ended == "success", states
    assert (states["rebuild"], states["start_service"]) == ("success", "success")
    assert (states["after_failure"], states["put_back"]) == ("skipped", "skipped")
    count = "SELECT COUNT(*) FROM spoqplus.members"
    assert rows(clients(lost), count) == rows(world.production.connect(), count)
    assert backup in world.told()


def test_a_rebuild_that_fails_asks_and_puts_the_old_directory_back(world: World, lost: Service, backup: str) -> None:
    rows(clients(lost), "CREATE DATABASE IF NOT EXISTS kept")
    configuration = lost.folder / "my.cnf"
    good = configuration.read_text()
    configuration.write_text(good + "no-such-option=1\n")  # the new server can't start
    run = world.airflow.trigger(RESTORE, {"rebuild": True})
    try:
        world.airflow.wait_for_task(RESTORE, run, "after_failure", {"awaiting_input"})
        world.airflow.until("Slack hears that it takes too long", lambda: told_late(world, run), 60)
    finally:
        configuration.write_text(good)
    world.airflow.answer(RESTORE, run, "after_failure", "있던 것을 되돌립니다")
    assert world.airflow.wait(RESTORE, run) == "failed", "what failed stays red"
    states = world.airflow.task_states(RESTORE, run)
    assert (states["rebuild"], states["put_back"], states["load"]) == ("failed", "success", "upstream_failed")
    assert ("kept",) in rows(clients(lost), "SHOW DATABASES")
    assert "되돌렸습니다" in world.told()
