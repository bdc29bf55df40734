"""How fast the cutter takes a dump apart, on one core: MariaDB's form, and MySQL's (a statement on one line)."""

import itertools
import shutil
import subprocess
import time
from collections.abc import Iterator, Sequence

from bench.measure import BenchError
from bench.world import World, say, source_server
from spoqplus_backup.core.mysql.cutter import Cutter
from spoqplus_backup.core.part_writer import PartWriter

BLOCK_BYTES = 1 << 20
STRIDE_BLOCKS = 8
PART_BYTES = 16 << 20
MOST_BYTES = 256 << 20
ROUNDS = 3


def throughput(world: World, megabytes: int) -> dict[str, float]:
    """Megabytes (10^6) for each second of processor time, the writing of parts included; the best of some rounds."""
    with source_server(world, megabytes) as server:
        lines = b"".join(_sample(str(server.socket), megabytes))
    say("cutting a dump")
    # a value never holds a raw newline, so these stand between rows only
    one_line = lines.replace(b" VALUES\n(", b" VALUES (").replace(b"),\n(", b"),(")
    return {"mariadb": _best(world, lines), "mysql": _best(world, one_line)}


def _sample(socket: str, megabytes: int) -> Iterator[bytes]:
    """Stretches of a real dump, evenly from all of its rows; each begins with a statement."""
    argv = [
        "mysqldump",
        "--no-defaults",
        f"--socket={socket}",
        "--user=root",
        "--single-transaction",
        "--no-create-info",
    ]
    argv += ["--skip-triggers", "--skip-add-locks", "--skip-disable-keys", "--skip-comments", "spoqplus"]
    every = max(1, megabytes * 1_000_000 // MOST_BYTES)
    with subprocess.Popen(argv, stdout=subprocess.PIPE) as process:
        assert process.stdout is not None  # noqa: S101 (asked for above)
        for number in itertools.count():
            stretch = process.stdout.read(STRIDE_BLOCKS * BLOCK_BYTES)
            if not stretch:
                break
            if number % every == 0:
                first, last = stretch.find(b"\nINSERT INTO ") + 1, stretch.rfind(b";\n") + 2
                yield stretch[first:last]
    if process.returncode:
        raise BenchError(f"mysqldump ended with status {process.returncode}")


def _best(world: World, dump: bytes) -> float:
    blocks = [dump[at : at + BLOCK_BYTES] for at in range(0, len(dump), BLOCK_BYTES)]
    return max(_once(world, blocks) for _ in range(ROUNDS))


def _once(world: World, blocks: Sequence[bytes]) -> float:
    folder = world.staging / "cut"
    shutil.rmtree(folder, ignore_errors=True)
    folder.mkdir(parents=True)
    cutter = Cutter(PartWriter(folder), PART_BYTES, database="spoqplus")
    started = time.process_time()
    for block in blocks:
        cutter.feed(block)
    cutter.close()
    return sum(map(len, blocks)) / (time.process_time() - started) / 1e6
