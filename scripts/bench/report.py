"""What was measured, as rows for the JSON file, as a table for people, and against the targets."""

import json
import os
import platform
import subprocess
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import asdict, dataclass
from pathlib import Path

from bench.contest import MYLOADER, OURS, PIPE, SCRIPT, TAR, Results
from bench.world import PROJECT, World

MIB = 1 << 20
PLAIN_PIPE = "plain-pipe"  # mysqlbinlog | mysql
TARGET = "target"  # the peer, where we are held against a number and not a program
QUARTER = "quarter"  # the peer, where we are held against ourselves with a quarter of the data


@dataclass(frozen=True)
class Row:
    """One comparison; `ratio` is ours by theirs, None where theirs is nothing."""

    case: str
    peer: str
    metric: str
    ours: float
    theirs: float
    ratio: float | None


@dataclass(frozen=True)
class Metric:
    """A number of a contest: its name in the JSON, for people, in `Result`, and how many of that make one."""

    name: str
    label: str
    field: str
    unit: int = 1


METRICS = (
    Metric("wall_seconds", "wall time, s", "seconds"),
    Metric("cpu_seconds", "processor, s", "cpu_seconds"),
    Metric("database_cpu_seconds", "database server's processor, s", "database_cpu_seconds"),
    Metric("store_cpu_seconds", "S3 server's processor, s", "store_cpu_seconds"),
    Metric("memory_mib", "peak memory, MiB", "memory_bytes", MIB),
    Metric("largest_process_mib", "of its largest process, MiB", "largest_process_bytes", MIB),
    Metric("staging_mib", "peak of the staging disk, MiB", "staging_bytes", MIB),
    Metric("stored_mib", "stored, MiB", "stored_bytes", MIB),
)
DATABASE, STORED = METRICS[2], METRICS[-1]

# What the ratio (of a program's) or our own number (of `target`) has to be: at most, or at least
AT_MOST: Mapping[tuple[str, str, str], float] = {
    ("backup", SCRIPT, "wall_seconds"): 0.25,
    ("backup", PIPE, "wall_seconds"): 1.0,
    ("restore", SCRIPT, "wall_seconds"): 0.55,
    ("restore", MYLOADER, "wall_seconds"): 0.7,
    ("memory", TARGET, "backup_mib"): 300.0,
    ("memory", TARGET, "restore_mib"): 300.0,
    ("orchestration", TARGET, "seconds_per_stage"): 1.5,
    ("files-backup", TAR, "wall_seconds"): 1.0,
    ("files-next-day", TAR, "wall_seconds"): 1.0,
    ("files-restore", TAR, "wall_seconds"): 1.0,
    ("catalogue", TARGET, "first_list_seconds"): 5.0,
    ("catalogue", TARGET, "list_seconds"): 5.0,
    ("catalogue", TARGET, "list_mib"): 150.0,
    ("catalogue", TARGET, "more_mib_than_a_tenth"): 8.0,
    ("page", TARGET, "first_paint_cold_seconds"): 3.0,
    ("page", TARGET, "first_paint_warm_seconds"): 1.0,
    ("page", TARGET, "sets_warm_seconds"): 1.0,
    ("replay", PLAIN_PIPE, "mariadb_applier_seconds"): 0.35,
    ("replay", PLAIN_PIPE, "mysql_applier_seconds"): 0.35,
}
AT_LEAST: Mapping[tuple[str, str, str], float] = {
    ("cutter", TARGET, "mariadb_mb_per_second"): 400.0,
    ("cutter", TARGET, "mysql_mb_per_second"): 400.0,
}


def row(case: str, peer: str, metric: str, ours: float, theirs: float) -> Row:
    """A comparison with its ratio."""
    return Row(case, peer, metric, round(ours, 3), round(theirs, 3), round(ours / theirs, 3) if theirs else None)


def against_target(case: str, metric: str, ours: float) -> Row:
    """A number of ours beside the one that it must not pass."""
    key = (case, TARGET, metric)
    return row(case, TARGET, metric, ours, AT_MOST.get(key) or AT_LEAST[key])


def contest_rows(case: str, results: Results) -> Iterator[Row]:
    """Us beside each peer, in every metric."""
    for peer in results:
        if peer == OURS:
            continue
        for metric in _metrics(results):
            ours, theirs = (results[name].median(metric.field) / metric.unit for name in (OURS, peer))
            yield row(case, peer, metric.name, ours, theirs)


def contest_table(case: str, megabytes: int, results: Results) -> str:
    """One case in Markdown, a column for each contestant; in parentheses ours by theirs."""
    names = list(results)
    lines = [[f"{case} of {megabytes} MB", *names]]
    for metric in _metrics(results):
        numbers = {name: results[name].median(metric.field) / metric.unit for name in names}
        cells = [_cell(number, numbers[OURS] if name != OURS else None) for name, number in numbers.items()]
        lines.append([metric.label, *cells])
    return _markdown(lines)


def steps(results: Results) -> str:
    """Where our own time went: the steps of the last run."""
    return "our steps, s: " + ", ".join(f"{name} {seconds:.1f}" for name, seconds in results[OURS].steps[-1].items())


def targets_table(rows: Sequence[Row]) -> str:
    """Every target that these rows are about, and whether it is met; in Markdown."""
    lines = [["target", "measured", "wanted", "met"]]
    for found in rows:
        key = (found.case, found.peer, found.metric)
        number = found.ours if found.peer == TARGET else found.ratio
        limit = AT_MOST.get(key) or AT_LEAST.get(key)
        if limit is None or number is None:
            continue
        met = number <= limit if key in AT_MOST else number >= limit
        subject = f"{found.case}: {found.metric}" + (f", ours by {found.peer}'s" if found.peer != TARGET else "")
        wanted = f"at {'most' if key in AT_MOST else 'least'} {limit:g}"
        lines.append([subject, f"{number:.2f}", wanted, "yes" if met else "NO"])
    return _markdown(lines)


def _markdown(lines: Sequence[Sequence[str]]) -> str:
    """A table that is as readable before it is rendered; the first line is its head, the first column its labels."""
    widths = [max(len(line[column]) for line in lines) for column in range(len(lines[0]))]
    rule = ["-" * widths[0], *("-" * (width - 1) + ":" for width in widths[1:])]
    padded = [
        [line[0].ljust(widths[0]), *(cell.rjust(width) for cell, width in zip(line[1:], widths[1:], strict=True))]
        for line in (lines[0], rule, *lines[1:])
    ]
    return "\n".join(f"| {' | '.join(line)} |" for line in padded)


def write_json(path: Path, rows: Sequence[Row]) -> None:
    """All rows, for programs."""
    path.write_text(json.dumps([asdict(found) for found in rows], indent=1) + "\n")


def machine(world: World) -> str:
    """What was measured on, and with which versions."""
    memory = os.sysconf("SC_PAGE_SIZE") * os.sysconf("SC_PHYS_PAGES") / (1 << 30)
    cpu = next((line for line in Path("/proc/cpuinfo").read_text().splitlines() if line.startswith("model name")), ":")
    rclone = str(PROJECT / ".venv" / "bin" / "rclone")
    programs = {
        "server": ["/usr/sbin/mariadbd", "--version"],
        "client": ["mysqldump", "--version"],
        "gzip": ["gzip", "--version"],
        "zstd": ["zstd", "--version"],
        "age": ["age", "--version"],
        "openssl": ["openssl", "version"],
        "aws": [str(world.aws), "--version"],
        "rclone": [rclone, "version"],
        "mydumper": ["mydumper", "--version"],
        "tar": ["tar", "--version"],
        "restic": ["restic", "version"],
    }
    cores = len(os.sched_getaffinity(0))
    lines = [f"{cores} cores ({cpu.partition(':')[2].strip()}), {memory:.0f} GiB of memory, {platform.platform()}"]
    for name, argv in programs.items():
        answer = subprocess.run(argv, check=True, capture_output=True, text=True).stdout.strip()
        lines.append(f"  {name}: {answer.splitlines()[0]}")
    return "\n".join(lines)


def _metrics(results: Results) -> Sequence[Metric]:
    """Those that some contestant has a number of."""
    stored = all(result.stored_bytes for result in results.values())
    database = any(result.median(DATABASE.field) for result in results.values())
    left_out = [*([] if stored else [STORED]), *([] if database else [DATABASE])]
    return [metric for metric in METRICS if metric not in left_out]


def _cell(number: float, ours: float | None) -> str:
    if ours is None:
        return f"{number:.1f}"
    return f"{number:.1f} ({ours / number:.2f})" if number else f"{number:.1f} (-)"
