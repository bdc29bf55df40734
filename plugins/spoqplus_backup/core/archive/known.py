"""Which logs are archived or on their way: what the repositories and the staging area know together.

A log leaves the staging area only when every repository has it, so any one repository and the staging area are all
there is to know. While none can be reached, what was known last time stands in, so that logs still get off the server.
"""

import logging
from collections.abc import Iterable, Mapping
from datetime import datetime

from spoqplus_backup.core.archive.area import Area, FetchedLog
from spoqplus_backup.core.connections import Connections
from spoqplus_backup.core.errors import BackupError, IntegrityError, PermanentError
from spoqplus_backup.core.manifest import BinlogSegment, Model
from spoqplus_backup.core.repository.base import Repository
from spoqplus_backup.core.repository.binlogs import BinlogCatalog, Timeline, log_number
from spoqplus_backup.core.repository.opener import open_repositories
from spoqplus_backup.core.settings import Settings
from spoqplus_backup.core.staging import read_json, write_json

log = logging.getLogger(__name__)

CACHE = "known.json"


class Known(Model):
    """The newest log of a server that is archived or staged. `cut_off`: the server's own file may be longer."""

    server_id: int
    uuid: str | None
    timeline: str
    name: str
    created_at: datetime
    bytes: int
    cut_off: bool
    gtids_before: str = ""
    gtids_after: str
    gtids_unlogged: str | None = None
    last_at: datetime | None
    taken_at: datetime

    @property
    def place(self) -> tuple[str, int]:
        """Sorts the logs of one server."""
        return self.timeline, log_number(self.name)


class KnownLogs(Model):
    """The newest log of each server."""

    logs: tuple[Known, ...]

    @property
    def newest(self) -> Known | None:
        """The one that was taken last."""
        return max(self.logs, key=lambda known: known.taken_at, default=None)

    def of(self, server_id: int) -> Known | None:
        """The newest of one server."""
        return next((known for known in self.logs if known.server_id == server_id), None)


def from_segment(segment: BinlogSegment) -> Known:
    """What a sidecar says."""
    return _known(segment, segment.log.raw_bytes, segment.archived_at)


def from_fetched(fetched: FetchedLog) -> Known:
    """What fetch noted."""
    return _known(fetched, fetched.bytes, fetched.fetched_at)


def _known(found: BinlogSegment | FetchedLog, size: int, taken_at: datetime) -> Known:
    return Known(
        server_id=found.server.id,
        uuid=found.server.uuid,
        timeline=found.timeline,
        name=found.name,
        created_at=found.created_at,
        bytes=size,
        cut_off=found.truncated,
        gtids_before=found.gtids_before,
        gtids_after=found.gtids_after,
        gtids_unlogged=found.gtids_unlogged,
        last_at=found.last_at,
        taken_at=taken_at,
    )


def catalogues(settings: Settings, connections: Connections) -> list[BinlogCatalog]:
    """The archived logs of each repository, in the configuration's order."""
    return [
        BinlogCatalog(repository, settings.signing.public_key_files, settings.site)
        for repository in open_repositories(settings, connections)
    ]


def known_logs(settings: Settings, connections: Connections, area: Area) -> KnownLogs:
    """The newest log of each server, in all repositories that can be reached and in the staging area.

    Raises:
        BackupError: no repository can be reached, and nothing was known before.
        IntegrityError: the newest sidecar can't be trusted in any repository.
    """
    reached, found, failure = 0, [], None
    for catalog in catalogues(settings, connections):
        try:
            found.append((catalog, newest_names(catalog)))
            reached += 1
        except BackupError as error:
            failure = error
            log.warning("The archived logs in %s can't be listed: %s", catalog.repository.url, error)
    if failure is not None and not reached:
        known = _remembered(area)
        if known is None:
            raise failure
    else:
        known = _loaded(found)
    known = _newest([*known, *(from_fetched(staged.fetched) for staged in area.staged())])
    made = KnownLogs(logs=known)
    write_json(area.path / CACHE, made)
    return made


def newest_names(catalog: BinlogCatalog) -> dict[int, tuple[Timeline, str]]:
    """The newest log's name of each server in one repository."""
    found: dict[int, tuple[Timeline, str]] = {}
    for timeline in catalog.timelines():  # oldest first
        if names := catalog.names(timeline):
            found[timeline.server_id] = (timeline, names[-1])
    return found


def newest_of_all(found: Iterable[Mapping[int, tuple[Timeline, str]]]) -> dict[int, tuple[Timeline, str]]:
    """Each server's newest log, of what `newest_names` says of several repositories."""
    best: dict[int, tuple[Timeline, str]] = {}
    for names in found:
        for server_id, place in names.items():
            best[server_id] = max(best.get(server_id, place), place, key=lambda at: (at[0].name, log_number(at[1])))
    return best


def load_from_any(
    catalogs: Iterable[BinlogCatalog], timeline: Timeline, name: str
) -> tuple[BinlogSegment, str, Repository]:
    """A sidecar, its SHA-256 and where it was read, from the first repository in which it can be trusted.

    Raises:
        BackupError: there is none; the first repository's reason.
    """
    failure: BackupError | None = None
    for catalog in catalogs:
        try:
            return (*catalog.load_with_digest(timeline, name), catalog.repository)
        except BackupError as error:
            failure = failure or error
            if isinstance(error, IntegrityError):
                log.warning("%s", error)
    raise failure or PermanentError(f"No repository is configured that could have {timeline.folder}/{name}.")


def _loaded(found: list[tuple[BinlogCatalog, dict[int, tuple[Timeline, str]]]]) -> tuple[Known, ...]:
    logs = []
    for server_id, place in newest_of_all(newest for _, newest in found).items():
        holders = [catalog for catalog, newest in found if newest.get(server_id) == place]
        logs.append(from_segment(load_from_any(holders, *place)[0]))
    return tuple(logs)


def _newest(logs: Iterable[Known]) -> tuple[Known, ...]:
    best: dict[int, Known] = {}
    for known in logs:
        if known.server_id not in best or known.place > best[known.server_id].place:
            best[known.server_id] = known
    return tuple(best.values())


def _remembered(area: Area) -> tuple[Known, ...] | None:
    content = read_json(area.path / CACHE)
    return None if content is None else KnownLogs.model_validate(content).logs
