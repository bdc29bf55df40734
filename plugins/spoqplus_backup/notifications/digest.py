"""The monthly digest: whether the promises were kept, in numbers, and what will run out."""

from collections.abc import Mapping
from datetime import datetime, timedelta
from typing import Any
from zoneinfo import ZoneInfo

from spoqplus_backup.core.monitor.growth import Growth, Outlook
from spoqplus_backup.core.monitor.month import CadenceKept, Month
from spoqplus_backup.core.progress import human_bytes
from spoqplus_backup.messages import duration, text
from spoqplus_backup.notifications.blocks import Block, bullets, escape
from spoqplus_backup.notifications.frame import Story, framed
from spoqplus_backup.notifications.message import Message
from spoqplus_backup.notifications.report import RunReport

HOUR = 3600
SOON_DAYS = 90  # a disk that is full by then deserves a warning
GOOD, BAD = "✅", "⚠️"


def digest_message(report: RunReport, found: Mapping[str, Any] | None) -> Message:
    """The month before.

    Args:
        report: how the run ended.
        found: `core.monitor.month.Month` as JSON; None when the run did not get that far.
    """
    if found is None:
        return framed(report, Story(title=text(report.language, "slack.digest.failed", site=report.site)))
    month = Month.model_validate(found)
    verdict = "good" if month.is_good else "bad"
    name = f"{month.start.astimezone(ZoneInfo(report.timezone)):%Y-%m}"
    story = Story(
        title=text(report.language, f"slack.digest.{verdict}", site=report.site, month=name),
        facts=[*_promises(report, month), *_numbers(report, month)],
        warnings=[
            text(report.language, "slack.digest.down", repository=state.name, error=state.error)
            for state in month.repositories
            if state.error is not None
        ],
        details=_details(report, month),
    )
    return framed(report, story)


def _promises(report: RunReport, month: Month) -> list[tuple[str, str]]:
    language = report.language
    held = text(language, "slack.digest.copies", count=f"{month.copies.value or 0:g}")
    return [
        (text(language, "slack.digest.rpo"), _loss(report, month)),
        (text(language, "slack.digest.rto"), _recovery(report, month)),
        (text(language, "slack.digest.tests"), _tests(report, month)),
        (text(language, "slack.digest.rule"), f"{_mark(month.copies.ok is True)} {held}"),
    ]


def _loss(report: RunReport, month: Month) -> str:
    loss = month.loss
    if loss is None:
        return f"{BAD} {text(report.language, 'slack.digest.unknown')}"
    promised = text(report.language, "slack.rto", hours=f"{loss.limit_seconds / HOUR:g}")
    worst = text(
        report.language,
        "slack.digest.worst",
        time=duration(report.language, loss.worst_seconds),
        at=_time(report, loss.worst_at),
    )
    share = text(report.language, "slack.digest.share", share=_share(loss.share))
    if loss.known_from - month.start > timedelta(days=1):
        share += " " + text(report.language, "slack.digest.since", at=_day(report, loss.known_from))
    return f"{_mark(loss.worst_seconds <= loss.limit_seconds)} {worst} ({promised})\n{share}"


def _share(value: float) -> str:
    """Never 100 % when it is not all of it."""
    return "100%" if value == 1 else f"{min(value, 0.9999):.2%}"


def _recovery(report: RunReport, month: Month) -> str:
    measured = [test.rto_seconds for test in month.tests if test.rto_seconds is not None]
    if not measured:
        return f"{BAD} {text(report.language, 'slack.digest.unknown')}"
    good = all(test.in_time for test in month.tests if test.rto_seconds is not None)
    promised = text(report.language, "slack.rto", hours=f"{month.rto_limit_seconds / HOUR:g}")
    return f"{_mark(good)} {duration(report.language, max(measured))} ({promised})"


def _tests(report: RunReport, month: Month) -> str:
    passed = sum(test.verdict == "passed" for test in month.tests)
    words = text(report.language, "slack.digest.tested", passed=passed, failed=len(month.tests) - passed)
    return f"{_mark(bool(month.tests) and passed == len(month.tests))} {words}"


def _numbers(report: RunReport, month: Month) -> list[tuple[str, str]]:
    gone = text(report.language, "slack.digest.deleted", sets=month.deleted, size=human_bytes(month.freed))
    grown = text(report.language, "slack.digest.unknown") if month.growth is None else _growth(month.growth)
    return [(text(report.language, "slack.digest.growth"), grown), (text(report.language, "slack.digest.gone"), gone)]


def _growth(grown: Growth) -> str:
    sign = "+" if grown.bytes >= 0 else "-"
    more = f"{sign}{human_bytes(abs(grown.bytes))}, {grown.share:+.1%}"
    return f"{human_bytes(grown.first_bytes)} → {human_bytes(grown.last_bytes)} ({more})"


def _details(report: RunReport, month: Month) -> list[Block]:
    blocks = []
    if month.cadences:
        lines = [_cadence(report, item) for item in month.cadences]
        blocks.append(bullets(text(report.language, "slack.digest.backups"), lines))
    if month.outlooks:
        lines = [_outlook(report, month.as_of, item) for item in month.outlooks]
        blocks.append(bullets(text(report.language, "slack.digest.disks"), lines))
    return blocks


def _cadence(report: RunReport, item: CadenceKept) -> str:
    counts = {name: getattr(item, name) for name in ("kept", "scheduled", "failed", "missing", "made")}
    mark = _mark(not (item.failed or item.missing))
    name = text(report.language, f"slack.digest.cadence.{item.cadence}")
    words = text(report.language, f"slack.digest.{'kept' if item.scheduled else 'made'}", **counts)
    return f"{mark} {name}: {words}"


def _outlook(report: RunReport, now: datetime, item: Outlook) -> str:
    name = text(report.language, "slack.digest.staging") if item.name == "staging" else f"`{escape(item.name)}`"
    room = text(
        report.language, "slack.digest.room", free=human_bytes(item.disk.free), total=human_bytes(item.disk.total)
    )
    days = item.full_in_days
    key = "never" if days is None else "now" if days == 0 else "on"
    at = _day(report, now + timedelta(days=days or 0))
    full = text(report.language, f"slack.digest.full.{key}", at=at)
    return f"{_mark(days is None or days > SOON_DAYS)} {name}: {room} · {full}"


def _mark(good: bool) -> str:
    return GOOD if good else BAD


def _day(report: RunReport, moment: datetime) -> str:
    return f"{moment.astimezone(ZoneInfo(report.timezone)):%Y-%m-%d}"


def _time(report: RunReport, moment: datetime) -> str:
    return f"{moment.astimezone(ZoneInfo(report.timezone)):%m-%d %H:%M}"
