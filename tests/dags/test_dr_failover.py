"""The wiring of the failover: nothing changes before two people agreed, and the DNS comes last."""

from collections.abc import Callable
from datetime import timedelta

import pytest
from airflow.dag_processing.dagbag import DagBag
from airflow.sdk import DAG

ReadDags = Callable[..., DagBag]
DAG_ID = "spoqplus_dr_failover"
SITE = "dr: {database: {replica: spoqplus-dr-replica}, approval_hours: 2}"


@pytest.fixture
def dag(read_dags: ReadDags) -> DAG:
    bag = read_dags(SITE)
    assert bag.import_errors == {}
    return bag.dags[DAG_ID]


def test_structure(dag: DAG) -> None:
    assert {task.task_id: set(task.downstream_task_ids) for task in dag.tasks} == {
        "assess": {"rehearsal", "approve_first"},
        "rehearsal": {"notify"},
        "approve_first": {"approve_second"},
        "approve_second": {"fence"},
        "fence": {"promote_replica", "restore_snapshot", "apply_terraform"},
        "promote_replica": {"apply_terraform"},
        "restore_snapshot": {"apply_terraform"},
        "apply_terraform": {"restore.plan", "health"},
        "restore.plan": {"restore.fetch"},
        "restore.fetch": {"restore.load"},
        "restore.load": {"restore.apply_binlogs"},
        "restore.apply_binlogs": {"restore.verify_restore"},
        "restore.verify_restore": {"health"},
        "health": {"switch_dns"},
        "switch_dns": {"verify"},
        "verify": {"notify"},
        "notify": set(),
    }


def test_every_change_is_behind_both_approvals(dag: DAG) -> None:
    free = {"assess", "rehearsal", "approve_first", "approve_second", "notify"}
    for task in dag.tasks:
        if task.task_id not in free:
            assert {"approve_first", "approve_second"} <= task.get_flat_relative_ids(upstream=True), task.task_id


def test_a_refusal_stops_everything_behind_it(dag: DAG) -> None:
    rules = {task.trigger_rule.value for task in dag.tasks if task.task_id != "notify"}
    assert rules == {"all_success", "none_failed"}


def test_nobody_s_silence_is_a_yes(dag: DAG) -> None:
    for number, name in enumerate(("approve_first", "approve_second")):
        asked = dag.get_task(name)
        assert asked.defaults is None
        assert asked.fail_on_reject is True
        assert asked.response_timeout == timedelta(hours=2)
        assert "xcom_pull(task_ids='assess', key='markdown')" in asked.body
        assert ("첫 번째 승인" in asked.body) is (number == 1), "the second one is told who was first"


def test_left_as_it_is_it_rehearses(dag: DAG) -> None:
    assert dag.params.dump() == {"mode": "rehearsal", "reason": "", "region": "ap-northeast-1"}
    assert dag.params.get_param("mode").schema["enum"] == ["rehearsal", "failover"]


def test_it_is_rehearsed_each_quarter_and_one_at_a_time(dag: DAG) -> None:
    assert dag.timetable.expression == "0 7 5 1,4,7,10 *"
    assert dag.timetable.timezone == "Asia/Seoul"
    assert dag.max_active_runs == 1


def test_a_site_without_a_dr_region_has_nothing_to_rehearse(read_dags: ReadDags) -> None:
    assert read_dags("").dags[DAG_ID].timetable.can_be_scheduled is False


def test_it_runs_where_the_private_keys_are(read_dags: ReadDags) -> None:
    dag = read_dags(f"airflow: {{queue: backup}}\nrestore: {{queue: recovery}}\n{SITE}").dags[DAG_ID]
    assert {task.queue for task in dag.tasks} == {"recovery"}
