"""The message about a replication."""

from collections.abc import Mapping, Sequence
from typing import Any

from spoqplus_backup.core.progress import human_bytes
from spoqplus_backup.messages import duration, text
from spoqplus_backup.notifications.blocks import Block, bullets, escape
from spoqplus_backup.notifications.frame import Story, framed
from spoqplus_backup.notifications.message import Message
from spoqplus_backup.notifications.report import RunReport


def replication_message(report: RunReport, copied: Mapping[str, Any] | None, logs: Mapping[str, Any] | None) -> Message:
    """What was copied where, or what failed.

    Args:
        report: how the run ended.
        copied: `core.replication.CopyReport` as JSON; None when the run did not get that far.
        logs: `core.replication.LogsReport` as JSON; None when that failed.
    """
    language, details = report.language, []
    if copied is not None:
        details += [_names(replica, names) for replica, names in copied["copied"].items()]
    if logs is not None and any(logs["copied"].values()):
        lines = [f"{escape(name)}: {count}" for name, count in logs["copied"].items()]
        details.append(bullets(text(language, "slack.logs"), lines))
    outcome = "succeeded" if report.succeeded else "failed"
    story = Story(
        title=text(language, f"slack.replication.{outcome}", site=report.site),
        facts=[(text(language, "slack.sent"), human_bytes(copied["sent_bytes"])), _duration(report)] if copied else (),
        warnings=copied["warnings"] if copied else (),
        details=details,
    )
    return framed(report, story)


def _duration(report: RunReport) -> tuple[str, str]:
    return text(report.language, "slack.duration"), duration(report.language, report.seconds)


def _names(replica: str, names: Sequence[str]) -> Block:
    return bullets(replica, [f"`{escape(name)}`" for name in names])
