"""The last task of a run: tells Slack how it ended, and keeps the run red when a part of it failed."""

import logging
import re
from collections.abc import Mapping, Sequence
from datetime import datetime, timezone
from typing import TYPE_CHECKING, Any
from urllib.parse import quote

from airflow.sdk.configuration import conf

from spoqplus_backup.core.errors import PermanentError
from spoqplus_backup.messages import text
from spoqplus_backup.operators.archive import GAP_KEY
from spoqplus_backup.operators.base import ERROR_KEY, WARNINGS_KEY, SiteOperator
from spoqplus_backup.operators.restore import DIFFERENCES_KEY
from spoqplus_backup.web.links import SetLink

if TYPE_CHECKING:
    from airflow.sdk import Context

    from spoqplus_backup.core.repository.retention_model import RepositoryPlan
    from spoqplus_backup.core.settings import Settings
    from spoqplus_backup.hooks import AirflowConnections
    from spoqplus_backup.notifications.archive import Archived
    from spoqplus_backup.notifications.message import Message
    from spoqplus_backup.notifications.report import RunReport

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
    runbook = "red"  # the section of the runbook about this DAG: the text `runbook.<this>`
    stands_alone = False  # whether a run says nothing about earlier runs of its DAG

    def __init__(self, *, result_task_id: str, **kwargs: Any) -> None:
        super().__init__(**kwargs)
        self.result_task_id = result_task_id

    def message(self, context: "Context", report: "RunReport") -> "Message":
        """What to say about this run."""
        raise NotImplementedError

    def has_succeeded(self, states: Mapping[str, str | None]) -> bool:
        """Whether the run did what it was to do."""
        return states.get(self.result_task_id) == "success"

    def is_well(self, context: "Context", states: Mapping[str, str | None]) -> bool:
        """Whether nothing is wrong any more of what was told before; as a rule when the run succeeded."""
        return self.has_succeeded(states)

    def repeat_hours(self, context: "Context", settings: "Settings") -> float:
        """After how many hours the same is told again."""
        return settings.slack.repeat_hours

    def is_worth_telling(self, context: "Context", settings: "Settings", report: "RunReport") -> bool:
        """Whether anybody wants to hear of this run."""
        return True

    def work(self, context: "Context", settings: "Settings", connections: "AirflowConnections") -> Any:
        """Tell first, then judge."""
        states = task_states(context)
        report = _report(context, settings, states, succeeded=self.has_succeeded(states), runbook=self.runbook)
        message = self.message(context, report) if self.is_worth_telling(context, settings, report) else None
        sent = _tell(
            context,
            settings,
            message,
            succeeded=self.is_well(context, states),
            alone=self.stands_alone,
            repeat_hours=self.repeat_hours(context, settings),
        )
        if not report.succeeded:
            tasks = ", ".join(failure.task for failure in report.failures) or self.result_task_id
            raise RunFailedError(text(settings.language, "error.run_failed", tasks=tasks))
        return {"slack": sent}


class NotifyBackupOperator(NotifyOperator):
    """Reports a backup: what was published, how big, how long; or what failed, why, and where its log is.

    :param beside_task_ids: tasks that the set did not wait for; the run is red when one of them failed.
    """

    operator_extra_links = (SetLink(),)
    template_fields: Sequence[str] = ("result_task_id", "beside_task_ids")
    runbook = "backup"

    def __init__(self, *, beside_task_ids: Sequence[str] = (), **kwargs: Any) -> None:
        super().__init__(**kwargs)
        self.beside_task_ids = beside_task_ids

    def has_succeeded(self, states: Mapping[str, str | None]) -> bool:
        return super().has_succeeded(states) and all(states.get(name) == "success" for name in self.beside_task_ids)

    def message(self, context: "Context", report: "RunReport") -> "Message":
        from spoqplus_backup.notifications.backup import backup_message

        pull = context["ti"].xcom_pull
        warnings = [line for name in self.beside_task_ids for line in pull(task_ids=name, key=WARNINGS_KEY) or ()]
        return backup_message(report, pull(task_ids=self.result_task_id), warnings)


class NotifyRestoreOperator(NotifyOperator):
    """Reports a restore.

    :param plan_task_id: the task whose XCom sums up the plan.
    :param approve_task_id: the task whose XCom says who approved it.
    :param safety_task_id: the task that published the safety backup.
    :param start_task_id: the task that starts a server that was rebuilt; skipped in other restores.
    """

    template_fields: Sequence[str] = ("result_task_id", "plan_task_id", "approve_task_id", "safety_task_id")
    runbook = "restore"
    stands_alone = True

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
    runbook = "archive"

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

    operator_extra_links = (SetLink(),)

    def message(self, context: "Context", report: "RunReport") -> "Message":
        from spoqplus_backup.notifications.archive import incremental_message
        from spoqplus_backup.sites import site

        published = context["ti"].xcom_pull(task_ids=self.result_task_id)
        return incremental_message(report, self.archived(context), published, site(self.site).objectives.rpo_hours)


class NotifyReplicationOperator(NotifyOperator):
    """Reports a replication; nothing is said of one that had nothing to copy but logs.

    :param logs_task_id: the task that copies the logs.
    """

    template_fields: Sequence[str] = ("result_task_id", "logs_task_id")
    runbook = "replication"

    def __init__(self, *, logs_task_id: str, **kwargs: Any) -> None:
        super().__init__(**kwargs)
        self.logs_task_id = logs_task_id

    def has_succeeded(self, states: Mapping[str, str | None]) -> bool:
        return super().has_succeeded(states) and states.get(self.logs_task_id) == "success"

    def is_worth_telling(self, context: "Context", settings: "Settings", report: "RunReport") -> bool:
        copied = context["ti"].xcom_pull(task_ids=self.result_task_id) or {}
        if not report.succeeded or copied.get("copied") or copied.get("warnings"):
            return True
        log.info("%s", text(settings.language, "log.nothing_to_tell"))
        return False

    def message(self, context: "Context", report: "RunReport") -> "Message":
        from spoqplus_backup.notifications.replication import replication_message

        pull = context["ti"].xcom_pull
        return replication_message(report, pull(task_ids=self.result_task_id), pull(task_ids=self.logs_task_id))


class NotifyRetentionOperator(NotifyOperator):
    """Reports a retention: what went from each repository, how much is free now, and what could not go.

    :param plan_task_ids: for each repository, by name, the task that planned.
    :param delete_task_ids: the task that deleted.
    """

    runbook = "retention"

    def __init__(self, *, plan_task_ids: dict[str, str], delete_task_ids: dict[str, str], **kwargs: Any) -> None:
        super().__init__(**kwargs)
        self.plan_task_ids = plan_task_ids
        self.delete_task_ids = delete_task_ids

    def has_succeeded(self, states: Mapping[str, str | None]) -> bool:
        done = (*self.plan_task_ids.values(), *self.delete_task_ids.values())
        return super().has_succeeded(states) and all(states.get(task) in ("success", "skipped") for task in done)

    def is_worth_telling(self, context: "Context", settings: "Settings", report: "RunReport") -> bool:
        plans, reports = self._found(context)
        counted = ("sets", "unfinished", "logs", "uploads", "faces", "spared")
        if not report.succeeded or any(item[name] for item in reports.values() for name in counted):
            return True
        if any(plan["problems"] for plan in plans.values()):
            return True
        log.info("%s", text(settings.language, "log.nothing_to_tell"))
        return False

    def message(self, context: "Context", report: "RunReport") -> "Message":
        from spoqplus_backup.notifications.retention import retention_message

        return retention_message(report, *self._found(context))

    def _found(self, context: "Context") -> tuple[dict[str, Any], dict[str, Any]]:
        """The summaries of plans and the reports, by repository, as far as the run got."""
        pull = context["ti"].xcom_pull
        plans = {name: pull(task_ids=task_id) for name, task_id in self.plan_task_ids.items()}
        reports = {name: pull(task_ids=task_id) for name, task_id in self.delete_task_ids.items()}
        return (
            {name: found for name, found in plans.items() if found},
            {name: found for name, found in reports.items() if found},
        )


def task_states(context: "Context") -> Mapping[str, str | None]:
    """The states of the run's tasks, of mapped ones as `<task id>_<map index>`."""
    ti = context["ti"]
    states: Mapping[str, str | None] = ti.get_task_states(dag_id=ti.dag_id, run_ids=[ti.run_id])[ti.run_id]
    return states


def is_of(task_id: str, name: str) -> bool:
    """Whether a state is that of a task, or of one that it was mapped to (`checks_3`)."""
    return re.fullmatch(rf"{re.escape(name)}(_\d+)?", task_id) is not None


def _report(
    context: "Context",
    settings: "Settings",
    states: Mapping[str, str | None],
    *,
    succeeded: bool,
    runbook: str = NotifyOperator.runbook,
) -> "RunReport":
    from spoqplus_backup.notifications.report import Failure, RunReport, runbook_url

    ti, run = context["ti"], context["dag_run"]
    base = (settings.airflow.url or conf.get("api", "base_url", fallback="http://localhost:8080")).rstrip("/")
    run_url = f"{base}/dags/{ti.dag_id}/runs/{quote(ti.run_id)}"
    tasks: Mapping[str, Any] = context["dag"].task_dict if "dag" in context else {}
    failed = [_place(task_id) for task_id, state in states.items() if state == "failed" and task_id != ti.task_id]
    order = {task_id: number for number, task_id in enumerate(tasks)}
    started = run.start_date or run.run_after
    return RunReport(
        site=settings.site,
        language=settings.language,
        timezone=settings.timezone,
        succeeded=succeeded,
        run_url=run_url,
        seconds=(datetime.now(timezone.utc) - started).total_seconds(),
        failures=tuple(
            Failure(
                task=task_id,
                error=_error_of(ti, task_id, map_index) or text(settings.language, "error.unknown"),
                log_url=f"{run_url}/tasks/{task_id}" + ("" if map_index is None else f"/mapped/{map_index}"),
                help=getattr(tasks.get(task_id), "doc_md", None) or "",
            )
            for task_id, map_index in sorted(failed, key=lambda place: order.get(place[0], 0))
        ),
        dag_id=ti.dag_id,
        started_at=started.isoformat(),
        runbook_url=runbook_url(settings, runbook),
    )


def _error_of(ti: Any, task_id: str, map_index: int | None) -> str | None:
    mapped = {} if map_index is None else {"map_indexes": map_index}
    error: str | None = ti.xcom_pull(task_ids=task_id, key=ERROR_KEY, **mapped)
    return error


def _place(name: str) -> tuple[str, int | None]:
    """Task and map index of what `get_task_states` names; None for a task that is not mapped: none of ours ends so."""
    stem, _, number = name.rpartition("_")
    return (stem, int(number)) if number.isdigit() else (name, None)


def tell_put_back(context: "Context", settings: "Settings") -> None:
    """Tell Slack that a rebuild failed, and that a person has to say what becomes of it."""
    from spoqplus_backup.notifications.restore import put_back_message

    report = _report(context, settings, task_states(context), succeeded=False, runbook=NotifyRestoreOperator.runbook)
    _tell(context, settings, put_back_message(report), succeeded=False)


def tell_retention_approval(context: "Context", settings: "Settings", repository: str, plan: "RepositoryPlan") -> None:
    """Tell Slack that a person has to say whether so much may be deleted."""
    from spoqplus_backup.notifications.retention import approval_message

    section = NotifyRetentionOperator.runbook
    report = _report(context, settings, task_states(context), succeeded=True, runbook=section)
    gone = plan.deletions
    message = approval_message(report, repository, len(gone), sum(item.bytes for item in gone), plan.share)
    _tell(context, settings, message, succeeded=True)


def tell_failover_approval(context: "Context", settings: "Settings", *, first: bool) -> None:
    """Tell Slack that the first, or the second person has to say whether the site fails over."""
    from spoqplus_backup.notifications.dr_failover import approval_message

    found = context["ti"].xcom_pull(task_ids="assess") or {}
    message = approval_message(_failover_report(context, settings), found, first=first)
    _tell(context, settings, message, succeeded=True, alone=True)


def tell_failover_step(
    context: "Context", settings: "Settings", step: str, words: str, warnings: Sequence[str], used: float
) -> None:
    """Tell Slack that a step of a failover is done, and how much of the recovery time is used."""
    from spoqplus_backup.notifications.dr_failover import step_message

    limit = settings.objectives.rto_hours * 3600
    message = step_message(_failover_report(context, settings), step, words, warnings, used, limit)
    _tell(context, settings, message, succeeded=True, alone=True)


def _failover_report(context: "Context", settings: "Settings") -> "RunReport":
    return _report(context, settings, {}, succeeded=True, runbook="dr_failover")


def _tell(
    context: "Context",
    settings: "Settings",
    message: "Message | None",
    *,
    succeeded: bool,
    alone: bool = False,
    repeat_hours: float | None = None,
) -> bool:
    """Say it, unless it was said lately; whether Slack took something. Never raises: Slack fails nothing."""
    from spoqplus_backup.notifications.conversation import Turn, speak
    from spoqplus_backup.notifications.memory import VariableMemory
    from spoqplus_backup.notifications.slack import SlackError, sender

    if settings.slack.connection is None:
        log.info("%s", text(settings.language, "log.slack_off"))
        return False
    ti = context["ti"]
    turn = Turn(
        run_id=ti.run_id,
        succeeded=succeeded,
        language=settings.language,
        timezone=settings.timezone,
        repeat_hours=repeat_hours or settings.slack.repeat_hours,
        now=datetime.now(timezone.utc),
        channel=settings.slack.channel,
        by_hand=getattr(context["dag_run"], "run_type", None) == "manual",
        alone=alone,
    )
    try:
        told = speak(
            message, turn, sender(settings.slack.connection, settings.slack.channel), VariableMemory(ti.dag_id)
        )
    except SlackError as error:
        log.warning("%s", text(settings.language, "log.slack_failed", error=error))
        return False
    log.info("%s", text(settings.language, f"log.slack.{told}"))
    return told == "sent"
