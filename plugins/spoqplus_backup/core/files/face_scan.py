"""What lies in the folder of face images, and the content of one file: read while somebody may be writing there."""

import base64
import errno
import hashlib
import json
import logging
import os
import stat
import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass, replace
from pathlib import Path

import zstandard

from spoqplus_backup.core.errors import BackupError, PermanentError
from spoqplus_backup.core.files.face_store import Found
from spoqplus_backup.core.process import check_cancelled
from spoqplus_backup.core.staging import write_all

log = logging.getLogger(__name__)

BLOCK_BYTES = 1 << 20
ATTEMPTS = 3  # to read a file that is written to
SETTLED_SECONDS = 2.0  # a file that was changed later than this before it was read may change again unseen

ATTRIBUTES = ("user.", "system.posix_acl_")  # of files and folders: what is kept of their extended attributes
_TYPES = {stat.S_IFREG: "file", stat.S_IFDIR: "directory", stat.S_IFLNK: "symlink"}


@dataclass(frozen=True)
class Content:
    """A file as it was read. `changed` means that it was written to all the time; `settled`, that its facts tell."""

    item: Found
    changed: bool
    settled: bool


def scan(directory: Path, skipped: Callable[[bytes], None]) -> Iterator[Found]:
    """Everything in a folder and the folder itself, in constant memory; links are not followed.

    Args:
        directory: absolute.
        skipped: is told of what is neither file, folder nor link.

    Raises:
        PermanentError: a folder can't be read.
    """
    waiting = [os.fsencode(directory)]
    yield _found(waiting[0], os.stat(waiting[0]))  # noqa: PTH116 (bytes)
    while waiting:
        folder = waiting.pop()
        try:
            entries = os.scandir(folder)
        except FileNotFoundError:
            continue  # since it was listed
        except OSError as error:
            raise _unreadable(folder, error) from error
        with entries:
            for entry in entries:
                check_cancelled()
                try:
                    facts = entry.stat(follow_symlinks=False)
                    item = _found(entry.path, facts) if stat.S_IFMT(facts.st_mode) in _TYPES else None
                except FileNotFoundError:
                    continue
                except OSError as error:
                    raise _unreadable(os.fsencode(entry.path), error) from error
                if item is None:
                    skipped(entry.path)
                    continue
                if item.type == "directory":
                    waiting.append(entry.path)
                yield item


def pack(item: Found, target: Path, level: int) -> Content | None:
    """Compress a file's content to `target` while it is hashed; None when it is gone.

    Raises:
        PermanentError: it can't be read.
    """
    path = b"/" + item.path
    try:
        content = _pack_once(path, target, level)
        for _ in range(ATTEMPTS - 1):
            if content is None or not content.changed:
                break
            log.info("%s changed while it was read: it is read again", os.fsdecode(path))
            content = _pack_once(path, target, level)
        return content
    except FileNotFoundError:
        return None
    except OSError as error:
        raise _unreadable(path, error) from error


def _pack_once(path: bytes, target: Path, level: int) -> Content | None:
    digest, size = hashlib.sha256(), 0
    started = time.time()
    fd = os.open(path, os.O_RDONLY | os.O_NOFOLLOW | os.O_NONBLOCK)  # what was a file may be a link or pipe by now
    with os.fdopen(fd, "rb", buffering=0) as source, target.open("wb", buffering=0) as out:
        before = os.fstat(fd)
        if not stat.S_ISREG(before.st_mode):
            return None
        chunker = zstandard.ZstdCompressor(level=level, write_checksum=True).chunker(chunk_size=BLOCK_BYTES)
        while block := source.read(BLOCK_BYTES):
            check_cancelled()
            digest.update(block)
            size += len(block)
            for chunk in chunker.compress(block):
                write_all(out, chunk)
        for chunk in chunker.finish():  # type: ignore[no-untyped-call]
            write_all(out, chunk)
        after = os.fstat(fd)
        item = replace(_found(path, after, fd), size=size, sha256=digest.hexdigest())
    return Content(
        item=item,
        changed=_facts(before) != _facts(after) or size != after.st_size,
        settled=started - max(after.st_ctime, after.st_mtime) > SETTLED_SECONDS,
    )


def _found(path: bytes, facts: os.stat_result, fd: int | None = None) -> Found:
    """What `facts` say of a path, and its attributes: of the open file where one is given."""
    kind = _TYPES[stat.S_IFMT(facts.st_mode)]
    return Found(
        path=path.lstrip(b"/"),
        type=kind,
        size=facts.st_size if kind == "file" else 0,
        mode=stat.S_IMODE(facts.st_mode),
        uid=facts.st_uid,
        gid=facts.st_gid,
        mtime_ns=facts.st_mtime_ns,
        facts=_facts(facts),
        link=os.readlink(path) if kind == "symlink" else None,  # noqa: PTH115 (bytes)
        attributes=None if kind == "symlink" else _attributes(path if fd is None else fd),
    )


def _attributes(file: bytes | int) -> str | None:
    """Extended attributes and access lists as JSON, their values in base64; None when there are none."""
    follow = isinstance(file, int)  # an open file is not asked what it leads to
    try:
        names = os.listxattr(file, follow_symlinks=follow)
    except OSError as error:
        if error.errno == errno.ENOTSUP:  # a file system without
            return None
        raise
    found = {}
    for name in names:
        if name.startswith(ATTRIBUTES):
            found[name] = base64.b64encode(os.getxattr(file, name, follow_symlinks=follow)).decode()
    return json.dumps(found) if found else None


def _facts(facts: os.stat_result) -> str:
    return f"{facts.st_ino}:{facts.st_size}:{facts.st_mtime_ns}:{facts.st_ctime_ns}"


def _unreadable(path: bytes, error: OSError) -> BackupError:
    where = os.fsdecode(path)
    if isinstance(error, PermissionError):
        return PermanentError(f"{where} can't be read ({error.strerror}): let the user that Airflow runs as read it.")
    return BackupError(f"{where} can't be read ({error.strerror}): look after the disk, then try again.")
