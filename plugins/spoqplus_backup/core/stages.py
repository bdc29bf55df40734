"""The stages behind `dump` or `archive`, the same for every component: compress, encrypt, upload, verify.

Each works through the parts of a component on all cores, keeps a record of each part, and is complete when its own
record (`compress.json`, ...) is there. The chain's first task has worked ahead of compress and encrypt (`ahead.py`).
Started again, a stage goes on with what is missing; when an input is gone, it says which task to clear instead.
"""

import logging
from collections.abc import Callable, Iterable, Sequence
from functools import cache
from pathlib import Path

from spoqplus_backup.core.component import RAW, ComponentRecord, read_record
from spoqplus_backup.core.compression import (
    PartRecord,
    compress_part,
    compressed_path,
    part_record,
)
from spoqplus_backup.core.cores import usable_cores
from spoqplus_backup.core.crypto import Scheme
from spoqplus_backup.core.errors import BackupError, PermanentError
from spoqplus_backup.core.files.face_check import check_shared
from spoqplus_backup.core.manifest import Part
from spoqplus_backup.core.parallel import in_parallel as in_parallel  # many import it from here
from spoqplus_backup.core.plain import PlainScheme
from spoqplus_backup.core.progress import Progress
from spoqplus_backup.core.published import published_manifest, published_summary
from spoqplus_backup.core.repository.base import Repository
from spoqplus_backup.core.repository.opener import open_repositories
from spoqplus_backup.core.run import BackupRun, StageSummary, making_task
from spoqplus_backup.core.schemes import component_scheme
from spoqplus_backup.core.sealing import SEALED, is_sealed, seal_part, sealed_path
from spoqplus_backup.core.staging import read_json, write_json

log = logging.getLogger(__name__)

STORE_THREADS = 4


def compress(run: BackupRun, component: str) -> StageSummary:
    """Compress each raw part with zstd, read the result back and compare, then remove the raw part.

    Raises:
        PermanentError: a raw part is gone: the component has to be made again.
        IntegrityError: what was compressed does not come back as it was.
    """

    def one(directory: Path, name: str) -> PartRecord:
        raw = directory / RAW / name
        if not raw.exists():
            raise _input_gone(run, component, "compress", raw, making_task(run.settings, component))
        return compress_part(raw, directory, run.settings.compression.level)

    def finished(directory: Path, name: str, record: PartRecord | None) -> bool:
        whole = record is not None and (
            record.sealed_bytes is not None or _has_size(compressed_path(directory, name), record.compressed_bytes)
        )
        if whole:
            (directory / RAW / name).unlink(missing_ok=True)
        return whole

    return _each_part(run, component, "compress", one, finished)


def encrypt(run: BackupRun, component: str) -> StageSummary:
    """Encrypt each compressed part to the recipients, then remove the compressed one.

    Raises:
        PermanentError: a compressed part is gone: the component has to be made again.
    """
    scheme_of = _schemes(run, component)

    def one(directory: Path, name: str) -> PartRecord:
        known = part_record(directory, name)
        source = compressed_path(directory, name)
        if known is None or not source.exists():
            made_by = "compress" if known is None else making_task(run.settings, component)
            raise _input_gone(run, component, "encrypt", source, made_by)
        return seal_part(directory, name, scheme_of(name), known)

    def finished(directory: Path, name: str, record: PartRecord | None) -> bool:
        whole = is_sealed(directory, name, scheme_of(name), record)
        if whole:
            (compressed_path(directory, name)).unlink(missing_ok=True)
        return whole

    return _each_part(run, component, "encrypt", one, finished)


def upload(run: BackupRun, component: str) -> StageSummary:
    """Store each encrypted part in every repository; what is there with the right checksum is not sent again."""
    if manifest := published_manifest(run):
        return published_summary(manifest, "upload", component)
    with run.staging.locked(component) as directory:
        parts = sealed_parts(run, component, directory)
        total = sum(part.stored_bytes for part in parts)
        detail: dict[str, str | int | float | bool | None] = {}
        seconds = 0.0
        repositories = open_repositories(run.settings, run.connections, long_term=run.rules.long_term)
        for repository in repositories:
            progress = Progress(f"upload {component} to {repository.name}", total)
            sent = _store(repository, f"{run.name}/{component}/", directory / SEALED, parts, progress)
            detail[f"{repository.name}_sent"] = sum(sent)
            seconds += progress.finish()
        summary = StageSummary(
            stage="upload",
            component=component,
            parts=len(parts),
            bytes_in=total,
            bytes_out=total * len(repositories),
            seconds=seconds,
            detail=detail,
        )
        write_json(directory / "upload.json", summary)
        return summary


def _store(
    repository: Repository, prefix: str, directory: Path, parts: Sequence[Part], progress: Progress
) -> Sequence[bool]:
    """Put all parts into one repository; which of them were sent."""
    there = set(repository.list(prefix))  # one question instead of one for each part

    def send(part: Part) -> bool:
        key = prefix + part.name
        return repository.put(key, directory / part.name, part.sha256, progress.add, absent=key not in there)

    return in_parallel(send, parts, STORE_THREADS)


def verify(run: BackupRun) -> StageSummary:
    """Every object of the set is there in every repository, with the right size and checksum.

    Some cadences have each read back, however much the repository vouches for it.

    Raises:
        IntegrityError: one is not; the message names it.
    """
    manifest = published_manifest(run)
    if manifest is not None:
        objects = {f"{run.name}/{key}": part for key, part in manifest.objects().items()}
    else:
        objects = {
            f"{run.name}/{component}/{part.name}": part
            for component in run.staging.components()
            for part in sealed_parts(run, component, run.staging.component(component))
        }
    total = sum(part.stored_bytes for part in objects.values())
    repositories = open_repositories(run.settings, run.connections, long_term=run.rules.long_term)
    read_back = run.rules.read_back
    progress = Progress("read back" if read_back else "verify", total * len(repositories))

    def check(item: tuple[Repository, str, Part]) -> None:
        repository, key, part = item
        repository.check(key, part.stored_bytes, part.sha256, read_back=read_back)
        progress.add(part.stored_bytes)

    in_parallel(check, [(repo, key, part) for repo in repositories for key, part in objects.items()], STORE_THREADS)
    sharing = open_repositories(run.settings, run.connections, long_term=run.rules.long_term, shared=True)
    shared = check_shared(run, sharing, manifest, read_back=read_back)
    return StageSummary(
        stage="verify",
        component="",
        parts=len(objects) + shared,
        bytes_in=total,
        bytes_out=0,
        seconds=progress.finish(),
        detail={
            repository.name: f"{len(objects) + shared} objects" + (", read back" if read_back else "")
            for repository in repositories
        },
    )


def sealed_parts(run: BackupRun, component: str, directory: Path) -> list[Part]:
    """The encrypted parts of a component, in order, the index last.

    Raises:
        PermanentError: encryption is not complete.
    """
    scheme_of = _schemes(run, component)
    found = []
    for name in _made(run, component, directory).part_names:
        known = part_record(directory, name)
        scheme = scheme_of(name)
        path = sealed_path(directory, name, scheme)
        if known is None or known.sealed_sha256 is None or not is_sealed(directory, name, scheme, known):
            raise _input_gone(run, component, "upload", path, "encrypt")
        found.append(
            Part(
                name=path.name,
                raw_bytes=known.raw_bytes,
                raw_sha256=known.raw_sha256,
                stored_bytes=known.sealed_bytes or 0,
                sha256=known.sealed_sha256,
            )
        )
    return found


def _each_part(
    run: BackupRun,
    component: str,
    stage: str,
    one: Callable[[Path, str], PartRecord],
    finished: Callable[[Path, str, PartRecord | None], bool],
) -> StageSummary:
    if manifest := published_manifest(run):
        return published_summary(manifest, stage, component)
    with run.staging.locked(component) as directory:
        record = _made(run, component, directory)
        names = record.part_names
        todo = [name for name in names if not finished(directory, name, part_record(directory, name))]
        if not todo and (done := read_json(directory / f"{stage}.json")):
            log.info("%s of %s was complete already", stage, component)
            return StageSummary.model_validate(done)
        progress = Progress(f"{stage} {component}", record.raw_bytes if stage == "compress" else None)

        def work(name: str) -> None:
            made = one(directory, name)
            finished(directory, name, made)  # removes its input
            progress.add(made.raw_bytes if stage == "compress" else made.compressed_bytes)

        in_parallel(work, todo, run.settings.compression.workers or usable_cores())
        summary = _summary(stage, component, _records(directory, names), progress.finish())
        write_json(directory / f"{stage}.json", summary)
        return summary


def _schemes(run: BackupRun, component: str) -> Callable[[str], Scheme]:
    """The scheme of a raw part by its name; a stage knows the component only when it works on it."""

    @cache
    def record() -> ComponentRecord:
        return _made(run, component, run.staging.component(component))

    @cache
    def scheme(*, plain: bool) -> Scheme:
        return PlainScheme() if plain else component_scheme(run.settings, run.connections, record())

    return lambda name: scheme(plain=name in record().plain)


def _made(run: BackupRun, component: str, directory: Path) -> ComponentRecord:
    record = read_record(directory)
    if record is None:
        task = f"{component}.{making_task(run.settings, component)}"
        raise PermanentError(f"The component {component} of {run.name} was not made: clear {task}.")
    return record


def _summary(stage: str, component: str, records: Sequence[PartRecord], seconds: float) -> StageSummary:
    compressed = sum(record.compressed_bytes for record in records)
    raw = sum(record.raw_bytes for record in records)
    sealed = sum(record.sealed_bytes or 0 for record in records)
    bytes_in, bytes_out = (raw, compressed) if stage == "compress" else (compressed, sealed)
    return StageSummary(
        stage=stage,
        component=component,
        parts=len(records),
        bytes_in=bytes_in,
        bytes_out=bytes_out,
        seconds=seconds,
        detail={"ratio": round(bytes_in / max(bytes_out, 1), 2)},
    )


def _records(directory: Path, names: Iterable[str]) -> list[PartRecord]:
    return [record for name in names if (record := part_record(directory, name)) is not None]


def _has_size(path: Path, size: int | None) -> bool:
    return size is not None and path.exists() and path.stat().st_size == size


def _input_gone(run: BackupRun, component: str, stage: str, path: Path, clear: str) -> BackupError:
    return PermanentError(
        f"{stage} of {component} can't go on: {path} is gone. Clear the task {component}.{clear} of the run "
        f"{run.run_id} with everything downstream of it."
    )
