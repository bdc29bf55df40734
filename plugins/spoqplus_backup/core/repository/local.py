"""A repository in a folder: of this machine, or mounted from another."""

import contextlib
import errno
import os
import uuid
from collections.abc import Iterator
from pathlib import Path, PurePosixPath

from spoqplus_backup.core.errors import BackupError, IntegrityError, PermanentError, disk_full
from spoqplus_backup.core.repository.base import (
    BLOCK_BYTES,
    PROBE_CONTENT,
    PROBE_FOLDER,
    Marked,
    Progress,
    Stored,
    check_content,
    check_size,
    missing,
    receive,
)
from spoqplus_backup.core.staging import PARTIAL, sync_directory, write_all, written_aside

_NO_LINK = (errno.EXDEV, errno.EPERM, errno.ENOTSUP, errno.EMLINK, errno.ENOSYS)


class LocalRepository:
    """Files below a folder. It knows no checksums, so what is asked about is read."""

    def __init__(self, name: str, root: Path) -> None:
        self.name = name
        self.root = root

    @property
    def url(self) -> str:
        """Its root, for people."""
        return f"file://{self.root}"

    @property
    def place(self) -> str:
        """The folder."""
        return self.url

    def probe(self) -> None:
        """See that it can be written to and read from."""
        try:
            self.root.mkdir(exist_ok=True)  # not its parents: a disk that is not mounted should be noticed
        except OSError as error:
            raise PermanentError(
                f"The repository {self.name} can't have the folder {self.root} ({error.strerror}): make it, writable "
                "for the user that Airflow runs as, or mount its disk."
            ) from error
        key = f"{PROBE_FOLDER}/{uuid.uuid4().hex}"
        self.put_bytes(key, PROBE_CONTENT)
        if self.read(key) != PROBE_CONTENT:
            raise IntegrityError(f"What was written to {self._where(key)} reads back otherwise: look after its disk.")
        self.delete(key)

    def put(
        self, key: str, source: Path, sha256: str, progress: Progress | None = None, *, absent: bool = False
    ) -> bool:
        """Store a file, by a hard link where it lies on the same disk: parts are never written in place."""
        path, size = self._path(key), source.stat().st_size
        with self._translated(key):
            there = not absent and self._holds(path, size, sha256)
            if not there and not self._link(source, path, size, sha256):
                receive(_blocks(source), path, sha256, size, str(source), progress)
            elif progress:
                progress(size)
        return not there

    def _link(self, source: Path, path: Path, size: int, sha256: str) -> bool:
        path.parent.mkdir(parents=True, exist_ok=True)
        linked = path.with_name(f"{path.name}.link{PARTIAL}")
        linked.unlink(missing_ok=True)
        try:
            os.link(source, linked)
        except OSError as error:
            if error.errno not in _NO_LINK:
                raise
            return False
        try:
            check_content(_blocks(linked), sha256, size, str(source))
            linked.rename(path)
        finally:
            linked.unlink(missing_ok=True)  # a rename between two names of one file does nothing
        sync_directory(path.parent)
        return True

    def _holds(self, path: Path, size: int, sha256: str) -> bool:
        if not path.is_file() or path.stat().st_size != size:
            return False
        try:
            check_content(_blocks(path), sha256, size, str(path))
        except IntegrityError:
            return False
        return True

    def lock(self, key: str) -> None:
        """A folder locks nothing."""

    def put_bytes(self, key: str, content: bytes) -> None:
        """Store a small object, in place of one of that name."""
        with self._translated(key), written_aside(self._path(key)) as file:
            write_all(file, content)

    def stat(self, key: str) -> Stored | None:
        """What is under a key; its checksum is not known without reading."""
        with self._translated(key):
            path = self._path(key)
            return Stored(path.stat().st_size, None) if path.is_file() else None

    def check(self, key: str, size: int | None, sha256: str, *, read_back: bool = False) -> None:
        """Read an object and compare it."""
        stored = self.stat(key)
        if stored is None:
            raise missing(self._where(key))
        check_size(stored.bytes, stored.bytes if size is None else size, self._where(key))
        with self._translated(key):
            check_content(_blocks(self._path(key)), sha256, stored.bytes, self._where(key))

    def get(self, key: str, target: Path, sha256: str, size: int, progress: Progress | None = None) -> None:
        """Copy an object to a file."""
        with self._translated(key):
            receive(_blocks(self._path(key)), target, sha256, size, self._where(key), progress)

    def read(self, key: str) -> bytes:
        """A small object."""
        with self._translated(key):
            return self._path(key).read_bytes()

    def list(self, prefix: str = "") -> Iterator[str]:
        """The keys that begin with `prefix`, sorted."""
        folder = self._path(prefix.rpartition("/")[0])
        with self._translated(prefix):
            found = [path.relative_to(self.root).as_posix() for path in _files(folder)] if folder.is_dir() else []
        yield from sorted(key for key in found if key.startswith(prefix))

    def sizes(self, prefix: str = "") -> Iterator[tuple[str, int]]:
        """The keys that begin with `prefix`, sorted, each with its file's bytes."""
        for key in self.list(prefix):
            if (stored := self.stat(key)) is not None:  # or it was removed meanwhile
                yield key, stored.bytes

    def list_folders(self, prefix: str = "") -> tuple[str, ...]:
        """The names of the folders right below `prefix`; sorted."""
        folder = self._path(prefix)
        with self._translated(prefix):
            entries = folder.iterdir() if folder.is_dir() else ()
            return tuple(sorted(entry.name for entry in entries if entry.is_dir()))

    def list_marked(self, prefix: str, name: str) -> Iterator[Marked]:
        """The folders right below `prefix` that hold an object of this name; sorted."""
        for folder in self.list_folders(prefix):
            if (found := self._stat(f"{prefix}{folder}/{name}")) is not None:
                yield Marked(folder, found.st_size, f"{found.st_mtime_ns}.{found.st_ino}")

    def _stat(self, key: str) -> os.stat_result | None:
        with self._translated(key), contextlib.suppress(FileNotFoundError, NotADirectoryError):
            return self._path(key).stat()
        return None

    def delete(self, key: str) -> None:
        """Remove an object, and the folders that it leaves empty."""
        path = self._path(key)
        with self._translated(key):
            path.unlink(missing_ok=True)
            for folder in path.parents:
                # another process may be about to write its own probe
                if folder in (self.root, self.root / PROBE_FOLDER) or not folder.is_dir() or any(folder.iterdir()):
                    break
                folder.rmdir()

    def _path(self, key: str) -> Path:
        steps = PurePosixPath(key)
        if steps.is_absolute() or ".." in steps.parts:
            raise PermanentError(
                f"{key!r} is no key of the repository {self.name}: it would lie outside of {self.root}."
            )
        return self.root / steps

    def _where(self, key: str) -> str:
        return f"{self.url}/{key}"

    @contextlib.contextmanager
    def _translated(self, key: str) -> Iterator[None]:
        try:
            yield
        except FileNotFoundError as error:
            raise missing(self._where(key)) from error
        except OSError as error:
            if full := disk_full(error, self.root):
                raise full from error
            if isinstance(error, PermissionError) or error.errno == errno.EROFS:
                raise PermanentError(
                    f"{self._where(key)} is refused ({error.strerror}): make {self.root} readable and writable for the "
                    "user that Airflow runs as."
                ) from error
            raise BackupError(f"{self._where(key)}: {error.strerror}: look after the disk and try again.") from error


def _files(folder: Path) -> Iterator[Path]:
    for entry in folder.iterdir():
        if entry.is_dir():
            yield from _files(entry)
        elif entry.suffix != PARTIAL:
            yield entry


def _blocks(path: Path) -> Iterator[memoryview]:
    buffer = memoryview(bytearray(BLOCK_BYTES))
    with path.open("rb", buffering=0) as file:
        while count := file.readinto(buffer):
            yield buffer[:count]
