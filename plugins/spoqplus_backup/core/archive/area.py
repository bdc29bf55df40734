"""What the archive has on the backup host's disk, shared by all runs and keyed by log: complete or absent.

    <staging>/<site>/binlog/
        lock  rotation.json  listing.json  status.json  known.json  breaks.json  unlogged.json
        <server id>/<timeline>/timeline.json                 why the timeline was opened, and who was told of its gap
        <server id>/<timeline>/<log>/
            raw/<log>  raw/<log>.tables.json  fetched.json   written by fetch, the record last
            parts/ zst/                                      written by compress
            sealed/<log>.zst.age  sealed/<log>.tables.json.zst.age        by encrypt
            sidecar.json                                     by upload, which signs and sends it last

A log leaves when every repository has it and verify saw it there.
"""

import contextlib
import shutil
from collections.abc import Iterator
from dataclasses import dataclass
from datetime import datetime
from pathlib import Path
from typing import TypeVar

from pydantic import BaseModel

from spoqplus_backup.core.manifest import BinlogSegment, Gap, Model, RecoveryPoint, Server, binlog_folder
from spoqplus_backup.core.notice import Notice
from spoqplus_backup.core.repository.binlogs import log_number
from spoqplus_backup.core.settings import Settings
from spoqplus_backup.core.staging import PARTIAL, locked, read_json, write_json

LOCK_SECONDS = 1500.0  # another run's stage may fetch or send for a while
FOLDER = "binlog"
RAW = "raw"

Read = TypeVar("Read", bound=BaseModel)


class Rotation(Model):
    """What rotate found: at `checked_at`, by the server's clock, everything committed was in logs up to `up_to`.

    `up_to` is None when no closed log held anything: the server has none. `rotated_at` is when a log was closed last;
    the next one is closed after a while, however quiet the server is.
    """

    server: Server
    checked_at: datetime
    up_to: str | None
    rotated: bool
    rotated_at: datetime | None = None
    warnings: tuple[Notice, ...] = ()


class ListedLog(Model):
    """A closed log of the server that is not archived yet."""

    name: str
    bytes: int


class Listing(Model):
    """What fetch is to bring, in order. `gap` says why the timeline is a new one, unless it is the site's first.

    With these logs, everything is archived that was committed up to `checked_at`, by the server's clock.
    `gtids_purged` are MySQL's transactions that were in none of the server's logs when these were listed.
    """

    checked_at: datetime
    server: Server
    timeline: str
    logs: tuple[ListedLog, ...]
    gap: Gap | None = None
    gtids_purged: str | None = None


class FetchedLog(Model):
    """A log that was fetched and read to its end. Sizes in bytes, positions are offsets in the raw log."""

    server: Server
    timeline: str
    name: str
    created_at: datetime
    fetched_at: datetime
    bytes: int
    server_bytes: int
    end: int
    closed: str
    closed_at: datetime | None = None
    truncated: bool
    transactions: int
    first_at: datetime | None
    last_at: datetime | None
    earliest_at: datetime | None
    latest_at: datetime | None
    gtids_before: str
    gtids_after: str
    gtids_unlogged: str | None = None
    previous: str | None
    """The log before it in the timeline; None for the first."""

    @property
    def key(self) -> str:
        """What its objects' keys in a repository begin with."""
        return f"{binlog_folder(self.server.id, self.timeline)}/{self.name}"


class TimelineRecord(Model):
    """Why a timeline was opened, and when by this machine's clock.

    `asked_by` is the run that asked for a full backup because of its gap, `mended_by` the first full backup behind it.
    """

    gap: Gap
    opened_at: datetime
    asked_by: str | None = None
    mended_by: str | None = None


class Break(Model):
    """A log that begins anew: it does not follow the one before it, for the reason in `words`.

    `unlogged`: and neither does what comes behind it, for the change that its server does not log goes on.
    """

    server_id: int
    log: str
    words: str
    unlogged: bool = False


class Breaks(Model):
    """Those that no run of the archive has come to yet, in their order."""

    places: tuple[Break, ...]

    def at(self, server_id: int, log: str) -> Break | None:
        """The break in front of a log; of several the last one that was noted."""
        return next((one for one in reversed(self.places) if (one.server_id, one.log) == (server_id, log)), None)


class Unlogged(Model):
    """Who changes the server in ways that its logs don't hold, and since when by this machine's clock.

    `tried_at` is when it was begun last; `given_up` that nobody believes any more that it will end.
    """

    by: str
    begun_at: datetime
    tried_at: datetime
    given_up: bool = False


class Status(Model):
    """What verify found last."""

    recovery_point: RecoveryPoint
    warnings: tuple[Notice, ...] = ()


@dataclass(frozen=True)
class Staged:
    """A log's staging folder with what is in it."""

    directory: Path
    fetched: FetchedLog

    @property
    def raw(self) -> Path:
        """The log itself, until it is compressed."""
        return self.directory / RAW / self.fetched.name

    @property
    def tables(self) -> Path:
        """Its index, until it is compressed."""
        return self.directory / RAW / f"{self.fetched.name}.tables.json"

    @property
    def sidecar(self) -> Path:
        """The sidecar as it is, or will be, in every repository."""
        return self.directory / "sidecar.json"

    def segment(self) -> BinlogSegment | None:
        """What the sidecar says; None before upload made it."""
        if not self.sidecar.exists():
            return None
        return BinlogSegment.from_json(self.sidecar.read_bytes(), str(self.sidecar))


class Area:
    """The archive's staging area of a site."""

    def __init__(self, settings: Settings) -> None:
        self.path = settings.staging.directory / settings.site / FOLDER

    @contextlib.contextmanager
    def locked(self) -> Iterator[None]:
        """Work on the area alone; waits for another run's stage to end.

        Raises:
            BackupError: it did not end in time.
        """
        with locked(self.path / "lock", f"the binary logs in {self.path}", LOCK_SECONDS):
            yield

    def rotation(self) -> Rotation | None:
        """What rotate found last."""
        return self._read("rotation.json", Rotation)

    def listing(self) -> Listing | None:
        """What list_logs found last."""
        return self._read("listing.json", Listing)

    def status(self) -> Status | None:
        """What verify found last."""
        return self._read("status.json", Status)

    def breaks(self) -> Breaks:
        """Where somebody said that the logs stop following."""
        return self._read("breaks.json", Breaks) or Breaks(places=())

    def unlogged(self) -> Unlogged | None:
        """The change that is being made without the server's logs, if there is one."""
        return self._read("unlogged.json", Unlogged)

    def forget_unlogged(self) -> None:
        """It is done."""
        (self.path / "unlogged.json").unlink(missing_ok=True)

    def write(self, record: Rotation | Listing | Status | Breaks | Unlogged) -> None:
        """Keep a record, in place of the last one of its kind."""
        write_json(self.path / f"{type(record).__name__.lower()}.json", record)

    def directory(self, server_id: int, timeline: str, name: str) -> Path:
        """Where a log is staged."""
        return self.path / str(server_id) / timeline / name

    def timeline(self, server_id: int, name: str) -> TimelineRecord | None:
        """Why a timeline was opened; None for one that this area does not know of."""
        return self._read(f"{server_id}/{name}/timeline.json", TimelineRecord)

    def write_timeline(self, server_id: int, name: str, record: TimelineRecord) -> None:
        """Note why a timeline was opened."""
        write_json(self.path / str(server_id) / name / "timeline.json", record)

    def newest_timeline(self, server_id: int, least: str) -> str:
        """The newest timeline of a server that this area knows of, though it has no log yet; at least `least`."""
        return max([least, *(name for known, name, _ in self.timelines() if known == server_id)])

    def timelines(self) -> list[tuple[int, str, TimelineRecord]]:
        """The timelines that this area knows of, oldest first."""
        found = []
        for path in self.path.glob("*/*/timeline.json"):
            server_id, name = path.parts[-3], path.parts[-2]
            if server_id.isdigit() and (record := self.timeline(int(server_id), name)) is not None:
                found.append((int(server_id), name, record))
        return sorted(found, key=lambda item: item[:2])

    def staged(self) -> list[Staged]:
        """The logs that were fetched and are still here, in their order."""
        found = []
        for path in self.path.glob("*/*/*/fetched.json"):
            if (content := read_json(path)) is not None and not path.parent.name.endswith(PARTIAL):
                found.append(Staged(path.parent, FetchedLog.model_validate(content)))
        return sorted(
            found, key=lambda item: (item.fetched.server.id, item.fetched.timeline, log_number(item.fetched.name))
        )

    def forget(self, staged: Staged) -> None:
        """Remove a log that every repository has: at once under this name, then from the disk."""
        gone = staged.directory.with_name(f"{staged.directory.name}.gone{PARTIAL}")
        shutil.rmtree(gone, ignore_errors=True)  # of a run that was killed right here
        staged.directory.rename(gone)
        shutil.rmtree(gone)

    def _read(self, name: str, model: type[Read]) -> Read | None:
        content = read_json(self.path / name)
        return None if content is None else model.model_validate(content)
