"""Which sets there are, in how many copies, on which media, and whether the 3-2-1 rule holds; by listing alone.

Three copies of the data on two media, one of them off-site. The live database is the first copy, on a disk: that is how
the strategy counts its production server, its local folder and its bucket. A set that only one repository still has is
therefore two copies, and the rule no longer holds for it. Repositories in one bucket are one copy on one medium.
"""

import heapq
import logging
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass, field
from itertools import groupby
from typing import NamedTuple

from spoqplus_backup.core.errors import BackupError
from spoqplus_backup.core.manifest import Model
from spoqplus_backup.core.repository.base import Marked
from spoqplus_backup.core.repository.catalog import Catalog, SetRef
from spoqplus_backup.core.settings import Settings

log = logging.getLogger(__name__)

LIVE = 1  # the server itself is a copy of the data
LIVE_MEDIUM = "disk"
COPIES, MEDIA, OFFSITE = 3, 2, 1


class Copy(Model):
    """A published set in one repository. `place` is what is lost as one; `bytes` and `tag` are of its manifest, as the
    listing tells them.
    """

    repository: str
    place: str
    medium: str
    offsite: bool
    bytes: int
    tag: str


class SetCopies(Model):
    """A set, and where it is."""

    cadence: str
    id: str
    copies: tuple[Copy, ...]

    @property
    def name(self) -> str:
        """`<cadence>/<id>`."""
        return f"{self.cadence}/{self.id}"

    @property
    def count(self) -> int:
        """Copies of the data, the live one included; those in one place are one."""
        return LIVE + len({copy.place for copy in self.copies})

    @property
    def media(self) -> tuple[str, ...]:
        """What the copies are on, the live one included; sorted."""
        of_places = {copy.place: copy.medium for copy in reversed(self.copies)}  # of each place the first one's
        return tuple(sorted({LIVE_MEDIUM, *of_places.values()}))

    @property
    def offsite(self) -> tuple[str, ...]:
        """The repositories that are somewhere else."""
        return tuple(copy.repository for copy in self.copies if copy.offsite)

    @property
    def holds(self) -> bool:
        """Whether the 3-2-1 rule holds."""
        return self.count >= COPIES and len(self.media) >= MEDIA and len(self.offsite) >= OFFSITE

    @property
    def differs(self) -> bool:
        """Whether the copies can't be of one and the same set: their manifests have different sizes."""
        return len({copy.bytes for copy in self.copies}) > 1


@dataclass
class Survey:
    """The sets of some repositories. `failures` are those that could not be listed to their end, and why."""

    settings: Settings
    catalogs: Sequence[Catalog]
    failures: dict[str, BackupError] = field(default_factory=dict)

    def sets(self, cadence: str | None = None) -> Iterator[SetCopies]:
        """Every published set, oldest first, as the listings tell: nothing but two pages of each are held in memory.

        A repository that can't be listed is left out, and noted in `failures`.
        """
        streams = [
            self._found(number, catalog, name)
            for number, catalog in enumerate(self.catalogs)
            for name in self._cadences(catalog, cadence)
        ]
        for (set_id, name), found in groupby(heapq.merge(*streams), key=lambda item: (item.id, item.cadence)):
            yield SetCopies(cadence=name, id=set_id, copies=tuple(self._copies(found)))

    def _cadences(self, catalog: Catalog, cadence: str | None) -> tuple[str, ...]:
        try:
            return catalog.cadences() if cadence is None else (cadence,)
        except BackupError as error:
            self._note(catalog, error)
            return ()

    def _found(self, number: int, catalog: Catalog, cadence: str) -> Iterator["_Found"]:
        try:
            for marked in catalog.marked(cadence):
                yield _Found(marked.folder, cadence, number, marked)
        except BackupError as error:
            self._note(catalog, error)

    def _note(self, catalog: Catalog, error: BackupError) -> None:
        self.failures.setdefault(catalog.repository.name, error)

    def _copies(self, found: Iterable["_Found"]) -> Iterator[Copy]:
        for item in found:
            repository = self.catalogs[item.repository].repository
            chosen = self.settings.repository(repository.name)
            yield Copy(
                repository=chosen.name,
                place=repository.place,
                medium=chosen.kept_on,
                offsite=chosen.is_offsite,
                bytes=item.marked.bytes,
                tag=item.marked.tag,
            )


class _Found(NamedTuple):
    """A set in a repository; sorts by id, cadence and the configuration's order."""

    id: str
    cadence: str
    repository: int
    marked: Marked


def ref_of(found: SetCopies) -> SetRef:
    """The place of a set."""
    return SetRef(found.cadence, found.id)
