"""The failover's flow.

assess → approve_first → approve_second → fence → promote_replica (or restore_snapshot) → apply_terraform → (restore) →
health → switch_dns → verify → notify; and in a rehearsal assess → rehearsal → notify.
"""

from datetime import timedelta
from typing import Any

from airflow.sdk import BaseOperator, CronTriggerTimetable, Param, TaskGroup, TriggerRule, chain

from spoqplus_backup.core.settings import Settings
from spoqplus_backup.core.settings_dr import DrSettings
from spoqplus_backup.flows.tasks import SHORT_TIMEOUT, named, stage
from spoqplus_backup.messages import text
from spoqplus_backup.operators.dr_approval import APPROVALS, ApproveFailoverOperator
from spoqplus_backup.operators.dr_flow import (
    RESTORE_GROUP,
    ApplyTerraformStep,
    AssessOperator,
    FenceOperator,
    HealthOperator,
    LoadDrOperator,
    NotifyFailoverOperator,
    PlanDrRestoreOperator,
    PromoteReplicaStep,
    RehearsalOperator,
    RestoreSnapshotStep,
    SwitchDnsStep,
    VerifyDrRestoreOperator,
    VerifyFailoverOperator,
)
from spoqplus_backup.operators.restore import MARKDOWN_KEY, ApplyBinlogsOperator, FetchOperator

HELP = "dr_failover"  # where its tasks' help differs from that of others of the same name
REGION = "{{ params.region }}"
_NO_APPROVAL = {"approve_task_id": "", "safety_task_id": ""}  # the two approvals of the failover stand before it
MODES = ("rehearsal", "failover")


def failover_schedule(settings: Settings) -> CronTriggerTimetable | None:
    """When it is rehearsed; a site without `dr` has nothing to rehearse."""
    cron = settings.schedules.dr_failover
    return CronTriggerTimetable(cron, timezone=settings.timezone) if cron and settings.dr else None


def failover_params(settings: Settings) -> dict[str, Param]:
    """The form: by itself a rehearsal."""
    language = settings.language
    region = settings.dr.region if settings.dr else DrSettings.model_fields["region"].default

    def param(name: str, default: object, **schema: Any) -> Param:
        return Param(
            default,
            type="string",
            title=text(language, f"dr.form.{name}"),
            description_md=text(language, f"dr.form.{name}.help"),
            **schema,
        )

    shown = {name: text(language, f"dr.form.mode.{name}") for name in MODES}
    return {
        "mode": param("mode", MODES[0], enum=list(MODES), values_display=shown),
        "reason": param("reason", ""),  # a DAG with a schedule has a default for everything: the first task asks for it
        "region": param("region", region),
    }


def failover(settings: Settings) -> None:
    """The whole run."""
    assessed = AssessOperator(**stage(settings, "assess", HELP), execution_timeout=SHORT_TIMEOUT)
    rehearsed = RehearsalOperator(**stage(settings, "rehearsal", HELP), execution_timeout=SHORT_TIMEOUT)
    first, second = (_approval(settings, number) for number in range(len(APPROVALS)))
    behind: dict[str, Any] = {"trigger_rule": TriggerRule.NONE_FAILED}  # what this run does not need is skipped
    fenced = FenceOperator(**stage(settings, "fence", HELP), execution_timeout=SHORT_TIMEOUT)
    waiting = behind | {"region": REGION, "deferrable": True}  # RDS takes minutes: no worker waits for it
    promoted = PromoteReplicaStep(**stage(settings, "promote_replica", HELP), **waiting)
    made = RestoreSnapshotStep(**stage(settings, "restore_snapshot", HELP), **waiting)
    built = ApplyTerraformStep(**stage(settings, "apply_terraform", HELP), region=REGION, **behind)
    planned, restored = _restore(settings)
    healthy = HealthOperator(**stage(settings, "health", HELP), **behind)
    switched = SwitchDnsStep(**stage(settings, "switch_dns", HELP), region=REGION, **behind)
    verified = VerifyFailoverOperator(**stage(settings, "verify", HELP), **behind)
    notified = NotifyFailoverOperator(
        **stage(settings, "notify"),
        result_task_id=verified.task_id,
        trigger_rule=TriggerRule.ALL_DONE,
        execution_timeout=SHORT_TIMEOUT,
    )
    chain(assessed, rehearsed, notified)
    chain(assessed, first, second, fenced, [promoted, made], built, planned)
    # The two ways and the restore are skipped as soon as the way is known: what follows has another task before it.
    fenced >> built
    [built, restored] >> healthy
    chain(healthy, switched, verified, notified)


def _approval(settings: Settings, number: int) -> ApproveFailoverOperator:
    name = APPROVALS[number]
    body = f"{{{{ ti.xcom_pull(task_ids='assess', key='{MARKDOWN_KEY}') }}}}"
    if number:
        who = f"{{{{ (ti.xcom_pull(task_ids='{APPROVALS[0]}').responded_by_user or {{}}).name }}}}"
        body = f"{text(settings.language, 'dr.approve.first_was', user=who)}\n\n{body}"
    return ApproveFailoverOperator(
        **named(settings, name, HELP),
        site=settings.site,
        first_task_id=APPROVALS[0] if number else None,
        subject=text(settings.language, f"dr.{name}.subject", site=settings.site),
        body=body,
        response_timeout=timedelta(hours=settings.dr.approval_hours if settings.dr else 1),
        defaults=None,  # nobody's silence is a yes
        retries=0,
    )


def _restore(settings: Settings) -> tuple[BaseOperator, BaseOperator]:
    """The restore into a new instance, for the night on which the replica is lost, too: its first and its last task."""
    label = text(settings.language, f"group.{HELP}.{RESTORE_GROUP}")
    with TaskGroup(RESTORE_GROUP, group_display_name=label, tooltip=label):
        planned = PlanDrRestoreOperator(
            **stage(settings, "plan", HELP), trigger_rule=TriggerRule.NONE_FAILED, execution_timeout=SHORT_TIMEOUT
        )
        verified = VerifyDrRestoreOperator(
            **stage(settings, "verify_restore", HELP),
            trigger_rule=TriggerRule.NONE_FAILED,  # without archived logs there is nothing to replay
        )
        chain(
            planned,
            FetchOperator(**stage(settings, "fetch", HELP)),
            LoadDrOperator(**stage(settings, "load", HELP), **_NO_APPROVAL),
            ApplyBinlogsOperator(**stage(settings, "apply_binlogs", HELP)),
            verified,
        )
    return planned, verified
