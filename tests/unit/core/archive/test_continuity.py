"""When a timeline goes on and when a new one is opened: the rules, one by one."""

from datetime import datetime, timedelta, timezone

import pytest

from spoqplus_backup.core.archive.continuity import Decision, Present, decide
from spoqplus_backup.core.archive.known import Known, KnownLogs
from spoqplus_backup.core.manifest import Gap
from spoqplus_backup.core.mysql.binlog import ServerLog

BEGUN = datetime(2026, 1, 2, 3, 0, tzinfo=timezone.utc)
UUID, OTHER_UUID = "3e11fa47-71ca-11e1-9e33-c80aa9429562", "4e11fa47-71ca-11e1-9e33-c80aa9429562"


def known(number: int = 5, **fields: object) -> Known:
    return Known.model_validate(
        {
            "server_id": 1,
            "uuid": UUID,
            "timeline": "000001",
            "name": f"binlog.{number:06d}",
            "created_at": BEGUN,
            "bytes": 1000,
            "cut_off": False,
            "gtids_after": "",
            "last_at": BEGUN + timedelta(minutes=5),
            "taken_at": BEGUN + timedelta(minutes=15),
        }
        | fields
    )


def decided(
    numbers: range,
    *logs: Known,
    base: str = "binlog",
    size: int = 1000,
    begun: datetime = BEGUN,
    server_id: int = 1,
    uuid: str | None = UUID,
    pending: Gap | None = None,
    purged: str | None = None,
) -> Decision:
    """For a server whose logs have these numbers, the last one being written."""
    there = [ServerLog(f"{base}.{number:06d}", size) for number in numbers]
    return decide(KnownLogs(logs=logs), Present(server_id, uuid, there, lambda name: begun, purged), None, pending)


def numbers(decision: Decision) -> list[int]:
    return [int(log.name.rpartition(".")[2]) for log in decision.logs]


def test_the_first_run_takes_every_closed_log_and_is_no_gap() -> None:
    found = decided(range(3, 7))
    assert (found.timeline, numbers(found), found.gap) == ("000001", [3, 4, 5], None)


@pytest.mark.parametrize(
    ("there", "new"),
    [
        (range(1, 9), [6, 7]),
        (range(5, 7), []),
        (range(6, 8), [6]),
        (range(6, 7), []),
    ],
    ids=["more closed logs", "nothing new", "the last archived one was purged", "all but the current were purged"],
)
def test_it_goes_on(there: range, new: list[int]) -> None:
    found = decided(there, known())
    assert (found.timeline, numbers(found), found.gap) == ("000001", new, None)


def test_a_log_that_broke_off_may_be_longer_on_the_server() -> None:
    assert decided(range(1, 8), known(cut_off=True), size=1010).gap is None
    assert decided(range(1, 8), known(cut_off=True), size=990).gap is not None


@pytest.mark.parametrize(
    ("fields", "reason", "new"),
    [
        ({"numbers": range(1, 4)}, "reset", [1, 2]),
        ({"numbers": range(1, 6)}, "reset", [1, 2, 3, 4]),
        ({"numbers": range(1, 8), "size": 999}, "reset", [1, 2, 3, 4, 5, 6]),
        ({"numbers": range(1, 8), "begun": BEGUN + timedelta(seconds=1)}, "reset", [1, 2, 3, 4, 5, 6]),
        ({"numbers": range(7, 9)}, "purged", [7]),
        ({"numbers": range(1, 8), "base": "mysql-bin"}, "history", [1, 2, 3, 4, 5, 6]),
        ({"numbers": range(1, 8), "uuid": OTHER_UUID}, "server", [6]),
    ],
    ids=["went back", "written again", "size", "beginning", "purged", "name", "uuid"],
)
def test_a_new_timeline_is_opened(fields: dict[str, object], reason: str, new: list[int]) -> None:
    found = decided(fields.pop("numbers"), known(), **fields)  # type: ignore[arg-type]
    assert found.gap is not None
    assert (found.timeline, found.gap.reason, numbers(found)) == ("000002", reason, new)
    assert found.gap.after == "binlog.000005"
    assert found.gap.lost_from == BEGUN + timedelta(minutes=5)
    assert found.gap.lost_until is None


def test_another_server_has_timelines_of_its_own_and_a_return_is_a_gap_too() -> None:
    away = decided(range(1, 4), known(), server_id=2, uuid=OTHER_UUID)
    assert away.gap is not None
    assert (away.timeline, away.gap.reason, numbers(away)) == ("000001", "server", [1, 2])
    later = known(3, server_id=2, uuid=OTHER_UUID, taken_at=BEGUN + timedelta(hours=1))
    back = decided(range(1, 8), known(), later)
    assert back.gap is not None
    assert (back.timeline, back.gap.reason, numbers(back)) == ("000002", "server", [6])


def test_a_server_without_uuid_is_not_another_one() -> None:
    assert decided(range(1, 8), known(uuid=None), uuid=None).gap is None
    assert decided(range(1, 8), known(uuid=None)).gap is None


def test_a_gap_that_was_found_stays_one_though_the_logs_look_alike_by_now() -> None:
    gap = Gap(reason="reset", after="binlog.000005", words="The logs were reset.")
    found = decided(range(1, 8), known(), pending=gap)
    assert found.gap is not None
    assert (found.timeline, found.gap.words, numbers(found)) == ("000002", gap.words, [1, 2, 3, 4, 5, 6])


@pytest.mark.parametrize(
    ("purged", "unlogged", "gap"),
    [
        (f"{UUID}:1-40", "", None),
        (f"{UUID}:1-40,\n{OTHER_UUID}:1-5", f"{OTHER_UUID}:1-5", None),
        (f"{UUID}:1-40,{OTHER_UUID}:1-9", f"{OTHER_UUID}:1-5", f"{OTHER_UUID}:6-9"),
        (f"{UUID}:1-60", "", f"{UUID}:51-60"),
        (f"{OTHER_UUID}:1-9", None, None),
        (None, "", None),
    ],
    ids=["purged logs", "there from the start", "more of it", "its own", "archived before this was asked", "MariaDB"],
)
def test_transactions_that_no_log_holds_are_a_gap(purged: str | None, unlogged: str | None, gap: str | None) -> None:
    archived = known(gtids_after=f"{UUID}:1-50", gtids_unlogged=unlogged)
    found = decided(range(5, 9), archived, purged=purged)
    assert numbers(found) == [6, 7], "none is archived twice"
    if gap is None:
        assert (found.timeline, found.gap) == ("000001", None)
        return
    assert found.gap is not None
    assert (found.timeline, found.gap.reason, found.gap.after) == ("000002", "history", "binlog.000005")
    assert f"has executed {gap} since binlog.000005" in found.gap.words
