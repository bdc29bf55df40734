"""The restore flow.

plan → approve → safety_backup → fetch → rebuild → load → apply_binlogs → copy_tables → restore_files → set_ownership →
verify_restore → start_service → notify; beside it after_failure → put_back.
"""

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
    AskPutBackOperator,
    CopyTablesOperator,
    FetchOperator,
    LoadOperator,
    PlanRestoreOperator,
    PutBackOperator,
    RebuildOperator,
    RestoreFilesOperator,
    SafetyPreflightOperator,
    SetOwnershipOperator,
    StartServiceOperator,
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
    agreed = {"approve_task_id": approved.task_id, "safety_task_id": saved.task_id}
    rebuilt = RebuildOperator(**stage(settings, "rebuild"), **agreed)
    # Behind tasks that this restore may not need stands each time a direct edge from the last one that it does need.
    loaded = LoadOperator(**stage(settings, "load"), **agreed, trigger_rule=TriggerRule.NONE_FAILED)
    replayed = ApplyBinlogsOperator(**stage(settings, "apply_binlogs"))
    copied = CopyTablesOperator(**stage(settings, "copy_tables"), **agreed)
    unpacked = RestoreFilesOperator(**stage(settings, "restore_files"), **agreed, trigger_rule=TriggerRule.NONE_FAILED)
    owned = SetOwnershipOperator(**stage(settings, "set_ownership"))
    verified = VerifyRestoreOperator(**stage(settings, "verify_restore"), trigger_rule=TriggerRule.NONE_FAILED)
    started = StartServiceOperator(**stage(settings, "start_service"))
    asked, undone = _undo(settings)
    notified = NotifyRestoreOperator(
        **stage(settings, "notify"),
        result_task_id=verified.task_id,
        plan_task_id=planned.task_id,
        approve_task_id=approved.task_id,
        safety_task_id=saved.task_id,
        start_task_id=started.task_id,
        trigger_rule=TriggerRule.ALL_DONE,
        execution_timeout=SHORT_TIMEOUT,
    )
    chain(planned, approved, checked)
    planned >> checked  # so that a cleared safety backup that the plan skipped is skipped again
    chain([approved, saved], fetched, rebuilt, loaded, replayed, copied, unpacked, owned, verified, started, notified)
    fetched >> [loaded, unpacked]
    [loaded, replayed] >> unpacked
    [loaded, replayed, copied] >> verified
    [rebuilt, loaded, replayed, unpacked, owned, verified, started] >> asked
    chain(asked, undone, notified)
    verified >> notified


def _undo(settings: Settings) -> tuple[AskPutBackOperator, PutBackOperator]:
    """What a failed restore that moved something aside offers: it asks a person, and puts it back."""
    language = settings.language
    asked = AskPutBackOperator(
        **stage(settings, "after_failure"),
        subject=text(language, "after_failure.subject", site=settings.site),
        body=text(language, "after_failure.body"),
        options=[text(language, f"after_failure.{option}") for option in ("put_back", "leave")],
        defaults=None,  # nothing is moved because nobody answered
        response_timeout=timedelta(hours=settings.restore.approval_hours),
        retries=0,
        trigger_rule=TriggerRule.ONE_FAILED,
    )
    return asked, PutBackOperator(**stage(settings, "put_back"), ask_task_id=asked.task_id)
