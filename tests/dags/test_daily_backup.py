"""The daily backup, task by task."""

from collections.abc import Callable

import pytest
from airflow.dag_processing.dagbag import DagBag
from airflow.sdk import DAG

ReadDags = Callable[..., DagBag]
CHAIN = ["dump", "compress", "encrypt", "upload"]
TABLES = ["database", "accounts", "critical_tables", "face_encodings"]
FILES = ["uploads", "logs", "config"]
OTHERS = ["face_images", "environment"]
BESIDE = ("mirror", "config_git")  # no part of the set


@pytest.fixture
def dag(read_dags: ReadDags) -> DAG:
    return read_dags("").dags["spoqplus_daily_backup"]


def downstream(dag: DAG) -> dict[str, set[str]]:
    return {task.task_id: set(task.downstream_task_ids) for task in dag.tasks}


def test_structure(dag: DAG) -> None:
    assert downstream(dag) == {
        "preflight": {f"{name}.dump" for name in TABLES}
        | {f"{name}.archive" for name in FILES}
        | {"face_images.sync", "environment.export", "mirror"},
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
        "uploads.archive": {"uploads.compress"},
        "uploads.compress": {"uploads.encrypt"},
        "uploads.encrypt": {"uploads.upload"},
        "uploads.upload": {"verify"},
        "logs.archive": {"logs.compress"},
        "logs.compress": {"logs.encrypt"},
        "logs.encrypt": {"logs.upload"},
        "logs.upload": {"verify"},
        "config.archive": {"config.compress"},
        "config.compress": {"config.encrypt"},
        "config.encrypt": {"config.upload"},
        "config.upload": {"verify"},
        "face_images.sync": {"face_images.compress"},
        "face_images.compress": {"face_images.encrypt"},
        "face_images.encrypt": {"face_images.upload"},
        "face_images.upload": {"verify"},
        "environment.export": {"environment.compress"},
        "environment.compress": {"environment.encrypt"},
        "environment.encrypt": {"environment.upload"},
        "environment.upload": {"verify"},
        "mirror": {"notify"},
        "verify": {"publish"},
        "publish": {"notify"},
        "notify": set(),
    }


def test_operators(dag: DAG) -> None:
    assert {task.task_id: type(task).__name__ for task in dag.tasks if "." not in task.task_id} == {
        "preflight": "PreflightOperator",
        "verify": "VerifyOperator",
        "publish": "PublishOperator",
        "mirror": "MirrorOperator",
        "notify": "NotifyBackupOperator",
    }
    assert {task.task_id.split(".")[1]: type(task).__name__ for task in dag.tasks if "." in task.task_id} == {
        "dump": "MySqlDumpOperator",
        "archive": "TarOperator",
        "sync": "FaceSyncOperator",
        "export": "EnvironmentOperator",
        "compress": "CompressOperator",
        "encrypt": "EncryptOperator",
        "upload": "UploadOperator",
    }


def test_each_component_is_a_group(dag: DAG) -> None:
    groups = dag.task_group.get_task_group_dict()
    assert {group_id for group_id in groups if group_id} == {*TABLES, *FILES, *OTHERS}
    assert groups["face_encodings"].label == "얼굴 인코딩"
    assert groups["uploads"].label == "업로드 파일"
    for component in (*TABLES, *FILES, *OTHERS):
        assert [task.component for task in dag.tasks if task.task_id.startswith(f"{component}.")] == [component] * 4


def test_every_stage_works_on_the_set_that_preflight_claimed(dag: DAG) -> None:
    for task in dag.tasks:
        if task.task_id not in ("preflight", "notify", *BESIDE):
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


def test_a_site_without_files_has_no_archives(read_dags: ReadDags) -> None:
    dag = read_dags("files: []").dags["spoqplus_daily_backup"]
    assert not [task_id for task_id in dag.task_ids if task_id.endswith(".archive")]


def test_the_mirror_and_the_git_copy_stand_beside_the_set(read_dags: ReadDags) -> None:
    dag = read_dags("config_git: {remote: 'git@example.com:config.git'}").dags["spoqplus_daily_backup"]
    assert dag.get_task("publish").get_flat_relative_ids(upstream=True).isdisjoint(BESIDE)
    assert dag.get_task("notify").upstream_task_ids == {"publish", *BESIDE}
    assert dag.get_task("notify").beside_task_ids == list(BESIDE)


def test_what_is_null_has_no_task(read_dags: ReadDags) -> None:
    dag = read_dags("faces: null\nenvironment: null\nmirror: null").dags["spoqplus_daily_backup"]
    assert not any(task.startswith(("face_images", "environment", "mirror", "config_git")) for task in dag.task_ids)
