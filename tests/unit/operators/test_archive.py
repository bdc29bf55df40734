"""What follows a gap, and of which runs of the archive Slack hears."""

from collections.abc import Iterator
from datetime import datetime, timedelta, timezone
from pathlib import Path
from typing import Any

import pytest
from airflow.sdk.exceptions import AirflowFailException, AirflowSkipException, DagRunTriggerException

from slack_sink import SlackSink, words
from spoqplus_backup.core.archive.area import Area, TimelineRecord
from spoqplus_backup.core.manifest import Gap
from spoqplus_backup.operators.archive import CheckChainOperator, FullBackupOperator
from spoqplus_backup.operators.notify import NotifyArchiveOperator, NotifyIncrementalOperator
from spoqplus_backup.sites import site, sites

NOW = datetime(2026, 1, 2, 3, 15, tzinfo=timezone.utc)
GAP = Gap(reason="reset", after="binlog.000007", lost_from=NOW - timedelta(minutes=20), words="The <logs> were reset.")


@pytest.fixture
def area(site_file: Path, tmp_path: Path) -> Area:
    site_file.write_text(site_file.read_text() + f"staging: {{directory: {tmp_path}/staging}}\n")
    sites.cache_clear()
    return Area(site("spoqplus"))


@pytest.fixture
def slack(monkeypatch: pytest.MonkeyPatch) -> Iterator[SlackSink]:
    monkeypatch.setattr("spoqplus_backup.notifications.slack.FIRST_WAIT_SECONDS", 0)
    with SlackSink() as sink:
        monkeypatch.setenv("AIRFLOW_CONN_SPOQPLUS_SLACK", sink.connection)
        yield sink


def full_backup() -> FullBackupOperator:
    return FullBackupOperator(task_id="full_backup", site="spoqplus")


def check_chain() -> CheckChainOperator:
    return CheckChainOperator(task_id="check_chain", site="spoqplus")


def test_without_a_gap_no_full_backup_is_asked_for(run: Any, area: Area) -> None:
    with pytest.raises(AirflowSkipException):
        full_backup().execute(run.context)
    assert check_chain().execute(run.context) is None


def test_a_gap_is_asked_about_once_and_fails_the_run_that_found_it(run: Any, area: Area) -> None:
    area.write_timeline(1, "000002", TimelineRecord(gap=GAP, opened_at=NOW))
    asked = []
    for _ in range(2):  # and a retry asks for the same run
        with pytest.raises(DagRunTriggerException) as trigger:
            full_backup().execute(run.context)
        asked.append((trigger.value.trigger_dag_id, trigger.value.dag_run_id))
    assert set(asked) == {("spoqplus_daily_backup", "gap__1_000002_20260102T031500")}
    run.task_id = "check_chain"
    with pytest.raises(AirflowFailException, match=r"The <logs> were reset\. From 2026-01-02 11:55:00 KST to unknown"):
        check_chain().execute(run.context)
    assert run.xcoms["check_chain", "gap"]["reason"] == "reset"
    run.run_id = "scheduled__later"
    with pytest.raises(AirflowSkipException):
        full_backup().execute(run.context)
    assert check_chain().execute(run.context) is None


def verified(seconds: float = 5, **more: Any) -> dict[str, Any]:
    point = {
        "measured_at": "2026-01-02T03:15:00Z",
        "complete_until": (NOW - timedelta(seconds=seconds)).isoformat(),
        "last_event_at": None,
    }
    return {"recovery_point": point, "warnings": [], "new_warnings": [], "gap": None} | more


def notify(run: Any, states: dict[str, str], result: dict[str, Any] | None) -> Any:
    run.task_id, run.states = "notify", states | {"notify": "running"}
    if result is not None:
        run.xcoms["archive.verify", "return_value"] = result
    operator = NotifyArchiveOperator(
        task_id="notify",
        site="spoqplus",
        result_task_id="check_chain",
        verify_task_id="archive.verify",
        check_task_id="check_chain",
    )
    return operator.execute(run.context)


GREEN = {"archive.verify": "success", "full_backup": "skipped", "check_chain": "success"}


def test_a_success_of_which_there_is_nothing_to_say_is_not_told(run: Any, slack: SlackSink) -> None:
    assert notify(run, GREEN, verified()) == {"slack": False}
    assert slack.messages == []


@pytest.mark.parametrize(
    ("result", "told"),
    [
        (verified(3700), "archive is late"),
        (verified(3700), "1 h 1 min (objective 1 h)"),
        (verified(new_warnings=[{"code": "x", "words": "keeps <no> logs", "values": {}}]), "keeps &lt;no&gt; logs"),
    ],
)
def test_what_is_worth_knowing_is_told(run: Any, slack: SlackSink, result: dict[str, Any], told: str) -> None:
    assert notify(run, GREEN, result) == {"slack": True}
    assert told in words(slack.messages[0])


def test_a_gap_is_told_with_its_times_and_the_run_is_red(run: Any, slack: SlackSink) -> None:
    run.xcoms["check_chain", "gap"] = GAP.model_dump(mode="json")
    states = {"archive.verify": "success", "full_backup": "success", "check_chain": "failed"}
    with pytest.raises(AirflowFailException, match="check_chain"):
        notify(run, states, verified())
    said = words(slack.messages[0])
    assert "has a gap in its binary logs" in said
    assert "The &lt;logs&gt; were reset." in said
    assert "2026-01-02 11:55:00 KST – unknown" in said


def test_a_failure_is_told_and_the_run_is_red(run: Any, slack: SlackSink) -> None:
    run.xcoms["archive.upload", "error"] = "s3 can't be reached"
    with pytest.raises(AirflowFailException, match=r"archive\.upload"):
        notify(run, {"archive.upload": "failed", "check_chain": "upstream_failed"}, None)
    assert "s3 can't be reached" in words(slack.messages[0])


PUBLISHED = {
    "set": "incremental/20260102_120000",
    "after": "daily/20260102_030000",
    "logs": 24,
    "transactions": 12345,
    "raw_bytes": 3 << 20,
    "stored_bytes": 1 << 20,
    "first_at": "2026-01-01T21:00:00Z",
    "last_at": "2026-01-02T02:59:59.5Z",
    "start": None,
    "end": None,
    "recovery_point": verified()["recovery_point"],
    "repositories": [],
    "warnings": [],
}


@pytest.mark.parametrize(
    ("published", "told"),
    [
        (
            PUBLISHED,
            (
                "incremental backup complete",
                "2026-01-02 06:00:00 KST – 2026-01-02 11:59:59 KST",
                "24 logs, 12,345 transactions",
                "daily/20260102_030000",
                "1.0 MiB / 3.0 MiB",
                "5.0 s (objective 1 h)",
            ),
        ),
        (PUBLISHED | {"set": None, "logs": 0}, ("nothing new was written", "daily/20260102_030000", "5.0 s")),
    ],
)
def test_an_incremental_set_is_told_with_what_it_covers(
    run: Any, slack: SlackSink, published: dict[str, Any], told: tuple[str, ...]
) -> None:
    run.task_id, run.states = "notify", {"publish_incremental": "success"}
    run.xcoms["publish_incremental", "return_value"] = published
    operator = NotifyIncrementalOperator(
        task_id="notify",
        site="spoqplus",
        result_task_id="publish_incremental",
        verify_task_id="archive.verify",
        check_task_id="check_chain",
    )
    assert operator.execute(run.context) == {"slack": True}
    said = words(slack.messages[0])
    for part in told:
        assert part in said
