"""What there is after a full archive and those on top of it: the tree that a restore has to give.

It is kept in an SQLite file, so memory does not grow with the number of files. Each member is checked against what is
there at its moment, as the file system would: nothing may lie below a link or a file, so nothing can be written
through one.

What an incremental archive does not hold is taken over from the tree before, by what each folder says it held
(`dumpdir.py`) and which folder it was then. GNU tar's own way, to rename and delete on the disk, goes wrong when
folders were renamed into each other.
"""

import contextlib
import json
import sqlite3
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import get_args

from spoqplus_backup.core.recovery.files.dumpdir import Dumpdir
from spoqplus_backup.core.recovery.files.index import Entry
from spoqplus_backup.core.recovery.files.names import Patterns, check_name, parent_of, refused, shown
from spoqplus_backup.core.recovery.files.tar_reader import EntryType

MOST_LINKS = 40  # that Linux follows in one path
_DEVICES = ("character", "block")

_TREE = """
CREATE TABLE tree (
    path BLOB PRIMARY KEY, parent BLOB, level INTEGER, number INTEGER, member BLOB, type TEXT, size INTEGER,
    mode INTEGER, uid INTEGER, gid INTEGER, user TEXT, "group" TEXT, mtime REAL, link BLOB, sha256 TEXT, key TEXT,
    stored_bytes INTEGER, stored_sha256 TEXT, attributes TEXT, start INTEGER, length INTEGER, chosen INTEGER DEFAULT 1
) WITHOUT ROWID
"""
_GONE = "CREATE TABLE gone (path BLOB PRIMARY KEY) WITHOUT ROWID"
_WAS = "CREATE TABLE was (path BLOB PRIMARY KEY, before BLOB) WITHOUT ROWID"  # which folder it was before
_INDEX = "CREATE INDEX by_parent ON tree (parent)"
_LATER = """
CREATE INDEX by_member ON tree (level, member);
CREATE INDEX by_place ON tree (level, number);
CREATE INDEX by_link ON tree (level, link) WHERE type = 'hardlink';
"""
_FIELDS = (
    'path, level, number, member, type, size, mode, uid, gid, user, "group", mtime, link, sha256, key, stored_bytes, '
    "stored_sha256, attributes, start, length"
)
_REST = _FIELDS.removeprefix("path, ")
_ADD = f"INSERT OR REPLACE INTO tree ({_FIELDS}, parent) VALUES ({', '.join('?' * 21)})"


@dataclass(frozen=True)
class Node:
    """A file, folder or link of the tree.

    `path` is its name at the end, `member` the one that it has in the archive of `level`, where it is the
    `number`-th and lies at `start` of the raw stream for `length` bytes. `link` is a member's name for a hard link.
    `key`, `stored_*` and `attributes` (JSON) are of an object of its own.
    """

    path: bytes
    level: int
    number: int
    member: bytes
    type: EntryType
    size: int
    mode: int
    uid: int
    gid: int
    user: str
    group: str
    mtime: float
    link: bytes | None
    sha256: str | None
    key: str | None
    stored_bytes: int | None
    stored_sha256: str | None
    attributes: str | None
    start: int
    length: int


@dataclass(frozen=True)
class Amount:
    """How many files there are, what they hold, and how long they are in their archives, in bytes."""

    files: int
    bytes: int
    stream_bytes: int


class FileTree:
    """The tree of one component.

    Args:
        path: the SQLite file; made anew where `create` is true.
    """

    def __init__(self, path: Path, *, create: bool = False) -> None:
        if create:
            path.parent.mkdir(parents=True, exist_ok=True)
            path.unlink(missing_ok=True)
        self._db = sqlite3.connect(path, isolation_level=None, check_same_thread=False)
        self._db.execute("PRAGMA synchronous = OFF")  # it is made anew when the machine dies
        self._db.execute("PRAGMA journal_mode = MEMORY")
        self._folders: set[bytes] = set()  # known to be one: of many files in a folder only the first one asks
        self._before: dict[bytes, bytes] = {}  # of folders that were renamed, by their new names
        if create:
            for statement in (_TREE, _GONE):
                self._db.execute(statement)

    def __enter__(self) -> "FileTree":
        return self

    def __exit__(self, kind: object, error: object, trace: object) -> None:
        self._db.close()

    @contextlib.contextmanager
    def making(self) -> Iterator[None]:
        """Make the tree, all of it or nothing."""
        self._db.execute("BEGIN")
        try:
            yield
            self._db.execute("DELETE FROM gone WHERE path IN (SELECT path FROM tree)")
            self._db.execute(_INDEX)
        except BaseException:
            self._db.execute("ROLLBACK")
            raise
        self._db.execute("COMMIT")
        self._db.executescript(_LATER)

    # what the archives hold, in their order

    def add(self, where: str, level: int, number: int, entry: Entry, start: int) -> None:
        """Put a member into its place. `where` names its archive in errors, `start` is its place in the raw stream.

        Raises:
            IntegrityError: it would be written outside of the root, or through a link.
        """
        path = entry.path
        check_name(where, path)
        parent = parent_of(path)
        self._check_parent(where, path, parent)
        if entry.type not in get_args(EntryType):
            raise refused(where, path, f"a {entry.type} device" if entry.type in _DEVICES else f"a {entry.type}")
        if entry.type != "directory" and self._type_of(path) == "directory":
            raise refused(where, path, "which takes the place of a folder")
        if entry.type == "hardlink":
            self._check_hard_link(where, path, entry.link or b"")
        place = (path, level, number, path, entry.type, entry.size)
        about = (entry.mode, entry.uid, entry.gid, entry.user, entry.group, entry.mtime, entry.link, entry.sha256)
        attributes = json.dumps(entry.attributes) if entry.attributes else None
        stored = (entry.key, entry.stored_bytes, entry.stored_sha256, attributes)
        self._db.execute(_ADD, (*place, *about, *stored, start, entry.length, parent))

    @contextlib.contextmanager
    def on_top(self) -> Iterator[None]:
        """What is added in the block is of an incremental archive. Nothing of the tree before stays but what `keep`
        takes over.
        """
        self._db.execute("ALTER TABLE tree RENAME TO before")
        self._db.execute("CREATE INDEX by_parent_before ON before (parent)")
        for statement in (_TREE, _WAS):
            self._db.execute(statement)
        self._folders.clear()
        self._before.clear()
        yield
        self._keep_single_files()
        self._db.execute("INSERT OR IGNORE INTO gone SELECT path FROM before WHERE path NOT IN (SELECT path FROM tree)")
        for table in ("before", "was"):
            self._db.execute(f"DROP TABLE {table}")

    def keep(self, folder: bytes, dumpdir: Dumpdir) -> int:
        """Take over what a folder says that it still holds; returns how many of these no archive has.

        Folders come in the order of the archive: above before below.
        """
        self._note_renames(dumpdir)
        kept = {name for name, flag in dumpdir.names.items() if flag == "N"}
        before, there = self._folder_before(folder, kept)
        if before is not None:
            self._db.execute("INSERT OR REPLACE INTO was VALUES (?, ?)", (folder, before))
        for name in there:
            self._db.execute(
                f"INSERT OR REPLACE INTO tree (path, parent, {_REST}) SELECT ?, ?, {_REST} FROM before WHERE path = ?",
                (_join(folder, name), folder, _join(before or b"", name)),
            )
        return len(kept) - len(there)

    def _note_renames(self, dumpdir: Dumpdir) -> None:
        """A folder that went by way of a temporary name is one that went from the first to the last."""
        waiting = b""
        for rename in dumpdir.renames:
            if not rename.target:
                waiting = rename.source
            else:
                self._before[rename.target] = rename.source or waiting

    def _folder_before(self, folder: bytes, kept: set[bytes]) -> tuple[bytes | None, set[bytes]]:
        """Which folder it was, and which of the names that it kept were in that one.

        GNU tar writes a renamed folder's old name as it was before all renames, or with those of the folders above it
        done; of some that only went along with the folder above, it writes nonsense. The one is meant that held what
        was kept.
        """
        best: tuple[bytes | None, set[bytes]] = (None, set())
        for candidate in self._candidates(folder):
            row = self._db.execute("SELECT type FROM before WHERE path = ?", (candidate,)).fetchone()
            if row is None or row[0] != "directory":
                continue
            rows = self._db.execute("SELECT path FROM before WHERE parent = ? AND type != 'directory'", (candidate,))
            found = {path[len(candidate) + 1 :] for (path,) in rows} & kept
            if best[0] is None or len(found) > len(best[1]):
                best = candidate, found
        return best

    def _candidates(self, folder: bytes) -> Iterator[bytes]:
        source = self._before.get(folder)
        if source is not None:
            yield source
            above, below = parent_of(source), source.rpartition(b"/")[2]
            while above:
                row = self._db.execute("SELECT before FROM was WHERE path = ?", (above,)).fetchone()
                if row is not None:
                    yield _join(row[0], below)
                above, below = parent_of(above), _join(above.rpartition(b"/")[2], below)
        row = self._db.execute("SELECT before FROM was WHERE path = ?", (parent_of(folder),)).fetchone()
        if row is not None:
            yield _join(row[0], folder.rpartition(b"/")[2])
        elif source is None:
            yield folder

    def _keep_single_files(self) -> None:
        """A file that was named itself is in no folder's list: it is as it was unless it is in the archive."""
        rows = self._db.execute(
            "SELECT path, parent FROM before WHERE type != 'directory' AND path NOT IN (SELECT path FROM tree) "
            "AND parent NOT IN (SELECT path FROM before)"
        ).fetchall()
        for path, parent in rows:
            if self._db.execute("SELECT 1 FROM tree WHERE path = ?", (parent,)).fetchone() is None:
                self._db.execute(
                    f"INSERT INTO tree (path, parent, {_REST}) SELECT path, parent, {_REST} FROM before WHERE path = ?",
                    (path,),
                )

    def _check_parent(self, where: str, path: bytes, parent: bytes) -> None:
        """The folder that it lies in is one, or it is the top of what was archived."""
        if not parent or parent in self._folders:
            return
        kind = self._type_of(parent)
        if kind == "directory":
            self._folders.add(parent)
            return
        above = parent
        while above and kind is None:
            above = parent_of(above)
            kind = self._type_of(above) if above else None
        if kind == "directory":
            raise refused(where, path, "which lies in a folder that no archive holds")
        if kind is not None:
            raise refused(where, path, f"which lies below the {kind} '{shown(above)}'")

    def _check_hard_link(self, where: str, path: bytes, link: bytes) -> None:
        check_name(where, link)
        self._check_parent(where, link, parent_of(link))
        if self._type_of(link) in (None, "directory"):
            raise refused(where, path, f"a hard link to '{shown(link)}', which no archive holds as a file")

    def _type_of(self, path: bytes) -> str | None:
        row = self._db.execute("SELECT type FROM tree WHERE path = ?", (path,)).fetchone()
        return None if row is None else str(row[0])

    # what a restore takes of it

    def choose(self, patterns: Patterns) -> list[str]:
        """Take only what the patterns mean; returns those of which there is nothing."""
        self._db.create_function("is_meant", 1, patterns.match, deterministic=True)
        self._db.execute("UPDATE tree SET chosen = is_meant(path)")
        lacking = set(patterns.patterns)
        for (path,) in self._db.execute("SELECT path FROM tree WHERE chosen"):
            lacking -= set(patterns.that_match(path))
            if not lacking:
                break
        return sorted(lacking)

    def leave_out(self, path: bytes) -> None:
        """Do not restore this one."""
        self._db.execute("UPDATE tree SET chosen = 0 WHERE path = ?", (path,))

    def leading_out(self) -> Iterator[Node]:
        """The chosen symlinks that lead out of the root, themselves or through other links."""
        for node in self._select("WHERE chosen AND type = 'symlink' ORDER BY path"):
            if self._leads_out(node.path, node.link or b""):
                yield node

    def _leads_out(self, path: bytes, link: bytes) -> bool:
        todo = [*reversed(link.split(b"/"))]
        at = parent_of(path).split(b"/")
        if link.startswith(b"/"):
            return True
        followed = 0
        while todo and followed <= MOST_LINKS:  # a circle leads nowhere
            step = todo.pop()
            if step in (b"", b"."):
                continue
            if step == b"..":
                if not at:
                    return True
                at.pop()
                continue
            at.append(step)
            further = self._link_of(b"/".join(at))
            if further is None:
                continue
            if further.startswith(b"/"):
                return True
            followed += 1
            at.pop()
            todo += reversed(further.split(b"/"))
        return False

    def _link_of(self, path: bytes) -> bytes | None:
        row = self._db.execute("SELECT link FROM tree WHERE path = ? AND type = 'symlink'", (path,)).fetchone()
        return None if row is None else bytes(row[0])

    def gone(self, patterns: Patterns) -> Iterator[bytes]:
        """What an earlier archive held and the last one says is deleted, of what the patterns mean."""
        for (path,) in self._db.execute("SELECT path FROM gone ORDER BY path"):
            if patterns.match(path):
                yield path

    def tops(self) -> list[bytes]:
        """The names that were archived: all the rest lies in them."""
        rows = self._db.execute(
            "SELECT path FROM tree AS one WHERE NOT EXISTS (SELECT 1 FROM tree AS two WHERE two.path = one.parent) "
            "ORDER BY path"
        )
        return [bytes(path) for (path,) in rows]

    def privileged(self) -> list[bytes]:
        """Chosen files that run with the rights of their owner or group (setuid, setgid)."""
        rows = self._db.execute("SELECT path FROM tree WHERE chosen AND type = 'file' AND mode & 3072 ORDER BY path")
        return [bytes(path) for (path,) in rows]

    def amount(self) -> Amount:
        """Of what was chosen."""
        row = self._db.execute(
            "SELECT coalesce(sum(type != 'directory'), 0), coalesce(sum(CASE type WHEN 'file' THEN size END), 0), "
            "coalesce(sum(length), 0) FROM tree WHERE chosen"
        ).fetchone()
        return Amount(*row)

    def object_bytes(self) -> int:
        """What is stored of the chosen ones as objects of their own, each once."""
        row = self._db.execute(
            "SELECT coalesce(sum(stored_bytes), 0) FROM (SELECT DISTINCT key, stored_bytes FROM tree WHERE chosen)"
        ).fetchone()
        return int(row[0])

    def objects(self) -> Iterator[tuple[str, int, str]]:
        """Key, size and checksum of the objects that the chosen ones are in, each once."""
        yield from self._db.execute(
            "SELECT DISTINCT key, stored_bytes, stored_sha256 FROM tree WHERE chosen AND key IS NOT NULL"
        )

    def count(self) -> int:
        """How many were chosen, folders included."""
        return int(self._db.execute("SELECT count(*) FROM tree WHERE chosen").fetchone()[0])

    def chosen(self) -> Iterator[Node]:
        """What was chosen, a folder before what is in it."""
        return self._select("WHERE chosen ORDER BY path")

    def folders_up(self) -> Iterator[Node]:
        """The chosen folders, each behind those that are in it."""
        return self._select("WHERE chosen AND type = 'directory' ORDER BY path DESC")

    def from_before(self, level: int) -> Iterator[Node]:
        """What was chosen and lies in an earlier archive than that of a level, what is in one folder together."""
        return self._select("WHERE chosen AND level < ? AND type != 'directory' ORDER BY parent, path", level)

    def wanted(self, level: int) -> Iterator[Node]:
        """What has to be read from one archive, in its order: what was chosen, and what hard links of it stand on."""
        return self._select(
            "WHERE level = ? AND (chosen OR type != 'directory' AND EXISTS (SELECT 1 FROM tree AS other WHERE "
            "other.chosen AND other.type = 'hardlink' AND other.level = tree.level AND other.link = tree.member)) "
            "ORDER BY number",
            level,
        )

    def node(self, path: bytes) -> Node | None:
        """The one of this name."""
        return next(self._select("WHERE path = ?", path), None)

    def member(self, level: int, name: bytes) -> Node | None:
        """The one that has this name in the archive of a level."""
        return next(self._select("WHERE level = ? AND member = ?", level, name), None)

    def _select(self, condition: str, *values: object) -> Iterator[Node]:
        for row in self._db.execute(f"SELECT {_FIELDS} FROM tree {condition}", values):
            yield Node(*row)


def _join(folder: bytes, name: bytes) -> bytes:
    return folder + b"/" + name if folder else name
