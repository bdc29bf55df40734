"""Uploads: all of them, what changed until the next day, and their restore; by us, by the strategy's script, by restic.

What a contestant has to remember from one day to the next (our snapshot of the tree, restic's cache) it keeps in a
staging folder of its own, one for each run.
"""

import hashlib
import os
import random
import shutil
import subprocess
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, replace
from datetime import date, timedelta
from pathlib import Path

from bench.contest import OURS, PEERS, RESTIC, TAR, Result, Results, run_one, turns
from bench.measure import BenchError, disk_bytes
from bench.world import Store, World, say, source_server, store_server
from spoqplus_backup.core.mysql.sandbox import SandboxServer

CONTESTANTS = (OURS, TAR, RESTIC)
BACKUP, NEXT_DAY, RESTORE = "files-backup", "files-next-day", "files-restore"
SCRIPTS = {BACKUP: "files_backup", NEXT_DAY: "files_backup", RESTORE: "files_restore"}

# A site's uploads: pictures, which nothing compresses, and documents, exports and logs of theirs, which are text.
PICTURE_SHARE = 0.8  # of the bytes
PICTURE_BYTES = (30_000, 400_000)
TEXT_BYTES = (500, 40_000)
DAYS = 365
FIRST_DAY = date(2025, 1, 1)
CHANGED_SHARE = 0.01  # of the bytes, until the next day
DATABASE_MEGABYTES = 4  # our sets hold something of a database server, whatever else they hold

Content = Mapping[bytes, tuple[int, int, str]]


@dataclass(frozen=True)
class _Contest:
    """What all runs share."""

    world: World
    source: SandboxServer
    store: Store
    tree: Path

    def within(self, name: str, number: int) -> World:
        """The world of one contestant's run: its own staging folder."""
        return replace(self.world, staging=self.world.folder / f"staging-{name}-{number}", uploads=self.tree)

    def bucket(self, name: str, number: int) -> Path:
        """The folder of its bucket."""
        return self.world.store / f"files-{name}-{self.world.megabytes}-{number}"

    def env(self, case: str, name: str, number: int) -> Mapping[str, str]:
        """The environment of its programs; `DAY` tells the script's archives apart."""
        world, bucket = self.within(name, number), self.bucket(name, number).name
        if name == OURS:
            return world.our_env(self.source, None, self.store, bucket)
        return world.peer_env(None, self.store, bucket) | {"DAY": "1" if case == BACKUP else "2"}

    def run(self, case: str, name: str, number: int, result: Result) -> None:
        """One contestant's part in one case."""
        os.sync()
        say(f"{case} by {name}, {self.world.megabytes} MB, run {number}")
        env = self.env(case, name, number)
        run_one(self.within(name, number), case, name, env, None, self.store.pid, result, SCRIPTS[case])


def cases(world: World, runs: int) -> Mapping[str, Results]:
    """All three, one after the other, as each stands on the one before."""
    results: dict[str, Results] = {case: {name: Result() for name in CONTESTANTS} for case in SCRIPTS}
    tree = world.folder / "uploads"
    say(f"making {world.megabytes} MB of uploads in {tree}")
    _make_tree(tree, world.megabytes * 1_000_000)
    for name in CONTESTANTS:
        for number in range(1, runs + 1):
            _make_anew(world.store / f"files-{name}-{world.megabytes}-{number}")
            _make_anew(world.folder / f"staging-{name}-{number}")
    with source_server(world, DATABASE_MEGABYTES) as source, store_server(world) as store:
        contest = _Contest(world, source, store, tree)
        for number in range(1, runs + 1):
            subprocess.run([PEERS / "restic_files_prepare.sh"], env=contest.env(BACKUP, RESTIC, number), check=True)
        _content(tree)  # it lies in memory for the first one, too
        for case in (BACKUP, NEXT_DAY):
            if case == NEXT_DAY:
                _change(tree, world.megabytes * 1_000_000)
            for number, name in turns(CONTESTANTS, runs):
                bucket, result = contest.bucket(name, number), results[case][name]
                before = disk_bytes(bucket)
                contest.run(case, name, number, result)
                result.stored_bytes.append(disk_bytes(bucket) - before)
        expected = _content(tree)
        for number, name in turns(CONTESTANTS, runs):
            _make_anew(world.restored)
            contest.run(RESTORE, name, number, results[RESTORE][name])
            _compare(name, expected, _content(world.restored / tree.relative_to("/")))
    for folder in (tree, world.restored, *world.folder.glob("staging-*-*")):
        shutil.rmtree(folder)
    return results


def _make_anew(folder: Path) -> None:
    shutil.rmtree(folder, ignore_errors=True)
    folder.mkdir(parents=True)


# ---- the uploads ----------------------------------------------------------------------------------------------------


def _make_tree(tree: Path, size: int) -> None:
    """Files of so many bytes in a folder for each day; the same size gives the same files, to the byte."""
    _make_anew(tree)
    rng = random.Random(size)
    left = size
    while left > 0:
        left -= _write(tree, rng, FIRST_DAY + timedelta(days=rng.randrange(DAYS)))


def _change(tree: Path, size: int) -> None:
    """What comes until the next day, and some that are deleted or written anew."""
    rng = random.Random(size + 1)
    left = size * CHANGED_SHARE
    while left > 0:
        left -= _write(tree, rng, FIRST_DAY + timedelta(days=DAYS))
    there = sorted(path for path in tree.rglob("*") if path.is_file())
    gone, *changed = rng.sample(there, 3)
    gone.unlink()
    for path in changed:
        path.write_bytes(rng.randbytes(path.stat().st_size + 1))


def _write(tree: Path, rng: random.Random, day: date) -> int:
    """One more file; its bytes. Of each kind there are as many as give its share of the bytes."""
    folder = tree / f"{day:%Y/%m/%d}"
    folder.mkdir(parents=True, exist_ok=True)
    pictures = PICTURE_SHARE / sum(PICTURE_BYTES)
    texts = (1 - PICTURE_SHARE) / sum(TEXT_BYTES)
    if rng.random() < pictures / (pictures + texts):
        content = rng.randbytes(rng.randint(*PICTURE_BYTES))
        path = folder / f"회원 {rng.getrandbits(40):010x}.jpg"
    else:
        content = b"".join(_lines(rng, rng.randint(*TEXT_BYTES)))
        path = folder / f"visits-{rng.getrandbits(40):010x}.csv"
    path.write_bytes(content)
    return len(content)


def _lines(rng: random.Random, size: int) -> Iterator[bytes]:
    while size > 0:
        line = (
            f"{rng.randrange(10**6)},2025-{rng.randint(1, 12):02d}-{rng.randint(1, 28):02d},입장,{rng.random():.6f}\n"
        )
        yield line.encode()
        size -= len(line)


def _content(tree: Path) -> Content:
    """Mode, time (whole seconds: tar's own format has no more) and content of every file, by its name."""
    found: dict[bytes, tuple[int, int, str]] = {}
    for path in tree.rglob("*"):
        if path.is_file():
            status = path.stat()
            digest = hashlib.sha256(path.read_bytes()).hexdigest()
            found[os.fsencode(path.relative_to(tree))] = (status.st_mode, int(status.st_mtime), digest)
    return found


def _compare(name: str, expected: Content, found: Content) -> None:
    if wrong := [os.fsdecode(path) for path in expected.keys() | found.keys() if expected.get(path) != found.get(path)]:
        raise BenchError(
            f"What {name} restored is not what was there: {len(wrong)} files differ, among them {sorted(wrong)[0]}."
        )
