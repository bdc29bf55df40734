"""What was promised, and whether it is kept now: RPO, RTO, three copies, a recovery test each month."""

from datetime import datetime, timedelta
from typing import Literal

from spoqplus_backup.core.manifest import Model
from spoqplus_backup.core.monitor.model import KnownSet, SiteFacts, TestFacts
from spoqplus_backup.core.monitor.schedule import RECOVERY_TEST
from spoqplus_backup.core.repository.survey import COPIES, MEDIA
from spoqplus_backup.core.settings import Settings

HOUR = 3600.0
TEST_GRACE = timedelta(days=1)  # a recovery test takes some hours

Reason = Literal[
    "nothing", "repository_down", "late", "slow", "never_tested", "failed", "overdue", "copies", "media", "offsite"
]


class Promise(Model):
    """One promise: `ok` None is not known. `reason` says why it is not kept, or not known."""

    name: Literal["rpo", "rto", "copies", "recovery_test"]
    ok: bool | None
    value: float | None
    limit: float | None
    unit: Literal["seconds", "count"]
    at: datetime | None = None
    set: str | None = None
    reason: Reason | None = None


def promises(facts: SiteFacts, settings: Settings, now: datetime) -> tuple[Promise, ...]:
    """All four, in the order of the page."""
    return (_rpo(facts, settings, now), _rto(facts, settings), _copies(facts), _tested(facts, now))


def is_overdue(facts: SiteFacts, now: datetime) -> bool:
    """Whether a recovery test should have been there since more than a day."""
    due = facts.due.get(RECOVERY_TEST)
    return due is not None and now > due + TEST_GRACE


def _rpo(facts: SiteFacts, settings: Settings, now: datetime) -> Promise:
    lost, limit = facts.lost(now), settings.objectives.rpo_hours * HOUR
    ok = None if lost is None and not facts.whole else lost is not None and lost <= limit
    missing: Reason = "nothing" if facts.whole else "repository_down"
    reason = None if ok else missing if lost is None else "late"
    return Promise(name="rpo", ok=ok, value=lost, limit=limit, unit="seconds", at=facts.until(), reason=reason)


def _rto(facts: SiteFacts, settings: Settings) -> Promise:
    limit = settings.objectives.rto_hours * HOUR
    last = next((test for test in facts.tests if test.rto_seconds is not None), None)
    if last is None:
        reason = _why_untested(facts)
        return Promise(name="rto", ok=None, value=None, limit=limit, unit="seconds", reason=reason)
    return Promise(
        name="rto",
        ok=last.in_time,
        value=last.rto_seconds,
        limit=limit,
        unit="seconds",
        at=last.finished_at,
        set=last.backup,
        reason=None if last.in_time else "slow",
    )


def _copies(facts: SiteFacts) -> Promise:
    newest = facts.newest_full
    if newest is None:
        none: Reason = "nothing" if facts.whole else "repository_down"
        ok = False if facts.whole else None
        return Promise(name="copies", ok=ok, value=None, limit=COPIES, unit="count", reason=none)
    ok = facts.holds_3_2_1(newest)
    return Promise(
        name="copies",
        ok=ok,
        value=newest.found.count,
        limit=COPIES,
        unit="count",
        at=newest.details.finished_at if newest.details else None,
        set=newest.found.name,
        reason=None if ok else "repository_down" if ok is None else _lacks(newest),
    )


def _lacks(item: KnownSet) -> Reason:
    if item.found.count < COPIES:
        return "copies"
    return "media" if len(item.found.media) < MEDIA else "offsite"


def _tested(facts: SiteFacts, now: datetime) -> Promise:
    """Value and limit are the age of the last test, and the age at which the next one should have been there."""
    last = next(iter(facts.tests), None)
    due = facts.due.get(RECOVERY_TEST)
    if last is None:
        ok = False if is_overdue(facts, now) else None
        return Promise(name="recovery_test", ok=ok, value=None, limit=None, unit="seconds", reason=_why_untested(facts))
    reason = _why_unproved(last, overdue=is_overdue(facts, now))
    return Promise(
        name="recovery_test",
        ok=reason is None,
        value=max(0.0, (now - last.finished_at).total_seconds()),
        limit=None if due is None else (due + TEST_GRACE - last.finished_at).total_seconds(),
        unit="seconds",
        at=last.finished_at,
        set=last.backup,
        reason=reason,
    )


def _why_untested(facts: SiteFacts) -> Reason:
    return "repository_down" if facts.blind else "never_tested"


def _why_unproved(last: TestFacts, *, overdue: bool) -> Reason | None:
    return "failed" if last.verdict == "failed" else "overdue" if overdue else None
