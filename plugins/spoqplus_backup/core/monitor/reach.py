"""Which points in time a restore can reach, looked up again and again while little changes.

What was read stays: sidecars and manifests never change. Each time only the listings are new, and the logs behind them.
"""

from collections.abc import Sequence
from datetime import datetime, timedelta, timezone

from spoqplus_backup.core.connections import Connections
from spoqplus_backup.core.errors import IntegrityError
from spoqplus_backup.core.manifest import Manifest
from spoqplus_backup.core.monitor.catalogue import Reachable, Row
from spoqplus_backup.core.recovery.archived import ArchivedLogs
from spoqplus_backup.core.recovery.windows import unreachable, window_or_problem
from spoqplus_backup.core.repository.base import Repository
from spoqplus_backup.core.repository.catalog import Catalog, SetRef
from spoqplus_backup.core.run import DATABASE
from spoqplus_backup.core.settings import Settings

FULLS = 400  # the newest full backups whose windows are looked at
MARGIN = timedelta(days=2)  # a full backup this much older than the first archived log has none behind it


class Reaching:
    """The reach of one repository's backups and logs."""

    def __init__(self, settings: Settings, connections: Connections, repository: Repository) -> None:
        self.repository = repository
        self._catalog = Catalog(repository, settings.signing.public_key_files, settings.site)
        self._logs = ArchivedLogs(settings, connections, repository)
        self._manifests: dict[str, Manifest] = {}

    def look(self, rows: Sequence[Row]) -> Reachable:
        """How far the logs lead from each of these full backups.

        Raises:
            BackupError: the repository can't be reached.
        """
        self._logs.forget_listings()
        wanted = self._with_logs([row for row in rows if row.is_full and self.repository.name in row.repositories])
        self._manifests = {row.name: self._manifest(row) for row in wanted}
        windows = tuple(window_or_problem(self._logs, manifest) for manifest in self._manifests.values())
        newest = next(reversed(self._manifests.values()), None)
        return Reachable(
            as_of=datetime.now(timezone.utc),
            server=None if newest is None else f"{newest.server.flavour} {newest.server.version} ({newest.server.id})",
            windows=windows,
            gaps=tuple(unreachable(windows)),
        )

    def _with_logs(self, fulls: Sequence[Row]) -> Sequence[Row]:
        """Those that are not older than all logs; the newest in any case: it can be restored without."""
        began, newest = self._first_log(), fulls[-FULLS:]
        if began is None:
            return newest
        later = [row for row in newest if row.line is not None and row.line.finished_at > began - MARGIN]
        return later or newest[-1:]

    def _first_log(self) -> datetime | None:
        found = []
        for timeline in self._logs.timelines():
            if names := self._logs.names(timeline):
                try:
                    found.append(self._logs.segment(timeline, names[0]).created_at)
                except IntegrityError:  # whoever needs that log is told
                    continue
        return min(found, default=None)

    def _manifest(self, row: Row) -> Manifest:
        """Without its lists of parts, which are most of it."""
        if known := self._manifests.get(row.name):
            return known
        manifest = self._catalog.load(SetRef(row.cadence, row.id))
        database = manifest.component(DATABASE).model_copy(update={"parts": (), "lists": ()})
        return manifest.model_copy(update={"components": (database,)})
