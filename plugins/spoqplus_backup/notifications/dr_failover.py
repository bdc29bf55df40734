"""The messages about a failover: it waits for a person, a step is done, how the run ended."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from spoqplus_backup.messages import duration, text
from spoqplus_backup.notifications.blocks import Block, bullets, context, cut, divider, escape, fields, header, section
from spoqplus_backup.notifications.report import ERROR_CHARACTERS, RunReport, failure_block, run_link
from spoqplus_backup.notifications.slack import Message

MOST_FINDINGS = 10
MARKS = {"success": "✅", "failed": "❌", "skipped": "➖"}  # of states; every other one is not done
REHEARSAL = "rehearsal"


@dataclass(frozen=True)
class Failover:
    """What a run left in XCom. `found` is the summary of `assess`, `states` those of the steps, in their order."""

    found: Mapping[str, Any] | None = None
    states: Mapping[str, str | None] | None = None
    approvers: tuple[str, ...] = ()
    used_seconds: float | None = None
    warnings: tuple[str, ...] = ()


def approval_message(report: RunReport, found: Mapping[str, Any], *, first: bool) -> Message:
    """A failover waits for the first, or for the second person."""
    title = _say(report, f"approve.{'first' if first else 'second'}", site=report.site)
    blocks = [header(title), *_found_blocks(report, found), context(_say(report, "approve.help"))]
    return Message(text=title, blocks=[*blocks, divider(), context(run_link(report))])


def step_message(
    report: RunReport, step: str, words: str, warnings: Sequence[str], used: float, limit: float
) -> Message:
    """One step is done."""
    title = _say(report, "step", site=report.site, step=step_label(report, step))
    blocks = [header(title), section(f"{escape(words)}\n{_used(report, used, limit)}")]
    if warnings:
        blocks.append(bullets(text(report.language, "slack.warnings"), [escape(line) for line in warnings]))
    return Message(text=f"{title} · {_used(report, used, limit)}", blocks=[*blocks, context(run_link(report))])


def failover_message(report: RunReport, failover: Failover) -> Message:
    """How a run ended: the verdict of a rehearsal, or what of a failover is done and what is not."""
    found = failover.found or {}
    kind = "failover" if found.get("mode") == "failover" else "rehearsal"
    title = _say(report, f"{kind}.{'succeeded' if report.succeeded else 'failed'}", site=report.site)
    blocks = [header(title)]
    if report.failures:
        blocks.append(failure_block(report))
    if found:
        blocks += _found_blocks(report, found)
    if kind == "failover":
        blocks += _steps(report, failover)
    elif found:
        blocks += _listed(report, "fails", found["fails"]) + _listed(report, "warnings", found["warnings"])
    return Message(text=title, blocks=[*blocks, divider(), context(run_link(report))])


def step_label(report: RunReport, step: str) -> str:
    """A step's name as the graph has it."""
    return text(report.language, f"stage.{step.rpartition('.')[2]}")


def _say(report: RunReport, key: str, **values: object) -> str:
    return text(report.language, f"dr.slack.{key}", **values)


def _used(report: RunReport, used: float, limit: float) -> str:
    mark = "⏱️" if used <= limit else "❌"
    return f"{mark} " + _say(
        report, "used", used=duration(report.language, used), limit=duration(report.language, limit)
    )


def _found_blocks(report: RunReport, found: Mapping[str, Any]) -> list[Block]:
    if not found:
        return []
    page = f"dr.page.way.{found['way']}" if found["way"] else "dr.page.way.none"
    lost = found["lost_minutes"].get(found["way"])
    pairs = [
        (text(report.language, "dr.page.reason"), escape(found["reason"])),
        (
            text(report.language, "dr.page.production"),
            text(report.language, f"dr.page.production.{found['production']}"),
        ),
        (text(report.language, "dr.page.way"), text(report.language, page)),
        (
            text(report.language, "dr.page.lost"),
            text(report.language, "dr.page.unknown")
            if lost is None
            else text(report.language, "dr.page.minutes", minutes=lost),
        ),
    ]
    return [fields(pairs)]


def _steps(report: RunReport, failover: Failover) -> list[Block]:
    states = failover.states or {}
    done = [step for step, state in states.items() if state == "success"]
    lines = [
        f"{MARKS.get(state or '', '⬜')} {escape(step_label(report, step))}"
        for step, state in states.items()
        if state != "skipped"
    ]
    if not done:
        lines = [_say(report, "nothing_done")]
    blocks = [bullets(_say(report, "steps"), lines)]
    if failover.approvers:
        blocks.append(context(_say(report, "approved_by", users=escape(", ".join(failover.approvers)))))
    if failover.used_seconds is not None and done:
        blocks.append(context(_say(report, "took", used=duration(report.language, failover.used_seconds))))
    return blocks + _listed(report, "warnings", failover.warnings)


def _listed(report: RunReport, kind: str, lines: Sequence[str]) -> list[Block]:
    if not lines:
        return []
    shown = [escape(cut(line, ERROR_CHARACTERS)) for line in lines[:MOST_FINDINGS]]
    if (left := len(lines) - MOST_FINDINGS) > 0:
        shown.append(text(report.language, "slack.more", count=left))
    return [bullets(_say(report, kind), shown)]
