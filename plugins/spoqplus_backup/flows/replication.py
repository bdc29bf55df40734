"""The replication flow: list_sets → copy_sets beside copy_logs → notify."""

from airflow.sdk import Param, TriggerRule, chain
from airflow.sdk.definitions.asset import BaseAsset

from spoqplus_backup.core.settings import Settings
from spoqplus_backup.flows.archive import logs_asset
from spoqplus_backup.flows.backup import backup_asset
from spoqplus_backup.flows.tasks import SHORT_TIMEOUT, stage
from spoqplus_backup.messages import text
from spoqplus_backup.operators.notify import NotifyReplicationOperator
from spoqplus_backup.operators.replication import CopyLogsOperator, CopySetsOperator, ListSetsOperator


def replication_schedule(settings: Settings) -> BaseAsset | None:
    """Whenever a set was published or logs were archived; never by itself when there is no replica."""
    return backup_asset(settings) | logs_asset(settings) if settings.replicas else None


def replication_params(settings: Settings) -> dict[str, Param]:
    """The form of a run by hand."""
    return {
        "sets": Param(
            [],
            type=["array", "null"],
            items={"type": "string"},
            title=text(settings.language, "form.sets"),
            description_md=text(settings.language, "form.sets.help"),
        )
    }


def replication(settings: Settings) -> None:
    """The whole run; Slack hears of it when a set was copied or something failed."""
    listed = ListSetsOperator(**stage(settings, "list_sets"), execution_timeout=SHORT_TIMEOUT)
    copied = CopySetsOperator(**stage(settings, "copy_sets"), list_task_id=listed.task_id)
    logs = CopyLogsOperator(**stage(settings, "copy_logs"))
    told = NotifyReplicationOperator(
        **stage(settings, "notify"),
        result_task_id=copied.task_id,
        logs_task_id=logs.task_id,
        trigger_rule=TriggerRule.ALL_DONE,
        execution_timeout=SHORT_TIMEOUT,
    )
    chain(listed, [copied, logs], told)
