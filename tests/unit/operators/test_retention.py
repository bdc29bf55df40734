"""What a retention skips, what it looks at before it deletes, and when it is red."""

import json
from datetime import datetime, timedelta, timezone
from pathlib import Path
from typing import Any

import pytest
from airflow.sdk.exceptions import AirflowFailException

from slack_sink import SlackSink, words
from spoqplus_backup.core.errors import PermanentError
from spoqplus_backup.core.repository.retention_model import Decision, RepositoryPlan
from spoqplus_backup.core.retention import deleting
from spoqplus_backup.core.retention.planning import run_directory
from spoqplus_backup.core.retention.report import RetentionReport
from spoqplus_backup.core.staging import write_json
from spoqplus_backup.operators.notify import NotifyRetentionOperator, tell_retention_approval
from spoqplus_backup.operators.retention import DeleteOperator, PlanRetentionOperator, ReportRetentionOperator
from spoqplus_backup.sites import site, sites

PLANNED_AT = datetime(2026, 1, 2, 3, 4, tzinfo=timezone.utc)
IDS = {"site": "spoqplus", "repository": "local", "approve_task_id": "local.approve"}
TASKS = {"plan_task_ids": {"local": "local.plan"}, "delete_task_ids": {"local": "local.delete"}}
GONE = RetentionReport(
    repository="local", url="file:///backup", sets=("daily/20250101_030000",), objects=9, bytes=5 << 30
)
SUMMARY = {"newest": "daily/20260102_030000", "problems": [], "asked_by": None}


def planned(delete: int, keep: int) -> RepositoryPlan:
    decisions = tuple(
        Decision(
            kind="set",
            name=f"daily/2025010{number}_030000",
            keep=number >= delete,
            reason="daily" if number >= delete else "expired",
            bytes=10,
            at=PLANNED_AT,
        )
        for number in range(delete + keep)
    )
    return RepositoryPlan(made_at=PLANNED_AT, decisions=decisions, maximum_share=0.3)


@pytest.fixture
def deletion(tmp_path: Path, site_file: Path, run: Any, monkeypatch: pytest.MonkeyPatch) -> Any:
    """Carries out a plan with a given result; the plan that it was called with is noted."""
    site_file.write_text(site_file.read_text() + f"staging: {{directory: {tmp_path}/staging}}\n")
    sites.cache_clear()
    called: list[RepositoryPlan] = []

    def execute(plan: RepositoryPlan, report: RetentionReport = GONE) -> list[RepositoryPlan]:
        def carry_out(_: Any, __: Any, name: str, plan: RepositoryPlan, run_id: str) -> RetentionReport:
            assert (name, run_id) == ("local", f"{run.dag_id}/{run.run_id}")
            called.append(plan)
            return report

        monkeypatch.setattr(deleting, "carry_out", carry_out)
        settings = site("spoqplus")
        write_json(run_directory(settings, f"{run.dag_id}/{run.run_id}") / "local.plan.json", plan)
        run.task_id = "local.delete"
        DeleteOperator(task_id="local.delete", **IDS).execute(run.context)
        return called

    return execute


def answered(run: Any, option: str = "Approve", after: timedelta = timedelta(minutes=1)) -> None:
    run.xcoms["local.approve", "return_value"] = {
        "chosen_options": [option],
        "params_input": {},
        "responded_at": PLANNED_AT + after,
        "responded_by_user": {"id": "kim", "name": "kim"},
    }


@pytest.mark.parametrize(
    ("plans_only", "needs_approval", "skipped"),
    [
        (False, False, {"local.approve"}),
        (False, True, set()),
        (True, False, {"local.approve", "local.delete"}),
        (True, True, {"local.approve", "local.delete"}),
    ],
)
def test_what_a_run_skips(plans_only: bool, needs_approval: bool, skipped: set[str]) -> None:
    plan = PlanRetentionOperator(task_id="local.plan", **IDS, delete_task_id="local.delete")
    assert plan.unneeded(plans_only=plans_only, needs_approval=needs_approval) == skipped


@pytest.fixture
def planning(tmp_path: Path, site_file: Path, run: Any, monkeypatch: pytest.MonkeyPatch) -> Any:
    """Plans to delete much from the repository, in a run of a name; what Slack is told, and what is skipped."""
    site_file.write_text(site_file.read_text() + f"staging: {{directory: {tmp_path}/staging}}\n")
    sites.cache_clear()
    told: list[str] = []
    skipped: list[set[str]] = []

    def execute(run_id: str, *, dry_run: bool = False) -> tuple[bool, set[str]]:
        told.clear()
        skipped.clear()
        monkeypatch.setattr("spoqplus_backup.core.retention.planning.plan_repository", lambda *_: planned(5, 5))
        monkeypatch.setattr("spoqplus_backup.operators.notify.tell_retention_approval", lambda *_: told.append("asked"))
        operator = PlanRetentionOperator(task_id="local.plan", **IDS, delete_task_id="local.delete")
        real = operator.unneeded

        def unneeded(**kwargs: bool) -> set[str]:
            skipped.append(real(**kwargs))
            return set()  # there is no Airflow that could skip

        monkeypatch.setattr(operator, "unneeded", unneeded)
        monkeypatch.setattr(operator, "skip", lambda *_: None)
        run.run_id = run_id
        operator.execute(run.context | {"params": {"dry_run": dry_run}})
        return bool(told), skipped[0]

    return execute


@pytest.mark.parametrize(
    ("approve", "delete", "asked"),
    [
        ("awaiting_input", None, False),
        (None, None, False),
        ("success", "running", False),
        ("success", "up_for_retry", False),
        ("success", "success", True),
        ("failed", "upstream_failed", True),
        ("skipped", "skipped", True),
    ],
)
def test_a_person_is_asked_about_a_repository_once_at_a_time(
    planning: Any, run: Any, approve: str | None, delete: str | None, asked: bool
) -> None:
    assert planning("first") == (True, set())
    run.others["first"] = {"local.approve": approve, "local.delete": delete}

    assert planning("second") == (asked, set() if asked else {"local.approve", "local.delete"})
    summary = run.xcoms["the_task", "return_value"]
    assert summary["asked_by"] == (None if asked else f"{run.dag_id}/first")


def test_who_asked_asks_again_when_cleared_and_a_run_that_is_gone_holds_up_none(planning: Any) -> None:
    assert planning("first") == (True, set())
    assert planning("first") == (True, set())
    assert planning("second") == (True, set()), "Airflow does not know the first any more"


def test_a_dry_run_asks_nobody_and_does_not_count_as_one_that_did(planning: Any, run: Any) -> None:
    assert planning("dry", dry_run=True) == (False, {"local.approve", "local.delete"})
    run.others["dry"] = {"local.approve": None, "local.delete": None}
    assert planning("first") == (True, set())


def test_a_little_needs_no_approval(deletion: Any, run: Any) -> None:
    plan = planned(delete=1, keep=9)
    assert deletion(plan) == [plan]
    assert run.xcoms["local.delete", "return_value"]["sets"] == ["daily/20250101_030000"]


def test_much_needs_the_approval_of_this_very_plan(deletion: Any, run: Any) -> None:
    plan = planned(delete=5, keep=5)
    with pytest.raises(AirflowFailException, match="Nobody has approved"):
        deletion(plan)
    answered(run, "Reject")
    with pytest.raises(AirflowFailException, match="Nobody has approved"):
        deletion(plan)
    answered(run, after=-timedelta(minutes=1))
    with pytest.raises(AirflowFailException, match="made anew after it was approved"):
        deletion(plan)
    answered(run)
    assert deletion(plan) == [plan]


def test_of_a_large_plan_and_report_xcom_has_the_first_and_the_log_all(
    deletion: Any, run: Any, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    plan = planned(delete=400, keep=400)
    held = {"reason": "hold", "detail": "because " * 200}
    decisions = [item.model_copy(update=held) if item.keep else item for item in plan.decisions]
    untrusted = [item.model_copy(update={"reason": "untrusted"}) for item in decisions[-30:]]
    plan = plan.model_copy(update={"decisions": (*decisions[:-30], *untrusted), "maximum_share": 1})
    monkeypatch.setattr("spoqplus_backup.core.retention.planning.plan_repository", lambda *_: plan)
    monkeypatch.setattr(PlanRetentionOperator, "skip", lambda *_: None)
    run.task_id = "local.plan"
    operator = PlanRetentionOperator(task_id="local.plan", **IDS, delete_task_id="local.delete")
    with caplog.at_level("INFO"):
        operator.execute(run.context | {"params": {}})
    names = tuple(f"daily/{number}" for number in range(500))
    words = tuple(f"{name}: " + "x" * 1000 for name in names)
    with caplog.at_level("INFO"), pytest.raises(AirflowFailException, match="refused to delete 500 things"):
        deletion(plan, GONE.model_copy(update={"sets": names, "spared": words, "refused": words}))

    assert max(len(json.dumps(value)) for value in run.xcoms.values()) < 64 << 10
    assert run.xcoms["local.plan", "return_value"]["sets"] == 400
    assert run.xcoms["local.delete", "return_value"]["left_out"] == dict.fromkeys(("sets", "refused", "spared"), 440)
    assert all(f"`{item.name}`" in caplog.text for item in plan.decisions)
    assert all(f"`{name}`" in caplog.text for name in names)


def test_what_was_refused_makes_it_red_and_is_still_reported(deletion: Any, run: Any) -> None:
    refused = GONE.model_copy(update={"refused": ("s3://bucket/x is refused (AccessDenied)", "another")})
    with pytest.raises(AirflowFailException, match=r"refused to delete 2 things.*x is refused \(AccessDenied\)"):
        deletion(planned(delete=1, keep=9), refused)
    assert run.xcoms["local.delete", "return_value"]["sets"] == ["daily/20250101_030000"]


def test_a_plan_that_is_gone_says_what_to_clear(deletion: Any, run: Any, tmp_path: Path, site_file: Path) -> None:
    run.run_id = "another"
    with pytest.raises(AirflowFailException, match="clear the task plan"):
        DeleteOperator(task_id="local.delete", **IDS).execute(run.context)


def test_the_report_is_red_when_a_newest_backup_is_gone(run: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    run.task_id = "report"
    run.xcoms["local.plan", "return_value"] = SUMMARY
    run.xcoms["local.delete", "return_value"] = GONE.model_dump(mode="json")
    asked = []

    def check_newest(_: Any, __: Any, newest: dict[str, str]) -> list[str]:
        asked.append(newest)
        return [] if len(asked) == 1 else ["file:///backup/daily/20260102_030000/manifest.json is not there."]

    monkeypatch.setattr("spoqplus_backup.core.retention.checking.check_newest", check_newest)
    report = ReportRetentionOperator(task_id="report", site="spoqplus", **TASKS)
    context = run.context | {"params": {}}
    result = report.work(context, site("spoqplus"), None)  # type: ignore[arg-type]
    assert result == {"deleted": 1, "bytes": 5 << 30, "newest": {"local": "daily/20260102_030000"}}
    assert asked == [{"local": "daily/20260102_030000"}]
    with pytest.raises(PermanentError, match="is not there"):
        report.work(context, site("spoqplus"), None)  # type: ignore[arg-type]


# ---- the notification


@pytest.fixture
def slack(monkeypatch: pytest.MonkeyPatch) -> Any:
    monkeypatch.setenv("AIRFLOW__API__BASE_URL", "http://airflow.example")
    with SlackSink() as sink:
        monkeypatch.setenv("AIRFLOW_CONN_SPOQPLUS_SLACK", sink.connection)
        yield sink


def notify(run: Any, done: RetentionReport | None = GONE, **states: str) -> Any:
    run.task_id = "notify"
    run.states = {"local.plan": "success", "local.approve": "skipped", "local.delete": "success", "report": "success"}
    run.states |= {name.replace("_", ".", 1): state for name, state in states.items()}
    run.xcoms["local.plan", "return_value"] = SUMMARY
    run.xcoms["local.delete", "return_value"] = done.model_dump(mode="json") if done else None
    return NotifyRetentionOperator(task_id="notify", site="spoqplus", result_task_id="report", **TASKS)


def test_it_tells_what_went(run: Any, slack: SlackSink) -> None:
    assert notify(run).execute(run.context) == {"slack": True}
    said = words(slack.messages[-1])
    assert "🧹 spoqplus retention complete" in said
    assert "local: deleted 1 sets, 0 logs" in said
    assert "5.0 GiB freed" in said
    assert "`daily/20250101_030000`" in said


def test_it_tells_some_of_much_and_how_much_more(run: Any, slack: SlackSink) -> None:
    names = tuple(f"daily/{number}" for number in range(500))
    many = GONE.model_copy(update={"sets": names, "refused": names})
    notify(run, many.shortened(60, 300)).execute(run.context)
    said = words(slack.messages[-1])
    assert "local: deleted 500 sets" in said
    assert "and 488 more" in said
    assert "and 492 more" in said


def test_of_a_run_that_deleted_nothing_there_is_nothing_to_tell(run: Any, slack: SlackSink) -> None:
    nothing = RetentionReport(repository="local", url="file:///backup")
    assert notify(run, nothing).execute(run.context) == {"slack": False}
    assert slack.messages == []


@pytest.mark.parametrize("task", ["local_plan", "local_delete", "report"])
def test_a_failed_part_makes_the_run_red(run: Any, slack: SlackSink, task: str) -> None:
    with pytest.raises(AirflowFailException, match=task.replace("_", ".")):
        notify(run, None, **{task: "failed"}).execute(run.context)
    assert "❌ spoqplus retention failed" in words(slack.messages[-1])


def test_a_rejected_approval_makes_the_run_red(run: Any, slack: SlackSink) -> None:
    operator = notify(run, None, local_approve="failed", local_delete="upstream_failed")
    with pytest.raises(AirflowFailException, match=r"local\.approve"):
        operator.execute(run.context)


def test_what_can_not_be_trusted_is_told_although_nothing_went(run: Any, slack: SlackSink) -> None:
    operator = notify(run, RetentionReport(repository="local", url="file:///backup"))
    run.xcoms["local.plan", "return_value"] = SUMMARY | {"problems": ["daily/20250101_030000: forged <b>"]}
    operator.execute(run.context)
    assert "For a person to look at" in words(slack.messages[-1])
    assert "daily/20250101_030000: forged &lt;b&gt;" in words(slack.messages[-1])


def test_slack_hears_that_a_person_has_to_approve(run: Any, slack: SlackSink) -> None:
    run.states = {"local.plan": "running"}
    tell_retention_approval(run.context, site("spoqplus"), "local", planned(delete=5, keep=5))
    said = words(slack.messages[-1])
    assert "deleting from local needs an approval" in said
    assert "5 things (50 B) would go, 50% of the repository" in said
