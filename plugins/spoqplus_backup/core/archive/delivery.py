"""The archive's last stages: upload (the sidecar, signed, last) and verify, which tells how much would be lost now.

A repository that can't be reached does not hold up the others. A log leaves the staging area when verify saw it in all
of them; one that a repository lacks after that comes from another repository, with the same bytes and sidecar.
"""

import contextlib
import hashlib
import logging
import shutil
from collections.abc import Callable, Iterator, Sequence
from datetime import datetime, timezone
from pathlib import Path

from spoqplus_backup.core.archive.area import Area, Listing, Staged, Status
from spoqplus_backup.core.archive.gaps import is_mended, open_gap
from spoqplus_backup.core.archive.known import (
    Known,
    catalogues,
    from_segment,
    known_logs,
    load_from_any,
    newest_names,
    newest_of_all,
)
from spoqplus_backup.core.archive.stages import sealed
from spoqplus_backup.core.archive.summary import ArchiveSummary
from spoqplus_backup.core.connections import Connections
from spoqplus_backup.core.crypto import scheme_for, sign, verify_signature
from spoqplus_backup.core.errors import BackupError, IntegrityError, PermanentError
from spoqplus_backup.core.manifest import BinlogSegment, Compression, Encryption, Gap, Part, Previous, RecoveryPoint
from spoqplus_backup.core.mysql import binlog, server
from spoqplus_backup.core.notice import Notice
from spoqplus_backup.core.progress import Progress, human_seconds
from spoqplus_backup.core.repository.base import Repository
from spoqplus_backup.core.repository.binlogs import SIDECAR, SIGNATURE, BinlogCatalog, Timeline, log_number
from spoqplus_backup.core.sealing import SEALED
from spoqplus_backup.core.settings import Settings
from spoqplus_backup.core.stages import STORE_THREADS, in_parallel
from spoqplus_backup.core.staging import PARTIAL, write_all, written_aside

log = logging.getLogger(__name__)

COPIES = f"copies{PARTIAL}"


def upload(settings: Settings, connections: Connections) -> ArchiveSummary:
    """Store each encrypted log in every repository, in order, its signed sidecar last.

    What a repository has with the right checksum is not sent again. A log that is no longer staged and that one
    repository lacks is copied from another.

    Raises:
        PermanentError: there is no key to sign with; or a repository refuses.
        IntegrityError: a repository holds another log under a name, or its copy can't be trusted.
        BackupError: a repository can't be reached; the others have everything all the same.
    """
    area = Area(settings)
    with area.locked():
        ready = _ready(settings, connections, area)
        total = sum(segment.log.stored_bytes + segment.index.stored_bytes for _, segment in ready)
        progress = Progress("upload", total * len(settings.primaries))
        catalogs = catalogues(settings, connections)
        failures: list[BackupError] = []
        detail: dict[str, str | int | float | bool | None] = {}
        for catalog in catalogs:
            name = catalog.repository.name
            try:
                detail[f"{name}_sent"] = sum(_send(settings, catalog, item, progress) for item in ready)
            except BackupError as error:  # the next repository may be well
                log.warning("Not everything could be sent to %s: %s", name, error)
                failures.append(error)
        if not failures:
            detail["copied"] = fill_up(catalogs, catalogs, area.path / COPIES, progress)
    if failures:
        raise failures[0]
    return ArchiveSummary(
        stage="upload",
        parts=len(ready),
        bytes_in=total,
        bytes_out=total * len(catalogs),
        seconds=progress.finish(),
        detail=detail,
    )


def _ready(settings: Settings, connections: Connections, area: Area) -> list[tuple[Staged, BinlogSegment]]:
    """The staged logs that are encrypted, with their sidecars: made once, so that every try sends the same bytes."""
    found: list[tuple[Staged, BinlogSegment]] = []
    for staged in area.staged():
        segment = staged.segment()
        if segment is None:
            parts = sealed(settings, connections, staged)
            if parts is None:  # another run fetched it and is about to encrypt it
                break
            segment = _sidecar(settings, connections, area, staged, parts)
            with written_aside(staged.sidecar) as file:
                write_all(file, segment.to_json())
        found.append((staged, segment))
    return found


def _sidecar(
    settings: Settings, connections: Connections, area: Area, staged: Staged, parts: tuple[Part, Part]
) -> BinlogSegment:
    scheme = scheme_for(settings, connections)
    fetched = staged.fetched
    copied = fetched.model_dump(
        include={
            "server",
            "timeline",
            "name",
            "created_at",
            "end",
            "closed",
            "closed_at",
            "truncated",
            "transactions",
            "first_at",
            "last_at",
            "earliest_at",
            "latest_at",
            "gtids_before",
            "gtids_after",
            "gtids_unlogged",
        }  # fmt: skip
    )
    return BinlogSegment(
        **copied,
        site=settings.site,
        archived_at=datetime.now(timezone.utc),
        log=parts[0],
        index=parts[1],
        previous=_previous(settings, connections, area, staged),
        gap=_gap(area, staged),
        compression=Compression(level=settings.compression.level),
        encryption=Encryption(
            scheme=settings.encryption.scheme,
            recipients=settings.encryption.recipients if scheme.name == "age" else (),
        ),
    )


def _gap(area: Area, staged: Staged) -> Gap | None:
    """The gap in front of a timeline's first log, now that its first transaction is known."""
    if staged.fetched.previous is not None:
        return None
    record = area.timeline(staged.fetched.server.id, staged.fetched.timeline)
    if record is None:
        return None
    return record.gap.model_copy(update={"lost_until": staged.fetched.first_at})


def _previous(settings: Settings, connections: Connections, area: Area, staged: Staged) -> Previous | None:
    fetched = staged.fetched
    if fetched.previous is None:
        return None
    beside = area.directory(fetched.server.id, fetched.timeline, fetched.previous) / staged.sidecar.name
    if beside.exists():
        return Previous(id=fetched.previous, sha256=hashlib.sha256(beside.read_bytes()).hexdigest())
    timeline = Timeline(fetched.server.id, fetched.timeline)
    _, digest, _ = load_from_any(catalogues(settings, connections), timeline, fetched.previous)
    return Previous(id=fetched.previous, sha256=digest)


def _send(settings: Settings, catalog: BinlogCatalog, item: tuple[Staged, BinlogSegment], progress: Progress) -> bool:
    staged, segment = item
    repository = catalog.repository
    for part in (segment.log, segment.index):
        source = staged.directory / SEALED / part.name
        try:
            repository.put(f"{segment.folder}/{part.name}", source, part.sha256, progress.add)
        except IntegrityError as error:
            raise IntegrityError(
                f"{error} If it is the staged copy that is damaged, remove {staged.directory} and clear the task "
                "list_logs with everything downstream of it: the log is fetched again."
            ) from error
    content = staged.sidecar.read_bytes()
    if _has_sidecar(repository, segment.key, content, segment.key):
        return False
    if settings.signing.private_key_file is None:
        raise PermanentError(
            f"{settings.source}: signing.private_key_file is not set: make one with `spoqplus-backup keys`."
        )
    repository.put_bytes(segment.key + SIGNATURE, sign(content, settings.signing.private_key_file))
    repository.put_bytes(segment.key + SIDECAR, content)
    return True


def _has_sidecar(repository: Repository, key: str, content: bytes, what: str) -> bool:
    if repository.stat(key + SIDECAR) is None:
        return False
    if repository.read(key + SIDECAR) != content:
        raise IntegrityError(
            f"{repository.url} holds another log under {what}: its sidecar was forged or another host archives to this "
            "repository. Move what is there away after you know which, and clear this task."
        )
    return True


def fill_up(
    catalogs: Sequence[BinlogCatalog], targets: Sequence[BinlogCatalog], folder: Path, progress: Progress
) -> int:
    """Copy from any of the repositories what one of the targets lacks; how many logs were copied.

    A log older than a repository's oldest of that timeline was removed there by its retention, and so was all of a
    timeline that is not the server's newest: those are left alone.

    Args:
        catalogs: all repositories, those to be filled up among them.
        targets: those to be filled up.
        folder: for what is on its way.
        progress: counts bytes.

    Raises:
        IntegrityError: no copy of a log can be trusted; the message names it.
        BackupError: a repository can't be reached.
    """
    if len(catalogs) < 2:
        return 0
    held = [{timeline: catalog.names(timeline) for timeline in catalog.timelines()} for catalog in catalogs]
    copied = 0
    for catalog, mine in zip(catalogs, held, strict=True):
        for timeline, name in _lacking(mine, held) if catalog in targets else ():
            log.info("%s lacks %s/%s: copying it there", catalog.repository.name, timeline.folder, name)
            _copy(catalogs, catalog, timeline, name, folder, progress)
            copied += 1
    shutil.rmtree(folder, ignore_errors=True)
    return copied


def _lacking(
    mine: dict[Timeline, list[str]], held: Sequence[dict[Timeline, list[str]]]
) -> Iterator[tuple[Timeline, str]]:
    newest: dict[int, str] = {}
    for timelines in held:
        for timeline, names in timelines.items():
            if names:
                newest[timeline.server_id] = max(timeline.name, newest.get(timeline.server_id, ""))
    for timeline in sorted({item for timelines in held for item in timelines}, key=lambda item: item.folder):
        there = mine.get(timeline, [])
        if not there and newest.get(timeline.server_id) != timeline.name:
            continue
        everywhere = {name for timelines in held for name in timelines.get(timeline, [])}
        first = log_number(there[0]) if there else 0
        for name in sorted(everywhere - set(there), key=log_number):
            if log_number(name) > first:
                yield timeline, name


def _copy(
    catalogs: Sequence[BinlogCatalog],
    catalog: BinlogCatalog,
    timeline: Timeline,
    name: str,
    folder: Path,
    progress: Progress,
) -> None:
    """Bring a log to a repository from the first other one whose copy is good.

    Raises:
        IntegrityError: no copy is; the first one's reason.
    """
    others = [other for other in catalogs if other is not catalog]
    failure: IntegrityError | None = None
    while True:
        try:
            segment, _, source = load_from_any(others, timeline, name)
        except BackupError as error:
            raise failure or error from None
        try:
            for part in (segment.log, segment.index):
                _bring(source, catalog.repository, f"{segment.folder}/{part.name}", part, folder / part.name, progress)
        except IntegrityError as error:
            log.warning("%s", error)
            failure = failure or error
            others = [other for other in others if other.repository is not source]
            continue
        for suffix in (SIGNATURE, SIDECAR):
            catalog.repository.put_bytes(segment.key + suffix, source.read(segment.key + suffix))
        check_log(catalog, segment, source.read(segment.key + SIDECAR))
        return


def _bring(source: Repository, target: Repository, key: str, part: Part, path: Path, progress: Progress) -> None:
    source.get(key, path, part.sha256, part.stored_bytes)
    target.put(key, path, part.sha256, progress.add)
    path.unlink()


def verify(settings: Settings, connections: Connections) -> ArchiveSummary:
    """See each staged log in every repository, let go of it, and tell up to when everything is archived.

    The newest log that is archived is looked at in every repository in any case, so that a repository which was
    tampered with or emptied is noticed on a quiet server too.

    Raises:
        IntegrityError: a repository lacks one, or has another; the message names it.
    """
    area = Area(settings)
    with area.locked():
        catalogs = catalogues(settings, connections)
        sent = [(staged, segment) for staged in area.staged() if (segment := staged.segment()) is not None]
        total = sum(segment.log.stored_bytes + segment.index.stored_bytes for _, segment in sent)
        progress = Progress("verify", total * len(catalogs))

        def check(item: tuple[BinlogCatalog, BinlogSegment, bytes]) -> None:
            check_log(*item, progress.add)

        in_parallel(
            check,
            [(catalog, segment, staged.sidecar.read_bytes()) for staged, segment in sent for catalog in catalogs],
            STORE_THREADS,
        )
        _check_newest(catalogs)
        for staged, _ in sent:
            area.forget(staged)
        point, warnings, new_warnings = _take_stock(settings, connections, area)
        gap = open_gap(area)
    return ArchiveSummary(
        stage="verify",
        parts=len(sent),
        bytes_in=total,
        bytes_out=0,
        seconds=progress.finish(),
        gap=gap.gap if gap else None,
        recovery_point=point,
        warnings=warnings,
        new_warnings=new_warnings,
        detail={
            "rpo_seconds": None if point.seconds is None else round(point.seconds, 1),
            "complete_until": point.complete_until.isoformat() if point.complete_until else None,
            "transactions": sum(segment.transactions for _, segment in sent),
        },
    )


def check_log(
    catalog: BinlogCatalog, segment: BinlogSegment, sidecar: bytes, seen: Callable[[int], None] | None = None
) -> None:
    """See that a repository has a log, its index, and exactly this sidecar with a good signature.

    Raises:
        IntegrityError: it does not; the message names what is wrong.
    """
    repository = catalog.repository
    where = f"{repository.url}/{segment.key}{SIDECAR}"
    content = repository.read(segment.key + SIDECAR)
    verify_signature(content, repository.read(segment.key + SIGNATURE), catalog.public_key_files, where)
    if content != sidecar:
        raise IntegrityError(f"{where} is not what was archived: it was replaced. Use another repository.")
    for part in (segment.log, segment.index):
        repository.check(f"{segment.folder}/{part.name}", part.stored_bytes, part.sha256)
        if seen:
            seen(part.stored_bytes)


def _check_newest(catalogs: Sequence[BinlogCatalog]) -> None:
    for _, place in sorted(newest_of_all(newest_names(catalog) for catalog in catalogs).items()):
        for catalog in catalogs:
            catalog.load(*place)


def _take_stock(
    settings: Settings, connections: Connections, area: Area
) -> tuple[RecoveryPoint, tuple[Notice, ...], tuple[Notice, ...]]:
    """Measure the recovery point and keep it; also the warnings, and which of them are new."""
    rotation, listing, before = area.rotation(), area.listing(), area.status()
    known = known_logs(settings, connections, area)
    newest = known.of(listing.server.id) if listing else known.newest
    complete = before.recovery_point.complete_until if before else None
    if (
        listing is not None
        and not area.staged()
        and _reaches(listing, newest)
        and is_mended(
            settings, connections, area, listing.server.id, area.newest_timeline(listing.server.id, listing.timeline)
        )
    ):
        complete = listing.checked_at
    point = RecoveryPoint(
        measured_at=_server_time(settings, connections),
        last_event_at=_last_event(settings, connections, newest, before),
        complete_until=complete,
    )
    warnings = rotation.warnings if rotation else ()
    area.write(Status(recovery_point=point, warnings=warnings))
    _say(point)
    return point, warnings, tuple(item for item in warnings if before is None or item not in before.warnings)


def _say(point: RecoveryPoint) -> None:
    if point.seconds is None:
        log.warning("Nothing is archived yet: everything behind the last full backup would be lost.")
    else:
        log.info(
            "Everything up to %s is archived in every repository: %s would be lost now; last transaction at %s",
            point.complete_until,
            human_seconds(point.seconds),
            point.last_event_at,
        )


def _reaches(listing: Listing, newest: Known | None) -> bool:
    """Whether all logs that list_logs saw are archived."""
    if not listing.logs:
        return True
    return newest is not None and newest.place >= (listing.timeline, log_number(listing.logs[-1].name))


def _last_event(
    settings: Settings, connections: Connections, newest: Known | None, before: Status | None
) -> datetime | None:
    if newest is None or newest.last_at is not None:
        return newest.last_at if newest else None
    if before is not None and before.recovery_point.last_event_at is not None:
        return before.recovery_point.last_event_at
    catalogs = catalogues(settings, connections)  # a new backup host: look back for the last log with a transaction
    timeline = Timeline(newest.server_id, newest.timeline)
    for name in reversed(catalogs[0].names(timeline)):
        found = from_segment(load_from_any(catalogs, timeline, name)[0]).last_at
        if found is not None:
            return found
    return None


def _server_time(settings: Settings, connections: Connections) -> datetime:
    """Now, by the server's clock, as the archived moments are; by ours when it can't be asked."""
    with (
        contextlib.suppress(BackupError),
        server.connect(connections.database(settings.database.connection)) as connection,
    ):
        return binlog.clock(connection)
    log.warning("The server can't be asked for its time: the recovery point is measured by this machine's clock")
    return datetime.now(timezone.utc)
