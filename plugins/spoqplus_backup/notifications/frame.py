"""The one frame of all messages about a run: how it ended, why it failed, facts, details, where to look, a footer.

Whoever is on call reads it from the top: the cause of a failure, and what its task's help says to do, stand before any
fact.
"""

import re
from collections.abc import Sequence
from dataclasses import dataclass

from spoqplus_backup.messages import local_time, text
from spoqplus_backup.notifications.blocks import (
    FIELDS,
    Block,
    bullets,
    context,
    cut,
    divider,
    escape,
    fields,
    header,
    link,
    section,
)
from spoqplus_backup.notifications.message import Message
from spoqplus_backup.notifications.report import ERROR_CHARACTERS, RunReport

MOST_CAUSES = 5
MOST_TASKS = 4
HELP_CHARACTERS = 700


@dataclass(frozen=True)
class Story:
    """What a message says between the cause and the links; everything but `title`, `summary` and `warnings` is mrkdwn.

    `summary` stands beside the title in a phone's notification. `lead` are paragraphs before the facts. `links` come
    before those to the run and the runbook. `cause` is what is wrong in words that stay the same while it is wrong; of
    a run that failed it is the failed task's, unless another is given. `asks`: a person has to answer.
    """

    title: str
    summary: str = ""
    lead: Sequence[str] = ()
    facts: Sequence[tuple[str, str]] = ()
    warnings: Sequence[str] = ()
    details: Sequence[Block] = ()
    links: Sequence[str] = ()
    footer: Sequence[str] = ()
    cause: str | None = None
    asks: bool = False


def framed(report: RunReport, story: Story) -> Message:
    """The message."""
    causes = _causes(report)
    blocks = [header(story.title), *_cause_blocks(report, causes), *(section(words) for words in story.lead)]
    blocks += [fields(story.facts[start : start + FIELDS]) for start in range(0, len(story.facts), FIELDS)]
    if story.warnings:
        blocks.append(bullets(text(report.language, "slack.warnings"), [escape(words) for words in story.warnings]))
    blocks += [*story.details, divider(), section(" · ".join(_links(report, story))), context(_footer(report, story))]
    said = story.summary or (cut(causes[0].error, ERROR_CHARACTERS) if causes else "")
    cause = story.cause
    if cause is None and not report.succeeded and not story.asks:
        cause = causes[0].words if causes else story.title
    return Message(text=f"{story.title} {escape(said)}".strip(), blocks=blocks, cause=cause, asks=story.asks)


@dataclass(frozen=True)
class _Cause:
    """One error, and the tasks that ended with it."""

    error: str
    tasks: tuple[str, ...]
    log_url: str
    help: str

    @property
    def words(self) -> str:
        return f"{self.tasks[0]}: {self.error}"


def _causes(report: RunReport) -> list[_Cause]:
    found: dict[str, _Cause] = {}
    for failure in report.failures:
        known = found.get(failure.error)
        tasks = (*(known.tasks if known else ()), failure.task)
        first = known or failure
        found[failure.error] = _Cause(failure.error, tasks, first.log_url, first.help)
    return list(found.values())


def _cause_blocks(report: RunReport, causes: Sequence[_Cause]) -> list[Block]:
    if not causes:
        return []
    lines = []
    for cause in causes[:MOST_CAUSES]:
        names = " ".join(f"`{escape(task)}`" for task in cause.tasks[:MOST_TASKS])
        if (left := len(cause.tasks) - MOST_TASKS) > 0:
            names += " " + text(report.language, "slack.more", count=left)
        label = link(cause.log_url, text(report.language, "slack.log"))
        lines.append(f"{names} {escape(cut(cause.error, ERROR_CHARACTERS))} {label}")
    if (left := len(causes) - MOST_CAUSES) > 0:
        lines.append(text(report.language, "slack.more", count=left))
    blocks = [bullets(text(report.language, "slack.failures"), lines)]
    if causes[0].help:
        blocks.append(section(f"*{text(report.language, 'slack.to_do')}*\n{what_to_do(causes[0].help)}"))
    return blocks


def what_to_do(help_text: str) -> str:
    """Of a task's help in Markdown, what it says after **When it fails**, in mrkdwn."""
    words = help_text.split("**", 2)[-1].lstrip(" ,")
    return re.sub(r"\*\*([^*]+)\*\*", r"*\1*", escape(cut(words[:1].upper() + words[1:], HELP_CHARACTERS)))


def _links(report: RunReport, story: Story) -> list[str]:
    links = [*story.links, link(report.run_url, text(report.language, "slack.run"))]
    if report.runbook_url:
        links.append(link(report.runbook_url, text(report.language, "slack.runbook")))
    return links


def _footer(report: RunReport, story: Story) -> str:
    parts = [f"`{escape(report.dag_id)}`"] if report.dag_id else []
    if report.started_at:
        parts.append(local_time(report.started_at, report.timezone))
    return " · ".join([*parts, *story.footer]) or escape(report.site)
