"""When a disk is full."""

import pytest

from spoqplus_backup.core.monitor.growth import days_until_full, most_days
from spoqplus_backup.core.settings import KeepSettings


@pytest.mark.parametrize(
    ("free", "a_day", "daily", "held", "most", "days"),
    [
        (100, 10, 0.0, 7, 7, None),  # as much goes as comes
        (100, 10, 0.0, 7, None, 11),  # nothing ever goes
        (100, 10, 0.0, 3, 7, None),  # four more days fit
        (30, 10, 0.0, 3, 7, 4),  # they don't
        (70, 10, 0.01, 7, 7, 101),  # the seven days double
        (100, 10, -0.01, 7, 7, None),
        (100, 0, 0.0, 0, None, None),
    ],
)
def test_days(free: int, a_day: float, daily: float, held: int, most: int | None, days: int | None) -> None:
    assert days_until_full(free, a_day, daily, held, most) == days


def test_what_is_kept_at_most() -> None:
    assert most_days(KeepSettings(days=7)) == 7
    assert most_days(KeepSettings(daily=30, weekly=12, monthly=12)) == 54
    assert most_days(KeepSettings(forever=True)) is None
