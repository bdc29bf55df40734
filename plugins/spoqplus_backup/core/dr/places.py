"""The repository in the DR region."""

from spoqplus_backup.core.connections import Connections
from spoqplus_backup.core.dr.server import dr_settings
from spoqplus_backup.core.repository.base import Repository
from spoqplus_backup.core.repository.opener import open_repository
from spoqplus_backup.core.settings import Settings


def dr_repository(settings: Settings, connections: Connections) -> Repository:
    """The one that `dr.repository` names; without it the first replica, or the last of all.

    Raises:
        SettingsError: it can't be opened, or is not configured.
    """
    named = dr_settings(settings).repository
    return open_repository(settings, named or (settings.replicas or settings.repositories[-1:])[0].name, connections)
