"""What manifests say, remembered on this machine: one never changes, so what was read need not be read again.

    <staging>/.cache/<site>.sqlite

Remembered by repository, name, size and tag of the manifest, as the listing tells them: one that was replaced is read
anew. Nothing depends on it: without it everything is read again, and what is damaged is thrown away. A restore never
looks in here.
"""

import contextlib
import logging
import sqlite3
import threading
from collections.abc import Container, Iterator
from datetime import datetime
from itertools import islice
from pathlib import Path

from spoqplus_backup.core.errors import BackupError, IntegrityError
from spoqplus_backup.core.manifest import MANIFEST, Component, Manifest, Model
from spoqplus_backup.core.repository.catalog import Catalog
from spoqplus_backup.core.repository.survey import Copy, SetCopies, ref_of
from spoqplus_backup.core.settings import Settings
from spoqplus_backup.core.stages import in_parallel

log = logging.getLogger(__name__)

FOLDER = ".cache"
VERSION = 2  # of what is remembered
BATCH = 64  # sets whose manifests are read together
THREADS = 8


class ComponentDetails(Model):
    """What is shown of a component. Sizes in bytes, without shared objects; `seconds` by the stage of its chain."""

    name: str
    kind: str
    parts: int
    stored_bytes: int
    raw_bytes: int
    seconds: dict[str, float] = {}
    level: int | None = None
    base: str | None = None


class SetDetails(Model):
    """What a list shows of a manifest. Sizes in bytes; `contents` are components, or the logs of an incremental set."""

    sha256: str
    started_at: datetime
    finished_at: datetime
    stored_bytes: int
    raw_bytes: int
    server: str
    contents: tuple[str, ...]
    logs: int = 0
    transactions: int = 0
    depends_on: tuple[str, ...] = ()
    components: tuple[ComponentDetails, ...] = ()

    @property
    def seconds(self) -> float:
        """How long the backup took."""
        return (self.finished_at - self.started_at).total_seconds()


class Described(Model):
    """A set with what its manifest says; `problem` is why it can't be used, in a repository that the sentence names."""

    found: SetCopies
    details: SetDetails | None
    problem: str | None = None


def details_of(manifest: Manifest, sha256: str) -> SetDetails:
    """What a list shows."""
    logs = manifest.binlogs
    return SetDetails(
        sha256=sha256,
        started_at=manifest.started_at,
        finished_at=manifest.finished_at,
        stored_bytes=manifest.stored_bytes + sum(ref.stored_bytes for ref in logs),
        raw_bytes=manifest.raw_bytes + sum(ref.raw_bytes for ref in logs),
        server=f"{manifest.server.flavour} {manifest.server.version}",
        contents=tuple(component.name for component in manifest.components),
        logs=len(logs),
        transactions=sum(ref.transactions for ref in logs),
        depends_on=manifest.depends_on,
        components=tuple(map(_component, manifest.components)),
    )


def _component(component: Component) -> ComponentDetails:
    return ComponentDetails(
        name=component.name,
        kind=component.kind,
        parts=len(component.parts),
        stored_bytes=component.stored_bytes,
        raw_bytes=component.raw_bytes,
        seconds=component.seconds,
        level=component.level,
        base=component.base,
    )


class DetailsCache:
    """What was read before. Every method works when it can't be written: then nothing is remembered."""

    def __init__(self, path: Path) -> None:
        self._path = path
        self._once = threading.Lock()  # several threads read manifests
        self._database = self._open()

    @classmethod
    def of(cls, settings: Settings) -> "DetailsCache":
        """The site's, beside its staging area."""
        return cls(settings.staging.directory / FOLDER / f"{settings.site}.sqlite")

    def _open(self) -> sqlite3.Connection | None:
        for _ in range(2):
            try:
                self._path.parent.mkdir(parents=True, exist_ok=True)
                database = sqlite3.connect(self._path, isolation_level=None, check_same_thread=False)
                database.execute("PRAGMA synchronous = OFF")  # what a power cut spoils is thrown away
                database.execute(
                    f"CREATE TABLE IF NOT EXISTS details_{VERSION} "
                    "(url TEXT, name TEXT, bytes INTEGER, tag TEXT, content TEXT, PRIMARY KEY (url, name)) "
                    "WITHOUT ROWID"
                )
            except (OSError, sqlite3.OperationalError) as error:  # read-only, full, locked by another
                log.info("Nothing is remembered in %s: %s", self._path, error)
                return None
            except sqlite3.DatabaseError:
                log.info("%s is damaged: it is made anew", self._path)
                self._path.unlink(missing_ok=True)
            else:
                return database
        return None

    def get(self, url: str, name: str, copy: Copy) -> SetDetails | None:
        """What is remembered of a set's manifest in a repository; None when nothing is, or it was replaced since."""
        rows = self._run(
            f"SELECT content FROM details_{VERSION} WHERE url = ? AND name = ? AND bytes = ? AND tag = ?",  # noqa: S608
            (url, name, copy.bytes, copy.tag),
        )
        with contextlib.suppress(ValueError):
            return SetDetails.model_validate_json(rows[0][0]) if rows else None
        return None

    def put(self, url: str, name: str, copy: Copy, details: SetDetails) -> None:
        """Remember it."""
        self._run(
            f"INSERT OR REPLACE INTO details_{VERSION} VALUES (?, ?, ?, ?, ?)",  # noqa: S608 (a number of ours)
            (url, name, copy.bytes, copy.tag, details.model_dump_json()),
        )

    def keep_only(self, url: str, names: Container[str]) -> None:
        """Forget all other sets of a repository."""
        for (name,) in self._run(f"SELECT name FROM details_{VERSION} WHERE url = ?", (url,)):  # noqa: S608
            if name not in names:
                self._run(f"DELETE FROM details_{VERSION} WHERE url = ? AND name = ?", (url, name))  # noqa: S608

    def _run(self, statement: str, values: tuple[str | int, ...]) -> list[tuple[str]]:
        if self._database is None:
            return []
        try:
            with self._once:
                return self._database.execute(statement, values).fetchall()
        except sqlite3.Error as error:
            log.info("Nothing is remembered in %s: %s", self._path, error)
            self._database = None
            return []

    def close(self) -> None:
        """Let go of the file."""
        if self._database is not None:
            self._database.close()


def described(
    catalogs: dict[str, Catalog], cache: DetailsCache, sets: Iterator[SetCopies], *, read: bool
) -> Iterator[Described]:
    """Sets with what their manifests say, in their order.

    Args:
        catalogs: by the repository's name.
        cache: what was read before.
        sets: as a survey tells them.
        read: read and prove what is not remembered, in every repository; else it is left out.
    """

    def one(found: SetCopies) -> Described:
        if not read:
            return Described(found=found, details=_remembered(catalogs, cache, found))
        return _proved(catalogs, cache, found)

    while batch := list(islice(sets, BATCH)):
        yield from in_parallel(one, batch, THREADS) if read else map(one, batch)


def _remembered(catalogs: dict[str, Catalog], cache: DetailsCache, found: SetCopies) -> SetDetails | None:
    for copy in found.copies:
        if details := cache.get(catalogs[copy.repository].repository.url, found.name, copy):
            return details
    return None


def _proved(catalogs: dict[str, Catalog], cache: DetailsCache, found: SetCopies) -> Described:
    first: SetDetails | None = None
    problems = []
    for copy in found.copies:
        catalog = catalogs[copy.repository]
        try:
            details = _details(catalog, cache, found, copy)
        except BackupError as error:
            problems.append(str(error))
            continue
        if first is not None and details.sha256 != first.sha256:
            problems.append(f"{catalog.repository.url}/{found.name}/{MANIFEST} is another set's than in the others.")
        first = first or details
    return Described(found=found, details=first, problem=" ".join(problems) or None)


def _details(catalog: Catalog, cache: DetailsCache, found: SetCopies, copy: Copy) -> SetDetails:
    url = catalog.repository.url
    if known := cache.get(url, found.name, copy):
        return known
    proved = catalog.prove(ref_of(found))
    if len(proved.content) != copy.bytes:
        raise IntegrityError(f"{url}/{found.name}/{MANIFEST} was replaced while it was read: list again.")
    details = details_of(proved.manifest, proved.sha256)
    cache.put(url, found.name, copy, details)
    return details
