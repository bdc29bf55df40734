"""The archived binary logs of a repository as a restore reads them: sidecars in parallel and once, logs one by one."""

import contextlib
import io
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, BinaryIO

from spoqplus_backup.core.connections import Connections
from spoqplus_backup.core.crypto import Scheme, scheme_for
from spoqplus_backup.core.errors import IntegrityError
from spoqplus_backup.core.manifest import BinlogSegment
from spoqplus_backup.core.mysql.gtid import goes_on
from spoqplus_backup.core.progress import Progress
from spoqplus_backup.core.repository.base import Repository
from spoqplus_backup.core.repository.binlogs import BinlogCatalog, Timeline, base_name, log_number
from spoqplus_backup.core.sealed import Unsealed, unsealed
from spoqplus_backup.core.settings import Settings
from spoqplus_backup.core.stages import STORE_THREADS, in_parallel

if TYPE_CHECKING:
    from _typeshed import WriteableBuffer

READ_AHEAD_BYTES = 1 << 20
LOGS = ".logs"  # of a restore's folder, where a component's name begins with a letter or a digit


class ArchivedLogs:
    """The logs of one repository; each sidecar and each list of names is read once."""

    def __init__(self, settings: Settings, connections: Connections, repository: Repository) -> None:
        self.settings = settings
        self.repository = repository
        self._connections = connections
        self._catalog = BinlogCatalog(repository, settings.signing.public_key_files, settings.site)
        self._timelines: dict[int | None, list[Timeline]] = {}
        self._names: dict[Timeline, list[str]] = {}
        self._loaded: dict[tuple[Timeline, str], tuple[BinlogSegment, str]] = {}

    def forget_listings(self) -> None:
        """List anew from here on; sidecars that were read stay: they never change."""
        self._timelines.clear()
        self._names.clear()

    def timelines(self, server_id: int | None = None) -> list[Timeline]:
        """The timelines of a server (or all), oldest first."""
        if server_id not in self._timelines:
            self._timelines[server_id] = self._catalog.timelines(server_id)
        return self._timelines[server_id]

    def names(self, timeline: Timeline) -> list[str]:
        """The logs of a timeline, in order."""
        if timeline not in self._names:
            self._names[timeline] = self._catalog.names(timeline)
        return self._names[timeline]

    def load(self, timeline: Timeline, names: Sequence[str]) -> list[tuple[BinlogSegment, str]]:
        """Sidecars, proved, and their SHA-256.

        Raises:
            IntegrityError: one is missing, forged or damaged.
        """
        missing = [name for name in names if (timeline, name) not in self._loaded]
        found = in_parallel(lambda name: self._catalog.load_with_digest(timeline, name), missing, STORE_THREADS)
        self._loaded.update({(timeline, name): pair for name, pair in zip(missing, found, strict=True)})
        return [self._loaded[timeline, name] for name in names]

    def segment(self, timeline: Timeline, name: str) -> BinlogSegment:
        """One sidecar; see `load`."""
        return self.load(timeline, [name])[0][0]

    def scheme(self, segment: BinlogSegment) -> Scheme:
        """What a log is encrypted with."""
        return scheme_for(self.settings, self._connections, segment.encryption.scheme)

    def chain(self, timeline: Timeline, names: Sequence[str]) -> list[tuple[BinlogSegment, str]]:
        """The sidecars of logs that have to follow each other.

        Raises:
            IntegrityError: a log is missing, or one does not follow the one before it; the message names it.
        """
        loaded = self.load(timeline, names)
        for (earlier, digest), (later, _) in zip(loaded, loaded[1:], strict=False):
            where = f"{self.repository.url}/{later.key}"
            if not follows(earlier.name, later.name):
                raise IntegrityError(
                    f"{self.repository.url}/{timeline.folder}/{next_name(earlier.name)} is missing: take the logs from "
                    "another repository, or choose a target before it."
                )
            if later.previous is None or (later.previous.id, later.previous.sha256) != (earlier.name, digest):
                raise IntegrityError(
                    f"{where} was not archived after {earlier.name} as it lies there now: one of the two was replaced; "
                    "take the logs from another repository."
                )
            if not goes_on(later.server.flavour, (earlier.gtids_before, earlier.gtids_after), later.gtids_before):
                raise IntegrityError(
                    f"{where} does not go on where {earlier.name} ends ({earlier.gtids_after}, then "
                    f"{later.gtids_before}): transactions between them are missing; choose a target before it."
                )
        return loaded


def next_name(name: str) -> str:
    """The name of the log that the server wrote after one: numbers have six digits or more."""
    return f"{base_name(name)}.{log_number(name) + 1:06d}"


def follows(earlier: str, later: str) -> bool:
    """Whether two logs are neighbours by their names."""
    return base_name(earlier) == base_name(later) and log_number(later) == log_number(earlier) + 1


def sealed_log(directory: Path, folder: str, name: str) -> Path:
    """Where a fetched log lies in a restore's folder, encrypted: as in the repository."""
    return directory / LOGS / folder / name


def fetch_log(
    repository: Repository, segment: BinlogSegment, directory: Path, progress: Progress | None = None
) -> Path:
    """Bring a log to a folder, encrypted; one that is there already is whole and stays.

    Raises:
        IntegrityError: it is missing or not what its signed sidecar says.
    """
    part = segment.log
    path = sealed_log(directory, segment.folder, part.name)
    if not (path.exists() and path.stat().st_size == part.stored_bytes):
        add = progress.add if progress else None
        repository.get(f"{segment.folder}/{part.name}", path, part.sha256, part.stored_bytes, add)
    return path


class _Raw(io.RawIOBase):
    """What was sealed, as a raw stream that can be buffered."""

    def __init__(self, source: Unsealed) -> None:
        super().__init__()
        self._source = source

    def readable(self) -> bool:
        return True

    def readinto(self, buffer: "WriteableBuffer", /) -> int:
        view = memoryview(buffer).cast("B")
        content = self._source.read(len(view))
        view[: len(content)] = content
        return len(content)


@contextlib.contextmanager
def opened(path: Path, scheme: Scheme) -> Iterator[BinaryIO]:
    """A fetched log's raw bytes, buffered: a log is read in many small steps."""
    with unsealed(path, scheme) as source:
        yield io.BufferedReader(_Raw(source), READ_AHEAD_BYTES)
