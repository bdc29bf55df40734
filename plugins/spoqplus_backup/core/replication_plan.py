"""Which sets each replica is to get: every published one that it lacks, but not what its own retention would delete.

Listings alone tell what is lacking, so that a run every quarter of an hour costs a few requests; manifests are read of
the sets that are chosen. What could not be copied once is lacking at the next run again.
"""

import logging
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from datetime import datetime, timedelta, timezone
from pathlib import Path
from zoneinfo import ZoneInfo

from pydantic import ValidationError

from spoqplus_backup.core.cadence import DAILY
from spoqplus_backup.core.connections import Connections
from spoqplus_backup.core.errors import BackupError, IntegrityError, PermanentError
from spoqplus_backup.core.manifest import MANIFEST, Model
from spoqplus_backup.core.preflight import ID_FORMAT
from spoqplus_backup.core.repository.base import Repository
from spoqplus_backup.core.repository.catalog import INCREMENTAL, SAFETY, Catalog, Proved, SetRef
from spoqplus_backup.core.repository.opener import open_repositories, open_repository
from spoqplus_backup.core.repository.retention import CLOCKS_DIFFER, plan_retention
from spoqplus_backup.core.repository.retention_model import RepositoryFacts, SetFacts
from spoqplus_backup.core.retention.facts import named_time
from spoqplus_backup.core.settings import RepositorySettings, Settings
from spoqplus_backup.core.staging import read_json, write_json

log = logging.getLogger(__name__)

FOLDER = "replication"  # in the site's staging area
AT_ONCE = 20  # sets that one run brings to a replica: what is published meanwhile has to wait for its end
DAMAGE_RESTS = timedelta(days=1)


class GoneError(PermanentError):
    """A set is in no repository any more: somebody deleted it, as retention does."""


class CopyPlan(Model):
    """What each replica is to get, in order: a set comes behind those that it depends on."""

    sets: dict[str, tuple[str, ...]]
    warnings: tuple[str, ...] = ()


class Damaged(Model):
    """Sets of which no source has a good copy, by replica, and when that was found (UTC).

    They are told once a day, not with every run; forgotten, they are only tried sooner.
    """

    sets: dict[str, dict[str, datetime]] = {}

    @classmethod
    def read(cls, settings: Settings) -> "Damaged":
        """Those that were found in the last day."""
        try:
            found = cls.model_validate(read_json(cls._path(settings)) or {})
        except (IntegrityError, ValidationError) as error:
            log.warning("Which sets are damaged is forgotten: %s", error)
            found = cls()
        since = datetime.now(timezone.utc) - DAMAGE_RESTS
        return cls(
            sets={
                replica: {name: at for name, at in names.items() if at > since} for replica, names in found.sets.items()
            }
        )

    def write(self, settings: Settings) -> None:
        """Keep it for the next run."""
        write_json(self._path(settings), self)

    @staticmethod
    def _path(settings: Settings) -> Path:
        return settings.staging.directory / settings.site / FOLDER / "damaged.json"


@dataclass(frozen=True)
class Trusted:
    """A published set: its manifest as it was signed, and the repositories that have it so."""

    proved: Proved
    holders: list[Repository]


def plan_copies(
    settings: Settings, connections: Connections, announced: Sequence[str] = (), asked: Sequence[str] = ()
) -> CopyPlan:
    """Which sets the replicas are to get: those that are named, and those that a replica lacks and would keep.

    The newest ones come first, since they count most when the region is lost meanwhile, and incremental ones last,
    which are of no use without a full one. What a set depends on comes before it. What is left after `AT_ONCE` sets is
    the next run's.

    Args:
        settings: the site.
        connections: where its credentials are.
        announced: sets that were published, as the asset's events name them; one that is gone again is a warning.
        asked: sets that a person names.

    Raises:
        PermanentError: no replica is configured, or a set that was asked for is nowhere.
        BackupError: a replica can't be reached, or none of the others.
    """
    if not settings.replicas:
        raise PermanentError(
            f"{settings.source}: no repository has `role: replica`, so there is nowhere to copy to: add one, or pause "
            "this DAG."
        )
    sources, published = _published(catalogs_of(settings, open_repositories(settings, connections)))
    if unknown := [name for name in asked if name not in published]:
        raise PermanentError(f"There is no set {', '.join(unknown)} in any repository: see `spoqplus-backup list`.")
    warnings = [
        f"{name} was published but is gone again: it is not copied." for name in announced if name not in published
    ]
    named = [published[name] for name in dict.fromkeys([*asked, *announced]) if name in published]
    damaged = Damaged.read(settings)
    sets = {}
    for replica in settings.replicas:
        target = catalog_of(settings, open_repository(settings, replica.name, connections))
        there = {ref.name: ref for ref in target.sets()}
        rest = damaged.sets.get(replica.name, {})
        lacking = [
            ref
            for ref in _in_order(kept_there(settings, replica, {**published, **there}.values()))
            if ref.name not in there and ref.name not in rest and ref not in named
        ]
        chosen = lacking[: max(0, AT_ONCE - len(named))]
        sets[replica.name] = tuple(_with_bases(sources, _in_order([*named, *chosen]), set(there)))
        log.info("%s gets %s", replica.name, ", ".join(sets[replica.name]) or "nothing: it has everything")
        if left := len(lacking) - len(chosen):
            log.info("%s lacks %d more sets: the next runs bring them", replica.name, left)
    return CopyPlan(sets=sets, warnings=tuple(warnings))


def _published(catalogs: Sequence[Catalog]) -> tuple[list[Catalog], dict[str, SetRef]]:
    """The sources that can be listed, and every set in them by its name.

    Raises:
        BackupError: none can.
    """
    failure: BackupError | None = None
    sources: list[Catalog] = []
    found: dict[str, SetRef] = {}
    for catalog in catalogs:
        try:
            found |= {ref.name: ref for ref in catalog.sets()}
        except BackupError as error:
            log.warning("%s is left out: %s", catalog.repository.name, error)
            failure = error
        else:
            sources.append(catalog)
    if not sources and failure is not None:
        raise failure
    return sources, found


def _in_order(refs: Iterable[SetRef]) -> list[SetRef]:
    return sorted(refs, key=lambda ref: (ref.cadence != INCREMENTAL, ref.id, ref.cadence), reverse=True)


def kept_there(settings: Settings, replica: RepositorySettings, refs: Iterable[SetRef]) -> list[SetRef]:
    """Those that a replica which had all of them would still keep after tomorrow's backup, and the newest of a cadence.

    Tomorrow's, so that what is about to go is not brought, and nothing goes to and fro; by their names, whose times are
    those of the manifests to some minutes. What a wrong clock dated in the future is kept, and counts for nothing, as
    retention has it. Safety sets are of the one restore that made them.

    Args:
        settings: the site.
        replica: whose `keep` counts.
        refs: what it has, and what it lacks.
    """
    now = datetime.now(timezone.utc)
    known = {ref.name: ref for ref in refs if ref.cadence != SAFETY}
    facts = [_facts(settings, ref) for ref in known.values()]
    counted = [item for item in facts if item.started_at <= now + CLOCKS_DIFFER]
    if not counted:
        return list(known.values())
    next_day = max(item.started_at for item in counted) + timedelta(days=1)
    tomorrow = SetFacts(
        cadence=DAILY.name,
        id=f"{next_day.astimezone(ZoneInfo(settings.timezone)):{ID_FORMAT}}",
        bytes=0,
        started_at=next_day,
        finished_at=next_day,
        has_database=True,
    )
    sets = (*counted, tomorrow)
    plan = plan_retention(RepositoryFacts(sets=sets), replica.keep, settings.retention, max(now, next_day))
    newest = {item.cadence: item.name for item in sorted(counted, key=lambda item: item.id)}
    goes = {item.name for item in counted} - plan.kept_sets - set(newest.values())
    return [ref for name, ref in known.items() if name not in goes]


def _facts(settings: Settings, ref: SetRef) -> SetFacts:
    moment = named_time(settings, ref.id)
    return SetFacts(
        cadence=ref.cadence,
        id=ref.id,
        bytes=0,
        started_at=moment,
        finished_at=moment,
        has_database=ref.cadence != INCREMENTAL,
    )


def _with_bases(sources: Sequence[Catalog], wanted: Iterable[SetRef], there: set[str]) -> list[str]:
    """The sets, each behind those that it depends on and the replica lacks."""
    order: dict[str, None] = {}

    def add(ref: SetRef) -> None:
        if ref.name in order:
            return
        for base in _depends_on(sources, ref):
            if base.name not in there:
                add(base)
        order[ref.name] = None

    for ref in wanted:
        add(ref)
    return list(order)


def _depends_on(sources: Sequence[Catalog], ref: SetRef) -> list[SetRef]:
    """What a set stands on, as far as a source still has it."""
    try:
        trusted = trusted_in(sources, ref)
    except BackupError:  # the copy will say so, and go on with the next set
        return []
    bases = [SetRef(*name.split("/", 1)) for name in trusted.proved.manifest.depends_on]
    return [base for base in bases if any(has(catalog.repository, base) for catalog in sources)]


# ---- what the copying needs, too ----


def catalog_of(settings: Settings, repository: Repository) -> Catalog:
    """The sets of this site in a repository."""
    return Catalog(repository, settings.signing.public_key_files, settings.site)


def catalogs_of(settings: Settings, repositories: Iterable[Repository]) -> list[Catalog]:
    """`catalog_of` each."""
    return [catalog_of(settings, repository) for repository in repositories]


def has(repository: Repository, ref: SetRef) -> bool:
    """Whether a set is published there."""
    return repository.stat(f"{ref.name}/{MANIFEST}") is not None


def trusted_in(sources: Sequence[Catalog], ref: SetRef) -> Trusted:
    """A set's manifest from the first source where it can be trusted, and every source that has the same.

    Raises:
        GoneError: none has it.
        IntegrityError: none can be trusted; the first one's reason.
        BackupError: the only sources that may have one can't be reached.
    """
    found: Trusted | None = None
    failure: BackupError | None = None
    for catalog in sources:
        try:
            if not has(catalog.repository, ref):
                continue
            proved = catalog.prove(ref)
        except BackupError as error:
            log.warning("%s", error)
            failure = failure or error
            continue
        found = found or Trusted(proved, [])
        if proved.content == found.proved.content:
            found.holders.append(catalog.repository)
    if found is None:
        raise failure or GoneError(f"{ref.name} is in no repository any more, it was deleted: it is not copied.")
    return found


def refuse_other(sources: Sequence[Catalog], target: Catalog, ref: SetRef) -> None:
    """See that a replica's set is the same as ours.

    Raises:
        IntegrityError: it is another one.
    """
    if target.repository.read(f"{ref.name}/{MANIFEST}") != trusted_in(sources, ref).proved.content:
        raise IntegrityError(
            f"{target.repository.url} holds another set under the name {ref.name}: another site or host writes there, "
            "or somebody replaced it. Find out which, and move what is there away, before anything is copied."
        )
