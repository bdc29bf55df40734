"""The facts of sites as Prometheus reads them. Every number comes from the repositories, so it survives a restart.

`backup_last_success_timestamp` and `backup_size_bytes` are the strategy's own names, one series a site: of the newest
full backup. Times are seconds since 1970, sizes bytes, durations seconds; what is not known has no series.
"""

from collections.abc import Callable, Iterable, Iterator, Sequence
from datetime import datetime
from typing import NamedTuple

from prometheus_client.core import GaugeMetricFamily
from prometheus_client.exposition import generate_latest
from prometheus_client.registry import Collector, CollectorRegistry

from spoqplus_backup.core.monitor.findings import broken, staging_needed
from spoqplus_backup.core.monitor.model import KnownSet, SiteFacts
from spoqplus_backup.core.monitor.promises import HOUR, TEST_GRACE
from spoqplus_backup.core.monitor.schedule import RECOVERY_TEST
from spoqplus_backup.core.monitor.sizes import usual_bytes
from spoqplus_backup.core.settings import Settings

SET, PART, PLACE, SITE = ("site", "cadence"), ("site", "cadence", "component"), ("site", "repository"), ("site",)

# what each is, and its labels
GAUGES: dict[str, tuple[str, tuple[str, ...]]] = {
    "backup_last_success_timestamp": ("When the newest full backup was published; 0 when there is none.", SITE),
    "backup_size_bytes": ("Stored size of the newest full backup.", SITE),
    "spoqplus_backup_last_success_timestamp_seconds": ("When the newest set of a cadence was published.", SET),
    "spoqplus_backup_next_scheduled_timestamp_seconds": ("When a DAG runs next by its schedule.", ("site", "dag")),
    "spoqplus_backup_due_timestamp_seconds": ("Scheduled time of the set behind the newest of its cadence.", SET),
    "spoqplus_backup_duration_seconds": ("How long the newest set of a cadence took.", SET),
    "spoqplus_backup_stage_duration_seconds": ("How long a stage of the newest set took.", (*PART, "stage")),
    "spoqplus_backup_stored_bytes": ("What a component of the newest set takes in one repository.", PART),
    "spoqplus_backup_raw_bytes": ("A component of the newest set before compression.", PART),
    "spoqplus_backup_usual_stored_bytes": ("Median of a component's stored bytes in the sets before the newest.", PART),
    "spoqplus_backup_sets": ("Sets of a cadence in all repositories.", SET),
    "spoqplus_backup_copies": ("Copies of the newest set, the live database included.", SET),
    "spoqplus_backup_media": ("Media that the copies of the newest set are on.", SET),
    "spoqplus_backup_offsite_copies": ("Copies of the newest set that are off-site.", SET),
    "spoqplus_backup_rule_3_2_1": ("Whether the 3-2-1 rule holds for the newest full backup (1) or not (0).", SITE),
    "spoqplus_backup_verified_timestamp_seconds": ("When the newest set's objects were last seen to be whole.", SET),
    "spoqplus_backup_unusable_sets": ("Sets among the newest of a cadence that a restore would refuse.", SET),
    "spoqplus_rpo_seconds": ("Data that would be lost now; where is primary or offsite.", ("site", "where")),
    "spoqplus_repository_rpo_seconds": ("Data that would be lost now if only this repository were left.", PLACE),
    "spoqplus_objective_seconds": ("What was promised; objective is rpo or rto.", ("site", "objective")),
    "spoqplus_alert_limit": ("The site's limits for alerts, from its configuration.", ("site", "limit")),
    "spoqplus_binlog_chain_broken": ("Whether no log leads on from the newest full backup (1).", PLACE),
    "spoqplus_binlog_gap_seconds": ("Time that can't be restored between the newest full backups.", SITE),
    "spoqplus_binlog_gap_end_timestamp_seconds": ("When the newest gap ended.", SITE),
    "spoqplus_recovery_test_passed": ("Whether the last recovery test passed (1) or failed (0).", SITE),
    "spoqplus_recovery_test_timestamp_seconds": ("When the last recovery test ended.", SITE),
    "spoqplus_recovery_test_proved_timestamp_seconds": ("When a recovery test passed last.", SITE),
    "spoqplus_recovery_test_rto_seconds": ("How long the last tested restore took.", SITE),
    "spoqplus_recovery_test_rpo_seconds": ("What would have been lost when the last test began.", SITE),
    "spoqplus_recovery_test_due_timestamp_seconds": ("When the next recovery test has to be over.", SITE),
    "spoqplus_retention_timestamp_seconds": ("When retention last deleted something from a repository.", PLACE),
    "spoqplus_retention_deleted": ("What it deleted then, by kind.", (*PLACE, "kind")),
    "spoqplus_retention_freed_bytes": ("What that freed.", PLACE),
    "spoqplus_retention_refused": ("What the repository did not let go then.", PLACE),
    "spoqplus_repository_up": ("Whether a repository answers (1) or not (0).", PLACE),
    "spoqplus_repository_sets": ("Sets in a repository.", PLACE),
    "spoqplus_repository_free_bytes": ("Free on the disk of a repository that is a folder.", PLACE),
    "spoqplus_staging_free_bytes": ("Free on the staging disk.", SITE),
    "spoqplus_staging_needed_bytes": ("What a backup as large as the last takes there.", SITE),
    "spoqplus_expiry_timestamp_seconds": ("When a key or certificate ends.", ("site", "kind", "name")),
    "spoqplus_watchdog_last_run_timestamp_seconds": ("When the watchdog last looked.", SITE),
    "spoqplus_facts_age_seconds": ("How old all these numbers are.", SITE),
    "spoqplus_facts_duration_seconds": ("How long it took to find them out.", SITE),
}


class Observed(NamedTuple):
    """What is to be told of a site; `facts` is None while nothing was found yet."""

    settings: Settings
    facts: SiteFacts | None
    watchdog_at: datetime | None


class Series(NamedTuple):
    """One number with its labels' values but for the site's."""

    name: str
    value: float | datetime | None
    labels: tuple[str, ...] = ()


def exposition(sites: Sequence[Observed], now: datetime) -> bytes:
    """The text that a scrape gets."""

    class Facts(Collector):
        def collect(self) -> Iterator[GaugeMetricFamily]:
            yield from _families(sites, now)

    registry = CollectorRegistry(auto_describe=False)
    registry.register(Facts())
    return generate_latest(registry)


def _families(sites: Sequence[Observed], now: datetime) -> Iterator[GaugeMetricFamily]:
    families = {name: GaugeMetricFamily(name, words, labels=labels) for name, (words, labels) in GAUGES.items()}
    for site in sites:
        for series in _series(site, now):
            value = series.value.timestamp() if isinstance(series.value, datetime) else series.value
            if value is not None:
                families[series.name].add_metric((site.settings.site, *series.labels), value)
    return (family for family in families.values() if family.samples)


def _series(site: Observed, now: datetime) -> Iterator[Series]:
    yield Series("spoqplus_watchdog_last_run_timestamp_seconds", site.watchdog_at)
    yield from _limits(site.settings)
    if site.facts is not None:
        for tell in _TELLERS:
            yield from tell(site.facts, site.settings, now)


def _limits(settings: Settings) -> Iterator[Series]:
    yield Series("spoqplus_objective_seconds", settings.objectives.rpo_hours * HOUR, ("rpo",))
    yield Series("spoqplus_objective_seconds", settings.objectives.rto_hours * HOUR, ("rto",))
    for name, value in settings.alerts.model_dump().items():
        yield Series("spoqplus_alert_limit", value, (name,))


def _newest(facts: SiteFacts, _: Settings, __: datetime) -> Iterator[Series]:
    newest = facts.newest_full
    if newest is not None and newest.details is not None:
        yield Series("backup_last_success_timestamp", newest.details.finished_at)
        yield Series("backup_size_bytes", newest.details.stored_bytes)
        yield Series("spoqplus_backup_rule_3_2_1", facts.holds_3_2_1(newest))
    elif facts.whole:
        yield Series("backup_last_success_timestamp", 0)


def _cadences(facts: SiteFacts, _: Settings, __: datetime) -> Iterator[Series]:
    for cadence, count in facts.counts.items():
        yield Series("spoqplus_backup_sets", count, (cadence,))
    for cadence, sets in facts.sets.items():
        unusable = sum(item.problem is not None or item.found.differs for item in sets)
        yield Series("spoqplus_backup_unusable_sets", unusable, (cadence,))
        if (newest := facts.newest(cadence)) is not None:
            yield from _set(cadence, newest)
        for component, size in usual_bytes(facts, cadence).items():
            yield Series("spoqplus_backup_usual_stored_bytes", size, (cadence, component))


def _set(cadence: str, item: KnownSet) -> Iterator[Series]:
    labels, found, details = (cadence,), item.found, item.details
    if details is None:
        return
    yield Series("spoqplus_backup_last_success_timestamp_seconds", details.finished_at, labels)
    yield Series("spoqplus_backup_duration_seconds", details.seconds, labels)
    yield Series("spoqplus_backup_copies", found.count, labels)
    yield Series("spoqplus_backup_media", len(found.media), labels)
    yield Series("spoqplus_backup_offsite_copies", len(found.offsite), labels)
    verified = max(details.finished_at, item.proved_at or details.finished_at)
    yield Series("spoqplus_backup_verified_timestamp_seconds", verified, labels)
    for component in details.components:
        part = (cadence, component.name)
        yield Series("spoqplus_backup_stored_bytes", component.stored_bytes, part)
        yield Series("spoqplus_backup_raw_bytes", component.raw_bytes, part)
        for stage, seconds in component.seconds.items():
            yield Series("spoqplus_backup_stage_duration_seconds", seconds, (*part, stage))
    if not details.components:  # an incremental set is made of logs
        yield Series("spoqplus_backup_stored_bytes", details.stored_bytes, (cadence, "binlog"))
        yield Series("spoqplus_backup_raw_bytes", details.raw_bytes, (cadence, "binlog"))


def _times(facts: SiteFacts, _: Settings, __: datetime) -> Iterator[Series]:
    for dag, moment in facts.next.items():
        yield Series("spoqplus_backup_next_scheduled_timestamp_seconds", moment, (dag,))
    for cadence, due in facts.due.items():
        if cadence != RECOVERY_TEST:
            yield Series("spoqplus_backup_due_timestamp_seconds", due, (cadence,))
        elif due is not None:
            yield Series("spoqplus_recovery_test_due_timestamp_seconds", due + TEST_GRACE)


def _logs(facts: SiteFacts, settings: Settings, now: datetime) -> Iterator[Series]:
    yield Series("spoqplus_rpo_seconds", facts.lost(now), ("primary",))
    yield Series("spoqplus_rpo_seconds", facts.lost(now, offsite=True), ("offsite",))
    for reach in facts.reaches:
        place = (reach.repository,)
        if reach.until is not None:
            yield Series("spoqplus_repository_rpo_seconds", max(0.0, (now - reach.until).total_seconds()), place)
        words = reach.problem or broken(reach, settings, now)
        yield Series("spoqplus_binlog_chain_broken", words is not None, place)
    yield Series("spoqplus_binlog_gap_seconds", sum((gap.end - gap.start).total_seconds() for gap in facts.gaps))
    yield Series("spoqplus_binlog_gap_end_timestamp_seconds", max((gap.end for gap in facts.gaps), default=None))


def _tests(facts: SiteFacts, _: Settings, __: datetime) -> Iterator[Series]:
    proved = [test.finished_at for test in facts.tests if test.verdict == "passed"]
    yield Series("spoqplus_recovery_test_proved_timestamp_seconds", max(proved, default=None))
    for last in facts.tests[:1]:
        yield Series("spoqplus_recovery_test_passed", last.verdict == "passed")
        yield Series("spoqplus_recovery_test_timestamp_seconds", last.finished_at)
        yield Series("spoqplus_recovery_test_rto_seconds", last.rto_seconds)
        yield Series("spoqplus_recovery_test_rpo_seconds", last.rpo_seconds)


def _retention(facts: SiteFacts, _: Settings, __: datetime) -> Iterator[Series]:
    for item in facts.deletions:
        place = (item.repository,)
        yield Series("spoqplus_retention_timestamp_seconds", item.at, place)
        yield Series("spoqplus_retention_freed_bytes", item.bytes, place)
        yield Series("spoqplus_retention_refused", item.refused, place)
        for kind in ("sets", "logs", "unfinished", "uploads", "faces"):
            yield Series("spoqplus_retention_deleted", getattr(item, kind), (*place, kind))


def _places(facts: SiteFacts, _: Settings, now: datetime) -> Iterator[Series]:
    for state in facts.repositories:
        place = (state.name,)
        yield Series("spoqplus_repository_up", state.up, place)
        if state.up:
            yield Series("spoqplus_repository_sets", state.sets, place)
        yield Series("spoqplus_repository_free_bytes", None if state.disk is None else state.disk.free, place)
    yield Series("spoqplus_staging_free_bytes", None if facts.staging is None else facts.staging.free)
    yield Series("spoqplus_staging_needed_bytes", None if facts.staging is None else staging_needed(facts))
    for item in facts.expiries:
        yield Series("spoqplus_expiry_timestamp_seconds", item.at, (item.kind, item.name))
    yield Series("spoqplus_facts_age_seconds", max(0.0, (now - facts.as_of).total_seconds()))
    yield Series("spoqplus_facts_duration_seconds", facts.seconds)


Teller = Callable[[SiteFacts, Settings, datetime], Iterable[Series]]
_TELLERS: tuple[Teller, ...] = (_newest, _cadences, _times, _logs, _tests, _retention, _places)
