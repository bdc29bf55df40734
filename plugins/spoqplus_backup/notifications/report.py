"""How a run ended, as every message needs it."""

import re
from collections.abc import Mapping
from dataclasses import dataclass
from urllib.parse import quote

from spoqplus_backup.core.settings import Settings
from spoqplus_backup.messages import Language, text

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
