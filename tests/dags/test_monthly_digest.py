"""The monthly digest, task by task."""

from collections.abc import Callable

from airflow.dag_processing.dagbag import DagBag

ReadDags = Callable[..., DagBag]
DAG_ID = "spoqplus_monthly_digest"


def test_structure(read_dags: ReadDags) -> None:
    dag = read_dags("").dags[DAG_ID]
    assert {task.task_id: (type(task).__name__, set(task.downstream_task_ids)) for task in dag.tasks} == {
        "collect_month": ("CollectMonthOperator", {"notify"}),
        "notify": ("NotifyDigestOperator", set()),
    }


def test_it_comes_after_the_recovery_test(read_dags: ReadDags) -> None:
    from dag_docs import schedule

    assert schedule(read_dags("").dags[DAG_ID]) == "`0 9 3 * *` (Asia/Seoul)"
    by_hand = read_dags("schedules: {monthly_digest: null}").dags[DAG_ID]
    assert by_hand.timetable.can_be_scheduled is False
