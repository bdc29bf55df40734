"""The wiring of the recovery test."""

from collections.abc import Callable
from pathlib import Path

import pytest
from airflow.dag_processing.dagbag import DagBag
from airflow.sdk import DAG

from spoqplus_backup.core.proof.definitions import check_names
from spoqplus_backup.sites import site

ReadDags = Callable[..., DagBag]
DAG_ID = "spoqplus_recovery_test"
SET_UPS = {"fingerprint", "start_sandbox"}


@pytest.fixture
def dag(read_dags: ReadDags) -> DAG:
    return read_dags("").dags[DAG_ID]


def test_it_reads_production_before_it_archives_and_restores_behind(dag: DAG) -> None:
    ways = {
        "archive.rotate": {"fingerprint"},
        "start_sandbox": {"archive.verify"},
        "load": {"fetch"},
        "restore_files": {"apply_binlogs"},
        "checks": {"restore_files"},
        "report": {"other_sets", "stop_sandbox"},
        "notify": {"report"},
    }
    assert {name: dag.get_task(name).upstream_task_ids for name in ways} == ways


def test_the_sandbox_goes_whatever_happens(dag: DAG) -> None:
    stop = dag.get_task("stop_sandbox")
    assert stop.is_teardown
    assert {task.task_id for task in dag.tasks if task.is_setup} == SET_UPS
    assert stop.upstream_task_ids >= SET_UPS | {"other_sets"}


def test_each_check_is_a_box_of_its_own(dag: DAG) -> None:
    values = dag.get_task("checks").expand_input.value["check"]
    assert list(values) == [check.name for check in check_names(site("spoqplus"))]
    assert len(values) > 10


def test_checks_that_need_no_names_come_behind_the_masking(read_dags: ReadDags) -> None:
    dag = read_dags("recovery_test: {mask: [spoqplus.members.name]}").dags[DAG_ID]
    assert dag.get_task("masked_checks").upstream_task_ids == {"mask"}
    assert dag.get_task("mask").upstream_task_ids == {"checks"}
    masked = {check.name for check in check_names(site("spoqplus")) if not check.needs_real_data}
    assert set(dag.get_task("masked_checks").expand_input.value["check"]) == masked
    assert not masked & set(dag.get_task("checks").expand_input.value["check"])


def test_it_runs_where_the_keys_are_and_the_archive_on_the_backup_host(read_dags: ReadDags) -> None:
    dag = read_dags("airflow: {queue: backup}\nrecovery_test: {queue: restore}").dags[DAG_ID]
    queues = {task.task_id: task.queue for task in dag.tasks}
    assert {queue for name, queue in queues.items() if name.startswith("archive.")} == {"backup"}
    assert {queue for name, queue in queues.items() if not name.startswith("archive.")} == {"restore"}


def test_a_wrong_file_of_checks_is_an_import_error_that_names_it(read_dags: ReadDags, tmp_path: Path) -> None:
    folder = tmp_path / "checks"
    folder.mkdir()
    (folder / "club.yaml").write_text("checks: [{name: members, title: {ko: 회원, en: Members}, sqll: SELECT 1}]")
    errors = read_dags(f"recovery_test: {{checks: ['{folder}']}}").import_errors
    ((file, words),) = errors.items()
    assert Path(file).name == "recovery_test.py"
    assert f"{folder}/club.yaml" in words
    assert "the check members" in words
