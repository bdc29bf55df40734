"""The repositories of a site, as its configuration names them."""

from pathlib import Path
from urllib.parse import unquote, urlsplit

from spoqplus_backup.core.connections import Connections
from spoqplus_backup.core.repository.base import Keeping, Repository
from spoqplus_backup.core.repository.local import LocalRepository
from spoqplus_backup.core.settings import RepositorySettings, Settings


def open_repository(
    settings: Settings, name: str, connections: Connections, *, long_term: bool = False, shared: bool = False
) -> Repository:
    """One repository by its name; `long_term` and `shared` as in `open_repositories`.

    Raises:
        SettingsError: the configuration has none of this name.
    """
    return _open(settings.repository(name), connections, long_term=long_term, shared=shared)


def open_repositories(
    settings: Settings, connections: Connections, *, long_term: bool = False, shared: bool = False
) -> list[Repository]:
    """Those that backups are written to, in the configuration's order; replicas are not among them.

    Args:
        settings: the site.
        connections: where its credentials are.
        long_term: what is stored gets the long-term storage class and the object lock, where these are configured.
        shared: what is stored is named by other sets, too: it is locked as long, but stays in the ordinary class.
    """
    return [_open(repository, connections, long_term=long_term, shared=shared) for repository in settings.primaries]


def open_replicas(settings: Settings, connections: Connections, *, long_term: bool = False) -> list[Repository]:
    """Those that the replication fills, in the configuration's order; `long_term` as in `open_repositories`."""
    return [_open(repository, connections, long_term=long_term) for repository in settings.replicas]


def open_all(settings: Settings, connections: Connections) -> list[Repository]:
    """Every one that a backup can be read from, replicas last."""
    return [*open_repositories(settings, connections), *open_replicas(settings, connections)]


def _open(
    repository: RepositorySettings, connections: Connections, *, long_term: bool, shared: bool = False
) -> Repository:
    url = urlsplit(repository.root)
    if repository.connection is None:
        return LocalRepository(repository.name, Path(unquote(url.path)))
    from spoqplus_backup.core.repository.s3 import S3Repository  # boto3 takes its time, a folder does not need it

    connection = repository.connection
    keeping = Keeping(repository.storage_class)
    if long_term:
        lock = repository.object_lock
        keeping = Keeping(
            (None if shared else repository.long_term_storage_class) or repository.storage_class,
            lock.mode if lock else None,
            lock.days if lock else 0,
        )
    return S3Repository(repository.name, lambda: connections.s3_client(connection), url.netloc, url.path, keeping)
