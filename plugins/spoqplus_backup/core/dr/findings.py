"""What `assess` found: one page, from which two people decide whether the site fails over.

A finding `fails` when a failover would; it is a `warning` when a person has to know it.
"""

from collections.abc import Sequence
from datetime import datetime, timedelta
from typing import Literal

from spoqplus_backup.core.dr.request import FailoverRequest
from spoqplus_backup.core.manifest import Model
from spoqplus_backup.core.notice import Notice

Subject = Literal[
    "production", "replica", "backups", "snapshot", "terraform", "dns", "fence", "health", "permissions", "earlier"
]
Verdict = Literal["good", "warning", "fails"]
Way = Literal["replica", "backups", "snapshot"]
Reached = Literal["reachable", "partly", "unreachable"]


class Finding(Model):
    """One thing that was looked at."""

    subject: Subject
    verdict: Verdict
    what: Notice


class WayOut(Model):
    """One way to a database in the DR region. `complete_until` None: what would be lost on it is not known.

    `seconds` is about how long it takes.
    """

    way: Way
    usable: bool
    complete_until: datetime | None = None
    seconds: float = 0.0

    def lost_seconds(self, now: datetime) -> float | None:
        """What would be lost, in seconds up to `now`; None when it is not known."""
        return None if self.complete_until is None else max(0.0, (now - self.complete_until).total_seconds())


class Assessment(Model):
    """Everything that was found. Times are UTC."""

    run_id: str
    made_at: datetime
    request: FailoverRequest
    production: Reached
    findings: tuple[Finding, ...]
    ways: tuple[WayOut, ...]
    way: Way | None
    """The way that a failover takes; None: there is none."""
    clock_from: datetime
    """Since when the recovery time counts."""
    changes: tuple[str, ...] = ()
    """Of the DNS."""
    resources: tuple[str, ...] = ()
    """Of Terraform."""

    @property
    def failing(self) -> tuple[Finding, ...]:
        """Because of what a failover would fail."""
        return tuple(finding for finding in self.findings if finding.verdict == "fails")


def choose_way(ways: Sequence[WayOut], now: datetime, left: timedelta) -> Way | None:
    """The replica when it can be used; else, of what fits into the time that is left, what loses least.

    When nothing fits, the quickest.

    Args:
        ways: what there is.
        now: when it was looked at.
        left: of the recovery time.
    """
    usable = [way for way in ways if way.usable]
    if any(way.way == "replica" for way in usable):
        return "replica"
    if not usable:
        return None
    in_time = [way for way in usable if way.seconds <= left.total_seconds()]
    if not in_time:
        return min(usable, key=lambda way: way.seconds).way

    def lost(way: WayOut) -> float:
        seconds = way.lost_seconds(now)
        return float("inf") if seconds is None else seconds

    return min(in_time, key=lost).way
