"""The restore flow: plan → approve → safety_backup → fetch → load → apply_binlogs → verify_restore → notify."""

from datetime import timedelta

from airflow.providers.standard.operators.hitl import ApprovalOperator
from airflow.sdk import TaskGroup, TriggerRule, chain

from spoqplus_backup.core.run import DATABASE
from spoqplus_backup.core.settings import Settings
from spoqplus_backup.flows.backup import backup_set
from spoqplus_backup.flows.tasks import SHORT_TIMEOUT, named, stage
from spoqplus_backup.messages import text
from spoqplus_backup.operators.notify import NotifyRestoreOperator
from spoqplus_backup.operators.restore import (
    MARKDOWN_KEY,
    ApplyBinlogsOperator,
    FetchOperator,
    LoadOperator,
    PlanRestoreOperator,
    SafetyPreflightOperator,
    VerifyRestoreOperator,
)

SAFETY = "safety"  # the cadence of what a restore saves before it replaces it
SAFETY_GROUP = "safety_backup"


def restore(settings: Settings) -> None:
    """The whole run. `plan` skips what it does not need: approval and safety backup on the way to the test server."""
    planned = PlanRestoreOperator(
        **stage(settings, "plan"),
        approve_task_id="approve",
        safety_group_id=SAFETY_GROUP,
        replay_task_id="apply_binlogs",
        execution_timeout=SHORT_TIMEOUT,
    )
    approved = ApprovalOperator(
        **named(settings, "approve"),
        subject=text(settings.language, "approve.subject", site=settings.site),
        body=f"{{{{ ti.xcom_pull(task_ids='{planned.task_id}', key='{MARKDOWN_KEY}') }}}}",
        response_timeout=timedelta(hours=settings.restore.approval_hours),
        fail_on_reject=True,  # a restore that was refused must not look like one that was done
        retries=0,
    )
    group_label = text(settings.language, f"group.{SAFETY_GROUP}")
    with TaskGroup(SAFETY_GROUP, group_display_name=group_label, tooltip=group_label):
        checked = SafetyPreflightOperator(**stage(settings, "preflight"), execution_timeout=SHORT_TIMEOUT)
        saved = backup_set(settings, checked, SAFETY, (DATABASE,))
    # It runs after tasks that were skipped, never after one that failed: hence `approve` is a direct upstream, or a
    # rejected restore without a safety backup would go on.
    fetched = FetchOperator(**stage(settings, "fetch"), trigger_rule=TriggerRule.NONE_FAILED)
    loaded = LoadOperator(
        **stage(settings, "load"),
        approve_task_id=approved.task_id,
        safety_task_id=saved.task_id,
    )
    replayed = ApplyBinlogsOperator(**stage(settings, "apply_binlogs"))
    # Without a target the replay is skipped; the load has to have gone well then: hence it is a direct upstream, too.
    verified = VerifyRestoreOperator(**stage(settings, "verify_restore"), trigger_rule=TriggerRule.NONE_FAILED)
    notified = NotifyRestoreOperator(
        **stage(settings, "notify"),
        result_task_id=verified.task_id,
        plan_task_id=planned.task_id,
        approve_task_id=approved.task_id,
        safety_task_id=saved.task_id,
        trigger_rule=TriggerRule.ALL_DONE,
        execution_timeout=SHORT_TIMEOUT,
    )
    chain(planned, approved, checked)
    planned >> checked  # so that a cleared safety backup that the plan skipped is skipped again
    chain([approved, saved], fetched, loaded, replayed, verified, notified)
    loaded >> verified
