"""The mirror of the uploads, by the real rsync: what it copies, and when it refuses to delete."""

import os
import shutil
import subprocess
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from spoqplus_backup.core.errors import BackupError, PermanentError
from spoqplus_backup.core.files.guard import GuardError
from spoqplus_backup.core.files.mirror import MARKER, mirror
from spoqplus_backup.core.process import ProcessError
from spoqplus_backup.core.run import StageSummary
from spoqplus_backup.core.settings import Settings, load_settings
from support.site_file import write_site

Mirror = Callable[..., Settings]


@pytest.fixture
def uploads(tmp_path: Path) -> Path:
    """Twenty files, a folder with a Korean name and one with a newline, links and modes."""
    source = tmp_path / "uploads"
    for number in range(20):
        (source / f"{number:02d}").mkdir(parents=True)
        (source / f"{number:02d}" / "photo.jpg").write_bytes(os.urandom(1000 + number))
    (source / "회원 사진").mkdir(mode=0o750)
    (source / "회원 사진" / "two\nlines.jpg").write_text("newline")
    (source / "empty").mkdir()
    (source / "link").symlink_to("회원 사진")
    os.link(source / "00" / "photo.jpg", source / "hard.jpg")
    (source / "01" / "photo.jpg").chmod(0o604)
    for path in source.rglob("*"):
        os.utime(path, ns=(1_500_000_000_123_456_789, 1_500_000_000_123_456_789), follow_symlinks=False)
    return source


@pytest.fixture
def site(tmp_path: Path, uploads: Path) -> Mirror:
    def make(**fields: Any) -> Settings:
        chosen = {"source": str(uploads), "target": str(tmp_path / "disk" / "uploads")} | fields
        return load_settings(write_site(tmp_path, mirror=chosen))

    (tmp_path / "disk").mkdir()
    return make


def target(settings: Settings) -> Path:
    assert settings.mirror is not None
    return settings.mirror.target


def tree(folder: Path) -> dict[str, tuple[Any, ...]]:
    """Everything below a folder but the mirror's own marker: type, mode, time, links, content."""
    found: dict[str, tuple[Any, ...]] = {}
    for path in folder.rglob("*"):
        facts = path.lstat()
        content: Any = path.readlink() if path.is_symlink() else path.read_bytes() if path.is_file() else None
        if path.name != MARKER:
            is_file = path.is_file() and not path.is_symlink()
            links = facts.st_nlink if is_file else None
            mtime = facts.st_mtime_ns if is_file else int(facts.st_mtime)  # within a second rsync leaves others alone
            found[str(path.relative_to(folder))] = (facts.st_mode, mtime, links, facts.st_uid, content)
    return found


def mirrored(settings: Settings) -> StageSummary:
    summary = mirror(settings)
    assert settings.mirror is not None
    assert tree(target(settings)) == tree(settings.mirror.source)
    return summary


def test_the_target_becomes_what_the_source_is(site: Mirror, uploads: Path) -> None:
    settings = site()
    first = mirrored(settings)
    assert first.detail["deleted"] == 0
    assert first.parts == 21  # regular files; the hard link is none of its own

    (uploads / "03" / "photo.jpg").unlink()
    (uploads / "회원 사진" / "two\nlines.jpg").unlink()
    (uploads / "04" / "photo.jpg").write_text("changed")
    (uploads / "new.jpg").write_text("new")
    second = mirrored(settings)

    assert second.detail == {"files": 45, "created": 1, "deleted": 2, "vanished": False}
    assert (second.parts, second.bytes_out) == (2, len("changed") + len("new"))


def test_names_and_links_of_the_target_stay_below_it(site: Mirror, uploads: Path) -> None:
    (uploads / "--delete").write_text("a name like an option")
    (uploads / "*?[a]").write_text("a name like a pattern")
    mirrored(site())


def test_attributes_and_access_lists_are_copied(site: Mirror, uploads: Path) -> None:
    os.setxattr(uploads / "05" / "photo.jpg", "user.camera", b"front door")
    settings = site()
    mirrored(settings)
    assert os.getxattr(target(settings) / "05" / "photo.jpg", "user.camera") == b"front door"


@pytest.mark.parametrize("share", [0.1, 0.5])
def test_more_than_the_share_is_never_deleted(site: Mirror, uploads: Path, share: float) -> None:
    settings = site(maximum_deletions=share)
    mirrored(settings)
    before = tree(target(settings))
    known = len(before) + 1  # rsync counts the root, too
    folders = sorted(path for path in uploads.iterdir() if path.name.isdigit())
    gone = 0
    while (gone + 2) <= int(known * share):
        shutil.rmtree(folders.pop())
        gone += 2
    shutil.rmtree(folders.pop())

    with pytest.raises(GuardError, match=rf"{gone + 2} of {known} files are gone .* more than {share:.0%}") as caught:
        mirror(settings)

    assert "Nothing was deleted" in str(caught.value)
    assert tree(target(settings)) == before


def test_as_much_as_the_share_is_deleted(site: Mirror, uploads: Path) -> None:
    settings = site()
    mirrored(settings)
    for name in ("00", "01"):  # 4 of 47
        shutil.rmtree(uploads / name)
    assert mirrored(settings).detail["deleted"] == 4


def emptied(uploads: Path) -> None:
    shutil.rmtree(uploads)
    uploads.mkdir()


def taken_away(uploads: Path) -> None:
    uploads.rename(uploads.with_name("elsewhere"))


def replaced_by_a_file(uploads: Path) -> None:
    taken_away(uploads)
    uploads.write_text("not a folder")


@pytest.mark.parametrize(
    ("damage", "words"),
    [(emptied, "is empty"), (taken_away, "can't be read"), (replaced_by_a_file, "can't be read")],
)
def test_a_source_that_is_not_there_deletes_nothing(
    site: Mirror, uploads: Path, damage: Callable[[Path], None], words: str
) -> None:
    settings = site(maximum_deletions=1)
    mirrored(settings)
    before = tree(target(settings))
    damage(uploads)
    with pytest.raises(GuardError, match=words):
        mirror(settings)
    assert tree(target(settings)) == before


def test_a_folder_that_became_a_file_counts_with_all_that_was_in_it(site: Mirror, uploads: Path) -> None:
    settings = site()
    for number in range(20):
        (uploads / "empty" / f"{number}\n.jpg").touch()
    mirrored(settings)
    before = tree(target(settings))
    shutil.rmtree(uploads / "empty")
    (uploads / "empty").write_text("a file now")
    with pytest.raises(GuardError, match="20 of 65 files are gone"):
        mirror(settings)
    assert tree(target(settings)) == before


def test_a_file_that_became_a_folder_is_mirrored(site: Mirror, uploads: Path) -> None:
    settings = site()
    mirrored(settings)
    (uploads / "hard.jpg").unlink()
    (uploads / "hard.jpg").mkdir()
    (uploads / "hard.jpg" / "inside").write_text("new")
    mirrored(settings)


def test_a_first_run_that_is_stopped_makes_no_mirror(site: Mirror, uploads: Path) -> None:
    settings = site()
    emptied(uploads)
    with pytest.raises(GuardError, match="is empty"):
        mirror(settings)
    assert not target(settings).exists()


def test_a_source_is_known_by_its_mount_point_and_its_marker(site: Mirror, uploads: Path) -> None:
    with pytest.raises(GuardError, match=r"Nothing is mounted at .*mirror.mount_point"):
        mirror(site(mount_point=str(uploads)))
    with pytest.raises(GuardError, match=r"lacks \.mounted"):
        mirror(site(marker=".mounted"))
    (uploads / ".mounted").touch()
    mirrored(site(marker=".mounted", mount_point="/proc"))


def test_a_target_whose_disk_is_not_mounted_is_not_filled(site: Mirror, tmp_path: Path) -> None:
    settings = site()
    mirrored(settings)
    (tmp_path / "disk").rename(tmp_path / "unplugged")
    (tmp_path / "disk" / "uploads").mkdir(parents=True)  # what is below the mount point

    with pytest.raises(GuardError, match=r"is not the mirror that was made at .* with \d+ files"):
        mirror(settings)

    assert not list((tmp_path / "disk" / "uploads").iterdir())


def test_the_folder_above_the_target_is_never_made(site: Mirror, tmp_path: Path) -> None:
    with pytest.raises(PermanentError, match="can't have the folder"):
        mirror(site(target=str(tmp_path / "not mounted" / "uploads")))
    assert not (tmp_path / "not mounted").exists()


def test_a_target_s_mount_point_is_asked_for(site: Mirror, tmp_path: Path) -> None:
    with pytest.raises(GuardError, match=r"mirror.target_mount_point"):
        mirror(site(target_mount_point=str(tmp_path / "disk")))


def test_another_folder_is_not_overwritten_by_a_first_run(site: Mirror) -> None:
    settings = site()
    target(settings).mkdir()
    for number in range(10):
        (target(settings) / f"somebody's {number}").touch()
    with pytest.raises(GuardError, match="10 of 11 files"):
        mirror(settings)
    assert len(list(target(settings).iterdir())) == 10


def test_what_is_excluded_is_left_alone(site: Mirror, uploads: Path) -> None:
    settings = site(exclude=["*.tmp"])
    target(settings).mkdir()
    (target(settings) / "kept.tmp").touch()
    (uploads / "half.tmp").touch()
    mirror(settings)
    assert (target(settings) / "kept.tmp").exists()
    assert not (target(settings) / "half.tmp").exists()


def stand_in(folder: Path, script: str, monkeypatch: pytest.MonkeyPatch) -> None:
    """Put a script before the real rsync, which it finds as $REAL."""
    real = shutil.which("rsync")
    folder.mkdir()
    program = folder / "rsync"
    program.write_text(f"#!/bin/bash\nREAL={real}\n{script}\n")
    program.chmod(0o755)
    monkeypatch.setenv("PATH", f"{folder}:{os.environ['PATH']}")


def test_files_that_vanish_while_they_are_copied_are_reported(
    site: Mirror, uploads: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    script = f'"$REAL" "$@"; echo \'file has vanished: "{uploads}/gone.jpg"\' >&2; exit 24'
    stand_in(tmp_path / "bin", script, monkeypatch)
    assert mirror(site()).detail["vanished"] is True
    assert "gone.jpg" in caplog.text


def test_a_file_that_can_t_be_copied_fails_the_mirror_but_not_the_rest(
    site: Mirror, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    stand_in(tmp_path / "bin", '"$REAL" "$@"; echo \'send_files failed to open x: denied\' >&2; exit 23', monkeypatch)
    settings = site()
    with pytest.raises(BackupError, match=r"is not whole.*failed to open x"):
        mirror(settings)
    assert (target(settings) / "00" / "photo.jpg").exists()


def test_a_source_that_is_emptied_between_the_dry_run_and_the_run_loses_no_more_than_the_share(
    site: Mirror, uploads: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    settings = site()
    mirrored(settings)
    before = len(tree(target(settings)))
    script = f"""case "$*" in *--dry-run*) exec "$REAL" "$@";; esac
find {uploads} -mindepth 1 -delete
exec "$REAL" "$@\""""
    stand_in(tmp_path / "bin", script, monkeypatch)
    with pytest.raises(GuardError, match="while it was mirrored"):
        mirror(settings)
    assert len(tree(target(settings))) >= before * 0.9


def test_rsync_s_own_words_are_in_the_error(site: Mirror, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    stand_in(tmp_path / "bin", "echo 'No space left on device (28)' >&2; exit 11", monkeypatch)
    with pytest.raises(ProcessError, match=r"rsync failed with exit status 11: No space left"):
        mirror(site())


def test_a_mirror_into_its_own_source_is_refused(site: Mirror, uploads: Path) -> None:
    with pytest.raises(PermanentError, match=r"`mirror.target` is .* which lies in the source"):
        site(target=str(uploads / "copy"))


def test_the_number_of_deletions_does_not_depend_on_names(site: Mirror, uploads: Path) -> None:
    for number in range(100):
        (uploads / f"deleting {number}\n*deleting   x").touch()
    settings = site()
    mirrored(settings)
    for number in range(5):
        (uploads / f"deleting {number}\n*deleting   x").unlink()
    assert mirrored(settings).detail["deleted"] == 5
    assert subprocess.run(["ls", "-A", target(settings)], check=True, capture_output=True).stdout.count(b"new") == 0
