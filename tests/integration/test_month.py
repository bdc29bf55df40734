"""A month as its repositories tell it: a folder, and a bucket of moto's, filled with what a month leaves."""

from collections.abc import Iterator
from datetime import datetime, timedelta, timezone
from pathlib import Path
from typing import Any
from zoneinfo import ZoneInfo

import pytest

from slack_sink import readable
from spoqplus_backup.core.manifest import Gap
from spoqplus_backup.core.monitor.month import Month, month_before, month_of
from spoqplus_backup.core.proof.store import store_proof
from spoqplus_backup.core.retention.journal import note_deletions
from spoqplus_backup.core.retention.report import RetentionReport
from spoqplus_backup.notifications.digest import digest_message
from spoqplus_backup.notifications.report import RunReport
from support import s3
from support.history import Past, make_past, now
from support.proofs import proof_of
from support.published import manifest_of, publish_in

pytestmark = pytest.mark.integration

DAY, HOUR, MINUTE = timedelta(days=1), timedelta(hours=1), timedelta(minutes=1)
# Four daily backups a month; of incremental ones there are only as many as something was written for.
SCHEDULES = {
    "daily_backup": "0 3 1,8,15,22 * *",
    **dict.fromkeys(("weekly_backup", "monthly_backup")),
}
SEOUL = ZoneInfo("Asia/Seoul")


@pytest.fixture(scope="module")
def endpoint() -> Iterator[str]:
    with s3.moto() as url:
        yield url


@pytest.fixture
def past(tmp_path: Path, endpoint: str) -> Past:
    return make_past(tmp_path, endpoint, prefix=f"month/{tmp_path.name}", schedules=SCHEDULES)


@pytest.fixture
def start(past: Past) -> datetime:
    return month_before(past.settings, now())[0]


@pytest.fixture
def third_day(past: Past) -> datetime:
    """When the digest of that month is made."""
    return month_before(past.settings, now())[1] + 2 * DAY + 9 * HOUR


def back_up(past: Past, at: datetime, *names: str, size: int = 1) -> str:
    name = f"daily/{at.astimezone(SEOUL):%Y%m%d_%H%M%S}"
    manifest = manifest_of(name, started_at=at, finished_at=at + 10 * MINUTE)
    (database,) = manifest.components
    parts = tuple(part.model_copy(update={"stored_bytes": part.stored_bytes * size}) for part in database.parts)
    manifest = manifest.model_copy(update={"components": (database.model_copy(update={"parts": parts}),)})
    chosen = [item.name for item in past.settings.repositories if not names or item.name in names]
    publish_in([past.repository(item) for item in chosen], past.keys.private, manifest)
    return name


def archive(past: Past, number: int, first: datetime, minutes: float, **fields: Any) -> None:
    """A log whose first transaction was at risk for so long."""
    at = first + minutes * MINUTE
    times = {"created_at": first, "first_at": first, "last_at": at - MINUTE, "closed_at": at, "archived_at": at}
    past.log(past.repository("s3"), number, now() - at, **(times | fields))


def third(start: datetime, hours: float = 0) -> datetime:
    """Noon of the third day of the month, and so much later."""
    return start + 2 * DAY + 12 * HOUR + hours * HOUR


def told(past: Past, month: Month, language: Any = "en") -> str:
    report = RunReport(
        "spoqplus", language, True, "http://airflow/run", 9.0, timezone="Asia/Seoul", dag_id="spoqplus_monthly_digest"
    )
    message = digest_message(report, month.model_dump(mode="json"))
    return readable({"text": message.text, "blocks": message.blocks})


def test_a_month_in_which_every_promise_was_kept(past: Past, start: datetime, third_day: datetime) -> None:
    for number, day in enumerate((0, 7, 14, 21)):
        back_up(past, start + day * DAY + 3 * HOUR, size=10 + number)
    archive(past, 1, third(start), 15)
    archive(past, 2, third(start, 240), 22)
    newest = back_up(past, third_day - 6 * HOUR, size=14)
    proof = proof_of(backup=newest, started_at=third_day - 27 * HOUR, finished_at=third_day - 26 * HOUR)
    store_proof(past.settings, [past.repository("local"), past.repository("s3")], proof, "<p>")

    month = month_of(past.settings, past.connections, now=third_day)

    (daily,) = month.cadences
    assert (daily.scheduled, daily.kept, daily.failed, daily.missing, daily.made) == (4, 4, 0, 0, 4)
    assert month.loss is not None
    assert (month.loss.worst_seconds, month.loss.share) == (22 * 60, 1.0)
    assert month.growth is not None
    assert month.growth.share == pytest.approx(3 / 11, abs=0.001)
    assert [test.id for test in month.tests] == [proof.id]
    assert [item.name for item in month.outlooks] == ["staging", "local"]
    assert month.is_good
    said = told(past, month)
    assert f"✅ spoqplus backups in {start.astimezone(SEOUL):%Y-%m}: every promise was kept" in said
    assert "Loss of data (RPO): ✅ 22 min 0 s at its worst" in said
    assert "within it for 100% of the time" in said
    assert "Recovery tests: ✅ 1 passed · 0 failed" in said
    assert "3-2-1 (now): ✅ 3 copies" in said
    assert "✅ Daily: 4 of 4 · 0 failed · 0 missing · sets made: 4" in said
    assert "약속을 모두 지켰습니다" in told(past, month, "ko")


def test_what_retention_deleted_was_made_and_what_was_never_published_failed(
    past: Past, start: datetime, third_day: datetime
) -> None:
    kept = back_up(past, start + 3 * HOUR, "s3")
    gone = f"daily/{start.astimezone(SEOUL) + 7 * DAY:%Y%m%d}_030002"
    unfinished = f"daily/{start.astimezone(SEOUL) + 14 * DAY:%Y%m%d}_030002"
    report = RetentionReport(repository="s3", url="s3://x", sets=(gone,), unfinished=(unfinished,), bytes=5 << 30)
    note_deletions(past.settings, past.repository("s3"), "run", start + 20 * DAY, report)
    note_deletions(past.settings, past.repository("s3"), "before", start - DAY, report.model_copy(update={"bytes": 9}))

    month = month_of(past.settings, past.connections, now=third_day)

    (daily,) = month.cadences
    assert kept.startswith("daily/")
    assert (daily.scheduled, daily.kept, daily.failed, daily.missing) == (4, 2, 1, 1)
    assert (month.deleted, month.freed) == (1, 5 << 30)
    assert not month.is_good
    assert "⚠️ Daily: 2 of 4 · 1 failed · 1 missing · sets made: 2" in told(past, month)
    assert "Deleted by retention: 1 sets, 5.0 GiB freed" in told(past, month)


def test_an_outage_of_the_archive_is_a_loss_until_a_log_or_a_backup_holds_it(
    past: Past, start: datetime, third_day: datetime
) -> None:
    back_up(past, start + 3 * HOUR, "s3")
    archive(past, 1, third(start), 15)
    archive(past, 2, third(start, 1), 5 * 60)  # five hours
    back_up(past, third(start, 100), "s3")
    archive(past, 3, third(start, 98), 60 * 60, last_at=third(start, 99))  # the backup was there sooner
    archive(past, 4, third(start, 200), 9 * 60)
    back_up(past, third(start, 204), "s3")  # has the first four hours of it

    loss = month_of(past.settings, past.connections, now=third_day).loss

    assert loss is not None
    assert loss.worst_seconds == 5 * HOUR.total_seconds()
    assert loss.worst_at in (third(start, 6), third(start, 209))
    length = month_before(past.settings, now())[1] - loss.known_from
    assert loss.share == pytest.approx(1 - (4 + 1 + 1 / 6 + 3 + 1 / 6 + 4) * HOUR / length)


def test_behind_a_gap_only_a_full_backup_helps(past: Past, start: datetime, third_day: datetime) -> None:
    back_up(past, start + 3 * HOUR, "s3")
    gap = Gap(reason="reset", lost_from=third(start), lost_until=third(start, 1), words="reset")
    archive(past, 1, third(start, 1), 15, gap=gap)
    back_up(past, third(start, 3), "s3")

    loss = month_of(past.settings, past.connections, now=third_day).loss

    assert loss is not None
    assert loss.worst_seconds == (3 * HOUR + 10 * MINUTE).total_seconds()


def test_a_site_without_logs_loses_what_came_since_its_last_backup(
    past: Past, start: datetime, third_day: datetime
) -> None:
    back_up(past, start + 3 * HOUR, "s3")
    back_up(past, start + 27 * HOUR, "s3")
    loss = month_of(past.settings, past.connections, now=third_day).loss
    assert loss is not None
    assert loss.worst_seconds > 20 * DAY.total_seconds()
    assert loss.share < 0.1


def test_a_repository_that_is_down_is_said_and_nothing_is_known_of_an_empty_one(
    past: Past, start: datetime, third_day: datetime
) -> None:
    (past.folder / "repository").rmdir()
    month = month_of(past.settings, past.connections, now=third_day)
    assert [state.name for state in month.repositories if not state.up] == ["local"]
    assert (month.loss, month.growth, month.tests) == (None, None, ())
    said = told(past, month)
    assert "The repository local did not answer" in said
    assert "Loss of data (RPO): ⚠️ not known" in said
    assert not month.is_good


@pytest.mark.parametrize(
    ("moment", "first", "last"),
    [
        ("2026-03-03T00:00:00+09:00", "2026-02-01T00:00:00+09:00", "2026-03-01T00:00:00+09:00"),
        ("2026-01-01T00:00:01+09:00", "2025-12-01T00:00:00+09:00", "2026-01-01T00:00:00+09:00"),
        ("2026-02-28T20:00:00+00:00", "2026-02-01T00:00:00+09:00", "2026-03-01T00:00:00+09:00"),
    ],
)
def test_the_month_before_is_the_site_s(past: Past, moment: str, first: str, last: str) -> None:
    found = month_before(past.settings, datetime.fromisoformat(moment))
    assert found == (datetime.fromisoformat(first), datetime.fromisoformat(last))
    assert found[0].tzinfo == timezone.utc
