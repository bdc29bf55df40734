"""Unpacks a component of files beside its target, and proves that what lies there is the tree that it should be."""

import itertools
import os
import stat
from collections.abc import Iterable, Iterator, Mapping, Sequence
from pathlib import Path

from spoqplus_backup.core.crypto import Scheme
from spoqplus_backup.core.errors import IntegrityError
from spoqplus_backup.core.progress import Progress
from spoqplus_backup.core.recovery.files.extract import Expected, Unpacker
from spoqplus_backup.core.recovery.files.names import parent_of, shown
from spoqplus_backup.core.recovery.files.plan import Archive, archive_folder
from spoqplus_backup.core.recovery.files.stream import RawStream, Run, merged
from spoqplus_backup.core.recovery.files.tar_reader import TarReader
from spoqplus_backup.core.recovery.files.tree import FileTree, Node

WHOLE = "tree"  # the folder of a stage that a whole chain comes together in; else there is one for each level

_TYPES = {
    "file": stat.S_ISREG,
    "hardlink": stat.S_ISREG,
    "directory": stat.S_ISDIR,
    "symlink": stat.S_ISLNK,
    "fifo": stat.S_ISFIFO,
}


def unpack_archives(
    archives: Sequence[tuple[Archive, Scheme]],
    tree: FileTree,
    stages: Mapping[str, Path],
    work: Path,
    progress: Progress,
    *,
    whole: bool,
) -> None:
    """Unpack what was chosen of the archives of a component, each into a folder of its own.

    Of a whole restore, what lies in earlier archives is then moved to where the last one has its folders.

    Args:
        archives: with what opens them, the full one first.
        tree: what they are to give.
        stages: the folder for each top of the archive.
        work: the component's folder of the restore, with what was fetched.
        progress: told of the bytes of the streams.
        whole: everything; else what was chosen stays where it was unpacked.

    Raises:
        IntegrityError: an archive is not what its index says.
        DiskFullError: no room is left.
    """
    last = len(archives) - 1
    for level, (archive, scheme) in enumerate(archives):
        stream = RawStream(archive.component, archive_folder(work, archive.manifest.name), scheme)
        into = {top.encode(): stage / _folder(level, last, whole=whole) for top, stage in stages.items()}
        for stage in dict.fromkeys(into.values()):
            stage.mkdir(exist_ok=True)
        runs = list(merged(Run(node.start, node.length) for node in tree.wanted(level)))
        expected = (_of_node(node) for node in tree.wanted(level))
        if runs:
            Unpacker(archive.where, into, progress).unpack(TarReader(stream.read(runs), archive.where), expected)
    if whole:
        _move_together(tree, stages, last)


def _folder(level: int, last: int, *, whole: bool) -> str:
    return WHOLE if whole and level == last else str(level)


def _move_together(tree: FileTree, stages: Mapping[str, Path], last: int) -> None:
    """Bring what lies in earlier archives into the folders of the last one, whose times stay as they were archived."""
    for parent, nodes in itertools.groupby(tree.from_before(last), lambda node: parent_of(node.path)):
        first = next(nodes)
        folder = stage_of(stages, first.path) / WHOLE / os.fsdecode(parent)
        folder.mkdir(parents=True, exist_ok=True)  # of a single file that was archived
        times = folder.stat()
        for node in itertools.chain([first], nodes):
            source = stage_of(stages, node.member) / str(node.level) / os.fsdecode(node.member)
            source.rename(stage_of(stages, node.path) / WHOLE / os.fsdecode(node.path))
        os.utime(folder, ns=(times.st_atime_ns, times.st_mtime_ns))


def _of_node(node: Node) -> Expected:
    return Expected(node.type, node.member, node.link, node.size, node.length, node.sha256)


def staged_path(stages: Mapping[str, Path], node: Node, *, whole: bool) -> Path:
    """Where something of the tree was unpacked to."""
    name, folder = (node.path, WHOLE) if whole else (node.member, str(node.level))
    return stage_of(stages, name) / folder / os.fsdecode(name)


def stage_of(stages: Mapping[str, Path], name: bytes) -> Path:
    """The folder that a name was unpacked into."""
    return stages[top_of(stages, name)]


def top_of(tops: Iterable[str], name: bytes) -> str:
    """Which of the tops a name lies in, or is."""
    for top in tops:
        if name == top.encode() or name.startswith(top.encode() + b"/"):
            return top
    raise IntegrityError(f"'{shown(name)}' lies in none of the places that were archived: nothing is restored.")


def check_stage(tree: FileTree, stages: Mapping[str, Path], *, whole: bool) -> None:
    """See that the stages hold what was chosen of the tree, and, of a whole one, nothing else.

    Raises:
        IntegrityError: something is missing, is of another type or size, or is too much.
    """
    for node in tree.chosen():
        if not whole and node.type == "directory":
            continue
        path = staged_path(stages, node, whole=whole)
        try:
            status = path.lstat()
        except (FileNotFoundError, NotADirectoryError):
            raise _differs(node.path, "is missing") from None
        if not _TYPES[node.type](status.st_mode):
            raise _differs(node.path, f"is no {node.type}")
        if node.type == "file" and status.st_size != node.size:
            raise _differs(node.path, f"has {status.st_size} bytes, not {node.size}")
    if whole and sum(1 for _ in _staged(stages)) != tree.count():
        for name in _staged(stages):
            if tree.node(name) is None:
                raise _differs(name, "is there, and the backup does not have it")


def _staged(stages: Mapping[str, Path]) -> Iterator[bytes]:
    """The name of everything that was unpacked."""
    for top, stage in stages.items():
        for path in _everything(stage / WHOLE / top):
            yield os.fsencode(path.relative_to(stage / WHOLE))


def _everything(top: Path) -> Iterator[Path]:
    if top.is_symlink() or top.exists():
        yield top
    if top.is_dir() and not top.is_symlink():
        for entry in os.scandir(top):
            if entry.is_dir(follow_symlinks=False):
                yield from _everything(Path(entry.path))
            else:
                yield Path(entry.path)


def _differs(name: bytes, what: str) -> IntegrityError:
    return IntegrityError(
        f"What was unpacked is not what the backup holds: '{shown(name)}' {what}. Nothing was replaced: clear the "
        "task, or restore another set."
    )
