"""What failovers have done is found by the next run, wherever it was noted; one failover at a time."""

from datetime import datetime, timedelta, timezone
from pathlib import Path

import pytest

from spoqplus_backup.core.dr.journal import Journal, clock_from, stories
from spoqplus_backup.core.dr.lease import NAME, hold, let_go
from spoqplus_backup.core.errors import PermanentError
from spoqplus_backup.core.repository.leases import leases_of
from spoqplus_backup.core.repository.local import LocalRepository

NOON = datetime(2026, 1, 2, 3, 0, tzinfo=timezone.utc)
RUN = "spoqplus_dr_failover/manual__2026-01-02T03:00:00+00:00"


@pytest.fixture
def places(tmp_path: Path) -> list[LocalRepository]:
    return [LocalRepository(name, tmp_path / name) for name in ("disk", "dr")]


def test_a_run_s_events_are_read_back_in_their_order(places: list[LocalRepository]) -> None:
    journal = Journal(places, RUN, NOON)
    journal.note("fence", "begun", "Seoul is gone", way="replica", nothing=None)
    journal.note("fence", "done")
    journal.note("restore.load", "failed", "no room")

    (story,) = stories(places, NOON)
    assert (story.run, story.started_at, story.is_complete) == (RUN, NOON, False)
    assert [(entry.step, entry.event) for entry in story.entries] == [
        ("fence", "begun"),
        ("fence", "done"),
        ("restore.load", "failed"),
    ]
    assert story.entries[0].detail == {"way": "replica"}
    assert {step: entry.event for step, entry in story.last.items()} == {"fence": "done", "restore.load": "failed"}
    journal.note("verify", "done")
    assert stories(places, NOON)[0].is_complete


def test_either_place_may_be_lost(places: list[LocalRepository], tmp_path: Path) -> None:
    disk, bucket = places
    (tmp_path / "in the way").write_text("a file")
    lost = LocalRepository("lost", tmp_path / "in the way")
    Journal([disk, lost], RUN, NOON).note("fence", "done")
    Journal([lost, bucket], RUN, NOON).note("health", "done")
    (story,) = stories([disk, lost, bucket], NOON)
    assert [entry.step for entry in story.entries] == ["fence", "health"]
    assert stories([disk], NOON + timedelta(seconds=1)) == [], "it began before"


def test_what_is_no_entry_is_passed_over(places: list[LocalRepository]) -> None:
    journal = Journal(places, RUN, NOON)
    journal.note("fence", "done")
    places[0].put_bytes(f"{journal.folder}/20260102T030001.000000Z-fence-done.json", b"{}")
    (story,) = stories(places, NOON)
    assert len(story.entries) == 1


def test_the_clock_goes_on_over_runs_that_were_broken_off(places: list[LocalRepository]) -> None:
    first, second, third = NOON - timedelta(hours=3), NOON - timedelta(hours=1), NOON
    Journal(places, "a/old", NOON - timedelta(hours=40)).note("fence", "done")
    Journal(places, "a/1", first).note("fence", "done")
    Journal(places, "a/2", second).note("fence", "done")
    told = stories(places, NOON - timedelta(days=7))
    assert clock_from(told, "a/3", third) == first
    assert clock_from(told, "a/2", second) == first, "a run is no earlier one of itself"
    Journal(places, "a/2", second).note("verify", "done")
    assert clock_from(stories(places, first), "a/3", third) == third, "that failover is complete: this is another"


def test_one_failover_at_a_time(places: list[LocalRepository]) -> None:
    repository = places[1]
    hold(repository, "seoul/1", lambda run: False)
    hold(repository, "seoul/1", lambda run: False)  # its next step
    with pytest.raises(PermanentError, match="seoul/1 holds .* until"):
        hold(repository, "tokyo/1", lambda run: False)
    assert [lease.run for lease in leases_of(repository, NAME)] == ["seoul/1"]

    hold(repository, "seoul/2", lambda run: run == "seoul/1")  # that run has ended without a word
    assert [lease.run for lease in leases_of(repository, NAME)] == ["seoul/2"]
    let_go(repository, "seoul/2")
    hold(repository, "tokyo/1", lambda run: False)


def test_a_repository_that_is_lost_holds_no_failover_up(tmp_path: Path) -> None:
    (tmp_path / "file").write_text("")
    hold(LocalRepository("lost", tmp_path / "file"), "seoul/1", lambda run: False)
