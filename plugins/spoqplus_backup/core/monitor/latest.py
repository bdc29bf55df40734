"""The facts of a site as they were found last, for whoever can't wait: they are found anew behind their backs."""

import logging
import threading
import time

from spoqplus_backup.core.connections import Connections
from spoqplus_backup.core.monitor.gather import Memory, gather
from spoqplus_backup.core.monitor.model import SiteFacts
from spoqplus_backup.core.settings import Settings

log = logging.getLogger(__name__)


class LatestFacts:
    """The facts of one site.

    Args:
        settings: the site; `metrics.refresh_seconds` is how old they may be.
        connections: where its credentials are.
    """

    def __init__(self, settings: Settings, connections: Connections) -> None:
        self.settings = settings
        self._connections = connections
        self._memory = Memory()
        self._found: SiteFacts | None = None
        self._next = 0.0
        self._thread: threading.Thread | None = None
        self._once = threading.Lock()

    def facts(self, patience_seconds: float = 0.0) -> SiteFacts | None:
        """What was found last; a thread looks again when that is old.

        Args:
            patience_seconds: how long to wait when nothing was found yet; then the answer is None.
        """
        with self._once:
            alive = self._thread is not None and self._thread.is_alive()
            if not alive and time.monotonic() >= self._next:
                self._thread = threading.Thread(target=self._look, name=f"facts-{self.settings.site}", daemon=True)
                self._thread.start()
            thread, found = self._thread, self._found
        if found is None and thread is not None:
            thread.join(patience_seconds)
        return self._found

    def _look(self) -> None:
        began = time.monotonic()
        try:
            self._found = gather(self.settings, self._connections, memory=self._memory)
        except Exception:  # a thread's end that nobody sees; the age of the facts tells that something is wrong
            log.exception("The facts of %s can't be found", self.settings.site)
        self._next = began + self.settings.metrics.refresh_seconds
