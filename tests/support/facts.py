"""The facts of a site that was never looked at: they are made up."""

from datetime import datetime, timedelta, timezone
from typing import Any

from spoqplus_backup.core.monitor.model import DiskSpace, KnownSet, Reach, RepositoryState, SiteFacts, TestFacts
from spoqplus_backup.core.recovery.windows import Window
from spoqplus_backup.core.repository.set_details import ComponentDetails, SetDetails
from spoqplus_backup.core.repository.survey import Copy, SetCopies

NOW = datetime(2026, 3, 10, 0, 0, tzinfo=timezone.utc)  # 09:00 in Seoul
HOUR, DAY = timedelta(hours=1), timedelta(days=1)
GIB = 1 << 30


def state(name: str, **fields: Any) -> RepositoryState:
    offsite = name == "s3"
    values = {"role": "primary", "medium": "object-storage" if offsite else "disk", "offsite": offsite, "as_of": NOW}
    return RepositoryState(name=name, **(values | fields))


def copy(name: str) -> Copy:
    offsite = name == "s3"
    medium = "object-storage" if offsite else "disk"
    return Copy(repository=name, place=name, medium=medium, offsite=offsite, bytes=9, tag="t")


def a_set(
    age: timedelta, size: int = 2 * GIB, repositories: tuple[str, ...] = ("local", "s3"), **more: Any
) -> KnownSet:
    at = NOW - age
    database = ComponentDetails(name="database", kind="logical", parts=4, stored_bytes=size, raw_bytes=3 * size)
    details = SetDetails(
        sha256="0" * 64,
        started_at=at - HOUR,
        finished_at=at,
        stored_bytes=size,
        raw_bytes=3 * size,
        server="mariadb 10.11",
        contents=("database",),
        components=(database, *more.pop("components", ())),
    )
    found = SetCopies(cadence="daily", id=f"{at + 9 * HOUR:%Y%m%d_%H%M%S}", copies=tuple(map(copy, repositories)))
    return KnownSet(**({"found": found, "details": details} | more))


def window(until: timedelta, **fields: Any) -> Window:
    values = {"backup": "daily/x", "start": NOW - DAY, "end": NOW - until, "first_log": "binlog.1"}
    return Window(**(values | fields))


def well(**fields: Any) -> SiteFacts:
    """A site that is well, but for what is said."""
    sets = fields.pop("daily", (a_set(6 * HOUR), *(a_set(6 * HOUR + DAY * days) for days in range(1, 5))))
    values: dict[str, Any] = {
        "site": "spoqplus",
        "as_of": NOW,
        "seconds": 1.0,
        "repositories": (state("local"), state("s3")),
        "sets": {"daily": sets},
        "counts": {"daily": len(sets)},
        "reaches": tuple(Reach(repository=name, windows=(window(HOUR / 2),)) for name in ("local", "s3")),
        "tests": (
            TestFacts(
                id="20260302_060000",
                finished_at=NOW - 8 * DAY,
                verdict="passed",
                backup="daily/x",
                rto_seconds=3600.0,
                rpo_seconds=600.0,
                in_time=True,
                little_lost=True,
                failed_checks=(),
            ),
        ),
        "due": {"daily": NOW + DAY, "recovery_test": NOW + 20 * DAY, "weekly": NOW + DAY, "monthly": NOW + 20 * DAY},
        "staging": DiskSpace(free=100 * GIB, total=200 * GIB),
    }
    return SiteFacts(**(values | fields))
