"""The watchdog flow: look → notify."""

from airflow.sdk import TriggerRule

from spoqplus_backup.core.settings import Settings
from spoqplus_backup.flows.tasks import SHORT_TIMEOUT, stage
from spoqplus_backup.operators.watchdog import LookOperator, NotifyWatchdogOperator


def watchdog(settings: Settings) -> None:
    """The whole run."""
    looked = LookOperator(**stage(settings, "look"), execution_timeout=SHORT_TIMEOUT)
    looked >> NotifyWatchdogOperator(
        **stage(settings, "notify"),
        result_task_id=looked.task_id,
        trigger_rule=TriggerRule.ALL_DONE,
        execution_timeout=SHORT_TIMEOUT,
    )
