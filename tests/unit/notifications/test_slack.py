"""Sending to Slack: retried, and never the reason that something else fails."""

import socket
from collections.abc import Iterator

import pytest

from slack_sink import SlackSink
from spoqplus_backup.notifications.slack import Message, send

MESSAGE = Message(text="백업 완료", blocks=[{"type": "divider"}])


@pytest.fixture(autouse=True)
def impatient(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("spoqplus_backup.notifications.slack.FIRST_WAIT_SECONDS", 0)


@pytest.fixture
def sink(monkeypatch: pytest.MonkeyPatch) -> Iterator[SlackSink]:
    with SlackSink() as slack:
        monkeypatch.setenv("AIRFLOW_CONN_SPOQPLUS_SLACK", slack.connection)
        yield slack


def test_sends_text_and_blocks(sink: SlackSink) -> None:
    assert send("spoqplus_slack", MESSAGE) is None
    assert sink.messages == [{"text": "백업 완료", "blocks": [{"type": "divider"}]}]


def test_tries_again_until_slack_takes_it(sink: SlackSink) -> None:
    sink.statuses = [503, 429]
    assert send("spoqplus_slack", MESSAGE) is None
    assert sink.requests == 3
    assert len(sink.messages) == 1


def test_gives_up_after_three_attempts_and_says_why(sink: SlackSink) -> None:
    sink.statuses = [503, 503, 503, 503]
    reason = send("spoqplus_slack", MESSAGE)
    assert reason is not None
    assert "503" in reason
    assert sink.requests == 3


def test_nobody_listens(monkeypatch: pytest.MonkeyPatch) -> None:
    with socket.socket() as bound:  # not listening: every connection is refused
        bound.bind(("127.0.0.1", 0))
        address = f"http://127.0.0.1:{bound.getsockname()[1]}/services/secret-token"
        monkeypatch.setenv("AIRFLOW_CONN_SPOQPLUS_SLACK", f'{{"conn_type": "slackwebhook", "password": "{address}"}}')
        reason = send("spoqplus_slack", MESSAGE)
    assert reason is not None
    assert "refused" in reason
    assert "secret-token" not in reason


def test_an_unknown_connection_is_a_reason_too() -> None:
    reason = send("nobody_made_this", MESSAGE)
    assert reason is not None
    assert "nobody_made_this" in reason
