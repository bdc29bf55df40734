"""A restore's plan as a person reads it before approving it: Markdown, in the site's language."""

from zoneinfo import ZoneInfo

from spoqplus_backup.core.progress import human_bytes
from spoqplus_backup.core.recovery.plan import RestorePlan
from spoqplus_backup.core.settings import Settings
from spoqplus_backup.messages import component_label, duration, text

MOST_OBJECTS = 40


def plan_markdown(settings: Settings, plan: RestorePlan) -> str:
    """What will be restored from where to where, what it overwrites, how long it should take, and what to mind."""
    language = settings.language

    def say(key: str, **fields: object) -> str:
        return text(language, f"plan.{key}", **fields)

    made = plan.backup_finished_at.astimezone(ZoneInfo(settings.timezone))
    environment = text(language, f"form.environment.{plan.request.environment}")
    objective = text(language, "slack.rto", hours=f"{plan.rto_seconds / 3600:g}")
    facts = {
        "backup": f"`{plan.backup}` ({made:%Y-%m-%d %H:%M %Z}, {plan.backup_server})",
        "repository": plan.repository,
        "target": f"**{environment}**: {plan.target}",
        "components": ", ".join(component_label(language, component.name) for component in plan.components),
        "into_schema": f"`{plan.request.into_schema}`" if plan.request.into_schema else "",
        "fetch": human_bytes(plan.fetch_bytes),
        "load": say(
            "load.amount", size=human_bytes(plan.sql_bytes), rows=f"{plan.rows:,}", objects=f"{plan.objects:,}"
        ),
        "duration": f"{duration(language, plan.seconds)} ({objective})",
    }
    rows = [f"| {say(key)} | {_cell(value)} |" for key, value in facts.items() if value]
    parts = [
        f"### {say('title', site=settings.site)}",
        "\n".join(["| | |", "|---|---|", *rows]),
        _overwrites(settings, plan),
    ]
    if plan.warnings:
        parts.append("\n".join([f"#### {say('warnings')}", "", *(f"- {warning}" for warning in plan.warnings)]))
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
