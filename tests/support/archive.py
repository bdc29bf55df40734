"""Archives a sandbox server's closed binary logs into a site's repository, in the final format."""

import hashlib
from collections.abc import Sequence
from datetime import datetime, timezone
from pathlib import Path

import zstandard

from spoqplus_backup.core.connections import Connections
from spoqplus_backup.core.crypto import Scheme, scheme_for, sign
from spoqplus_backup.core.manifest import (
    BinlogSegment,
    BinlogTables,
    Compression,
    Encryption,
    Gap,
    Part,
    Previous,
    Server,
)
from spoqplus_backup.core.mysql.binlog_transactions import LogSummary, summarise
from spoqplus_backup.core.mysql.sandbox import SandboxServer
from spoqplus_backup.core.repository.binlogs import BinlogCatalog, Timeline
from spoqplus_backup.core.repository.opener import open_repositories
from spoqplus_backup.core.settings import Settings
from support.servers import rows


def rotate(server: SandboxServer) -> None:
    """Close the open log."""
    rows(server.connect(), "FLUSH BINARY LOGS")


def log_names(server: SandboxServer) -> list[str]:
    """Every log that the server has, the open one last."""
    return [row[0] for row in rows(server.connect(), "SHOW BINARY LOGS")]


def archive(
    settings: Settings,
    connections: Connections,
    server: SandboxServer,
    timeline: str = "000001",
    *,
    gap: Gap | None = None,
    close: bool = True,
    without: Sequence[str] = (),
) -> list[str]:
    """Archive every closed log that the timeline does not have yet; returns their names.

    Args:
        settings: of the site whose first repository gets them.
        connections: the site's.
        server: a sandbox: its files are read from its directory.
        timeline: where they belong.
        gap: why the timeline begins.
        close: close the open log first.
        without: logs that are lost.
    """
    if close:
        rotate(server)
    repository = open_repositories(settings, connections)[0]
    catalog = BinlogCatalog(repository, settings.signing.public_key_files, settings.site)
    (server_id, version) = rows(server.connect(), "SELECT @@server_id, @@version")[0]
    place = Timeline(server_id, timeline)
    there = catalog.names(place)
    previous = None
    if there:
        previous = Previous(id=there[-1], sha256=catalog.load_with_digest(place, there[-1])[1])
    uuid = rows(server.connect(), "SELECT @@server_uuid")[0][0] if server.flavour == "mysql" else None
    made = []
    for name in log_names(server)[:-1]:
        if name in there or name in without:
            continue
        path = server.datadir / name
        with path.open("rb") as file:
            summary = summarise(file.read, name, path.stat().st_size)
        segment = _stored(
            settings,
            connections,
            path,
            summary,
            Server(flavour=server.flavour, version=version, id=server_id, uuid=uuid),
            timeline,
            previous,
            gap if not there and not made else None,
        )
        content = segment.to_json()
        assert settings.signing.private_key_file is not None
        repository.put_bytes(f"{segment.key}.json.sig", sign(content, settings.signing.private_key_file))
        repository.put_bytes(f"{segment.key}.json", content)
        previous = Previous(id=name, sha256=hashlib.sha256(content).hexdigest())
        made.append(name)
    return made


def _stored(
    settings: Settings,
    connections: Connections,
    path: Path,
    summary: LogSummary,
    server: Server,
    timeline: str,
    previous: Previous | None,
    gap: Gap | None,
) -> BinlogSegment:
    scheme = scheme_for(settings, connections)
    tables = BinlogTables(
        tables=tuple((database, table, dict(counts)) for (database, table), counts in summary.tables.items()),
        statements=summary.statements,
    )
    folder = f"binlog/{server.id}/{timeline}"
    return BinlogSegment(
        site=settings.site,
        server=server,
        timeline=timeline,
        name=path.name,
        created_at=summary.format.created_at,
        archived_at=datetime.now(timezone.utc),
        log=_put(settings, connections, scheme, folder, path.name, path.read_bytes()),
        index=_put(
            settings, connections, scheme, folder, f"{path.name}.tables.json", tables.model_dump_json().encode()
        ),
        end=summary.end,
        closed=summary.closed,
        closed_at=summary.closed_at,
        truncated=summary.truncated,
        transactions=summary.transactions,
        first_at=summary.first_at,
        last_at=summary.last_at,
        earliest_at=summary.earliest_at,
        latest_at=summary.latest_at,
        gtids_before=summary.before,
        gtids_after=summary.after,
        previous=previous,
        gap=gap,
        compression=Compression(level=1),
        encryption=Encryption(scheme=scheme.name, recipients=settings.encryption.recipients),
    )


def _put(settings: Settings, connections: Connections, scheme: Scheme, folder: str, name: str, content: bytes) -> Part:
    directory = settings.staging.directory / "test-archive"
    directory.mkdir(parents=True, exist_ok=True)
    plain, sealed = directory / f"{name}.zst", directory / f"{name}.zst{scheme.suffix}"
    plain.write_bytes(zstandard.ZstdCompressor(level=1, write_checksum=True).compress(content))
    size, digest = scheme.encrypt(plain, sealed)
    open_repositories(settings, connections)[0].put(f"{folder}/{sealed.name}", sealed, digest)
    return Part(
        name=sealed.name,
        raw_bytes=len(content),
        raw_sha256=hashlib.sha256(content).hexdigest(),
        stored_bytes=size,
        sha256=digest,
    )
