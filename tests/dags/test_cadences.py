"""Daily, weekly and monthly backups: one flow, and what differs."""

from collections.abc import Callable
from datetime import timedelta

import pytest
from airflow.dag_processing.dagbag import DagBag
from airflow.sdk import DAG

from spoqplus_backup.core.cadence import CADENCES, DAILY, MONTHLY, WEEKLY, cadence_named

ReadDags = Callable[..., DagBag]
NAMES = ("daily", "weekly", "monthly")


@pytest.fixture
def dags(read_dags: ReadDags) -> dict[str, DAG]:
    bag = read_dags("staging: {wait_hours: 2}")
    return {name: bag.dags[f"spoqplus_{name}_backup"] for name in NAMES}


def test_what_differs() -> None:
    assert [(item.name, item.full_files, item.read_back, item.long_term, item.waits) for item in CADENCES] == [
        ("daily", False, False, False, True),
        ("weekly", True, True, False, True),
        ("monthly", True, True, True, True),
    ]
    safety = cadence_named("safety")
    assert (safety.name, safety.full_files, safety.read_back, safety.long_term, safety.waits) == (
        "safety",
        True,
        False,
        False,
        False,
    )
    assert [cadence_named(name) for name in NAMES] == [DAILY, WEEKLY, MONTHLY]


def test_all_have_the_same_tasks(dags: dict[str, DAG]) -> None:
    shapes = {
        name: {task.task_id: (type(task).__name__, frozenset(task.downstream_task_ids)) for task in dag.tasks}
        for name, dag in dags.items()
    }
    assert shapes["weekly"] == shapes["daily"]
    assert shapes["monthly"] == shapes["daily"]


def test_each_works_on_sets_of_its_own(dags: dict[str, DAG]) -> None:
    for name, dag in dags.items():
        assert {task.cadence for task in dag.tasks if hasattr(task, "cadence")} == {name}


def test_schedules(dags: dict[str, DAG], read_dags: ReadDags) -> None:
    assert {name: dag.timetable.expression for name, dag in dags.items()} == {
        "daily": "0 3 * * *",
        "weekly": "0 4 * * 0",
        "monthly": "0 5 1 * *",
    }
    by_hand = read_dags("schedules: {weekly_backup: null, monthly_backup: null}")
    for name in ("weekly", "monthly"):
        assert by_hand.dags[f"spoqplus_{name}_backup"].timetable.can_be_scheduled is False


def test_one_at_a_time_reads_the_server(dags: dict[str, DAG]) -> None:
    for name, dag in dags.items():
        pools = {task.pool for task in dag.tasks if task.task_id.endswith(".dump")}
        assert pools == {"spoqplus_database"}, name
        assert {task.pool for task in dag.tasks if not task.task_id.endswith(".dump")} == {"default_pool"}, name


def test_sites_on_one_server_share_a_pool(read_dags: ReadDags) -> None:
    repositories = "repositories: [{name: local, root: 'file:///backup/busan'}]"
    bag = read_dags("airflow: {pool: seoul_server}", f"site: busan\n{repositories}\nairflow: {{pool: seoul_server}}")
    assert {bag.dags[f"{site}_daily_backup"].get_task("database.dump").pool for site in ("spoqplus", "busan")} == {
        "seoul_server"
    }


def test_a_restore_does_not_wait_for_a_backup(read_dags: ReadDags) -> None:
    dag = read_dags("").dags["spoqplus_restore"]
    assert {task.pool for task in dag.tasks} == {"default_pool"}


def test_preflight_may_wait_for_room(dags: dict[str, DAG]) -> None:
    for dag in dags.values():
        assert dag.get_task("preflight").execution_timeout == timedelta(hours=2, minutes=30)


def test_each_announces_its_set(dags: dict[str, DAG]) -> None:
    for dag in dags.values():
        assert [asset.name for asset in dag.get_task("publish").outlets] == ["spoqplus_backup"]


def test_names_in_both_languages(dags: dict[str, DAG], read_dags: ReadDags) -> None:
    assert [dag.dag_display_name for dag in dags.values()] == [
        "spoqplus 일일 백업",
        "spoqplus 주간 백업",
        "spoqplus 월간 백업",
    ]
    english = read_dags("language: en")
    assert english.dags["spoqplus_monthly_backup"].dag_display_name == "spoqplus monthly backup"
