"""When a sync may believe what it sees: the limit itself, and what is not the folder that it was."""

from pathlib import Path

import pytest

from spoqplus_backup.core.files.guard import GuardError, allowed_deletions, check_deletions, check_source
from spoqplus_backup.core.settings import SourceGuard


@pytest.mark.parametrize(
    ("known", "share", "allowed"),
    [(10, 0.1, 1), (9, 0.1, 0), (30, 0.1, 3), (29, 0.1, 2), (100, 0.07, 7), (0, 0.1, 0), (7, 0, 0), (7, 1, 7)],
)
def test_exactly_the_share_is_allowed_and_one_more_is_not(known: int, share: float, allowed: int) -> None:
    guard = SourceGuard(maximum_deletions=share)
    assert allowed_deletions(known, guard) == allowed
    check_deletions(Path("/faces"), allowed, known, guard, "faces")
    with pytest.raises(GuardError, match=rf"{allowed + 1} of {known} files are gone from /faces.*Nothing was deleted"):
        check_deletions(Path("/faces"), allowed + 1, known, guard, "faces")


def test_an_empty_mount_point_is_not_the_disk(tmp_path: Path) -> None:
    (tmp_path / "something").touch()
    with pytest.raises(GuardError, match=rf"Nothing is mounted at {tmp_path} \(`faces.mount_point`\)"):
        check_source(tmp_path, SourceGuard(mount_point=tmp_path), "faces")
    with pytest.raises(GuardError, match="Nothing is mounted at"):
        check_source(tmp_path, SourceGuard(mount_point=tmp_path / "gone"), "faces")
    check_source(tmp_path, SourceGuard(mount_point=Path("/proc"), marker="something"), "faces")
