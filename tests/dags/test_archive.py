"""The archive of binary logs and the incremental backup, task by task."""

from collections.abc import Callable

import pytest
from airflow.dag_processing.dagbag import DagBag
from airflow.sdk import DAG

ReadDags = Callable[..., DagBag]
ARCHIVE, INCREMENTAL = "spoqplus_binlog_archive", "spoqplus_incremental_backup"
STAGES = ["rotate", "list_logs", "fetch", "compress", "encrypt", "upload", "verify"]


@pytest.fixture
def bag(read_dags: ReadDags) -> DagBag:
    return read_dags("")


def downstream(dag: DAG) -> dict[str, set[str]]:
    return {task.task_id: set(task.downstream_task_ids) for task in dag.tasks}


CHAIN = {
    **{f"archive.{stage}": {f"archive.{following}"} for stage, following in zip(STAGES, STAGES[1:], strict=False)},
    "archive.verify": {"full_backup"},
    "full_backup": {"check_chain"},
    "notify": set(),
}


def test_structure_of_the_archive(bag: DagBag) -> None:
    assert downstream(bag.dags[ARCHIVE]) == CHAIN | {"check_chain": {"notify"}}


def test_structure_of_the_incremental_backup(bag: DagBag) -> None:
    assert downstream(bag.dags[INCREMENTAL]) == CHAIN | {
        "check_chain": {"publish_incremental"},
        "publish_incremental": {"notify"},
    }


@pytest.mark.parametrize(("dag_id", "notify"), [(ARCHIVE, "Archive"), (INCREMENTAL, "Incremental")])
def test_operators(bag: DagBag, dag_id: str, notify: str) -> None:
    operators = {task.task_id: type(task).__name__ for task in bag.dags[dag_id].tasks}
    operators.pop("publish_incremental", None)
    assert operators == {
        "archive.rotate": "RotateOperator",
        "archive.list_logs": "ListLogsOperator",
        "archive.fetch": "MySqlBinlogOperator",
        "archive.compress": "CompressLogsOperator",
        "archive.encrypt": "EncryptLogsOperator",
        "archive.upload": "UploadLogsOperator",
        "archive.verify": "VerifyLogsOperator",
        "full_backup": "FullBackupOperator",
        "check_chain": "CheckChainOperator",
        "notify": f"Notify{notify}Operator",
    }


@pytest.mark.parametrize("dag_id", [ARCHIVE, INCREMENTAL])
def test_a_gap_asks_for_the_daily_backup_and_then_fails_the_run(bag: DagBag, dag_id: str) -> None:
    dag = bag.dags[dag_id]
    assert dag.get_task("full_backup").trigger_dag_id == "spoqplus_daily_backup"
    assert dag.get_task("check_chain").retries == 0
    rules = {task.task_id: task.trigger_rule.value for task in dag.tasks if task.trigger_rule != "all_success"}
    assert rules == {"check_chain": "none_failed", "notify": "all_done"}


def test_the_run_is_green_only_if_the_last_task_before_notify_is(bag: DagBag) -> None:
    results = {dag_id: bag.dags[dag_id].get_task("notify").result_task_id for dag_id in (ARCHIVE, INCREMENTAL)}
    assert results == {ARCHIVE: "check_chain", INCREMENTAL: "publish_incremental"}


@pytest.mark.parametrize(("dag_id", "cron"), [(ARCHIVE, "*/15 * * * *"), (INCREMENTAL, "0 */6 * * *")])
def test_schedules(bag: DagBag, read_dags: ReadDags, dag_id: str, cron: str) -> None:
    timetable = bag.dags[dag_id].timetable
    assert (timetable.expression, str(timetable.timezone)) == (cron, "Asia/Seoul")
    by_hand = read_dags("schedules: {binlog_archive: null, incremental_backup: null}").dags[dag_id]
    assert by_hand.timetable.can_be_scheduled is False


@pytest.mark.parametrize("dag_id", [ARCHIVE, INCREMENTAL])
def test_the_archive_is_one_group(bag: DagBag, dag_id: str) -> None:
    groups = bag.dags[dag_id].task_group.get_task_group_dict()
    assert groups["archive"].label == "바이너리 로그 보관"
