"""An incremental set: a signed manifest of the archived logs since the set before, proved in every repository.

It holds no files of its own. It follows the newest set with a whole database, or the newest incremental one; a gap
between them and the logs is an error, never a set.
"""

import logging
from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime, timezone

from spoqplus_backup import __version__
from spoqplus_backup.core.archive.area import Area, Listing
from spoqplus_backup.core.archive.delivery import check_log
from spoqplus_backup.core.archive.known import catalogues, load_from_any
from spoqplus_backup.core.connections import Connections
from spoqplus_backup.core.errors import IntegrityError, PermanentError
from spoqplus_backup.core.manifest import (
    BinlogRange,
    BinlogRef,
    BinlogSegment,
    Compression,
    Coordinates,
    Gap,
    Manifest,
    Model,
    RecoveryPoint,
)
from spoqplus_backup.core.mysql.gtid import GtidSet, GtidState, goes_on
from spoqplus_backup.core.preflight import claim_set_id
from spoqplus_backup.core.progress import Progress
from spoqplus_backup.core.publish import encryption_used, previous_of, sign_and_store
from spoqplus_backup.core.published import published_manifest
from spoqplus_backup.core.repository.binlogs import BinlogCatalog, Timeline, base_name, log_number
from spoqplus_backup.core.repository.catalog import INCREMENTAL, SAFETY, Catalog
from spoqplus_backup.core.repository.opener import open_repositories
from spoqplus_backup.core.run import DATABASE, BackupRun
from spoqplus_backup.core.settings import Settings
from spoqplus_backup.core.stages import STORE_THREADS, in_parallel

log = logging.getLogger(__name__)

Link = tuple[BinlogSegment, str]  # a log's sidecar and its SHA-256


class PublishedIncremental(Model):
    """An incremental set in numbers, for XCom and Slack. `set` is None when nothing was written since `after`."""

    set: str | None
    after: str
    logs: int
    transactions: int
    raw_bytes: int
    stored_bytes: int
    first_at: datetime | None
    last_at: datetime | None
    start: Coordinates | None
    end: Coordinates | None
    recovery_point: RecoveryPoint | None
    repositories: tuple[str, ...]
    warnings: tuple[str, ...] = ()


@dataclass(frozen=True)
class _Chain:
    """The logs behind a set, in order, in one timeline; `start` is where they go on from."""

    base: Manifest
    timeline: Timeline
    start: Coordinates
    links: tuple[Link, ...]


def publish_incremental(
    settings: Settings, connections: Connections, run_id: str, run_after: datetime, warnings: tuple[str, ...] = ()
) -> PublishedIncremental:
    """Prove the chain of logs since the set before and publish it as a set; nothing new is no set.

    Args:
        settings: the site.
        connections: where its credentials are.
        run_id: names the run; a retry with the same one publishes the same set.
        run_after: the time of the run; its local form becomes the set's id.
        warnings: what goes into the manifest.

    Raises:
        PermanentError: there is no full backup yet; or there is a gap, which the message names.
        IntegrityError: a log or a sidecar is not what it should be.
        BackupError: a repository can't be reached.
    """
    set_id = claim_set_id(settings, connections, INCREMENTAL, run_id, run_after, components=())
    run = BackupRun(settings, connections, INCREMENTAL, set_id, run_id)
    repositories = open_repositories(settings, connections)
    catalog = Catalog(repositories[0], settings.signing.public_key_files, settings.site)
    urls = tuple(repository.url for repository in repositories)
    if (done := published_manifest(run)) is not None:
        log.info("The set %s was published already", done.name)
        return _published(done, urls)
    chain = _chain(settings, connections, catalog, run)
    if not chain.links:
        log.info("Nothing was written since %s: there is nothing to publish", chain.base.name)
        run.staging.remove()
        return _nothing(settings, chain, urls)
    _prove(settings, connections, chain)
    manifest = sign_and_store(run, repositories, lambda: _manifest(run, catalog, chain, warnings))
    result = _published(manifest, urls)
    run.staging.remove()
    return result


def _chain(settings: Settings, connections: Connections, catalog: Catalog, run: BackupRun) -> _Chain:
    """The logs since the newest set that logs can follow.

    Raises:
        PermanentError: there is no such set, or a gap behind it.
    """
    area = Area(settings)
    listing = area.listing()
    if listing is None:
        raise PermanentError(f"There is no {area.path}/listing.json: clear the task rotate with everything downstream.")
    base = _base(catalog, run)
    catalogs = catalogues(settings, connections)
    timeline = _current(catalogs[0], listing)
    names = catalogs[0].names(timeline)
    record = area.timeline(timeline.server_id, timeline.name)
    if record is not None and record.gap.unlogged:
        raise _gap_error(area, catalogs, timeline, names, base)
    if base.binlog_range is not None:
        start, behind = base.binlog_range.end, log_number(str(base.binlog_range.end.file))
        if (base.server.id, base.binlog_range.timeline) != (timeline.server_id, timeline.name):
            raise _gap_error(area, catalogs, timeline, names, base)
    else:
        start = base.component(DATABASE).coordinates
        behind = _number_before(area, catalogs, timeline, names, base, start)
    wanted = [name for name in names if log_number(name) > behind]
    _refuse_holes(timeline, behind, wanted)
    links = [load_from_any(catalogs, timeline, name)[:2] for name in wanted]
    return _Chain(base, timeline, start, tuple(links))


def _base(catalog: Catalog, run: BackupRun) -> Manifest:
    """The newest set that logs can follow; of two whose runs began in the same second, the one that ended later."""
    best: Manifest | None = None
    for ref in catalog.sets():  # newest first
        if ref.cadence == SAFETY or ref.id > run.set_id or ref.name == run.name:
            continue
        if best is not None and ref.id < best.id:
            break
        manifest = catalog.load(ref)
        whole = manifest.binlog_range is not None or any(item.name == DATABASE for item in manifest.components)
        if whole and (best is None or manifest.finished_at > best.finished_at):
            best = manifest
    if best is None:
        raise PermanentError(
            f"There is no full backup in {catalog.repository.url} that binary logs could follow: trigger the DAG "
            f"{run.settings.site}_daily_backup, then clear this task."
        )
    return best


def _current(catalog: BinlogCatalog, listing: Listing) -> Timeline:
    """The newest timeline of the server that is archived now."""
    names = [timeline.name for timeline in catalog.timelines(listing.server.id) if catalog.names(timeline)]
    return Timeline(listing.server.id, max([*names, listing.timeline]))


def _number_before(
    area: Area,
    catalogs: Sequence[BinlogCatalog],
    timeline: Timeline,
    names: Sequence[str],
    base: Manifest,
    at: Coordinates,
) -> int:
    """The number before that of the log which holds a full backup's coordinates.

    Raises:
        PermanentError: it is not archived in this timeline.
    """
    if at.file is None or at.position is None:
        raise PermanentError(f"{base.name} has no binary log coordinates: set log_bin, then trigger a full backup.")
    if base.server.id != timeline.server_id:
        raise _gap_error(area, catalogs, timeline, names, base)
    number = log_number(at.file)
    if at.file in names:
        earlier = [item for item in catalogs[0].timelines(timeline.server_id) if item.name < timeline.name]
        if any(holds(catalogs, item, base) for item in earlier) or not holds(catalogs, timeline, base):
            raise _gap_error(area, catalogs, timeline, names, base)
        return number - 1
    newer = not names or (base_name(names[-1]) == base_name(at.file) and number > log_number(names[-1]))
    record = area.timeline(timeline.server_id, timeline.name)
    if newer and (record is None or base.started_at >= record.opened_at):
        return number - 1  # nothing was written since: its log is not closed yet
    raise _gap_error(area, catalogs, timeline, names, base)


def holds(catalogs: Sequence[BinlogCatalog], timeline: Timeline, base: Manifest) -> bool:
    """Whether a timeline has the log that a full backup's coordinates are in, and not another of the same name.

    After a reset two timelines may have one that looks like it: the backup is the older one's then, for a new timeline
    needs a full backup of its own.
    """
    at = base.component(DATABASE).coordinates
    if at.file is None or at.position is None or at.file not in catalogs[0].names(timeline):
        return False
    segment, _, _ = load_from_any(catalogs, timeline, at.file)
    if segment.log.raw_bytes < at.position or segment.created_at > base.finished_at:
        return False
    if not at.gtid:
        return True
    if segment.server.flavour == "mysql":
        return GtidSet.parse(segment.gtids_before) <= GtidSet.parse(at.gtid)
    before, after, there = (GtidState.parse(text) for text in (segment.gtids_before, segment.gtids_after, at.gtid))
    return all(
        _sequence(before, domain) <= _sequence(there, domain) <= _sequence(after, domain)
        for domain in {int(entry.partition("-")[0]) for entry in at.gtid.split(",")}
    )


def _sequence(state: GtidState, domain: int) -> int:
    """The highest sequence number of a domain, whichever server wrote it."""
    entries = (entry.split("-") for entry in str(state).split(",") if entry)
    return max((int(sequence) for number, _, sequence in entries if int(number) == domain), default=0)


def _refuse_holes(timeline: Timeline, behind: int, names: Sequence[str]) -> None:
    for expected, name in enumerate(names, behind + 1):
        if log_number(name) != expected:
            raise PermanentError(
                f"The log {base_name(name)}.{expected:06d} is missing in {timeline.folder}: the chain is broken there. "
                "Bring it back from a copy, or trigger a full backup."
            )


def _gap_error(
    area: Area, catalogs: Sequence[BinlogCatalog], timeline: Timeline, names: Sequence[str], base: Manifest
) -> PermanentError:
    record = area.timeline(timeline.server_id, timeline.name)
    gap: Gap | None = record.gap if record else None
    if gap is None and names:
        gap = load_from_any(catalogs, timeline, names[0])[0].gap
    words = gap.words if gap else f"the archived logs of {timeline.folder} begin with {names[0] if names else 'none'}."
    return PermanentError(
        f"No incremental backup can follow {base.name}: {words} A full backup is needed first; it is asked for when "
        f"a gap is found, or trigger {base.site}_daily_backup."
    )


def _prove(settings: Settings, connections: Connections, chain: _Chain) -> None:
    """Numbers, GTIDs and hashes follow, and every repository has every log.

    Raises:
        IntegrityError: it is not so.
    """
    catalogs = catalogues(settings, connections)
    links = chain.links
    if chain.base.binlogs:
        last = chain.base.binlogs[-1]
        segment, _, _ = load_from_any(catalogs, chain.timeline, last.key.rpartition("/")[2])
        links = ((segment, last.sha256), *links)  # the hash that the set before was published with
    for (before, digest), (after, _) in zip(links, links[1:], strict=False):
        same = after.previous is not None and after.previous.sha256 == digest
        if not (same and goes_on(after.server.flavour, (before.gtids_before, before.gtids_after), after.gtids_before)):
            raise IntegrityError(
                f"{after.key} does not follow {before.key}: one of them was replaced. Trigger a full backup, and find "
                "out who wrote to the repository."
            )
    stored = sum(segment.log.stored_bytes + segment.index.stored_bytes for segment, _ in chain.links)
    progress = Progress("prove the chain", stored * len(catalogs))

    def check(item: tuple[BinlogCatalog, BinlogSegment]) -> None:
        catalog, segment = item
        check_log(catalog, segment, segment.to_json(), progress.add)

    in_parallel(check, [(catalog, segment) for catalog in catalogs for segment, _ in chain.links], STORE_THREADS)
    progress.finish()


def _manifest(run: BackupRun, catalog: Catalog, chain: _Chain, warnings: tuple[str, ...]) -> Manifest:
    last, _ = chain.links[-1]
    status = Area(run.settings).status()
    now = datetime.now(timezone.utc)
    return Manifest(
        site=run.settings.site,
        cadence=run.cadence,
        id=run.set_id,
        run_id=run.run_id,
        started_at=now,
        finished_at=now,
        server=last.server.model_copy(
            update={"coordinates": Coordinates(file=last.name, position=last.end, gtid=last.gtids_after)}
        ),
        tools={"spoqplus-backup": __version__},
        compression=Compression(level=run.settings.compression.level),
        encryption=encryption_used(run),
        components=(),
        depends_on=(chain.base.name,),
        previous=previous_of(run, catalog),
        binlogs=tuple(
            BinlogRef(
                key=segment.key,
                sha256=digest,
                raw_bytes=segment.log.raw_bytes,
                stored_bytes=segment.log.stored_bytes + segment.index.stored_bytes,
                transactions=segment.transactions,
                first_at=segment.first_at,
                last_at=segment.last_at,
            )
            for segment, digest in chain.links
        ),
        binlog_range=BinlogRange(
            after=chain.base.id,
            after_cadence=chain.base.cadence,
            start=chain.start,
            end=Coordinates(file=last.name, position=last.end, gtid=last.gtids_after),
            timeline=chain.timeline.name,
        ),
        recovery_point=status.recovery_point if status else None,
        warnings=warnings,
    )


def _published(manifest: Manifest, urls: tuple[str, ...]) -> PublishedIncremental:
    covered = manifest.binlog_range
    times = [ref for ref in manifest.binlogs if ref.first_at is not None]
    return PublishedIncremental(
        set=manifest.name,
        after=f"{covered.after_cadence}/{covered.after}" if covered else "",
        logs=len(manifest.binlogs),
        transactions=sum(ref.transactions for ref in manifest.binlogs),
        raw_bytes=sum(ref.raw_bytes for ref in manifest.binlogs),
        stored_bytes=sum(ref.stored_bytes for ref in manifest.binlogs),
        first_at=times[0].first_at if times else None,
        last_at=times[-1].last_at if times else None,
        start=covered.start if covered else None,
        end=covered.end if covered else None,
        recovery_point=manifest.recovery_point,
        repositories=urls,
        warnings=manifest.warnings,
    )


def _nothing(settings: Settings, chain: _Chain, urls: tuple[str, ...]) -> PublishedIncremental:
    status = Area(settings).status()
    return PublishedIncremental(
        set=None,
        after=chain.base.name,
        logs=0,
        transactions=0,
        raw_bytes=0,
        stored_bytes=0,
        first_at=None,
        last_at=None,
        start=None,
        end=None,
        recovery_point=status.recovery_point if status else None,
        repositories=urls,
    )


def ref_problems(catalog: BinlogCatalog, manifest: Manifest) -> list[str]:
    """What is wrong with the logs of a set in one repository, a sentence each; for `spoqplus-backup verify`."""

    def check(ref: BinlogRef) -> str | None:
        folder, _, name = ref.key.rpartition("/")
        _, server_id, timeline = folder.split("/")
        try:
            segment, digest = catalog.load_with_digest(Timeline(int(server_id), timeline), name)
            if digest != ref.sha256:
                raise IntegrityError(
                    f"{catalog.repository.url}/{ref.key}.json is not the sidecar that {manifest.name} was made with."
                )
            check_log(catalog, segment, segment.to_json())
        except PermanentError as error:
            return str(error)
        return None

    return [problem for problem in in_parallel(check, manifest.binlogs, STORE_THREADS) if problem is not None]
