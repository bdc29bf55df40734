"""The last task of a run: it tells, and then it judges."""

from collections.abc import Iterator
from typing import Any

import pytest
from airflow.sdk.exceptions import AirflowFailException

from slack_sink import SlackSink, words
from spoqplus_backup.operators.notify import NotifyBackupOperator

PUBLISHED = {
    "set": "daily/20260102_120000",
    "manifest_sha256": "0" * 64,
    "raw_bytes": 3 << 30,
    "stored_bytes": 1 << 30,
    "components": [
        {
            "name": "database",
            "raw_bytes": 3 << 30,
            "stored_bytes": 1 << 30,
            "parts": 96,
            "rows": 1000,
            "seconds": {"dump": 30.5, "compress": 16.0, "encrypt": 1.25, "upload": 9.0},
        }
    ],
    "previous": "20260101_120000",
    "previous_stored_bytes": 1 << 29,
    "server": "mariadb 10.11.6-MariaDB",
    "coordinates": {"file": "binlog.000042", "position": 4711, "gtid": "0-1-99"},
    "repositories": ["file:///backup", "s3://bucket"],
    "warnings": [{"code": "", "words": "only <one> recipient", "values": {}}],
}


@pytest.fixture
def slack(monkeypatch: pytest.MonkeyPatch) -> Iterator[SlackSink]:
    monkeypatch.setattr("spoqplus_backup.notifications.slack.FIRST_WAIT_SECONDS", 0)
    monkeypatch.setenv("AIRFLOW__API__BASE_URL", "http://airflow.example")
    with SlackSink() as sink:
        monkeypatch.setenv("AIRFLOW_CONN_SPOQPLUS_SLACK", sink.connection)
        yield sink


def notify() -> NotifyBackupOperator:
    return NotifyBackupOperator(task_id="notify", site="spoqplus", result_task_id="publish")


def published(run: Any) -> None:
    run.task_id = "notify"
    run.states = {"preflight": "success", "publish": "success", "notify": "running"}
    run.xcoms["publish", "return_value"] = PUBLISHED


def failed(run: Any) -> None:
    run.task_id = "notify"
    run.states = {"database.upload": "failed", "verify": "upstream_failed", "publish": "upstream_failed"}
    run.xcoms["database.upload", "error"] = "s3: <AccessDenied> on bucket: allow s3:PutObject."


def test_a_published_set_is_told_in_full(run: Any, slack: SlackSink) -> None:
    published(run)
    assert notify().execute(run.context) == {"slack": True}
    told = words(slack.messages[0])
    for part in (
        "spoqplus backup complete",
        "daily/20260102_120000",
        "1.0 GiB / 3.0 GiB",
        "+100.0% (+512.0 MiB)",
        "Dump 30.5 s · Compress 16.0 s · Encrypt 1.2 s · Upload 9.0 s",
        "binlog.000042:4711 · GTID 0-1-99",
        "only &lt;one&gt; recipient",
        "/dags/spoqplus_daily_backup/runs/manual__2026-01-02T03%3A00%3A00%2B00%3A00|Open the run>",
    ):
        assert part in told


def test_a_failure_is_told_with_task_error_and_log_and_the_run_stays_red(run: Any, slack: SlackSink) -> None:
    failed(run)
    with pytest.raises(AirflowFailException, match=r"database\.upload"):
        notify().execute(run.context)
    told = words(slack.messages[0])
    assert "spoqplus backup failed" in told
    assert "`database.upload` s3: &lt;AccessDenied&gt; on bucket: allow s3:PutObject." in told
    assert "/tasks/database.upload|Open the log>" in told
    assert "upstream" not in told


def test_a_task_that_left_no_message_is_named_all_the_same(run: Any, slack: SlackSink) -> None:
    failed(run)
    run.xcoms.clear()
    with pytest.raises(AirflowFailException):
        notify().execute(run.context)
    assert "`database.upload` It ended without a message" in words(slack.messages[0])


def test_a_run_whose_result_was_skipped_is_red(run: Any, slack: SlackSink) -> None:
    run.states = {"verify": "skipped", "publish": "skipped"}
    with pytest.raises(AirflowFailException, match="publish"):
        notify().execute(run.context)
    assert len(slack.messages) == 1


def test_a_slack_that_is_down_does_not_fail_a_good_backup(run: Any, slack: SlackSink) -> None:
    published(run)
    slack.statuses = [500] * 9
    assert notify().execute(run.context) == {"slack": False}
    assert slack.requests == 3


def test_a_slack_that_is_down_does_not_hide_a_bad_one(run: Any, slack: SlackSink) -> None:
    failed(run)
    slack.statuses = [500] * 9
    with pytest.raises(AirflowFailException, match=r"database\.upload"):
        notify().execute(run.context)


def test_the_first_backup_has_nothing_to_be_compared_with(run: Any, slack: SlackSink) -> None:
    published(run)
    run.xcoms["publish", "return_value"] = PUBLISHED | {"previous": None, "previous_stored_bytes": None}
    notify().execute(run.context)
    assert "the first one" in words(slack.messages[0])


class TestBesideTheSet:
    """Tasks that the set does not wait for."""

    @staticmethod
    def notify() -> NotifyBackupOperator:
        return NotifyBackupOperator(
            task_id="notify", site="spoqplus", result_task_id="publish", beside_task_ids=["mirror", "config_git"]
        )

    def test_one_that_failed_makes_the_run_red_though_the_set_is_published(self, run: Any, slack: SlackSink) -> None:
        published(run)
        run.states |= {"mirror": "failed", "config_git": "success"}
        run.xcoms["mirror", "error"] = "3 of 23 files are gone."
        with pytest.raises(AirflowFailException, match="mirror"):
            self.notify().execute(run.context)
        told = words(slack.messages[0])
        assert "3 of 23 files are gone." in told
        assert "daily/20260102_120000" in told

    def test_what_one_warns_of_is_told(self, run: Any, slack: SlackSink) -> None:
        published(run)
        run.states |= {"mirror": "success", "config_git": "success"}
        run.xcoms["config_git", "warnings"] = ["not committed: the remote is down"]
        assert self.notify().execute(run.context) == {"slack": True}
        told = words(slack.messages[0])
        assert "not committed: the remote is down" in told
        assert "only &lt;one&gt; recipient" in told
