"""Which paths are archived, and under which names."""

from datetime import datetime, timedelta, timezone
from pathlib import Path
from typing import Any

import pytest

from spoqplus_backup.core.errors import SettingsError
from spoqplus_backup.core.files.measure import measure
from spoqplus_backup.core.files.places import find_places
from spoqplus_backup.core.settings import FilesSelection


def selection(*paths: Path, **fields: Any) -> FilesSelection:
    return FilesSelection(name="uploads", paths=paths, **fields)


def test_names_are_relative_to_the_root(tmp_path: Path) -> None:
    (tmp_path / "uploads").mkdir()
    places = find_places(selection(tmp_path / "uploads"))
    assert places.names == (str(tmp_path / "uploads")[1:],)
    assert places.folders_only
    assert places.warnings == ()


def test_a_link_is_archived_with_what_it_leads_to(tmp_path: Path) -> None:
    (tmp_path / "shared").mkdir()
    (tmp_path / "uploads").symlink_to("shared")
    places = find_places(selection(tmp_path / "uploads"))
    assert places.paths == (tmp_path / "uploads", tmp_path / "shared")


def test_a_path_inside_another_one_is_archived_once(tmp_path: Path) -> None:
    (tmp_path / "a/b").mkdir(parents=True)
    (tmp_path / "link").symlink_to("a/b")
    assert find_places(selection(tmp_path / "a/b", tmp_path / "a", tmp_path / "link")).paths == (
        tmp_path / "a",
        tmp_path / "link",
    )


def test_a_missing_path_is_an_error_or_a_warning(tmp_path: Path) -> None:
    (tmp_path / "there").write_text("")
    paths = (tmp_path / "gone", tmp_path / "there")
    with pytest.raises(SettingsError, match=r"gone is not there: correct the path, mount it, or set `missing: warn`"):
        find_places(selection(*paths))

    places = find_places(selection(*paths, missing="warn"))
    assert places.paths == (tmp_path / "there",)
    assert not places.folders_only
    (warning,) = places.warnings
    assert warning.words == f"uploads: {tmp_path}/gone is not there, so it is not in the backup."

    with pytest.raises(SettingsError, match=r"none of .*gone is there"):
        find_places(selection(tmp_path / "gone", missing="warn"))


class TestMeasure:
    """How much an archive will hold."""

    def test_everything(self, tmp_path: Path) -> None:
        (tmp_path / "folder").mkdir()
        (tmp_path / "folder/a").write_bytes(bytes(100_000))
        (tmp_path / "b.tmp").write_bytes(bytes(100_000))
        with (tmp_path / "sparse").open("wb") as file:
            file.truncate(1 << 30)
        (tmp_path / "folder/cache").mkdir()
        (tmp_path / "folder/cache/a").write_bytes(bytes(100_000))
        found = measure([tmp_path], ["*.tmp", f"{tmp_path}/folder/cache"], 10)
        assert 100_000 <= found.bytes < 115_000
        assert (found.files, found.complete, found.unreadable) == (2, True, [])

    def test_what_changed(self, tmp_path: Path) -> None:
        (tmp_path / "a").write_bytes(bytes(100_000))
        soon = datetime.now(timezone.utc) + timedelta(minutes=1)
        assert measure([tmp_path], [], 10, soon).bytes < 1000
        assert measure([tmp_path], [], 10, soon - timedelta(minutes=2)).bytes > 100_000

    def test_it_ends_in_time(self, tmp_path: Path) -> None:
        for number in range(10):
            (tmp_path / str(number)).write_text("")
        assert not measure([tmp_path], [], -1).complete
