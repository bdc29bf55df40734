"""Archives that want to write elsewhere: nothing is written outside of the root, and nothing is replaced."""

import hashlib
import os
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from spoqplus_backup.core.errors import IntegrityError, PermanentError
from spoqplus_backup.core.recovery.files import steps
from support.file_sets import FileSite, cut, index_lines, make_file_site
from support.forged_tar import DEVICE, END, FIFO, FILE, HARD_LINK, SYMLINK, block, folder, member, record

pytestmark = pytest.mark.integration

OLD = "what is there"


@pytest.fixture
def site(tmp_path: Path) -> FileSite:
    """What is there before, and a neighbour that nobody may touch."""
    site = make_file_site(tmp_path / "site")
    there = site.directory / "restored/up"
    there.mkdir(parents=True)
    (there / "old").write_text(OLD)
    (site.directory / "outside").mkdir()
    (site.directory / "outside/secret").write_text("secret")
    return site


def state(site: FileSite) -> dict[str, str]:
    """Everything below the site's folder but its own staging and repository."""
    return {
        str(path.relative_to(site.directory)): path.read_text() if path.is_file() else str(path.lstat().st_ino)
        for path in site.directory.rglob("*")
        if not {"staging", "repository"} & {*path.relative_to(site.directory).parts}
    }


def refused(site: FileSite, words: str, **params: Any) -> None:
    """The newest set is refused, wherever that is noticed, and everything is as before."""
    before = state(site)
    with pytest.raises(IntegrityError, match=words):
        site.restore(**params)
    assert state(site) == before


@pytest.mark.parametrize(
    ("members", "words"),
    [
        (member(b"/tmp/spoqplus-evil", content=b"x"), "'/tmp/spoqplus-evil', an absolute name"),
        (member(b"up/../../outside/evil", content=b"x"), "leads out of the root"),
        (
            member(b"up/link", SYMLINK, link=b"../../outside") + member(b"up/link/evil", content=b"x"),
            "below the symlink",
        ),
        (member(b"up/link", SYMLINK, link=b".") + member(b"up/link/evil", content=b"x"), "below the symlink"),
        (member(b"up/x", HARD_LINK, link=b"../outside/secret"), "leads out of the root"),
        (member(b"up/x", HARD_LINK, link=b"/etc/passwd"), "an absolute name"),
        (member(b"up/l", SYMLINK, link=b"/etc") + member(b"up/x", HARD_LINK, link=b"up/l/passwd"), "below the symlink"),
        (member(b"up/null", DEVICE), "a character device"),
        (member(b"up/out", SYMLINK, link=b"/etc/passwd"), "lead out of .*: up/out -> /etc/passwd"),
        (member(b"up/out", SYMLINK, link=b"../../outside/secret"), "lead out of .*: up/out -> "),
        (
            member(b"up/here", SYMLINK, link=b".") + member(b"up/out", SYMLINK, link=b"here/../../outside"),
            "lead out of .*: up/out -> here",
        ),
        (
            folder(b"up/d") + member(b"up/d", SYMLINK, link=b"/etc") + member(b"up/d/evil"),
            "in place of a folder|place of",
        ),
    ],
)
@pytest.mark.parametrize("paths", [(), ("up/*",)], ids=["whole", "chosen"])
def test_a_hostile_archive_with_an_index_that_says_so(
    site: FileSite, members: bytes, words: str, paths: tuple[str, ...]
) -> None:
    site.publish(folder(b"up") + members + END)
    refused(site, words, paths=paths)


GOOD = folder(b"up") + member(b"up/a", content=b"aaa") + member(b"up/b", content=b"bbb")
LYING: dict[str, bytes] = {
    "another name": folder(b"up") + member(b"up/a", content=b"aaa") + member(b"up/c", content=b"bbb"),
    "an absolute name": folder(b"up") + member(b"up/a", content=b"aaa") + member(b"/e/x", content=b"bbb"),
    "a name in a second place": folder(b"up")
    + member(b"up/a", content=b"aaa")
    + member(b"up/b", content=b"bbb", records={b"path": b"../x"}),
    "another type": folder(b"up") + member(b"up/a", content=b"aaa") + member(b"up/b", FIFO),
    "a link": folder(b"up") + member(b"up/a", SYMLINK, link=b"/etc") + member(b"up/b", content=b"bbb"),
    "another content": folder(b"up") + member(b"up/a", content=b"aaa") + member(b"up/b", content=b"BBB"),
    "another size": folder(b"up") + member(b"up/a", content=b"aaaa") + member(b"up/b", content=b"bbb"),
    "one less": folder(b"up") + member(b"up/a", content=b"aaa"),
    "another order": folder(b"up") + member(b"up/b", content=b"bbb") + member(b"up/a", content=b"aaa"),
    "a long name of GNU tar": folder(b"up")
    + member(b"up/a", content=b"aaa")
    + block(b"././@LongLink", b"L", b"/etc/evil\0")
    + block(b"up/b", FILE, b"bbb"),
    "a global header": folder(b"up")
    + block(b"g", b"g", record(b"path", b"/etc/evil"))
    + member(b"up/a", content=b"aaa")
    + member(b"up/b", content=b"bbb"),
}


@pytest.mark.parametrize("lie", LYING)
def test_an_index_that_lies_about_the_archive(site: FileSite, lie: str) -> None:
    """However the two differ, what tar gets is what was checked."""
    good = index_lines(GOOD + END, cut(GOOD + END, 4096))
    site.publish(LYING[lie] + END, index=good)
    refused(site, ".")


def test_what_the_index_does_not_name_never_reaches_tar(site: FileSite) -> None:
    good = index_lines(GOOD + END, cut(GOOD + END, 4096))
    site.publish(GOOD + member(b"/tmp/spoqplus-evil", content=b"x") + member(b"up/evil", DEVICE) + END, index=good)
    site.restore()
    assert sorted(path.name for path in (site.directory / "restored/up").iterdir()) == ["a", "b"]
    assert not Path("/tmp/spoqplus-evil").exists()


@pytest.mark.parametrize("rename", [b"Rup/link\0Tup/stolen\0\0", b"Rup/sub\0Tup/link/evil\0\0", b"Retc\0Tup\0\0"])
def test_a_rename_through_a_link_does_nothing(site: FileSite, rename: bytes) -> None:
    """tar is told of no renames: which folder was which is only looked up in the earlier index."""
    links = member(b"up/link", SYMLINK, link=b"sub")
    full = site.publish(folder(b"up", b"Dsub\0Ylink\0\0") + folder(b"up/sub", b"\0") + links + END)
    site.publish(folder(b"up", rename) + END, base=full)
    site.restore()
    assert list((site.directory / "restored/up").iterdir()) == []


def test_an_index_that_lies_about_chosen_files(site: FileSite) -> None:
    good = index_lines(GOOD + END, cut(GOOD + END, 4096))
    site.publish(LYING["a name in a second place"] + END, index=good)
    refused(site, "leads out of the root|shorter", paths=["up/b"])


def test_an_index_that_names_places_that_are_not_there(site: FileSite) -> None:
    good = index_lines(GOOD + END, cut(GOOD + END, 4096))
    site.publish(GOOD + END, index=[line | {"part": 7} for line in good])
    refused(site, "shorter than its index says")
    site.publish(GOOD + END, index=[line | {"length": 1 << 40} for line in good])
    refused(site, "shorter than its index says")


@pytest.mark.parametrize(
    ("dumpdir", "words"),
    [
        (b"Rup/../../outside\0Tup/stolen\0\0", "leads out of the root"),
        (b"Rup/sub\0T../outside/evil\0\0", "leads out of the root"),
        (b"Y../../outside/secret\0\0", "not in it"),
        (b"X/tmp\0\0", "an absolute name"),
    ],
)
def test_a_hostile_list_of_a_folder(site: FileSite, dumpdir: bytes, words: str) -> None:
    links = member(b"up/link", SYMLINK, link=b"sub")
    full = site.publish(folder(b"up", b"Dsub\0Ylink\0\0") + folder(b"up/sub", b"\0") + links + END)
    site.publish(folder(b"up", dumpdir) + END, base=full)
    refused(site, words)


def test_a_link_in_the_full_archive_is_no_way_out_for_the_incremental_one(site: FileSite) -> None:
    full = site.publish(folder(b"up", b"Yd\0\0") + member(b"up/d", SYMLINK, link=b"../../outside") + END)
    site.publish(folder(b"up", b"Nd\0\0") + member(b"up/d/evil", content=b"x") + END, base=full)
    refused(site, "below the symlink")


def test_links_that_lead_out_can_be_left_out(tmp_path: Path) -> None:
    root = tmp_path / "restored"
    fields = {"files_root": str(root), "ownership": {}, "outside_links": "skip"}
    site = make_file_site(tmp_path / "site", restore=fields)
    links = member(b"up/out", SYMLINK, link=b"/etc") + member(b"up/in", SYMLINK, link=b"a")
    site.publish(folder(b"up", b"Yout\0Yin\0Ya\0\0") + links + member(b"up/a", content=b"a") + END)
    plan = site.restore()
    assert sorted(path.name for path in (root / "up").iterdir()) == ["a", "in"]
    assert plan.files[0].left_out == ("up/out",)
    assert any("lead out of" in warning.words for warning in plan.warnings)


def test_a_link_at_the_target_is_not_followed(site: FileSite) -> None:
    """Not by the archive but by who may write at the target: a folder that became a link to elsewhere."""
    site.publish(folder(b"up") + folder(b"up/d") + member(b"up/d/secret", content=b"evil") + END)
    (site.directory / "restored/up/d").symlink_to(site.directory / "outside")
    before = state(site)
    with pytest.raises(PermanentError, match="a link, which is not followed"):
        site.restore(paths=["up/d/secret"])
    assert state(site) == before
    site.restore()
    assert (site.directory / "outside/secret").read_text() == "secret"
    assert (site.directory / "restored/up/d/secret").read_text() == "evil"


def test_a_link_on_the_way_to_the_target_does_not_lead_out(site: FileSite) -> None:
    site.publish(folder(b"etc") + folder(b"etc/up") + member(b"etc/up/x", content=b"evil") + END)
    (site.directory / "restored/etc").symlink_to(site.directory / "outside")
    before = state(site)
    with pytest.raises(PermanentError, match="would be replaced|out of"):
        site.restore()
    assert state(site) == before


def test_owners_are_never_set_through_a_link(tmp_path: Path) -> None:
    """Between putting in place and owners, somebody puts a link in place of a file, and of a folder."""
    owned = {"uploads": {"owner": "www-data", "group": "www-data", "files": "666", "folders": "777"}}
    site = make_file_site(tmp_path / "site", restore={"files_root": str(tmp_path / "restored"), "ownership": owned})
    outside = tmp_path / "outside"
    (outside / "inside").mkdir(parents=True)
    (outside / "secret").write_text("secret")
    (outside / "secret").chmod(0o600)
    outside.chmod(0o700)
    site.publish(folder(b"up") + folder(b"up/d") + member(b"up/d/secret", content=b"x") + member(b"up/f") + END)
    plan = site.plan()
    site.fetch(plan)
    steps.restore_files(site.settings, site.connections, plan, 1)
    up = tmp_path / "restored/up"
    (up / "f").unlink()
    (up / "f").symlink_to(outside / "secret")
    (up / "d").rename(up / "moved")
    (up / "d").symlink_to(outside)
    with pytest.raises(PermanentError, match="a link, which is not followed"):
        steps.set_ownership(site.settings, plan)
    assert (outside / "secret").stat().st_mode & 0o777 == 0o600
    assert outside.stat().st_mode & 0o777 == 0o700
    assert (outside / "secret").stat().st_uid == os.getuid()


@pytest.mark.parametrize("forge", [lambda line: {**line, "uid": -1}, lambda line: {**line, "path": None}])
def test_an_index_that_can_not_be_read(site: FileSite, forge: Callable[[dict[str, Any]], dict[str, Any]]) -> None:
    good = index_lines(GOOD + END, cut(GOOD + END, 4096))
    site.publish(GOOD + END, index=[forge(line) for line in good])
    refused(site, "can't be read: line 2")


def test_the_digest_of_a_content_is_the_index_s(site: FileSite) -> None:
    good = index_lines(GOOD + END, cut(GOOD + END, 4096))
    assert good[1]["sha256"] == hashlib.sha256(b"aaa").hexdigest()
