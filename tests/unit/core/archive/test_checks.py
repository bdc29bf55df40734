"""How far apart the archive's runs are, for the warning about the server's retention."""

import pytest

from spoqplus_backup.core.archive.checks import archive_interval
from spoqplus_backup.core.settings import Schedules, Settings


@pytest.mark.parametrize(
    ("cron", "seconds"),
    [("*/15 * * * *", 900), ("0 */6 * * *", 6 * 3600), ("0 9,17 * * *", 16 * 3600), ("0 3 * * *", 86400), (None, None)],
)
def test_the_longest_interval_counts(cron: str | None, seconds: float | None) -> None:
    settings = Settings.model_construct(schedules=Schedules(binlog_archive=cron))
    assert archive_interval(settings) == seconds
