"""Files come back: chains of archives by GNU tar, encrypted by age, to their place or another, in part or whole."""

import os
import stat
import subprocess
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from spoqplus_backup.core.errors import PermanentError, SettingsError
from spoqplus_backup.core.recovery.files import steps
from support.file_sets import FileSite, make_file_site

pytestmark = pytest.mark.integration

UPLOADS = "var/www/html/public/uploads"
IS_ROOT = os.geteuid() == 0


@pytest.fixture
def site(tmp_path: Path) -> FileSite:
    return make_file_site(tmp_path / "site")


@pytest.fixture
def uploads(site: FileSite) -> Path:
    """The nasty names and kinds, before the full archive."""
    top = site.source / UPLOADS
    for folder in ("2026/01", "empty", "빈 폴더", "renamed/deep", "becomes-file/deep", "one", "two"):
        (top / folder).mkdir(parents=True)
    for name in ("2026/01/사진.jpg", "2026/01/line\nfeed", "deleted", "changed", "kept", "becomes-folder"):
        (top / name).write_text(f"content of {name}")
    for name in ("renamed/deep/inside", "becomes-file/deep/inside", "one/1", "two/2"):
        (top / name).write_text(f"content of {name}")
    (top / os.fsdecode(b"not-utf8-\xff\xfe")).write_bytes(b"\x00\xff" * 5000)
    (top / ("x" * 200)).write_text("a long name")
    (top / "big").write_bytes(os.urandom(70_000))
    with (top / "sparse").open("wb") as file:
        file.truncate(3_000_000)
        file.seek(1_000_000)
        file.write(b"in the middle")
    (top / "2026/second").hardlink_to(top / "2026/01/사진.jpg")
    (top / "to-hard").write_text("linked later")
    (top / "link").symlink_to("2026/01/사진.jpg")
    (top / "dangling").symlink_to("no/where")
    os.mkfifo(top / "pipe")
    (top / "kept").chmod(0o4640)
    (top / "empty").chmod(0o2770)
    os.setxattr(top / "kept", "user.note", b"an attribute")
    os.utime(top / "2026", ns=(1_600_000_000_123_456_789, 1_600_000_000_123_456_789))
    return top


def change(top: Path) -> None:
    """What happens between the full archive and the incremental one."""
    time.sleep(1.1)  # GNU tar looks at whole seconds where the clock stood when the full archive began
    (top / "deleted").unlink()
    (top / "changed").write_text("changed since")
    (top / "new").write_text("new")
    (top / "becomes-folder").unlink()
    (top / "becomes-folder").mkdir()
    (top / "becomes-folder/inside").write_text("inside")
    subprocess.run(["rm", "-r", top / "becomes-file"], check=True)
    (top / "becomes-file").write_text("a file now")
    (top / "renamed").rename(top / "renamed-since")
    (top / "one").rename(top / "three")
    (top / "two").rename(top / "one")
    (top / "three").rename(top / "two")
    (top / "hard-across").hardlink_to(top / "to-hard")
    (top / "dangling").unlink()


def tree(top: Path) -> dict[str, Any]:
    """Everything that a restore has to bring back of a folder."""
    found: dict[str, Any] = {}
    for path in (top, *top.rglob("*")):
        status = path.lstat()
        mode = stat.S_IMODE(status.st_mode), stat.S_IFMT(status.st_mode), status.st_uid, status.st_gid
        content: object = None
        if path.is_symlink():
            mode, content = (0, stat.S_IFLNK, status.st_uid, status.st_gid), str(path.readlink())
        elif path.is_file():
            content = path.read_bytes(), status.st_nlink, os.listxattr(path)
        found[str(path.relative_to(top))] = (mode, status.st_mtime_ns, content)
    return found


@pytest.fixture
def chain(site: FileSite, uploads: Path) -> tuple[str, str]:
    full = site.archive([UPLOADS])
    change(uploads)
    return full, site.archive([UPLOADS], base=full)


def test_a_full_archive_comes_back_as_it_was(site: FileSite, uploads: Path) -> None:
    site.archive([UPLOADS])
    plan = site.restore()
    restored = site.directory / "restored" / UPLOADS
    assert tree(restored) == tree(uploads)
    assert (restored / "sparse").stat().st_blocks * 512 < 1_000_000, "holes stay holes"
    assert (restored / "2026/second").samefile(restored / "2026/01/사진.jpg")
    assert plan.files[0].files == sum(not path.is_dir() or path.is_symlink() for path in uploads.rglob("*"))
    assert [path.name for path in restored.parent.iterdir()] == ["uploads"], "nothing is left beside it"


def test_full_and_incremental_give_what_there_was_at_the_last(
    site: FileSite, uploads: Path, chain: tuple[str, str]
) -> None:
    plan = site.restore(backup=chain[1])
    restored = site.directory / "restored" / UPLOADS
    assert tree(restored) == tree(uploads)
    assert [archive.set for archive in plan.files[0].archives] == [*chain]


def test_the_full_archive_alone_is_still_what_it_was(site: FileSite, chain: tuple[str, str]) -> None:
    site.restore(backup=chain[0])
    restored = site.directory / "restored" / UPLOADS
    assert (restored / "deleted").read_text() == "content of deleted"
    assert not (restored / "new").exists()


def test_by_hand_it_is_the_same(site: FileSite, uploads: Path, chain: tuple[str, str], tmp_path: Path) -> None:
    """With `age`, `zstd` and `tar` alone, as the README says."""
    identity = site.settings.encryption.identity_files[0]
    for name in chain:
        parts = sorted((site.repository / name / "uploads").glob("0*.tar.zst.age"))
        script = f'for part in "$@"; do age -d -i {identity} "$part" | zstd -d; done'
        unpack = f"({script}) | env -C {tmp_path} tar -x --listed-incremental=/dev/null --xattrs -p"
        subprocess.run(["bash", "-euo", "pipefail", "-c", unpack, "-", *parts], check=True)
    assert tree(tmp_path / UPLOADS) == tree(uploads)


def test_what_is_there_is_replaced_and_what_came_since_is_gone(site: FileSite, chain: tuple[str, str]) -> None:
    there = site.directory / "restored" / UPLOADS
    there.mkdir(parents=True)
    (there / "kept").write_text("damaged")
    (there / "virus.php").write_text("made since")
    plan = site.restore(backup=chain[1])
    assert plan.files[0].replaces == (str(there),)
    assert (there / "kept").read_text() == "content of kept"
    assert not (there / "virus.php").exists()
    assert [path.name for path in there.parent.iterdir()] == ["uploads"]


def test_what_was_replaced_is_kept_when_the_configuration_says_so(tmp_path: Path) -> None:
    target = tmp_path / "restored"
    fields = {"files_root": str(target), "ownership": {}, "keep_replaced": True}
    site = make_file_site(tmp_path / "site", restore=fields)
    (site.source / "up").mkdir()
    (target / "up").mkdir(parents=True)
    (target / "up/old").write_text("old")
    site.archive(["up"])
    site.restore()
    (aside,) = target.glob("up.replaced-*")
    assert (aside / "old").read_text() == "old"
    assert list((target / "up").iterdir()) == []


def test_chosen_files_come_back_and_nothing_else_is_touched(
    site: FileSite, uploads: Path, chain: tuple[str, str]
) -> None:
    there = site.directory / "restored" / UPLOADS
    there.mkdir(parents=True)
    (there / "changed").write_text("damaged")
    (there / "other").write_text("not in the backup")
    paths = ["uploads/changed", "2026/*", "hard-across", "renamed-since"]
    plan = site.restore(backup=chain[1], paths=paths)
    found = {str(path.relative_to(there)) for path in there.rglob("*") if not path.is_dir()}
    assert found == {
        *("changed", "other", "2026/second", "2026/01/사진.jpg", "2026/01/line\nfeed", "hard-across"),
        "renamed-since/deep/inside",
    }
    assert (there / "changed").read_text() == "changed since"
    assert (there / "hard-across").read_text() == "linked later"
    assert (there / "2026/second").read_text() == "content of 2026/01/사진.jpg"
    assert (there / "2026").stat().st_mode == (uploads / "2026").stat().st_mode
    assert plan.files[0].files == 6
    assert sorted(path.name for path in there.parent.iterdir()) == ["uploads"]


def test_of_a_chosen_file_only_its_parts_are_fetched(site: FileSite, chain: tuple[str, str]) -> None:
    plan = site.restore(backup=chain[1], paths=["uploads/kept"])
    full, incremental = plan.files[0].archives
    assert (len(full.parts), incremental.parts) == (1, ())
    work = site.settings.staging.directory / "restore/spoqplus"
    assert plan.files[0].fetch_bytes < 10_000
    assert list(work.rglob("*.tar.zst.age")) == [], "what was fetched goes when all is verified"


def test_a_name_that_was_deleted_is_said_to_be_deleted(site: FileSite, chain: tuple[str, str]) -> None:
    with pytest.raises(PermanentError, match=r"nothing named deleted \(deleted before this backup was made"):
        site.plan(backup=chain[1], paths=["deleted"])
    with pytest.raises(PermanentError, match="nothing named never-there: correct the parameter paths"):
        site.plan(backup=chain[1], paths=["never-there", "kept"])
    plan = site.plan(backup=chain[1], paths=["uploads/*e*"])
    assert f"{UPLOADS}/deleted" in plan.files[0].deleted
    assert f"{UPLOADS}/renamed/deep/inside" in plan.files[0].deleted


def test_another_root(site: FileSite, uploads: Path, chain: tuple[str, str]) -> None:
    root = site.directory / "elsewhere" / "deep"
    site.restore(backup=chain[1], target_root=str(root))
    assert tree(root / UPLOADS) == tree(uploads)
    assert not (site.directory / "restored").exists()


def test_several_places_each_get_their_own(site: FileSite) -> None:
    for name in ("etc/nginx/sites-available", "var/www/html/app/Config"):
        (site.source / name).mkdir(parents=True)
        (site.source / name / "a.conf").write_text(name)
    (site.source / "var/www/html/.env").write_text("DB_PASSWORD=secret")
    tops = ["var/www/html/.env", "var/www/html/app/Config", "etc/nginx/sites-available"]
    site.archive(tops, component="config")
    restored = site.directory / "restored"
    (restored / "var/www/html").mkdir(parents=True)
    (restored / "var/www/html/.env").write_text("old")
    (restored / "var/www/html/index.php").write_text("not ours")
    site.restore(components=["config"])
    files = {str(path.relative_to(restored)): path.read_text() for path in restored.rglob("*") if path.is_file()}
    assert files == {
        "var/www/html/.env": "DB_PASSWORD=secret",
        "var/www/html/index.php": "not ours",
        "var/www/html/app/Config/a.conf": "var/www/html/app/Config",
        "etc/nginx/sites-available/a.conf": "etc/nginx/sites-available",
    }


@pytest.fixture
def mounted(site: FileSite) -> Iterator[Path]:
    """A file system of its own at the place of the uploads."""
    point = site.directory / "restored" / UPLOADS
    point.mkdir(parents=True)
    subprocess.run(["mount", "-t", "tmpfs", "-o", "size=200m", "none", point], check=True)
    yield point
    subprocess.run(["umount", point], check=True)


def test_a_place_that_is_a_mount_point(site: FileSite, uploads: Path, chain: tuple[str, str], mounted: Path) -> None:
    (mounted / "old").write_text("old")
    (mounted / "kept").write_text("damaged")
    plan = site.plan(backup=chain[1])
    site.fetch(plan)
    steps.restore_files(site.settings, site.connections, plan, 1)
    now = tree(mounted)
    expected = tree(uploads)
    assert {name: now[name] for name in expected if name != "."} == {
        name: about for name, about in expected.items() if name != "."
    }
    steps.put_back_files(site.settings, plan)
    assert {path.name: path.read_text() for path in mounted.iterdir()} == {"old": "old", "kept": "damaged"}
    site.restore(backup=chain[1])
    assert set(tree(mounted)) == set(expected)
    assert mounted.stat().st_mode == uploads.stat().st_mode


def test_test_never_writes_to_the_place_of_production(tmp_path: Path) -> None:
    production = tmp_path / "production/uploads"
    files = [{"name": "uploads", "paths": [str(production)]}]
    site = make_file_site(tmp_path / "site", files=files)
    top = str(production).lstrip("/")
    (site.source / top).mkdir(parents=True)
    production.mkdir(parents=True)
    site.archive([top])
    link = tmp_path / "link"
    link.symlink_to("/")
    for root in ("/", str(link)):
        with pytest.raises(PermanentError, match="The environment test would write to .*where production has"):
            site.plan(target_root=root)
    inside = tmp_path / "production"
    (inside / top).parent.mkdir(parents=True)
    (site.source / "uploads").mkdir()
    site.archive(["uploads"])
    with pytest.raises(PermanentError, match="The environment test would write to"):
        site.plan(target_root=str(inside))
    assert site.plan(target_root=str(tmp_path / "else")).files[0].root == str(tmp_path / "else")


def test_production_comes_back_to_its_original_place(tmp_path: Path) -> None:
    production = tmp_path / "production/uploads"
    top = str(production).lstrip("/")
    site = make_file_site(tmp_path / "site", files=[{"name": "uploads", "paths": [str(production)]}])
    (site.source / top).mkdir(parents=True)
    (site.source / top / "a").write_text("a")
    (site.source / top / "out").symlink_to("/etc/hostname")  # below the machine's own root, no link leads out of it
    site.archive([top])
    plan = site.restore(environment="production")
    assert plan.files[0].root == "/"
    assert (production / "a").read_text() == "a"
    assert (production / "out").is_symlink()


def test_owner_and_modes_of_the_configuration(tmp_path: Path) -> None:
    owned = {"owner": "www-data", "group": "www-data", "folders": "755", "files": "644"}
    fields = {"files_root": str(tmp_path / "restored"), "ownership": {"uploads": owned, "logs": None}}
    site = make_file_site(tmp_path / "site", restore=fields)
    (site.source / "up/deep").mkdir(parents=True)
    (site.source / "up/deep/a").write_text("a")
    (site.source / "up/deep/a").chmod(0o600)
    (site.source / "up/deep").chmod(0o700)
    (site.source / "up/link").symlink_to("deep/a")
    site.archive(["up"])
    plan = site.restore()
    top = tmp_path / "restored/up"
    found = {str(path.relative_to(top)): oct(path.lstat().st_mode & 0o7777) for path in (top, *top.rglob("*"))}
    assert found == {".": "0o755", "deep": "0o755", "deep/a": "0o644", "link": "0o777"}
    if IS_ROOT:
        assert {path.owner() for path in (top, *top.rglob("*"))} == {"www-data"}
    again = steps.set_ownership(site.settings, plan)
    assert (again.parts, again.detail["changed"]) == (4, 0)


def test_files_that_run_with_the_rights_of_others_are_named(tmp_path: Path) -> None:
    """They come back as they were, but nobody is surprised; with modes of the configuration they are plain files."""
    for number, ownership in enumerate(({}, {"uploads": {"owner": "root", "group": "root"}})):
        root = tmp_path / f"restored-{number}"
        site = make_file_site(tmp_path / f"site-{number}", restore={"files_root": str(root), "ownership": ownership})
        (site.source / "up").mkdir()
        for name, mode in {"shell": 0o4755, "group": 0o2755, "plain": 0o755}.items():
            (site.source / "up" / name).touch()
            (site.source / "up" / name).chmod(mode)
        (site.source / "up").chmod(0o2755)  # usual for a folder
        site.archive(["up"])
        warned = [warning.values["names"] for warning in site.restore().warnings if warning.code == "plan.setuid"]
        assert warned == ([] if ownership else ["up/group, up/shell"])
        assert (root / "up/shell").stat().st_mode & 0o7777 == (0o644 if ownership else 0o4755)


def test_an_owner_that_this_machine_does_not_have(tmp_path: Path) -> None:
    fields = {"files_root": str(tmp_path / "restored"), "ownership": {"uploads": {"owner": "nobody-of-that-name"}}}
    site = make_file_site(tmp_path / "site", restore=fields)
    (site.source / "up").mkdir()
    site.archive(["up"])
    with pytest.raises(PermanentError, match=r"restore\.ownership\.uploads. names nobody-of-that-name:www-data"):
        site.restore()


@pytest.mark.parametrize(
    ("params", "words"),
    [
        ({"components": ["uploads", "logs"], "paths": ["a"]}, "paths is of one component"),
        ({"components": ["database"], "paths": ["a"]}, "paths is of one component"),
        ({"components": ["database"], "target_root": "/x"}, "target_root is of components of files"),
        ({"target_root": "relative"}, "absolute path"),
        ({"target_root": "/a/../b"}, "absolute path"),
        ({"tables": ["a.b"]}, "tables is of the database"),
        ({"paths": ["../x"]}, "paths has"),
        ({"to_time": "latest"}, "needs the component database"),
    ],
)
def test_parameters_that_do_not_fit(site: FileSite, params: dict[str, Any], words: str) -> None:
    with pytest.raises(SettingsError, match=words):
        site.plan(**params)


def test_a_place_that_is_a_link_comes_back_with_the_place_that_it_leads_to(tmp_path: Path) -> None:
    """As the archive has it: the link that the configuration names, and beside it what it leads to."""
    site = make_file_site(tmp_path / "site")
    (site.source / "data/uploads").mkdir(parents=True)
    (site.source / "data/uploads/a").write_text("a")
    (site.source / "www").mkdir()
    (site.source / "www/uploads").symlink_to("/data/uploads")
    site.archive(["www/uploads", "data/uploads"])
    plan = site.restore()
    assert (site.directory / "restored/data/uploads/a").read_text() == "a"
    assert (plan.files[0].tops, plan.files[0].left_out) == (("data/uploads",), ("www/uploads",))
    (site.source / "www/uploads").unlink()
    (site.source / "www/uploads").symlink_to("../data/uploads")
    site.archive(["www/uploads", "data/uploads"])
    for _ in range(2):  # the second time in place of the link that is there then
        site.restore()
        assert (site.directory / "restored/www/uploads/a").read_text() == "a"
        assert (site.directory / "restored/www/uploads").is_symlink()
