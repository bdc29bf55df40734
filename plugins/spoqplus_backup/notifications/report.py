"""How a run ended, as every message needs it."""

import re
from collections.abc import Mapping
from dataclasses import dataclass
from urllib.parse import quote

from spoqplus_backup.core.settings import Settings
from spoqplus_backup.messages import Language, text
from spoqplus_backup.notifications.blocks import Block, bullets, cut, escape, link

MOST_FAILURES = 8
ERROR_CHARACTERS = 200


@dataclass(frozen=True)
class Failure:
    """A task that failed: the first line of why, where its log is, and its help in Markdown."""

    task: str
    error: str
    log_url: str
    help: str = ""


@dataclass(frozen=True)
class RunReport:
    """A run that is about to end; `seconds` since its start, `timezone` for the times in the message.

    `failures` stand in the order of the flow: what failed first is the cause. `started_at` is ISO 8601.
    """

    site: str
    language: Language
    succeeded: bool
    run_url: str
    seconds: float
    failures: tuple[Failure, ...] = ()
    timezone: str = "UTC"
    dag_id: str = ""
    started_at: str | None = None
    runbook_url: str | None = None


def failure_block(report: RunReport) -> Block:
    """Each failed task, its error's first line, a link to its log."""
    lines = [
        f"`{escape(failure.task)}` {escape(cut(failure.error, ERROR_CHARACTERS))}"
        f" {link(failure.log_url, text(report.language, 'slack.log'))}"
        for failure in report.failures[:MOST_FAILURES]
    ]
    if (left := len(report.failures) - MOST_FAILURES) > 0:
        lines.append(text(report.language, "slack.more", count=left))
    return bullets(text(report.language, "slack.failures"), lines)


def run_link(report: RunReport) -> str:
    """A link to the run in the Airflow UI."""
    return link(report.run_url, text(report.language, "slack.run"))


def coordinates_line(coordinates: Mapping[str, object]) -> str:
    """Binary log, position and GTID, as far as the server told them."""
    parts = [f"{coordinates['file']}:{coordinates['position']}"] if coordinates.get("file") else []
    if coordinates.get("gtid"):
        parts.append(f"GTID {coordinates['gtid']}")
    return " · ".join(parts)


def runbook_url(settings: Settings, section: str) -> str | None:
    """The section of the runbook, by its heading as GitHub and GitLab name it; None without a runbook."""
    if settings.slack.runbook is None:
        return None
    return f"{settings.slack.runbook}#{quote(anchor(text(settings.language, f'runbook.{section}')))}"


def anchor(heading: str) -> str:
    """The fragment of a heading in Markdown."""
    return re.sub(r"[^\w\- ]", "", heading.lower()).replace(" ", "-")
