"""Any history of a tree between its archives: what comes back is what there was, by GNU tar's reading and by ours."""

import random
import shutil
from pathlib import Path

import pytest

from support.file_sets import FileSite, make_file_site

pytestmark = pytest.mark.integration

SEEDS = range(10)  # GNU tar itself would fail for 2: folders that were renamed into each other
NAMES = ["a", "b", "c", "한", "x y", "n\nl", "-"]
STEPS = 25


class History:
    """Changes a tree in ways that a site could; the seed says which."""

    def __init__(self, top: Path, seed: int) -> None:
        self.top = top
        self.random = random.Random(seed)
        self.count = 0

    def run(self, steps: int) -> None:
        for _ in range(steps):
            change = self.random.choice(
                [
                    self.write,
                    self.write,
                    self.write,
                    self.make,
                    self.remove,
                    self.rename,
                    self.exchange,
                    self.link,
                    self.hard,
                ]
            )
            change()

    def any(self, folders: bool | None = None) -> Path | None:
        found = sorted(path for path in self.top.rglob("*") if folders is None or is_folder(path) == folders)
        return self.random.choice(found) if found else None

    def free(self) -> Path:
        """A name that may be there, in a folder that is."""
        folder = self.any(folders=True) if self.random.random() < 0.7 else None
        return (folder or self.top) / self.random.choice(NAMES)

    def take(self, path: Path) -> None:
        if is_folder(path):
            shutil.rmtree(path)
        elif path.is_symlink() or path.exists():
            path.unlink()

    def write(self) -> None:
        path = self.free()
        if is_folder(path) and self.random.random() < 0.7:
            return
        self.take(path)
        self.count += 1
        path.write_text(f"content {self.count} " * self.random.randrange(200))

    def make(self) -> None:
        path = self.free()
        if not is_folder(path):
            self.take(path)
            path.mkdir()

    def remove(self) -> None:
        if path := self.any():
            self.take(path)

    def rename(self) -> None:
        source, target = self.any(), self.free()
        if source is None or target == source or target.is_relative_to(source) or source.is_relative_to(target):
            return
        self.take(target)
        source.rename(target)

    def exchange(self) -> None:
        one, two = self.any(folders=True), self.any(folders=True)
        if one is None or two is None or one.is_relative_to(two) or two.is_relative_to(one):
            return
        aside = self.top / "aside"
        one.rename(aside)
        two.rename(one)
        aside.rename(two)

    def link(self) -> None:
        path = self.free()
        if not is_folder(path):
            self.take(path)
            path.symlink_to(self.random.choice(NAMES))

    def hard(self) -> None:
        source, path = self.any(folders=False), self.free()
        if source is None or is_folder(path) or source == path or source.is_symlink():
            return
        self.take(path)
        path.hardlink_to(source)


def is_folder(path: Path) -> bool:
    return path.is_dir() and not path.is_symlink()


def tree(top: Path) -> dict[str, tuple[object, ...]]:
    found: dict[str, tuple[object, ...]] = {}
    for path in top.rglob("*"):
        status = path.lstat()
        content = str(path.readlink()) if path.is_symlink() else path.read_text() if path.is_file() else None
        found[str(path.relative_to(top))] = (oct(status.st_mode), status.st_mtime_ns, content)
    return found


def clock_moves_on(folder: Path) -> None:
    """Wait until a new file has a later time than one that is there: GNU tar can't tell them apart before."""
    first = folder / "clock"
    first.touch()
    while True:
        second = folder / "clock-2"
        second.touch()
        later = second.stat().st_mtime_ns > first.stat().st_mtime_ns
        second.unlink()
        if later:
            first.unlink()
            return


@pytest.mark.parametrize("seed", SEEDS)
def test_any_history(site: FileSite, seed: int) -> None:
    top = site.source / "up"
    top.mkdir()
    history = History(top, seed)
    history.run(2 * STEPS)
    full = site.archive(["up"])
    clock_moves_on(site.directory)
    history.run(STEPS)
    incremental = site.archive(["up"], base=full)
    expected = tree(top)
    site.restore(backup=incremental)
    assert tree(site.directory / "restored/up") == expected
    chosen = [name for name, about in expected.items() if about[2] is not None]
    if chosen:
        picked = history.random.choice(chosen)
        site.restore(backup=incremental, paths=[f"/up/{escaped(picked)}"], target_root=str(site.directory / "other"))
        assert tree(site.directory / "other/up")[picked] == expected[picked]


def escaped(name: str) -> str:
    return "".join(f"[{letter}]" if letter in "*?[" else letter for letter in name)


@pytest.fixture
def site(tmp_path: Path) -> FileSite:
    return make_file_site(tmp_path / "site")
