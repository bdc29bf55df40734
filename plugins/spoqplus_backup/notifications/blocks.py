"""The pieces of a Slack message (Block Kit), within Slack's limits.

Limits: https://docs.slack.dev/reference/block-kit/blocks (a header 150 characters, a section's text 3000, a field 2000,
10 fields, 50 blocks).
"""

from collections.abc import Iterable, Sequence
from typing import Any

HEADER_CHARACTERS = 150
TEXT_CHARACTERS = 3000
FIELD_CHARACTERS = 2000
FIELDS = 10

Block = dict[str, Any]


def escape(value: object) -> str:
    """Slack's three control characters: without this an error with `<` breaks the message, or forges a link."""
    return str(value).replace("&", "&amp;").replace("<", "&lt;").replace(">", "&gt;")


def link(url: str, label: str) -> str:
    """A link in mrkdwn."""
    return f"<{escape(url).replace('|', '%7C')}|{escape(label)}>"


def cut(value: str, characters: int) -> str:
    """At most that many characters; an ellipsis shows that there were more."""
    return value if len(value) <= characters else value[: characters - 1] + "…"


def header(title: str) -> Block:
    """The title."""
    return {"type": "header", "text": {"type": "plain_text", "text": cut(title, HEADER_CHARACTERS), "emoji": True}}


def section(mrkdwn: str) -> Block:
    """A paragraph."""
    return {"type": "section", "text": {"type": "mrkdwn", "text": cut(mrkdwn, TEXT_CHARACTERS)}}


def fields(pairs: Iterable[tuple[str, str]]) -> Block:
    """Labels and values in two columns; values are mrkdwn, escaped by the caller."""
    items = [{"type": "mrkdwn", "text": cut(f"*{escape(label)}*\n{value}", FIELD_CHARACTERS)} for label, value in pairs]
    return {"type": "section", "fields": items[:FIELDS]}


def bullets(title: str, lines: Sequence[str]) -> Block:
    """A titled list of lines in mrkdwn. Whole lines only: a cut one could break a link."""
    body = f"*{escape(title)}*"
    for line in lines:
        if len(body) + len(line) + 3 > TEXT_CHARACTERS:
            break
        body += f"\n• {line}"
    return section(body)


def context(mrkdwn: str) -> Block:
    """Small print."""
    return {"type": "context", "elements": [{"type": "mrkdwn", "text": cut(mrkdwn, TEXT_CHARACTERS)}]}


def divider() -> Block:
    """A line."""
    return {"type": "divider"}
