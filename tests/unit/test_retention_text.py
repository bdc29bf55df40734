"""The plan of a retention as a person reads it."""

from datetime import datetime, timedelta, timezone
from typing import Any, get_args

import pytest

from spoqplus_backup.core.repository.retention_model import Decision, Reason, RepositoryPlan
from spoqplus_backup.core.retention.report import RetentionReport
from spoqplus_backup.core.settings import Settings
from spoqplus_backup.message_files import texts
from spoqplus_backup.retention_text import plan_markdown, problems, report_markdown, why_kept

MOMENT = datetime(2026, 1, 2, 18, 0, tzinfo=timezone.utc)
RECIPIENT = "age1ymxyng7j0w4d88k3ql9rxtjvdf6c9yk7ahlkhftpxheasrr0j4eshggk8g"  # nobody has the private half


@pytest.fixture
def settings() -> Settings:
    return Settings.model_validate(
        {"language": "en", "encryption": {"recipients": [RECIPIENT]}, "signing": {"public_key_files": ["signing.pub"]}}
    )


def decision(name: str, *, keep: bool, reason: str, **fields: Any) -> Decision:
    values = {"kind": "set", "name": name, "keep": keep, "reason": reason, "bytes": 1 << 20, "at": MOMENT}
    return Decision.model_validate(values | fields)


def plan(*decisions: Decision) -> RepositoryPlan:
    return RepositoryPlan(made_at=MOMENT, decisions=decisions, maximum_share=0.3)


def test_every_reason_is_said_in_both_languages() -> None:
    assert {f"retention.reason.{reason}" for reason in get_args(Reason)} <= texts().keys()


def test_what_goes_stands_first_each_with_its_reason_in_local_time(settings: Settings) -> None:
    made = plan(
        decision("daily/20260103_030000", keep=True, reason="daily", detail="1/30"),
        decision("daily/20250101_030000", keep=False, reason="expired"),
        decision("weekly/20250101_040000", keep=False, reason="expired"),
        decision("daily/20250102_030000", keep=True, reason="hold", detail="audit | kim"),
    )
    lines = plan_markdown(settings, "s3", made).splitlines()
    assert lines[0] == "### spoqplus retention of s3"
    assert "2 to delete (2.0 MiB), 2 to keep. That is 50% (30% without approval)." in lines
    assert "**More than may be deleted without approval: a person has to agree.**" in lines
    rows = [line for line in lines if line.startswith("| `")]
    assert rows == [
        "| `daily/20250101_030000` | 2026-01-03 03:00 | 1.0 MiB | no rule keeps it any more |",
        "| `weekly/20250101_040000` | 2026-01-03 03:00 | 1.0 MiB | no rule keeps it any more |",
        "| `daily/20260103_030000` | 2026-01-03 03:00 | 1.0 MiB | daily 1/30 |",
        "| `daily/20250102_030000` | 2026-01-03 03:00 | 1.0 MiB | held: audit \\| kim |",
    ]


def test_logs_of_a_timeline_that_share_a_reason_are_one_line(settings: Settings) -> None:
    logs = [
        decision(
            f"binlog/1/20250101_000000/binlog.{number:06d}",
            kind="log",
            keep=number > 3,
            reason="point_in_time" if number > 3 else "not_needed",
            detail="daily/20260101_030000",
            at=MOMENT + timedelta(minutes=number),
        )
        for number in range(1, 6)
    ]
    rows = [line for line in plan_markdown(settings, "s3", plan(*logs)).splitlines() if line.startswith("| `")]
    assert rows == [
        "| `binlog/1/20250101_000000` binlog.000001 – 000003 (3) | 2026-01-03 03:03 | 3.0 MiB | before the "
        "point-in-time window (from daily/20260101_030000 on) |",
        "| `binlog/1/20250101_000000` binlog.000004 – 000005 (2) | 2026-01-03 03:05 | 2.0 MiB | point-in-time window "
        "(from daily/20260101_030000 on) |",
    ]


def test_the_ui_shows_some_and_says_how_many_more(settings: Settings) -> None:
    made = plan(*(decision(f"daily/{number}", keep=False, reason="expired") for number in range(10)))
    lines = plan_markdown(settings, "s3", made, most_rows=3).splitlines()
    assert sum(line.startswith("| `") for line in lines) == 3
    assert "| and 7 more | | | |" in lines


def test_what_can_not_be_trusted_is_named(settings: Settings) -> None:
    made = plan(
        decision("daily/1", keep=True, reason="untrusted", detail="not signed"),
        decision("daily/2", keep=True, reason="damaged", detail="database/000001"),
        decision("daily/3", keep=True, reason="daily"),
        decision("daily/4", keep=True, reason="future", detail="2030-01-02 03:00 UTC"),
    ).model_copy(update={"newest": "daily/3"})
    assert problems(settings, made) == [
        "daily/1: can't be read or trusted, so it is never deleted: not signed",
        "daily/2: damaged: it lacks database/000001",
        "daily/4: a wrong clock dated it 2030-01-02 03:00 UTC: it counts for nothing and stays",
    ]
    assert why_kept(made) == {"untrusted": 1, "damaged": 1, "daily": 1, "future": 1}


def test_that_nothing_could_be_restored_is_said_first(settings: Settings) -> None:
    made = plan(decision("daily/1", keep=True, reason="damaged", detail="database/000001"))
    said = "No backup here could be restored, so no log and no set goes: make a full backup now."
    assert f"**{said}**" in plan_markdown(settings, "s3", made)
    assert problems(settings, made)[0] == said
    unread = made.model_copy(update={"unread": ("dr",)})
    assert "**dr can't be reached: holds that only it has are not known.**" in plan_markdown(settings, "s3", unread)
    assert problems(settings, unread)[1] == "dr can't be reached: holds that only it has are not known."
    assert said not in plan_markdown(settings, "s3", made.model_copy(update={"newest": "daily/2"}))


def test_the_report_names_what_went_and_what_did_not(settings: Settings) -> None:
    report = RetentionReport(
        repository="s3",
        url="s3://bucket",
        sets=("daily/1",),
        logs=1200,
        bytes=3 << 30,
        refused=("daily/2 is refused",),
        spared=("daily/3: hold",),
    )
    assert report_markdown(settings, [report]).splitlines() == [
        "- s3: deleted 1 sets, 1,200 logs, 0 unfinished sets, 0 broken uploads, 0 face images; 3.0 GiB freed",
        "  - `daily/1`",
        "  - ⚠️ daily/2 is refused",
        "  - ⚠️ daily/3: hold",
    ]
    many = report.model_copy(update={"sets": tuple(f"daily/{number}" for number in range(10))}).shortened(2, 4)
    assert report_markdown(settings, [many]).splitlines() == [
        "- s3: deleted 10 sets, 1,200 logs, 0 unfinished sets, 0 broken uploads, 0 face images; 3.0 GiB freed",
        "  - `dail`",
        "  - `dail`",
        "  - ⚠️ dail",
        "  - ⚠️ dail",
        "  - and 8 more",
    ]


def test_a_reason_in_the_table_is_one_short_line(settings: Settings) -> None:
    made = plan(decision("daily/1", keep=True, reason="hold", detail="because\n" * 100))
    (row,) = [line for line in plan_markdown(settings, "s3", made).splitlines() if line.startswith("| `")]
    assert row.endswith("… |")
    assert len(row) < 400
