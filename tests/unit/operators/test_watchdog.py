"""The watchdog: it looks, tells the same once, and is red while something is critical."""

import json
from collections.abc import Iterator, Sequence
from itertools import count
from pathlib import Path
from typing import Any

import pytest
from airflow.sdk.exceptions import AirflowFailException

from slack_sink import SlackSink, words
from spoqplus_backup.core.monitor.findings import Finding
from spoqplus_backup.notifications.memory import Thread
from spoqplus_backup.operators.deadline import tell_late
from spoqplus_backup.operators.watchdog import LookOperator, NotifyWatchdogOperator
from spoqplus_backup.sites import sites
from support.history import HOUR, make_past

DOWN = Finding(code="repository_down", severity="critical", subject="s3", values={"error": "<refused>"})
RUNS = count()
ENDS = Finding(
    code="gpg_key", severity="warning", subject="backup@spoqplus.com", values={"end_at": "2026-02-01T00:00:00+00:00"}
)


@pytest.fixture
def slack(monkeypatch: pytest.MonkeyPatch) -> Iterator[SlackSink]:
    kept: list[Thread] = []

    class Memory:
        def __init__(self, dag_id: str) -> None:
            assert dag_id.endswith("_watchdog")

        def threads(self) -> list[Thread]:
            return list(kept)

        def keep(self, threads: Sequence[Thread]) -> None:
            kept[:] = threads

    monkeypatch.setattr("spoqplus_backup.notifications.memory.VariableMemory", Memory)
    monkeypatch.setenv("AIRFLOW__API__BASE_URL", "http://airflow.example")
    with SlackSink() as sink:
        monkeypatch.setenv("AIRFLOW_CONN_SPOQPLUS_SLACK", sink.connection)
        yield sink


def notify(run: Any, *found: Finding, looked: str = "success") -> Any:
    run.dag_id, run.task_id = "spoqplus_watchdog", "notify"
    run.run_id = f"scheduled__{next(RUNS)}"
    run.states = {"look": looked, "notify": "running"}
    run.xcoms["look", "return_value"] = {"findings": [item.model_dump(mode="json") for item in found]}
    return NotifyWatchdogOperator(task_id="notify", site="spoqplus", result_task_id="look").execute(run.context)


def test_what_is_critical_is_red_and_told_once_until_it_is_over(run: Any, slack: SlackSink) -> None:
    for _ in range(3):
        with pytest.raises(AirflowFailException, match="1 things are wrong .*s3 can't be looked at"):
            notify(run, DOWN, ENDS)
    (told,) = map(words, slack.messages)
    assert "Something is wrong with the backups of spoqplus" in told
    assert "The repository s3 can't be looked at: &lt;refused&gt;" in told
    assert "The OpenPGP key of backup@spoqplus.com ends at" in told
    assert told.index("Now") < told.index("In the morning")

    assert notify(run) == {"slack": True}
    assert len(slack.messages) == 2
    assert notify(run) == {"slack": False}
    assert len(slack.messages) == 2


def test_what_can_wait_is_told_and_green(run: Any, slack: SlackSink) -> None:
    assert notify(run, ENDS) == {"slack": True}
    assert notify(run, ENDS) == {"slack": False}
    (told,) = map(words, slack.messages)
    assert "to look at" in told


def test_something_else_is_told_at_once(run: Any, slack: SlackSink) -> None:
    notify(run, ENDS)
    with pytest.raises(AirflowFailException):
        notify(run, DOWN, ENDS)
    assert len(slack.messages) == 2


def test_a_watchdog_that_could_not_look_says_so(run: Any, slack: SlackSink) -> None:
    run.xcoms["look", "error"] = "no memory"
    with pytest.raises(AirflowFailException, match="look"):
        notify(run, looked="failed")
    told = words(slack.messages[0])
    assert "could not look" in told
    assert "no memory" in told


@pytest.mark.parametrize("mounted", [True, False])
def test_it_looks_at_what_is_there_and_is_green(
    run: Any, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, mounted: bool
) -> None:
    past = make_past(tmp_path / "site", alerts={"minimum_backup_bytes": 0})
    name = past.publish(past.repository(), "daily", HOUR * 3)
    if not mounted:
        (tmp_path / "site" / "repository").rename(tmp_path / "elsewhere")
    monkeypatch.setenv("SPOQPLUS_BACKUP_CONFIG", str(past.settings.source))
    sites.cache_clear()

    said = LookOperator(task_id="look", site="spoqplus").execute(run.context)

    json.dumps(said)  # XCom
    codes = [item["code"] for item in said["findings"]]
    assert said["repositories"] == {"local": mounted}
    assert said["newest_full"] == (name if mounted else None)
    assert ("repository_down" in codes) is not mounted
    assert ("copies" in codes) is mounted  # one folder is no 3-2-1


@pytest.mark.parametrize(("state", "messages"), [("running", 1), ("failed", 0), ("success", 0)])
def test_a_run_that_is_late_is_told_unless_it_is_over(slack: SlackSink, state: str, messages: int) -> None:
    dag_run = {"dag_id": "spoqplus_restore", "dag_run_id": "manual__1+2", "state": state}
    times = {"start_date": "2026-01-02T03:00:00+00:00", "run_after": "2026-01-02T03:00:00+00:00"}
    tell_late("spoqplus", 4, {"dag_run": dag_run | times})
    assert len(slack.messages) == messages
    for message in slack.messages:
        told = words(message)
        assert "restore of spoqplus has taken more than 4 h" in told
        assert "/dags/spoqplus_restore/runs/manual__1%2B2|" in told
