"""The monthly digest: what became of the promises, and its message."""

import logging
from typing import TYPE_CHECKING, Any

from spoqplus_backup.operators.base import SiteOperator
from spoqplus_backup.operators.notify import NotifyOperator

if TYPE_CHECKING:
    from airflow.sdk import Context

    from spoqplus_backup.core.settings import Settings
    from spoqplus_backup.hooks import AirflowConnections
    from spoqplus_backup.notifications.message import Message
    from spoqplus_backup.notifications.report import RunReport

log = logging.getLogger(__name__)


class CollectMonthOperator(SiteOperator):
    """Reads what the repositories tell of the month before; its XCom is `core.monitor.month.Month`."""

    ui_color = "#e6f4ea"

    def work(self, context: "Context", settings: "Settings", connections: "AirflowConnections") -> Any:
        """Look, and say how much was found."""
        from spoqplus_backup.core.monitor.month import month_of

        month = month_of(settings, connections)
        log.info("%s", month.model_dump_json(indent=2))
        return month.model_dump(mode="json")


class NotifyDigestOperator(NotifyOperator):
    """Sends the digest."""

    runbook = "digest"

    def message(self, context: "Context", report: "RunReport") -> "Message":
        """The month's numbers."""
        from spoqplus_backup.notifications.digest import digest_message

        return digest_message(report, context["ti"].xcom_pull(task_ids=self.result_task_id))
