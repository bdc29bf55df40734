"""The watchdog's operators: look at the repositories, then say what is wrong."""

import logging
from datetime import datetime, timezone
from typing import TYPE_CHECKING, Any

from spoqplus_backup.messages import text
from spoqplus_backup.operators.base import SiteOperator
from spoqplus_backup.operators.notify import NotifyOperator, RunFailedError, task_states

if TYPE_CHECKING:
    from collections.abc import Mapping

    from airflow.sdk import Context

    from spoqplus_backup.core.monitor.findings import Finding
    from spoqplus_backup.core.settings import Settings
    from spoqplus_backup.hooks import AirflowConnections
    from spoqplus_backup.notifications.message import Message
    from spoqplus_backup.notifications.report import RunReport

log = logging.getLogger(__name__)

WARNINGS_TIMES = 4  # what can wait is told again so many times later than what can't


class LookOperator(SiteOperator):
    """Finds out how a site's backups are; its XCom says what is wrong. It is green whenever it could look.

    A repository that is down is a finding, and so is that nothing was ever backed up.
    """

    ui_color = "#e8f0fe"

    def work(self, context: "Context", settings: "Settings", connections: "AirflowConnections") -> Any:
        """Look."""
        from spoqplus_backup.core.monitor.findings import findings
        from spoqplus_backup.core.monitor.gather import gather
        from spoqplus_backup.watchdog_text import finding_words

        facts = gather(settings, connections)
        found = findings(facts, settings, datetime.now(timezone.utc))
        for item in found:
            level = logging.ERROR if item.severity == "critical" else logging.WARNING
            log.log(level, "%s", finding_words(settings, item))
        if not found:
            log.info("%s", text(settings.language, "log.well"))
        newest = facts.newest_full
        return {
            "as_of": facts.as_of.isoformat(),
            "seconds": round(facts.seconds, 1),
            "findings": [item.model_dump(mode="json") for item in found],
            "repositories": {state.name: state.up for state in facts.repositories},
            "newest_full": None if newest is None else newest.found.name,
        }


class NotifyWatchdogOperator(NotifyOperator):
    """Says what the watchdog found. The run is red as long as something is critical; what can wait leaves it green."""

    runbook = "alerts"

    def found(self, context: "Context") -> "list[Finding] | None":
        """What `look` found; None when it could not look."""
        from spoqplus_backup.core.monitor.findings import Finding

        if task_states(context).get(self.result_task_id) != "success":  # what an earlier try left is old
            return None
        looked = context["ti"].xcom_pull(task_ids=self.result_task_id)
        return [Finding.model_validate(item) for item in looked["findings"]]

    def work(self, context: "Context", settings: "Settings", connections: "AirflowConnections") -> Any:
        """Tell; then be red when something critical was found."""
        said = super().work(context, settings, connections)
        critical = [item for item in self.found(context) or () if item.severity == "critical"]
        if critical:
            from spoqplus_backup.watchdog_text import finding_words

            first = finding_words(settings, critical[0])
            raise RunFailedError(text(settings.language, "error.findings", count=len(critical), first=first))
        return said

    def repeat_hours(self, context: "Context", settings: "Settings") -> float:
        critical = any(item.severity == "critical" for item in self.found(context) or ())
        return settings.slack.repeat_hours * (1 if critical else WARNINGS_TIMES)

    def is_well(self, context: "Context", states: "Mapping[str, str | None]") -> bool:
        return super().is_well(context, states) and not self.found(context)

    def is_worth_telling(self, context: "Context", settings: "Settings", report: "RunReport") -> bool:
        return self.found(context) != []

    def message(self, context: "Context", report: "RunReport") -> "Message":
        from spoqplus_backup.notifications.watchdog import watchdog_message
        from spoqplus_backup.sites import site

        return watchdog_message(report, site(self.site), self.found(context))
