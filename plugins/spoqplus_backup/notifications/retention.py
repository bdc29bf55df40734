"""The messages about retention: what went, what could not, and that a person has to approve."""

from collections.abc import Mapping
from typing import Any

from spoqplus_backup.core.progress import human_bytes
from spoqplus_backup.core.retention.report import RetentionReport
from spoqplus_backup.messages import duration, text
from spoqplus_backup.notifications.blocks import Block, bullets, escape
from spoqplus_backup.notifications.frame import Story, framed
from spoqplus_backup.notifications.message import Message
from spoqplus_backup.notifications.report import RunReport

MOST_SETS = 12
MOST_WORDS = 8


def retention_message(
    report: RunReport, plans: Mapping[str, Mapping[str, Any]], reports: Mapping[str, Mapping[str, Any]]
) -> Message:
    """What was deleted from each repository.

    Args:
        report: how the run ended.
        plans: what each repository's plan task left in XCom, by repository.
        reports: `core.retention.report.RetentionReport` as JSON, by repository.
    """
    language = report.language
    freed = human_bytes(sum(item["bytes"] for item in reports.values()))
    outcome = "succeeded" if report.succeeded else "failed"
    details = []
    lines = [f"{escape(name)}: {escape(words)}" for name, plan in plans.items() for words in plan["problems"]]
    if lines:
        details.append(bullets(text(language, "slack.retention.problems"), _some(report, lines, MOST_WORDS)))
    for name, found in reports.items():
        details += _repository_blocks(report, name, RetentionReport.model_validate(found))
    story = Story(
        title=text(language, f"slack.retention.{outcome}", site=report.site),
        summary=freed if report.succeeded else "",
        facts=[
            (text(language, "slack.freed"), freed),
            (text(language, "slack.duration"), duration(language, report.seconds)),
        ],
        details=details,
    )
    return framed(report, story)


def approval_message(report: RunReport, repository: str, count: int, size: int, share: float) -> Message:
    """Much would go from a repository: somebody has to look at the plan."""
    said = text(
        report.language,
        "slack.retention.approve.help",
        count=f"{count:,}",
        size=human_bytes(size),
        share=f"{share:.0%}",
    )
    title = text(report.language, "slack.retention.approve", site=report.site, repository=repository)
    return framed(report, Story(title=title, lead=[said], asks=True))


def _repository_blocks(report: RunReport, name: str, found: RetentionReport) -> list[Block]:
    language = report.language
    counts = text(
        language,
        "retention.report",
        repository=escape(name),
        sets=found.count("sets"),
        logs=f"{found.logs:,}",
        unfinished=found.count("unfinished"),
        uploads=found.uploads,
        faces=f"{found.faces:,}",
        size=human_bytes(found.bytes),
    )
    lines = [f"`{escape(item)}`" for item in (*found.sets, *found.unfinished)]
    more = found.left_out.get("sets", 0) + found.left_out.get("unfinished", 0)
    blocks = [bullets(counts, _some(report, lines, MOST_SETS, more))]
    left = [escape(words) for words in (*found.refused, *found.spared)]
    if left:
        more = found.left_out.get("refused", 0) + found.left_out.get("spared", 0)
        blocks.append(bullets(text(language, "slack.retention.refused"), _some(report, left, MOST_WORDS, more)))
    return blocks


def _some(report: RunReport, lines: list[str], most: int, more: int = 0) -> list[str]:
    """The first lines, and how many are left; `more` are not among them."""
    left = max(0, len(lines) - most) + more
    return [*lines[:most], *([text(report.language, "slack.more", count=left)] if left else [])]
