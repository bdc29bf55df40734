"""The end of a backup: the manifest is made, signed, and written last. Only then does the set exist."""

import hashlib
import logging
from collections.abc import Callable, Iterator, Mapping, Sequence
from datetime import datetime, timezone
from pathlib import Path

from spoqplus_backup import __version__
from spoqplus_backup.core.archive.area import Area
from spoqplus_backup.core.component import ComponentRecord, read_record
from spoqplus_backup.core.crypto import scheme_for, sign
from spoqplus_backup.core.errors import BackupError, PermanentError
from spoqplus_backup.core.files.snapshots import keep_snapshots
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
from spoqplus_backup.core.notice import Notice, notice
from spoqplus_backup.core.progress import human_bytes
from spoqplus_backup.core.published import published_manifest
from spoqplus_backup.core.repository.base import Repository
from spoqplus_backup.core.repository.catalog import SAFETY, Catalog
from spoqplus_backup.core.repository.opener import open_repositories
from spoqplus_backup.core.reservation import release
from spoqplus_backup.core.run import DATABASE, BackupRun, making_task
from spoqplus_backup.core.schemes import scheme_named
from spoqplus_backup.core.stages import sealed_parts
from spoqplus_backup.core.staging import read_json, write_all, written_aside

log = logging.getLogger(__name__)


class PublishedComponent(Model):
    """A component of the published set, in numbers. Sizes in bytes, those of shared objects included."""

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
    warnings: tuple[Notice, ...]


def publish(run: BackupRun, warnings: Sequence[Notice] = ()) -> Published:
    """Sign the manifest, write it to every repository, and clear the staging area.

    Args:
        run: the backup.
        warnings: what preflight found; the components have their own.

    Raises:
        PermanentError: there is no key to sign with, or the set is another run's.
        BackupError: a repository can't be written to.
    """
    repositories = open_repositories(run.settings, run.connections, long_term=run.rules.long_term)
    catalog = Catalog(repositories[0], run.settings.signing.public_key_files)
    done = published_manifest(run)
    if done is not None:
        log.info("The set %s was published already", done.name)
        return _published(run, done, repositories, catalog, warnings)
    records = _records(run)
    components = tuple(_component(run, name, record) for name, record in records.items())
    known = [*warnings, *_too_small(run, components), *(item for found in records.values() for item in found.warnings)]
    manifest = sign_and_store(run, repositories, lambda: _manifest(run, catalog, records, components, known))
    result = _published(run, manifest, repositories, catalog, known)
    keep_snapshots(run)
    run.staging.remove()
    release(run.settings, run.staging)
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


def _too_small(run: BackupRun, components: Sequence[Component]) -> Iterator[Notice]:
    stored, least = sum(item.stored_bytes for item in components), run.settings.alerts.minimum_backup_bytes
    if stored < least:
        sentence = "The backup is only {size}, less than alerts.minimum_backup_bytes ({least})."
        yield notice("backup.small", sentence, size=human_bytes(stored), least=human_bytes(least))


def _manifest(
    run: BackupRun,
    catalog: Catalog,
    found: Mapping[str, ComponentRecord],
    components: tuple[Component, ...],
    warnings: Sequence[Notice],
) -> Manifest:
    settings = run.settings
    server = next((record.server for record in found.values() if record.server is not None), None)
    if server is None:
        raise PermanentError(f"{run.name} holds nothing of the database server: back up at least `{DATABASE}` with it.")
    return Manifest(
        site=settings.site,
        cadence=run.cadence,
        id=run.set_id,
        run_id=run.run_id,
        started_at=min(component.started_at for component in components),
        finished_at=datetime.now(timezone.utc),
        server=server,
        tools={tool: version for record in found.values() for tool, version in record.tools.items()}
        | {"spoqplus-backup": __version__},
        compression=Compression(level=settings.compression.level),
        encryption=encryption_used(run),
        components=components,
        depends_on=tuple(dict.fromkeys(record.base for record in found.values() if record.base is not None)),
        previous=previous_of(run, catalog),
        recovery_point=_recovery_point(run, found.get(DATABASE)),
        warnings=tuple(item.words for item in warnings),
    )


def _records(run: BackupRun) -> dict[str, ComponentRecord]:
    records = {name: read_record(run.staging.component(name)) for name in run.staging.components()}
    tasks = [f"{name}.{making_task(run.settings, name)}" for name, record in records.items() if record is None]
    if tasks:
        raise PermanentError(f"{run.name} is not whole: clear {', '.join(tasks)} of the run {run.run_id}.")
    return {name: record for name, record in records.items() if record is not None}


def _component(run: BackupRun, name: str, record: ComponentRecord) -> Component:
    directory = run.staging.component(name)
    *parts, index = sealed_parts(run, name, directory)
    lists, parts = parts[: len(record.plain)], parts[len(record.plain) :]
    return Component(
        name=name,
        kind=record.kind,
        content=record.content,
        index=index,
        parts=tuple(parts),
        lists=tuple(lists),
        started_at=record.started_at,
        finished_at=record.finished_at,
        coordinates=record.server.coordinates if record.server else Coordinates(),
        counts=record.counts,
        rows=record.rows,
        level=record.level,
        base=record.base,
        files=record.files,
        shared=record.shared,
        encryption=_encryption(run, record),
        seconds={record.stage: record.seconds, **_stage_seconds(directory)},
    )


def _encryption(run: BackupRun, record: ComponentRecord) -> Encryption | None:
    if record.scheme is None:
        return None
    scheme = scheme_named(run.settings, run.connections, record.scheme)
    return Encryption(scheme=scheme.name, recipients=scheme.readers)


def _stage_seconds(directory: Path) -> dict[str, float]:
    stages = ("compress", "encrypt", "upload")
    found = {stage: read_json(directory / f"{stage}.json") for stage in stages}
    return {stage: round(content["seconds"], 3) for stage, content in found.items() if content}


def _recovery_point(run: BackupRun, database: ComponentRecord | None) -> RecoveryPoint | None:
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


def _published(
    run: BackupRun, manifest: Manifest, repositories: list[Repository], catalog: Catalog, known: Sequence[Notice]
) -> Published:
    """`known` are warnings with what it takes to translate them; a published manifest has their words alone."""
    before = manifest.previous
    by_words = {item.words: item for item in known}
    return Published(
        set=manifest.name,
        manifest_sha256=hashlib.sha256(manifest.to_json()).hexdigest(),
        raw_bytes=manifest.raw_bytes,
        stored_bytes=manifest.stored_bytes,
        components=tuple(
            PublishedComponent(
                name=component.name,
                raw_bytes=component.raw_bytes + (component.shared.raw_bytes if component.shared else 0),
                stored_bytes=component.stored_bytes + (component.shared.stored_bytes if component.shared else 0),
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
        warnings=tuple(by_words.get(words) or Notice(code="", words=words) for words in manifest.warnings),
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
