"""Where the face images lie in the repositories, and how one comes there: once, encrypted, and the same everywhere.

    <root>/faces/<aa>/<name>.zst.age      `name` is a keyed hash of the content and of who can read it

Objects are never overwritten while they are whole and never deleted by a sync: retention does that, when no set that is
kept names them. When one repository has an object and another lacks it, it is copied, not made anew: all sets name it
by one checksum.
"""

import hashlib
import hmac
import logging
import threading
from collections.abc import Sequence
from pathlib import Path

from spoqplus_backup.core.crypto import OpensslScheme, Scheme
from spoqplus_backup.core.errors import IntegrityError
from spoqplus_backup.core.files.face_index import FOLDER
from spoqplus_backup.core.files.face_store import FaceStore, StoredObject
from spoqplus_backup.core.parallel import in_parallel
from spoqplus_backup.core.repository.base import Repository

log = logging.getLogger(__name__)

LIST_THREADS = 8
_LOCKS = 64


def list_objects(store: FaceStore, repositories: Sequence[Repository]) -> None:
    """Note what every repository lists: one question for each of up to 256 folders."""
    for repository in repositories:
        folders = [f"{FOLDER}/{name}/" for name in repository.list_folders(f"{FOLDER}/")]

        def one(folder: str, repository: Repository = repository) -> None:
            store.list(repository.name, repository.sizes(folder))

        in_parallel(one, folders, LIST_THREADS)


class Objects:
    """The objects of one site while they are synchronised; from any thread.

    Args:
        store: knows what the repositories list, and what is stored under each key.
        repositories: all have every object at the end.
        scheme: encrypts new ones.
        secret: makes their names.
        work: a folder for what is on its way.
    """

    def __init__(
        self, store: FaceStore, repositories: Sequence[Repository], scheme: Scheme, secret: bytes, work: Path
    ) -> None:
        self._store = store
        self._repositories = repositories
        self._scheme = scheme
        self._secret = secret
        self._work = work
        self._locks = [threading.Lock() for _ in range(_LOCKS)]
        self._readers = _readers(scheme)

    def key(self, sha256: str) -> str:
        """The key of a content: other readers make another one, as who can read an object can't be changed."""
        name = hmac.new(self._secret, self._readers + bytes.fromhex(sha256), "sha256").hexdigest()
        return f"{FOLDER}/{name[:2]}/{name}.zst{self._scheme.suffix}"

    def has(self, key: str) -> bool:
        """Whether every repository has the object, copying it to those that lack it; False when none has it."""
        known = self._known(key)
        if known is None:
            return False
        if len(self._whole(key, known)) == len(self._repositories):
            return True
        with self._lock_of(key):
            return self._copy_around(key, known)

    def put(self, key: str, compressed: Path) -> bool:
        """Encrypt a compressed file and store it everywhere; False when it was there."""
        with self._lock_of(key):  # two files may have one content
            known = self._known(key)
            if known is not None and self._copy_around(key, known):
                return False
            if known is not None and self._store.places(key):
                log.warning("No repository has %s whole: it is stored anew; older sets have lost this file", key)
            sealed = self._work / f"{Path(key).name}.sealed"
            try:
                size, digest = self._scheme.encrypt(compressed, sealed)
                # before it is sent: who is killed now finds it later under this checksum, or not at all
                self._store.remember(key, StoredObject(size, digest))
                self._send(key, sealed, StoredObject(size, digest), self._repositories)
            finally:
                sealed.unlink(missing_ok=True)
            return True

    def _lock_of(self, key: str) -> threading.Lock:
        return self._locks[hash(key) % _LOCKS]

    def _send(self, key: str, source: Path, stored: StoredObject, to: Sequence[Repository]) -> None:
        for repository in to:
            repository.put(key, source, stored.sha256, absent=True)
            self._store.sent(repository.name, key, stored.bytes)

    def _known(self, key: str) -> StoredObject | None:
        """What is stored under a key, by memory or, when that was lost, by what a repository has; None: nothing."""
        known = self._store.object(key)
        if known is not None:
            return known
        places = self._store.places(key)
        for repository in self._repositories:
            if repository.name in places and (stored := _look(repository, key)) is not None:
                log.info("%s/%s was there already, unknown to this host", repository.url, key)
                self._store.remember(key, stored)
                self._store.watch(key)  # `verify` looks at its checksum
                return stored
        return None

    def _whole(self, key: str, known: StoredObject) -> list[Repository]:
        places = self._store.places(key)
        return [repository for repository in self._repositories if places.get(repository.name) == known.bytes]

    def _copy_around(self, key: str, known: StoredObject) -> bool:
        """Bring an object from a repository that has it to those that lack it; False when none has it whole."""
        whole = self._whole(key, known)
        lacking = [repository for repository in self._repositories if repository not in whole]
        if whole and not lacking:
            return True
        copy = self._work / f"{Path(key).name}.copy"
        try:
            for repository in whole:
                try:
                    repository.get(key, copy, known.sha256, known.bytes)
                except IntegrityError as error:
                    log.warning("%s It is replaced.", error)
                    self._store.suspect(repository.name, key)
                    lacking.append(repository)
                    continue
                self._send(key, copy, known, lacking)
                return True
        finally:
            copy.unlink(missing_ok=True)
        return False


def _readers(scheme: Scheme) -> bytes:
    password = scheme.password if isinstance(scheme, OpensslScheme) else ""
    return "\0".join([scheme.name, *sorted(scheme.readers), password, ""]).encode()


def _look(repository: Repository, key: str) -> StoredObject | None:
    """Size and checksum of an object that nobody remembers; it is read where the repository does not know."""
    stored = repository.stat(key)
    if stored is None:
        return None
    return StoredObject(stored.bytes, stored.sha256 or hashlib.sha256(repository.read(key)).hexdigest())
