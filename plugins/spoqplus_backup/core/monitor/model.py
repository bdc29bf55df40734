"""The facts of a site. Times UTC, sizes bytes, durations seconds; what depends on the present is asked with a time."""

from collections.abc import Iterator
from datetime import datetime
from typing import Literal

from spoqplus_backup.core.manifest import Model
from spoqplus_backup.core.proof.model import Proof
from spoqplus_backup.core.recovery.windows import Unreachable, Window
from spoqplus_backup.core.repository.catalog import NAMED_ONLY
from spoqplus_backup.core.repository.details import Described

Role = Literal["primary", "replica"]


class DiskSpace(Model):
    """Room on the disk of a folder of this machine."""

    free: int
    total: int


class RepositoryState(Model):
    """A repository as it answered; `error` is why it did not. `sets` counts those that it lists."""

    name: str
    role: Role
    medium: str
    offsite: bool
    as_of: datetime
    error: str | None = None
    sets: int = 0
    disk: DiskSpace | None = None
    """Of a folder that is on this machine."""

    @property
    def up(self) -> bool:
        """Whether it could be listed."""
        return self.error is None


class KnownSet(Described):
    """A set of the newest few of its cadence. `held` is why a person keeps it."""

    proved_at: datetime | None = None
    held: str | None = None


class Reach(Model):
    """The points in time that a repository can bring back; `windows` of its newest full backups, newest first."""

    repository: str
    windows: tuple[Window, ...] = ()
    problem: str | None = None
    """Why its logs could not be looked at."""

    @property
    def until(self) -> datetime | None:
        """The newest moment that can be restored."""
        return max((window.end for window in self.windows), default=None)


class TestFacts(Model):
    """A recovery test, as its signed report tells."""

    __test__ = False  # pytest takes it for a test

    id: str
    finished_at: datetime
    verdict: Literal["passed", "failed"]
    backup: str | None
    rto_seconds: float | None
    rpo_seconds: float | None
    in_time: bool
    little_lost: bool
    failed_checks: tuple[str, ...]
    run_id: str = ""


def test_facts(proof: Proof) -> TestFacts:
    """What a report tells in numbers."""
    return TestFacts(
        **proof.model_dump(include={"id", "run_id", "finished_at", "verdict", "backup", "rto_seconds", "rpo_seconds"}),
        in_time=proof.in_time,
        little_lost=proof.little_lost,
        failed_checks=tuple(check.name for check in proof.checks if check.verdict == "failed"),
    )


class Deletions(Model):
    """What the last retention run that deleted something did; `refused` counts what the repository did not let go."""

    repository: str
    at: datetime
    sets: int
    logs: int
    unfinished: int
    uploads: int
    faces: int
    bytes: int
    refused: int


class Expiry(Model):
    """A key or certificate that ends; `name` tells people which."""

    kind: Literal["gpg_key", "tls_certificate"]
    name: str
    at: datetime


class SiteFacts(Model):
    """Everything that is known of a site's backups at `as_of`; `seconds` is how long it took to find out.

    `sets` are the newest few of each cadence, newest first, `counts` how many there are; `first_at` is the oldest set's
    time. `next` is when a DAG runs by its schedule the next time, None by hand; `due` is the scheduled time behind the
    newest set of a cadence (for `recovery_test` behind the newest report): in the past, that one is missing. `gaps`
    can be restored from no repository. `tests` and `deletions` are the newest.
    """

    site: str
    as_of: datetime
    seconds: float
    repositories: tuple[RepositoryState, ...]
    sets: dict[str, tuple[KnownSet, ...]] = {}
    counts: dict[str, int] = {}
    first_at: datetime | None = None
    reaches: tuple[Reach, ...] = ()
    gaps: tuple[Unreachable, ...] = ()
    tests: tuple[TestFacts, ...] = ()
    deletions: tuple[Deletions, ...] = ()
    next: dict[str, datetime | None] = {}
    due: dict[str, datetime | None] = {}
    staging: DiskSpace | None = None
    expiries: tuple[Expiry, ...] = ()

    @property
    def whole(self) -> bool:
        """Whether every repository answered: else there may be more than is known."""
        return all(state.up for state in self.repositories)

    @property
    def blind(self) -> bool:
        """Whether none of them answered."""
        return not any(state.up for state in self.repositories)

    def repository(self, name: str) -> RepositoryState:
        """One of them."""
        return next(state for state in self.repositories if state.name == name)

    def newest(self, cadence: str) -> KnownSet | None:
        """The newest set of a cadence that can be used."""
        return next((item for item in self.sets.get(cadence, ()) if item.details is not None), None)

    @property
    def cadences(self) -> Iterator[str]:
        """Those that a restore can begin with, that have a set."""
        return (name for name in self.sets if name not in NAMED_ONLY)

    @property
    def newest_full(self) -> KnownSet | None:
        """The newest set that can be used of all cadences that a restore can begin with."""
        found = [item for name in self.cadences if (item := self.newest(name)) is not None]
        return max(found, key=lambda item: item.found.id, default=None)

    def holds_3_2_1(self, item: KnownSet) -> bool | None:
        """Whether the rule holds for a set; None when a repository that may have another copy did not answer."""
        return True if item.found.holds else False if self.whole else None

    def until(self, *, offsite: bool = False) -> datetime | None:
        """The newest moment that can be restored: from a repository that backups are written to, or from off-site."""
        wanted = [
            reach.until
            for reach in self.reaches
            if (self.repository(reach.repository).offsite if offsite else self._is_primary(reach.repository))
        ]
        return max((moment for moment in wanted if moment is not None), default=None)

    def _is_primary(self, name: str) -> bool:
        return self.repository(name).role == "primary"

    def lost(self, now: datetime, *, offsite: bool = False) -> float | None:
        """Seconds of data that would be lost now (RPO); None when nothing is known that can be restored."""
        until = self.until(offsite=offsite)
        return None if until is None else max(0.0, (now - until).total_seconds())
