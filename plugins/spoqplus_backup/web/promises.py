"""The four promises as numbers: how much would be lost now, how long a restore takes, the copies, the last proof."""

from datetime import datetime, timedelta, timezone
from zoneinfo import ZoneInfo

from croniter import croniter  # type: ignore[import-untyped] # it ships no types

from spoqplus_backup.core.monitor.catalogue import Catalogue
from spoqplus_backup.core.repository.survey import COPIES, MEDIA
from spoqplus_backup.web.answers import Answer, iso

HOUR = 3600.0
LATE = timedelta(days=1)  # a recovery test may take its time


def promises(catalogue: Catalogue, now: datetime) -> list[Answer]:
    """Whether each is kept (`ok` None: it is not known), with its number and its limit."""
    return [_rpo(catalogue, now), _rto(catalogue), _copies(catalogue), _test(catalogue, now)]


def _promise(
    name: str,
    ok: bool | None,
    value: float | None,
    limit: float | None,
    *,
    at: datetime | None = None,
    of: str | None = None,
    reason: str | None = None,
) -> Answer:
    unit = "count" if name == "copies" else "seconds"
    words = {"name": name, "ok": ok, "value": value, "limit": limit, "unit": unit}
    return words | {"at": iso(at), "set": of, "reason": reason}


def _rpo(catalogue: Catalogue, now: datetime) -> Answer:
    limit = catalogue.settings.objectives.rpo_hours * HOUR
    until = catalogue.reach.until if catalogue.reach else None
    if until is None:
        known = catalogue.reach is not None
        return _promise("rpo", False if known else None, None, limit, reason="nothing" if known else "unknown")
    lost = max(0.0, (now - until).total_seconds())
    return _promise("rpo", lost <= limit, lost, limit, at=until, reason=None if lost <= limit else "late")


def _rto(catalogue: Catalogue) -> Answer:
    limit = catalogue.settings.objectives.rto_hours * HOUR
    proved = next((test for test in catalogue.tests if test.rto_seconds is not None), None)
    if proved is None or proved.rto_seconds is None:
        return _promise("rto", None, None, limit, reason="never_tested")
    ok = proved.rto_seconds <= limit
    return _promise(
        "rto", ok, proved.rto_seconds, limit, at=proved.finished_at, of=proved.backup, reason=None if ok else "late"
    )


def _copies(catalogue: Catalogue) -> Answer:
    newest = catalogue.newest_full
    if newest is None or newest.line is None:
        known = catalogue.as_of is not None
        return _promise("copies", False if known else None, None, COPIES, reason="nothing" if known else "unknown")
    found = catalogue.copies_of(newest)
    lacks = "copies" if found.count < COPIES else "media" if len(found.media) < MEDIA else "offsite"
    return _promise(
        "copies",
        found.holds,
        found.count,
        COPIES,
        at=newest.line.finished_at,
        of=newest.name,
        reason=None if found.holds else lacks,
    )


def _test(catalogue: Catalogue, now: datetime) -> Answer:
    if not catalogue.tests:
        return _promise("recovery_test", None, None, None, reason="never_tested")
    last = catalogue.tests[0]
    due = _due(catalogue, last.finished_at)
    overdue = due is not None and now > due
    reason = "failed" if last.verdict != "passed" else "overdue" if overdue else None
    age = (now - last.finished_at).total_seconds()
    limit = None if due is None else (due - last.finished_at).total_seconds()
    return _promise("recovery_test", reason is None, age, limit, at=last.finished_at, of=last.backup, reason=reason)


def _due(catalogue: Catalogue, last: datetime) -> datetime | None:
    cron = catalogue.settings.schedules.recovery_test
    if cron is None:
        return None
    found: datetime = croniter(cron, last.astimezone(ZoneInfo(catalogue.settings.timezone))).get_next(datetime)
    return found.astimezone(timezone.utc) + LATE
