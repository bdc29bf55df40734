"""Face objects that no set names any more. Sets share them, so they go by themselves, after the last set that has one.

Every set with face images has a list of its objects' keys, sorted, that anybody may read (`objects.txt.zst`). The lists
of all sets that stay are merged and held against the listing of `faces/`, line by line: memory does not grow with the
number of faces.
"""

import heapq
import tempfile
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from contextlib import ExitStack
from datetime import datetime, timezone
from itertools import islice
from pathlib import Path

import zstandard

from spoqplus_backup.core.errors import IntegrityError
from spoqplus_backup.core.manifest import Manifest, Part
from spoqplus_backup.core.parallel import in_parallel
from spoqplus_backup.core.repository.base import Repository
from spoqplus_backup.core.repository.removal import Entry, Remover

FACES = "faces"  # their folder below a repository's root
COMPONENT = "face_images"
LIST = "objects.txt.zst"
AT_ONCE = 100  # lists that are open together, and objects whose locks are asked for together
LOCK_THREADS = 8


FaceLists = tuple[tuple[str, Part], ...]


def face_lists(manifest: Manifest) -> FaceLists | None:
    """The lists of a set, by their keys; None when it has face images but no list: it would lose them all."""
    objects = manifest.objects()
    found: list[tuple[str, Part]] = []
    for component in manifest.components:
        key = f"{component.name}/{LIST}"
        if key in objects:
            found.append((f"{manifest.name}/{key}", objects[key]))
        elif component.name == COMPONENT:
            return None
    return tuple(found)


def named_by(repository: Repository, lists: Iterable[tuple[str, Part]], folder: Path) -> Iterator[str]:
    """The keys of all face objects that these lists name, sorted, each once.

    Args:
        repository: where they lie.
        lists: their keys, and what they have to be.
        folder: for them, while they are read.

    Raises:
        IntegrityError: a list is missing, damaged or not sorted: then nothing may be deleted.
        BackupError: the repository can't be reached.
    """
    files: list[Path] = []
    for key, part in lists:
        files.append(folder / f"{len(files)}.zst")
        repository.get(key, files[-1], part.sha256, part.stored_bytes)
    merged = 0
    while len(files) > 1 or not merged:  # read to the end before the first key counts: a bad list is found in time
        merged += 1
        files = [*files[AT_ONCE:], _merged(files[:AT_ONCE], folder / f"merged-{merged}.zst")]
    with zstandard.open(files[0], "rt", encoding="ascii") as file:
        yield from _sorted(file)


def unnamed(entries: Iterable[Entry], named: Iterator[str], before: datetime) -> Iterator[Entry]:
    """The objects that nobody names and that were stored before a time; both are sorted by key."""
    name = next(named, None)
    for entry in entries:
        while name is not None and name < entry.key:
            name = next(named, None)
        if name != entry.key and entry.modified < before:
            yield entry


def garbage(
    remover: Remover,
    lists: Mapping[str, FaceLists | None],
    kept: frozenset[str],
    before: datetime,
    seen: Callable[[Entry], None] | None = None,
) -> Iterator[Entry]:
    """The face objects of a repository that no kept set names, and that it does not lock.

    A lock outlives the sets that need it when a monthly backup stored an object, and failed.

    Args:
        remover: the repository.
        lists: of all its sets that are trusted, by name.
        kept: the names of those that stay.
        before: what was stored later stays.
        seen: is told of every object, those that stay too.

    Raises:
        IntegrityError: a kept set can't be trusted, or its list can't be read.
    """
    unknown = sorted(name for name in kept if lists.get(name) is None)
    if unknown:
        raise IntegrityError(
            f"{remover.url}/{unknown[0]} can't be trusted or has no {LIST}, so nobody knows which faces it needs."
        )
    with tempfile.TemporaryDirectory(prefix="spoqplus-faces-") as folder:
        named = named_by(remover, [item for name in sorted(kept) for item in lists[name] or ()], Path(folder))
        found = unnamed(_told(remover.entries(f"{FACES}/"), seen), named, before)
        yield from _unlocked(remover, found) if remover.keeps_versions() else found


def _unlocked(remover: Remover, entries: Iterator[Entry]) -> Iterator[Entry]:
    now = datetime.now(timezone.utc)

    def lock_of(entry: Entry) -> datetime | None:
        return remover.locked_until(entry.key)

    while batch := list(islice(entries, AT_ONCE)):
        for entry, until in zip(batch, in_parallel(lock_of, batch, LOCK_THREADS), strict=True):
            if until is None or until <= now:
                yield entry


def _told(entries: Iterable[Entry], seen: Callable[[Entry], None] | None) -> Iterator[Entry]:
    for entry in entries:
        if seen is not None:
            seen(entry)
        yield entry


def _merged(lists: Sequence[Path], target: Path) -> Path:
    with ExitStack() as stack:
        files = [stack.enter_context(zstandard.open(path, "rt", encoding="ascii")) for path in lists]
        merged = stack.enter_context(zstandard.open(target, "wt", encoding="ascii"))
        last = ""
        for key in heapq.merge(*(_sorted(file) for file in files)):
            if key != last:
                merged.write(f"{key}\n")
            last = key
    return target


def _sorted(lines: Iterable[str]) -> Iterator[str]:
    last = ""
    try:
        for line in lines:
            key = line.rstrip("\n")
            if key <= last or not key.startswith(f"{FACES}/"):
                raise IntegrityError(
                    f"A list of face objects is not sorted ({key[:100]!r}): no face object is deleted."
                )
            yield key
            last = key
    except (zstandard.ZstdError, UnicodeDecodeError) as error:
        raise IntegrityError(f"A list of face objects can't be read: {error}: no face object is deleted.") from error
