"""The message about a replication."""

from collections.abc import Mapping
from typing import Any

from spoqplus_backup.core.progress import human_bytes
from spoqplus_backup.messages import duration, text
from spoqplus_backup.notifications.blocks import Block, bullets, context, divider, escape, fields, header
from spoqplus_backup.notifications.report import RunReport, failure_block, run_link
from spoqplus_backup.notifications.slack import Message


def replication_message(report: RunReport, copied: Mapping[str, Any] | None, logs: Mapping[str, Any] | None) -> Message:
    """What was copied where, or what failed.

    Args:
        report: how the run ended.
        copied: `core.replication.CopyReport` as JSON; None when the run did not get that far.
        logs: `core.replication.LogsReport` as JSON; None when that failed.
    """
    outcome = "succeeded" if report.succeeded else "failed"
    title = text(report.language, f"slack.replication.{outcome}", site=report.site)
    blocks = [header(title)]
    if not report.succeeded:
        blocks.append(failure_block(report))
    if copied is not None:
        blocks += _copied_blocks(report, copied)
    if logs is not None and any(logs["copied"].values()):
        lines = [f"{escape(name)}: {count}" for name, count in logs["copied"].items()]
        blocks.append(bullets(text(report.language, "slack.logs"), lines))
    return Message(text=title, blocks=[*blocks, divider(), context(run_link(report))])


def _copied_blocks(report: RunReport, copied: Mapping[str, Any]) -> list[Block]:
    language = report.language
    blocks = [
        fields(
            [
                (text(language, "slack.sent"), human_bytes(copied["sent_bytes"])),
                (text(language, "slack.duration"), duration(language, report.seconds)),
            ]
        )
    ]
    for replica, names in copied["copied"].items():
        blocks.append(bullets(escape(replica), [f"`{escape(name)}`" for name in names]))
    if warnings := copied["warnings"]:
        blocks.append(bullets(text(language, "slack.warnings"), [escape(warning) for warning in warnings]))
    return blocks
