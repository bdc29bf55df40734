"""What a failover has done, for whoever goes on with it: the same run, the next one, or a person without Airflow.

    failovers/<start>-<run>/<time>-<step>-<event>.json        one object for each event; none is ever overwritten

It lies in the DR region's repository and on the worker's disk, for either may be what was lost. It is for people and
for the clock: no step believes it, each looks at the world itself. So nothing in it is signed, and a place that can't
be written to holds nothing up.
"""

import hashlib
import logging
import re
from collections.abc import Sequence
from datetime import datetime, timedelta, timezone
from typing import Literal

from pydantic import ValidationError

from spoqplus_backup.core.connections import Connections
from spoqplus_backup.core.dr.places import dr_repository
from spoqplus_backup.core.errors import BackupError
from spoqplus_backup.core.manifest import Model
from spoqplus_backup.core.repository.base import Repository
from spoqplus_backup.core.repository.local import LocalRepository
from spoqplus_backup.core.settings import Settings

log = logging.getLogger(__name__)

ROOT = "failovers"
LAST = "verify"  # the step behind which a failover is complete
LOADING = "restore.load"  # the step that begins to fill a new instance
REMEMBERED = timedelta(days=7)
ONE_FAILOVER = timedelta(hours=24)  # runs that began within it, none of them complete, are one failover

_UNSAFE = re.compile(r"[^A-Za-z0-9._-]+")
_START = "%Y%m%dT%H%M%SZ"


class Entry(Model):
    """One event of a run's step; `detail` is readable text, no secret."""

    run: str
    started_at: datetime
    step: str
    event: Literal["begun", "done", "failed"]
    at: datetime
    words: str = ""
    detail: dict[str, str] = {}


class Story(Model):
    """What one run did, oldest first."""

    run: str
    started_at: datetime
    entries: tuple[Entry, ...]

    @property
    def is_complete(self) -> bool:
        """Whether it got to its end."""
        return any(entry.step == LAST and entry.event == "done" for entry in self.entries)

    @property
    def last(self) -> dict[str, Entry]:
        """The newest event of each step."""
        return {entry.step: entry for entry in self.entries}


class Journal:
    """Writes down what a run does.

    Args:
        places: where it is kept; see `journal_places`.
        run: `<dag id>/<run id>`.
        started_at: of that run.
    """

    def __init__(self, places: Sequence[Repository], run: str, started_at: datetime) -> None:
        self.places = places
        self.run = run
        self.started_at = started_at.astimezone(timezone.utc)

    def note(self, step: str, event: Literal["begun", "done", "failed"], words: str = "", **detail: object) -> None:
        """Note an event, wherever it can be written."""
        now = datetime.now(timezone.utc)
        entry = Entry(
            run=self.run,
            started_at=self.started_at,
            step=step,
            event=event,
            at=now,
            words=words,
            detail={name: str(value) for name, value in detail.items() if value is not None},
        )
        key = f"{self.folder}/{now:%Y%m%dT%H%M%S.%fZ}-{_UNSAFE.sub('_', step)}-{event}.json"
        for place in self.places:
            try:
                place.put_bytes(key, entry.model_dump_json(indent=2).encode() + b"\n")
            except (BackupError, OSError) as error:
                log.warning("%s can't be noted in %s: %s", step, place.url, error)

    @property
    def folder(self) -> str:
        """Where its events lie."""
        number = hashlib.sha256(self.run.encode()).hexdigest()[:8]
        return f"{ROOT}/{self.started_at:{_START}}-{number}"


def journal_places(settings: Settings, connections: Connections) -> list[Repository]:
    """The worker's disk, and the repository in the DR region."""
    from spoqplus_backup.core.dr.folder import dr_folder

    disk = LocalRepository("disk", dr_folder(settings) / "journal")
    try:
        return [disk, dr_repository(settings, connections)]
    except BackupError as error:
        log.warning("The journal is on this worker's disk alone: %s", error)
        return [disk]


def stories(places: Sequence[Repository], since: datetime) -> list[Story]:
    """What runs did that began since then, oldest first; what can't be read is left out."""
    found: dict[str, dict[str, Entry]] = {}
    for place in places:
        try:
            for folder in place.list_folders(f"{ROOT}/"):
                if folder[:16] >= f"{since.astimezone(timezone.utc):{_START}}":
                    _read(place, f"{ROOT}/{folder}/", found.setdefault(folder, {}))
        except (BackupError, OSError) as error:
            log.warning("The journal in %s can't be read: %s", place.url, error)
    told = []
    for _, entries in sorted(found.items()):
        if entries:
            ordered = tuple(entry for _, entry in sorted(entries.items()))
            told.append(Story(run=ordered[0].run, started_at=ordered[0].started_at, entries=ordered))
    return told


def _read(place: Repository, prefix: str, entries: dict[str, Entry]) -> None:
    for key in list(place.list(prefix)):
        if key not in entries:
            try:
                entries[key] = Entry.model_validate_json(place.read(key))
            except ValidationError:
                log.warning("%s/%s is no entry of a failover's journal", place.url, key)


def clock_from(told: Sequence[Story], run: str, started_at: datetime) -> datetime:
    """Since when a failover's recovery time counts: since the first run of it, when earlier ones were broken off."""
    first = started_at
    for story in reversed([story for story in told if story.run != run and story.started_at < started_at]):
        if story.is_complete or first - story.started_at > ONE_FAILOVER:
            break
        first = story.started_at
    return first
