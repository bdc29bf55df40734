"""The repositories of a site, as its configuration names them."""

from pathlib import Path
from urllib.parse import unquote, urlsplit

from spoqplus_backup.core.connections import Connections
from spoqplus_backup.core.repository.base import Repository
from spoqplus_backup.core.repository.local import LocalRepository
from spoqplus_backup.core.settings import RepositorySettings, Settings


def open_repository(settings: Settings, name: str, connections: Connections) -> Repository:
    """One repository by its name.

    Raises:
        SettingsError: the configuration has none of this name.
    """
    return _open(settings.repository(name), connections)


def open_repositories(settings: Settings, connections: Connections) -> list[Repository]:
    """All of them, in the configuration's order."""
    return [_open(repository, connections) for repository in settings.repositories]


def _open(repository: RepositorySettings, connections: Connections) -> Repository:
    url = urlsplit(repository.root)
    if repository.connection is None:
        return LocalRepository(repository.name, Path(unquote(url.path)))
    from spoqplus_backup.core.repository.s3 import S3Repository  # boto3 takes its time, a folder does not need it

    connection = repository.connection
    return S3Repository(repository.name, lambda: connections.s3_client(connection), url.netloc, url.path)
