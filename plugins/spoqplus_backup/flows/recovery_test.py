"""The recovery test's flow.

fingerprint → archive → start_sandbox → fetch → load → apply_binlogs → restore_files → checks → (mask → masked_checks) →
other_sets → stop_sandbox, which takes the sandbox away whatever happened → report → notify.
"""

from typing import TYPE_CHECKING

from airflow.sdk import BaseOperator, TriggerRule, chain

from spoqplus_backup.core.proof.definitions import CheckName, check_names
from spoqplus_backup.core.settings import Settings
from spoqplus_backup.flows.archive import archive_chain
from spoqplus_backup.flows.tasks import SHORT_TIMEOUT, stage
from spoqplus_backup.operators.recovery_test import (
    CheckOperator,
    FingerprintOperator,
    MaskOperator,
    NotifyRecoveryTestOperator,
    OtherSetsOperator,
    ReportOperator,
    RestoreTestFilesOperator,
    StartSandboxOperator,
    StopSandboxOperator,
)
from spoqplus_backup.operators.restore import ApplyBinlogsOperator, FetchOperator, LoadOperator

if TYPE_CHECKING:
    from airflow.sdk.definitions.mappedoperator import MappedOperator

HELP = "recovery_test"  # where its tasks' help differs from that of others of the same name
_NO_APPROVAL = {"approve_task_id": "", "safety_task_id": ""}  # a sandbox is nobody's


def recovery_test(settings: Settings) -> None:
    """The whole run."""
    started = StartSandboxOperator(**stage(settings, "start_sandbox"), execution_timeout=SHORT_TIMEOUT)
    restored = RestoreTestFilesOperator(
        **stage(settings, "restore_files", HELP),
        **_NO_APPROVAL,
        trigger_rule=TriggerRule.NONE_FAILED,  # of a quiet server there is nothing to replay
    )
    checked = _checks(settings, restored)
    other = OtherSetsOperator(**stage(settings, "other_sets"), trigger_rule=TriggerRule.ALL_DONE)
    reported = ReportOperator(
        **stage(settings, "report", HELP),
        check_task_ids=[*(task.task_id for task in checked), other.task_id],
        trigger_rule=TriggerRule.ALL_DONE,
        execution_timeout=SHORT_TIMEOUT,
    )
    notified = NotifyRecoveryTestOperator(
        **stage(settings, "notify"),
        result_task_id=reported.task_id,
        trigger_rule=TriggerRule.ALL_DONE,
        execution_timeout=SHORT_TIMEOUT,
    )
    read = FingerprintOperator(**stage(settings, "fingerprint"))
    chain(
        read,
        archive_chain(settings)[0],
        started,
        FetchOperator(**stage(settings, "fetch", HELP)),
        LoadOperator(**stage(settings, "load", HELP), **_NO_APPROVAL),
        ApplyBinlogsOperator(**stage(settings, "apply_binlogs", HELP)),
        restored,
    )
    # Between a set-up and its teardown nothing runs when the set-up failed, whatever its trigger rule. So the report
    # comes behind the teardown: a test that could not even start has one, too, and it can be cleared and made again.
    stopped = StopSandboxOperator(**stage(settings, "stop_sandbox"), execution_timeout=SHORT_TIMEOUT)
    chain(checked[-1], other, stopped.as_teardown(setups=[read, started]), reported, notified)
    other >> reported  # else it would count as an end of the run


def _checks(settings: Settings, restored: BaseOperator) -> list["BaseOperator | MappedOperator"]:
    """The checks behind `restored`, one box each; with masking, those that need no real names come behind it."""
    checks = check_names(settings)
    real = [check for check in checks if check.needs_real_data or not settings.recovery_test.mask]
    tasks: list[BaseOperator | MappedOperator] = [_mapped(settings, "checks", real)]
    if masked := [check for check in checks if check not in real]:
        tasks.append(MaskOperator(**stage(settings, "mask"), trigger_rule=TriggerRule.ALL_DONE))
        tasks.append(_mapped(settings, "masked_checks", masked))
    chain(restored, *tasks)
    return tasks


def _mapped(settings: Settings, name: str, checks: list[CheckName]) -> "MappedOperator":
    titles = {check.name: check.title[settings.language] for check in checks}
    return CheckOperator.partial(
        **stage(settings, name),
        retries=0,  # what a check finds, the next try finds, too
        max_active_tis_per_dagrun=1,  # one sandbox
        map_index_template=f"{{{{ {titles!r}[task.check] }}}}",
    ).expand(check=list(titles))
