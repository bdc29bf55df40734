"""How far a repository's logs lead from its newest full backups: what would be lost, and what lies between."""

from collections.abc import Callable, Sequence
from datetime import timedelta

from spoqplus_backup.core.connections import Connections
from spoqplus_backup.core.errors import BackupError
from spoqplus_backup.core.manifest import Manifest
from spoqplus_backup.core.monitor.model import KnownSet, Reach
from spoqplus_backup.core.recovery.archived import ArchivedLogs
from spoqplus_backup.core.recovery.windows import is_full, windows
from spoqplus_backup.core.repository.base import Repository
from spoqplus_backup.core.settings import Settings


def reach(
    settings: Settings,
    connections: Connections,
    repository: Repository,
    sets: Sequence[KnownSet],
    load: Callable[[KnownSet], Manifest],
) -> Reach:
    """The windows of one repository's full backups.

    Args:
        settings: the site.
        connections: where its credentials are.
        repository: whose logs are looked at.
        sets: those that it has and a restore can begin with, newest first. Of ones from which it keeps no logs as long
            (`keep.point_in_time_days` before the newest) no window is asked for.
        load: a set's proved manifest from there.
    """
    try:
        manifests = [manifest for item in sets if is_full(manifest := load(item))]
        if manifests:
            days = settings.repository(repository.name).keep.point_in_time_days
            oldest = manifests[0].started_at - timedelta(days=days)
            manifests = [manifest for manifest in manifests if manifest.started_at >= oldest]
        found = windows(ArchivedLogs(settings, connections, repository), manifests)
    except BackupError as error:
        return Reach(repository=repository.name, problem=str(error))
    return Reach(repository=repository.name, windows=tuple(found))
