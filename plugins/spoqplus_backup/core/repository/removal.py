"""What only retention does with a repository: list objects with their age, and remove them for good.

It has a repository of its own, opened with the credentials that may delete (`delete_connection`). Everything else works
without them.
"""

import errno
import os
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field
from datetime import datetime, timezone
from pathlib import Path, PurePosixPath
from typing import Protocol
from urllib.parse import unquote, urlsplit

from spoqplus_backup.core.connections import Connections
from spoqplus_backup.core.repository.base import Repository
from spoqplus_backup.core.repository.local import LocalRepository
from spoqplus_backup.core.settings import RepositorySettings, Settings
from spoqplus_backup.core.staging import PARTIAL

_NOT_EMPTY = (errno.ENOTEMPTY, errno.EEXIST, errno.ENOENT)


@dataclass(frozen=True)
class Entry:
    """An object in a listing; `modified` is when it was stored, by the repository's clock.

    `version` is which of those that the repository keeps of it; None stands for all.
    """

    key: str
    bytes: int
    modified: datetime
    version: str | None = None


@dataclass(frozen=True)
class BrokenUpload:
    """An upload that nobody ended: its pieces take room, and no listing shows them."""

    key: str
    id: str
    since: datetime
    bytes: int = 0


@dataclass
class Removed:
    """What was removed, and what the repository refused: key and its words. `bytes` are really free now."""

    objects: int = 0
    bytes: int = 0
    refused: list[tuple[str, str]] = field(default_factory=list)

    def add(self, other: "Removed") -> None:
        """Count another one in."""
        self.objects += other.objects
        self.bytes += other.bytes
        self.refused += other.refused


class Remover(Repository, Protocol):
    """A repository opened to delete from."""

    def entries(self, prefix: str) -> Iterator[Entry]:
        """The objects whose keys begin with `prefix`, sorted by key."""

    def everything(self, prefix: str) -> list[Entry]:
        """All that lies below a prefix, with every version: listed to its end, so that it is all or an error."""

    def remove(self, entries: Sequence[Entry]) -> Removed:
        """Remove objects with every version that the repository keeps of them; one that is gone already counts.

        What is refused is in the result. The order is the sequence's, as far as it matters: some may go at once.

        Raises:
            BackupError: the repository can't be reached.
        """

    def remove_below(self, prefix: str) -> Removed:
        """Remove everything whose key begins with `prefix`, in any order, as `remove` does; nothing of a part of it."""

    def locked_until(self, key: str) -> datetime | None:
        """Up to when the repository itself refuses to delete an object; None when it does not.

        A lock without an end is `datetime.max`.
        """

    def broken_uploads(self, prefix: str) -> Iterator[BrokenUpload]:
        """The unfinished uploads below a prefix."""

    def abort(self, upload: BrokenUpload) -> None:
        """Remove one; nothing happens when it is gone.

        Raises:
            PermanentError: the repository refuses.
        """

    def keeps_versions(self) -> bool:
        """Whether it keeps what is overwritten or deleted."""


def open_remover(settings: Settings, name: str, connections: Connections) -> Remover:
    """A repository, with the credentials that may delete.

    Raises:
        SettingsError: the configuration has none of this name.
    """
    repository = settings.repository(name)
    url = urlsplit(repository.root)
    if repository.connection is None:
        return LocalRemover(repository.name, Path(unquote(url.path)))
    from spoqplus_backup.core.repository.s3_removal import S3Remover  # boto3 takes its time

    connection = _deleting(repository)
    return S3Remover(repository.name, lambda: connections.s3_client(connection), url.netloc, url.path)


def open_others(settings: Settings, name: str, connections: Connections) -> list[Remover]:
    """All repositories of the site but one, with the credentials that may delete."""
    return [open_remover(settings, item.name, connections) for item in settings.repositories if item.name != name]


def _deleting(repository: RepositorySettings) -> str:
    return repository.delete_connection or str(repository.connection)


class LocalRemover(LocalRepository):
    """A folder. An object that is overwritten or deleted is gone; nothing in it is locked."""

    def entries(self, prefix: str) -> Iterator[Entry]:
        """The files, sorted by key; what is being written is not there yet."""
        for key in self._keys(prefix, partial=False):
            if (found := self._entry(key)) is not None:
                yield found

    def everything(self, prefix: str) -> list[Entry]:
        """The files below a prefix."""
        return list(self.entries(prefix))

    def remove(self, entries: Sequence[Entry]) -> Removed:
        """Unlink the files, and the folders that they leave empty."""
        removed = Removed()
        for entry in entries:
            try:
                there = self._entry(entry.key)
                self._unlink(self._path(entry.key))
            except OSError as error:
                removed.refused.append((entry.key, f"{self._where(entry.key)}: {error.strerror}"))
                continue
            removed.objects += 1
            removed.bytes += there.bytes if there else 0
        return removed

    def remove_below(self, prefix: str) -> Removed:
        """Unlink everything below a prefix."""
        return self.remove(self.everything(prefix))

    def locked_until(self, key: str) -> datetime | None:
        """Never."""
        return None

    def broken_uploads(self, prefix: str) -> Iterator[BrokenUpload]:
        """Files of a write that ended in the middle."""
        for key in self._keys(prefix, partial=True):
            if (found := self._entry(key)) is not None:
                yield BrokenUpload(key, "", found.modified, found.bytes)

    def abort(self, upload: BrokenUpload) -> None:
        """Unlink it."""
        with self._translated(upload.key):
            self._unlink(self._path(upload.key))

    def keeps_versions(self) -> bool:
        """It does not."""
        return False

    def _keys(self, prefix: str, *, partial: bool) -> Iterator[str]:
        folder = self._path(prefix.rpartition("/")[0])
        with self._translated(prefix):
            for path in _walk(folder):
                key = PurePosixPath(path).relative_to(self.root).as_posix()
                if key.startswith(prefix) and path.endswith(PARTIAL) == partial:
                    yield key

    def _entry(self, key: str) -> Entry | None:
        try:
            found = self._path(key).lstat()
        except FileNotFoundError:
            return None
        return Entry(key, found.st_size, datetime.fromtimestamp(found.st_mtime, timezone.utc))

    def _unlink(self, path: Path) -> None:
        path.unlink(missing_ok=True)
        for folder in path.parents:
            if folder == self.root:
                break
            try:
                folder.rmdir()
            except OSError as error:
                if error.errno not in _NOT_EMPTY:
                    raise
                if error.errno != errno.ENOENT:  # another run may have removed this one, its parents are next
                    break


def _walk(folder: Path) -> Iterator[str]:
    """The files below a folder, sorted by key as S3 sorts, a folder at a time in memory; what vanishes is left out."""
    try:
        with os.scandir(folder) as found:
            entries = sorted(
                (f"{entry.name}/" if entry.is_dir(follow_symlinks=False) else entry.name, entry.path) for entry in found
            )
    except (FileNotFoundError, NotADirectoryError):
        return
    for name, path in entries:
        if name.endswith("/"):
            yield from _walk(Path(path))
        else:
            yield path
