"""Sets with what their manifests say: remembered, or read and proved in every repository."""

from collections.abc import Iterator
from itertools import islice

from spoqplus_backup.core.errors import BackupError, IntegrityError
from spoqplus_backup.core.manifest import MANIFEST, Model
from spoqplus_backup.core.repository.catalog import Catalog, Proved, SetRef
from spoqplus_backup.core.repository.details_cache import DetailsCache
from spoqplus_backup.core.repository.set_details import SetDetails, contents_of, details_of
from spoqplus_backup.core.repository.survey import Copy, SetCopies, ref_of
from spoqplus_backup.core.stages import in_parallel

BATCH = 64  # sets whose manifests are read together
THREADS = 8


class Described(Model):
    """A set with what its manifest says; `problem` is why it can't be used, in a repository that the sentence names."""

    found: SetCopies
    details: SetDetails | None
    problem: str | None = None


def described(
    catalogs: dict[str, Catalog], cache: DetailsCache, sets: Iterator[SetCopies], *, read: bool
) -> Iterator[Described]:
    """Sets with what their manifests say, in their order.

    Args:
        catalogs: by the repository's name.
        cache: what was read before.
        sets: as a survey tells them.
        read: read and prove what is not remembered, in every repository; else it is left out.
    """

    def one(found: SetCopies) -> Described:
        if not read:
            return Described(found=found, details=_remembered(catalogs, cache, found))
        return _proved(catalogs, cache, found)

    while batch := list(islice(sets, BATCH)):
        yield from in_parallel(one, batch, THREADS) if read else map(one, batch)


def _remembered(catalogs: dict[str, Catalog], cache: DetailsCache, found: SetCopies) -> SetDetails | None:
    for copy in found.copies:
        if details := cache.get(catalogs[copy.repository].repository.url, found.name, copy):
            return details
    return None


def _proved(catalogs: dict[str, Catalog], cache: DetailsCache, found: SetCopies) -> Described:
    first: SetDetails | None = None
    problems = []
    for copy in found.copies:
        catalog = catalogs[copy.repository]
        try:
            details = _details(catalog, cache, found, copy)
        except BackupError as error:
            problems.append(str(error))
            continue
        if first is not None and details.sha256 != first.sha256:
            problems.append(another_set(catalog.repository.url, found.name))
        first = first or details
    return Described(found=found, details=first, problem=" ".join(problems) or None)


def _details(catalog: Catalog, cache: DetailsCache, found: SetCopies, copy: Copy) -> SetDetails:
    url = catalog.repository.url
    if known := cache.get(url, found.name, copy):
        return known
    proved = prove_listed(catalog, ref_of(found), copy.bytes)
    details = details_of(proved.manifest, proved.sha256)
    cache.put(url, found.name, copy, details, contents_of(proved.manifest))
    return details


def prove_listed(catalog: Catalog, ref: SetRef, size: int) -> Proved:
    """A manifest, checked, that has as many bytes as a listing told.

    Raises:
        IntegrityError: it has not, or can't be believed.
        BackupError: the repository can't be reached.
    """
    proved = catalog.prove(ref)
    if len(proved.content) != size:
        where = f"{catalog.repository.url}/{ref.name}/{MANIFEST}"
        raise IntegrityError(f"{where} was replaced while it was read: list again.")
    return proved


def another_set(url: str, name: str) -> str:
    """Why a copy can't be used whose manifest is good, but not that of the first repository."""
    return f"{url}/{name}/{MANIFEST} is another set's than in the others."
