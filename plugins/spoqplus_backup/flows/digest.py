"""The monthly digest: collect_month → notify."""

from airflow.sdk import TriggerRule, chain

from spoqplus_backup.core.settings import Settings
from spoqplus_backup.flows.tasks import SHORT_TIMEOUT, stage
from spoqplus_backup.operators.digest import CollectMonthOperator, NotifyDigestOperator


def digest(settings: Settings) -> None:
    """The whole run."""
    collected = CollectMonthOperator(**stage(settings, "collect_month"), execution_timeout=SHORT_TIMEOUT)
    told = NotifyDigestOperator(
        **stage(settings, "notify"),
        result_task_id=collected.task_id,
        trigger_rule=TriggerRule.ALL_DONE,
        execution_timeout=SHORT_TIMEOUT,
    )
    chain(collected, told)
