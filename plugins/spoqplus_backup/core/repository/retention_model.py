"""What retention knows of a repository, and what it decided: the facts, and the plan that is made of them."""

from collections import defaultdict
from collections.abc import Mapping, Sequence
from datetime import datetime
from typing import Literal

from spoqplus_backup.core.manifest import Model
from spoqplus_backup.core.repository.binlogs import log_number
from spoqplus_backup.core.repository.catalog import INCREMENTAL, SAFETY

# What goes on any day, of each kind: a full backup, two days of incremental sets, two days of logs. Unfinished things
# are missing here, as they are nothing that could be restored.
_ANY_DAY = {"set": 1, INCREMENTAL: 8, "log": 200, "faces": 0}

Kind = Literal["set", "unfinished", "log", "upload", "faces"]
Reason = Literal[
    # why it stays
    "future",
    "untrusted",
    "hold",
    "lease",
    "locked",
    "young",
    "newest",
    "newest_full",
    "days",
    "daily",
    "weekly",
    "monthly",
    "safety",
    "point_in_time",
    "no_rule",
    "damaged",
    "needed",
    "may_be_needed",
    "newest_log",
    "behind",
    "no_full",
    "under_way",
    "faces_needed",
    "forever",
    # why it goes
    "expired",
    "not_needed",
    "faces_not_needed",
    "abandoned",
]


class SetFacts(Model):
    """A published set. Sizes in bytes, times UTC; those of a set that can't be trusted are its name's.

    `stored_at` is when the repository got its manifest, by the repository's clock; None where that is not known.
    """

    cadence: str
    id: str
    bytes: int
    started_at: datetime
    finished_at: datetime
    stored_at: datetime | None = None
    has_database: bool = False
    problem: str | None = None
    """Why it can't be trusted; then nothing else in here is certain."""
    damaged: str | None = None
    """What is missing of it."""
    depends_on: tuple[str, ...] = ()
    logs: tuple[str, ...] = ()
    """The keys of the logs that it is made of."""
    locked_until: datetime | None = None

    @property
    def name(self) -> str:
        """`<cadence>/<id>`."""
        return f"{self.cadence}/{self.id}"

    @property
    def dated_at(self) -> datetime:
        """The newest moment that it tells of itself."""
        return max(self.started_at, self.finished_at)

    @property
    def is_trusted(self) -> bool:
        """Whether its manifest is believed."""
        return self.problem is None

    @property
    def is_good(self) -> bool:
        """Whether it can be restored, as far as listings tell: all of it, and of what it stands on."""
        return self.is_trusted and self.damaged is None

    @property
    def is_full(self) -> bool:
        """Whether logs lead on from it. One that can't be trusted may be."""
        ordinary = self.cadence not in (SAFETY, INCREMENTAL)
        return ordinary and (self.has_database or not self.is_trusted)


class UnfinishedFacts(Model):
    """Objects of a set without a manifest, or of a log without a sidecar; `touched_at` is the newest one's time."""

    name: str
    bytes: int
    touched_at: datetime
    under_way: bool = False
    locked_until: datetime | None = None


class LogFacts(Model):
    """An archived log; `at` is when it was archived."""

    key: str
    bytes: int
    at: datetime
    problem: str | None = None
    locked_until: datetime | None = None

    @property
    def timeline(self) -> str:
        """The folder of its timeline: `binlog/<server id>/<timeline>`."""
        return self.key.rpartition("/")[0]

    @property
    def number(self) -> int:
        """Its place in the timeline."""
        return log_number(self.key.rpartition("/")[2])


class UploadFacts(Model):
    """A broken upload."""

    key: str
    id: str
    since: datetime
    bytes: int = 0


class RepositoryFacts(Model):
    """What is in a repository, and who wants to keep what: sets by name and the reason in words."""

    sets: tuple[SetFacts, ...] = ()
    unfinished: tuple[UnfinishedFacts, ...] = ()
    logs: tuple[LogFacts, ...] = ()
    uploads: tuple[UploadFacts, ...] = ()
    holds: Mapping[str, str] = {}
    leases: Mapping[str, str] = {}


class Decision(Model):
    """What happens to one thing. `detail` is what the reason is about: a name, a date, a person's words."""

    kind: Kind
    name: str
    keep: bool
    reason: Reason
    detail: str = ""
    bytes: int = 0
    at: datetime


class RepositoryPlan(Model):
    """What goes from a repository and what stays, each with its reason.

    `newest` is the newest good set with a database, or the newest good one where there is none with it. `unread` are
    other repositories of the site that did not tell what they hold.
    """

    made_at: datetime
    newest: str | None = None
    decisions: tuple[Decision, ...]
    maximum_share: float
    unread: tuple[str, ...] = ()

    @property
    def deletions(self) -> tuple[Decision, ...]:
        """What goes."""
        return tuple(decision for decision in self.decisions if not decision.keep)

    @property
    def nothing_good(self) -> bool:
        """Whether there is something, but no backup that could be restored."""
        return self.newest is None and any(item.kind in ("set", "log") for item in self.decisions)

    @property
    def kept_sets(self) -> frozenset[str]:
        """The names of the sets that stay."""
        return frozenset(item.name for item in self.decisions if item.keep and item.kind == "set")

    @property
    def share(self) -> float:
        """How much of one kind goes, of the kind of which most does: of full backups and others, of incremental sets,
        of logs, by number; of face images, by bytes. A few, as go on any day, don't count.
        """
        return max((_share(kind, items) for kind, items in self._by_kind().items()), default=0.0)

    @property
    def needs_approval(self) -> bool:
        """Whether more goes than may without a person."""
        return self.share > self.maximum_share

    def _by_kind(self) -> dict[str, list[Decision]]:
        found: dict[str, list[Decision]] = defaultdict(list)
        for item in self.decisions:
            if item.reason == "future":
                continue
            incremental = item.kind == "set" and item.name.startswith(f"{INCREMENTAL}/")
            found[INCREMENTAL if incremental else item.kind].append(item)
        return found


def _share(kind: str, items: Sequence[Decision]) -> float:
    gone = [item for item in items if not item.keep]
    if len(gone) <= _ANY_DAY.get(kind, len(items)):
        return 0.0
    if kind == "faces":
        return sum(item.bytes for item in gone) / max(1, sum(item.bytes for item in items))
    return len(gone) / len(items)
