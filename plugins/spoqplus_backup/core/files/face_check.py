"""Whether the objects that sets share are there: before a set is published, and whenever somebody asks of one."""

import io
import tempfile
from collections.abc import Callable, Generator, Iterable, Iterator, Sequence
from contextlib import closing
from functools import partial
from itertools import groupby, islice
from pathlib import Path

import zstandard

from spoqplus_backup.core.errors import IntegrityError, PermanentError
from spoqplus_backup.core.files.face_index import CHECKSUMS, FOLDER, OBJECTS, read_checksum
from spoqplus_backup.core.files.face_store import FaceStore, face_store, faces_folder
from spoqplus_backup.core.manifest import Component, Manifest
from spoqplus_backup.core.parallel import in_parallel
from spoqplus_backup.core.repository.base import Repository
from spoqplus_backup.core.run import FACE_IMAGES, BackupRun
from spoqplus_backup.core.sealing import SEALED

CHECK_THREADS = 8
BATCH = 1000
FOLDER_CHARACTERS = len(f"{FOLDER}/aa/")
STORED_CHECKSUMS = f"{CHECKSUMS}.zst"


def needed_objects(repository: Repository, manifest: Manifest) -> Iterator[str]:
    """The keys, below the repository's root, of all objects outside of its folder that a set needs; sorted.

    Raises:
        IntegrityError: the set's list is missing or damaged: nobody may conclude that it needs none.
    """
    for component in _sharing(manifest):
        count = 0
        for line in _list_lines(repository, manifest, component, OBJECTS):
            count += 1
            yield line.decode("ascii").rstrip("\n")
        _check_count(repository, manifest, component, count)


def shared_checksums(repository: Repository, manifest: Manifest) -> Iterator[tuple[str, str]]:
    """Key and SHA-256 of all objects outside of its folder that a set needs, sorted by key: for copies and checks.

    Raises:
        IntegrityError: the set's list is missing or damaged.
    """
    for component in _sharing(manifest):
        count = 0
        for line in _list_lines(repository, manifest, component, CHECKSUMS):
            count += 1
            yield read_checksum(line, f"{repository.url}/{manifest.name}/{component.name}/{CHECKSUMS}")
        _check_count(repository, manifest, component, count)


def shared_problems(repository: Repository, manifest: Manifest, *, read_back: bool = False) -> Iterator[str]:
    """A sentence for each object outside of its folder that a set needs and that is not as it should be.

    Args:
        repository: where to look.
        manifest: the set.
        read_back: read each object, whatever the repository vouches for.
    """

    def check(item: tuple[str, str]) -> str | None:
        try:
            repository.check(item[0], None, item[1], read_back=read_back)
        except PermanentError as error:
            return str(error)
        return None

    for batch in _batches(shared_checksums(repository, manifest)):
        yield from (problem for problem in in_parallel(check, batch, CHECK_THREADS) if problem is not None)


def check_shared(
    run: BackupRun, repositories: Sequence[Repository], manifest: Manifest | None, *, read_back: bool = False
) -> int:
    """See that every face image of a set lies in every repository; how many objects there are.

    All have to be listed with their size; those that this run stored are looked at for their checksum, too. With
    `read_back` every one is read, whatever the repository vouches for.

    Args:
        run: the backup.
        repositories: where to look.
        manifest: of the set when it is published and no longer staged.
        read_back: read them all.

    Raises:
        IntegrityError: an object is missing or has another size or checksum; the message names it.
    """
    if manifest is not None:

        def published(repository: Repository) -> int:
            check = partial(_read, repository) if read_back else _believe
            return _each_listed(repository, shared_checksums(repository, manifest), check)

        return max(in_parallel(published, repositories, len(repositories)))
    if FACE_IMAGES not in run.staging.components():
        return 0
    staged = run.staging.component(FACE_IMAGES) / SEALED / STORED_CHECKSUMS
    with face_store(faces_folder(run.settings), run.name) as store:

        def staged_now(repository: Repository) -> int:
            with closing(_lines(staged)) as lines:
                checksums = (read_checksum(line, str(staged)) for line in lines)
                return _each_listed(repository, checksums, partial(_check_object, store, repository, read_back))

        return max(in_parallel(staged_now, repositories, len(repositories)))


def _believe(key: str, sha256: str, size: int) -> None:
    """That it is listed is enough."""


def _read(repository: Repository, key: str, sha256: str, size: int) -> None:
    try:
        repository.check(key, size, sha256, read_back=True)
    except IntegrityError as error:
        raise _damaged(repository, key, "does not hold what was sent") from error


def _check_object(store: FaceStore, repository: Repository, read_back: bool, key: str, sha256: str, size: int) -> None:
    """Hold what a repository lists against what was stored, and look at what this run has stored itself."""
    known = store.object(key)
    if known is not None and known.bytes != size:
        raise _damaged(repository, key, f"has {size} bytes, not {known.bytes}")
    if read_back or store.is_fresh(key):
        try:
            repository.check(key, size, sha256, read_back=read_back)
        except IntegrityError as error:
            store.suspect(repository.name, key)
            raise _damaged(repository, key, "does not hold what was sent") from error


def _each_listed(
    repository: Repository, checksums: Iterable[tuple[str, str]], check: Callable[[str, str, int], None]
) -> int:
    """List the objects folder by folder; `check` gets key, SHA-256 and listed size of each. How many there are.

    Raises:
        IntegrityError: one is not listed.
    """
    count = 0
    for folder, group in groupby(checksums, key=lambda item: item[0][:FOLDER_CHARACTERS]):
        there = dict(repository.sizes(folder))

        def one(item: tuple[str, str], there: dict[str, int] = there) -> None:
            key, sha256 = item
            if key not in there:
                raise _damaged(repository, key, "is not there")
            check(key, sha256, there[key])

        for batch in _batches(group):
            in_parallel(one, batch, CHECK_THREADS)
            count += len(batch)
    return count


def _damaged(repository: Repository, key: str, what: str) -> IntegrityError:
    return IntegrityError(
        f"{repository.url}/{key} {what}: clear the task {FACE_IMAGES}.sync with everything downstream, which brings it "
        "there again."
    )


def _sharing(manifest: Manifest) -> list[Component]:
    return [component for component in manifest.components if component.shared is not None]


def _check_count(repository: Repository, manifest: Manifest, component: Component, count: int) -> None:
    expected = component.shared.count if component.shared else 0
    if count != expected:
        raise IntegrityError(
            f"The list of objects of {repository.url}/{manifest.name}/{component.name} names {count}, not {expected}: "
            "take it from another repository."
        )


def _list_lines(repository: Repository, manifest: Manifest, component: Component, name: str) -> Iterator[bytes]:
    """The lines of one of a component's lists, after it was compared with the manifest."""
    part = next((part for part in component.lists if part.name == f"{name}.zst"), None)
    if part is None:
        raise IntegrityError(f"{manifest.name}/{component.name} has no list {name}: its objects can't be told.")
    with tempfile.TemporaryDirectory(prefix="spoqplus-") as folder:
        path = Path(folder, part.name)
        key = f"{manifest.name}/{component.name}/{part.name}"
        repository.get(key, path, part.sha256, part.stored_bytes)
        yield from _lines(path)


def _lines(path: Path) -> Generator[bytes, None, None]:
    try:
        with path.open("rb") as file, zstandard.ZstdDecompressor().stream_reader(file) as reader:
            yield from io.BufferedReader(reader)
    except FileNotFoundError as error:
        raise PermanentError(
            f"{path} is gone: clear the task {FACE_IMAGES}.sync with everything downstream."
        ) from error
    except zstandard.ZstdError as error:
        raise IntegrityError(f"{path} is damaged ({error}): take the set from another repository.") from error


def _batches(items: Iterable[tuple[str, str]]) -> Iterator[list[tuple[str, str]]]:
    rest = iter(items)
    while batch := list(islice(rest, BATCH)):
        yield batch
