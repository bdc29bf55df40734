"""Links from a task in Airflow's UI to what it made."""

from typing import TYPE_CHECKING

from airflow.sdk import BaseOperatorLink

if TYPE_CHECKING:
    from airflow.sdk import BaseOperator
    from airflow.sdk.types import TaskInstanceKey

from spoqplus_backup.web import PREFIX

REPORT_KEY = "report"  # XCom of the task that made one: `<site>/<id>`


class ReportLink(BaseOperatorLink):
    """To the report of a recovery test."""

    name = "보고서 · Report"

    def get_link(self, operator: "BaseOperator", *, ti_key: "TaskInstanceKey") -> str:
        """The report's address below Airflow's own; empty when there is no report."""
        from airflow.sdk.execution_time.xcom import XCom

        place = XCom.get_value(ti_key=ti_key, key=REPORT_KEY)
        return f"{PREFIX}/reports/{place}" if place else ""
