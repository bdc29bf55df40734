"""Whatever happens to a tree: its full archive and then an incremental one give it back, by GNU tar itself."""

import os
import random
import shutil
import subprocess
import tarfile
import tempfile
from datetime import datetime, timezone
from pathlib import Path

from hypothesis import given, settings
from hypothesis import strategies as st

from spoqplus_backup.core.files.archive import tar_arguments
from spoqplus_backup.core.files.snapshots import Base, lend_snapshot
from spoqplus_backup.core.settings import FilesSelection
from support.servers import wait_until
from support.trees import described, differences

NAMES = "abcd"


def somewhere(choice: random.Random, root: Path) -> Path:
    """A path that may or may not be there, whose folder is."""
    folders = [root, *sorted(path for path in root.rglob("*") if path.is_dir())]
    return choice.choice(folders) / choice.choice(NAMES)


def something(choice: random.Random, root: Path) -> Path | None:
    paths = sorted(root.rglob("*"))
    return choice.choice(paths) if paths else None


def grow(choice: random.Random, root: Path) -> None:
    path = somewhere(choice, root)
    if not path.exists():
        if choice.random() < 0.5:
            path.mkdir()
        else:
            path.write_bytes(choice.randbytes(choice.randrange(2000)))


def change(choice: random.Random, root: Path) -> None:
    path = something(choice, root)
    if path is None:
        return
    if path.is_file():
        path.write_bytes(choice.randbytes(100))
    path.chmod(choice.choice([0o700, 0o755]))


def remove(choice: random.Random, root: Path) -> None:
    path = something(choice, root)
    if path is not None:
        shutil.rmtree(path) if path.is_dir() else path.unlink()


def rename(choice: random.Random, root: Path) -> None:
    path, target = something(choice, root), somewhere(choice, root)
    if path is not None and not target.exists() and path not in target.parents:
        path.rename(target)


def create(root: Path, snapshot: Path, archive: Path) -> None:
    selection = FilesSelection(name="x", paths=(root,))
    with archive.open("wb") as file:
        command = ["tar", *tar_arguments(selection, snapshot), "--", str(root).lstrip("/")]
        subprocess.run(command, check=True, stdout=file)


def pass_the_clocks_tick(folder: Path) -> None:
    """The kernel stamps files by a clock that may be some milliseconds behind the one that tar reads."""
    stamp = (folder / "snapshot").stat().st_mtime_ns

    def later() -> bool:
        (folder / "tick").write_text("")
        return (folder / "tick").stat().st_mtime_ns > stamp

    wait_until(later, 5, "the clock to go on")


def moves(archive: Path) -> list[str]:
    """The folders that tar archived as renamed."""
    with tarfile.open(archive) as tar:
        lists = {member.name: member.pax_headers.get("GNU.dumpdir", "") for member in tar}
    return [name for name, listed in lists.items() if any(entry[:1] in "RTX" for entry in listed.split("\0") if entry)]


@settings(deadline=None, max_examples=40)
@given(st.randoms(use_true_random=False), st.integers(0, 12), st.integers(0, 8))
def test_any_change(choice: random.Random, before: int, after: int) -> None:
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        root = folder / "tree"
        root.mkdir()
        for _ in range(before):
            grow(choice, root)
        create(root, folder / "snapshot", folder / "full.tar")
        pass_the_clocks_tick(folder)
        for _ in range(after):
            choice.choice([grow, change, remove, rename])(choice, root)
        lend_snapshot(Base("weekly/1", datetime.now(timezone.utc), folder / "snapshot"), folder / "copy")
        create(root, folder / "copy", folder / "incremental.tar")

        assert not moves(folder / "incremental.tar")
        target = folder / "target"
        target.mkdir()
        for archive in ("full.tar", "incremental.tar"):
            command = ["tar", "--extract", "--listed-incremental=/dev/null", "--preserve-permissions"]
            subprocess.run([*command, f"--file={folder / archive}", f"--directory={target}"], check=True)
        assert differences(described(root), described(target / os.path.relpath(root, "/"))) == []
