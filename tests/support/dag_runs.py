"""Real runs of a DAG in this process, task after task, on a metadata database of the tests' own.

Airflow's own `DAG.test`: real operators, trigger rules, retries of state and XCom, without scheduler and executor.
Import `support.airflow_home` in the folder's conftest.py first.
"""

import functools
import logging
import re
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest
from airflow.dag_processing.dagbag import DagBag
from airflow.utils.db import initdb

from spoqplus_backup.sites import sites
from support.airflow_home import PROJECT


@dataclass(frozen=True)
class Run:
    """How a run ended: its state, each task's (of a mapped one `<id>_<index>`), and all that was logged."""

    state: str
    tasks: Mapping[str, str]
    log: str

    def tasks_that(self, state: str) -> set[str]:
        """The tasks in a state."""
        return {task for task, found in self.tasks.items() if found == state}

    def newest_file(self, pattern: str) -> str:
        """What the pattern's group matched last in the log."""
        found = re.findall(pattern, self.log)
        assert found, self.tasks
        return str(found[-1])


@functools.cache
def _database() -> None:
    initdb()


def run_dag(
    file: str, dag_id: str, folder: Path, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture, **conf: Any
) -> Run:
    """Run the DAG of one file of `dags/` to its end.

    The site is what `SPOQPLUS_BACKUP_CONFIG` names. `folder` is one for this DAG alone: each run reads all DAGs of its
    folder again.
    """
    folder.mkdir(exist_ok=True)
    if not (folder / file).exists():
        (folder / file).symlink_to(PROJECT / "dags" / file)
    monkeypatch.setenv("AIRFLOW__CORE__DAGS_FOLDER", str(folder))
    _database()
    sites.cache_clear()
    bag = DagBag(str(folder), load_op_links=False)
    assert bag.import_errors == {}
    caplog.clear()
    with caplog.at_level(logging.INFO):
        run = bag.dags[dag_id].test(run_conf=conf)
    tasks = {
        task.task_id if task.map_index < 0 else f"{task.task_id}_{task.map_index}": str(task.state)
        for task in run.get_task_instances()
    }
    return Run(str(run.state), tasks, caplog.text)
