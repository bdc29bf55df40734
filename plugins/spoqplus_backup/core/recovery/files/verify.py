"""Compares restored files with the index: type, size, content, owner, mode; each file is read back."""

import hashlib
import os
import stat
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from datetime import datetime

from spoqplus_backup.core.process import check_cancelled
from spoqplus_backup.core.progress import Progress
from spoqplus_backup.core.recovery.files.beneath import Beneath
from spoqplus_backup.core.recovery.files.names import shown
from spoqplus_backup.core.recovery.files.owners import Owner, archived_owner
from spoqplus_backup.core.recovery.files.tree import FileTree, Node

BLOCK_BYTES = 1 << 20
MOST_NAMED = 20
CLOCK_SECONDS = 2.0  # a file system's clock may be so much behind the machine's
SAME_SECONDS = 1e-3

_TYPES = {
    "file": stat.S_ISREG,
    "hardlink": stat.S_ISREG,
    "directory": stat.S_ISDIR,
    "symlink": stat.S_ISLNK,
    "fifo": stat.S_ISFIFO,
}


@dataclass
class Verdict:
    """How many files were compared, what is wrong, and what others changed since it was put in place."""

    files: int = 0
    bytes: int = 0
    problems: list[str] = field(default_factory=list)
    changed: int = 0
    changed_names: list[str] = field(default_factory=list)

    def note_changed(self, node: Node) -> None:
        """Count one that was changed by others."""
        self.changed += 1
        if len(self.changed_names) < MOST_NAMED:
            self.changed_names.append(shown(node.path))


@dataclass(frozen=True)
class Comparison:
    """How to compare: the name of each node below `beneath`, whose it should be (None: as archived), and since when it
    is there. Of chosen names the folders are not compared: they may have been there before.
    """

    beneath: Beneath
    name: Callable[[Node], bytes]
    owner: Owner | None
    since: datetime
    is_root: bool
    whole: bool


def compare(tree: FileTree, how: Comparison, progress: Progress) -> Verdict:
    """Compare everything that was chosen of a tree.

    What the application wrote or deleted since it was put in place is no fault of the restore: it is counted apart.
    """
    verdict = Verdict()
    for node in tree.chosen():
        check_cancelled()
        if node.type == "directory" and not how.whole:
            continue
        verdict.files += node.type != "directory"
        try:
            faults = list(_faults(tree, node, how, verdict, progress))
        except FileNotFoundError:
            faults = ["is missing"]
        if faults and _changed_since(node, how):
            verdict.note_changed(node)
        else:
            verdict.problems += [f"{shown(node.path)} {fault}" for fault in faults]
    return verdict


def _faults(tree: FileTree, node: Node, how: Comparison, verdict: Verdict, progress: Progress) -> Iterator[str]:
    parent, _, step = how.name(node).rpartition(b"/")
    fd = how.beneath.folder(parent)
    status = os.stat(step, dir_fd=fd, follow_symlinks=False)
    if not _TYPES[node.type](status.st_mode):
        yield f"is no {node.type}"
        return
    if node.type == "symlink":
        if os.readlink(step, dir_fd=fd) != node.link:
            yield "leads elsewhere"
    else:
        yield from _wrong_owner(node, status, how)
    origin = tree.member(node.level, node.link or b"") if node.type == "hardlink" else node
    if node.type in ("file", "hardlink") and origin is not None:
        if status.st_size != origin.size:
            yield f"has {status.st_size} bytes, not {origin.size}"
        elif origin.sha256 is not None:
            if digest_of(fd, step, progress) != origin.sha256:
                yield "has another content"
            verdict.bytes += origin.size


def _wrong_owner(node: Node, status: os.stat_result, how: Comparison) -> Iterator[str]:
    owner = how.owner or archived_owner(node)
    if how.is_root and (owner.uid, owner.gid) != (status.st_uid, status.st_gid):
        yield f"belongs to {status.st_uid}:{status.st_gid}, not {owner.uid}:{owner.gid}"
    mode = owner.mode(status.st_mode)
    if mode is not None and stat.S_IMODE(status.st_mode) != mode:
        yield f"has the mode {stat.S_IMODE(status.st_mode):o}, not {mode:o}"


def digest_of(fd: int, name: bytes, progress: Progress) -> str:
    """The SHA-256 of a file in the folder `fd`, which is read to its end."""
    digest = hashlib.sha256()
    buffer = memoryview(bytearray(BLOCK_BYTES))
    file = os.open(name, os.O_RDONLY | os.O_NOFOLLOW | os.O_NONBLOCK | os.O_CLOEXEC, dir_fd=fd)
    try:
        while count := os.readv(file, [buffer]):
            check_cancelled()
            digest.update(buffer[:count])
            progress.add(count)
    finally:
        os.close(file)
    return digest.hexdigest()


def _changed_since(node: Node, how: Comparison) -> bool:
    """Whether it, or the folder that it lay in, was written to after it was put in place."""
    name = how.name(node)
    since = how.since.timestamp()
    status = _status(how.beneath, name)
    if status is not None:
        return status.st_mtime >= since - CLOCK_SECONDS and abs(status.st_mtime - node.mtime) > SAME_SECONDS
    folder = _status(how.beneath, name.rpartition(b"/")[0])
    return folder is not None and folder.st_mtime > since


def _status(beneath: Beneath, name: bytes) -> os.stat_result | None:
    try:
        return beneath.status(name)
    except FileNotFoundError:
        return None
