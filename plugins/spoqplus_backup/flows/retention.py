"""The retention flow: for each repository plan → approve → delete, by itself; then report → notify."""

import re
from datetime import timedelta

from airflow.providers.standard.operators.hitl import ApprovalOperator
from airflow.sdk import Asset, BaseOperator, CronTriggerTimetable, Param, TaskGroup, TriggerRule, chain

from spoqplus_backup.core.settings import AFTER_BACKUP, RepositorySettings, Settings
from spoqplus_backup.flows.backup import backup_asset
from spoqplus_backup.flows.tasks import SHORT_TIMEOUT, named, stage
from spoqplus_backup.messages import text
from spoqplus_backup.operators.notify import NotifyRetentionOperator
from spoqplus_backup.operators.retention import (
    DRY_RUN,
    MARKDOWN_KEY,
    DeleteOperator,
    PlanRetentionOperator,
    ReportRetentionOperator,
)

HELP = "retention"  # where its tasks' help differs from that of others of the same name


def retention_schedule(settings: Settings) -> list[Asset] | CronTriggerTimetable | None:
    """After each published set, by cron, or by hand."""
    schedule = settings.schedules.retention
    if schedule == AFTER_BACKUP:
        return [backup_asset(settings)]
    return CronTriggerTimetable(schedule, timezone=settings.timezone) if schedule else None


def retention_params(settings: Settings) -> dict[str, Param]:
    """The form of a run by hand."""
    language = settings.language
    return {
        DRY_RUN: Param(
            False,
            type="boolean",
            title=text(language, "form.dry_run"),
            description_md=text(language, "form.retention.dry_run.help"),
        )
    }


def active_runs(settings: Settings) -> int:
    """How many runs there may be: for each repository one may wait for a person, and another goes on in the others."""
    return len(settings.repositories) + 1


def group_id(repository: RepositorySettings) -> str:
    """A repository's name as a task group's."""
    return re.sub(r"[^A-Za-z0-9_-]", "-", repository.name)


def retention_chain(settings: Settings, repository: RepositorySettings) -> tuple[BaseOperator, BaseOperator]:
    """One repository as a task group: its first and its last task. Whatever happens in it, the others go on."""
    group = group_id(repository)
    ids = {"approve_task_id": f"{group}.approve", "repository": repository.name}
    with TaskGroup(group, group_display_name=repository.name, tooltip=repository.root):
        planned = PlanRetentionOperator(**stage(settings, "plan", HELP), **ids, delete_task_id=f"{group}.delete")
        approved = ApprovalOperator(
            **named(settings, "approve", HELP),
            subject=text(
                settings.language, "retention.approve.subject", site=settings.site, repository=repository.name
            ),
            body=f"{{{{ ti.xcom_pull(task_ids='{planned.task_id}', key='{MARKDOWN_KEY}') }}}}",
            response_timeout=timedelta(hours=settings.retention.approval_hours),
            fail_on_reject=True,  # what was refused must not look like what was done
            retries=0,
        )
        deleted = DeleteOperator(**stage(settings, "delete", HELP), **ids, trigger_rule=TriggerRule.NONE_FAILED)
        chain(planned, approved, deleted)
        planned >> deleted  # so that a cleared deletion of a plan that failed does not run
    return planned, deleted


def retention(settings: Settings) -> None:
    """The whole run."""
    chains = {repository.name: retention_chain(settings, repository) for repository in settings.repositories}
    reported = ReportRetentionOperator(
        **stage(settings, "report", HELP),
        plan_task_ids={name: planned.task_id for name, (planned, _) in chains.items()},
        delete_task_ids={name: deleted.task_id for name, (_, deleted) in chains.items()},
        trigger_rule=TriggerRule.ALL_DONE,
        execution_timeout=SHORT_TIMEOUT,
    )
    notified = NotifyRetentionOperator(
        **stage(settings, "notify"),
        result_task_id=reported.task_id,
        plan_task_ids={name: planned.task_id for name, (planned, _) in chains.items()},
        delete_task_ids={name: deleted.task_id for name, (_, deleted) in chains.items()},
        trigger_rule=TriggerRule.ALL_DONE,
        execution_timeout=SHORT_TIMEOUT,
    )
    chain([deleted for _, deleted in chains.values()], reported, notified)
