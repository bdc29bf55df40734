"""What restores of files leave beside their places: the next plan names it, and one command removes it."""

import shutil
from pathlib import Path

import pytest

from spoqplus_backup.cli import main
from spoqplus_backup.core.errors import PermanentError
from spoqplus_backup.core.notice import Notice
from spoqplus_backup.core.recovery import restore as recovery
from spoqplus_backup.core.recovery import undo
from spoqplus_backup.core.recovery.files import steps
from spoqplus_backup.core.recovery.files.leftovers import drop_files
from spoqplus_backup.core.recovery.plan import RestorePlan, restore_directory
from support.file_sets import FileSite, make_file_site
from support.killing import killed_at

pytestmark = pytest.mark.integration


def made(directory: Path, **restore: object) -> FileSite:
    """A set with one file, and another version of it at its place."""
    fields = {"files_root": str(directory / "restored"), "ownership": {}, **restore}
    site = make_file_site(directory / "site", restore=fields)
    (site.source / "up").mkdir()
    (site.source / "up/a").write_text("new")
    top = directory / "restored/up"
    top.mkdir(parents=True)
    (top / "a").write_text("old")
    site.archive(["up"])
    return site


@pytest.fixture
def site(tmp_path: Path) -> FileSite:
    return made(tmp_path)


@pytest.fixture
def keeping(tmp_path: Path) -> FileSite:
    return made(tmp_path, keep_replaced=True)


def restored(site: FileSite) -> Path:
    return site.directory.parent / "restored"


def beside(site: FileSite) -> list[str]:
    return sorted(path.name for path in restored(site).iterdir() if path.name != "up")


def told(site: FileSite) -> list[Notice]:
    """What the plan of another restore says of what is left."""
    return [warning for warning in site.plan().warnings if warning.code.startswith("plan.left_")]


def killed_with(site: FileSite, beginning: str) -> RestorePlan:
    """A restore that nobody goes on with, killed when something of such a name lay beside the place."""
    moment = 0
    while True:
        moment += 1
        plan = site.plan()
        site.fetch(plan)
        assert killed_at(moment, lambda plan=plan: steps.restore_files(site.settings, site.connections, plan, 1))
        if any(name.startswith(beginning) for name in beside(site)):
            return plan
        if undo.can_be_undone(site.settings, site.connections, plan.run_id):
            undo.undo(site.settings, site.connections, plan)
        drop_files(site.settings, plan)


def test_what_a_killed_restore_had_unpacked(site: FileSite, capsys: pytest.CaptureFixture[str]) -> None:
    killed = killed_with(site, ".spoqplus-restoring-")
    (left,) = beside(site)
    assert left.startswith(".spoqplus-restoring-")
    (warning,) = told(site)
    assert (warning.code, warning.values["paths"]) == ("plan.left_aside", str(restored(site) / left))
    assert f"spoqplus-backup restore --drop {killed.run_id}" in warning.words
    command = ["--config", str(site.settings.source), "restore", "--drop", killed.run_id]
    assert main(command) == 0
    assert capsys.readouterr().out == f"removed {restored(site) / left}\n"
    assert (beside(site), told(site)) == ([], [])
    assert main(command) == 0
    assert "left nothing" in capsys.readouterr().out
    assert (restored(site) / "up/a").read_text() == "old"


def test_what_a_restore_put_aside_that_was_never_verified(site: FileSite) -> None:
    """It may be all that is left of the files, so it is not dropped; another restore leaves it alone."""
    killed = killed_with(site, "up.replaced-")
    (warning,) = told(site)
    assert warning.code == "plan.left_unfinished"
    assert f"spoqplus-backup restore --put-back {killed.run_id}" in warning.words
    with pytest.raises(PermanentError, match=r"never verified: go on with it \(--resume\), or put back"):
        drop_files(site.settings, killed)
    site.restore()
    assert (restored(site) / "up/a").read_text() == "new"
    undo.undo(site.settings, site.connections, killed)
    assert (restored(site) / "up/a").read_text() == "old"


def test_what_is_kept_is_named_and_can_be_dropped(keeping: FileSite, capsys: pytest.CaptureFixture[str]) -> None:
    options = ["--config", str(keeping.settings.source), "restore"]
    assert main([*options, "--components", "uploads"]) == 0
    (kept,) = beside(keeping)
    said = capsys.readouterr().out
    run = said.partition("--drop ")[2].split()[0]
    assert f"Kept aside: {restored(keeping) / kept}" in said
    assert main([*options, "--drop", run]) == 0
    assert beside(keeping) == []
    assert (restored(keeping) / "up/a").read_text() == "new"


def test_the_summary_names_what_is_kept(keeping: FileSite) -> None:
    plan = keeping.restore()
    summary = recovery.verify_restored(keeping.settings, keeping.connections, plan)
    assert summary.detail["kept_aside"] == str(restored(keeping) / beside(keeping)[0])


def test_a_restore_without_leftovers_says_nothing(site: FileSite) -> None:
    plan = site.restore()
    assert recovery.verify_restored(site.settings, site.connections, plan).detail["kept_aside"] is None
    assert (beside(site), told(site)) == ([], [])


def test_what_a_lost_staging_area_knew(keeping: FileSite) -> None:
    plan = keeping.restore()
    shutil.rmtree(restore_directory(keeping.settings, plan.run_id))
    (warning,) = told(keeping)
    assert warning.code == "plan.left_unknown"
    assert beside(keeping)[0] in warning.words


def test_a_restore_that_is_done_again_puts_back_what_was_there_last(
    keeping: FileSite, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Not what an earlier generation has kept since."""
    plan = keeping.restore()
    (restored(keeping) / "up/a").write_text("used for days")
    keeping.fetch(plan)
    steps.restore_files(keeping.settings, keeping.connections, plan, 2)
    assert (restored(keeping) / "up/a").read_text() == "new"
    undo.undo(keeping.settings, keeping.connections, plan)
    assert (restored(keeping) / "up/a").read_text() == "used for days"
    (kept,) = beside(keeping)
    assert (restored(keeping) / kept / "a").read_text() == "old"


def test_names_that_are_patterns(tmp_path: Path) -> None:
    """What lies aside is looked up by name, whatever the name is."""
    site = make_file_site(tmp_path / "site", restore={"files_root": str(tmp_path / "restored"), "keep_replaced": True})
    for folder in (site.source / "[u]*", tmp_path / "restored/[u]*"):
        folder.mkdir(parents=True)
    site.archive(["[u]*"])
    site.restore()
    assert any(name.startswith("[u]*.replaced-") for name in beside(site))
    (warning,) = told(site)
    assert warning.code == "plan.left_aside"
