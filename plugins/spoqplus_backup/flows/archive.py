"""The archive flow: rotate → list_logs → fetch → compress → encrypt → upload → verify, and what follows a gap."""

from typing import Any

from airflow.sdk import Asset, BaseOperator, TaskGroup, TriggerRule, chain

from spoqplus_backup.core.settings import Settings
from spoqplus_backup.flows.tasks import SHORT_TIMEOUT, placed, stage
from spoqplus_backup.messages import text
from spoqplus_backup.operators.archive import (
    CheckChainOperator,
    CompressLogsOperator,
    EncryptLogsOperator,
    FullBackupOperator,
    ListLogsOperator,
    MySqlBinlogOperator,
    PublishIncrementalOperator,
    RotateOperator,
    UploadLogsOperator,
    VerifyLogsOperator,
)
from spoqplus_backup.operators.notify import NotifyArchiveOperator, NotifyIncrementalOperator

GROUP = "archive"


def logs_asset(settings: Settings) -> Asset:
    """Updated whenever binary logs were archived, or an incremental set was published."""
    return Asset(f"{settings.site}_binlog")


def archive_stage(settings: Settings, name: str) -> dict[str, Any]:
    """`stage`, for the archive's own task of that name."""
    return stage(settings, name, GROUP)


def archive_chain(settings: Settings) -> tuple[TaskGroup, BaseOperator]:
    """Everything that archives up to now, as one group; returns it and its last task, `verify`."""
    label = text(settings.language, "group.archive")
    here = placed(settings)  # on the backup host, in whatever DAG it stands
    with TaskGroup(GROUP, group_display_name=label, tooltip=label, default_args=here) as group:  # type: ignore[arg-type]
        verified = VerifyLogsOperator(**archive_stage(settings, "verify"), outlets=[logs_asset(settings)])
        chain(
            RotateOperator(**archive_stage(settings, "rotate"), execution_timeout=SHORT_TIMEOUT),
            ListLogsOperator(**archive_stage(settings, "list_logs"), execution_timeout=SHORT_TIMEOUT),
            MySqlBinlogOperator(**archive_stage(settings, "fetch")),
            CompressLogsOperator(**archive_stage(settings, "compress")),
            EncryptLogsOperator(**archive_stage(settings, "encrypt")),
            UploadLogsOperator(**archive_stage(settings, "upload")),
            verified,
        )
    return group, verified


def checked_archive(settings: Settings) -> tuple[BaseOperator, BaseOperator]:
    """The archive; then a full backup is asked for and the run fails when there is a gap: `verify`, `check_chain`."""
    _, verified = archive_chain(settings)
    asked = FullBackupOperator(**stage(settings, "full_backup"), execution_timeout=SHORT_TIMEOUT)
    checked = CheckChainOperator(
        **stage(settings, "check_chain"),
        trigger_rule=TriggerRule.NONE_FAILED,  # without a gap no full backup is asked for
        retries=0,  # a gap stays one
        execution_timeout=SHORT_TIMEOUT,
    )
    chain(verified, asked, checked)
    return verified, checked


def archive(settings: Settings) -> None:
    """The whole run of the archive; Slack hears of it only when there is something to do or to know."""
    verified, checked = checked_archive(settings)
    checked >> NotifyArchiveOperator(
        **stage(settings, "notify"),
        result_task_id=checked.task_id,
        verify_task_id=verified.task_id,
        check_task_id=checked.task_id,
        trigger_rule=TriggerRule.ALL_DONE,
        execution_timeout=SHORT_TIMEOUT,
    )


def incremental(settings: Settings) -> None:
    """The whole run of the incremental backup: archive up to now, publish what is new since the set before."""
    verified, checked = checked_archive(settings)
    published = PublishIncrementalOperator(
        **stage(settings, "publish_incremental"),
        verify_task_id=verified.task_id,
        outlets=[logs_asset(settings)],
        execution_timeout=SHORT_TIMEOUT * 4,
    )
    chain(
        checked,
        published,
        NotifyIncrementalOperator(
            **stage(settings, "notify"),
            result_task_id=published.task_id,
            verify_task_id=verified.task_id,
            check_task_id=checked.task_id,
            trigger_rule=TriggerRule.ALL_DONE,
            execution_timeout=SHORT_TIMEOUT,
        ),
    )
