"""The catalogue of a site, kept up to date behind the backs of those who ask.

Whoever asks gets what was seen last, at once; when that is old, a thread looks again. Of several processes one looks,
and the others take over what it found. After a restart the `DetailsCache` has what was seen before.
"""

import contextlib
import fcntl
import logging
import threading
import time
from collections.abc import Callable, Iterator, Sequence
from datetime import datetime, timedelta, timezone
from typing import TypeVar

from spoqplus_backup.core.connections import Connections
from spoqplus_backup.core.errors import BackupError
from spoqplus_backup.core.monitor.catalogue import Catalogue, Row
from spoqplus_backup.core.monitor.looking import PATIENCE_SECONDS, Looker
from spoqplus_backup.core.monitor.seen import Seen, facts_in, holds_in, keep_holds
from spoqplus_backup.core.repository.base import Repository
from spoqplus_backup.core.repository.catalog import Catalog, SetRef
from spoqplus_backup.core.repository.details_cache import DetailsCache
from spoqplus_backup.core.repository.opener import open_all
from spoqplus_backup.core.repository.set_details import SetContents, SetDetails, contents_of, details_of
from spoqplus_backup.core.settings import Settings

log = logging.getLogger(__name__)

LEAST_SECONDS = 60.0  # between two looks
SHARE = 20  # a look may take one part in so many of the time
STALE = timedelta(minutes=15)  # nobody could look for so long

Result = TypeVar("Result")


class SiteIndex:
    """The catalogue of one site.

    Args:
        settings: the site.
        connections: where its credentials are.
        patience_seconds: how long a repository may take to list its sets before it counts as down.
        least_seconds: how often to look, at most.
    """

    def __init__(
        self,
        settings: Settings,
        connections: Connections,
        *,
        patience_seconds: float = PATIENCE_SECONDS,
        least_seconds: float = LEAST_SECONDS,
    ) -> None:
        self.settings = settings
        self._connections = connections
        self._looker = Looker(settings, connections, patience_seconds)
        self._least_seconds = least_seconds
        self._seen: Seen | None = None
        self._current: Catalogue | None = None
        self._thread: threading.Thread | None = None
        self._next_look = 0.0
        self._kept = 0
        self._holds_changed = 0
        self._once = threading.RLock()
        self._one_look = threading.Lock()

    # ---- for those who ask

    def catalogue(self) -> Catalogue:
        """What was seen last. The first time it is read from the cache; when it is old, a thread looks again."""
        with self._once:
            current = self._current or self._remember()
            if not self.is_looking and self._stamp() != self._kept:
                current = self._take_over_holds()
            if time.monotonic() >= self._next_look and not self.is_looking:
                self._thread = threading.Thread(target=self.look, name=f"catalogue-{self.settings.site}", daemon=True)
                self._thread.start()
            return current

    @property
    def is_looking(self) -> bool:
        """Whether a thread looks right now."""
        return self._thread is not None and self._thread.is_alive()

    def is_stale(self, now: datetime) -> bool:
        """Whether what is known is so old that it should be said."""
        as_of = self._current.as_of if self._current else None
        return as_of is None or now - as_of > STALE

    def whole(self, row: Row) -> tuple[SetDetails, SetContents] | None:
        """All that a set's manifest says and people are shown: from the cache, else from a repository.

        None when its manifest can't be believed, or no repository that has it can be reached.
        """
        if row.line is None:
            return None
        with self._cache() as cache:
            if found := cache.whole(row.line.sha256):
                return found
        for repository in self._repositories():
            if repository.name in row.repositories:
                with contextlib.suppress(BackupError):
                    catalog = Catalog(repository, self.settings.signing.public_key_files, self.settings.site)
                    proved = catalog.prove(SetRef(row.cadence, row.id))
                    if proved.sha256 == row.line.sha256:
                        return details_of(proved.manifest, proved.sha256), contents_of(proved.manifest)
        return None

    def change_holds(self, change: Callable[[Sequence[Repository]], Result]) -> Result:
        """Hold or release a set in all repositories, and see at once what came of it, also when it failed."""
        repositories = self._repositories()
        try:
            return change(repositories)
        finally:
            with self._once:
                self.catalogue()
                seen = self._seen or Seen(self.settings)
            found = self._looker.holds(seen, repositories)
            with self._once, self._cache() as cache:
                self._holds_changed += 1
                seen.holds = found
                keep_holds(cache, found)
                self._kept = self._stamp()
                self._show()

    # ---- looking

    def look(self) -> None:
        """Look at all repositories and show what is there. Does nothing while another thread is at it."""
        if not self._one_look.acquire(blocking=False):
            return
        began = time.monotonic()
        try:
            with self._one_process(), self._cache() as cache:
                if not self._take_over(cache):
                    self._look(cache)
        finally:
            with self._once:
                self._kept = self._stamp()
                self._next_look = time.monotonic() + max(self._least_seconds, SHARE * (time.monotonic() - began))
            self._one_look.release()

    def _look(self, cache: DetailsCache) -> None:
        seen, repositories, changed = self._seen or Seen(self.settings), self._repositories(), self._holds_changed
        self._looker.look(seen, repositories, cache, self._show)
        if changed != self._holds_changed:  # by a person meanwhile: what was read before may be the older
            seen.holds = self._looker.holds(seen, repositories)
            self._show()
        seen.keep(cache)

    def _take_over(self, cache: DetailsCache) -> bool:
        """Whether another process has just looked; what it found is known then."""
        if self._seen is None:
            self._remember()
        facts, current = facts_in(cache), self._current
        if facts is None or current is None or (current.as_of is not None and facts.as_of <= current.as_of):
            return False
        if datetime.now(timezone.utc) - facts.as_of > timedelta(seconds=self._least_seconds):
            return False
        self._remember()
        return True

    def _remember(self) -> Catalogue:
        with self._once, self._cache() as cache:
            self._seen = Seen.remembered(self.settings, cache)
            self._kept = self._stamp()
            return self._show()

    def _take_over_holds(self) -> Catalogue:
        """Another process changed the cache: a person may have held a set there, and looks for it here."""
        with self._cache() as cache:
            found = holds_in(cache)
        self._kept = self._stamp()
        if self._current is not None and (self._seen is None or found == self._seen.holds):
            return self._current
        if self._seen is not None:
            self._seen.holds = found
        return self._show()

    def _stamp(self) -> int:
        """When the cache was changed last; 0 when there is none."""
        with contextlib.suppress(OSError):
            return DetailsCache.path_of(self.settings).stat().st_mtime_ns
        return 0

    def _show(self) -> Catalogue:
        with self._once:
            seen = self._seen or Seen(self.settings)
            self._current = seen.catalogue()
            return self._current

    @contextlib.contextmanager
    def _one_process(self) -> Iterator[None]:
        """Wait for another process that looks; where no file can be kept, each looks for itself."""
        path = DetailsCache.path_of(self.settings).with_suffix(".lock")
        try:
            path.parent.mkdir(parents=True, exist_ok=True)
            file = path.open("w")
        except OSError as error:
            log.info("Each process looks for itself: %s", error)
            yield
            return
        with file:
            fcntl.flock(file, fcntl.LOCK_EX)
            yield

    def _cache(self) -> contextlib.closing[DetailsCache]:
        return contextlib.closing(DetailsCache.of(self.settings))

    def _repositories(self) -> list[Repository]:
        return open_all(self.settings, self._connections)
