"""The end of a backup: the manifest is made, signed, and written last. Only then does the set exist."""

import hashlib
import logging
from collections.abc import Callable
from datetime import datetime, timezone
from pathlib import Path

from spoqplus_backup import __version__
from spoqplus_backup.core.archive.area import Area
from spoqplus_backup.core.crypto import scheme_for, sign
from spoqplus_backup.core.errors import BackupError, PermanentError
from spoqplus_backup.core.manifest import (
    MANIFEST,
    SIGNATURE,
    Component,
    Compression,
    Coordinates,
    Encryption,
    Manifest,
    Model,
    Previous,
    RecoveryPoint,
    Server,
)
from spoqplus_backup.core.mysql.dump import DumpRecord, read_record
from spoqplus_backup.core.progress import human_bytes
from spoqplus_backup.core.published import published_manifest
from spoqplus_backup.core.repository.base import Repository
from spoqplus_backup.core.repository.catalog import SAFETY, Catalog
from spoqplus_backup.core.repository.opener import open_repositories
from spoqplus_backup.core.run import DATABASE, BackupRun
from spoqplus_backup.core.stages import sealed_parts
from spoqplus_backup.core.staging import read_json, write_all, written_aside

log = logging.getLogger(__name__)


class PublishedComponent(Model):
    """A component of the published set, in numbers. Sizes in bytes."""

    name: str
    raw_bytes: int
    stored_bytes: int
    parts: int
    rows: int | None
    seconds: dict[str, float]


class Published(Model):
    """The published set, in numbers, for XCom, the asset event and Slack."""

    set: str
    manifest_sha256: str
    raw_bytes: int
    stored_bytes: int
    components: tuple[PublishedComponent, ...]
    previous: str | None
    previous_stored_bytes: int | None
    server: str
    coordinates: Coordinates
    repositories: tuple[str, ...]
    warnings: tuple[str, ...]


def publish(run: BackupRun, warnings: tuple[str, ...] = ()) -> Published:
    """Sign the manifest, write it to every repository, and clear the staging area.

    Raises:
        PermanentError: there is no key to sign with, or the set is another run's.
        BackupError: a repository can't be written to.
    """
    repositories = open_repositories(run.settings, run.connections)
    catalog = Catalog(repositories[0], run.settings.signing.public_key_files)
    done = published_manifest(run)
    if done is not None:
        log.info("The set %s was published already", done.name)
        return _published(run, done, repositories, catalog)
    manifest = sign_and_store(run, repositories, lambda: _manifest(run, catalog, warnings))
    result = _published(run, manifest, repositories, catalog)
    run.staging.remove()
    return result


def sign_and_store(run: BackupRun, repositories: list[Repository], make: Callable[[], Manifest]) -> Manifest:
    """Make a set's manifest, once, and write it with its signature to every repository.

    A retry writes the same bytes: what `make` made lies in the staging area until the whole set is gone from there.

    Raises:
        PermanentError: there is no key to sign with.
        BackupError: a repository can't be written to.
    """
    if run.settings.signing.private_key_file is None:
        raise PermanentError(
            f"{run.settings.source}: signing.private_key_file is not set: make one with `spoqplus-backup keys`."
        )
    staged = run.staging.path / MANIFEST
    if not staged.exists():
        content = make().to_json()
        with written_aside(staged) as file:
            write_all(file, content)
    content = staged.read_bytes()
    manifest = Manifest.from_json(content, str(staged))
    signature = sign(content, run.settings.signing.private_key_file)
    for repository in repositories:
        repository.put_bytes(f"{run.name}/{SIGNATURE}", signature)
        repository.put_bytes(f"{run.name}/{MANIFEST}", content)
        log.info("Published %s in %s", run.name, repository.url)
    return manifest


def encryption_used(run: BackupRun) -> Encryption:
    """How a set of this run is encrypted, for its manifest."""
    scheme = scheme_for(run.settings, run.connections)
    return Encryption(
        scheme=run.settings.encryption.scheme,
        recipients=run.settings.encryption.recipients if scheme.name == "age" else (),
    )


def previous_of(run: BackupRun, catalog: Catalog) -> Previous | None:
    """The set of the same cadence before a run's, as its manifest names it."""
    before = catalog.newest_before(run.cadence, run.set_id)
    return None if before is None else Previous(id=before.id, sha256=catalog.manifest_sha256(before))


def _manifest(run: BackupRun, catalog: Catalog, warnings: tuple[str, ...]) -> Manifest:
    settings = run.settings
    records = {name: read_record(run.staging.component(name)) for name in run.staging.components()}
    missing = [name for name, record in records.items() if record is None]
    if missing:
        raise PermanentError(
            f"{', '.join(missing)} of {run.name} was not dumped: clear the dump tasks of the run {run.run_id}."
        )
    found = {name: record for name, record in records.items() if record is not None}
    components = []
    for name, record in found.items():
        *parts, index = sealed_parts(run, name, run.staging.component(name))
        components.append(
            Component(
                name=name,
                kind="logical",
                content=record.content,
                index=index,
                parts=tuple(parts),
                started_at=record.started_at,
                finished_at=record.finished_at,
                coordinates=record.server.coordinates,
                counts=record.counts,
                rows=record.rows,
                seconds={
                    "dump": (record.finished_at - record.started_at).total_seconds(),
                    **_stage_seconds(run.staging.component(name)),
                },
            )
        )
    first = next(iter(found.values()))
    stored = sum(component.stored_bytes for component in components)
    if stored < settings.alerts.minimum_backup_bytes:
        least = human_bytes(settings.alerts.minimum_backup_bytes)
        warnings = (
            *warnings,
            f"The backup is only {human_bytes(stored)}, less than alerts.minimum_backup_bytes ({least}).",
        )
    return Manifest(
        site=settings.site,
        cadence=run.cadence,
        id=run.set_id,
        run_id=run.run_id,
        started_at=min(component.started_at for component in components),
        finished_at=datetime.now(timezone.utc),
        server=first.server,
        tools={tool: version for record in found.values() for tool, version in record.tools.items()}
        | {"spoqplus-backup": __version__},
        compression=Compression(level=settings.compression.level),
        encryption=encryption_used(run),
        components=tuple(components),
        previous=previous_of(run, catalog),
        recovery_point=_recovery_point(run, found.get(DATABASE)),
        warnings=warnings,
    )


def _stage_seconds(directory: Path) -> dict[str, float]:
    stages = ("compress", "encrypt", "upload")
    found = {stage: read_json(directory / f"{stage}.json") for stage in stages}
    return {stage: round(content["seconds"], 3) for stage, content in found.items() if content}


def _recovery_point(run: BackupRun, database: DumpRecord | None) -> RecoveryPoint | None:
    """Everything up to the snapshot is in the set; the archive of binary logs may reach further."""
    if database is None or run.cadence == SAFETY:  # a part of the databases is no point to recover to
        return None
    status = Area(run.settings).status()
    archived = status.recovery_point if status else None
    point = RecoveryPoint(
        measured_at=datetime.now(timezone.utc),
        last_event_at=archived.last_event_at if archived else None,
        complete_until=max(
            database.started_at,
            archived.complete_until if archived and archived.complete_until else database.started_at,
        ),
    )
    log.info("Recovery point: complete until %s, %.0f s ago", point.complete_until, point.seconds)
    return point


def _published(run: BackupRun, manifest: Manifest, repositories: list[Repository], catalog: Catalog) -> Published:
    before = manifest.previous
    return Published(
        set=manifest.name,
        manifest_sha256=hashlib.sha256(manifest.to_json()).hexdigest(),
        raw_bytes=manifest.raw_bytes,
        stored_bytes=manifest.stored_bytes,
        components=tuple(
            PublishedComponent(
                name=component.name,
                raw_bytes=component.raw_bytes,
                stored_bytes=component.stored_bytes,
                parts=len(component.parts),
                rows=component.rows,
                seconds=component.seconds,
            )
            for component in manifest.components
        ),
        previous=before.id if before else None,
        previous_stored_bytes=_stored_bytes(catalog, run.cadence, before.id) if before else None,
        server=f"{manifest.server.flavour} {manifest.server.version}",
        coordinates=_coordinates(manifest.server, manifest.components),
        repositories=tuple(repository.url for repository in repositories),
        warnings=manifest.warnings,
    )


def _stored_bytes(catalog: Catalog, cadence: str, set_id: str) -> int | None:
    try:
        return catalog.resolve(f"{cadence}/{set_id}").stored_bytes
    except BackupError as error:  # it may have been deleted since, or be damaged: no reason to fail this one
        log.warning("The size of the backup before can't be told: %s", error)
        return None


def _coordinates(server: Server, components: tuple[Component, ...]) -> Coordinates:
    whole = next((component.coordinates for component in components if component.name == "database"), None)
    return whole or server.coordinates
