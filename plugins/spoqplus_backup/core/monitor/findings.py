"""What is wrong with a site's backups, by its facts: what the watchdog says and what the alerts of Prometheus say.

A finding is known again by its code and what it is about: it is told once, not each hour.
"""

from collections.abc import Callable, Iterator
from datetime import datetime, timedelta
from typing import Literal

from spoqplus_backup.core.manifest import Model
from spoqplus_backup.core.monitor.model import Reach, SiteFacts
from spoqplus_backup.core.monitor.promises import HOUR, is_overdue
from spoqplus_backup.core.monitor.schedule import RECOVERY_TEST
from spoqplus_backup.core.monitor.sizes import usual_bytes
from spoqplus_backup.core.settings import Settings

Severity = Literal["critical", "warning"]
Value = float | str

LATE = ("weekly", "monthly", "incremental")  # the daily one's age is looked at by itself
GRACE = timedelta(hours=1)  # of the age of the newest full backup: the strategy's `for: 1h`
COPYING = timedelta(hours=2)  # how long a new set may wait for its last copy
TOLD_FOR = timedelta(days=1)  # what happened at a moment is told so long


class Finding(Model):
    """Something that a person has to look at. `subject` is what it is about, empty for the site.

    `values` go into the sentence: seconds in `..._seconds`, bytes in `..._bytes`, ISO 8601 times in `..._at`.
    """

    code: str
    severity: Severity
    subject: str = ""
    values: dict[str, Value] = {}

    @property
    def key(self) -> str:
        """The same for the same thing in the next hour."""
        return f"{self.code}:{self.subject}"


def findings(facts: SiteFacts, settings: Settings, now: datetime) -> list[Finding]:
    """Everything that is wrong, the critical first."""
    found = [item for look in _LOOKS for item in look(facts, settings, now)]
    return sorted(found, key=lambda item: item.severity != "critical")


def _repositories(facts: SiteFacts, _: Settings, __: datetime) -> Iterator[Finding]:
    for state in facts.repositories:
        if state.error is not None:
            yield Finding(
                code="repository_down", severity="critical", subject=state.name, values={"error": state.error}
            )


def _newest(facts: SiteFacts, settings: Settings, now: datetime) -> Iterator[Finding]:
    newest = facts.newest_full
    if newest is None or newest.details is None:
        if not facts.blind:
            yield Finding(code="nothing", severity="critical")
        return
    age = now - newest.details.finished_at
    if age > timedelta(hours=settings.alerts.maximum_age_hours) + GRACE:
        values: dict[str, Value] = {"age_seconds": age.total_seconds(), "set": newest.found.name}
        yield Finding(code="backup_failed", severity="critical", values=values)
    stored, least = newest.details.stored_bytes, settings.alerts.minimum_backup_bytes
    if stored < least:
        values = {"set": newest.found.name, "size_bytes": stored, "least_bytes": least}
        yield Finding(code="too_small", severity="warning", values=values)
    if facts.holds_3_2_1(newest) is False and age > COPYING:
        values = {"set": newest.found.name, "copies": str(newest.found.count), "media": ", ".join(newest.found.media)}
        values["offsite"] = ", ".join(newest.found.offsite) or "-"
        yield Finding(code="copies", severity="critical", values=values)


def _late(facts: SiteFacts, settings: Settings, now: datetime) -> Iterator[Finding]:
    if facts.blind:
        return
    for cadence in LATE:
        due = facts.due.get(cadence)
        if due is not None and now > due + timedelta(hours=settings.alerts.late_hours):
            yield Finding(code="late", severity="warning", subject=cadence, values={"due_at": due.isoformat()})


def _unusable(facts: SiteFacts, _: Settings, __: datetime) -> Iterator[Finding]:
    for sets in facts.sets.values():
        for item in sets:
            if item.problem is not None or item.found.differs:
                problem = item.problem or "-"
                yield Finding(
                    code="unusable", severity="critical", subject=item.found.name, values={"problem": problem}
                )


def _sizes(facts: SiteFacts, settings: Settings, _: datetime) -> Iterator[Finding]:
    for cadence in facts.cadences:
        newest, usual = facts.newest(cadence), usual_bytes(facts, cadence)
        if newest is None or newest.details is None:
            continue
        for component in newest.details.components:
            before, size = usual.get(component.name), component.stored_bytes
            if before is None or settings.alerts.shrunk_to * before <= size <= settings.alerts.grown_to * before:
                continue
            values: dict[str, Value] = {"set": newest.found.name, "component": component.name}
            values |= {"size_bytes": size, "usual_bytes": before}
            code = "shrunk" if size < before else "grown"
            yield Finding(code=code, severity="warning", subject=f"{cadence}/{component.name}", values=values)


def _lost(facts: SiteFacts, settings: Settings, now: datetime) -> Iterator[Finding]:
    limit = settings.objectives.rpo_hours * HOUR
    kinds: tuple[tuple[str, Severity, bool], ...] = (
        ("rpo_primary", "critical", False),
        ("rpo_offsite", "warning", True),
    )
    for code, severity, offsite in kinds:
        lost = facts.lost(now, offsite=offsite)
        if lost is not None and lost > limit:
            values: dict[str, Value] = {"lost_seconds": lost, "limit_seconds": limit}
            yield Finding(code=code, severity=severity, values=values)


def _logs(facts: SiteFacts, settings: Settings, now: datetime) -> Iterator[Finding]:
    for reach in facts.reaches:
        words = reach.problem or broken(reach, settings, now)
        if words is not None:
            values: dict[str, Value] = {"words": words}
            yield Finding(code="chain_broken", severity="critical", subject=reach.repository, values=values)
    for gap in facts.gaps:
        if now - gap.end < TOLD_FOR:
            values = {"start_at": gap.start.isoformat(), "end_at": gap.end.isoformat(), "words": gap.reason}
            yield Finding(code="gap", severity="warning", subject=gap.start.isoformat(), values=values)


def broken(reach: Reach, settings: Settings, now: datetime) -> str | None:
    """Why no log leads on from a repository's newest full backup; None when one does, or will.

    What was written since a new backup is archived only with the next logs, so that is given some time.
    """
    if settings.schedules.binlog_archive is None or not reach.windows:
        return None
    newest = reach.windows[0]
    if not newest.has_logs and (now - newest.start).total_seconds() < settings.objectives.rpo_hours * HOUR:
        return None
    return newest.problem


def _tests(facts: SiteFacts, settings: Settings, now: datetime) -> Iterator[Finding]:
    last = next(iter(facts.tests), None)
    if last is not None and last.verdict == "failed":
        checks = ", ".join(last.failed_checks) or "-"
        yield Finding(code="test_failed", severity="critical", subject=last.id, values={"checks": checks})
    due = facts.due.get(RECOVERY_TEST)
    if due is not None and not facts.blind and is_overdue(facts, now):
        yield Finding(code="test_overdue", severity="warning", values={"due_at": due.isoformat()})


def _disk(facts: SiteFacts, _: Settings, __: datetime) -> Iterator[Finding]:
    needed = staging_needed(facts)
    if facts.staging is not None and needed is not None and facts.staging.free < needed:
        values: dict[str, Value] = {"free_bytes": facts.staging.free, "needed_bytes": needed}
        yield Finding(code="staging_full", severity="warning", values=values)


def staging_needed(facts: SiteFacts) -> int | None:
    """The room that a backup as large as the largest of the newest ones takes before it is compressed."""
    newest = [item.details.raw_bytes for name in facts.cadences if (item := facts.newest(name)) and item.details]
    return max(newest, default=None)


def _expiries(facts: SiteFacts, settings: Settings, now: datetime) -> Iterator[Finding]:
    for item in facts.expiries:
        if item.at <= now + timedelta(days=settings.alerts.expiry_days):
            severity: Severity = "critical" if item.at <= now else "warning"
            yield Finding(code=item.kind, severity=severity, subject=item.name, values={"end_at": item.at.isoformat()})


def _retention(facts: SiteFacts, _: Settings, now: datetime) -> Iterator[Finding]:
    for item in facts.deletions:
        if item.refused and now - item.at < TOLD_FOR:
            yield Finding(
                code="refused", severity="warning", subject=item.repository, values={"count": str(item.refused)}
            )


_LOOKS: tuple[Callable[[SiteFacts, Settings, datetime], Iterator[Finding]], ...] = (
    _repositories,
    _newest,
    _lost,
    _logs,
    _unusable,
    _tests,
    _late,
    _sizes,
    _disk,
    _expiries,
    _retention,
)
