"""Links from a task in Airflow's UI to what it made. A task that made nothing has none."""

from typing import TYPE_CHECKING, Any
from urllib.parse import urlsplit

from airflow.sdk import BaseOperatorLink
from airflow.sdk.configuration import conf

if TYPE_CHECKING:
    from airflow.sdk import BaseOperator
    from airflow.sdk.types import TaskInstanceKey

from spoqplus_backup.web import PAGE_ROUTE, PREFIX

REPORT_KEY = "report"  # XCom of the task that made one: `<site>/<id>`


def base_path() -> str:
    """Where Airflow itself is, `/airflow` or nothing: what its own addresses begin with."""
    return urlsplit(str(conf.get("api", "base_url", fallback=""))).path.rstrip("/")


def set_page(site: str, name: str) -> str:
    """The address of a set on the Backups page, in Airflow's frame."""
    base = base_path()
    return f"{base}/plugin/{PAGE_ROUTE}{base}{PREFIX}/#/{site}/{name}"


class ReportLink(BaseOperatorLink):
    """To the report of a recovery test."""

    name = "보고서 · Report"

    def get_link(self, operator: "BaseOperator", *, ti_key: "TaskInstanceKey") -> str:
        """The report's address below Airflow's own; empty when there is no report."""
        from airflow.sdk.execution_time.xcom import XCom

        place = XCom.get_value(ti_key=ti_key, key=REPORT_KEY)
        return f"{base_path()}{PREFIX}/reports/{place}" if place else ""


class SetLink(BaseOperatorLink):
    """To the set that the run makes, on the Backups page."""

    name = "백업 세트 · Backup set"

    def get_link(self, operator: "BaseOperator", *, ti_key: "TaskInstanceKey") -> str:
        """The set's address below Airflow's own; empty when the run has none."""
        name = set_of(operator, ti_key)
        return set_page(vars(operator)["site"], name) if name else ""


class ConsoleLink(BaseOperatorLink):
    """To the set's objects in AWS's console; of operators that know it (`console_url`)."""

    name = "S3"

    def get_link(self, operator: "BaseOperator", *, ti_key: "TaskInstanceKey") -> str:
        """The console's address; empty without a set, and when no repository is in AWS."""
        name, find = set_of(operator, ti_key), getattr(operator, "console_url", None)
        return str(find(name) or "") if name and find else ""


def set_of(operator: "BaseOperator", ti_key: "TaskInstanceKey") -> str | None:
    """The name of the set that a task works on: its preflight claimed it, or a task published it.

    Of an operator with `preflight_task_id` and `cadence`, with `result_task_id`, or that publishes by itself.
    """
    known: dict[str, Any] = vars(operator)
    if preflight := known.get("preflight_task_id"):
        report = _xcom(ti_key, preflight)
        return f"{known['cadence']}/{report['set_id']}" if report.get("set_id") else None
    return _xcom(ti_key, known.get("result_task_id") or ti_key.task_id).get("set")


def _xcom(ti_key: "TaskInstanceKey", task_id: str) -> dict[str, Any]:
    """What a task of the same run returned; nothing when that is no dictionary."""
    from airflow.sdk.execution_time.xcom import XCom

    found = XCom.get_one(key="return_value", dag_id=ti_key.dag_id, task_id=task_id, run_id=ti_key.run_id)
    return found if isinstance(found, dict) else {}
