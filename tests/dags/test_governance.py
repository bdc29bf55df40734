"""What every DAG of this project has, now and later."""

from collections.abc import Callable
from datetime import timedelta
from pathlib import Path

import pytest
from airflow.dag_processing.dagbag import DagBag
from airflow.sdk import DAG, BaseOperator

from spoqplus_backup.core.settings import load_settings
from spoqplus_backup.flows.tasks import placed
from spoqplus_backup.messages import Language

ReadDags = Callable[..., DagBag]
QUEUE = "backup-host"
TEXT = f"airflow: {{queue: {QUEUE}, owner: dba}}"
WAITS_FOR_A_PERSON = {"approve", "approve_first", "approve_second", "after_failure"}
NEVER_RETRIED = {"check_chain", "checks", "masked_checks"}  # what they find stays so


def every_dag(bag: DagBag) -> list[DAG]:
    assert bag.import_errors == {}
    assert bag.dags
    return list(bag.dags.values())


def every_task(bag: DagBag) -> list[BaseOperator]:
    return [task for dag in every_dag(bag) for task in dag.tasks]


def test_a_dag_says_why_when_and_what_to_do(read_dags: ReadDags) -> None:
    for dag in every_dag(read_dags(TEXT)):
        assert dag.doc_md, dag.dag_id
        for heading in ("**Why.**", "**When.**", "**What.**", "**When it fails.**"):
            assert heading in dag.doc_md, f"{dag.dag_id} does not say {heading}"
        assert dag.description, dag.dag_id


def test_a_dag_is_of_its_site(read_dags: ReadDags) -> None:
    for dag in every_dag(read_dags(TEXT)):
        assert dag.dag_id.startswith("spoqplus_")
        assert "spoqplus" in dag.tags
        assert len(dag.tags) >= 2


def test_a_dag_runs_once_at_a_time_and_never_catches_up(read_dags: ReadDags) -> None:
    for dag in every_dag(read_dags(TEXT)):
        if dag.dag_id != "spoqplus_retention":  # one that waits for a person holds up no other repository
            assert dag.max_active_runs == 1, dag.dag_id
        assert dag.catchup is False, dag.dag_id


def test_schedules_are_local_time(read_dags: ReadDags) -> None:
    for dag in every_dag(read_dags(TEXT)):
        if hasattr(dag.timetable, "expression"):  # not by hand, not by an asset
            assert dag.timetable.timezone == "Asia/Seoul", dag.dag_id


def test_a_run_has_one_leaf_that_decides_its_colour(read_dags: ReadDags) -> None:
    for dag in every_dag(read_dags(TEXT)):
        teardowns = {task.task_id for task in dag.tasks if task.is_teardown}  # they don't count
        (leaf,) = (
            task for task in dag.tasks if task.task_id not in teardowns and not task.downstream_task_ids - teardowns
        )
        assert leaf.task_id == "notify"
        assert leaf.trigger_rule == "all_done"


def test_a_task_belongs_to_the_owner_and_runs_on_the_backup_host(read_dags: ReadDags) -> None:
    for task in every_task(read_dags(TEXT)):
        assert task.owner == "dba", task.task_id
        assert task.queue == QUEUE, task.task_id


def test_a_task_is_retried_twice_ever_later(read_dags: ReadDags) -> None:
    for task in every_task(read_dags(TEXT)):
        name = task.task_id.rpartition(".")[2]
        assert task.retries == (0 if name in WAITS_FOR_A_PERSON | NEVER_RETRIED else 2), task.task_id
        assert task.retry_delay == timedelta(seconds=30)
        assert task.retry_exponential_backoff == 2.0
        assert task.max_retry_delay == timedelta(minutes=10)


def test_no_task_hangs_for_ever(read_dags: ReadDags) -> None:
    for task in every_task(read_dags(TEXT)):
        assert task.execution_timeout is not None, task.task_id
        assert task.execution_timeout <= timedelta(hours=12)


@pytest.mark.parametrize(("language", "words"), [("ko", "실패하면"), ("en", "When it fails")])
def test_a_task_says_what_to_do_when_it_fails(read_dags: ReadDags, language: Language, words: str) -> None:
    for task in every_task(read_dags(f"language: {language}\n{TEXT}")):
        assert task.doc_md, task.task_id
        assert words in task.doc_md or task.task_id == "notify", task.task_id


def test_a_task_has_a_name_in_the_site_s_language(read_dags: ReadDags) -> None:
    for task in every_task(read_dags(TEXT)):
        assert any("가" <= letter <= "힣" for letter in task.task_display_name), task.task_id


def test_dags_can_be_stored_by_the_scheduler(read_dags: ReadDags) -> None:
    from airflow.serialization.serialized_objects import DagSerialization

    for dag in every_dag(read_dags(TEXT)):
        stored = DagSerialization.from_dict(DagSerialization.to_dict(dag))
        assert set(stored.task_ids) == set(dag.task_ids)


def test_an_executor_of_its_own_serves_the_backup_hosts_queue_alone(read_dags: ReadDags, tmp_path: Path) -> None:
    read_dags("airflow: {queue: busan, executor: edge}")
    settings = load_settings(tmp_path / "site0.yaml")
    assert placed(settings) == {"queue": "busan", "executor": "edge"}
    assert placed(settings, "busan") == {"queue": "busan", "executor": "edge"}
    assert placed(settings, "recovery") == {"queue": "recovery"}
