"""The catalogue of each site, once per process."""

import threading

from spoqplus_backup.core.connections import Connections
from spoqplus_backup.core.monitor.index import SiteIndex
from spoqplus_backup.core.settings import Settings


class Indexes:
    """Makes the catalogue of a site when it is asked for first."""

    def __init__(self, connections: Connections) -> None:
        self._connections = connections
        self._made: dict[str, SiteIndex] = {}
        self._once = threading.Lock()

    def of(self, settings: Settings) -> SiteIndex:
        """A site's."""
        with self._once:
            found = self._made.get(settings.site)
            if found is None or found.settings is not settings:
                found = self._made[settings.site] = SiteIndex(settings, self._connections)
            return found
