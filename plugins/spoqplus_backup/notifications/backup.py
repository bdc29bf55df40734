"""The message about a backup."""

from collections.abc import Mapping, Sequence
from typing import Any

from spoqplus_backup.core.progress import human_bytes
from spoqplus_backup.messages import Language, component_label, duration, notice_text, text
from spoqplus_backup.notifications.blocks import Block, bullets, escape
from spoqplus_backup.notifications.frame import Story, framed
from spoqplus_backup.notifications.message import Message
from spoqplus_backup.notifications.report import RunReport, coordinates_line

STAGES = ("dump", "archive", "sync", "export", "compress", "encrypt", "upload")


def backup_message(report: RunReport, published: Mapping[str, Any] | None, warnings: Sequence[str] = ()) -> Message:
    """What was published, or what failed.

    Args:
        report: how the run ended.
        published: `core.publish.Published` as JSON; None when the run did not get that far.
        warnings: of tasks beside the set, in the site's language.
    """
    outcome = "succeeded" if report.succeeded else "failed"
    notices = published["warnings"] if published else ()
    story = Story(
        title=text(report.language, f"slack.backup.{outcome}", site=report.site),
        summary=published["set"] if published and report.succeeded else "",
        facts=_facts(report, published) if published else (),
        warnings=[*(notice_text(report.language, item) for item in notices), *warnings],
        details=[_components(report.language, published)] if published else (),
        footer=_footer(report, published) if published else (),
    )
    return framed(report, story)


def _facts(report: RunReport, published: Mapping[str, Any]) -> list[tuple[str, str]]:
    language = report.language
    sizes = f"{human_bytes(published['stored_bytes'])} / {human_bytes(published['raw_bytes'])}"
    return [
        (text(language, "slack.set"), f"`{escape(published['set'])}`"),
        (text(language, "slack.duration"), duration(language, report.seconds)),
        (text(language, "slack.size"), sizes),
        (text(language, "slack.change"), _change(language, published)),
    ]


def _components(language: Language, published: Mapping[str, Any]) -> Block:
    lines = [_component(language, component) for component in published["components"]]
    return bullets(text(language, "slack.components"), lines)


def _change(language: Language, published: Mapping[str, Any]) -> str:
    before = published["previous_stored_bytes"]
    if not before:
        return text(language, "slack.first")
    difference = published["stored_bytes"] - before
    return f"{difference / before:+.1%} ({'+' if difference >= 0 else '-'}{human_bytes(abs(difference))})"


def _component(language: Language, component: Mapping[str, Any]) -> str:
    seconds = component["seconds"]
    times = [
        f"{text(language, f'stage.{stage}')} {duration(language, seconds[stage])}"
        for stage in STAGES
        if stage in seconds
    ]
    sizes = f"{human_bytes(component['raw_bytes'])} → {human_bytes(component['stored_bytes'])}"
    return " · ".join([f"{escape(component_label(language, component['name']))} {sizes}", *times])


def _footer(report: RunReport, published: Mapping[str, Any]) -> list[str]:
    parts = [escape(published["server"])]
    if line := coordinates_line(published["coordinates"]):
        parts.append(f"{text(report.language, 'slack.coordinates')} `{escape(line)}`")
    return parts
