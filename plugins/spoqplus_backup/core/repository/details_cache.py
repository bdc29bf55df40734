"""What manifests say, remembered on this machine: one never changes, so what was read need not be read again.

    <staging>/.cache/<site>.sqlite

Remembered by repository, name, size and tag of the manifest, as the listing tells them: one that was replaced is read
anew. Nothing depends on it: without it everything is read again, and what is damaged is thrown away. A restore never
looks in here. Several processes may use one file.
"""

import contextlib
import logging
import os
import sqlite3
import threading
from collections.abc import Container, Iterable, Iterator, Mapping
from pathlib import Path
from typing import Any, NamedTuple

from spoqplus_backup.core.repository.set_details import SetContents, SetDetails
from spoqplus_backup.core.repository.survey import Copy
from spoqplus_backup.core.settings import Settings

log = logging.getLogger(__name__)

FOLDER = ".cache"
VERSION = 3  # of what is remembered; a file of another version is made anew
TABLES = """
CREATE TABLE sets (sha256 TEXT PRIMARY KEY, details TEXT, contents TEXT) WITHOUT ROWID;
CREATE TABLE copies (url TEXT, name TEXT, bytes INTEGER, tag TEXT, sha256 TEXT, PRIMARY KEY (url, name)) WITHOUT ROWID;
CREATE TABLE facts (name TEXT PRIMARY KEY, content TEXT) WITHOUT ROWID;
"""


class Known(NamedTuple):
    """A manifest as a listing tells of it; `sha256` is None as long as it was not read, or can't be believed."""

    bytes: int
    tag: str
    sha256: str | None


class DetailsCache:
    """What was read before. Every method works when it can't be written: then nothing is remembered."""

    def __init__(self, path: Path) -> None:
        self.path = path
        self._once = threading.RLock()  # several threads read manifests
        self._database = self._open()

    @classmethod
    def of(cls, settings: Settings) -> "DetailsCache":
        """The site's."""
        return cls(cls.path_of(settings))

    @staticmethod
    def path_of(settings: Settings) -> Path:
        """Where the site's lies: beside its staging area."""
        return settings.staging.directory / FOLDER / f"{settings.site}.sqlite"

    def _open(self) -> sqlite3.Connection | None:
        for _ in range(2):
            try:
                self.path.parent.mkdir(parents=True, exist_ok=True)
                database = sqlite3.connect(self.path, isolation_level=None, check_same_thread=False)
                database.execute("PRAGMA synchronous = OFF")  # what a power cut spoils is thrown away
                if database.execute("PRAGMA user_version").fetchone() != (VERSION,):
                    self._make(database)
            except (OSError, sqlite3.OperationalError) as error:  # read-only, full, locked by another
                log.info("Nothing is remembered in %s: %s", self.path, error)
                return None
            except sqlite3.DatabaseError:
                self._throw_away()
            else:
                return database
        return None

    @staticmethod
    def _make(database: sqlite3.Connection) -> None:
        database.execute("BEGIN IMMEDIATE")
        if database.execute("PRAGMA user_version").fetchone() != (VERSION,):  # another process may have been quicker
            for (name,) in database.execute("SELECT name FROM sqlite_master WHERE type = 'table'").fetchall():
                database.execute(f'DROP TABLE "{name}"')
            for statement in TABLES.strip().split(";")[:-1]:
                database.execute(statement)
            database.execute(f"PRAGMA user_version = {VERSION}")
        database.execute("COMMIT")

    def _throw_away(self) -> None:
        """A damaged file goes by renaming: whoever has it open keeps it, and finds the new one the next time."""
        log.info("%s is damaged: it is made anew", self.path)
        aside = self.path.with_suffix(f".damaged.{os.getpid()}.{threading.get_ident()}")
        with contextlib.suppress(OSError):
            self.path.rename(aside)
            aside.unlink()

    def get(self, url: str, name: str, copy: Copy) -> SetDetails | None:
        """What is remembered of a set's manifest in a repository; None when nothing is, or it was replaced since."""
        rows = self._run(
            "SELECT details FROM copies JOIN sets USING (sha256) WHERE url = ? AND name = ? AND bytes = ? AND tag = ?",
            (url, name, copy.bytes, copy.tag),
        )
        return _details(rows[0][0]) if rows else None

    def put(self, url: str, name: str, known: Copy | Known, details: SetDetails, contents: SetContents) -> None:
        """Remember it."""
        with self.together():
            self._run(
                "INSERT OR REPLACE INTO copies VALUES (?, ?, ?, ?, ?)",
                (url, name, known.bytes, known.tag, details.sha256),
            )
            self._run(
                "INSERT OR IGNORE INTO sets VALUES (?, ?, ?)",
                (details.sha256, details.model_dump_json(), contents.model_dump_json()),
            )

    def keep_only(self, url: str, names: Container[str]) -> None:
        """Forget all other sets of a repository."""
        with self.together():
            for (name,) in self._run("SELECT name FROM copies WHERE url = ?", (url,)):
                if name not in names:
                    self._run("DELETE FROM copies WHERE url = ? AND name = ?", (url, name))
            self._run("DELETE FROM sets WHERE sha256 NOT IN (SELECT sha256 FROM copies WHERE sha256 IS NOT NULL)")

    def keep_listing(self, url: str, listing: Mapping[str, Known], changed: Iterable[str]) -> None:
        """Remember which sets a repository has: what `changed` of a listing, and nothing that it has not."""
        with self.together():
            for name in changed:
                self._run("INSERT OR REPLACE INTO copies VALUES (?, ?, ?, ?, ?)", (url, name, *listing[name]))
            self.keep_only(url, listing)

    def copies(self) -> dict[str, dict[str, Known]]:
        """By a repository's address and a set's name, what the last listings told."""
        found: dict[str, dict[str, Known]] = {}
        for url, name, *known in self._run("SELECT url, name, bytes, tag, sha256 FROM copies"):
            found.setdefault(url, {})[name] = Known(*known)
        return found

    def details(self) -> Iterator[SetDetails]:
        """Of every set."""
        for (content,) in self._run("SELECT details FROM sets"):
            if found := _details(content):
                yield found

    def whole(self, sha256: str) -> tuple[SetDetails, SetContents] | None:
        """All that is remembered of a set, by its manifest's checksum."""
        rows = self._run("SELECT details, contents FROM sets WHERE sha256 = ?", (sha256,))
        with contextlib.suppress(ValueError):
            return _both(*rows[0]) if rows else None
        return None

    def fact(self, name: str) -> str | None:
        """Something else that was found out and takes long to be found out again."""
        rows = self._run("SELECT content FROM facts WHERE name = ?", (name,))
        return str(rows[0][0]) if rows else None

    def keep_fact(self, name: str, content: str) -> None:
        """Remember it."""
        self._run("INSERT OR REPLACE INTO facts VALUES (?, ?)", (name, content))

    @contextlib.contextmanager
    def together(self) -> Iterator[None]:
        """What is remembered in the block is remembered at once; another process sees all of it, or nothing."""
        with self._once:
            if self._database is None or self._database.in_transaction:
                yield
                return
            self._run("BEGIN IMMEDIATE")
            yield
            self._run("COMMIT")

    def _run(self, statement: str, values: tuple[Any, ...] = ()) -> list[tuple[Any, ...]]:
        with self._once:
            if self._database is None:
                return []
            try:
                return self._database.execute(statement, values).fetchall()
            except sqlite3.Error as error:
                if isinstance(error, sqlite3.OperationalError):
                    log.info("Nothing is remembered in %s: %s", self.path, error)
                else:
                    self._throw_away()
                self.close()
                return []

    def close(self) -> None:
        """Let go of the file."""
        with self._once:
            if self._database is not None:
                self._database.close()
                self._database = None


def _details(content: str) -> SetDetails | None:
    with contextlib.suppress(ValueError):
        return SetDetails.model_validate_json(content)
    return None


def _both(details: str, contents: str) -> tuple[SetDetails, SetContents]:
    return SetDetails.model_validate_json(details), SetContents.model_validate_json(contents)
