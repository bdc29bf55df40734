"""Sending to Slack, through an incoming webhook or, with a bot's token, through Slack's API.

Only the API can answer in a thread and change what was said. What Slack refuses (`ok: false`) is not tried again; a
Slack that is down or asks for patience (429, `Retry-After`) is, three times at most.
"""

import logging
import time
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any, Protocol, TypeVar

from airflow.sdk import BaseHook
from airflow.sdk.log import redact  # type: ignore[attr-defined]  # public, but not re-exported

from spoqplus_backup.core.connections import SLACK_API
from spoqplus_backup.notifications.message import Message

log = logging.getLogger(__name__)

ATTEMPTS = 3
FIRST_WAIT_SECONDS = 2.0  # doubled after each attempt
LONGEST_WAIT_SECONDS = 60.0  # whatever Retry-After says: a task waits for it
TIMEOUT_SECONDS = 10
OVERLOADED = 429
REFUSED = range(400, 500)
PASSING = frozenset({"ratelimited", "internal_error", "fatal_error", "service_unavailable", "request_timeout"})
BAD_BLOCKS = ("invalid_blocks", "invalid_attachments", "msg_blocks_too_long")

Answer = TypeVar("Answer")


class SlackError(Exception):
    """Slack did not take a message, after every attempt; says why, without secrets."""


class SlackRefusedError(SlackError):
    """Slack answered that it does not want it: trying again can't help."""


class _BusyError(Exception):
    """Slack asks to come back after so many seconds."""

    def __init__(self, seconds: float) -> None:
        super().__init__(f"429, it asks to wait {seconds:g} s")
        self.seconds = seconds


@dataclass(frozen=True)
class Posted:
    """A message in Slack; None where a webhook does not tell."""

    channel: str | None = None
    ts: str | None = None


class Sender(Protocol):
    """A way to Slack. Every method raises `SlackError`."""

    threads: bool

    def post(self, message: Message, thread: Posted | None = None, *, broadcast: bool = False) -> Posted:
        """Say something new, or answer in a thread; `broadcast` shows the answer in the channel too."""

    def update(self, posted: Posted, message: Message) -> None:
        """Change what was said."""


def sender(connection: str, channel: str | None) -> Sender:
    """The way that an Airflow connection offers.

    Raises:
        SlackError: there is no such connection, or the API lacks a channel.
    """
    try:
        kind = BaseHook.get_connection(connection).conn_type
    except Exception as error:  # whatever a secrets backend raises
        raise SlackError(_reason(error)) from error
    if kind != SLACK_API:
        return WebhookSender(connection)
    if channel is None:
        raise SlackError(f"The connection {connection} is a bot's: name the channel in `slack.channel`.")
    return ApiSender(connection, channel)


class WebhookSender:
    """An incoming webhook: it posts to the channel that it was made for, and that is all it can."""

    threads = False

    def __init__(self, connection: str) -> None:
        self.connection = connection

    def post(self, message: Message, thread: Posted | None = None, *, broadcast: bool = False) -> Posted:
        """Say something; a webhook knows no threads."""
        from airflow.providers.slack.hooks.slack_webhook import SlackWebhookHook

        def send(blocks: list[dict[str, Any]] | None) -> Posted:
            hook = SlackWebhookHook(slack_webhook_conn_id=self.connection, timeout=TIMEOUT_SECONDS)
            answer = hook.client.send(text=message.text, blocks=blocks)
            if answer.status_code == OVERLOADED:
                raise _BusyError(_retry_after(answer.headers))
            if answer.status_code in REFUSED:
                raise SlackRefusedError(f"{answer.status_code}: {answer.body}")
            if answer.status_code != 200:
                raise SlackError(f"{answer.status_code}: {answer.body}")
            return Posted()

        return _without_blocks_if_need_be(message, send)

    def update(self, posted: Posted, message: Message) -> None:
        """Nothing: what a webhook said stays as it is."""


class ApiSender:
    """A bot in a channel (scope `chat:write`)."""

    threads = True

    def __init__(self, connection: str, channel: str) -> None:
        self.connection = connection
        self.channel = channel

    def post(self, message: Message, thread: Posted | None = None, *, broadcast: bool = False) -> Posted:
        """Say something in the channel, or in a thread."""
        where: dict[str, Any] = {"channel": self.channel}
        if thread is not None:
            where = {"channel": thread.channel, "thread_ts": thread.ts, "reply_broadcast": broadcast}

        def send(blocks: list[dict[str, Any]] | None) -> Posted:
            answer = self._call("chat.postMessage", where | _body(message, blocks) | {"unfurl_links": False})
            return Posted(channel=answer["channel"], ts=answer["ts"])

        return _without_blocks_if_need_be(message, send)

    def update(self, posted: Posted, message: Message) -> None:
        """Change a message of ours."""
        where = {"channel": posted.channel, "ts": posted.ts}

        def send(blocks: list[dict[str, Any]] | None) -> None:
            self._call("chat.update", where | _body(message, blocks))

        _without_blocks_if_need_be(message, send)

    def _call(self, method: str, body: dict[str, Any]) -> Mapping[str, Any]:
        from airflow.providers.slack.hooks.slack import SlackHook
        from slack_sdk.errors import SlackApiError

        hook = SlackHook(slack_conn_id=self.connection, timeout=TIMEOUT_SECONDS, retry_handlers=[])
        try:
            answer: Mapping[str, Any] = hook.call(method, json=body).data  # type: ignore[assignment]
        except SlackApiError as error:
            status, said = error.response.status_code, error.response.get("error") or "no reason given"
            if status == OVERLOADED:
                raise _BusyError(_retry_after(error.response.headers)) from error
            if status >= 500 or said in PASSING:
                raise SlackError(f"{method}: {status} {said}") from error
            raise SlackRefusedError(f"{method}: {said}") from error
        return answer


def _body(message: Message, blocks: list[dict[str, Any]] | None) -> dict[str, Any]:
    return {"text": message.text, "blocks": blocks or []}


def _without_blocks_if_need_be(message: Message, send: Callable[[list[dict[str, Any]] | None], Answer]) -> Answer:
    """Send; should Slack not like the blocks, then the text alone: half a message is better than none."""
    try:
        return _with_patience(lambda: send(message.blocks))
    except SlackRefusedError as error:
        if not any(word in str(error) for word in BAD_BLOCKS):
            raise
        log.warning("Slack refused the blocks of a message (%s): its text goes alone.", error)
        return _with_patience(lambda: send(None))


def _with_patience(send: Callable[[], Answer]) -> Answer:
    reason = ""
    for attempt in range(1, ATTEMPTS + 1):
        wait = FIRST_WAIT_SECONDS * 2 ** (attempt - 1)
        try:
            return send()
        except SlackRefusedError as error:
            raise SlackRefusedError(_reason(error)) from error
        except _BusyError as error:
            reason, wait = _reason(error), min(error.seconds, LONGEST_WAIT_SECONDS)
        except Exception as error:  # noqa: BLE001 (whatever is wrong with Slack, the backup's result stands)
            reason = _reason(error)
        log.info("Attempt %d of %d to reach Slack failed: %s", attempt, ATTEMPTS, reason)
        if attempt == ATTEMPTS:
            break
        time.sleep(wait)
    raise SlackError(reason)


def _retry_after(headers: Mapping[str, Any]) -> float:
    value = next((value for name, value in headers.items() if name.lower() == "retry-after"), "1")
    value = value[0] if isinstance(value, list) else value
    return float(value) if str(value).isdigit() else 1.0


def _reason(error: BaseException) -> str:
    words = str(redact(str(error))) or type(error).__name__
    return words if isinstance(error, (SlackError, _BusyError)) else f"{type(error).__name__}: {words}"
