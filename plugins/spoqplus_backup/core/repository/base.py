"""What every repository does, whatever keeps it, and what they share.

A key is a path below the repository's root, with `/` between its steps. Contents are known by size and SHA-256; what is
under a key was stored whole or is not there.
"""

import hashlib
from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Protocol

from spoqplus_backup.core.errors import IntegrityError
from spoqplus_backup.core.process import check_cancelled
from spoqplus_backup.core.staging import write_all, written_aside

BLOCK_BYTES = 1 << 20
PROBE_FOLDER = ".probe"
PROBE_CONTENT = b"spoqplus-backup looks whether it can write here\n"

Progress = Callable[[int], None]


@dataclass(frozen=True)
class Stored:
    """What a repository says of an object without reading it; `sha256` is None when it does not know."""

    bytes: int
    sha256: str | None


@dataclass(frozen=True)
class Keeping:
    """How what is stored is kept: its storage class, and how long and how hard it is locked against deletion."""

    storage_class: str | None = None
    lock_mode: str | None = None
    lock_days: int = 0


@dataclass(frozen=True)
class Marked:
    """A folder that holds a certain object. `tag` changes whenever that object does."""

    folder: str
    bytes: int
    tag: str


class Repository(Protocol):
    """A place that keeps backups.

    All methods raise `BackupError` when it can't be reached or answers that it is out of order, and `PermanentError`
    when it refuses: no such bucket, no permission.
    """

    @property
    def name(self) -> str:
        """As in the configuration."""

    @property
    def url(self) -> str:
        """Its root, for people."""

    @property
    def place(self) -> str:
        """What is lost as one: a folder, or a bucket with all of its prefixes. Two copies in one place are one copy."""

    def probe(self) -> None:
        """See that it can be written to and read from, with a small object that is removed again."""

    def put(
        self, key: str, source: Path, sha256: str, progress: Progress | None = None, *, absent: bool = False
    ) -> bool:
        """Store a file; False when it was there already with the right size and checksum, and was not sent again.

        `absent`: a listing did not have the key, so it is not asked for.

        Raises:
            IntegrityError: the file, or what arrived, does not have this checksum.
            DiskFullError: there is no room left.
        """

    def lock(self, key: str) -> None:
        """Lock an object that is there as long as one that is stored now; a longer or harder lock stays as it is.

        Nothing happens where the repository is not opened with a lock.

        Raises:
            IntegrityError: there is no such object.
        """

    def put_bytes(self, key: str, content: bytes) -> None:
        """Store a small object, in place of one of that name."""

    def stat(self, key: str) -> Stored | None:
        """What is under a key; None when nothing is."""

    def check(self, key: str, size: int | None, sha256: str, *, read_back: bool = False) -> None:
        """See that an object is there as it was stored, reading it wherever the repository can't vouch for it.

        Args:
            key: the object.
            size: its bytes; None when only its checksum is known.
            sha256: its checksum.
            read_back: read it in any case.

        Raises:
            IntegrityError: it is missing, or has another size or checksum.
        """

    def get(self, key: str, target: Path, sha256: str, size: int, progress: Progress | None = None) -> None:
        """Bring an object to a file, which appears only when it is whole and has this size and checksum.

        Raises:
            IntegrityError: it is missing, or has another size or checksum.
            DiskFullError: there is no room left for the file.
        """

    def read(self, key: str) -> bytes:
        """A small object.

        Raises:
            IntegrityError: there is none.
        """

    def list(self, prefix: str = "") -> Iterator[str]:
        """The keys that begin with `prefix`, sorted."""

    def sizes(self, prefix: str = "") -> Iterator[tuple[str, int]]:
        """The keys that begin with `prefix`, sorted, each with its object's bytes."""

    def list_folders(self, prefix: str = "") -> tuple[str, ...]:
        """The names of the folders right below `prefix`, which is empty or ends in `/`; sorted."""

    def list_marked(self, prefix: str, name: str) -> Iterator[Marked]:
        """The folders right below `prefix`, which ends in `/`, that hold an object of this name; sorted by folder.

        However much else lies in them, a request tells of many small folders, or two of a large one.
        """

    def delete(self, key: str) -> None:
        """Remove an object; nothing happens when there is none."""


def check_content(blocks: Iterable[bytes | memoryview], sha256: str, size: int, where: str) -> None:
    """Read an object to its end and compare.

    Raises:
        IntegrityError: it has another size or checksum.
    """
    for _ in checked(blocks, sha256, size, where):
        pass


def receive(
    blocks: Iterable[bytes | memoryview], target: Path, sha256: str, size: int, where: str, progress: Progress | None
) -> None:
    """Write an object to a file while it is compared.

    Raises:
        IntegrityError: it has another size or checksum; there is no file then.
        DiskFullError: there is no room left.
    """
    with written_aside(target) as file:
        for block in checked(blocks, sha256, size, where):
            write_all(file, block)
            if progress:
                progress(len(block))


def checked(blocks: Iterable[bytes | memoryview], sha256: str, size: int, where: str) -> Iterator[bytes | memoryview]:
    """Pass blocks on and judge them when the last one was taken."""
    digest, seen = hashlib.sha256(), 0
    for block in blocks:
        check_cancelled()
        digest.update(block)
        seen += len(block)
        yield block
    check_size(seen, size, where)
    if digest.hexdigest() != sha256:
        raise wrong_checksum(where, digest.hexdigest(), sha256)


def check_size(found: int, expected: int, where: str) -> None:
    """Compare sizes.

    Raises:
        IntegrityError: they differ.
    """
    if found != expected:
        raise IntegrityError(f"{where} has {found} bytes, not {expected}: {_REMEDY}")


def wrong_checksum(where: str, found: str, expected: str) -> IntegrityError:
    """The error for contents that are not what they should be."""
    return IntegrityError(f"{where} has the SHA-256 {found[:16]}..., not {expected[:16]}...: {_REMEDY}")


def missing(where: str) -> IntegrityError:
    """The error for an object that is not there."""
    return IntegrityError(f"{where} is not there: {_REMEDY}")


_REMEDY = "take it from another repository or restore another set; in a backup that still runs, clear its upload."
