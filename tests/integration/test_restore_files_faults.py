"""What breaks in the night while files are restored: nothing is lost, and a retry goes on or what was there is back."""

import os
import shutil
import subprocess
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from spoqplus_backup.core.errors import BackupError, DiskFullError, IntegrityError, PermanentError, WrongKeyError
from spoqplus_backup.core.recovery import restore as recovery
from spoqplus_backup.core.recovery import undo
from spoqplus_backup.core.recovery.files import places, preparing, steps
from spoqplus_backup.core.recovery.files import swap as swapping
from spoqplus_backup.core.recovery.plan import RestorePlan
from support.file_sets import FileSite, make_file_site
from support.keys import age_pair
from support.killing import killed_at

pytestmark = pytest.mark.integration

OLD, NEW = {"a": "old a", "d/b": "old b", "since": "made since"}, {"a": "new a", "d/b": "new b", "d/c": "new c"}


def write(top: Path, files: dict[str, str]) -> None:
    for name, content in files.items():
        (top / name).parent.mkdir(parents=True, exist_ok=True)
        (top / name).write_text(content)


def content(top: Path) -> dict[str, str]:
    return {str(path.relative_to(top)): path.read_text() for path in top.rglob("*") if path.is_file()}


@pytest.fixture
def site(tmp_path: Path) -> FileSite:
    """Two tops, so that one can be in place and the other not; each holds something that a restore replaces."""
    site = make_file_site(tmp_path / "site")
    for top in ("one", "two/deep"):
        write(site.source / top, NEW)
        write(site.directory / "restored" / top, OLD)
    site.archive(["one", "two/deep"], part_bytes=2048)
    return site


def there(site: FileSite) -> list[dict[str, str]]:
    """What lies at the two places, when nothing lies beside them."""
    restored = site.directory / "restored"
    assert sorted(path.name for path in restored.iterdir()) == ["one", "two"]
    assert [path.name for path in (restored / "two").iterdir()] == ["deep"]
    return [content(restored / "one"), content(restored / "two/deep")]


def run(site: FileSite, plan: RestorePlan, generation: int = 1) -> None:
    steps.restore_files(site.settings, site.connections, plan, generation)
    steps.set_ownership(site.settings, plan)
    recovery.verify_restored(site.settings, site.connections, plan)


def flip(path: Path) -> None:
    data = bytearray(path.read_bytes())
    data[len(data) // 2] ^= 1
    path.write_bytes(data)


def truncate(path: Path) -> None:
    path.write_bytes(path.read_bytes()[:-1])


@pytest.mark.parametrize("damage", [flip, truncate, Path.unlink], ids=["flipped byte", "truncated", "missing"])
@pytest.mark.parametrize("name", ["000002.tar.zst.age", "index.jsonl.zst.age"])
def test_a_damaged_object_is_refused_before_anything_is_replaced(
    damage: Callable[[Path], None], name: str, site: FileSite
) -> None:
    damage(site.repository / "daily/20260101_000001/uploads" / name)
    with pytest.raises(IntegrityError, match=name):
        site.restore()
    assert there(site) == [OLD, OLD]


@pytest.mark.parametrize("damage", [flip, truncate, Path.unlink], ids=["flipped byte", "truncated", "missing"])
def test_a_part_that_is_damaged_after_it_was_fetched(damage: Callable[[Path], None], site: FileSite) -> None:
    plan = site.plan()
    site.fetch(plan)
    (part,) = site.settings.staging.directory.rglob("000003.tar.zst.age")
    damage(part)
    with pytest.raises(IntegrityError):
        run(site, plan)
    assert content(site.directory / "restored/one") == OLD
    site.fetch(plan)
    run(site, plan)
    assert there(site) == [NEW, NEW]


def test_a_wrong_key(site: FileSite, tmp_path: Path) -> None:
    plan = site.plan()
    site.fetch(plan)
    shutil.copy(age_pair(tmp_path, "stranger").identity_file, site.settings.encryption.identity_files[0])
    with pytest.raises(WrongKeyError):
        run(site, plan)
    with pytest.raises(WrongKeyError):
        site.plan()
    assert content(site.directory / "restored/one") == OLD


def test_the_set_that_an_incremental_one_stands_on_is_gone(site: FileSite) -> None:
    incremental = site.archive(["one", "two/deep"], base="daily/20260101_000001")
    shutil.rmtree(site.repository / "daily/20260101_000001")
    with pytest.raises(PermanentError, match=r"daily/20260101_000001, which uploads stands on, is in no repository"):
        site.plan(backup=incremental)


def test_a_manifest_that_was_exchanged_after_the_plan(site: FileSite) -> None:
    plan = site.plan()
    folder = site.repository / "daily/20260101_000001"
    write(site.source / "one", {"a": "forged"})
    site.sets = 0
    site.archive(["one", "two/deep"])
    with pytest.raises(IntegrityError, match="not the one that was planned with"):
        site.fetch(plan)
    assert folder.exists()


@pytest.mark.parametrize("paths", [(), ("a", "d/b", "d/c")], ids=["whole", "chosen"])
@pytest.mark.parametrize("then", ["retry", "clear", "put back"])
def test_killed_at_every_step(site: FileSite, paths: tuple[str, ...], then: str) -> None:
    """Whatever the moment, a retry finishes, a cleared task begins anew, and what was there can be put back."""
    moments = 0
    while True:
        for top in ("one", "two/deep"):
            shutil.rmtree(site.directory / "restored" / top)
            write(site.directory / "restored" / top, OLD)
        plan = site.plan(paths=paths)
        site.fetch(plan)
        moments += 1
        if not killed_at(moments, lambda plan=plan: steps.restore_files(site.settings, site.connections, plan, 1)):
            break
        if then == "put back":
            if undo.can_be_undone(site.settings, site.connections, plan.run_id):
                undo.undo(site.settings, site.connections, plan)
                assert there(site) == [OLD, OLD], f"step {moments}"
            places = [site.directory / "restored" / top for top in ("one", "two/deep")]
            assert [content(place) for place in places] == [OLD, OLD], f"step {moments}"
            run(site, plan)
        else:
            run(site, plan, generation=1 if then == "retry" else 2)
            expected = OLD | NEW if paths else NEW
            assert there(site) == [expected, expected], f"step {moments}"
    assert moments > (25 if paths else 15)


def test_put_back_can_be_killed_at_every_step(site: FileSite) -> None:
    moments = 0
    while True:
        plan = site.plan()
        site.fetch(plan)
        steps.restore_files(site.settings, site.connections, plan, 1)
        assert content(site.directory / "restored/one") == NEW
        moments += 1
        killed = killed_at(moments, lambda plan=plan: undo.undo(site.settings, site.connections, plan))
        if killed:
            undo.undo(site.settings, site.connections, plan)
        assert there(site) == [OLD, OLD], f"step {moments}"
        if not killed:
            break
    assert moments > 10


@pytest.mark.parametrize("paths", [(), ("a", "d/b", "d/c")], ids=["whole", "chosen"])
@pytest.mark.parametrize("then", ["retry", "clear", "put back"])
def test_the_verification_can_be_killed_at_every_step(site: FileSite, paths: tuple[str, ...], then: str) -> None:
    """When it takes away what was replaced, there is no way back any more; until then there is the whole way back."""
    moments, undone = 0, set()
    new = OLD | NEW if paths else NEW
    while True:
        for top in ("one", "two/deep"):
            shutil.rmtree(site.directory / "restored" / top)
            write(site.directory / "restored" / top, OLD)
        plan = site.plan(paths=paths)
        site.fetch(plan)
        steps.restore_files(site.settings, site.connections, plan, 1)
        moments += 1
        if not killed_at(moments, lambda plan=plan: recovery.verify_restored(site.settings, site.connections, plan)):
            break
        if then == "put back":
            possible = undo.can_be_undone(site.settings, site.connections, plan.run_id)
            undone.add(possible)
            if possible:
                undo.undo(site.settings, site.connections, plan)
                assert there(site) == [OLD, OLD], f"step {moments}"
            else:
                assert [content(site.directory / "restored" / top) for top in ("one", "two/deep")] == [new, new]
                recovery.verify_restored(site.settings, site.connections, plan)
                assert there(site) == [new, new], f"step {moments}"
            continue
        if then == "clear":
            site.fetch(plan)
            run(site, plan, generation=2)
        else:
            recovery.verify_restored(site.settings, site.connections, plan)
        assert there(site) == [new, new], f"step {moments}"
    assert moments > 15
    assert undone in (set(), {True, False})


def test_a_failure_while_things_are_put_in_place_puts_all_back(site: FileSite, monkeypatch: pytest.MonkeyPatch) -> None:
    plan = site.plan()
    site.fetch(plan)
    real, failed = os.rename, False

    def fails_once(*arguments: object, **options: object) -> None:
        nonlocal failed
        if arguments == (b"deep", b"deep") and not failed:
            failed = True
            raise PermissionError(13, "Permission denied")
        real(*arguments, **options)  # type: ignore[arg-type]

    monkeypatch.setattr(swapping.os, "rename", fails_once)
    with pytest.raises(PermanentError, match=r"can't become .*two/deep \(Permission denied\)"):
        steps.restore_files(site.settings, site.connections, plan, 1)
    assert there(site) == [OLD, OLD]
    run(site, plan)
    assert there(site) == [NEW, NEW]


def test_a_file_that_is_damaged_on_the_disk_brings_back_what_was_there(site: FileSite) -> None:
    plan = site.plan()
    site.fetch(plan)
    steps.restore_files(site.settings, site.connections, plan, 1)
    damaged = site.directory / "restored/two/deep/d/b"
    times = damaged.stat()
    damaged.write_text("NEW b")
    os.utime(damaged, ns=(times.st_atime_ns, times.st_mtime_ns))
    with pytest.raises(IntegrityError, match=r"uploads: /two/deep/d/b has another content.*was put back"):
        recovery.verify_restored(site.settings, site.connections, plan)
    assert there(site) == [OLD, OLD]
    with pytest.raises(PermanentError, match="not put in place: clear the task restore_files"):
        recovery.verify_restored(site.settings, site.connections, plan)
    run(site, plan, generation=2)
    assert there(site) == [NEW, NEW]


def test_what_the_application_writes_meanwhile_is_no_fault(site: FileSite) -> None:
    plan = site.plan()
    site.fetch(plan)
    steps.restore_files(site.settings, site.connections, plan, 1)
    one = site.directory / "restored/one"
    (one / "a").write_text("written by the application")
    (one / "d/c").unlink()
    (one / "new").write_text("new")
    summary = recovery.verify_restored(site.settings, site.connections, plan)
    assert summary.detail["changed_since"] == 2
    assert content(one) == {"a": "written by the application", "d/b": "new b", "new": "new"}


def test_a_restore_that_is_done_again_is_verified_again(site: FileSite) -> None:
    plan = site.restore()
    site.fetch(plan)
    steps.restore_files(site.settings, site.connections, plan, 2)
    (site.directory / "restored/one/a").write_text("")
    (site.directory / "restored/one/a").touch()
    os.utime(site.directory / "restored/one/a", (1, 1))
    with pytest.raises(IntegrityError, match="one/a has 0 bytes"):
        recovery.verify_restored(site.settings, site.connections, plan)


def test_verified_is_verified(site: FileSite) -> None:
    plan = site.restore()
    assert recovery.verify_restored(site.settings, site.connections, plan).detail["files"] == 6
    assert not undo.can_be_undone(site.settings, site.connections, plan.run_id)
    with pytest.raises(PermanentError, match="nothing aside that could be put back"):
        undo.undo(site.settings, site.connections, plan)


@pytest.fixture
def small_disk(site: FileSite) -> Iterator[Path]:
    """A disk of 1 MiB that the uploads lie on."""
    disk = site.directory / "disk"
    disk.mkdir()
    subprocess.run(["mount", "-t", "tmpfs", "-o", "size=1m", "none", disk], check=True)
    yield disk
    subprocess.run(["umount", disk], check=True)


def test_a_full_disk(site: FileSite, small_disk: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (site.source / "one/big").write_bytes(os.urandom(2 << 20))
    backup = site.archive(["one", "two/deep"], part_bytes=1 << 20)
    write(small_disk / "one", OLD)
    plan = site.plan(backup=backup, target_root=str(small_disk))
    assert any("make room" in warning.words for warning in plan.warnings)
    site.fetch(plan)
    with pytest.raises(DiskFullError, match=r"uploads takes .* make room .*Nothing was replaced"):
        run(site, plan)
    monkeypatch.setattr(preparing, "_check_room", lambda component, stage: None)  # others fill it in the meantime
    with pytest.raises(DiskFullError, match="No space left on the disk"):
        run(site, plan)
    assert content(small_disk / "one") == OLD


def test_two_at_once(site: FileSite, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(steps, "LOCK_SECONDS", 0.0)
    plan = site.plan()
    site.fetch(plan)
    with steps.alone(site.settings), pytest.raises(BackupError, match="Another process .* a restore of files"):
        steps.restore_files(site.settings, site.connections, plan, 1)


@pytest.mark.parametrize("fails", [False, True])
def test_what_somebody_made_anew_meanwhile_is_not_lost(
    site: FileSite, monkeypatch: pytest.MonkeyPatch, fails: bool
) -> None:
    """Between the two renames the application makes the folder that it misses."""
    plan = site.plan()
    site.fetch(plan)
    real = os.rename
    one = site.directory / "restored/one"

    def races(*arguments: object, **options: object) -> None:
        real(*arguments, **options)  # type: ignore[arg-type]
        if arguments[0] == b"one" and not one.exists():
            one.mkdir()
            (one / "upload").write_text("just now")
            monkeypatch.setattr(swapping.os, "rename", real)
            if fails:
                raise OSError(5, "Input/output error")

    monkeypatch.setattr(swapping.os, "rename", races)
    if fails:
        with pytest.raises(PermanentError, match="Input/output error"):
            steps.restore_files(site.settings, site.connections, plan, 1)
        assert content(one) == OLD
    run(site, plan)
    assert content(one) == NEW
    (kept,) = one.parent.glob("one.replaced-*.1")
    assert content(kept) == {"upload": "just now"}


def test_a_place_that_can_not_be_written_to(site: FileSite, monkeypatch: pytest.MonkeyPatch) -> None:
    def refuses(self: Path, *arguments: object, **options: object) -> None:
        if "restored" in self.parts:
            raise PermissionError(13, "Permission denied", str(self))
        real(self, *arguments, **options)  # type: ignore[arg-type]

    real = Path.mkdir
    plan = site.plan()
    site.fetch(plan)
    monkeypatch.setattr(places.Path, "mkdir", refuses)
    with pytest.raises(PermanentError, match="let the worker run as root"):
        steps.restore_files(site.settings, site.connections, plan, 1)
