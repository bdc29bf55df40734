"""What the backup host remembers of the face images between runs, in one SQLite file beside the staging area.

It spares reading what did not change and sending what is there; nothing in it is believed without the repositories'
listings, and without it everything is only read again. All methods may be called from any thread.

    <staging>/<site>/faces/known.sqlite     this, readable for its owner alone: it holds names
    <staging>/<site>/faces/name.key         what the objects' names are made with
"""

import contextlib
import os
import secrets
import sqlite3
import threading
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from spoqplus_backup.core.settings import Settings
from spoqplus_backup.core.staging import write_all, written_aside

KEY_BYTES = 32
PAGE = 1000

_TABLES = """
CREATE TABLE IF NOT EXISTS object (key TEXT PRIMARY KEY, bytes INTEGER, sha256 TEXT) WITHOUT ROWID;
CREATE TABLE IF NOT EXISTS fresh (of_set TEXT, key TEXT, PRIMARY KEY (of_set, key)) WITHOUT ROWID;
CREATE TABLE IF NOT EXISTS suspect (repository TEXT, key TEXT, PRIMARY KEY (repository, key)) WITHOUT ROWID;
CREATE TABLE IF NOT EXISTS hashed (path BLOB PRIMARY KEY, facts TEXT, sha256 TEXT) WITHOUT ROWID;
CREATE TABLE IF NOT EXISTS before (path BLOB PRIMARY KEY) WITHOUT ROWID;
"""
_TABLES_OF_A_SYNC = """
DROP TABLE IF EXISTS there;
CREATE TABLE there (repository TEXT, key TEXT, bytes INTEGER, PRIMARY KEY (repository, key)) WITHOUT ROWID;
DROP TABLE IF EXISTS found;
CREATE TABLE found (
    path BLOB PRIMARY KEY, type TEXT, size INTEGER, mode INTEGER, uid INTEGER, gid INTEGER, mtime_ns INTEGER,
    facts TEXT, link BLOB, attributes TEXT, sha256 TEXT, key TEXT
) WITHOUT ROWID;
CREATE INDEX found_key ON found (key);
"""


def faces_folder(settings: Settings) -> Path:
    """Where the backup host keeps what it remembers of a site's face images."""
    return settings.staging.directory / settings.site / "faces"


@dataclass(frozen=True)
class Found:
    """A file, folder or link as it was found; `path` is relative to `/`. `facts` change when its content does.

    `attributes` are the extended ones and access lists, as JSON with values in base64.
    """

    path: bytes
    type: str
    size: int
    mode: int
    uid: int
    gid: int
    mtime_ns: int
    facts: str
    link: bytes | None = None
    attributes: str | None = None
    sha256: str | None = None
    key: str | None = None


@dataclass(frozen=True)
class StoredObject:
    """What is stored under a key."""

    bytes: int
    sha256: str


class FaceStore:
    """The memory of one site.

    Args:
        folder: where its file lies.
        of_set: the set that is being made.
        syncing: begin a sync; only one process at a time may.
    """

    def __init__(self, folder: Path, of_set: str, *, syncing: bool) -> None:
        folder.mkdir(parents=True, exist_ok=True, mode=0o700)
        path = folder / "known.sqlite"
        os.close(os.open(path, os.O_CREAT | os.O_RDWR, 0o600))
        self._of_set = of_set
        self._lock = threading.RLock()
        self._database = sqlite3.connect(path, check_same_thread=False, isolation_level=None)
        self._database.execute("PRAGMA journal_mode = WAL")
        self._database.execute("PRAGMA synchronous = NORMAL")
        self._database.executescript(_TABLES + _TABLES_OF_A_SYNC if syncing else _TABLES)

    def close(self) -> None:
        """Close the file."""
        self._database.close()

    def _many(self, statement: str, rows: Iterable[Sequence[Any]]) -> None:
        with self._lock:
            self._database.execute("BEGIN")
            try:
                self._database.executemany(statement, rows)
            except BaseException:
                self._database.execute("ROLLBACK")
                raise
            self._database.execute("COMMIT")

    def _one(self, statement: str, *values: Any) -> Any:
        with self._lock:
            return self._database.execute(statement, values).fetchone()

    def _run(self, statement: str, *values: Any) -> None:
        with self._lock:
            self._database.execute(statement, values)

    def _pages(self, statement: str, first: Any) -> Iterator[list[tuple[Any, ...]]]:
        """The rows of a statement that is ordered by its first column, which the question mark is to be less than."""
        after = first
        while True:
            with self._lock:
                rows = self._database.execute(f"{statement} LIMIT {PAGE}", (after,)).fetchall()
            if not rows:
                return
            yield rows
            after = rows[-1][0]

    # ---- what the source has

    def find(self, found: Iterable[Found]) -> None:
        """Note what is in the source now; in constant memory."""
        columns = ("path", "type", "size", "mode", "uid", "gid", "mtime_ns", "facts", "link", "attributes")
        rows = (tuple(getattr(item, name) for name in columns) for item in found)
        places = ", ".join("?" * len(columns))
        self._many(f"INSERT INTO found ({', '.join(columns)}) VALUES ({places})", rows)  # noqa: S608 (constants)

    def pages(self) -> Iterator[list[Found]]:
        """Everything that was found, by its path, some at a time."""
        for rows in self._pages("SELECT * FROM found WHERE path > ? ORDER BY path", b""):
            yield [Found(*row) for row in rows]

    def count(self) -> tuple[int, int]:
        """How many files were found, and how many entries of any kind."""
        files, entries = self._one("SELECT count(*) FILTER (WHERE type = 'file'), count(*) FROM found")
        return int(files), int(entries)

    def total_bytes(self) -> int:
        """The size of all files."""
        return int(self._one("SELECT coalesce(sum(size), 0) FROM found")[0])

    def unread_bytes(self) -> int:
        """The size of the files whose content is not known."""
        statement = (
            "SELECT coalesce(sum(size), 0) FROM found LEFT JOIN hashed USING (path, facts) "
            "WHERE type = 'file' AND hashed.sha256 IS NULL"
        )
        return int(self._one(statement)[0])

    def lost(self) -> tuple[int, int]:
        """How many of the files of the last run are gone, and how many there were."""
        gone = self._one(
            "SELECT count(*) FROM before WHERE NOT EXISTS "
            "(SELECT 1 FROM found WHERE found.path = before.path AND type = 'file')"
        )
        return int(gone[0]), int(self._one("SELECT count(*) FROM before")[0])

    def hash_of(self, item: Found) -> str | None:
        """The SHA-256 of a file's content when it did not change since it was read."""
        row = self._one("SELECT sha256 FROM hashed WHERE path = ? AND facts = ?", item.path, item.facts)
        return None if row is None else str(row[0])

    def keep_hash(self, item: Found, sha256: str) -> None:
        """Remember a file's content."""
        self._run("INSERT OR REPLACE INTO hashed VALUES (?, ?, ?)", item.path, item.facts, sha256)

    def settle(self, items: Iterable[Found]) -> None:
        """Note content and object of files, and what else was seen when they were read."""
        columns = ("size", "mode", "uid", "gid", "mtime_ns", "attributes", "sha256", "key")
        rows = ((*(getattr(item, name) for name in columns), item.path) for item in items)
        changes = ", ".join(f"{name} = ?" for name in columns)
        self._many(f"UPDATE found SET {changes} WHERE path = ?", rows)  # noqa: S608 (constants)

    def forget(self, paths: Iterable[bytes]) -> None:
        """Files that vanished."""
        self._many("DELETE FROM found WHERE path = ?", ((path,) for path in paths))

    def finish(self) -> None:
        """What was found is what the next run compares with."""
        with self._lock:
            self._database.execute("BEGIN")
            self._database.execute("DELETE FROM before")
            self._database.execute("INSERT INTO before SELECT path FROM found WHERE type = 'file'")
            self._database.execute("DELETE FROM hashed WHERE path NOT IN (SELECT path FROM found)")
            self._database.execute("COMMIT")

    # ---- what the repositories have

    def begin(self) -> None:
        """A sync of this set begins: what others sent is of no interest any more."""
        self._run("DELETE FROM fresh WHERE of_set <> ?", self._of_set)

    def list(self, repository: str, objects: Iterable[tuple[str, int]]) -> None:
        """Note what a repository lists: keys and sizes."""
        self._many("INSERT OR REPLACE INTO there VALUES (?, ?, ?)", ((repository, *item) for item in objects))

    def places(self, key: str) -> dict[str, int]:
        """Which repositories list an object that was not found damaged, with the size that they say."""
        statement = (
            "SELECT repository, bytes FROM there WHERE key = ? AND NOT EXISTS "
            "(SELECT 1 FROM suspect WHERE suspect.repository = there.repository AND suspect.key = there.key)"
        )
        with self._lock:
            return dict(self._database.execute(statement, (key,)).fetchall())

    def suspect(self, repository: str, key: str) -> None:
        """A repository's object is damaged, whatever the listing says: the next sync replaces it."""
        self._run("INSERT OR IGNORE INTO suspect VALUES (?, ?)", repository, key)

    def object(self, key: str) -> StoredObject | None:
        """What is known to be stored under a key."""
        row = self._one("SELECT bytes, sha256 FROM object WHERE key = ?", key)
        return None if row is None else StoredObject(*row)

    def remember(self, key: str, stored: StoredObject) -> None:
        """Note what is (or, before it is sent, will be) stored under a key."""
        self._run("INSERT OR REPLACE INTO object VALUES (?, ?, ?)", key, stored.bytes, stored.sha256)

    def sent(self, repository: str, key: str, size: int) -> None:
        """An object was stored by this set's run."""
        self.list(repository, [(key, size)])
        self._run("DELETE FROM suspect WHERE repository = ? AND key = ?", repository, key)
        self.watch(key)

    def watch(self, key: str) -> None:
        """An object's checksum is to be looked at before this set is published."""
        self._run("INSERT OR IGNORE INTO fresh VALUES (?, ?)", self._of_set, key)

    def is_fresh(self, key: str) -> bool:
        """Whether this set's run has stored it, or otherwise has to look at its checksum."""
        return self._one("SELECT 1 FROM fresh WHERE of_set = ? AND key = ?", self._of_set, key) is not None

    def needed(self) -> Iterator[tuple[str, StoredObject]]:
        """Every object of what was found, once, by its key."""
        for page in self.needed_pages():
            yield from page

    def needed_pages(self) -> Iterator[Sequence[tuple[str, StoredObject]]]:
        """As `needed`, some at a time."""
        statement = (
            "SELECT DISTINCT key, object.bytes, object.sha256 FROM found JOIN object USING (key) "
            "WHERE key > ? ORDER BY key"
        )
        for rows in self._pages(statement, ""):
            yield [(key, StoredObject(size, sha256)) for key, size, sha256 in rows]


@contextlib.contextmanager
def face_store(folder: Path, of_set: str, *, syncing: bool = False) -> Iterator[FaceStore]:
    """The memory of a site for the length of a block; who is syncing holds the lock that keeps others away."""
    store = FaceStore(folder, of_set, syncing=syncing)
    try:
        yield store
    finally:
        store.close()


def name_key(folder: Path) -> bytes:
    """The secret that objects' names are made with, made when there is none.

    With it, nobody can tell from a repository's listing whether a picture that they have is in it. When it is lost, all
    objects are stored once more under other names; sets of before keep theirs.
    """
    path = folder / "name.key"
    if path.exists():
        return path.read_bytes()
    key = secrets.token_bytes(KEY_BYTES)
    with written_aside(path) as file:
        os.fchmod(file.fileno(), 0o600)
        write_all(file, key)
    return key
