"""The watchdog's message: what is wrong now, and what can wait for the morning."""

from collections.abc import Sequence

from spoqplus_backup.core.monitor.findings import Finding
from spoqplus_backup.core.settings import Settings
from spoqplus_backup.messages import text
from spoqplus_backup.notifications.blocks import bullets, escape
from spoqplus_backup.notifications.frame import Story, framed
from spoqplus_backup.notifications.message import Message
from spoqplus_backup.notifications.report import RunReport
from spoqplus_backup.watchdog_text import finding_words


def watchdog_message(report: RunReport, settings: Settings, found: Sequence[Finding] | None) -> Message:
    """What was found; None: the watchdog itself could not look.

    What is wrong is known again by its kinds and subjects, so that the same is told once and not each hour.
    """
    language = report.language
    if found is None:
        return framed(report, Story(title=text(language, "slack.watchdog.failed", site=report.site)))
    worst = "critical" if any(item.severity == "critical" for item in found) else "warning"
    details = [
        bullets(text(language, f"slack.watchdog.{when}"), lines)
        for when, severity in (("now", "critical"), ("morning", "warning"))
        if (lines := [escape(finding_words(settings, item)) for item in found if item.severity == severity])
    ]
    story = Story(
        title=text(language, f"slack.watchdog.{worst}", site=report.site),
        summary=finding_words(settings, found[0]),
        details=details,
        cause=" ".join(sorted(item.key for item in found)),
    )
    return framed(report, story)
