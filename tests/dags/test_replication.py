"""The replication, task by task."""

from collections.abc import Callable

import pytest
from airflow.dag_processing.dagbag import DagBag
from airflow.sdk import DAG

ReadDags = Callable[..., DagBag]
REPLICATED = """
repositories:
  - {name: local, root: file:///backup/spoqplus}
  - {name: dr, root: 's3://spoqplus-backup-dr', connection: spoqplus_aws_dr, role: replica}
"""


@pytest.fixture
def bag(read_dags: ReadDags) -> DagBag:
    return read_dags(REPLICATED)


@pytest.fixture
def dag(bag: DagBag) -> DAG:
    assert bag.import_errors == {}
    return bag.dags["spoqplus_replication"]


def test_structure(dag: DAG) -> None:
    assert {task.task_id: (type(task).__name__, set(task.downstream_task_ids)) for task in dag.tasks} == {
        "list_sets": ("ListSetsOperator", {"copy_sets", "copy_logs"}),
        "copy_sets": ("CopySetsOperator", {"notify"}),
        "copy_logs": ("CopyLogsOperator", {"notify"}),
        "notify": ("NotifyReplicationOperator", set()),
    }


def test_it_follows_what_was_published_and_archived(bag: DagBag, dag: DAG) -> None:
    from dag_docs import schedule

    assert schedule(dag) == "when updated: `spoqplus_backup`, `spoqplus_binlog`"
    outlets = {
        f"{name}.{task.task_id}": [asset.name for asset in task.outlets]
        for name, other in bag.dags.items()
        for task in other.tasks
        if task.outlets
    }
    assert outlets == {
        "spoqplus_daily_backup.publish": ["spoqplus_backup"],
        "spoqplus_weekly_backup.publish": ["spoqplus_backup"],
        "spoqplus_monthly_backup.publish": ["spoqplus_backup"],
        "spoqplus_binlog_archive.archive.verify": ["spoqplus_binlog"],
        "spoqplus_recovery_test.archive.verify": ["spoqplus_binlog"],
        "spoqplus_incremental_backup.archive.verify": ["spoqplus_binlog"],
        "spoqplus_incremental_backup.publish_incremental": ["spoqplus_binlog"],
    }


def test_without_a_replica_it_never_starts_by_itself(read_dags: ReadDags) -> None:
    assert read_dags("").dags["spoqplus_replication"].timetable.can_be_scheduled is False


def test_the_form_names_sets(dag: DAG) -> None:
    assert dag.params.dump() == {"sets": []}
    dag.params.validate()


def test_backups_are_restored_from_replicas_too(bag: DagBag) -> None:
    assert bag.dags["spoqplus_restore"].params.get_param("repository").schema["enum"] == [None, "local", "dr"]
