"""What there is after a full archive and one on top of it, and what is refused on the way there."""

from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from spoqplus_backup.core.errors import IntegrityError
from spoqplus_backup.core.recovery.files.dumpdir import Dumpdir, Rename, parse_dumpdir
from spoqplus_backup.core.recovery.files.index import Entry
from spoqplus_backup.core.recovery.files.names import Patterns
from spoqplus_backup.core.recovery.files.tree import FileTree


@pytest.fixture
def tree(tmp_path: Path) -> Iterator[FileTree]:
    with FileTree(tmp_path / "tree.sqlite", create=True) as made:
        yield made


def entry(path: str, kind: str = "file", **fields: Any) -> Entry:
    content = {"type": kind, "path": path.encode(), "size": 1, "mode": 0o644, "uid": 0, "gid": 0, "mtime": 1.0}
    return Entry.model_validate(content | fields)


def add(tree: FileTree, level: int, *entries: Entry) -> None:
    for number, one in enumerate(entries):
        tree.add("the archive", level, number, one, number * 1024)


def on_top(tree: FileTree, dumpdirs: dict[str, Dumpdir], *entries: Entry) -> int:
    """An incremental archive: what its folders held, and what is in it; how much of that is missing."""
    with tree.on_top():
        lacking = sum(tree.keep(folder.encode(), dumpdir) for folder, dumpdir in dumpdirs.items())
        add(tree, 1, *entries)
    return lacking


def paths(tree: FileTree) -> list[str]:
    return [node.path.decode() for node in tree.chosen()]


def folder(path: str) -> Entry:
    return entry(path, "directory", size=0)


def symlink(path: str, link: str) -> Entry:
    return entry(path, "symlink", size=0, link=link.encode())


FULL = (folder("up"), folder("up/a"), folder("up/a/b"), entry("up/x"), entry("up/a/y"), entry("up/a/b/z"))


def test_the_tops_are_what_was_archived(tree: FileTree) -> None:
    with tree.making():
        add(
            tree, 0, folder("etc/nginx/sites"), entry("etc/nginx/sites/a"), entry("var/www/.env"), folder("var/www/app")
        )
    assert tree.tops() == [b"etc/nginx/sites", b"var/www/.env", b"var/www/app"]


def test_what_is_not_listed_any_more_is_gone(tree: FileTree) -> None:
    with tree.making():
        add(tree, 0, *FULL)
        on_top(tree, {"up": Dumpdir({b"x": "N"})}, folder("up"))
    assert paths(tree) == ["up", "up/x"]
    assert list(tree.gone(Patterns(["up/a"]))) == [b"up/a", b"up/a/b", b"up/a/b/z", b"up/a/y"]


def test_what_no_archive_has_is_counted(tree: FileTree) -> None:
    with tree.making():
        add(tree, 0, *FULL)
        assert on_top(tree, {"up": Dumpdir({b"x": "N", b"never archived": "N"})}, folder("up")) == 1
    assert paths(tree) == ["up", "up/x"]


def test_what_came_back_is_not_gone(tree: FileTree) -> None:
    with tree.making():
        add(tree, 0, *FULL)
        on_top(tree, {"up": Dumpdir({b"x": "N", b"a": "Y"})}, folder("up"), entry("up/a"))  # a folder became a file
    assert paths(tree) == ["up", "up/a", "up/x"]
    assert b"up/a" not in set(tree.gone(Patterns([])))


def test_a_file_that_became_a_folder(tree: FileTree) -> None:
    dumpdirs = {
        "up": Dumpdir({b"x": "D", b"a": "D"}),
        "up/a": Dumpdir({b"b": "D", b"y": "N"}),
        "up/a/b": Dumpdir({b"z": "N"}),
        "up/x": Dumpdir({b"new": "Y"}),
    }
    with tree.making():
        add(tree, 0, *FULL)
        on_top(tree, dumpdirs, *map(folder, dumpdirs), entry("up/x/new"))
    assert paths(tree) == ["up", "up/a", "up/a/b", "up/a/b/z", "up/a/y", "up/x", "up/x/new"]


def test_a_renamed_folder_keeps_what_is_in_it(tree: FileTree) -> None:
    dumpdirs = {
        "up": Dumpdir({b"x": "N", b"new": "D"}, (Rename(b"up/a", b"up/new/c"),)),
        "up/new": Dumpdir({b"c": "D"}),  # into a folder that was not there before
        "up/new/c": Dumpdir({b"b": "D", b"y": "N"}),
        "up/new/c/b": Dumpdir({b"z": "N"}),
    }
    with tree.making():
        add(tree, 0, *FULL)
        on_top(tree, dumpdirs, *map(folder, dumpdirs))
    assert paths(tree) == ["up", "up/new", "up/new/c", "up/new/c/b", "up/new/c/b/z", "up/new/c/y", "up/x"]
    moved = tree.node(b"up/new/c/y")
    assert moved is not None
    assert (moved.member, moved.level) == (b"up/a/y", 0)
    assert b"up/a/y" in set(tree.gone(Patterns([])))


@pytest.mark.parametrize(
    "renames",
    [
        (Rename(b"up/a", b""), Rename(b"up/b", b"up/a"), Rename(b"", b"up/b")),
        (Rename(b"up/a", b"up/b"), Rename(b"up/b", b"up/a")),
    ],
    ids=["by way of a temporary name", "as if at once"],
)
def test_folders_that_changed_names_among_each_other(tree: FileTree, renames: tuple[Rename, ...]) -> None:
    dumpdirs = {
        "up": Dumpdir({b"a": "D", b"b": "D"}, renames, b"up"),
        "up/a": Dumpdir({b"2": "N"}),
        "up/b": Dumpdir({b"1": "N"}),
    }
    with tree.making():
        add(tree, 0, folder("up"), folder("up/a"), entry("up/a/1"), folder("up/b"), entry("up/b/2"))
        on_top(tree, dumpdirs, *map(folder, dumpdirs))
    assert {node.path: node.member for node in tree.chosen() if node.type == "file"} == {
        b"up/a/2": b"up/b/2",
        b"up/b/1": b"up/a/1",
    }


def test_a_file_that_was_named_itself_is_in_no_list(tree: FileTree) -> None:
    with tree.making():
        add(tree, 0, entry("www/.env"), folder("www/app"), entry("www/app/x"))
        on_top(tree, {"www/app": Dumpdir({})}, folder("www/app"))
    assert paths(tree) == ["www/.env", "www/app"]


@pytest.mark.parametrize(
    ("bad", "words"),
    [
        (entry("/etc/passwd"), "an absolute name"),
        (entry("up/../../x"), "leads out of the root"),
        (entry("up/link/x"), "lies below the symlink 'up/link'"),
        (entry("up/link/x/y"), "lies below the symlink 'up/link'"),
        (entry("up/x/y"), "lies below the file 'up/x'"),
        (symlink("up/a", "/etc"), "takes the place of a folder"),
        (entry("up/a"), "takes the place of a folder"),
        (entry("up/lost/y"), "in a folder that no archive holds"),
        (entry("up/hard", "hardlink", link=b"../etc/passwd"), "leads out of the root"),
        (entry("up/hard", "hardlink", link=b"/etc/passwd"), "an absolute name"),
        (entry("up/hard", "hardlink", link=b"up/link/passwd"), "lies below the symlink"),
        (entry("up/hard", "hardlink", link=b"up/none"), "no archive holds"),
        (entry("up/hard", "hardlink", link=b"up/a"), "no archive holds"),
        (entry("up/hard", "hardlink"), "not in its plain form"),
        (entry("up/dev", "character"), "a character device"),
        (entry("up/odd", "whiteout"), "a whiteout"),
    ],
)
def test_what_would_be_written_elsewhere_is_refused(tree: FileTree, bad: Entry, words: str) -> None:
    with pytest.raises(IntegrityError, match=words), tree.making():
        add(tree, 0, *FULL, symlink("up/link", "/etc"), bad)
    assert tree.count() == 0, "all or nothing"


def test_a_link_of_an_earlier_archive_may_have_become_a_folder(tree: FileTree) -> None:
    with tree.making():
        add(tree, 0, folder("up"), symlink("up/link", "/etc"))
        on_top(tree, {"up": Dumpdir({b"link": "D"})}, folder("up"), folder("up/link"), entry("up/link/x"))
    assert paths(tree) == ["up", "up/link", "up/link/x"]


@pytest.mark.parametrize(
    ("dumpdirs", "entries", "words"),
    [
        ({}, (symlink("up/a", "/etc"), entry("up/a/y")), "below the symlink 'up/a'"),
        ({"up": Dumpdir({b"link": "N"})}, (entry("up/link/y"),), "below the symlink 'up/link'"),
        ({"up": Dumpdir({b"x": "N"})}, (entry("up/x/y"),), "below the file 'up/x'"),
        ({"up": Dumpdir({b"z": "N"}, (Rename(b"up/a/b", b"up"),))}, (entry("up/z/y"),), "below the file 'up/z'"),
    ],
)
def test_what_stays_is_no_way_out(
    tree: FileTree, dumpdirs: dict[str, Dumpdir], entries: tuple[Entry, ...], words: str
) -> None:
    add(tree, 0, *FULL, symlink("up/link", "/etc"))
    with pytest.raises(IntegrityError, match=words):
        on_top(tree, dumpdirs, folder("up"), *entries)


@pytest.mark.parametrize(
    ("links", "leading_out"),
    [
        ([("up/a", "/etc")], ["up/a"]),
        ([("up/a", "../../etc")], ["up/a"]),
        ([("up/a", "../x")], []),
        ([("up/a", "b/../../etc")], []),
        ([("up/a", "b/../../../etc")], ["up/a"]),
        ([("up/deep", "sub/sub"), ("up/a", "deep/../../..")], []),
        ([("up/here", "."), ("up/a", "here/../../x")], ["up/a"]),
        ([("up/far", "/etc"), ("up/a", "far/passwd")], ["up/a", "up/far"]),
        ([("up/one", "two"), ("up/two", "one")], []),
        ([("up/a", "nowhere/at/all")], []),
    ],
)
def test_links_that_lead_out_are_found(tree: FileTree, links: list[tuple[str, str]], leading_out: list[str]) -> None:
    with tree.making():
        add(tree, 0, folder("up"), *(symlink(path, link) for path, link in links))
    assert [node.path.decode() for node in tree.leading_out()] == leading_out


def test_names_are_chosen_and_those_that_hard_links_stand_on_are_read(tree: FileTree) -> None:
    with tree.making():
        add(tree, 0, folder("up"), entry("up/a"), entry("up/b"), entry("up/hard", "hardlink", link=b"up/a"))
    assert tree.choose(Patterns(["hard", "no-such"])) == ["no-such"]
    assert paths(tree) == ["up/hard"]
    assert [node.member for node in tree.wanted(0)] == [b"up/a", b"up/hard"]
    assert tree.amount().files == 1


@pytest.mark.parametrize(
    ("content", "words"),
    [
        (b"Y../x\0\0", "not in it"),
        (b"Y..\0\0", "leads out of the root"),
        (b"Y/etc\0\0", "not in it"),
        (b"R../x\0Tup/y\0\0", "leads out of the root"),
        (b"Rup/x\0T/etc\0\0", "an absolute name"),
        (b"Rup/x\0\0", "half a rename"),
        (b"Tup/x\0\0", "half a rename"),
        (b"Rup/x\0Yup\0\0", "not in it|half a rename"),
        (b"X../tmp\0\0", "leads out of the root"),
        (b"Zx\0\0", "can't be read"),
        (b"Yx\0\0Yy\0\0", "can't be read"),
    ],
)
def test_lists_of_folders_that_name_something_else_are_refused(content: bytes, words: str) -> None:
    with pytest.raises(IntegrityError, match=words):
        parse_dumpdir("the archive", b"up", content)


def test_the_list_of_a_folder() -> None:
    found = parse_dumpdir("the archive", b"up", b"Da\0Yb\0N\xff\0Xup\0Rup/x\0T\0Rup/y\0Tup/x\0R\0Tup/y\0\0")
    assert found.names == {b"a": "D", b"b": "Y", b"\xff": "N"}
    assert found.renames == (Rename(b"up/x", b""), Rename(b"up/y", b"up/x"), Rename(b"", b"up/y"))
    assert found.temporary_in == b"up"
    assert parse_dumpdir("the archive", b"up", b"\0").names == {}
