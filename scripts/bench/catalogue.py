"""The list of a repository that holds ten sets for each megabyte of the benchmark: 10,000 beside 1,000 MB.

Nothing is remembered by us. The server walks through all of its files when it is asked first, so the first list of one
that has just started is measured apart. A tenth of the sets tells whether memory grows.
"""

import shutil
import sys
from collections.abc import Iterator
from datetime import datetime, timedelta
from pathlib import Path
from statistics import median

from bench import report
from bench.measure import BenchError, Usage, measure
from bench.world import Store, World, say, store_server
from spoqplus_backup.core.manifest import MANIFEST, SIGNATURE

SETS_A_MB = 10
PARTS = 4  # of each set; with manifest and signature it has six objects
BUCKET = "catalogue"
FIRST = datetime(2015, 1, 1, 3)  # noqa: DTZ001 (a name)
APART = timedelta(hours=6)


def rows(world: World, runs: int) -> Iterator[report.Row]:
    """The medians of the seconds, the most of the memory."""
    many = world.megabytes * SETS_A_MB
    firsts, seconds = zip(*(_lists(world, many) for _ in range(runs)), strict=True)
    most, most_of_tenth = (
        max(usage.memory_bytes for usage in usages) / report.MIB
        for usages in (firsts + seconds, _lists(world, many // 10))
    )
    yield report.against_target("catalogue", "first_list_seconds", median(usage.seconds for usage in firsts))
    yield report.against_target("catalogue", "list_seconds", median(usage.seconds for usage in seconds))
    yield report.against_target("catalogue", "list_mib", most)
    yield report.against_target("catalogue", "more_mib_than_a_tenth", most - most_of_tenth)


def _lists(world: World, number: int) -> tuple[Usage, Usage]:
    """The first list that a server is asked for, and the next."""
    root = world.folder / f"catalogue-{number}"
    _publish(root, number)
    with store_server(world, root) as store:
        return _list(world, store, number), _list(world, store, number)


def _list(world: World, store: Store, number: int) -> Usage:
    world.clean()
    log = world.folder / "catalogue.log"
    usage = measure(
        [sys.executable, "-m", "spoqplus_backup.cli", "list"],
        env=world.our_env(None, None, store, BUCKET),
        log=log,
        staging=world.staging,
        database_pid=None,
        store_pid=store.pid,
    )
    if f"{number:,} sets" not in log.read_text():
        raise BenchError(f"The list of {number} sets is not whole: see {log}.")
    say(f"  a list of {number} sets: {usage.seconds:.1f} s, memory {usage.memory_bytes / 1e6:.0f} MB")
    return usage


def _publish(root: Path, number: int) -> None:
    """So many sets as the server's files, made once; all are links to two: it is their number that counts."""
    if (root / "complete").exists():
        return
    shutil.rmtree(root, ignore_errors=True)
    say(f"making {number} sets in {root}")
    sets = root / BUCKET / "daily"
    sets.mkdir(parents=True)
    (part := root / "part").touch()
    (manifest := root / "manifest").write_bytes(b"{}")
    for position in range(number):
        folder = sets / f"{FIRST + position * APART:%Y%m%d_%H%M%S}"
        folder.mkdir()
        (folder / "database").mkdir()
        for part_number in range(1, PARTS + 1):
            (folder / "database" / f"{part_number:06d}.sql.zst.age").hardlink_to(part)
        (folder / SIGNATURE).hardlink_to(part)
        (folder / MANIFEST).hardlink_to(manifest)
    (root / "complete").touch()
