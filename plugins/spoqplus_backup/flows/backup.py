"""The backup flow: preflight → (dump → compress → encrypt → upload) per component → verify → publish → notify."""

from collections.abc import Sequence

from airflow.sdk import Asset, BaseOperator, TaskGroup, TriggerRule, chain

from spoqplus_backup.core.run import component_names
from spoqplus_backup.core.settings import Settings
from spoqplus_backup.flows.tasks import SHORT_TIMEOUT, stage
from spoqplus_backup.messages import component_label
from spoqplus_backup.operators.backup import (
    CompressOperator,
    EncryptOperator,
    MySqlDumpOperator,
    PreflightOperator,
    PublishOperator,
    UploadOperator,
    VerifyOperator,
)
from spoqplus_backup.operators.notify import NotifyBackupOperator


def backup_asset(settings: Settings) -> Asset:
    """Updated whenever a set of this site was published; the event's `extra` names the set.

    It has no URI: for a URI's scheme Airflow imports every provider's handlers, and with them boto3, in every task.
    """
    return Asset(f"{settings.site}_backup")


def backup_chain(settings: Settings, cadence: str, component: str, preflight_task_id: str) -> TaskGroup:
    """One component as a task group; each task can be retried and cleared alone."""
    label = component_label(settings.language, component)
    common = {"cadence": cadence, "component": component, "preflight_task_id": preflight_task_id}
    with TaskGroup(component, group_display_name=label, tooltip=label) as group:
        chain(
            MySqlDumpOperator(**stage(settings, "dump"), **common),
            CompressOperator(**stage(settings, "compress"), **common),
            EncryptOperator(**stage(settings, "encrypt"), **common),
            UploadOperator(**stage(settings, "upload"), **common),
        )
    return group


def backup_set(
    settings: Settings,
    checked: BaseOperator,
    cadence: str,
    components: Sequence[str],
    outlets: Sequence[Asset] = (),
) -> BaseOperator:
    """Everything behind the preflight task `checked` that makes one published set; returns its last task."""
    common = {"cadence": cadence, "preflight_task_id": checked.task_id}
    chains = [backup_chain(settings, cadence, component, checked.task_id) for component in components]
    verified = VerifyOperator(**stage(settings, "verify"), **common)
    published = PublishOperator(
        **stage(settings, "publish"), **common, outlets=list(outlets), execution_timeout=SHORT_TIMEOUT
    )
    chain(checked, chains, verified, published)
    return published


def backup(settings: Settings, cadence: str) -> None:
    """The whole run: one set with all components, announced as the site's asset, and its result in Slack."""
    checked = PreflightOperator(**stage(settings, "preflight"), cadence=cadence, execution_timeout=SHORT_TIMEOUT)
    published = backup_set(settings, checked, cadence, component_names(settings), outlets=[backup_asset(settings)])
    published >> NotifyBackupOperator(
        **stage(settings, "notify"),
        result_task_id=published.task_id,
        trigger_rule=TriggerRule.ALL_DONE,
        execution_timeout=SHORT_TIMEOUT,
    )
