"""One look at all repositories of a site: list them, read what is new, and see what else is to be known of the sets."""

import logging
import threading
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from datetime import datetime, timezone
from typing import Generic, TypeVar

from spoqplus_backup.core.connections import Connections
from spoqplus_backup.core.errors import BackupError, IntegrityError
from spoqplus_backup.core.monitor.catalogue import Answered, line_of
from spoqplus_backup.core.monitor.gather import Memory, gather
from spoqplus_backup.core.monitor.model import SiteFacts, TestFacts, test_facts
from spoqplus_backup.core.monitor.reach import Reaching
from spoqplus_backup.core.monitor.seen import Seen
from spoqplus_backup.core.proof.store import past_proofs
from spoqplus_backup.core.repository.base import Repository
from spoqplus_backup.core.repository.catalog import Catalog, SetRef
from spoqplus_backup.core.repository.console import region_of
from spoqplus_backup.core.repository.details import BATCH, THREADS, prove_listed
from spoqplus_backup.core.repository.details_cache import DetailsCache, Known
from spoqplus_backup.core.repository.holds import Hold, held
from spoqplus_backup.core.repository.local import LocalRepository
from spoqplus_backup.core.repository.set_details import SetContents, SetDetails, contents_of, details_of
from spoqplus_backup.core.settings import Settings
from spoqplus_backup.core.stages import in_parallel

log = logging.getLogger(__name__)

PATIENCE_SECONDS = 60.0  # a repository that has not answered by then counts as down until it has
SHOWN_EVERY = 1024  # manifests that are read for the first time, until what is known is shown

Answer = TypeVar("Answer")


@dataclass(frozen=True)
class Listed:
    """Which sets a repository has, by name; of each its manifest's size and tag."""

    place: str
    region: str | None
    sets: Mapping[str, tuple[int, str]]
    at: datetime


class Asked(Generic[Answer]):
    """A question to a repository, on a thread of its own: one that never answers holds up nobody else."""

    def __init__(self, ask: Callable[[], Answer]) -> None:
        self._ask = ask
        self._answer: Answer | None = None
        self._failure: BackupError | None = None
        self._thread = threading.Thread(target=self._run, daemon=True)
        self._thread.start()

    def _run(self) -> None:
        try:
            self._answer = self._ask()
        except BackupError as error:
            self._failure = error
        except Exception as error:
            log.warning("A repository could not be asked", exc_info=True)
            self._failure = BackupError(f"It could not be asked ({type(error).__name__}): see the API server's log.")

    @property
    def is_open(self) -> bool:
        """Whether there is no answer yet."""
        return self._thread.is_alive()

    def answer(self, seconds: float) -> Answer:
        """Wait for it.

        Raises:
            BackupError: the repository's own, or that it took longer.
        """
        self._thread.join(seconds)
        if self._failure is not None:
            raise self._failure
        if self._answer is None:
            raise BackupError(f"It has not answered within {seconds:g} s: see whether it can be reached.")
        return self._answer


@dataclass
class Looker:
    """Looks at a site's repositories, again and again.

    Attributes:
        settings: the site.
        connections: where its credentials are.
        patience_seconds: how long a repository may take to list its sets before it counts as down.
    """

    settings: Settings
    connections: Connections
    patience_seconds: float = PATIENCE_SECONDS
    _asked: dict[str, Asked[Listed]] = field(default_factory=dict)
    _reaching: Reaching | None = None
    _gathering: Asked[SiteFacts] | None = None
    _memory: Memory = field(default_factory=Memory)

    def look(
        self, seen: Seen, repositories: Sequence[Repository], cache: DetailsCache, show: Callable[[], object]
    ) -> None:
        """Bring what was seen up to date; `show` is called whenever there is more to be shown."""
        questions = {item.name: self._question(item) for item in repositories}
        reached = [item for item in repositories if self._take_listing(seen, item, questions[item.name])]
        show()
        for repository in reached:
            self._read_new(seen, repository, cache, show)
        seen.forget()
        if reached:
            seen.as_of = datetime.now(timezone.utc)
            seen.holds = self.holds(seen, reached)
            seen.tests = self._tests(seen, reached)
            show()
            self._look_at_reach(seen, reached)
            self._gather(seen)
            show()

    # ---- which sets there are

    def _question(self, repository: Repository) -> Asked[Listed]:
        """One that was asked before and is answered by now, or not yet, is not asked again."""
        if (before := self._asked.get(repository.name)) is None or not before.is_open:
            before = self._asked[repository.name] = Asked(lambda: _listed(self._catalog(repository)))
        return before

    def _take_listing(self, seen: Seen, repository: Repository, asked: Asked[Listed]) -> bool:
        before = seen.states.get(repository.name) or Answered(url=repository.url)
        try:
            listed = asked.answer(self.patience_seconds)
        except BackupError as error:
            log.warning("The repository %s can't be listed: %s", repository.name, error)
            seen.states[repository.name] = before.model_copy(update={"is_up": False, "error": str(error)})
            return False
        known = seen.listings.get(repository.name, {})
        seen.listings[repository.name] = {name: _known(known.get(name), *at) for name, at in listed.sets.items()}
        seen.states[repository.name] = Answered(
            url=repository.url, place=listed.place, region=listed.region, is_up=True, as_of=listed.at
        )
        return True

    # ---- what their manifests say

    def _read_new(self, seen: Seen, repository: Repository, cache: DetailsCache, show: Callable[[], object]) -> None:
        catalog, listing = self._catalog(repository), seen.listings[repository.name]

        def read(name: str) -> tuple[SetDetails, SetContents] | BackupError:
            cadence, _, set_id = name.partition("/")
            try:
                proved = prove_listed(catalog, SetRef(cadence, set_id), listing[name].bytes)
            except BackupError as error:
                return error
            return details_of(proved.manifest, proved.sha256), contents_of(proved.manifest)

        unread = seen.unread(repository.name)
        changed = set(unread)
        for start in range(0, len(unread), BATCH):
            names = unread[start : start + BATCH]
            for name, found in zip(names, in_parallel(read, names, THREADS), strict=True):
                if isinstance(found, BackupError):
                    self._note_failure(seen, repository, name, found)
                    continue
                details, contents = found
                seen.lines.setdefault(details.sha256, line_of(details))
                seen.problems.pop((repository.name, name), None)
                listing[name] = listing[name]._replace(sha256=details.sha256)
                cache.put(repository.url, name, listing[name], details, contents)
            if start // SHOWN_EVERY != (start + BATCH) // SHOWN_EVERY:
                show()
            if seen.states[repository.name].error:
                break
        cache.keep_listing(repository.url, listing, changed)

    @staticmethod
    def _note_failure(seen: Seen, repository: Repository, name: str, error: BackupError) -> None:
        """A manifest that can't be believed is the set's problem; one that can't be read now is the repository's."""
        log.warning("%s", error)
        if isinstance(error, IntegrityError):
            seen.problems[repository.name, name] = str(error)
        else:
            state = seen.states[repository.name]
            seen.states[repository.name] = state.model_copy(update={"is_up": False, "error": str(error)})

    # ---- what else is to be known

    def holds(self, seen: Seen, repositories: Sequence[Repository]) -> dict[str, Hold | None]:
        """The holds of all repositories; those that are known when one of them can't be asked."""
        found: dict[str, Hold | None] = {}
        for repository in repositories:
            try:
                found |= held(repository, self.settings.signing.public_key_files)
            except BackupError as error:
                log.warning("The holds in %s can't be read: %s", repository.name, error)
                found = dict(seen.holds) | found
        everyone = len(repositories) == len(self.settings.repositories)
        return found if everyone else dict(seen.holds) | found

    def _tests(self, seen: Seen, repositories: Sequence[Repository]) -> tuple[TestFacts, ...]:
        """The newest recovery tests, from the first repository that has any: each primary has all."""
        for repository in repositories:
            try:
                found = past_proofs(repository, self.settings.signing.public_key_files, site=self.settings.site)
            except BackupError as error:
                log.warning("The recovery tests in %s can't be read: %s", repository.name, error)
                continue
            if found:
                return tuple(test_facts(proof) for proof in found)
        return seen.tests

    def _look_at_reach(self, seen: Seen, repositories: Sequence[Repository]) -> None:
        """By the first repository that can tell: what is archived lies in all primaries."""
        fulls = [row for row in seen.catalogue().rows if row.is_full]
        for repository in repositories:
            if self._reaching is None or self._reaching.repository.name != repository.name:
                self._reaching = Reaching(self.settings, self.connections, repository)
            try:
                seen.reach = self._reaching.look(fulls)
                return
            except BackupError as error:
                log.warning("How far the logs in %s lead can't be told: %s", repository.name, error)

    def _gather(self, seen: Seen) -> None:
        """What the promises are measured by: the same as what the metrics and the watchdog tell."""
        if self._gathering is None or not self._gathering.is_open:
            self._gathering = Asked(lambda: gather(self.settings, self.connections, memory=self._memory))
        try:
            seen.facts = self._gathering.answer(self.patience_seconds)
        except BackupError as error:
            log.warning("How the promises of %s are kept can't be told: %s", self.settings.site, error)

    def _catalog(self, repository: Repository) -> Catalog:
        return Catalog(repository, self.settings.signing.public_key_files, self.settings.site)


def _listed(catalog: Catalog) -> Listed:
    repository = catalog.repository
    if isinstance(repository, LocalRepository) and not repository.root.is_dir():
        raise BackupError(f"There is no folder {repository.root}: mount its disk, or wait for the first backup.")
    at = datetime.now(timezone.utc)
    sets = {
        f"{cadence}/{marked.folder}": (marked.bytes, marked.tag)
        for cadence in catalog.cadences()
        for marked in catalog.marked(cadence)
    }
    return Listed(repository.place, region_of(repository), sets, at)


def _known(before: Known | None, size: int, tag: str) -> Known:
    """A manifest as it is listed now; what was read of it counts as long as it is the same."""
    same = before is not None and (before.bytes, before.tag) == (size, tag)
    return before if before is not None and same else Known(size, tag, None)
