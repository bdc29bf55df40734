"""Backup and restore beside other ways to do them, on the same data, into the same S3 server: `make bench`.

Prints a table and writes `build/bench.json`: a list of {case, peer, metric, ours, theirs, ratio}.

Environment: BENCH_MB is the size of the data as SQL text (default 1000), BENCH_RUNS how often each contestant runs; the
medians count (default 1).
"""

import argparse
import os
import sys
from collections.abc import Sequence
from pathlib import Path

from bench import cache, catalogue, cutting, files, orchestration, page, replay, report
from bench.contest import (
    BACKUP_PEERS,
    BUCKET_OF,
    OURS,
    RESTORE_PEERS,
    Results,
    backup_case,
    has_backup,
    restore_case,
)
from bench.measure import BenchError
from bench.world import PROJECT, World, make_world, say

CASES = ("backup", "restore", "memory", "cutter", "orchestration", "replay", "files", "catalogue", "page")
CONTESTS = {"backup": (backup_case, BACKUP_PEERS), "restore": (restore_case, RESTORE_PEERS)}
ORCHESTRATION_RUNS = 3
MEMORY_SHARE = 4


def main() -> int:
    """Run what was asked for; the exit status tells whether everything ran, not who won."""
    options = _options()
    world = make_world(options.folder, options.megabytes)
    print(report.machine(world), flush=True)
    rows: list[report.Row] = []
    try:
        for case in options.cases:
            rows += _case(world, case, options)
    except BenchError as error:
        print(f"error: {error}", file=sys.stderr)
        return 1
    report.write_json(options.json, rows)
    print(f"\n{report.targets_table(rows)}\n\nall numbers: {options.json}")
    return 0


def _options() -> argparse.Namespace:
    parser = argparse.ArgumentParser(
        prog="bench", description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    build = PROJECT / "build"
    parser.add_argument("--megabytes", type=int, default=os.environ.get("BENCH_MB", "1000"), help="BENCH_MB")
    parser.add_argument("--runs", type=int, default=os.environ.get("BENCH_RUNS", "1"), help="BENCH_RUNS")
    parser.add_argument("--cases", nargs="+", choices=CASES, default=CASES, help="only these (default: all)")
    parser.add_argument(
        "--reuse-peers",
        action="store_true",
        help="take the peers' numbers of an earlier backup or restore: to tune ours",
    )
    parser.add_argument("--folder", type=Path, default=build / "bench", help="for data, servers and logs")
    parser.add_argument("--json", type=Path, default=build / "bench.json", help="the results for programs")
    return parser.parse_args()


def _case(world: World, case: str, options: argparse.Namespace) -> Sequence[report.Row]:
    if case in CONTESTS:
        return _told(world, case, _contest(world, case, options))
    if case == "files":
        return [row for name, found in files.cases(world, options.runs).items() for row in _told(world, name, found)]
    if case == "catalogue":
        return list(catalogue.rows(world, options.runs))
    if case == "page":
        return list(page.rows(world, options.runs))
    if case == "replay":
        rows = list(replay.rows(world, options.runs))
        print(f"\n{replay.table(world, rows)}\n", flush=True)
        return rows
    if case == "memory":
        return _memory(world, options)
    if case == "cutter":
        found = cutting.throughput(world, world.megabytes)
        return [report.against_target("cutter", f"{form}_mb_per_second", speed) for form, speed in found.items()]
    seconds = orchestration.seconds_per_stage(world, ORCHESTRATION_RUNS)
    return [report.against_target("orchestration", "seconds_per_stage", seconds)]


def _told(world: World, case: str, results: Results) -> Sequence[report.Row]:
    print(f"\n{report.contest_table(case, world.megabytes, results)}\n\n{report.steps(results)}\n", flush=True)
    return list(report.contest_rows(case, results))


def _contest(world: World, case: str, options: argparse.Namespace) -> Results:
    run, peers = CONTESTS[case]
    known = cache.read(world, case, peers) if options.reuse_peers else {}
    contestants = (OURS, *(peer for peer in peers if peer not in known))
    if case == "restore":
        _make_backups(world, world.megabytes, contestants)
    results = run(world, world.megabytes, contestants, options.runs)
    cache.write(world, case, results)
    return {name: results.get(name) or known[name] for name in (OURS, *peers)}


def _make_backups(world: World, megabytes: int, contestants: Sequence[str]) -> None:
    missing = [name for name in contestants if not has_backup(world, megabytes, name)]
    if missing:
        say(f"no backup yet of {', '.join(missing)}")
        backup_case(world, megabytes, [BUCKET_OF.get(name, name) for name in missing], runs=1)


def _memory(world: World, options: argparse.Namespace) -> Sequence[report.Row]:
    """Ours alone, with all of the data and with a quarter of them: memory must not grow with the data."""
    peaks: dict[str, list[float]] = {"backup": [], "restore": []}
    for megabytes in (world.megabytes, max(1, world.megabytes // MEMORY_SHARE)):
        for case, (run, _) in CONTESTS.items():
            peaks[case].append(run(world, megabytes, (OURS,), 1)[OURS].median("memory_bytes") / report.MIB)
    rows = []
    for case, (whole, quarter) in peaks.items():
        rows.append(report.against_target("memory", f"{case}_mib", max(whole, quarter)))
        rows.append(report.row("memory", report.QUARTER, f"{case}_mib", whole, quarter))
    return rows


if __name__ == "__main__":
    sys.exit(main())
