"""Daily, weekly and monthly backup started at once, as on a Sunday the 1st: they queue, and all of them succeed."""

from datetime import datetime
from typing import Any

import pytest

from support.world import DAILY, POOL, World

pytestmark = [pytest.mark.e2e, pytest.mark.timeout(900)]

CADENCES = {"daily": DAILY, "weekly": "spoqplus_weekly_backup", "monthly": "spoqplus_monthly_backup"}


def span(task: dict[str, Any]) -> tuple[datetime, datetime]:
    return datetime.fromisoformat(task["start_date"]), datetime.fromisoformat(task["end_date"])


def test_three_at_once(world: World) -> None:
    assert world.airflow.request("GET", f"/pools/{POOL}")["slots"] == 1, "the scheduler makes it at its start"

    runs = {cadence: world.airflow.trigger(dag) for cadence, dag in CADENCES.items()}

    for cadence, run in runs.items():
        dag = CADENCES[cadence]
        assert world.airflow.wait(dag, run, 480) == "success", world.airflow.task_states(dag, run)
        name = world.airflow.xcom(dag, run, "publish")["set"]
        assert name.startswith(f"{cadence}/")
        for repository in ("local", "s3"):
            world.manifest(repository, name)
    dumps = sorted(
        span(task)
        for cadence, run in runs.items()
        for task_id, task in world.airflow.tasks(CADENCES[cadence], run).items()
        if task_id.endswith(".dump")
    )
    assert all(ended <= began for (_, ended), (began, _) in zip(dumps, dumps[1:], strict=False)), "one reads the server"
