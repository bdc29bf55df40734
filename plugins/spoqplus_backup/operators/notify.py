"""The last task of a run: tells Slack how it ended, and keeps the run red when a part of it failed."""

import logging
from collections.abc import Mapping, Sequence
from datetime import datetime, timezone
from typing import TYPE_CHECKING, Any
from urllib.parse import quote

from airflow.sdk.configuration import conf

from spoqplus_backup.core.errors import PermanentError
from spoqplus_backup.messages import text
from spoqplus_backup.operators.archive import GAP_KEY
from spoqplus_backup.operators.base import ERROR_KEY, SiteOperator
from spoqplus_backup.operators.restore import DIFFERENCES_KEY

if TYPE_CHECKING:
    from airflow.sdk import Context

    from spoqplus_backup.core.settings import Settings
    from spoqplus_backup.hooks import AirflowConnections
    from spoqplus_backup.notifications.archive import Archived
    from spoqplus_backup.notifications.report import RunReport
    from spoqplus_backup.notifications.slack import Message

log = logging.getLogger(__name__)


class RunFailedError(PermanentError):
    """A part of the run failed; raised by the task that reports it, so that the run is red."""


class NotifyOperator(SiteOperator):
    """Reports the run, whatever happened, and fails when `result_task_id` did not succeed.

    It has the trigger rule `all_done` and is the run's only leaf, so the run takes its colour: a leaf that went green
    after reporting a failure would turn the whole run green.

    :param result_task_id: the task that succeeds only when everything before it did.
    """

    template_fields: Sequence[str] = ("result_task_id",)
    ui_color = "#fce8e6"

    def __init__(self, *, result_task_id: str, **kwargs: Any) -> None:
        super().__init__(**kwargs)
        self.result_task_id = result_task_id

    def message(self, context: "Context", report: "RunReport") -> "Message":
        """What to say about this run."""
        raise NotImplementedError

    def has_succeeded(self, states: Mapping[str, str | None]) -> bool:
        """Whether the run did what it was to do."""
        return states.get(self.result_task_id) == "success"

    def is_worth_telling(self, context: "Context", settings: "Settings", report: "RunReport") -> bool:
        """Whether anybody wants to hear of this run."""
        return True

    def work(self, context: "Context", settings: "Settings", connections: "AirflowConnections") -> Any:
        """Tell first, then judge."""
        states = _states(context)
        report = _report(context, settings, states, succeeded=self.has_succeeded(states))
        sent = self.is_worth_telling(context, settings, report) and _tell(settings, self.message(context, report))
        if not report.succeeded:
            tasks = ", ".join(failure.task for failure in report.failures) or self.result_task_id
            raise RunFailedError(text(settings.language, "error.run_failed", tasks=tasks))
        return {"slack": sent}


class NotifyBackupOperator(NotifyOperator):
    """Reports a backup: what was published, how big, how long; or what failed, why, and where its log is."""

    def message(self, context: "Context", report: "RunReport") -> "Message":
        from spoqplus_backup.notifications.backup import backup_message

        return backup_message(report, context["ti"].xcom_pull(task_ids=self.result_task_id))


class NotifyRestoreOperator(NotifyOperator):
    """Reports a restore.

    :param plan_task_id: the task whose XCom sums up the plan.
    :param approve_task_id: the task whose XCom says who approved it.
    :param safety_task_id: the task that published the safety backup.
    :param start_task_id: the task that starts a server that was rebuilt; skipped in other restores.
    """

    template_fields: Sequence[str] = ("result_task_id", "plan_task_id", "approve_task_id", "safety_task_id")

    def __init__(
        self,
        *,
        plan_task_id: str,
        approve_task_id: str,
        safety_task_id: str,
        start_task_id: str = "start_service",
        **kwargs: Any,
    ) -> None:
        super().__init__(**kwargs)
        self.start_task_id = start_task_id
        self.plan_task_id = plan_task_id
        self.approve_task_id = approve_task_id
        self.safety_task_id = safety_task_id

    def has_succeeded(self, states: Mapping[str, str | None]) -> bool:
        return super().has_succeeded(states) and states.get(self.start_task_id) in (None, "success", "skipped")

    def message(self, context: "Context", report: "RunReport") -> "Message":
        from spoqplus_backup.notifications.restore import STAGES, Restored, restore_message

        pull = context["ti"].xcom_pull
        restored = Restored(
            plan=pull(task_ids=self.plan_task_id),
            approval=pull(task_ids=self.approve_task_id),
            safety=pull(task_ids=self.safety_task_id),
            stages={name: pull(task_ids=name) for name in STAGES},
            put_back=pull(task_ids="put_back"),
            differences=pull(task_ids=self.result_task_id, key=DIFFERENCES_KEY) or (),
        )
        return restore_message(report, restored)


class ArchiveNotifyOperator(NotifyOperator):
    """Reports a run that archived binary logs.

    :param verify_task_id: the task whose XCom holds the recovery point and the warnings.
    :param check_task_id: the task whose XCom `gap` holds the gap that the run found.
    """

    template_fields: Sequence[str] = ("result_task_id", "verify_task_id", "check_task_id")

    def __init__(self, *, verify_task_id: str, check_task_id: str, **kwargs: Any) -> None:
        super().__init__(**kwargs)
        self.verify_task_id = verify_task_id
        self.check_task_id = check_task_id

    def archived(self, context: "Context") -> "Archived":
        """What the run's tasks left in XCom."""
        from spoqplus_backup.notifications.archive import Archived

        pull = context["ti"].xcom_pull
        return Archived(verified=pull(task_ids=self.verify_task_id), gap=pull(task_ids=self.check_task_id, key=GAP_KEY))


class NotifyArchiveOperator(ArchiveNotifyOperator):
    """Reports the archive of binary logs, but no success of which there is nothing to say: it runs 96 times a day."""

    def is_worth_telling(self, context: "Context", settings: "Settings", report: "RunReport") -> bool:
        archived = self.archived(context)
        late = archived.is_late(settings.objectives.rpo_hours)
        if not report.succeeded or archived.gap or late or archived.warnings(settings.language, only_new=True):
            return True
        log.info("%s", text(settings.language, "log.nothing_to_tell"))
        return False

    def message(self, context: "Context", report: "RunReport") -> "Message":
        from spoqplus_backup.notifications.archive import archive_message
        from spoqplus_backup.sites import site

        return archive_message(report, self.archived(context), site(self.site).objectives.rpo_hours)


class NotifyIncrementalOperator(ArchiveNotifyOperator):
    """Reports an incremental backup: from when to when, how many logs and transactions, and the measured RPO."""

    def message(self, context: "Context", report: "RunReport") -> "Message":
        from spoqplus_backup.notifications.archive import incremental_message
        from spoqplus_backup.sites import site

        published = context["ti"].xcom_pull(task_ids=self.result_task_id)
        return incremental_message(report, self.archived(context), published, site(self.site).objectives.rpo_hours)


def _states(context: "Context") -> Mapping[str, str | None]:
    ti = context["ti"]
    states: Mapping[str, str | None] = ti.get_task_states(dag_id=ti.dag_id, run_ids=[ti.run_id])[ti.run_id]
    return states


def _report(
    context: "Context", settings: "Settings", states: Mapping[str, str | None], *, succeeded: bool
) -> "RunReport":
    from spoqplus_backup.notifications.report import Failure, RunReport

    ti, run = context["ti"], context["dag_run"]
    base = (settings.airflow.url or conf.get("api", "base_url", fallback="http://localhost:8080")).rstrip("/")
    run_url = f"{base}/dags/{ti.dag_id}/runs/{quote(ti.run_id)}"
    failed = [task_id for task_id, state in states.items() if state == "failed" and task_id != ti.task_id]
    return RunReport(
        site=settings.site,
        language=settings.language,
        timezone=settings.timezone,
        succeeded=succeeded,
        run_url=run_url,
        seconds=(datetime.now(timezone.utc) - (run.start_date or run.run_after)).total_seconds(),
        failures=tuple(
            Failure(
                task=task_id,
                error=ti.xcom_pull(task_ids=task_id, key=ERROR_KEY) or text(settings.language, "error.unknown"),
                log_url=f"{run_url}/tasks/{task_id}",
            )
            for task_id in failed
        ),
    )


def tell_put_back(context: "Context", settings: "Settings") -> None:
    """Tell Slack that a rebuild failed, and that a person has to say what becomes of it."""
    from spoqplus_backup.notifications.restore import put_back_message

    _tell(settings, put_back_message(_report(context, settings, _states(context), succeeded=False)))


def _tell(settings: "Settings", message: "Message") -> bool:
    from spoqplus_backup.notifications.slack import ATTEMPTS, send

    if settings.slack.connection is None:
        log.info("%s", text(settings.language, "log.slack_off"))
        return False
    if reason := send(settings.slack.connection, message):
        log.warning("%s", text(settings.language, "log.slack_failed", attempts=ATTEMPTS, error=reason))
        return False
    log.info("%s", text(settings.language, "log.slack_sent"))
    return True
