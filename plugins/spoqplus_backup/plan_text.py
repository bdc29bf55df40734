"""A restore's plan as a person reads it before approving it: Markdown, in the site's language."""

from collections.abc import Sequence
from datetime import datetime
from pathlib import Path
from typing import Any
from zoneinfo import ZoneInfo

from spoqplus_backup.core.connections import Connections
from spoqplus_backup.core.mysql.difference import TableDifference
from spoqplus_backup.core.progress import human_bytes
from spoqplus_backup.core.recovery.files.plan import PlannedFiles
from spoqplus_backup.core.recovery.find import Effort, find_in_first, read_search
from spoqplus_backup.core.recovery.plan import RestorePlan
from spoqplus_backup.core.recovery.request import RestoreRequest
from spoqplus_backup.core.recovery.windows import Window, unreachable
from spoqplus_backup.core.settings import Settings
from spoqplus_backup.messages import component_label, duration, notice_text, text

MOST_OBJECTS = 40
FOUND_LIMIT = 50  # candidates that a run of the DAG lists


def plan_markdown(settings: Settings, plan: RestorePlan) -> str:
    """What will be restored from where to where, what it overwrites, how long it should take, and what to mind."""
    language = settings.language

    def say(key: str, **fields: object) -> str:
        return text(language, f"plan.{key}", **fields)

    made = plan.backup_finished_at.astimezone(ZoneInfo(settings.timezone))
    environment = text(language, f"form.environment.{plan.request.environment}")
    objective = text(language, "slack.rto", hours=f"{plan.rto_seconds / 3600:g}")
    point, replay = _point(settings, plan)
    facts = {
        "backup": f"`{plan.backup}` ({made:%Y-%m-%d %H:%M %Z}, {plan.backup_server})",
        "repository": plan.repository,
        "target": f"**{environment}**: {plan.target}",
        "components": ", ".join(component_label(language, name) for name in plan.component_names),
        "place": say(f"place.{plan.place}") if plan.place != "server" else "",
        "into_schema": f"`{plan.request.into_schema}`" if plan.request.into_schema else "",
        "point": point,
        "fetch": human_bytes(plan.fetch_bytes),
        "load": say("load.amount", size=human_bytes(plan.sql_bytes), rows=f"{plan.rows:,}", objects=f"{plan.objects:,}")
        if plan.has_database
        else "",
        "replay": replay,
        "duration": f"{duration(language, plan.seconds)} ({objective})",
    }
    rows = [f"| {say(key)} | {_cell(value)} |" for key, value in facts.items() if value]
    parts = [
        f"### {say('title', site=settings.site)}",
        "\n".join(["| | |", "|---|---|", *rows]),
        *([_overwrites(settings, plan)] if plan.has_database else []),
        *(_files(settings, planned) for planned in plan.files),
    ]
    if plan.windows:
        parts.append(
            "\n".join([f"#### {say('windows')}", "", *(f"- {line}" for line in window_lines(settings, plan.windows))])
        )
    if warnings := plan_warnings(settings, plan):
        parts.append("\n".join([f"#### {say('warnings')}", "", *(f"- {warning}" for warning in warnings)]))
    return "\n\n".join(parts)


def differences_markdown(settings: Settings, found: Sequence[TableDifference]) -> str:
    """Rows of then and now, table by table, with keys of the first ones that differ."""
    language = settings.language
    kinds = ("only_restored", "only_current", "changed", "same")
    head = [text(language, f"difference.{name}") for name in ("table", *kinds, "samples")]
    lines = [f"| {' | '.join(head)} |", "|---|---|---|---|---|---|"]
    for one in found:
        samples = "; ".join(
            f"{text(language, f'difference.{kind}')}: {', '.join(keys)}" for kind, keys in one.samples.items()
        )
        counts = [f"{getattr(one, kind):,}" for kind in kinds]
        lines.append(f"| {' | '.join(_cell(value) for value in (f'`{one.table}`', *counts, samples))} |")
    return "\n".join([f"### {text(language, 'difference.title', site=settings.site)}", "", *lines])


def plan_warnings(settings: Settings, plan: RestorePlan) -> list[str]:
    """What to mind, a sentence each."""
    found = [notice_text(settings.language, warning.model_dump()) for warning in plan.warnings]
    if plan.replay is not None and plan.replay.target.zone is not None:
        found.append(text(settings.language, "plan.point.zone", zone=plan.replay.target.zone))
    if plan.replay is not None and plan.replay.back_seconds:
        found.append(text(settings.language, "plan.back", seconds=f"{plan.replay.back_seconds:g}"))
    return found


def _point(settings: Settings, plan: RestorePlan) -> tuple[str, str]:
    """The target, and what is replayed to get there; empty without one."""
    replay = plan.replay
    if replay is None:
        return "", ""
    language, target = settings.language, replay.target
    wished = local_time(settings, target.time) if target.time else target.text
    if target.is_end:
        wished = text(language, "plan.point.end")
    place = {"time": wished, "gtid": wished}
    end = text(language, "plan.replay.end") if replay.stop is None else str(replay.stop)
    last = local_time(settings, replay.last_at) if replay.last_at else text(language, "plan.replay.nothing")
    return text(language, f"plan.point.{target.parameter}", **place), text(
        language,
        "plan.replay.amount",
        transactions=f"{replay.transactions:,}",
        last=last,
        logs=len(replay.logs),
        first=replay.logs[0].name,
        start=replay.start,
        final=replay.logs[-1].name,
        stop=end,
        size=human_bytes(replay.bytes),
        timeline=replay.timeline,
        seconds=duration(language, replay.seconds),
    )


def local_time(settings: Settings, time: datetime) -> str:
    """A time of the site's zone, as exact as it is known, in a form that `to_time` takes."""
    return time.astimezone(ZoneInfo(settings.timezone)).isoformat(sep=" ")


def window_lines(settings: Settings, windows: Sequence[Window]) -> list[str]:
    """A line for each full backup's window, and for each stretch between them."""
    language = settings.language

    def between(start: datetime, end: datetime) -> dict[str, str]:
        return {"start": local_time(settings, start), "end": local_time(settings, end)}

    lines = [
        text(language, "plan.window", backup=window.backup, **between(window.start, window.end))
        + (f" ({window.problem})" if window.problem else "")
        for window in windows
    ]
    return lines + [
        text(language, "plan.unreachable", reason=gap.reason, **between(gap.start, gap.end))
        for gap in unreachable(windows)
    ]


def found_markdown(settings: Settings, connections: Connections, request: RestoreRequest) -> tuple[str, dict[str, Any]]:
    """Look for transactions: a table of them as Markdown, and a summary for XCom."""
    search = read_search(
        request.find_tables, request.find_kinds, request.find_since, None, settings.timezone, FOUND_LIMIT
    )
    effort = Effort()
    candidates = list(find_in_first(settings, connections, request.repository, search, effort))
    language = settings.language
    columns = ("at", "point", "table", "rows", "statement")
    rows = [
        (
            local_time(settings, candidate.at),
            f"`{candidate.point}`",
            ", ".join(f"`{found.table}` {found.kind}" for found in candidate.found),
            ", ".join("-" if found.rows is None else f"{found.rows:,}" for found in candidate.found),
            f"`{candidate.statement.replace('`', chr(39))}`",
        )
        for candidate in candidates
    ]
    lines = [
        f"| {' | '.join(text(language, f'find.{column}') for column in columns)} |",
        "|---|---|---|---|---|",
        *(f"| {' | '.join(map(_cell, row))} |" for row in rows),
    ]
    parts = [
        f"### {text(language, 'find.title', site=settings.site, count=len(candidates))}",
        "\n".join(lines) if candidates else text(language, "find.nothing"),
        effort_line(settings, effort),
    ]
    if len(candidates) == search.limit:
        parts.append(text(language, "find.more", limit=search.limit))
    summary = {"found": [candidate.model_dump(mode="json") for candidate in candidates], "logs_read": effort.read}
    return "\n\n".join(parts), summary


def effort_line(settings: Settings, effort: Effort) -> str:
    """How much was read for a search."""
    return text(
        settings.language,
        "find.effort",
        logs=effort.logs,
        read=effort.read,
        fetched=human_bytes(effort.fetched_bytes),
        size=human_bytes(effort.read_bytes),
        transactions=f"{effort.transactions:,}",
    )


def _files(settings: Settings, planned: PlannedFiles) -> str:
    """A component of files: how much of it comes from which sets to where, and what is there now."""
    language = settings.language

    def say(key: str, **fields: object) -> str:
        return text(language, f"plan.files.{key}", **fields)

    facts = {
        "amount": say("amount.of", files=f"{planned.files:,}", size=human_bytes(planned.bytes)),
        "archives": " → ".join(f"`{archive.set}`" for archive in planned.archives),
        "root": ", ".join(f"`{Path(planned.root, top)}`" for top in planned.tops[:MOST_OBJECTS]),
        "paths": ", ".join(f"`{path}`" for path in planned.paths),
        "duration": duration(language, planned.seconds),
    }
    lines = [f"| {say(key)} | {_cell(value)} |" for key, value in facts.items() if value]
    parts = [f"#### {component_label(language, planned.name)}", "\n".join(["| | |", "|---|---|", *lines])]
    if not planned.replaces:
        parts.append(say("nothing"))
    else:
        places = ", ".join(f"`{place}`" for place in planned.replaces[:MOST_OBJECTS])
        parts.append(say("replaces.chosen" if planned.paths else "replaces", places=places))
    if planned.deleted:
        names = ", ".join(f"`{name}`" for name in planned.deleted)
        parts.append(say("deleted", count=f"{planned.deleted_count:,}", names=names))
    return "\n\n".join(parts)


def _overwrites(settings: Settings, plan: RestorePlan) -> str:
    language = settings.language
    if not plan.overwrites:
        return text(language, "plan.overwrites.nothing")
    lines = [f"- `{database}.{name}`" for database, name in plan.overwrites[:MOST_OBJECTS]]
    if (left := len(plan.overwrites) - MOST_OBJECTS) > 0:
        lines.append(f"- {text(language, 'slack.more', count=left)}")
    return "\n".join([f"#### {text(language, 'plan.overwrites', count=len(plan.overwrites))}", "", *lines])


def _cell(value: str) -> str:
    return value.replace("|", "\\|")
