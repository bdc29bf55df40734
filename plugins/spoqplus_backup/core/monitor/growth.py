"""How backups grow, and when a disk is full at this rate."""

from collections.abc import Iterator, Sequence
from datetime import datetime, timedelta
from statistics import median

from spoqplus_backup.core.manifest import Model
from spoqplus_backup.core.monitor.findings import staging_needed
from spoqplus_backup.core.monitor.model import DiskSpace, SiteFacts
from spoqplus_backup.core.repository.catalog import NAMED_ONLY
from spoqplus_backup.core.repository.details import Described
from spoqplus_backup.core.repository.set_details import SetDetails
from spoqplus_backup.core.retention.facts import named_time
from spoqplus_backup.core.settings import KeepSettings, Settings

ENDS = 3  # backups at either end whose median counts: one with a full archive of files must not be the growth
DAY = timedelta(days=1)
HORIZON_DAYS = 3650
WEEK = 7


class Growth(Model):
    """The full backups' size, stored, at the beginning and at the end of a time (medians of a few)."""

    first_bytes: int
    last_bytes: int
    days: float

    @property
    def bytes(self) -> int:
        """How much larger they became."""
        return self.last_bytes - self.first_bytes

    @property
    def share(self) -> float:
        """The same as a share: 0.1 is a tenth."""
        return self.bytes / self.first_bytes if self.first_bytes else 0.0

    @property
    def daily(self) -> float:
        """The share for each day."""
        return self.share / self.days if self.days else 0.0


class Outlook(Model):
    """A disk of this machine: `full_in_days` at this rate; None is not within ten years."""

    name: str
    disk: DiskSpace
    full_in_days: int | None


def growth(sets: Sequence[Described], start: datetime, end: datetime) -> Growth | None:
    """That of the daily backups of the database and the files that are archived whole each day.

    None: there are no two, on two days.
    """
    found = sorted(
        (item.details for item in sets if item.found.cadence == "daily" and item.details is not None),
        key=lambda details: details.started_at,
    )
    found = [details for details in found if start <= details.started_at < end]
    ends = min(ENDS, len(found) // 2)
    if not ends:
        return None
    first, last = found[:ends], found[-ends:]
    days = (last[-1].started_at - first[0].started_at) / DAY
    if days < 1:
        return None
    return Growth(first_bytes=_size(first), last_bytes=_size(last), days=days)


def _size(details: Sequence[SetDetails]) -> int:
    whole = (sum(item.stored_bytes for item in one.components if item.base is None) for one in details)
    return int(median(whole))


def outlooks(settings: Settings, facts: SiteFacts, sets: Sequence[Described], now: datetime) -> tuple[Outlook, ...]:
    """The staging disk, and that of each repository that is a folder here."""
    return tuple(_outlooks(settings, facts, sets, now))


def _outlooks(settings: Settings, facts: SiteFacts, sets: Sequence[Described], now: datetime) -> Iterator[Outlook]:
    grown = growth(sets, now - 31 * DAY, now)
    daily = grown.daily if grown else 0.0
    needed = staging_needed(facts)
    if facts.staging is not None and needed is not None:
        yield Outlook(name="staging", disk=facts.staging, full_in_days=_until_too_small(facts.staging, needed, daily))
    for state in facts.repositories:
        if state.disk is None:
            continue
        mine = [item for item in sets if any(copy.repository == state.name for copy in item.found.copies)]
        a_day = sum(item.details.stored_bytes for item in _of_last_week(settings, mine, now) if item.details) / WEEK
        held = len({named_time(settings, item.found.id).date() for item in mine if _is_daily(item)})
        most = most_days(settings.repository(state.name).keep)
        yield Outlook(
            name=state.name, disk=state.disk, full_in_days=days_until_full(state.disk.free, a_day, daily, held, most)
        )


def _of_last_week(settings: Settings, sets: Sequence[Described], now: datetime) -> Iterator[Described]:
    return (item for item in sets if now - named_time(settings, item.found.id) <= WEEK * DAY)


def _is_daily(item: Described) -> bool:
    return item.found.cadence not in NAMED_ONLY


def most_days(keep: KeepSettings) -> int | None:
    """How many days' sets a repository comes to hold at most; None: it keeps everything."""
    return None if keep.forever else (keep.days or 0) + keep.daily + keep.weekly + keep.monthly


def days_until_full(free: int, a_day: float, daily: float, held: int, most: int | None) -> int | None:
    """When a disk is full: days' sets are added until there are `most`, and each day's are larger than the last's.

    Args:
        free: bytes.
        a_day: bytes that a day adds now.
        daily: by what share a day's sets are larger than those of the day before.
        held: days of which sets are there.
        most: days of which sets are kept; None: all.
    """
    if a_day <= 0:
        return None
    for day in range(1, HORIZON_DAYS + 1):
        kept = held + day if most is None else max(held, min(held + day, most))
        if kept * a_day * (1 + daily * day) - held * a_day > free:
            return day
    return None


def _until_too_small(disk: DiskSpace, needed: int, daily: float) -> int | None:
    """When the staging disk has no room any more for what a backup needs."""
    if needed >= disk.free:
        return 0
    if daily <= 0:
        return None
    days = (disk.free / needed - 1) / daily
    return int(days) + 1 if days < HORIZON_DAYS else None
