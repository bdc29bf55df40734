"""The archive of binary logs and the incremental backup in a real Airflow, over a gap and back to green."""

from typing import Any

import pytest

from support.world import ARCHIVE, DAILY, INCREMENTAL, World

pytestmark = [pytest.mark.e2e, pytest.mark.timeout(600)]


def write(world: World) -> None:
    world.on_production(
        "CREATE TABLE IF NOT EXISTS visits (id INT AUTO_INCREMENT PRIMARY KEY)", "INSERT INTO visits VALUES ()"
    )


def run(world: World, dag_id: str) -> tuple[str, str, dict[str, Any]]:
    """A run to its end: its id, how it ended, and the states of its tasks."""
    started = world.airflow.trigger(dag_id)
    ended = world.airflow.wait(dag_id, started)
    return started, ended, world.airflow.task_states(dag_id, started)


def test_logs_are_archived_a_gap_asks_for_a_full_backup_and_increments_go_on(world: World) -> None:
    for dag_id in (ARCHIVE, INCREMENTAL):
        world.airflow.wait_for_dag(dag_id)
    full = world.back_up()
    told = len(world.slack.messages)
    write(world)
    _, ended, states = run(world, ARCHIVE)
    assert (ended, states["full_backup"]) == ("success", "skipped"), states
    assert len(world.slack.messages) == told, "a success of the archive is no news"

    write(world)
    increment, ended, states = run(world, INCREMENTAL)
    assert ended == "success", states
    published = world.airflow.xcom(INCREMENTAL, increment, "publish_incremental")
    assert (published["after"], published["logs"]) == (full, 2)
    assert f"`{full}`" in world.told()

    world.on_production("RESET MASTER")
    write(world)
    _, ended, states = run(world, ARCHIVE)
    assert (ended, states["archive.verify"], states["full_backup"], states["check_chain"]) == (
        "failed",
        "success",
        "success",
        "failed",
    ), states
    assert "로그가 끊겼습니다" in world.told()
    (asked,) = (
        item["dag_run_id"]
        for item in world.airflow.request("GET", f"/dags/{DAILY}/dagRuns?limit=100")["dag_runs"]
        if item["dag_run_id"].startswith("gap__")
    )
    assert world.airflow.wait(DAILY, asked) == "success"
    mended = world.airflow.xcom(DAILY, asked, "publish")["set"]

    write(world)
    _, ended, states = run(world, ARCHIVE)
    assert (ended, states["full_backup"]) == ("success", "skipped"), "a gap is told once"
    increment, ended, states = run(world, INCREMENTAL)
    assert ended == "success", states
    assert world.airflow.xcom(INCREMENTAL, increment, "publish_incremental")["after"] == mended
