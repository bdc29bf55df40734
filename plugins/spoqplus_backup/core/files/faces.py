"""The sync of the face images: what is new goes to every repository, and the set gets an index of what is there now.

What was deleted is only absent from the new index: its object stays as long as a set that is kept names it. Started
again after a kill, it reads and sends only what is left (`face_store.py`), and nothing that a repository lists already.
"""

import grp
import itertools
import json
import logging
import os
import pwd
import threading
from collections import Counter
from collections.abc import Iterator, Sequence
from dataclasses import replace
from datetime import datetime, timezone
from functools import lru_cache
from pathlib import Path
from typing import IO

from spoqplus_backup.core.component import ComponentRecord, make_component, raw_parts
from spoqplus_backup.core.crypto import Scheme, scheme_for
from spoqplus_backup.core.errors import BackupError, IntegrityError, PermanentError
from spoqplus_backup.core.files.face_index import (
    CHECKSUMS,
    INDEX,
    OBJECTS,
    FaceEntry,
    FaceHeader,
    text_or_base64,
)
from spoqplus_backup.core.files.face_objects import Objects, list_objects
from spoqplus_backup.core.files.face_scan import pack, scan
from spoqplus_backup.core.files.face_store import FaceStore, Found, face_store, faces_folder, name_key
from spoqplus_backup.core.files.guard import check_deletions, check_source
from spoqplus_backup.core.manifest import SharedObjects
from spoqplus_backup.core.notice import Notice, notice
from spoqplus_backup.core.parallel import in_parallel
from spoqplus_backup.core.plain import PlainScheme
from spoqplus_backup.core.progress import Progress
from spoqplus_backup.core.repository.base import Repository
from spoqplus_backup.core.repository.catalog import Catalog
from spoqplus_backup.core.repository.opener import open_repositories
from spoqplus_backup.core.run import FACE_IMAGES, BackupRun, StageSummary
from spoqplus_backup.core.settings import Settings
from spoqplus_backup.core.staging import locked

log = logging.getLogger(__name__)

WAIT_SECONDS = 600.0  # for another cadence's sync
NAMED = 20  # files of each kind that the log names


def faces_in_use(settings: Settings) -> list[str]:
    """The sets, as `<cadence>/<id>`, that were begun here and not published: nobody may remove objects meanwhile."""
    site = settings.staging.directory / settings.site
    return sorted(str(path.parent.relative_to(site)) for path in site.glob(f"*/*/{FACE_IMAGES}") if path.is_dir())


def sync_faces(run: BackupRun, generation: int) -> StageSummary:
    """Bring every face image to every repository, and leave the set's index in staging.

    Args:
        run: the backup.
        generation: any number that changes when the task was cleared, not when it is retried.

    Raises:
        GuardError: the folder is not what it should be, or lost more than is plausible.
        PermanentError: a file can't be read.
        BackupError: a repository or a disk failed.
    """
    return make_component(
        run, FACE_IMAGES, "sync", generation, lambda directory: _Sync(run, generation, directory).work()
    )


class _Tally:
    """What was seen on the way, counted by the threads; the log names some, the manifest counts all."""

    def __init__(self) -> None:
        self._lock = threading.Lock()
        self._counts: Counter[str] = Counter()

    def note(self, kind: str, path: bytes, words: str) -> None:
        with self._lock:
            self._counts[kind] += 1
            if self._counts[kind] <= NAMED:
                log.warning("/%s %s", os.fsdecode(path.lstrip(b"/")), words)

    def warnings(self) -> Iterator[Notice]:
        """Without names: the manifest is not encrypted."""
        if count := self._counts["changed"]:
            sentence = "{count} face images were written to while they were read: their newest state may be missing."
            yield notice("faces.changed", sentence, count=count)
        if count := self._counts["vanished"]:
            yield notice("faces.vanished", "{count} face images vanished before they were read.", count=count)
        if count := self._counts["skipped"]:
            sentence = "{count} face images are no files but sockets, pipes or devices: they were left out."
            yield notice("faces.skipped", sentence, count=count)


class _Sync:
    """One sync of one set."""

    def __init__(self, run: BackupRun, generation: int, directory: Path) -> None:
        settings = run.settings
        if settings.faces is None:
            raise PermanentError(f"{settings.source}: `faces` is null: there is nothing to synchronise.")
        self._run = run
        self._faces = settings.faces
        self._generation = generation
        self._directory = directory
        self._tally = _Tally()
        self._numbers = itertools.count()
        self._started_at = datetime.now(timezone.utc)

    def work(self) -> ComponentRecord:
        check_source(self._faces.directory, self._faces, "faces")
        settings = self._run.settings
        folder = faces_folder(settings)
        with (
            locked(folder / "lock", f"the face images of {settings.site}", WAIT_SECONDS),
            face_store(folder, self._run.name, syncing=True) as store,
        ):
            store.begin()
            store.find(scan(self._faces.directory, self._skip))
            long_term = self._run.rules.long_term
            repositories = open_repositories(settings, self._run.connections, long_term=long_term, shared=True)
            self._guard(store, Catalog(repositories[0], settings.signing.public_key_files))
            list_objects(store, repositories)
            work = self._directory / "work"
            work.mkdir(mode=0o700)
            objects = Objects(store, repositories, self._scheme(), name_key(folder), work)
            self._bring(store, objects, work)
            work.rmdir()
            if long_term:
                self._lock(store, repositories)
            record = self._record(store)
            store.finish()
        return record

    def _scheme(self) -> Scheme:
        return scheme_for(self._run.settings, self._run.connections) if self._faces.encrypt else PlainScheme()

    def _skip(self, path: bytes) -> None:
        self._tally.note("skipped", path, "is neither file, folder nor link: it is left out")

    def _guard(self, store: FaceStore, catalog: Catalog) -> None:
        gone, known = store.lost()
        check_deletions(self._faces.directory, gone, known, self._faces, "faces")
        before = _files_before(catalog)
        check_deletions(self._faces.directory, max(0, before - store.count()[0]), before, self._faces, "faces")

    def _bring(self, store: FaceStore, objects: Objects, work: Path) -> None:
        progress = Progress(f"sync {FACE_IMAGES}", store.unread_bytes())

        def one(item: Found) -> Found | None:
            return self._one(store, objects, work / f"{next(self._numbers)}.zst", item, progress)

        for page in store.pages():
            files = [item for item in page if item.type == "file"]
            done = in_parallel(one, files, self._faces.parallel)
            store.settle(item for item in done if item is not None)
            store.forget(item.path for item, now in zip(files, done, strict=True) if now is None)
        progress.finish()

    def _lock(self, store: FaceStore, repositories: Sequence[Repository]) -> None:
        """What other sets have stored is locked as long as this one, which would lose its faces otherwise."""
        for page in store.needed_pages():
            for repository in repositories:
                in_parallel(repository.lock, [key for key, _ in page], self._faces.parallel)

    def _one(self, store: FaceStore, objects: Objects, packed: Path, item: Found, progress: Progress) -> Found | None:
        """The file with its content's hash and its object's key, which is in every repository now; None: it is gone."""
        known = store.hash_of(item)
        if known is not None and objects.has(objects.key(known)):
            return replace(item, sha256=known, key=objects.key(known))
        try:
            content = pack(item, packed, self._run.settings.compression.level)
            if content is None or content.item.sha256 is None:
                self._tally.note("vanished", item.path, "vanished before it was read")
                return None
            if content.changed:
                self._tally.note("changed", item.path, "was written to all the time: it is stored as it was read")
            key = objects.key(content.item.sha256)
            if not objects.has(key):
                objects.put(key, packed)
            if content.settled and not content.changed:
                store.keep_hash(content.item, content.item.sha256)
        finally:
            packed.unlink(missing_ok=True)
        progress.add(content.item.size)
        return replace(content.item, key=key)

    def _record(self, store: FaceStore) -> ComponentRecord:
        with raw_parts(self._directory) as raw:
            shared = _write_lists(store, raw)
            with (raw / INDEX).open("wb") as out:
                _write_index(store, self._faces.directory, out)
            raw_bytes = sum(path.stat().st_size for path in raw.iterdir())
        return ComponentRecord(
            generation=self._generation,
            stage="sync",
            kind="files",
            content="objects",
            suffix="",
            index=INDEX,
            plain=(OBJECTS, CHECKSUMS),
            parts=0,
            raw_bytes=raw_bytes,
            started_at=self._started_at,
            finished_at=datetime.now(timezone.utc),
            files=store.count()[0],
            shared=shared,
            warnings=(*([] if self._faces.encrypt else [_readable()]), *self._tally.warnings()),
        )


def _readable() -> Notice:
    return notice("faces.readable", "faces.encrypt is false: who can read a repository can see the face images in it.")


def _files_before(catalog: Catalog) -> int:
    """How many files the newest set holds; 0 when there is none that can tell."""
    try:
        ref = catalog.latest()
        manifest = catalog.load(ref) if ref else None
    except IntegrityError as error:
        log.warning("The backup before can't tell how many face images there were: %s", error)
        return 0
    for component in manifest.components if manifest else ():
        if component.name == FACE_IMAGES:
            return component.files or 0
    return 0


def _write_lists(store: FaceStore, raw: Path) -> SharedObjects:
    count, size = 0, 0
    with (raw / OBJECTS).open("wb") as keys, (raw / CHECKSUMS).open("wb") as checksums:
        for key, stored in store.needed():
            keys.write(f"{key}\n".encode())
            checksums.write(f"{stored.sha256}  {key}\n".encode())
            count += 1
            size += stored.bytes
    return SharedObjects(count=count, raw_bytes=store.total_bytes(), stored_bytes=size)


def _write_index(store: FaceStore, directory: Path, out: IO[bytes]) -> None:
    files, entries = store.count()
    root = text_or_base64("root", os.fsencode(directory).lstrip(b"/"))
    out.write(FaceHeader.model_validate({**root, "files": files, "entries": entries}).line())
    for page in store.pages():
        for item in page:
            out.write(_entry(store, item).line())


def _entry(store: FaceStore, item: Found) -> FaceEntry:
    stored = store.object(item.key) if item.key is not None else None
    if item.type == "file" and stored is None:
        raise BackupError(f"/{os.fsdecode(item.path)} got no object: clear the task {FACE_IMAGES}.sync.")
    return FaceEntry.model_validate(
        {
            **text_or_base64("path", item.path),
            **(text_or_base64("link", item.link) if item.link is not None else {}),
            "type": item.type,
            "size": item.size,
            "mode": item.mode,
            "uid": item.uid,
            "gid": item.gid,
            "user": _user(item.uid),
            "group": _group(item.gid),
            "mtime": item.mtime_ns / 1e9,
            "attributes": json.loads(item.attributes) if item.attributes is not None else None,
            "sha256": item.sha256,
            "key": item.key,
            "stored_bytes": stored.bytes if stored else None,
            "stored_sha256": stored.sha256 if stored else None,
        }
    )


@lru_cache(maxsize=1024)
def _user(uid: int) -> str:
    try:
        return pwd.getpwuid(uid).pw_name
    except KeyError:
        return ""


@lru_cache(maxsize=1024)
def _group(gid: int) -> str:
    try:
        return grp.getgrgid(gid).gr_name
    except KeyError:
        return ""
