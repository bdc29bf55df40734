"""A server's binary logs, and what a site has archived of them: their sidecars, and forged ones."""

import json
from collections.abc import Sequence
from pathlib import Path

from spoqplus_backup.core.archive.known import catalogues
from spoqplus_backup.core.crypto import sign
from spoqplus_backup.core.manifest import BinlogSegment
from spoqplus_backup.core.mysql.sandbox import SandboxServer
from spoqplus_backup.core.repository.binlogs import BinlogCatalog, Timeline
from support.backups import Site
from support.servers import rows

FIRST = Timeline(1, "000001")


def rotate(server: SandboxServer) -> None:
    """Close the open log."""
    rows(server.connect(), "FLUSH LOCAL BINARY LOGS")


def reset(server: SandboxServer) -> None:
    """Begin the logs anew."""
    rows(server.connect(), "RESET MASTER" if server.flavour == "mariadb" else "RESET BINARY LOGS AND GTIDS")


def log_names(server: SandboxServer) -> list[str]:
    """Every log that the server has, the open one last."""
    return [row[0] for row in rows(server.connect(), "SHOW BINARY LOGS")]


def catalogs(site: Site) -> list[BinlogCatalog]:
    """The archived logs of each repository."""
    return catalogues(site.settings, site.connections)


def sidecars(site: Site, timeline: Timeline = FIRST, repository: int = 0) -> list[BinlogSegment]:
    """Those of a timeline, in order."""
    catalog = catalogs(site)[repository]
    return [catalog.load(timeline, name) for name in catalog.names(timeline)]


def transactions(site: Site, repository: int = 0) -> int:
    """Those in all logs of the first timeline, which have to follow each other."""
    chain = sidecars(site, repository=repository)
    for before, after in zip(chain, chain[1:], strict=False):
        assert after.gtids_before == before.gtids_after
    return sum(item.transactions for item in chain)


def folder(site: Site, repository: str) -> Path:
    """Where a repository on this disk lies."""
    return Path(site.settings.repository(repository).root.removeprefix("file://"))


def rewrite(site: Site, name: str, repositories: Sequence[str], **fields: object) -> None:
    """Replace a sidecar by another one, with a good signature: what only who has the key can do."""
    key = site.settings.signing.private_key_file
    assert key is not None
    for repository in repositories:
        path = folder(site, repository) / FIRST.folder / f"{name}.json"
        changed = BinlogSegment.model_validate(json.loads(path.read_bytes()) | fields).to_json()
        path.write_bytes(changed)
        path.with_name(f"{name}.json.sig").write_bytes(sign(changed, key))
