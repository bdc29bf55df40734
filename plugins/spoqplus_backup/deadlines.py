"""What a run's deadline is counted from. The plugin registers it, and every part of Airflow loads that."""

from datetime import datetime
from typing import TYPE_CHECKING

from airflow.sdk.definitions.deadline import BaseDeadlineReference

if TYPE_CHECKING:
    from sqlalchemy.orm import Session


class RunAfter(BaseDeadlineReference):
    """When a run was due, which every run has; the scheduler asks for it when it makes the run.

    Airflow's `DAGRUN_QUEUED_AT` answers a clear or a retry with HTTP 500
    (https://github.com/apache/airflow/issues/70368), and a run by REST may have no logical date.
    """

    required_kwargs = frozenset({"dag_id", "run_id"})

    def _evaluate_with(self, *, session: "Session", dag_id: str, run_id: str) -> datetime | None:
        from airflow.models.dagrun import DagRun
        from sqlalchemy import select

        found: datetime | None = session.scalar(
            select(DagRun.run_after).where(DagRun.dag_id == dag_id, DagRun.run_id == run_id)
        )
        return found
