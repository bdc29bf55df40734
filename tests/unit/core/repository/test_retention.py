"""What is kept and what goes, decided from facts alone: any history, any policy."""

from collections.abc import Sequence
from datetime import datetime, timedelta, timezone
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from spoqplus_backup.core.repository.retention import CLOCKS_DIFFER, plan_retention
from spoqplus_backup.core.repository.retention_model import (
    Decision,
    LogFacts,
    RepositoryFacts,
    RepositoryPlan,
    SetFacts,
    UnfinishedFacts,
    UploadFacts,
)
from spoqplus_backup.core.settings import KeepSettings, RetentionSettings

NOW = datetime(2026, 3, 1, 5, 0, tzinfo=timezone.utc)
HOUR, DAY = timedelta(hours=1), timedelta(days=1)
S3 = KeepSettings(daily=30, weekly=12, monthly=12)
LOCAL = KeepSettings(days=7, point_in_time_days=7)
LIMITS = RetentionSettings()


def backup(cadence: str, age: timedelta, **fields: Any) -> SetFacts:
    """A good full backup that took ten minutes."""
    at = NOW - age
    values = {
        "cadence": cadence,
        "id": f"{at:%Y%m%d_%H%M%S}",
        "bytes": 100,
        "started_at": at,
        "finished_at": at + timedelta(minutes=10),
        "has_database": cadence != "incremental",
    }
    return SetFacts(**(values | fields))


def binlog(number: int, age: timedelta, timeline: str = "binlog/1/20250101_000000", **fields: Any) -> LogFacts:
    return LogFacts(key=f"{timeline}/binlog.{number:06d}", bytes=1, at=NOW - age, **fields)


def plan(keep: KeepSettings = S3, now: datetime = NOW, **facts: Any) -> RepositoryPlan:
    return plan_retention(RepositoryFacts(**facts), keep, LIMITS, now)


def gone(made: RepositoryPlan) -> list[str]:
    return sorted(item.name for item in made.deletions)


def why(made: RepositoryPlan, name: str) -> tuple[bool, str, str]:
    (found,) = (item for item in made.decisions if item.name == name)
    return found.keep, found.reason, found.detail


# ---- the strategy's numbers


def test_s3_keeps_thirty_daily_twelve_weekly_twelve_monthly() -> None:
    sets = [
        *(backup("daily", DAY * days) for days in range(1, 60)),
        *(backup("weekly", DAY * 7 * weeks + HOUR) for weeks in range(1, 30)),
        *(backup("monthly", DAY * 31 * months + HOUR * 2) for months in range(1, 20)),
    ]

    made = plan(sets=sets)

    kept = {
        name: sorted(item.id for item in sets if item.name in made.kept_sets and item.cadence == name)
        for name in ("daily", "weekly", "monthly")
    }
    assert {name: len(ids) for name, ids in kept.items()} == {"daily": 30, "weekly": 12, "monthly": 12}
    assert kept["daily"] == sorted(item.id for item in sets if item.cadence == "daily")[-30:]


def test_a_disk_keeps_every_set_of_the_last_seven_days_that_have_a_good_backup() -> None:
    daily = [backup("daily", DAY * days) for days in range(1, 20)]
    noon = [backup("daily", DAY * days - HOUR * 9) for days in (3, 7, 8)]
    weekly = [backup("weekly", DAY * days - HOUR) for days in (2, 9)]

    made = plan(LOCAL, sets=[*daily, *noon, *weekly])

    assert sorted(made.kept_sets) == sorted(item.name for item in (*daily[:7], *noon[:2], weekly[0]))


def test_a_day_without_a_good_full_backup_is_not_counted() -> None:
    daily = [backup("daily", DAY * days, damaged="x" if days in (2, 4) else None) for days in range(1, 12)]
    faces = backup("daily", DAY * 0.5, has_database=False)
    made = plan(KeepSettings(days=3), sets=[*daily, faces])
    assert sorted(made.kept_sets) == sorted(item.name for item in (*daily[:5], faces))


def test_while_full_backups_fail_nothing_goes_though_logs_and_incremental_sets_are_made() -> None:
    full = [backup("daily", DAY * days) for days in range(61, 68)]
    safety = [backup("safety", DAY * days) for days in (70, 80)]
    incremental = [backup("incremental", HOUR * 6 * number, depends_on=(full[0].name,)) for number in range(1, 240)]
    failed = [backup("daily", DAY * days, damaged="database/000001") for days in range(2, 9)]
    logs = [binlog(number, DAY * (60 - number)) for number in range(1, 60)]
    for keep in (LOCAL, S3):
        assert gone(plan(keep, sets=[*full, *safety, *incremental, *failed], logs=logs)) == []


def test_without_a_good_full_backup_no_set_and_no_log_goes_and_the_plan_says_so() -> None:
    damaged = [backup("daily", DAY * days, damaged="database/000001") for days in range(20, 60)]
    doubtful = [backup("weekly", DAY * days, problem="forged") for days in (100, 200)]
    safety, incremental = backup("safety", DAY * 90), backup("incremental", DAY * 80)
    logs = [binlog(number, DAY * (300 - number)) for number in range(1, 200)]
    for keep in (LOCAL, S3):
        made = plan(keep, sets=[*damaged, *doubtful], logs=logs)
        assert (made.deletions, made.nothing_good) == ((), True)
        made = plan(keep, sets=[*damaged, *doubtful, safety, incremental], logs=logs)
        assert (made.deletions, made.nothing_good) == ((), False)
    assert plan(logs=logs).nothing_good
    assert not plan().nothing_good


def test_when_backups_stop_nothing_goes_however_long() -> None:
    daily = [backup("daily", DAY * days) for days in range(1, 8)]
    for keep in (LOCAL, S3):
        assert gone(plan(keep, now=NOW + DAY * 1000, sets=daily)) == []


def test_of_two_sets_of_one_day_the_newer_stays() -> None:
    sets = [backup("daily", DAY * 3), backup("daily", DAY * 3 + HOUR), backup("daily", DAY)]
    assert gone(plan(sets=sets)) == [sets[1].name]


def test_a_damaged_set_takes_no_good_one_s_place() -> None:
    sets = [
        backup("daily", DAY * days, damaged="database/000001.sql.zst.age" if days == 3 else None)
        for days in range(1, 6)
    ]
    made = plan(KeepSettings(daily=3), sets=sets)
    assert gone(made) == [sets[4].name]
    assert why(made, sets[2].name) == (True, "damaged", "database/000001.sql.zst.age")


def test_forever_deletes_nothing() -> None:
    sets = [backup("daily", DAY * days) for days in range(1, 90)]
    uploads = [UploadFacts(key="daily/20250101_030000/database/000001.sql.zst.age", id="1", since=NOW - DAY * 90)]
    assert gone(plan(KeepSettings(forever=True), sets=sets, uploads=uploads)) == []


# ---- what stands on others


def test_a_daily_keeps_the_weekly_that_it_stands_on() -> None:
    weekly = backup("weekly", DAY * 60)
    sets = [weekly, backup("weekly", DAY * 2), backup("daily", DAY, depends_on=(weekly.name,))]
    made = plan(KeepSettings(daily=1, weekly=1), sets=sets)
    assert why(made, weekly.name) == (True, "needed", sets[2].name)


def test_an_incremental_set_stays_as_long_as_its_logs() -> None:
    fulls = [backup("daily", DAY * days) for days in (40, 20, 1)]
    between = [backup("incremental", DAY * days, depends_on=(fulls[0].name,)) for days in (39, 35)]
    later = [backup("incremental", DAY * 19, depends_on=(fulls[1].name,))]
    made = plan(KeepSettings(daily=2), sets=[*fulls, *between, *later])
    assert gone(made) == sorted([fulls[0].name, *(item.name for item in between)])


def test_logs_stay_from_the_oldest_full_backup_in_the_window_on() -> None:
    fulls = [backup("daily", DAY * days) for days in (29, 10, 1)] + [backup("monthly", DAY * 100)]
    logs = [binlog(number, DAY * (120 - number)) for number in range(1, 120)]

    made = plan(sets=fulls, logs=logs)

    oldest = min(item.started_at for item in fulls if item.cadence == "daily")
    assert gone(made) == [item.key for item in logs if item.at < oldest - CLOCKS_DIFFER]


def test_a_disk_s_logs_lead_on_from_its_own_window_not_from_its_grandfathers() -> None:
    fulls = [*(backup("daily", DAY * days) for days in range(1, 8)), backup("monthly", DAY * 30)]
    logs = [binlog(1, DAY * 20), binlog(2, DAY * 8), binlog(3, DAY * 6)]
    assert gone(plan(LOCAL, sets=fulls, logs=logs)) == [logs[0].key, logs[1].key]


def test_when_full_backups_fail_for_long_the_logs_since_the_last_one_stay() -> None:
    full = backup("daily", DAY * 90)
    incremental = [backup("incremental", HOUR * 6 * number, depends_on=(full.name,)) for number in range(1, 300)]
    logs = [binlog(number, DAY * (92 - number)) for number in range(1, 92)]
    made = plan(sets=[full, *incremental], logs=logs)
    assert gone(made) == [logs[0].key]


def test_logs_of_a_lease_s_full_backup_stay_for_its_replay() -> None:
    sets = [backup("weekly", DAY * 50), *(backup("daily", DAY * days) for days in (9, 1))]
    logs = [binlog(1, DAY * 60), binlog(2, DAY * 45), binlog(3, HOUR)]
    assert gone(plan(sets=sets, logs=logs)) == [logs[0].key, logs[1].key]
    assert gone(plan(sets=sets, logs=logs, leases={sets[0].name: "restore"})) == [logs[0].key]


def test_without_a_full_backup_no_log_goes() -> None:
    logs = [binlog(number, DAY * 400) for number in range(1, 5)]
    assert gone(plan(sets=[backup("incremental", DAY * 200)], logs=logs)) == []


def test_a_timeline_loses_only_its_oldest_logs_so_that_there_is_no_hole() -> None:
    full = backup("daily", DAY)
    logs = [binlog(1, DAY * 50), binlog(2, DAY * 49, problem="forged"), binlog(3, DAY * 48), binlog(4, HOUR)]
    made = plan(sets=[full], logs=logs)
    assert gone(made) == [logs[0].key]
    assert why(made, logs[1].key) == (True, "untrusted", "forged")
    assert why(made, logs[2].key) == (True, "behind", "binlog.000002")


def test_the_newest_log_of_each_server_stays_for_the_archive_to_go_on_from() -> None:
    old, new = "binlog/1/20240101_000000", "binlog/1/20250101_000000"
    logs = [binlog(1, DAY * 90, old), binlog(2, DAY * 89, old), binlog(1, DAY * 80, new), binlog(2, DAY * 79, new)]
    logs.append(binlog(9, DAY * 99, "binlog/2/20230101_000000"))
    made = plan(sets=[backup("daily", DAY)], logs=logs)
    assert gone(made) == sorted(item.key for item in logs[:3])


# ---- the nevers, one by one


@pytest.mark.parametrize(
    ("fields", "facts", "reason"),
    [
        ({"problem": "not signed"}, {}, "untrusted"),
        ({"locked_until": NOW + DAY}, {}, "locked"),
        ({}, {"holds": "audit"}, "hold"),
        ({}, {"leases": "restore, run"}, "lease"),
    ],
)
def test_what_stays_whatever_the_rules_say(fields: dict[str, Any], facts: dict[str, str], reason: str) -> None:
    old = backup("daily", DAY * 300, **fields)
    new = [backup("daily", DAY * days) for days in range(1, 4)]
    made = plan(KeepSettings(daily=1), sets=[old, *new], **{name: {old.name: words} for name, words in facts.items()})
    assert why(made, old.name)[:2] == (True, reason)
    assert new[0].name in made.kept_sets
    assert new[2].name not in made.kept_sets or reason == "untrusted"


def test_a_lock_that_ran_out_and_a_set_that_is_old_enough_are_no_reasons() -> None:
    old = backup("daily", DAY * 300, locked_until=NOW - HOUR)
    assert gone(plan(KeepSettings(daily=1), sets=[old, backup("daily", DAY)])) == [old.name]


def test_younger_than_the_minimum_age_stays() -> None:
    sets = [backup("daily", HOUR * hours) for hours in (1, 2, 23, 26)]
    assert gone(plan(KeepSettings(daily=1), sets=sets)) == [sets[3].name]


def test_the_newest_good_database_stays_below_newer_sets_without_one() -> None:
    full = backup("weekly", DAY * 100)
    newer = [
        backup("weekly", DAY * 10, has_database=False),
        backup("daily", DAY * 5, damaged="x"),
        backup("safety", DAY * 4),
    ]
    made = plan(KeepSettings(daily=1, weekly=1), sets=[full, *newer])
    assert why(made, full.name) == (True, "newest_full", "")
    assert made.newest == full.name
    assert plan(sets=newer).newest == newer[2].name
    assert plan().newest is None


def test_what_an_untrusted_set_may_stand_on_stays() -> None:
    base, other = backup("weekly", DAY * 100), backup("weekly", DAY * 107)
    doubtful = backup("daily", DAY * 98, problem="cut off")
    made = plan(
        KeepSettings(daily=1, weekly=1), sets=[base, other, doubtful, backup("weekly", DAY), backup("daily", DAY)]
    )
    assert gone(made) == [other.name]
    assert why(made, base.name) == (True, "may_be_needed", doubtful.name)


def test_a_set_of_a_wrong_clock_counts_for_nothing_stays_and_is_named() -> None:
    sets = [backup("daily", DAY * days) for days in range(1, 6)]
    ahead = backup("daily", -DAY * 400)
    logs = [binlog(number, DAY * (50 - number)) for number in range(1, 50)]
    logs.append(binlog(50, HOUR))
    for keep in (KeepSettings(daily=3), KeepSettings(days=3), KeepSettings(daily=3, days=2, point_in_time_days=2)):
        without = plan(keep, sets=sets, logs=logs)
        made = plan(keep, sets=[*sets, ahead], logs=logs)
        assert gone(made) == gone(without)
        assert made.newest == sets[0].name
        assert made.share == without.share
        assert why(made, ahead.name) == (True, "future", f"{ahead.finished_at:%Y-%m-%d %H:%M} UTC")


def test_a_set_that_was_stored_before_it_was_made_is_of_a_wrong_clock_for_ever() -> None:
    ahead = backup("daily", DAY * 2, stored_at=NOW - DAY * 90)
    sets = [backup("daily", DAY * days) for days in (1, 3, 4)]
    made = plan(KeepSettings(daily=2), sets=[*sets, ahead])
    assert why(made, ahead.name)[:2] == (True, "future")
    assert gone(made) == [sets[2].name]


def test_clocks_that_differ_a_little_are_no_wrong_clocks() -> None:
    ahead = backup("daily", -HOUR * 0.7, stored_at=NOW - HOUR * 0.1)
    made = plan(KeepSettings(daily=1), sets=[ahead, backup("daily", DAY * 3)])
    assert made.newest == ahead.name


def test_a_set_of_a_clock_that_was_late_is_as_young_as_when_it_was_stored() -> None:
    late, new = backup("daily", DAY * 4000, stored_at=NOW - HOUR), backup("daily", DAY)
    assert why(plan(KeepSettings(daily=1), sets=[late, new]), late.name)[:2] == (True, "young")
    stored = late.model_copy(update={"stored_at": NOW - DAY * 2})
    assert gone(plan(KeepSettings(daily=1), sets=[stored, new])) == [late.name]


def test_what_a_set_of_a_wrong_clock_needs_stays() -> None:
    base = backup("weekly", DAY * 90)
    ahead = backup("daily", -DAY * 90, depends_on=(base.name,))
    made = plan(KeepSettings(daily=1, weekly=1), sets=[base, backup("weekly", DAY), backup("daily", DAY), ahead])
    assert why(made, base.name) == (True, "needed", ahead.name)


def test_a_cadence_without_a_rule_stays() -> None:
    sets = [backup("yearly", DAY * days) for days in (900, 500)]
    assert gone(plan(sets=[*sets, backup("daily", DAY)])) == []


# ---- what nobody ended


def test_unfinished_sets_and_broken_uploads_go_after_two_days() -> None:
    def left(name: str, age: timedelta, **fields: Any) -> UnfinishedFacts:
        return UnfinishedFacts(name=name, bytes=5, touched_at=NOW - age, **fields)

    unfinished = [
        left("daily/20260226_030000", HOUR * 49),
        left("daily/20260225_030000", HOUR * 49, under_way=True),
        left("daily/20260224_030000", HOUR * 99, locked_until=NOW + DAY),
        left("daily/20260228_030000", HOUR * 47),
        left("daily/20260223_030000", HOUR * 99),
    ]
    uploads = [UploadFacts(key=f"daily/x/{age}", id="u", since=NOW - HOUR * age) for age in (47, 49)]
    made = plan(unfinished=unfinished, uploads=uploads, leases={"daily/20260223_030000": "copy"})
    assert gone(made) == ["daily/20260226_030000", "daily/x/49"]
    assert made.share == 0  # nothing that could be restored goes


# ---- how much at once


def test_more_than_the_share_needs_a_person() -> None:
    sets = [backup("daily", DAY * days) for days in range(1, 11)]
    assert plan(KeepSettings(daily=8), sets=sets).share == pytest.approx(0.2)
    assert not plan(KeepSettings(daily=8), sets=sets).needs_approval
    assert not plan(KeepSettings(daily=7), sets=sets).needs_approval
    assert plan(KeepSettings(daily=6), sets=sets).needs_approval


def test_what_goes_on_any_day_needs_nobody() -> None:
    sets = [backup("daily", DAY * days) for days in (1, 2, 3)]
    assert gone(plan(KeepSettings(daily=2), sets=sets)) == [sets[2].name]
    assert not plan(KeepSettings(daily=2), sets=sets).needs_approval


def test_many_incremental_sets_hide_no_full_backups() -> None:
    full = [backup("daily", DAY * days) for days in range(1, 7)]
    incremental = [backup("incremental", HOUR * hours, depends_on=(full[0].name,)) for hours in range(1, 20)]
    made = plan(KeepSettings(daily=3), sets=[*full, *incremental])
    assert made.share == pytest.approx(0.5)


def test_a_window_that_was_set_too_short_needs_a_person() -> None:
    full = [backup("daily", DAY * days) for days in range(1, 31)]
    logs = [binlog(number, DAY * 30 - HOUR * number) for number in range(1, 24 * 29)]
    made = plan(KeepSettings(daily=30, point_in_time_days=1), sets=full, logs=logs)
    assert made.share > 0.9
    assert made.needs_approval
    assert not plan(sets=full, logs=logs).needs_approval


# ---- any history, any policy

CADENCES = ("daily", "weekly", "monthly", "safety", "incremental", "yearly")
MOMENTS = st.integers(0, 24 * 80).map(lambda hours: HOUR * hours)
AGES = st.one_of(MOMENTS, MOMENTS, MOMENTS, st.integers(-24 * 800, 0).map(lambda hours: HOUR * hours))


@st.composite
def histories(draw: st.DrawFn) -> RepositoryFacts:
    """Sets that stand on older ones, logs of some timelines, and everything that keeps or spoils them."""
    sets: dict[str, SetFacts] = {}
    logs = [
        binlog(
            number,
            draw(MOMENTS),
            f"binlog/{server}/2025010{timeline}_000000",
            problem=draw(st.sampled_from([None] * 9 + ["forged"])),
            locked_until=draw(st.sampled_from([None] * 9 + [NOW + DAY])),
        )
        for server in (1, 2)
        for timeline in range(draw(st.integers(0, 2)))
        for number in range(1, draw(st.integers(1, 6)))
    ]
    for age in sorted(draw(st.lists(AGES, max_size=14)), reverse=True):
        cadence = draw(st.sampled_from(CADENCES))
        doubtful = draw(st.integers(0, 9)) == 0
        older = [name for name in sets if sets[name].started_at < NOW - age]
        needs = draw(st.lists(st.sampled_from(older), max_size=2)) if older else []
        made = backup(
            cadence,
            age,
            bytes=draw(st.integers(0, 1000)),
            finished_at=NOW - age + HOUR * draw(st.integers(0, 9)),
            stored_at=draw(st.one_of(st.none(), st.just(NOW - age + HOUR * 9), MOMENTS.map(lambda age: NOW - age))),
            has_database=cadence != "incremental" and draw(st.booleans()),
            problem="forged" if doubtful else None,
            damaged=None if doubtful else draw(st.sampled_from([None] * 5 + ["database/000001"])),
            depends_on=tuple(needs),
            logs=tuple(item.key for item in draw(st.lists(st.sampled_from(logs), max_size=2)))
            if logs and cadence == "incremental"
            else (),
            locked_until=draw(st.sampled_from([None] * 5 + [NOW + DAY, NOW - DAY])),
        )
        sets[made.name] = made
    names = sorted(sets)
    some = st.lists(st.sampled_from(names), max_size=2) if names else st.just([])
    return RepositoryFacts(
        sets=tuple(sets.values()),
        logs=tuple(logs),
        holds=dict.fromkeys(draw(some), "audit"),
        leases=dict.fromkeys(draw(some), "restore"),
        unfinished=tuple(
            UnfinishedFacts(
                name=f"daily/{number}", bytes=1, touched_at=NOW - draw(MOMENTS), under_way=draw(st.booleans())
            )
            for number in range(draw(st.integers(0, 2)))
        ),
        uploads=tuple(
            UploadFacts(key=f"daily/x/{number}", id="u", since=NOW - draw(MOMENTS))
            for number in range(draw(st.integers(0, 2)))
        ),
    )


POLICIES = st.builds(
    KeepSettings,
    days=st.one_of(st.none(), st.integers(1, 40)),
    daily=st.integers(1, 10),
    weekly=st.integers(0, 5),
    monthly=st.integers(0, 3),
    safety_days=st.integers(1, 40),
    point_in_time_days=st.integers(1, 40),
)
LIMITED = st.builds(RetentionSettings, minimum_age_hours=st.integers(1, 100), unfinished_hours=st.integers(1, 100))


def after(facts: RepositoryFacts, made: RepositoryPlan) -> RepositoryFacts:
    """What is left when a plan was carried out."""
    went = {(item.kind, item.name) for item in made.deletions}
    return facts.model_copy(
        update={
            "sets": tuple(item for item in facts.sets if ("set", item.name) not in went),
            "logs": tuple(item for item in facts.logs if ("log", item.key) not in went),
            "unfinished": tuple(item for item in facts.unfinished if ("unfinished", item.name) not in went),
            "uploads": tuple(item for item in facts.uploads if ("upload", item.key) not in went),
        }
    )


def is_ahead(item: SetFacts) -> bool:
    return item.dated_at > min(NOW, item.stored_at or NOW) + CLOCKS_DIFFER


def newest(items: Sequence[SetFacts]) -> str | None:
    return max(items, key=lambda item: (item.started_at, item.id, item.cadence)).name if items else None


@settings(max_examples=200, deadline=None)
@given(facts=histories(), keep=POLICIES, limits=LIMITED)
def test_the_nevers_hold(facts: RepositoryFacts, keep: KeepSettings, limits: RetentionSettings) -> None:
    made = plan_retention(facts, keep, limits, NOW)
    went = {item.name for item in made.deletions}
    good = [item for item in facts.sets if item.is_good and not is_ahead(item)]

    for cadence in CADENCES:
        assert newest([item for item in good if item.cadence == cadence]) not in went
    assert newest([item for item in good if item.is_full]) not in went
    for item in facts.sets:
        if item.name not in went:
            assert not went & set(item.depends_on)
            assert not went & set(item.logs)
            continue
        assert item.is_trusted
        assert not is_ahead(item)
        assert NOW - max(item.dated_at, item.stored_at or item.dated_at) >= timedelta(hours=limits.minimum_age_hours)
        assert item.name not in facts.holds
        assert item.name not in facts.leases
        assert item.locked_until is None or item.locked_until <= NOW
        assert item.cadence != "yearly"
    fulls = [item for item in good if item.is_full]
    if not fulls:
        assert not any(item.kind == "log" or item.name.startswith("incremental/") for item in made.deletions)
    if keep.days is not None:
        newest_days = sorted({item.id[:8] for item in fulls})[-keep.days :]
        assert not any(item.name in went for item in good if item.is_full and item.id[:8] in newest_days)
        assert len(newest_days) == keep.days or all(
            item.cadence in ("safety", "incremental") for item in good if item.name in went
        )
    latest = max((item.started_at for item in fulls), default=NOW)
    counted = [item for item in facts.sets if not is_ahead(item)]
    rollable = [
        item
        for item in counted
        if item.is_full and item.name not in went and item.started_at >= latest - DAY * keep.point_in_time_days
    ]
    for log in facts.logs:
        if log.key in went:
            assert log.problem is None
            assert log.locked_until is None or log.locked_until <= NOW
            assert NOW - log.at >= timedelta(hours=limits.minimum_age_hours)
            assert all(log.at < item.started_at for item in rollable)
            assert any(item.name not in went for item in fulls)
    if made.nothing_good:
        assert newest(good) is None
        assert not any(item.kind in ("set", "log") for item in made.deletions)


@settings(max_examples=100, deadline=None)
@given(facts=histories(), keep=POLICIES, limits=LIMITED)
def test_a_wrong_clock_changes_nothing_for_what_it_does_not_need(
    facts: RepositoryFacts, keep: KeepSettings, limits: RetentionSettings
) -> None:
    plain = tuple(item.model_copy(update={"depends_on": (), "logs": ()}) for item in facts.sets if item.is_trusted)
    with_it = facts.model_copy(update={"sets": plain})
    without = facts.model_copy(update={"sets": tuple(item for item in plain if not is_ahead(item))})
    made, expected = (plan_retention(given, keep, limits, NOW) for given in (with_it, without))
    assert made.deletions == expected.deletions
    assert made.newest == expected.newest


@settings(max_examples=150, deadline=None)
@given(facts=histories(), keep=POLICIES, limits=LIMITED)
def test_running_twice_changes_nothing(facts: RepositoryFacts, keep: KeepSettings, limits: RetentionSettings) -> None:
    made = plan_retention(facts, keep, limits, NOW)
    assert plan_retention(after(facts, made), keep, limits, NOW).deletions == ()


@settings(max_examples=80, deadline=None)
@given(facts=histories(), keep=POLICIES, limits=LIMITED, random=st.randoms())
def test_the_plan_is_the_same_for_the_same_things(
    facts: RepositoryFacts, keep: KeepSettings, limits: RetentionSettings, random: Any
) -> None:
    def shuffled(items: Sequence[Any]) -> tuple[Any, ...]:
        return tuple(random.sample(list(items), len(items)))

    mixed = facts.model_copy(update={name: shuffled(getattr(facts, name)) for name in ("sets", "logs", "unfinished")})

    def decisions(made: RepositoryPlan) -> list[Decision]:
        return sorted(made.decisions, key=lambda item: (item.kind, item.name))

    first, second = (decisions(plan_retention(given, keep, limits, NOW)) for given in (facts, mixed))
    assert [(item.kind, item.name, item.keep) for item in first] == [
        (item.kind, item.name, item.keep) for item in second
    ]


@settings(max_examples=100, deadline=None)
@given(facts=histories(), keep=POLICIES, limits=LIMITED)
def test_everything_has_one_decision_and_timelines_have_no_hole(
    facts: RepositoryFacts, keep: KeepSettings, limits: RetentionSettings
) -> None:
    made = plan_retention(facts, keep, limits, NOW)
    there = [
        *(("set", item.name) for item in facts.sets),
        *(("log", item.key) for item in facts.logs),
        *(("unfinished", item.name) for item in facts.unfinished),
        *(("upload", item.key) for item in facts.uploads),
    ]
    assert sorted((item.kind, item.name) for item in made.decisions) == sorted(there)
    kept = {item.name for item in made.decisions if item.kind == "log" and item.keep}
    for timeline in {item.timeline for item in facts.logs}:
        stays = [
            item.key in kept for item in sorted(facts.logs, key=lambda item: item.number) if item.timeline == timeline
        ]
        assert stays == sorted(stays)
    for server in ("binlog/1/", "binlog/2/"):
        own = [item for item in facts.logs if item.key.startswith(server)]
        if own:
            assert max(own, key=lambda item: (item.timeline, item.number)).key in kept


@settings(max_examples=100, deadline=None)
@given(facts=histories(), data=st.data(), limits=LIMITED)
def test_the_newest_good_set_anywhere_loses_no_copy_in_any_repository(
    facts: RepositoryFacts, data: st.DataObject, limits: RetentionSettings
) -> None:
    """Each repository has some of the sets, each of them good or not, and a policy of its own."""
    site = []
    for _ in range(data.draw(st.integers(1, 3))):
        there = [item for item in facts.sets if data.draw(st.booleans())]
        spoilt = [data.draw(st.sampled_from([None] * 3 + ["database/000001"])) for _ in there]
        copies = tuple(
            item.model_copy(update={"damaged": item.damaged or lacking})
            for item, lacking in zip(there, spoilt, strict=True)
        )
        site.append(facts.model_copy(update={"sets": copies}))
    good = [item for each in site for item in each.sets if item.is_good and not is_ahead(item)]
    named = {newest(good), newest([item for item in good if item.is_full])}
    for each in site:
        made = plan_retention(each, data.draw(POLICIES), limits, NOW)
        good_here = {item.name for item in each.sets if item.is_good and not is_ahead(item)}
        assert not named & good_here & {item.name for item in made.deletions}


@settings(max_examples=100, deadline=None)
@given(facts=histories(), keep=POLICIES, limits=LIMITED, days=st.lists(st.integers(1, 400), max_size=12))
def test_an_outage_deletes_nothing(
    facts: RepositoryFacts, keep: KeepSettings, limits: RetentionSettings, days: list[int]
) -> None:
    """Full backups are missing or damaged, everything else goes on: what was kept before the outage stays."""
    plain = facts.model_copy(update={"holds": {}, "leases": {}})
    before = NOW + DAY * 1200
    kept = after(plain, plan_retention(plain, keep, limits, before))
    made_since = [
        backup(cadence, DAY * -(1200 + day), damaged="database/000001" if cadence == "daily" else None)
        for day in days
        for cadence in ("daily", "incremental", "safety")
    ]
    logs = [
        binlog(100 + number, DAY * -(1200 + day), "binlog/1/20260101_000000") for number, day in enumerate(sorted(days))
    ]
    later = kept.model_copy(update={"sets": (*kept.sets, *made_since), "logs": (*kept.logs, *logs)})
    reasons = {item.name: item.reason for item in plan_retention(kept, keep, limits, before).decisions}
    made = plan_retention(later, keep, limits, before + DAY * 500)
    # a newer safety backup may take the place of one that stayed as the newest alone, and of what only that one needed
    replaced = ("newest", "needed")
    assert not {item.name for item in kept.sets if item.is_good and reasons[item.name] not in replaced} & {
        item.name for item in made.deletions
    }


@settings(max_examples=80, deadline=None)
@given(facts=histories(), keep=POLICIES, limits=LIMITED, hours=st.integers(1, 2000))
def test_time_alone_deletes_no_set_that_a_rule_keeps(
    facts: RepositoryFacts, keep: KeepSettings, limits: RetentionSettings, hours: int
) -> None:
    plain = facts.model_copy(update={"holds": {}, "leases": {}})
    plain = plain.model_copy(
        update={"sets": tuple(item.model_copy(update={"locked_until": None}) for item in plain.sets)}
    )
    later = NOW + DAY * 1200  # no clock is ahead of that
    first = plan_retention(plain, keep, limits, later)
    assert plan_retention(after(plain, first), keep, limits, later + HOUR * hours).deletions == ()
