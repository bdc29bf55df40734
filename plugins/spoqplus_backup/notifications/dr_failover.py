"""The messages about a failover: it waits for a person, a step is done, how the run ended."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from spoqplus_backup.messages import duration, text
from spoqplus_backup.notifications.blocks import Block, bullets, cut, escape
from spoqplus_backup.notifications.frame import Story, framed
from spoqplus_backup.notifications.message import Message
from spoqplus_backup.notifications.report import ERROR_CHARACTERS, RunReport

MOST_FINDINGS = 10
MARKS = {"success": "✅", "failed": "❌"}  # of states; every other one is not done


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
    lead = [_say(report, "approve.help")]
    return framed(report, Story(title=title, lead=lead, facts=_facts(report, found), asks=True))


def step_message(
    report: RunReport, step: str, words: str, warnings: Sequence[str], used: float, limit: float
) -> Message:
    """One step is done; it stands in the thread of its run, which the run's last message ends."""
    title = _say(report, "step", site=report.site, step=step_label(report, step))
    time = _used(report, used, limit)
    return framed(report, Story(title=title, summary=time, lead=[escape(words), time], warnings=warnings, asks=True))


def failover_message(report: RunReport, failover: Failover) -> Message:
    """How a run ended: the verdict of a rehearsal, or what of a failover is done and what is not."""
    found = failover.found or {}
    kind = "failover" if found.get("mode") == "failover" else "rehearsal"
    details = _steps(report, failover) if kind == "failover" else _fails(report, found)
    story = Story(
        title=_say(report, f"{kind}.{'succeeded' if report.succeeded else 'failed'}", site=report.site),
        facts=_facts(report, found),
        warnings=failover.warnings if kind == "failover" else found.get("warnings", ())[:MOST_FINDINGS],
        details=details,
    )
    return framed(report, story)


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


def _facts(report: RunReport, found: Mapping[str, Any]) -> list[tuple[str, str]]:
    if not found:
        return []
    language = report.language
    way = f"dr.page.way.{found['way']}" if found["way"] else "dr.page.way.none"
    lost = found["lost_minutes"].get(found["way"])
    minutes = text(language, "dr.page.unknown") if lost is None else text(language, "dr.page.minutes", minutes=lost)
    return [
        (text(language, "dr.page.reason"), escape(found["reason"])),
        (text(language, "dr.page.production"), text(language, f"dr.page.production.{found['production']}")),
        (text(language, "dr.page.way"), text(language, way)),
        (text(language, "dr.page.lost"), minutes),
    ]


def _steps(report: RunReport, failover: Failover) -> list[Block]:
    """Each step with its state, in the order of the flow; who approved it, and how long it took."""
    states = {step: state for step, state in (failover.states or {}).items() if state != "skipped"}
    done = "success" in states.values()
    lines = [f"{MARKS.get(state or '', '⬜')} {escape(step_label(report, step))}" for step, state in states.items()]
    blocks = [bullets(_say(report, "steps"), lines if done else [_say(report, "nothing_done")])]
    about = [_say(report, "approved_by", users=escape(", ".join(failover.approvers)))] if failover.approvers else []
    if done and failover.used_seconds is not None:
        about.append(_say(report, "took", used=duration(report.language, failover.used_seconds)))
    return [*blocks, *([bullets(_say(report, "about"), about)] if about else [])]


def _fails(report: RunReport, found: Mapping[str, Any]) -> list[Block]:
    """Why a failover would fail."""
    fails = found.get("fails", ())
    lines = [escape(cut(line, ERROR_CHARACTERS)) for line in fails[:MOST_FINDINGS]]
    if (left := len(fails) - MOST_FINDINGS) > 0:
        lines.append(text(report.language, "slack.more", count=left))
    return [bullets(_say(report, "fails"), lines)] if lines else []
