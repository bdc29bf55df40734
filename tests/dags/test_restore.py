"""The restore, task by task, and its form."""

from collections.abc import Callable
from datetime import timedelta

import pytest
from airflow.dag_processing.dagbag import DagBag
from airflow.sdk import DAG, Param

ReadDags = Callable[..., DagBag]


@pytest.fixture
def dag(read_dags: ReadDags) -> DAG:
    return read_dags("restore: {approval_hours: 2}").dags["spoqplus_restore"]


def test_structure(dag: DAG) -> None:
    assert {task.task_id: set(task.downstream_task_ids) for task in dag.tasks} == {
        "plan": {"approve", "safety_backup.preflight"},
        "approve": {"safety_backup.preflight", "fetch"},
        "safety_backup.preflight": {"safety_backup.database.dump"},
        "safety_backup.database.dump": {"safety_backup.database.compress"},
        "safety_backup.database.compress": {"safety_backup.database.encrypt"},
        "safety_backup.database.encrypt": {"safety_backup.database.upload"},
        "safety_backup.database.upload": {"safety_backup.verify"},
        "safety_backup.verify": {"safety_backup.publish"},
        "safety_backup.publish": {"fetch"},
        "fetch": {"rebuild", "load", "restore_files"},
        "rebuild": {"load", "after_failure"},
        "load": {"apply_binlogs", "restore_files", "verify_restore", "after_failure"},
        "apply_binlogs": {"copy_tables", "restore_files", "verify_restore", "after_failure"},
        "copy_tables": {"restore_files", "verify_restore"},
        "restore_files": {"set_ownership", "after_failure"},
        "set_ownership": {"verify_restore", "after_failure"},
        "verify_restore": {"start_service", "notify", "after_failure"},
        "start_service": {"notify", "after_failure"},
        "after_failure": {"put_back"},
        "put_back": {"notify"},
        "notify": set(),
    }


def test_only_these_run_after_a_task_that_did_not_succeed(dag: DAG) -> None:
    rules = {task.task_id: task.trigger_rule.value for task in dag.tasks if task.trigger_rule != "all_success"}
    assert rules == {
        "fetch": "none_failed",
        "load": "none_failed",
        "restore_files": "none_failed",
        "verify_restore": "none_failed",
        "after_failure": "one_failed",
        "notify": "all_done",
    }


def test_nothing_is_put_back_because_nobody_answered(dag: DAG) -> None:
    asked = dag.get_task("after_failure")
    assert asked.options[0] == "있던 것을 되돌립니다"
    assert asked.defaults is None
    assert asked.response_timeout == timedelta(hours=2)


def test_the_safety_backup_is_a_set_of_its_own_cadence(dag: DAG) -> None:
    stages = [task for task in dag.tasks if hasattr(task, "preflight_task_id")]
    assert {task.task_id for task in stages} == {
        task.task_id for task in dag.tasks if task.task_id.startswith("safety_backup.")
    } - {"safety_backup.preflight"}
    assert {(task.cadence, task.preflight_task_id) for task in stages} == {("safety", "safety_backup.preflight")}
    assert [task.outlets for task in stages] == [[]] * len(stages)


def test_the_approval_shows_the_plan_and_waits_as_long_as_configured(dag: DAG) -> None:
    approve = dag.get_task("approve")
    assert "xcom_pull(task_ids='plan', key='markdown')" in approve.body
    assert approve.response_timeout == timedelta(hours=2)
    assert approve.fail_on_reject is True
    assert approve.defaults is None
    assert approve.subject == "spoqplus 운영 서버 복원을 승인하시겠습니까?"


def test_it_is_only_started_by_hand(dag: DAG) -> None:
    assert dag.timetable.can_be_scheduled is False


def form(dag: DAG) -> dict[str, Param]:
    return {name: dag.params.get_param(name) for name in dag.params}


def test_the_form_restores_the_newest_backup_to_the_test_server_unless_told_otherwise(dag: DAG) -> None:
    assert dag.params.dump() == {
        "environment": "test",
        "into_schema": None,
        "backup": "latest",
        "repository": None,
        "components": ["database"],
        "tables": [],
        "paths": [],
        "target_root": None,
        "dry_run": False,
        "safety_backup": True,
        "rebuild": False,
        "to_time": None,
        "to_gtid": None,
        "before_gtid": None,
        "find_tables": [],
        "find_kinds": [],
        "find_since": None,
    }


def test_the_form_has_drop_downs(dag: DAG) -> None:
    params = form(dag)
    assert params["environment"].schema["enum"] == ["test", "production"]
    assert params["environment"].schema["values_display"]["production"] == "운영 서버 (승인 필요)"
    assert params["repository"].schema["enum"] == [None, "local", "s3"]
    assert params["components"].schema["examples"] == [
        "database",
        "accounts",
        "critical_tables",
        "face_encodings",
        "face_images",
        "uploads",
        "logs",
        "config",
        "environment",
    ]
    assert params["find_kinds"].schema["examples"] == [
        "insert",
        "update",
        "delete",
        "drop",
        "truncate",
        "alter",
        "ddl",
    ]


@pytest.mark.parametrize("language", ["ko", "en"])
def test_every_field_is_explained(read_dags: ReadDags, language: str) -> None:
    params = form(read_dags(f"language: {language}").dags["spoqplus_restore"])
    for name, param in params.items():
        words = {part: param.schema[part] for part in ("title", "description_md", "section")}
        if name in ("environment", "backup", "dry_run", "safety_backup"):
            assert words.pop("section") is None, f"{name} is in the part of the form that is open from the start"
        for part, said in words.items():
            assert any("가" <= letter <= "힣" for letter in said) == (language == "ko"), f"{name}: {part}"


def test_a_point_in_time_is_in_the_site_s_zone_unless_it_says_otherwise(read_dags: ReadDags) -> None:
    params = form(read_dags("timezone: Europe/Berlin\nlanguage: en\n").dags["spoqplus_restore"])
    assert "a time of Europe/Berlin" in params["to_time"].schema["description_md"]
    assert params["to_time"].schema["section"] == "Point in time"


def test_an_empty_form_is_valid(dag: DAG) -> None:
    dag.params.validate()


def test_it_runs_where_the_private_keys_are(read_dags: ReadDags) -> None:
    dag = read_dags("airflow: {queue: backup}\nrestore: {queue: recovery}").dags["spoqplus_restore"]
    assert {task.queue for task in dag.tasks} == {"recovery"}


def test_without_a_queue_of_its_own_it_runs_on_the_backup_host(read_dags: ReadDags) -> None:
    dag = read_dags("airflow: {queue: backup}").dags["spoqplus_restore"]
    assert {task.queue for task in dag.tasks} == {"backup"}
