"""The loss of data during a time, by risks that are made up."""

from datetime import datetime, timedelta, timezone

import pytest

from spoqplus_backup.core.monitor.rpo import NEVER, Risk, kept

START = datetime(2026, 3, 1, tzinfo=timezone.utc)
END = START + timedelta(hours=10)
HOUR = 3600


def at(hours: float) -> datetime:
    return START + timedelta(hours=hours)


def risk(begun: float, over: float) -> Risk:
    return at(begun), at(over)


@pytest.mark.parametrize(
    ("risks", "worst", "share"),
    [
        ([], 0, 1.0),
        ([risk(0, 0.5), risk(0.5, 1)], 0.5, 1.0),  # archived twice an hour
        ([risk(1, 4)], 3, 0.8),  # an outage: two hours beyond the promise
        ([risk(1, 4), risk(2, 4), risk(3.5, 4)], 3, 0.8),  # its later logs make it no worse
        ([risk(1, 4), risk(3, 6)], 3, 0.6),
        ([risk(8, 14)], 2, 0.9),  # not over yet
        ([(at(8), NEVER)], 2, 0.9),
        ([risk(-2, 2)], 4, 0.8),  # began before
        ([risk(-5, -1), risk(11, 12)], 0, 1.0),  # of another time
    ],
)
def test_worst_and_share(risks: list[Risk], worst: float, share: float) -> None:
    found = kept(risks, START, END, HOUR)
    assert found.worst_seconds == worst * HOUR
    assert found.share == pytest.approx(share)


def test_the_worst_moment_is_when_it_was_over() -> None:
    assert kept([risk(1, 4), risk(5, 5.2)], START, END, HOUR).worst_at == at(4)
