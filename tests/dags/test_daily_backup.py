"""The daily backup, task by task."""

from collections.abc import Callable

import pytest
from airflow.dag_processing.dagbag import DagBag
from airflow.sdk import DAG

ReadDags = Callable[..., DagBag]
CHAIN = ["dump", "compress", "encrypt", "upload"]
COMPONENTS = ["database", "accounts", "critical_tables", "face_encodings"]


@pytest.fixture
def dag(read_dags: ReadDags) -> DAG:
    return read_dags("").dags["spoqplus_daily_backup"]


def downstream(dag: DAG) -> dict[str, set[str]]:
    return {task.task_id: set(task.downstream_task_ids) for task in dag.tasks}


def test_structure(dag: DAG) -> None:
    assert downstream(dag) == {
        "preflight": {"database.dump", "accounts.dump", "critical_tables.dump", "face_encodings.dump"},
        "database.dump": {"database.compress"},
        "database.compress": {"database.encrypt"},
        "database.encrypt": {"database.upload"},
        "database.upload": {"verify"},
        "accounts.dump": {"accounts.compress"},
        "accounts.compress": {"accounts.encrypt"},
        "accounts.encrypt": {"accounts.upload"},
        "accounts.upload": {"verify"},
        "critical_tables.dump": {"critical_tables.compress"},
        "critical_tables.compress": {"critical_tables.encrypt"},
        "critical_tables.encrypt": {"critical_tables.upload"},
        "critical_tables.upload": {"verify"},
        "face_encodings.dump": {"face_encodings.compress"},
        "face_encodings.compress": {"face_encodings.encrypt"},
        "face_encodings.encrypt": {"face_encodings.upload"},
        "face_encodings.upload": {"verify"},
        "verify": {"publish"},
        "publish": {"notify"},
        "notify": set(),
    }


def test_operators(dag: DAG) -> None:
    assert {task.task_id: type(task).__name__ for task in dag.tasks if "." not in task.task_id} == {
        "preflight": "PreflightOperator",
        "verify": "VerifyOperator",
        "publish": "PublishOperator",
        "notify": "NotifyBackupOperator",
    }
    assert {task.task_id.split(".")[1]: type(task).__name__ for task in dag.tasks if "." in task.task_id} == {
        "dump": "MySqlDumpOperator",
        "compress": "CompressOperator",
        "encrypt": "EncryptOperator",
        "upload": "UploadOperator",
    }


def test_each_component_is_a_group(dag: DAG) -> None:
    groups = dag.task_group.get_task_group_dict()
    assert {group_id for group_id in groups if group_id} == set(COMPONENTS)
    assert groups["face_encodings"].label == "얼굴 인코딩"
    for component in COMPONENTS:
        assert [task.component for task in dag.tasks if task.task_id.startswith(f"{component}.")] == [component] * 4


def test_every_stage_works_on_the_set_that_preflight_claimed(dag: DAG) -> None:
    for task in dag.tasks:
        if task.task_id not in ("preflight", "notify"):
            assert (task.cadence, task.preflight_task_id) == ("daily", "preflight"), task.task_id


def test_it_runs_at_three_in_seoul(dag: DAG) -> None:
    assert dag.timetable.expression == "0 3 * * *"
    assert dag.timetable.timezone == "Asia/Seoul"


def test_only_publishing_updates_the_asset(dag: DAG) -> None:
    assert {task.task_id: [asset.name for asset in task.outlets] for task in dag.tasks if task.outlets} == {
        "publish": ["spoqplus_backup"]
    }


def test_a_component_of_the_site_gets_a_chain_of_its_own(read_dags: ReadDags) -> None:
    dag = read_dags("components: [{name: lockers, tables: [spoqplus.lockers]}]").dags["spoqplus_daily_backup"]
    assert [f"lockers.{stage}" for stage in CHAIN] == [
        task.task_id for task in dag.topological_sort() if task.task_id.startswith("lockers.")
    ]
    assert "critical_tables.dump" not in dag.task_ids
