"""What is in a repository, as retention needs to know it: one listing, and every manifest with its signature."""

import logging
import re
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from datetime import datetime, timedelta, timezone
from itertools import chain, groupby, islice
from typing import TypeVar
from zoneinfo import ZoneInfo

from pydantic import BaseModel, ValidationError

from spoqplus_backup.core.errors import BackupError, IntegrityError
from spoqplus_backup.core.manifest import MANIFEST, Manifest
from spoqplus_backup.core.preflight import ID_FORMAT
from spoqplus_backup.core.progress import Progress
from spoqplus_backup.core.repository import leases
from spoqplus_backup.core.repository.binlogs import ROOT as BINLOG
from spoqplus_backup.core.repository.binlogs import SIDECAR, BinlogCatalog, Timeline
from spoqplus_backup.core.repository.catalog import INCREMENTAL, SAFETY, Catalog, SetRef
from spoqplus_backup.core.repository.holds import ROOT as HOLDS
from spoqplus_backup.core.repository.holds import holds
from spoqplus_backup.core.repository.leases import Lease
from spoqplus_backup.core.repository.removal import Entry, Remover
from spoqplus_backup.core.repository.retention_model import (
    LogFacts,
    RepositoryFacts,
    SetFacts,
    UnfinishedFacts,
    UploadFacts,
)
from spoqplus_backup.core.retention.faces import FACES, FaceLists, face_lists
from spoqplus_backup.core.retention.work import is_under_way
from spoqplus_backup.core.run import DATABASE
from spoqplus_backup.core.settings import Settings
from spoqplus_backup.core.stages import STORE_THREADS, in_parallel

log = logging.getLogger(__name__)

CADENCES = ("daily", "weekly", "monthly", SAFETY, INCREMENTAL)

_APART = frozenset({BINLOG, FACES, leases.ROOT, HOLDS, "reports", "staging"})
_ID = re.compile(r"\d{8}_\d{6}")
_IN_A_SET = re.compile(r"(?P<name>[^/]+/\d{8}_\d{6})/(?P<rest>.+)")
_OF_A_LOG = re.compile(
    r"(?P<key>binlog/\d+/[^/]+/[^/]+\.\d+)\.(?P<what>json|json\.sig|(?:tables\.json\.)?zst(?:\.\w+)?)"
)
_BATCH = 8  # sets whose listings are in memory together

Item = TypeVar("Item")


@dataclass
class Gathered:
    """What a repository holds, and what the deciding does not need: leases, the lists of faces of each trusted set
    (None: it should have one), the bytes of the logs that it is made of, a key of each unfinished one. Manifests are
    too big to be kept all. `others` are the site's other repositories that told what they hold, `unread` those that
    did not.
    """

    facts: RepositoryFacts
    face_lists: dict[str, FaceLists | None] = field(default_factory=dict)
    leases: list[Lease] = field(default_factory=list)
    newest_keys: dict[str, str] = field(default_factory=dict)
    log_bytes: dict[str, dict[str, int]] = field(default_factory=dict)
    others: list[Remover] = field(default_factory=list)
    unread: list[str] = field(default_factory=list)


class _LenientLog(BaseModel):
    key: str


class _Lenient(BaseModel):
    """What a manifest without a good signature says that it needs."""

    depends_on: tuple[str, ...] = ()
    binlogs: tuple[_LenientLog, ...] = ()


def gather(settings: Settings, remover: Remover, others: Iterable[Remover], now: datetime) -> Gathered:
    """Look at everything in a repository, and at the holds in the others.

    Args:
        settings: the site.
        remover: the repository.
        others: the other repositories of the site; one that can't be read is left out, and noted.
        now: for leases, and for what is under way.

    Raises:
        BackupError: it can't be reached, or not everything could be read: then nothing can be decided.
        PermanentError: it refuses to be read.
    """
    found_leases = leases.all_leases(remover)
    gathered = Gathered(facts=RepositoryFacts(), leases=found_leases)
    sets: list[SetFacts] = []
    unfinished: list[UnfinishedFacts] = []
    cadences = sorted({name.partition("/")[0] for name in set_names(remover)})
    for cadence in cadences:
        _gather_sets(settings, remover, cadence, gathered, sets, unfinished, now)
    logs, stray, stored = _gather_logs(remover)
    gathered.newest_keys.update({item.name: key for item, key in stray})
    known = {*CADENCES, *(item.cadence for item in sets)}  # in other folders nobody knows what is unfinished
    unfinished = [item for item in unfinished if item.name.partition("/")[0] in known]
    gathered.facts = RepositoryFacts(
        sets=tuple(_with_what_they_need(sets, gathered.log_bytes, stored)),
        unfinished=(*unfinished, *(item for item, _ in stray)),
        logs=tuple(logs),
        uploads=tuple(_gather_uploads(remover, cadences)),
        holds=_all_holds(settings, remover, others, gathered),
        leases=leases.in_use(found_leases, now),
    )
    return gathered


def _all_holds(settings: Settings, remover: Remover, others: Iterable[Remover], gathered: Gathered) -> dict[str, str]:
    """The holds in all repositories of the site.

    One that is out of order holds up no other: `hold` stores in each and says where it could not, and what is held
    there stays there.
    """
    found: dict[str, str] = {}
    for other in others:
        try:
            found |= holds(other, settings.signing.public_key_files)
        except BackupError as error:
            log.warning("What %s holds is not known: %s", other.url, error)
            gathered.unread.append(other.name)
        else:
            gathered.others.append(other)
    return found | holds(remover, settings.signing.public_key_files)


def _with_what_they_need(
    sets: Sequence[SetFacts], needed: Mapping[str, Mapping[str, int]], stored: Mapping[str, int]
) -> Iterator[SetFacts]:
    """The sets; damaged are also those that lack a log, or stand on one that is damaged or gone.

    Args:
        sets: as their manifests and their own folders tell.
        needed: the bytes of the logs that a set is made of, by its name and theirs.
        stored: the bytes of the logs that are there.
    """
    good = {item.name: item for item in sets if item.is_good}
    damaged: dict[str, str] = {}
    while lacking := {name: what for name, item in good.items() if (what := _lack(item, good, needed, stored))}:
        damaged |= lacking
        good = {name: item for name, item in good.items() if name not in lacking}
    for item in sets:
        yield item.model_copy(update={"damaged": damaged[item.name]}) if item.name in damaged else item


def _lack(
    item: SetFacts,
    good: Mapping[str, SetFacts],
    needed: Mapping[str, Mapping[str, int]],
    stored: Mapping[str, int],
) -> str | None:
    logs = (key for key, size in needed.get(item.name, {}).items() if stored.get(key) != size)
    bases = () if item.cadence == INCREMENTAL else item.depends_on  # logs lead on from any full backup
    return next(chain(logs, (name for name in bases if name not in good)), None)


def judge(settings: Settings, remover: Remover, gathered: Gathered, candidates: Iterable[str]) -> RepositoryFacts:
    """The facts, with what is only asked of things that would go: the bucket's locks, and the sidecars of logs.

    Args:
        settings: the site.
        remover: the repository.
        gathered: what is there.
        candidates: the names of sets, unfinished sets and logs that would go.
    """
    wanted = frozenset(candidates)
    facts = gathered.facts
    locks = remover.keeps_versions()

    def set_facts(item: SetFacts) -> SetFacts:
        return item.model_copy(update={"locked_until": remover.locked_until(f"{item.name}/{MANIFEST}")})

    def unfinished_facts(item: UnfinishedFacts) -> UnfinishedFacts:
        return item.model_copy(update={"locked_until": remover.locked_until(gathered.newest_keys[item.name])})

    catalog = BinlogCatalog(remover, settings.signing.public_key_files, settings.site)

    def log_facts(item: LogFacts) -> LogFacts:
        until = remover.locked_until(item.key + SIDECAR) if locks else None
        return _with_sidecar(catalog, item).model_copy(update={"locked_until": until})

    lockable = wanted if locks else frozenset()
    return facts.model_copy(
        update={
            "sets": _each(set_facts, facts.sets, [item.name in lockable for item in facts.sets]),
            "unfinished": _each(
                unfinished_facts, facts.unfinished, [item.name in lockable for item in facts.unfinished]
            ),
            "logs": _each(log_facts, facts.logs, [item.key in wanted for item in facts.logs]),
        }
    )


def _each(change: Callable[[Item], Item], items: Sequence[Item], chosen: Sequence[bool]) -> tuple[Item, ...]:
    """The items, with those that are chosen changed, several at a time."""
    todo = [item for item, wanted in zip(items, chosen, strict=True) if wanted]
    changed = iter(in_parallel(change, todo, STORE_THREADS))
    return tuple(next(changed) if wanted else item for item, wanted in zip(items, chosen, strict=True))


def _with_sidecar(catalog: BinlogCatalog, item: LogFacts) -> LogFacts:
    """A log goes only when its sidecar is believed, by the time that is signed: a copy is newer than what it is of."""
    _, server_id, timeline, name = item.key.split("/")
    try:
        segment = catalog.load(Timeline(int(server_id), timeline), name)
    except IntegrityError as error:
        return item.model_copy(update={"problem": str(error)})
    return item.model_copy(update={"at": max(item.at, segment.archived_at)})


def set_names(remover: Remover) -> list[str]:
    """The sets that there is anything of, as `<cadence>/<id>`; in a folder, staging and others may lie beside them."""
    cadences = [name for name in remover.list_folders() if name not in _APART]
    return [
        f"{cadence}/{set_id}"
        for cadence in cadences
        for set_id in remover.list_folders(f"{cadence}/")
        if _ID.fullmatch(set_id)
    ]


def _gather_sets(
    settings: Settings,
    remover: Remover,
    cadence: str,
    gathered: Gathered,
    sets: list[SetFacts],
    unfinished: list[UnfinishedFacts],
    now: datetime,
) -> None:
    catalog = Catalog(remover, settings.signing.public_key_files, settings.site)
    progress = Progress(f"look at {cadence} in {remover.name}")

    def look(group: tuple[str, Sequence[Entry]]) -> SetFacts | None:
        facts, manifest = _set_facts(settings, catalog, *group)
        if manifest is not None:
            gathered.face_lists[facts.name] = face_lists(manifest)
            gathered.log_bytes[facts.name] = {ref.key: ref.stored_bytes for ref in manifest.binlogs}
        elif remover.stat(f"{facts.name}/{MANIFEST}") is None:  # another run deletes it
            return None
        return facts

    groups = _groups(remover.entries(f"{cadence}/"))
    while batch := list(islice(groups, _BATCH)):
        published = [group for group in batch if _is_published(*group)]
        sets += [facts for facts in in_parallel(look, published, STORE_THREADS) if facts is not None]
        for name, entries in batch:
            progress.add(sum(entry.bytes for entry in entries))
            if not _is_published(name, entries):
                unfinished.append(_unfinished_facts(settings, name, entries, now))
                gathered.newest_keys[name] = max(entries, key=lambda entry: entry.modified).key
    progress.finish()


def _groups(entries: Iterable[Entry]) -> Iterator[tuple[str, list[Entry]]]:
    """The objects of each set; the listing is sorted, so one set at a time is in memory."""
    named = ((match["name"], entry) for entry in entries if (match := _IN_A_SET.fullmatch(entry.key)))
    for name, group in groupby(named, key=lambda item: item[0]):
        yield name, [entry for _, entry in group]


def _is_published(name: str, entries: Iterable[Entry]) -> bool:
    return any(entry.key == f"{name}/{MANIFEST}" for entry in entries)


def _set_facts(
    settings: Settings, catalog: Catalog, name: str, entries: Sequence[Entry]
) -> tuple[SetFacts, Manifest | None]:
    cadence, _, set_id = name.partition("/")
    size = sum(entry.bytes for entry in entries)
    stored_at = next(entry.modified for entry in entries if entry.key == f"{name}/{MANIFEST}")
    try:
        manifest = catalog.load(SetRef(cadence, set_id))
    except IntegrityError as error:
        log.warning("%s", error)
        moment = named_time(settings, set_id)
        said = _said(catalog, name)
        return SetFacts(
            cadence=cadence,
            id=set_id,
            bytes=size,
            started_at=moment,
            finished_at=moment,
            stored_at=stored_at,
            problem=str(error),
            depends_on=said.depends_on,
            logs=tuple(ref.key for ref in said.binlogs),
        ), None
    facts = SetFacts(
        cadence=cadence,
        id=set_id,
        bytes=size,
        started_at=manifest.started_at,
        finished_at=manifest.finished_at,
        stored_at=stored_at,
        has_database=any(component.name == DATABASE for component in manifest.components),
        damaged=_damage(manifest, entries),
        depends_on=manifest.depends_on,
        logs=tuple(ref.key for ref in manifest.binlogs),
    )
    return facts, manifest


def _said(catalog: Catalog, name: str) -> _Lenient:
    try:
        return _Lenient.model_validate_json(catalog.repository.read(f"{name}/{MANIFEST}"))
    except (ValidationError, IntegrityError):
        return _Lenient()


def _damage(manifest: Manifest, entries: Iterable[Entry]) -> str | None:
    """Which object is missing or has another size than was signed; None when all is there."""
    there = {entry.key: entry.bytes for entry in entries}
    for key, part in manifest.objects().items():
        if there.get(f"{manifest.name}/{key}") != part.stored_bytes:
            return key
    return None


def named_time(settings: Settings, set_id: str) -> datetime:
    """The time in a set's name, UTC; the beginning of time when it is none."""
    try:
        named = datetime.strptime(set_id, ID_FORMAT).replace(tzinfo=ZoneInfo(settings.timezone))
    except ValueError:
        return datetime(1970, 1, 1, tzinfo=timezone.utc)
    return named.astimezone(timezone.utc)


def _unfinished_facts(settings: Settings, name: str, entries: Sequence[Entry], now: datetime) -> UnfinishedFacts:
    cadence, _, set_id = name.partition("/")
    return UnfinishedFacts(
        name=name,
        bytes=sum(entry.bytes for entry in entries),
        touched_at=max(entry.modified for entry in entries),
        under_way=is_under_way(settings, cadence, set_id, now - timedelta(hours=settings.retention.unfinished_hours)),
    )


def _gather_logs(remover: Remover) -> tuple[list[LogFacts], list[tuple[UnfinishedFacts, str]], dict[str, int]]:
    """The logs with a sidecar, what lies there of others with a key of each, and the bytes without sidecars."""
    logs: list[LogFacts] = []
    stored: dict[str, int] = {}
    stray: list[tuple[UnfinishedFacts, str]] = []
    named = ((match, entry) for entry in remover.entries(f"{BINLOG}/") if (match := _OF_A_LOG.fullmatch(entry.key)))
    for key, group in groupby(named, key=lambda item: item[0]["key"]):
        objects = list(group)
        size = sum(entry.bytes for _, entry in objects)
        newest = max((entry for _, entry in objects), key=lambda entry: entry.modified)
        if any(match["what"] == "json" for match, _ in objects):
            logs.append(LogFacts(key=key, bytes=size, at=newest.modified))
            stored[key] = sum(entry.bytes for match, entry in objects if not match["what"].startswith("json"))
        else:
            stray.append((UnfinishedFacts(name=key, bytes=size, touched_at=newest.modified), newest.key))
    return logs, stray, stored


def _gather_uploads(remover: Remover, cadences: Iterable[str]) -> Iterator[UploadFacts]:
    for prefix in sorted({*cadences, *CADENCES, BINLOG, FACES}):
        for found in remover.broken_uploads(f"{prefix}/"):
            yield UploadFacts(key=found.key, id=found.id, since=found.since, bytes=found.bytes)
