"""What is known of a site from its repositories: a folder, and a bucket of moto's."""

from collections.abc import Iterator
from datetime import timedelta
from pathlib import Path
from typing import Any
from zoneinfo import ZoneInfo

import pytest

from spoqplus_backup.core.manifest import Coordinates, Gap
from spoqplus_backup.core.monitor import gather as gathering
from spoqplus_backup.core.monitor.findings import findings
from spoqplus_backup.core.monitor.gather import Memory, gather
from spoqplus_backup.core.monitor.promises import promises
from spoqplus_backup.core.proof.store import store_proof
from spoqplus_backup.core.repository.base import Repository
from spoqplus_backup.core.repository.holds import hold
from spoqplus_backup.core.retention.deleting import carry_out
from spoqplus_backup.core.retention.journal import last_record
from spoqplus_backup.core.retention.planning import plan_repository
from support import s3
from support.connections import FixedConnections
from support.history import DAY, HOUR, Past, make_past, now
from support.keys import signing_pair
from support.proofs import proof_of
from support.published import manifest_of, publish_in

pytestmark = pytest.mark.integration

SECOND, MINUTE = timedelta(seconds=1), timedelta(minutes=1)
NONE = dict.fromkeys(("weekly_backup", "monthly_backup", "incremental_backup"))
CALM = {"alerts": {"minimum_backup_bytes": 0}, "schedules": NONE}
SECONDS = {"dump": 30.0, "compress": 12.0, "encrypt": 3.0, "upload": 15.0}


@pytest.fixture(scope="module")
def endpoint() -> Iterator[str]:
    with s3.moto() as url:
        yield url


@pytest.fixture
def past(tmp_path: Path, endpoint: str) -> Past:
    return make_past(tmp_path, endpoint, prefix=f"facts/{tmp_path.name}", **CALM)


def repositories(past: Past) -> list[Repository]:
    return [past.repository(item.name) for item in past.settings.repositories]


def full(past: Past, age: timedelta, log: int, *names: str, **fields: Any) -> str:
    """A daily backup in repositories (all without names), whose snapshot lies in a log."""
    at = now() - age
    set_id = f"{at.astimezone(ZoneInfo(past.settings.timezone)):%Y%m%d_%H%M%S}"
    manifest = manifest_of(f"daily/{set_id}", started_at=at, finished_at=at + MINUTE, **fields)
    database = manifest.components[0].model_copy(
        update={
            "started_at": at,
            "finished_at": at + MINUTE,
            "coordinates": Coordinates(file=f"binlog.{log:06d}", position=1),
            "seconds": SECONDS,
        }
    )
    manifest = manifest.model_copy(update={"components": (database,)})
    publish_in([item for item in repositories(past) if not names or item.name in names], past.keys.private, manifest)
    return manifest.name


def logs(past: Past, *ages: timedelta, first: int = 1, **fields: Any) -> None:
    """Logs that follow each other, closed so long ago, in all repositories; one was begun when the other was closed."""
    opened = ages[0] + DAY * 3
    for number, age in enumerate(ages, first):
        times = {"created_at": now() - opened, "closed_at": now() - age, "last_at": now() - age - SECOND}
        for repository in repositories(past):
            past.log(repository, number, age, **(times | fields))
        opened = age


def test_everything_about_a_site_that_is_well(past: Past) -> None:
    full(past, DAY * 2 + HOUR, 1)
    logs(past, DAY * 2, DAY, HOUR / 2)
    newest = full(past, HOUR * 2, 3, warnings=("one",))
    held = hold(past.settings, repositories(past), newest, "an audit", "dba")
    proof = proof_of(backup=newest, site="spoqplus")
    store_proof(past.settings, repositories(past), proof, "<p>")

    facts = gather(past.settings, past.connections)

    assert [(state.name, state.up, state.offsite, state.sets) for state in facts.repositories] == [
        ("local", True, False, 2),
        ("s3", True, True, 2),
    ]
    assert facts.counts == {"daily": 2}
    item = facts.newest_full
    assert item is not None
    assert item.details is not None
    assert (item.found.name, item.held, item.proved_at) == (newest, held.words, proof.finished_at)
    assert (item.found.count, facts.holds_3_2_1(item)) == (3, True)
    (database,) = item.details.components
    assert database.seconds == SECONDS
    assert database.stored_bytes == item.details.stored_bytes > 0
    for offsite in (False, True):
        lost = facts.lost(now(), offsite=offsite)
        assert lost is not None
        assert 1800 <= lost < 1900  # up to the second before the last log was closed
    assert [len(reach.windows) for reach in facts.reaches] == [2, 2]
    assert facts.gaps == ()
    assert facts.tests[0].verdict == "passed"
    assert facts.next["daily_backup"] is not None
    assert facts.next["weekly_backup"] is None
    assert facts.due["daily"] is not None
    assert facts.staging is not None
    assert facts.repositories[0].disk is not None
    kept = {promise.name: promise.ok for promise in promises(facts, past.settings, now())}
    assert kept == {"rpo": True, "rto": True, "copies": True, "recovery_test": False}  # its month is long over
    assert [item.code for item in findings(facts, past.settings, now())] == ["test_overdue"]


def test_a_missing_log_is_a_broken_chain_and_then_a_gap(past: Past) -> None:
    full(past, DAY * 2, 1)
    logs(past, DAY, HOUR * 20)
    logs(past, HOUR / 2, first=4)
    broken = gather(past.settings, past.connections)
    found = {item.key: item for item in findings(broken, past.settings, now())}
    assert {"chain_broken:local", "chain_broken:s3", "rpo_primary:", "rpo_offsite:", "backup_failed:"} <= set(found)
    assert "binlog.000003" in str(found["chain_broken:local"].values["words"])
    assert found["rpo_primary:"].severity == "critical"

    full(past, HOUR * 2, 4)
    mended = gather(past.settings, past.connections)

    (gap,) = mended.gaps
    assert gap.end - gap.start > HOUR * 17
    codes = {item.code for item in findings(mended, past.settings, now())}
    assert codes & {"chain_broken", "gap", "rpo_primary"} == {"gap"}


def test_a_timeline_that_was_reset_breaks_the_chain(past: Past) -> None:
    full(past, DAY, 1)
    logs(past, HOUR)
    gap = Gap(reason="reset", after="binlog.000001", words="The numbers went back.")
    logs(past, HOUR / 2, timeline="20990101_000000", gap=gap, created_at=now() - HOUR)
    facts = gather(past.settings, past.connections)
    assert {item.values.get("words") for item in findings(facts, past.settings, now())} >= {"The numbers went back."}


def test_a_repository_that_is_down_is_a_fact_and_the_others_still_count(past: Past) -> None:
    name = full(past, HOUR * 3, 1)
    logs(past, HOUR / 2)
    away = FixedConnections(s3.record("http://127.0.0.1:9", config_kwargs={"retries": {"total_max_attempts": 1}}))

    facts = gather(past.settings, away)

    assert [state.up for state in facts.repositories] == [True, False]
    assert "127.0.0.1:9" in str(facts.repository("s3").error)
    assert facts.newest_full is not None
    assert facts.newest_full.found.name == name
    assert facts.holds_3_2_1(facts.newest_full) is None
    assert facts.lost(now()) is not None
    assert facts.lost(now(), offsite=True) is None
    assert [item.key for item in findings(facts, past.settings, now())] == ["repository_down:s3"]
    copies = next(item for item in promises(facts, past.settings, now()) if item.name == "copies")
    assert (copies.ok, copies.reason) == (None, "repository_down")


def test_a_disk_that_is_not_mounted_is_down_and_not_empty(tmp_path: Path) -> None:
    past = make_past(tmp_path, **CALM)
    full(past, HOUR * 3, 1)
    (tmp_path / "repository").rename(tmp_path / "elsewhere")
    facts = gather(past.settings, past.connections)
    assert facts.blind
    assert [item.key for item in findings(facts, past.settings, now())] == ["repository_down:local"]
    assert [promise.ok for promise in promises(facts, past.settings, now())] == [None] * 4


def test_nothing_was_ever_backed_up(past: Past) -> None:
    facts = gather(past.settings, past.connections)
    assert (facts.newest_full, facts.counts, facts.lost(now())) == (None, {}, None)
    assert [item.key for item in findings(facts, past.settings, now())] == ["nothing:"]


def test_a_forged_manifest_is_no_backup(past: Past) -> None:
    good = full(past, HOUR * 9, 1)
    logs(past, HOUR / 2)
    forged = past.publish(past.repository("local"), "daily", HOUR * 8, keys=signing_pair(past.folder, "thief"))
    facts = gather(past.settings, past.connections)
    assert facts.newest_full is not None
    assert facts.newest_full.found.name == good
    assert f"unusable:{forged}" in [item.key for item in findings(facts, past.settings, now())]


def test_what_retention_deleted_is_told_by_the_repository(past: Past) -> None:
    for days in (40, 39, 2, 1):
        past.publish(past.repository("s3"), "daily", DAY * days)
    settings = past.settings.model_copy(
        update={
            "repositories": tuple(
                item.model_copy(update={"keep": item.keep.model_copy(update={"daily": 2, "weekly": 0, "monthly": 0})})
                for item in past.settings.repositories
            )
        }
    )
    plan = plan_repository(settings, past.connections, "s3", "run")
    report = carry_out(settings, past.connections, "s3", plan, "run")
    assert len(report.sets) == 2
    again = carry_out(settings, past.connections, "s3", plan, "run")  # a retry reports both, in the same place

    (deleted,) = gather(past.settings, past.connections).deletions
    assert (deleted.repository, deleted.at, deleted.sets, deleted.refused) == ("s3", plan.made_at, 2, 0)
    assert deleted.bytes == again.bytes > 0
    record = last_record(past.repository("s3"), [past.keys.public], "spoqplus")
    assert record is not None
    assert record.report.sets == report.sets
    assert len(list(past.repository("s3").list("reports/"))) == 2


def test_many_sets_cost_no_more_reads_than_a_few(past: Past, endpoint: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(gathering, "RECENT", 2)
    for days in range(4):
        full(past, DAY * days + HOUR, 1, "s3")
    with s3.faulty(endpoint) as faults:
        connections, memory = FixedConnections(s3.record(faults.endpoint)), Memory()

        def manifests() -> int:
            faults.requests.clear()
            gather(past.settings, connections, memory=memory)
            return sum(request.endswith("manifest.json") for request in faults.requests)

        assert manifests() == 2 * 2  # for the details, and for the points in time
        assert manifests() == 0
