"""How a run ended, as every message needs it."""

from collections.abc import Mapping
from dataclasses import dataclass

from spoqplus_backup.messages import Language, text
from spoqplus_backup.notifications.blocks import Block, bullets, cut, escape, link

MOST_FAILURES = 8
ERROR_CHARACTERS = 200


@dataclass(frozen=True)
class Failure:
    """A task that failed: the first line of why, and where its log is."""

    task: str
    error: str
    log_url: str


@dataclass(frozen=True)
class RunReport:
    """A run that is about to end; `seconds` since its start, `timezone` the site's."""

    site: str
    language: Language
    succeeded: bool
    run_url: str
    seconds: float
    failures: tuple[Failure, ...] = ()
    timezone: str = "UTC"


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
