"""Sending to Slack: by webhook and as a bot, retried when it may help, and without secrets in what is said of it."""

import json
import socket
from collections.abc import Iterator

import pytest

from slack_sink import CHANNEL, TOKEN, SlackSink
from spoqplus_backup.notifications import slack
from spoqplus_backup.notifications.blocks import header
from spoqplus_backup.notifications.message import Message
from spoqplus_backup.notifications.slack import Posted, Sender, SlackError, SlackRefusedError, sender

MESSAGE = Message(text="백업 완료", blocks=[{"type": "divider"}])


@pytest.fixture
def waits(monkeypatch: pytest.MonkeyPatch) -> list[float]:
    waited: list[float] = []
    monkeypatch.setattr("spoqplus_backup.notifications.slack.time.sleep", waited.append)
    return waited


@pytest.fixture
def sink(monkeypatch: pytest.MonkeyPatch, waits: list[float]) -> Iterator[SlackSink]:
    with SlackSink() as running:
        monkeypatch.setenv("AIRFLOW_CONN_WEBHOOK", running.connection)
        monkeypatch.setenv("AIRFLOW_CONN_BOT", running.bot_connection)
        yield running


@pytest.fixture(params=["webhook", "bot"])
def way(request: pytest.FixtureRequest, sink: SlackSink) -> Sender:
    return sender(request.param, CHANNEL if request.param == "bot" else None)


def test_sends_text_and_blocks(way: Sender, sink: SlackSink) -> None:
    way.post(MESSAGE)
    assert (sink.messages[0]["text"], sink.messages[0]["blocks"]) == ("백업 완료", [{"type": "divider"}])


def test_tries_again_until_slack_takes_it(way: Sender, sink: SlackSink, waits: list[float]) -> None:
    sink.statuses, sink.retry_after = [503, 429], 7
    way.post(MESSAGE)
    assert (sink.requests, len(sink.messages)) == (3, 1)
    assert waits == [slack.FIRST_WAIT_SECONDS, 7]


def test_no_task_waits_for_ever(way: Sender, sink: SlackSink, waits: list[float]) -> None:
    sink.statuses, sink.retry_after = [429, 429, 429], 86400
    with pytest.raises(SlackError, match="429"):
        way.post(MESSAGE)
    assert waits == [slack.LONGEST_WAIT_SECONDS] * 2


def test_gives_up_after_three_attempts_and_says_why(way: Sender, sink: SlackSink) -> None:
    sink.statuses = [503] * 4
    with pytest.raises(SlackError, match="503"):
        way.post(MESSAGE)
    assert sink.requests == 3


def test_blocks_that_slack_does_not_like_do_not_lose_the_message(way: Sender, sink: SlackSink) -> None:
    way.post(Message("❌ 백업 실패", [header("x") | {"type": "section"}] * 51))
    assert sink.messages[0]["text"] == "❌ 백업 실패"
    assert not sink.messages[0].get("blocks")


def test_what_the_api_refuses_is_not_tried_again(sink: SlackSink) -> None:
    sink.refusals = ["not_in_channel"]
    with pytest.raises(SlackRefusedError, match=r"chat\.postMessage: not_in_channel"):
        sender("bot", CHANNEL).post(MESSAGE)
    assert sink.requests == 1


def test_what_the_api_refuses_for_a_moment_is(sink: SlackSink) -> None:
    sink.refusals = ["internal_error"]
    sender("bot", CHANNEL).post(MESSAGE)
    assert len(sink.messages) == 1


def test_a_wrong_token_and_a_wrong_channel(sink: SlackSink, monkeypatch: pytest.MonkeyPatch) -> None:
    with pytest.raises(SlackRefusedError, match="channel_not_found"):
        sender("bot", "#elsewhere").post(MESSAGE)
    monkeypatch.setenv("AIRFLOW_CONN_BOT", json.dumps(json.loads(sink.bot_connection) | {"password": "xoxb-old"}))
    with pytest.raises(SlackRefusedError, match="invalid_auth"):
        sender("bot", CHANNEL).post(MESSAGE)


def test_a_bot_answers_in_a_thread_and_changes_what_it_said(sink: SlackSink) -> None:
    way = sender("bot", CHANNEL)
    first = way.post(MESSAGE)
    way.post(Message("still", []), first)
    way.post(Message("again", []), first, broadcast=True)
    way.update(first, Message("over", [{"type": "divider"}]))
    assert [item["text"] for item in sink.channel] == ["over", "again"]
    assert [item["text"] for item in sink.thread(sink.messages[0])] == ["still", "again"]
    with pytest.raises(SlackRefusedError, match="message_not_found"):
        way.update(Posted(first.channel, "1.2"), MESSAGE)


@pytest.mark.parametrize("kind", ["slackwebhook", "slack"])
def test_nobody_listens(kind: str, waits: list[float], monkeypatch: pytest.MonkeyPatch) -> None:
    with socket.socket() as bound:  # not listening: every connection is refused
        bound.bind(("127.0.0.1", 0))
        address = f"http://127.0.0.1:{bound.getsockname()[1]}"
        secret = f"{address}/services/secret-token" if kind == "slackwebhook" else TOKEN
        record = {"conn_type": kind, "password": secret, "extra": {"base_url": f"{address}/api/"}}
        monkeypatch.setenv("AIRFLOW_CONN_NOBODY", json.dumps(record))
        with pytest.raises(SlackError, match="refused") as raised:
            sender("nobody", CHANNEL).post(MESSAGE)
    assert "secret" not in str(raised.value)


def test_what_a_connection_lacks_is_a_reason_too(sink: SlackSink) -> None:
    with pytest.raises(SlackError, match="nobody_made_this"):
        sender("nobody_made_this", None)
    with pytest.raises(SlackError, match=r"name the channel in `slack\.channel`"):
        sender("bot", None)
