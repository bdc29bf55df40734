"""The replication's operators: what they are told, what they do, what Slack hears."""

from collections.abc import Mapping
from types import SimpleNamespace
from typing import Any

import pytest
from airflow.sdk.exceptions import AirflowFailException

from spoqplus_backup.core import replication, replication_plan
from spoqplus_backup.core.files.face_check import shared_checksums
from spoqplus_backup.core.replication import CopyReport, LogsReport
from spoqplus_backup.core.replication_plan import CopyPlan
from spoqplus_backup.notifications.replication import replication_message
from spoqplus_backup.notifications.report import RunReport
from spoqplus_backup.operators.notify import NotifyReplicationOperator
from spoqplus_backup.operators.replication import CopyLogsOperator, CopySetsOperator, ListSetsOperator

DAILY, WEEKLY = "daily/20260102_030000", "weekly/20260104_040000"
PLAN = CopyPlan(sets={"dr": (DAILY,)}, warnings=("one is gone",))


def triggered(run: Any, params: Mapping[str, Any] | None = None, *extras: Mapping[str, Any] | None) -> Any:
    events = [SimpleNamespace(extra=extra) for extra in extras]
    return run.context | {
        "params": params or {"sets": []},
        "triggering_asset_events": {"backup": events[:1], "more": events[1:]},
    }


@pytest.fixture
def planned(monkeypatch: pytest.MonkeyPatch) -> list[tuple[tuple[str, ...], tuple[str, ...]]]:
    calls: list[tuple[tuple[str, ...], tuple[str, ...]]] = []

    def plan(settings: Any, connections: Any, announced: tuple[str, ...], asked: tuple[str, ...]) -> CopyPlan:
        calls.append((announced, asked))
        return PLAN

    monkeypatch.setattr(replication_plan, "plan_copies", plan)
    return calls


def test_every_event_s_set_is_listed(run: Any, planned: list[Any]) -> None:
    context = triggered(run, None, {"set": DAILY}, {"set": WEEKLY}, {}, None)
    listed = ListSetsOperator(task_id="list_sets", site="spoqplus").execute(context)
    assert planned == [((DAILY, WEEKLY), ())]
    assert listed == {"sets": {"dr": (DAILY,)}, "warnings": ("one is gone",)} or listed["sets"] == {"dr": [DAILY]}


def test_a_person_names_sets(run: Any, planned: list[Any]) -> None:
    ListSetsOperator(task_id="list_sets", site="spoqplus").execute(triggered(run, {"sets": [WEEKLY]}))
    assert planned == [((), (WEEKLY,))]


@pytest.mark.parametrize(
    ("params", "words"),
    [
        ({"sets": "daily/20260102_030000"}, "write names of sets such as"),
        ({"sets": ["yesterday"]}, "write names of sets such as"),
        ({"sets": [], "sites": []}, "There is no parameter sites"),
    ],
)
def test_parameters_are_checked_before_anything_is_done(
    run: Any, planned: list[Any], params: Mapping[str, Any], words: str
) -> None:
    with pytest.raises(AirflowFailException, match=words):
        ListSetsOperator(task_id="list_sets", site="spoqplus").execute(triggered(run, params))
    assert planned == []


def test_what_was_listed_is_copied(run: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    copied: list[CopyPlan] = []

    def copy(settings: Any, connections: Any, plan: CopyPlan, shared: Any) -> CopyReport:
        assert shared is shared_checksums
        copied.append(plan)
        return REPORT

    monkeypatch.setattr(replication, "copy_sets", copy)
    monkeypatch.setattr(replication, "copy_logs", lambda *_: LogsReport(copied={"dr": 3}, bytes=9, seconds=1))
    operator = CopySetsOperator(task_id="copy_sets", site="spoqplus", list_task_id="list_sets")
    with pytest.raises(AirflowFailException, match="The task list_sets left no list of sets"):
        operator.execute(run.context)

    run.xcoms["list_sets", "return_value"] = PLAN.model_dump(mode="json")
    assert operator.execute(run.context)["sent_objects"] == 7
    assert copied == [PLAN]
    assert CopyLogsOperator(task_id="copy_logs", site="spoqplus").execute(run.context)["copied"] == {"dr": 3}


REPORT = CopyReport(
    copied={"dr": (DAILY,)}, present={}, sent_objects=7, sent_bytes=3 << 30, seconds=12, warnings=("<damaged>",)
)


@pytest.mark.parametrize(
    ("states", "succeeded"),
    [
        ({"copy_sets": "success", "copy_logs": "success"}, True),
        ({"copy_sets": "success", "copy_logs": "failed"}, False),
        ({"copy_sets": "failed", "copy_logs": "success"}, False),
    ],
)
def test_both_have_to_succeed(states: dict[str, str], succeeded: bool) -> None:
    operator = NotifyReplicationOperator(
        task_id="notify", site="spoqplus", result_task_id="copy_sets", logs_task_id="copy_logs"
    )
    assert operator.has_succeeded(states) is succeeded


def test_a_run_that_had_nothing_to_copy_is_not_told(run: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    told: list[Any] = []
    monkeypatch.setattr("spoqplus_backup.operators.notify._tell", lambda _, __, message, **___: told.append(message))
    operator = NotifyReplicationOperator(
        task_id="notify", site="spoqplus", result_task_id="copy_sets", logs_task_id="copy_logs"
    )
    run.states = {"copy_sets": "success", "copy_logs": "success"}
    nothing = REPORT.model_copy(update={"copied": {}, "warnings": ()})
    run.xcoms["copy_sets", "return_value"] = nothing.model_dump(mode="json")
    operator.execute(run.context)
    assert told == [None]

    run.xcoms["copy_sets", "return_value"] = REPORT.model_dump(mode="json")
    operator.execute(run.context)
    assert "replication complete" in told[1].text


def test_the_message_says_what_went_where() -> None:
    report = RunReport(site="spoqplus", language="en", succeeded=True, run_url="http://airflow/run", seconds=12)
    message = replication_message(
        report, REPORT.model_dump(mode="json"), LogsReport(copied={"dr": 3}, bytes=9, seconds=1).model_dump(mode="json")
    )
    shown = str(message.blocks)
    assert message.text == "✅ spoqplus replication complete"
    for words in (DAILY, "3.0 GiB", "dr: 3", "&lt;damaged&gt;"):
        assert words in shown
