"""The doctor's findings, as the API server's machine sees things, kept for a moment: the page asks at every load."""

import threading
import time

from spoqplus_backup.core.connections import Connections
from spoqplus_backup.core.doctor.look import checkup
from spoqplus_backup.core.doctor.model import Checkup
from spoqplus_backup.core.settings import Settings

FRESH_SECONDS = 60.0


class Checkups:
    """Looks at a site when what is known is too old; whoever asks meanwhile waits for the same answer."""

    def __init__(self, connections: Connections) -> None:
        self._connections = connections
        self._known: dict[str, tuple[float, Settings, Checkup]] = {}
        self._once = threading.Lock()

    def of(self, settings: Settings) -> Checkup:
        """A site's; nothing is written anywhere for it."""
        with self._once:
            at, of, found = self._known.get(settings.site, (0.0, None, None))
            if found is None or of is not settings or time.monotonic() - at > FRESH_SECONDS:
                found = checkup(settings, self._connections, writing=False)
                self._known[settings.site] = (time.monotonic(), settings, found)
            return found
