"""The page that `assess` writes, for those who approve a failover: Markdown, in the site's language."""

from collections.abc import Iterator
from datetime import datetime
from zoneinfo import ZoneInfo

from spoqplus_backup.core.dr.findings import Assessment, Finding, Verdict, WayOut
from spoqplus_backup.core.settings import Settings
from spoqplus_backup.messages import duration, notice_text, text

ICONS: dict[Verdict, str] = {"fails": "❌", "warning": "⚠️", "good": "✅"}
MOST_CHARACTERS = 400  # of one finding


def assessment_markdown(settings: Settings, found: Assessment) -> str:
    """The verdict on production, what each way would lose, what would change, and every finding; the worst first."""
    parts = [
        f"### {_say(settings, f'title.{found.request.mode}', site=settings.site)}",
        _table(_facts(settings, found)),
        f"#### {_say(settings, 'ways')}",
        "\n".join(_ways(settings, found)),
    ]
    for name, lines in (("changes", found.changes), ("resources", found.resources)):
        if lines:
            parts.append("\n".join([f"#### {_say(settings, name)}", "", *(f"- `{line}`" for line in lines)]))
    parts.append("\n".join([f"#### {_say(settings, 'findings')}", "", *_findings(settings, found)]))
    return "\n\n".join(parts)


def _say(settings: Settings, key: str, **fields: object) -> str:
    return text(settings.language, f"dr.page.{key}", **fields)


def _facts(settings: Settings, found: Assessment) -> dict[str, str]:
    used = (found.made_at - found.clock_from).total_seconds()
    limit = settings.objectives.rto_hours * 3600
    language = settings.language
    return {
        _say(settings, "reason"): found.request.reason,
        _say(settings, "region"): f"`{found.request.region}`",
        _say(settings, "production"): f"**{_say(settings, f'production.{found.production}')}**",
        _say(settings, "way"): _say(settings, f"way.{found.way}") if found.way else f"❌ {_say(settings, 'way.none')}",
        _say(settings, "used"): f"{duration(language, used)} / {duration(language, limit)}",
        _say(settings, "fails"): str(len(found.failing)),
    }


def _table(rows: dict[str, str]) -> str:
    return "\n".join(["| | |", "|---|---|", *(f"| {name} | {_cell(value)} |" for name, value in rows.items())])


def _ways(settings: Settings, found: Assessment) -> Iterator[str]:
    head = [_say(settings, name) for name in ("way", "until", "lost", "takes")]
    yield f"| {' | '.join(head)} |"
    yield "|---|---|---|---|"
    for way in found.ways:
        chosen = "**" if way.way == found.way else ""
        cells = [f"{chosen}{_say(settings, f'way.{way.way}')}{chosen}", *_way(settings, found, way)]
        yield f"| {' | '.join(cells)} |"


def _way(settings: Settings, found: Assessment, way: WayOut) -> list[str]:
    if not way.usable:
        return [_say(settings, "unusable"), "-", "-"]
    lost = way.lost_seconds(found.made_at)
    known = (
        _say(settings, "unknown") if lost is None else f"**{_say(settings, 'minutes', minutes=f'{lost / 60:.1f}')}**"
    )
    until = "-" if way.complete_until is None else local(settings, way.complete_until)
    return [until, known, duration(settings.language, way.seconds)]


def _findings(settings: Settings, found: Assessment) -> Iterator[str]:
    for verdict, icon in ICONS.items():
        for finding in found.findings:
            if finding.verdict == verdict:
                yield f"- {icon} **{_say(settings, f'subject.{finding.subject}')}**: {_words(settings, finding)}"


def _words(settings: Settings, finding: Finding) -> str:
    words = " ".join(notice_text(settings.language, finding.what.model_dump()).split())
    return words if len(words) <= MOST_CHARACTERS else words[: MOST_CHARACTERS - 1] + "…"


def local(settings: Settings, time: datetime) -> str:
    """A time in the site's zone, to the second."""
    return f"{time.astimezone(ZoneInfo(settings.timezone)):%Y-%m-%d %H:%M:%S %Z}"


def _cell(value: str) -> str:
    return value.replace("|", "\\|")
