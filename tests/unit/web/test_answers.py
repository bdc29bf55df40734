"""What the API makes of a catalogue."""

from datetime import datetime, timedelta, timezone
from pathlib import Path

import pytest

from spoqplus_backup.core.monitor.catalogue import Catalogue, Reachable
from spoqplus_backup.core.recovery.windows import Unreachable, Window
from spoqplus_backup.core.settings import load_settings
from spoqplus_backup.web import answers
from support.site_file import write_site

NOW = datetime(2026, 1, 2, 3, 5, tzinfo=timezone.utc)
MINUTE = timedelta(minutes=1)


@pytest.mark.parametrize(
    ("began", "ended", "told"),
    [
        (10, 5, 0),  # the newest backup began five minutes ago, and the log before it is archived soon
        (90, 5, 1),  # it should have been archived
        (40, 30, 1),  # a newer log was archived, this one was not
    ],
)
def test_a_log_that_is_archived_within_minutes_is_no_gap(tmp_path: Path, began: int, ended: int, told: int) -> None:
    windows = tuple(
        Window(backup=f"daily/{number}", start=NOW - start * MINUTE, end=NOW - end * MINUTE)
        for number, (start, end) in enumerate([(600, began), (5, 5)])
    )
    gap = Unreachable(start=NOW - began * MINUTE, end=NOW - ended * MINUTE, reason="no log")
    reach = Reachable(as_of=NOW, windows=windows, gaps=(gap,))
    catalogue = Catalogue(load_settings(write_site(tmp_path)), reach=reach)
    assert len(answers.timeline(catalogue, None, None)["gaps"]) == told
