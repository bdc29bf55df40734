"""The message about a restore."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime
from typing import Any
from zoneinfo import ZoneInfo

from spoqplus_backup.core.progress import human_bytes
from spoqplus_backup.messages import component_label, duration, text
from spoqplus_backup.notifications.blocks import Block, bullets, context, escape
from spoqplus_backup.notifications.frame import Story, framed
from spoqplus_backup.notifications.message import Message
from spoqplus_backup.notifications.report import RunReport

STAGES = ("fetch", "rebuild", "load", "apply_binlogs", "copy_tables") + (
    *("restore_files", "set_ownership", "verify_restore", "start_service"),
)


@dataclass(frozen=True)
class Restored:
    """What the tasks of a restore left in XCom, each None when the run did not get there.

    `plan` sums up the plan, `approval` is Airflow's answer of a person, `safety` the published safety backup, `stages`
    the summaries of the tasks that took long by name, `put_back` the summary of a rebuild that was undone,
    `differences` those between single tables of then and now.
    """

    plan: Mapping[str, Any] | None = None
    approval: Mapping[str, Any] | None = None
    safety: Mapping[str, Any] | None = None
    stages: Mapping[str, Mapping[str, Any] | None] | None = None
    put_back: Mapping[str, Any] | None = None
    differences: Sequence[Mapping[str, Any]] = ()


def restore_message(report: RunReport, restored: Restored) -> Message:
    """What was restored to where, or what failed."""
    outcome = "succeeded" if report.succeeded else "failed"
    details = []
    if restored.put_back is not None:
        lines = _what_is_back(report, restored.put_back["detail"])
        details.append(bullets(text(report.language, "slack.put_back"), lines))
    story = Story(
        title=text(report.language, f"slack.restore.{outcome}", site=report.site),
        summary=restored.plan["backup"] if restored.plan and report.succeeded else "",
        facts=_facts(report, restored, restored.plan) if restored.plan else (),
        warnings=restored.plan["warnings"] if restored.plan else (),
        details=[*details, *(_details(report, restored, restored.plan) if restored.plan else ())],
    )
    return framed(report, story)


def _what_is_back(report: RunReport, detail: Mapping[str, Any]) -> list[str]:
    lines = []
    if "data_directory" in detail:
        words = {"data": detail["data_directory"], "failed": detail["failed"]}
        lines.append(escape(_say(report, "slack.put_back.done", words)))
    if "files" in detail:
        names = ", ".join(component_label(report.language, name) for name in detail["files"].split(", "))
        lines.append(escape(_say(report, "slack.put_back.files", {"names": names})))
    return lines


def _say(report: RunReport, key: str, words: Mapping[str, Any]) -> str:
    return text(report.language, key, **words)


def put_back_message(report: RunReport) -> Message:
    """A rebuild failed: what failed, and that a person has to say what becomes of it."""
    title = text(report.language, "slack.after_failure", site=report.site)
    return framed(report, Story(title=title, lead=[text(report.language, "slack.after_failure.help")], asks=True))


def _difference(report: RunReport, found: Mapping[str, Any]) -> str:
    names = ("only_restored", "only_current", "changed", "same")
    counts = {name: f"{found[name]:,}" for name in names}
    return f"`{escape(found['table'])}` " + text(report.language, "slack.difference", **counts)


def _point(report: RunReport, detail: Mapping[str, Any]) -> str:
    """The point that a replay reached."""
    if not detail["transactions"]:
        return text(report.language, "slack.point.snapshot")
    gtid = f"{detail['last_gtid']} " if detail["last_gtid"] else ""
    time = datetime.fromisoformat(detail["last_at"]).astimezone(ZoneInfo(report.timezone)).isoformat(sep=" ")
    return text(
        report.language, "slack.point.reached", time=time, gtid=gtid, transactions=f"{detail['transactions']:,}"
    )


def _detail(restored: Restored, stage: str) -> Mapping[str, Any]:
    detail: Mapping[str, Any] = ((restored.stages or {}).get(stage) or {}).get("detail", {})
    return detail


def _facts(report: RunReport, restored: Restored, plan: Mapping[str, Any]) -> list[tuple[str, str]]:
    language = report.language
    environment = text(language, f"form.environment.{plan['environment']}")
    objective = text(language, "slack.rto", hours=f"{plan['rto_seconds'] / 3600:g}")
    pairs = [
        (text(language, "slack.set"), f"`{escape(plan['backup'])}` ({escape(plan['repository'])})"),
        (text(language, "slack.environment"), f"{environment}\n{escape(plan['target'])}"),
        (text(language, "slack.duration"), f"{duration(language, report.seconds)} ({objective})"),
        (
            text(language, "slack.components"),
            ", ".join(escape(component_label(language, name)) for name in plan["components"]),
        ),
    ]
    if (replayed := (restored.stages or {}).get("apply_binlogs")) is not None:
        reached = _point(report, replayed["detail"])
        if own := replayed["detail"].get("own_logs"):
            reached += "\n" + text(language, "slack.own_logs", logs=own)
        pairs.append((text(language, "slack.point"), escape(reached)))
    if restored.approval is not None:
        who = (restored.approval["responded_by_user"] or {}).get("name", "?")
        pairs.append((text(language, "slack.approved_by"), escape(who)))
    if restored.safety is not None:
        pairs.append((text(language, "slack.safety_set"), f"`{escape(restored.safety['set'])}`"))
    return pairs


def _details(report: RunReport, restored: Restored, plan: Mapping[str, Any]) -> list[Block]:
    language = report.language
    blocks: list[Block] = []
    done = [
        f"{text(language, f'stage.{name}')} {duration(language, summary['seconds'])}"
        + (f" · {human_bytes(summary['bytes_out'])}" if summary["bytes_out"] else "")
        for name in STAGES
        if (summary := (restored.stages or {}).get(name)) is not None
    ]
    if done:
        blocks.append(bullets(text(language, "slack.stages"), done))
    if restored.differences:
        lines = [_difference(report, found) for found in restored.differences]
        blocks.append(bullets(text(language, "slack.differences"), lines))
    if kept := _detail(restored, "verify_restore").get("kept_aside"):
        blocks.append(context(escape(text(language, "restore.kept_aside", paths=kept, run=plan["run"]))))
    return blocks
