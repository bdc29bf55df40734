"""Retention, task by task."""

from collections.abc import Callable
from datetime import timedelta

import pytest
from airflow.dag_processing.dagbag import DagBag
from airflow.sdk import DAG

ReadDags = Callable[..., DagBag]
DAG_ID = "spoqplus_retention"


@pytest.fixture
def dag(read_dags: ReadDags) -> DAG:
    return read_dags("retention: {approval_hours: 3}").dags[DAG_ID]


def test_structure(dag: DAG) -> None:
    assert {task.task_id: set(task.downstream_task_ids) for task in dag.tasks} == {
        "local.plan": {"local.approve", "local.delete"},
        "local.approve": {"local.delete"},
        "local.delete": {"report"},
        "s3.plan": {"s3.approve", "s3.delete"},
        "s3.approve": {"s3.delete"},
        "s3.delete": {"report"},
        "report": {"notify"},
        "notify": set(),
    }


def test_a_repository_that_fails_holds_up_no_other(dag: DAG) -> None:
    rules = {task.task_id: task.trigger_rule.value for task in dag.tasks if task.trigger_rule != "all_success"}
    assert rules == {
        "local.delete": "none_failed",
        "s3.delete": "none_failed",
        "report": "all_done",
        "notify": "all_done",
    }


def test_runs_that_wait_for_a_person_about_every_repository_hold_up_no_other(dag: DAG) -> None:
    assert dag.max_active_runs == 3


def test_each_step_knows_its_repository_and_the_others_of_it(dag: DAG) -> None:
    for name in ("local", "s3"):
        for step in ("plan", "delete"):
            task = dag.get_task(f"{name}.{step}")
            assert (task.repository, task.approve_task_id) == (name, f"{name}.approve")
        assert dag.get_task(f"{name}.plan").delete_task_id == f"{name}.delete"
    for task in (dag.get_task("report"), dag.get_task("notify")):
        assert task.plan_task_ids == {"local": "local.plan", "s3": "s3.plan"}
        assert task.delete_task_ids == {"local": "local.delete", "s3": "s3.delete"}


def test_the_approval_shows_the_plan_of_its_repository(dag: DAG) -> None:
    approve = dag.get_task("s3.approve")
    assert "xcom_pull(task_ids='s3.plan', key='markdown')" in approve.body
    assert approve.response_timeout == timedelta(hours=3)
    assert approve.fail_on_reject is True
    assert approve.defaults is None
    assert approve.subject == "spoqplus: s3에서 평소보다 많이 지워도 될까요?"


def test_each_repository_is_a_group_that_is_named_as_in_the_configuration(read_dags: ReadDags) -> None:
    text = "repositories: [{name: disk.one, root: 'file:///a', keep: {days: 3}}]"
    groups = read_dags(text).dags[DAG_ID].task_group.get_task_group_dict()
    assert groups["disk-one"].label == "disk.one"


def test_it_runs_whenever_a_backup_was_published(dag: DAG, read_dags: ReadDags) -> None:
    daily = read_dags("").dags["spoqplus_daily_backup"].get_task("publish").outlets
    assert [asset.name for asset in dag.timetable.asset_condition.objects] == [daily[0].name]


def test_it_can_have_a_schedule_of_its_own_or_none(read_dags: ReadDags) -> None:
    timetable = read_dags("schedules: {retention: '30 6 * * *'}").dags[DAG_ID].timetable
    assert (timetable.expression, str(timetable.timezone)) == ("30 6 * * *", "Asia/Seoul")
    assert read_dags("schedules: {retention: null}").dags[DAG_ID].timetable.can_be_scheduled is False


def test_only_retention_may_follow_a_backup(read_dags: ReadDags) -> None:
    bag = read_dags("schedules: {daily_backup: after_backup}")
    assert all("`schedules.daily_backup` is not a cron expression" in error for error in bag.import_errors.values())
    assert bag.import_errors


def test_the_form_deletes_unless_told_otherwise(dag: DAG) -> None:
    assert dag.params.dump() == {"dry_run": False}
