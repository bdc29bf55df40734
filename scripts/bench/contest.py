"""Backup and restore, by us and by the peers, each measured the same way, each result compared with the source."""

import json
import os
import shutil
import sys
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from statistics import median

from bench.measure import BenchError, Usage, disk_bytes, measure
from bench.world import PROJECT, Store, World, content, empty_server, say, source_server, store_server
from spoqplus_backup.core.mysql.sandbox import SandboxServer

OURS = "ours"
SCRIPT = "script"
PIPE = "pipe"
MYDUMPER = "mydumper"
MYLOADER = "myloader"
TAR = "tar"
RESTIC = "restic"

PEERS = Path(__file__).parent / "peers"
BACKUP_PEERS = (SCRIPT, PIPE, MYDUMPER)
RESTORE_PEERS = (SCRIPT, MYLOADER)
BUCKET_OF = {MYLOADER: MYDUMPER}  # it restores what its other half dumped


@dataclass
class Result:
    """All runs of one contestant in one case."""

    runs: list[Usage] = field(default_factory=list)
    stored_bytes: list[int] = field(default_factory=list)
    steps: list[Mapping[str, float]] = field(default_factory=list)

    def median(self, name: str) -> float:
        """The median of one number over all runs."""
        if name == "stored_bytes":
            return float(median(self.stored_bytes))
        return float(median(getattr(usage, name) for usage in self.runs))


Results = dict[str, Result]


def backup_case(world: World, megabytes: int, contestants: Sequence[str], runs: int) -> Results:
    """Dump the source into a bucket of one's own."""
    results: Results = {name: Result() for name in contestants}
    for name in contestants:
        for bucket in _buckets(world, megabytes, name):
            shutil.rmtree(bucket)
        for number in range(1, runs + 1):  # now: the store remembers which folders it has seen
            (world.store / f"{name}-{megabytes}-{number}").mkdir(parents=True)
    with source_server(world, megabytes) as source, store_server(world) as store:
        _warm(world, source, store)
        for number, name in turns(contestants, runs):
            bucket = world.store / f"{name}-{megabytes}-{number}"
            world.clean()
            say(f"backup by {name}, {megabytes} MB, run {number} of {runs}")
            if name == OURS:
                env = world.our_env(source, None, store, bucket.name)
            else:
                env = world.peer_env(source, store, bucket.name)
            run_one(world, "backup", name, env, source.pid, store.pid, results[name])
            results[name].stored_bytes.append(disk_bytes(bucket))
    return results


def restore_case(world: World, megabytes: int, contestants: Sequence[str], runs: int) -> Results:
    """Bring one's own backup into an empty server, which must hold the same as the source afterwards."""
    results: Results = {name: Result() for name in contestants}
    with source_server(world, megabytes) as source:
        expected = content(source)
    with store_server(world) as store:
        for number, name in turns(contestants, runs):
            bucket = _buckets(world, megabytes, BUCKET_OF.get(name, name))[-1].name
            with empty_server(world, megabytes) as target:
                world.clean()
                say(f"restore by {name}, {megabytes} MB, run {number} of {runs}")
                env = (
                    world.our_env(None, target, store, bucket)
                    if name == OURS
                    else world.peer_env(target, store, bucket)
                )
                run_one(world, "restore", name, env, target.pid, store.pid, results[name])
                _compare(name, expected, content(target))
    return results


def has_backup(world: World, megabytes: int, name: str) -> bool:
    """Whether an earlier run left a backup that this contestant can restore."""
    return bool(_buckets(world, megabytes, BUCKET_OF.get(name, name)))


def _buckets(world: World, megabytes: int, name: str) -> list[Path]:
    """What a contestant has stored, a bucket for each run; the last run's is the last."""
    return sorted(world.store.glob(f"{name}-{megabytes}-*"))


def turns(contestants: Sequence[str], runs: int) -> Sequence[tuple[int, str]]:
    """Who is next: every other round goes backwards, so that nobody always runs after the same one."""
    return [
        (number, name)
        for number in range(1, runs + 1)
        for name in (contestants if number % 2 else tuple(reversed(contestants)))
    ]


def run_one(
    world: World,
    case: str,
    name: str,
    env: Mapping[str, str],
    database_pid: int | None,
    store_pid: int,
    result: Result,
    script: str | None = None,
) -> None:
    """Run a contestant once, add to its result what that cost, and tell whoever waits.

    Args:
        world: where everything is.
        case: what is to be done.
        name: who does it.
        env: all of its environment.
        database_pid: of the server that is dumped or restored to, if any.
        store_pid: of the S3 server.
        result: all of its runs.
        script: the peers' for this case, where it is not named as the case is.

    Raises:
        BenchError: it failed.
    """
    log = world.folder / f"{case}-{name}.log"
    times = world.folder / f"{case}-{name}.json"
    ours = [sys.executable, "-m", "bench.ours", case, str(times)]
    argv = ours if name == OURS else [str(PEERS / f"{name}_{script or case}.sh")]
    usage = measure(argv, env=env, log=log, staging=world.staging, database_pid=database_pid, store_pid=store_pid)
    result.runs.append(usage)
    if name == OURS:
        result.steps.append(json.loads(times.read_text()))
    _tell(result)


def _tell(result: Result) -> None:
    usage = result.runs[-1]
    steps = "".join(f", {name} {seconds:.1f}" for name, seconds in (result.steps[-1] if result.steps else {}).items())
    others = f" (+ {usage.other_cpu_seconds:.1f} s of others)" if usage.other_cpu_seconds > usage.seconds / 10 else ""
    cost = f"processor {usage.cpu_seconds:.1f} s{others}, memory {usage.memory_bytes / 1e6:.0f} MB"
    say(f"  {usage.seconds:.1f} s, {cost}{steps}")


def _warm(world: World, source: SandboxServer, store: Store) -> None:
    """Read every row once, and the programs, so that the first contestant does not pay for a cold cache."""
    content(source)
    env = world.peer_env(source, store, "warm") | {
        "PYTHONPATH": os.pathsep.join([str(PROJECT / "plugins"), str(PROJECT / "scripts")])
    }
    script = 'mysqldump --defaults-file="$LOGIN" --all-databases >/dev/null && aws --version && rclone version'
    world.clean()
    for argv in (["bash", "-c", script], [sys.executable, "-c", "import bench.ours"]):
        measure(
            argv,
            env=env,
            log=world.folder / "warm.log",
            staging=world.staging,
            database_pid=source.pid,
            store_pid=store.pid,
        )


def _compare(name: str, expected: Mapping[str, tuple[int, int]], found: Mapping[str, tuple[int, int]]) -> None:
    wrong = [
        f"{key} has {found.get(key)}, not {expected.get(key)}" for key in expected if found.get(key) != expected[key]
    ]
    if wrong:
        raise BenchError(f"What {name} restored is not what the source holds (rows, checksum): {'; '.join(wrong)}.")
