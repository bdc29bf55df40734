"""Where a person looks at a bucket: AWS's own console."""

from urllib.parse import quote, urlencode, urlsplit

from spoqplus_backup.core.connections import Connections
from spoqplus_backup.core.repository.base import Repository
from spoqplus_backup.core.repository.opener import open_repository
from spoqplus_backup.core.settings import Settings

_CONSOLES = {"cn-": "console.amazonaws.cn", "us-gov-": "console.amazonaws-us-gov.com"}


def console_url(root: str, region: str | None, name: str) -> str | None:
    """The page of a set's objects; None for what is not in AWS.

    Args:
        root: of the repository, `s3://bucket/prefix`.
        region: where the bucket is asked; None when it is not AWS's.
        name: the set's.
    """
    url = urlsplit(root)
    if url.scheme != "s3" or region is None:
        return None
    host = next((host for start, host in _CONSOLES.items() if region.startswith(start)), "console.aws.amazon.com")
    prefix = "/".join(filter(None, (url.path.strip("/"), name))) + "/"
    return f"https://{host}/s3/buckets/{quote(url.netloc)}?{urlencode({'region': region, 'prefix': prefix})}"


def console_url_of(settings: Settings, connections: Connections, name: str) -> str | None:
    """The page of a set's objects in the first repository that is in AWS and that backups are written to.

    Raises:
        SettingsError: a connection is missing, or can't be used.
    """
    for chosen in settings.primaries:
        if not chosen.is_local:
            repository = open_repository(settings, chosen.name, connections)
            if url := console_url(chosen.root, region_of(repository), name):
                return url
    return None


def region_of(repository: Repository) -> str | None:
    """Where in AWS a repository is; None when it is somewhere else."""
    region: str | None = getattr(repository, "amazon_region", None)  # a folder has none
    return region
