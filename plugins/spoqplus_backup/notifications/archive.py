"""The messages about the archive of binary logs and about incremental backups."""

from collections.abc import Mapping
from dataclasses import dataclass
from datetime import datetime
from typing import Any

from spoqplus_backup.core.progress import human_bytes
from spoqplus_backup.messages import Language, duration, gap_text, local_time, notice_text, text
from spoqplus_backup.notifications.blocks import escape
from spoqplus_backup.notifications.frame import Story, framed
from spoqplus_backup.notifications.message import Message
from spoqplus_backup.notifications.report import RunReport

HOUR = 3600


@dataclass(frozen=True)
class Archived:
    """What the tasks of an archive left in XCom, each None when the run did not get there.

    `verified` is `core.archive.summary.ArchiveSummary`, `gap` is `core.manifest.Gap`, as JSON.
    """

    verified: Mapping[str, Any] | None = None
    gap: Mapping[str, Any] | None = None

    def warnings(self, language: Language, *, only_new: bool = False) -> list[str]:
        """What puts the archive at risk; only what did not at the last run, when that is asked for."""
        found = self.verified["new_warnings" if only_new else "warnings"] if self.verified else ()
        return [notice_text(language, warning) for warning in found]

    @property
    def point(self) -> Mapping[str, Any] | None:
        """The measured recovery point."""
        return self.verified["recovery_point"] if self.verified else None

    def is_late(self, hours: float) -> bool:
        """Whether more would be lost than was promised."""
        if self.point is None:
            return False
        seconds = seconds_lost(self.point)
        return seconds is None or seconds > hours * HOUR


def seconds_lost(point: Mapping[str, Any]) -> float | None:
    """The measured RPO of a recovery point as JSON."""
    if point["complete_until"] is None:
        return None
    measured, complete = (datetime.fromisoformat(_plain(point[name])) for name in ("measured_at", "complete_until"))
    return max(0.0, (measured - complete).total_seconds())


def _plain(moment: str) -> str:
    return moment.replace("Z", "+00:00")  # Python 3.10 reads no Z


def archive_message(report: RunReport, archived: Archived, rpo_hours: float) -> Message:
    """What failed, which gap was found, how late the archive is, or what is new to warn of."""
    if archived.gap:
        outcome = "gap"
    elif not report.succeeded:
        outcome = "failed"
    else:
        outcome = "late" if archived.is_late(rpo_hours) else "warned"
    gap = archived.gap
    story = Story(
        title=text(report.language, f"slack.archive.{outcome}", site=report.site),
        lead=_gap_words(report, archived),
        facts=_point_fields(report, archived.point, rpo_hours) if archived.point is not None else (),
        warnings=archived.warnings(report.language, only_new=True),
        cause=f"gap {gap['reason']}" if gap else "late" if outcome == "late" else None,
    )
    return framed(report, story)


def incremental_message(
    report: RunReport, archived: Archived, published: Mapping[str, Any] | None, rpo_hours: float
) -> Message:
    """What the set covers, or what failed.

    Args:
        report: how the run ended.
        archived: what the archive's tasks left.
        published: `core.archive.incremental.PublishedIncremental` as JSON; None when the run did not get that far.
        rpo_hours: what was promised.
    """
    language = report.language
    outcome = "failed" if not report.succeeded else "succeeded" if published and published["set"] else "nothing"
    point = published["recovery_point"] if published else archived.point
    facts = _set_fields(report, published) if published else []
    if point is not None:
        facts += _point_fields(report, point, rpo_hours)
    story = Story(
        title=text(language, f"slack.incremental.{outcome}", site=report.site),
        summary=published["set"] or "" if published and report.succeeded else "",
        lead=_gap_words(report, archived),
        facts=facts,
        warnings=archived.warnings(language) if published else (),
    )
    return framed(report, story)


def _set_fields(report: RunReport, published: Mapping[str, Any]) -> list[tuple[str, str]]:
    language = report.language
    after = (text(language, "slack.follows"), f"`{escape(published['after'])}`")
    if published["set"] is None:
        return [after]
    times = [_time(report, published[name]) for name in ("first_at", "last_at")]
    logs = text(language, "slack.logs.amount", logs=published["logs"], transactions=f"{published['transactions']:,}")
    return [
        (text(language, "slack.set"), f"`{escape(published['set'])}`"),
        after,
        (text(language, "slack.covers"), f"{times[0]} – {times[1]}"),
        (text(language, "slack.logs"), logs),
        (
            text(language, "slack.size"),
            f"{human_bytes(published['stored_bytes'])} / {human_bytes(published['raw_bytes'])}",
        ),
    ]


def _point_fields(report: RunReport, point: Mapping[str, Any], rpo_hours: float) -> list[tuple[str, str]]:
    language, seconds = report.language, seconds_lost(point)
    promised = text(language, "slack.rto", hours=f"{rpo_hours:g}")
    measured = "-" if seconds is None else duration(language, seconds)
    return [
        (text(language, "slack.rpo"), f"{measured} ({promised})"),
        (text(language, "slack.complete_until"), _time(report, point["complete_until"])),
    ]


def _gap_words(report: RunReport, archived: Archived) -> list[str]:
    if archived.gap is None:
        return []
    return [
        text(
            report.language,
            "slack.gap",
            words=escape(gap_text(report.language, archived.gap)),
            lost_from=_time(report, archived.gap["lost_from"]),
            lost_until=_time(report, archived.gap["lost_until"]),
        )
    ]


def _time(report: RunReport, moment: str | None) -> str:
    return local_time(_plain(moment), report.timezone) if moment else text(report.language, "gap.unknown")
