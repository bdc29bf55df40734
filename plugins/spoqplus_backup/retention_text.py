"""A retention's plan and report as a person reads them: Markdown, in the site's language."""

from collections import Counter
from collections.abc import Iterable, Iterator, Sequence
from itertools import groupby
from zoneinfo import ZoneInfo

from spoqplus_backup.core.progress import human_bytes
from spoqplus_backup.core.repository.retention_model import Decision, RepositoryPlan
from spoqplus_backup.core.retention.report import RetentionReport
from spoqplus_backup.core.settings import Settings
from spoqplus_backup.messages import text

MOST_ROWS = 60  # in the UI and in XCom; the log has all
MOST_CHARACTERS = 300  # of a reason there


def plan_markdown(settings: Settings, repository: str, plan: RepositoryPlan, most_rows: int | None = None) -> str:
    """The table of what goes and what stays, each with its reason.

    Args:
        settings: the site.
        repository: its name.
        plan: what was decided.
        most_rows: show no more of each kind; all when None.
    """
    language = settings.language
    gone = plan.deletions
    counts = text(
        language,
        "retention.counts",
        delete=f"{len(gone):,}",
        size=human_bytes(sum(item.bytes for item in gone)),
        keep=f"{len(plan.decisions) - len(gone):,}",
        share=f"{plan.share:.0%}",
        maximum=f"{plan.maximum_share:.0%}",
    )
    parts = [f"### {text(language, 'retention.title', site=settings.site, repository=repository)}", counts]
    if plan.nothing_good:
        parts.append(f"**{text(language, 'retention.nothing_good')}**")
    parts += [f"**{text(language, 'retention.unread', repository=name)}**" for name in plan.unread]
    if plan.needs_approval:
        parts.append(f"**{text(language, 'retention.needs_approval')}**")
    for keep in (False, True):
        rows = list(_rows(settings, [item for item in plan.decisions if item.keep == keep]))
        if rows:
            parts.append(_table(settings, keep, rows, most_rows))
    return "\n\n".join(parts)


def _table(settings: Settings, keep: bool, rows: Sequence[str], most_rows: int | None) -> str:
    language = settings.language
    names = [text(language, f"retention.column.{name}") for name in ("what", "at", "size", "why")]
    shown = list(rows if most_rows is None else rows[:most_rows])
    if left := len(rows) - len(shown):
        shown.append(f"| {text(language, 'slack.more', count=left)} | | | |")
    title = text(language, "retention.keep" if keep else "retention.delete")
    return "\n".join([f"#### {title}", "", f"| {' | '.join(names)} |", "|---|---|---:|---|", *shown])


def _rows(settings: Settings, decisions: Sequence[Decision]) -> Iterator[str]:
    """A line for each thing; logs of one timeline that share a reason are one line."""
    logs = [item for item in decisions if item.kind == "log"]
    for item in decisions:
        if item.kind != "log":
            yield _row(settings, f"`{item.name}`{_kind(settings, item)}", [item])
    for (timeline, _), group in groupby(logs, key=lambda item: (item.name.rpartition("/")[0], _reason(settings, item))):
        run = list(group)
        first, last = (item.name.rpartition("/")[2] for item in (run[0], run[-1]))
        span = first if first == last else f"{first} – {last.rpartition('.')[2]} ({len(run):,})"
        yield _row(settings, f"`{timeline}` {span}", run)


def _row(settings: Settings, what: str, items: Sequence[Decision]) -> str:
    zone = ZoneInfo(settings.timezone)
    at = items[-1].at.astimezone(zone)
    size = human_bytes(sum(item.bytes for item in items))
    return f"| {what} | {at:%Y-%m-%d %H:%M} | {size} | {_cell(_reason(settings, items[0]))} |"


def _kind(settings: Settings, item: Decision) -> str:
    return "" if item.kind in ("set", "faces") else f" ({text(settings.language, f'retention.kind.{item.kind}')})"


def _reason(settings: Settings, item: Decision) -> str:
    return text(settings.language, f"retention.reason.{item.reason}", detail=item.detail).strip()


def _cell(value: str) -> str:
    value = value if len(value) <= MOST_CHARACTERS else value[: MOST_CHARACTERS - 1] + "…"
    return value.replace("|", "\\|").replace("\n", " ")


def problems(settings: Settings, plan: RepositoryPlan) -> list[str]:
    """What a person should look at: what can't be trusted, what is damaged, what a wrong clock made."""
    found = [text(settings.language, "retention.nothing_good")] if plan.nothing_good else []
    found += [text(settings.language, "retention.unread", repository=name) for name in plan.unread]
    return found + [
        f"{item.name}: {_reason(settings, item)}"
        for item in plan.decisions
        if item.keep and item.reason in ("untrusted", "damaged", "future")
    ]


def why_kept(plan: RepositoryPlan) -> dict[str, int]:
    """How many things stay for which reason."""
    return dict(Counter(item.reason for item in plan.decisions if item.keep).most_common())


def report_line(settings: Settings, report: RetentionReport) -> str:
    """What went from a repository, in a line."""
    return text(
        settings.language,
        "retention.report",
        repository=report.repository,
        sets=report.count("sets"),
        logs=f"{report.logs:,}",
        unfinished=report.count("unfinished"),
        uploads=report.uploads,
        faces=f"{report.faces:,}",
        size=human_bytes(report.bytes),
    )


def report_markdown(settings: Settings, reports: Iterable[RetentionReport]) -> str:
    """What went from each repository, and what did not."""
    lines = []
    for report in reports:
        lines.append(f"- {report_line(settings, report)}")
        lines += [f"  - `{name}`" for name in (*report.sets, *report.unfinished)]
        lines += [f"  - ⚠️ {words}" for words in (*report.refused, *report.spared)]
        if left := sum(report.left_out.values()):
            lines.append(f"  - {text(settings.language, 'slack.more', count=left)}")
    return "\n".join(lines)
