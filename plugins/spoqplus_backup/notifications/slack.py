"""Sending to Slack. A Slack that is down is retried and then left alone: it must never fail a backup."""

import logging
import time
from dataclasses import dataclass
from typing import Any

from airflow.sdk.log import redact  # type: ignore[attr-defined]  # public, but not re-exported

log = logging.getLogger(__name__)

ATTEMPTS = 3
FIRST_WAIT_SECONDS = 2.0  # doubled after each attempt
TIMEOUT_SECONDS = 10


@dataclass(frozen=True)
class Message:
    """A Slack message: Block Kit blocks, and the text that notifications and old clients show instead."""

    text: str
    blocks: list[dict[str, Any]]


def send(connection: str, message: Message) -> str | None:
    """Send to the incoming webhook of an Airflow connection, three times at most.

    Never raises: returns None when Slack took it, otherwise why the last attempt failed.
    """
    from airflow.providers.slack.hooks.slack_webhook import SlackWebhookHook

    reason = None
    for attempt in range(1, ATTEMPTS + 1):
        try:
            hook = SlackWebhookHook(slack_webhook_conn_id=connection, timeout=TIMEOUT_SECONDS)
            hook.send(text=message.text, blocks=message.blocks)
        except Exception as error:  # noqa: BLE001 (whatever is wrong with Slack, the backup's result stands)
            reason = str(redact(f"{type(error).__name__}: {error}"))
            log.info("Attempt %d of %d to reach Slack failed: %s", attempt, ATTEMPTS, reason)
            if attempt < ATTEMPTS:
                time.sleep(FIRST_WAIT_SECONDS * 2 ** (attempt - 1))
        else:
            return None
    return reason
