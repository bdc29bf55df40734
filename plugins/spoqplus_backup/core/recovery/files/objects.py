"""Writes files whose content lies in objects of their own: face images by their index, and the environment.

The names come from the index, which the plan checked; they are made in a stage that nobody else can look into.
"""

import base64
import errno
import hashlib
import itertools
import json
import logging
import os
from collections.abc import Callable, Mapping
from pathlib import Path

from spoqplus_backup.core.crypto import Scheme
from spoqplus_backup.core.errors import IntegrityError, PermanentError, disk_full
from spoqplus_backup.core.process import check_cancelled
from spoqplus_backup.core.progress import Progress
from spoqplus_backup.core.recovery.files.names import shown
from spoqplus_backup.core.recovery.files.owners import archived_owner
from spoqplus_backup.core.recovery.files.tree import FileTree, Node
from spoqplus_backup.core.recovery.files.unpack import staged_path
from spoqplus_backup.core.sealed import unsealed
from spoqplus_backup.core.stages import in_parallel
from spoqplus_backup.core.staging import write_all

log = logging.getLogger(__name__)

BLOCK_BYTES = 1 << 20
BATCH = 1000  # files that are waited for at once

Source = Callable[[Node], tuple[Path, Scheme]]


def write_objects(
    tree: FileTree, stages: Mapping[str, Path], source: Source, threads: int, progress: Progress, *, whole: bool
) -> None:
    """Write every chosen folder, file and link of the tree into the stages, with owner, mode, attributes and time.

    Args:
        tree: the names, and what they hold.
        stages: the folder for each top.
        source: says where the content of a file lies, and what opens it.
        threads: how many files are written at once.
        progress: told of the bytes that were written.
        whole: as in `staged_path`.

    Raises:
        IntegrityError: a content is not what the index says.
        WrongKeyError: the key at hand does not open it.
        DiskFullError: no room is left.
    """

    def one(node: Node) -> None:
        path = staged_path(stages, node, whole=whole)
        path.parent.mkdir(parents=True, exist_ok=True)
        try:
            _write(node, path, source, progress)
        except OSError as error:
            if full := disk_full(error, path.parent):
                raise full from error
            raise
        _dress(node, path)

    files = (node for node in tree.chosen() if node.type != "directory")
    while batch := list(itertools.islice(files, BATCH)):
        in_parallel(one, batch, threads)
    for node in tree.folders_up():
        path = staged_path(stages, node, whole=whole)
        path.mkdir(parents=True, exist_ok=True)
        _dress(node, path)


def _write(node: Node, path: Path, source: Source, progress: Progress) -> None:
    if node.type == "symlink":
        path.symlink_to(os.fsdecode(node.link or b""))
        return
    if node.type != "file":
        raise IntegrityError(f"The index names '{shown(node.path)}' as a {node.type}, which no object can hold.")
    sealed, scheme = source(node)
    digest, size = hashlib.sha256(), 0
    descriptor = os.open(path, os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_NOFOLLOW | os.O_CLOEXEC, 0o600)
    with os.fdopen(descriptor, "wb", buffering=0) as out, unsealed(sealed, scheme) as reader:
        while block := reader.read(BLOCK_BYTES):
            check_cancelled()
            digest.update(block)
            size += len(block)
            write_all(out, block)
            progress.add(len(block))
    if (size, digest.hexdigest()) != (node.size, node.sha256):
        raise IntegrityError(
            f"The object of '{shown(node.path)}' ({sealed.name}) does not hold what the index says. Nothing was "
            "replaced: restore another set."
        )


def _dress(node: Node, path: Path) -> None:
    """Owner, then mode, which a change of owner takes bits from, then attributes, then time."""
    if os.geteuid() == 0:
        owner = archived_owner(node)
        try:
            os.chown(path, owner.uid or 0, owner.gid or 0, follow_symlinks=False)
        except OSError as error:
            raise PermanentError(f"{path} can't be given to {owner.uid}:{owner.gid} ({error.strerror}).") from error
    if node.type != "symlink":
        path.chmod(node.mode)
        _set_attributes(node, path)
    os.utime(path, (node.mtime, node.mtime), follow_symlinks=False)


def _set_attributes(node: Node, path: Path) -> None:
    for name, value in json.loads(node.attributes or "{}").items():
        try:
            os.setxattr(path, name, base64.b64decode(value), follow_symlinks=False)
        except OSError as error:
            if error.errno != errno.ENOTSUP:
                raise PermanentError(f"{path} can't have the attribute {name} ({error.strerror}).") from error
            log.warning("%s: its file system knows no attribute %s, which the backup has", path, name)
