"""What a restore skips, and what it looks at once more before it writes to production."""

from datetime import datetime, timedelta, timezone
from typing import Any

import pytest
from airflow.sdk.exceptions import AirflowFailException, AirflowSkipException

from spoqplus_backup.core.errors import PermanentError
from spoqplus_backup.core.recovery.plan import RestorePlan
from spoqplus_backup.core.recovery.request import RestoreRequest
from spoqplus_backup.operators.restore import (
    AskPutBackOperator,
    LoadOperator,
    PlanRestoreOperator,
    PutBackOperator,
    Scope,
)
from spoqplus_backup.sites import site

PLANNED_AT = datetime(2026, 1, 2, 3, 4, tzinfo=timezone.utc)
TASKS = {
    "approve",
    "safety_backup.preflight",
    "safety_backup.database.dump",
    "safety_backup.publish",
    "fetch",
    "load",
    "apply_binlogs",
    "verify_restore",
    "notify",
}
REBUILD = {"rebuild", "start_service", "after_failure", "put_back"}
FILES = {"restore_files", "set_ownership", "after_failure", "put_back"}
EVERY = TASKS | REBUILD | FILES | {"copy_tables"}
SERVER, FILES_ONLY, BOTH = Scope(), Scope(server=False, files=True), Scope(files=True)


@pytest.mark.parametrize(
    ("request_", "needed"),
    [
        (RestoreRequest(environment="test"), {"fetch", "load", "verify_restore", "notify"}),
        (RestoreRequest(environment="test", safety_backup=False), {"fetch", "load", "verify_restore", "notify"}),
        (RestoreRequest(environment="production"), TASKS - {"apply_binlogs"}),
        (RestoreRequest(environment="production", to_time="2026-01-02T03:04:05Z"), TASKS),
        (
            RestoreRequest(environment="test", before_gtid="0-1-2"),
            {"fetch", "load", "apply_binlogs", "verify_restore", "notify"},
        ),
        (RestoreRequest(environment="test", find_tables=("spoqplus.members",)), set()),
        (
            RestoreRequest(environment="production", safety_backup=False),
            {"approve", "fetch", "load", "verify_restore", "notify"},
        ),
        (
            RestoreRequest(environment="production", rebuild=True),
            {"approve", "fetch", "load", "apply_binlogs", "verify_restore", "notify"} | REBUILD,
        ),
        (
            RestoreRequest(environment="test", tables=("a.b",), into_schema="c", to_time="latest"),
            {"fetch", "load", "apply_binlogs", "copy_tables", "verify_restore", "notify"},
        ),
        (RestoreRequest(environment="test", dry_run=True), set()),
        (RestoreRequest(environment="production", dry_run=True), set()),
    ],
)
def test_what_a_restore_needs(request_: RestoreRequest, needed: set[str]) -> None:
    plan = PlanRestoreOperator(
        task_id="plan", site="spoqplus", approve_task_id="approve", safety_group_id="safety_backup"
    )
    assert {task for task in EVERY if plan.needs(request_, task, SERVER)} == needed


@pytest.mark.parametrize(
    ("request_", "scope", "needed"),
    [
        (RestoreRequest(environment="test"), FILES_ONLY, {"fetch", "verify_restore", "notify"} | FILES),
        (
            RestoreRequest(environment="production"),
            FILES_ONLY,
            {"approve", "fetch", "verify_restore", "notify"} | FILES,
        ),
        (RestoreRequest(environment="production"), BOTH, TASKS - {"apply_binlogs"} | FILES),
        (RestoreRequest(environment="production", dry_run=True), BOTH, set()),
    ],
)
def test_what_a_restore_of_files_needs(request_: RestoreRequest, scope: Scope, needed: set[str]) -> None:
    plan = PlanRestoreOperator(
        task_id="plan", site="spoqplus", approve_task_id="approve", safety_group_id="safety_backup"
    )
    assert {task for task in EVERY if plan.needs(request_, task, scope)} == needed


def planned(**request: Any) -> RestorePlan:
    return RestorePlan(
        run_id="spoqplus_restore/manual",
        request=RestoreRequest(environment="production", **request),
        made_at=PLANNED_AT,
        site="spoqplus",
        backup="daily/20260102_030000",
        backup_finished_at=PLANNED_AT,
        backup_server="mariadb 10.11.6",
        manifest_sha256="0" * 64,
        repository="local",
        target="mariadb 10.11.6 at db:3306",
        connection="spoqplus_mysql",
        components=(),
        overwrites=(("spoqplus", "members"),),
        objects=1,
        seconds=30,
        rto_seconds=14400,
    )


def answered(run: Any, option: str = "Approve", after: timedelta = timedelta(minutes=1)) -> None:
    run.xcoms["approve", "return_value"] = {
        "chosen_options": [option],
        "params_input": {},
        "responded_at": PLANNED_AT + after,
        "responded_by_user": {"id": "oncall", "name": "oncall"},
    }


def check(run: Any, plan: RestorePlan) -> None:
    load = LoadOperator(
        task_id="load",
        site="spoqplus",
        approve_task_id="approve",
        safety_task_id="safety_backup.publish",
    )
    load.check_agreed(run.context, site("spoqplus"), plan)


def test_loads_what_was_approved_and_saved(run: Any) -> None:
    answered(run)
    run.xcoms["safety_backup.publish", "return_value"] = {"set": "safety/20260102_030500"}
    check(run, planned())


def test_an_approval_that_was_marked_as_a_success_by_hand_is_none(run: Any) -> None:
    run.xcoms["safety_backup.publish", "return_value"] = {"set": "safety/20260102_030500"}
    with pytest.raises(PermanentError, match="no approval on record"):
        check(run, planned())


def test_a_rejection_is_no_approval(run: Any) -> None:
    answered(run, "Reject")
    with pytest.raises(PermanentError, match="no approval on record"):
        check(run, planned(safety_backup=False))


def test_an_approval_of_an_earlier_plan_does_not_count(run: Any) -> None:
    answered(run, after=-timedelta(seconds=1))
    with pytest.raises(PermanentError, match="made anew"):
        check(run, planned(safety_backup=False))


def test_a_safety_backup_that_is_missing_stops_the_load(run: Any) -> None:
    answered(run)
    with pytest.raises(PermanentError, match="was not published"):
        check(run, planned())


def test_no_safety_backup_is_needed_when_it_was_unticked_or_nothing_is_overwritten(run: Any) -> None:
    answered(run)
    check(run, planned(safety_backup=False))
    check(run, planned().model_copy(update={"overwrites": ()}))


def ask() -> AskPutBackOperator:
    return AskPutBackOperator(task_id="after_failure", site="spoqplus", subject="?", options=["yes", "no"])


def test_nobody_answers_and_it_is_said_that_nothing_was_moved_and_what_to_do(run: Any) -> None:
    run.task_id = "after_failure"
    timeout = {"error": "The timeout has passed", "error_type": "timeout"}
    words = r"Nobody answered within 1 hours, so nothing was moved.*restore --put-back spoqplus_daily_backup/manual__"
    with pytest.raises(AirflowFailException, match=words):
        ask().execute_complete(run.context, timeout)
    assert run.xcoms["after_failure", "error"].startswith("Nobody answered")


@pytest.mark.parametrize("answer", [None, {"chosen_options": ["Leave it, I will clear the failed task"]}])
def test_nothing_is_put_back_unless_a_person_chose_so(run: Any, answer: Any) -> None:
    run.xcoms["after_failure", "return_value"] = answer
    put_back = PutBackOperator(task_id="put_back", site="spoqplus", ask_task_id="after_failure")
    with pytest.raises(AirflowSkipException):
        put_back.execute(run.context)
