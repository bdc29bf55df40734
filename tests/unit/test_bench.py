"""The benchmark's harness, on a data set so small that its numbers mean nothing: every peer of its contests is there.

Four cases are left out. Three take a minute whatever the size: `orchestration` and `page` start an Airflow, as the
tests in e2e and web do, `replay` servers of both vendors, as the tests of the replay do. `memory` is backup and restore
once more.
"""

import json
import os
import subprocess
import sys
from pathlib import Path

import pytest

PROJECT = Path(__file__).resolve().parents[2]
CASES = ("backup", "restore", "cutter", "files", "catalogue")
CONTEST_METRICS = {
    "wall_seconds",
    "cpu_seconds",
    "database_cpu_seconds",
    "store_cpu_seconds",
    "memory_mib",
    "largest_process_mib",
    "staging_mib",
}
PEERS = {
    "backup": {"script", "pipe", "mydumper"},
    "restore": {"script", "myloader"},
    "files-backup": {"tar", "restic"},
    "files-next-day": {"tar", "restic"},
    "files-restore": {"tar", "restic"},
}


Run = tuple[str, list[dict[str, object]]]


def bench(folder: Path, *arguments: str, **env: str) -> "subprocess.CompletedProcess[str]":
    return subprocess.run(
        [sys.executable, "-m", "bench", "--folder", str(folder / "work"), *arguments],
        cwd=PROJECT,
        env=os.environ | {"PYTHONPATH": "scripts", "BENCH_MB": "4", "BENCH_RUNS": "1"} | env,
        capture_output=True,
        text=True,
    )


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return tmp_path_factory.mktemp("bench")


@pytest.fixture(scope="module")
def run(folder: Path) -> Run:
    """What the bench prints, and the rows of its JSON."""
    done = bench(folder, "--json", str(folder / "bench.json"), "--cases", *CASES)
    assert done.returncode == 0, done.stdout + done.stderr
    return done.stdout, json.loads((folder / "bench.json").read_text())


@pytest.mark.parametrize("case", PEERS)
def test_every_peer_is_measured_in_every_metric(run: Run, case: str) -> None:
    _, rows = run
    wanted = CONTEST_METRICS
    if "restore" not in case:
        wanted = wanted | {"stored_mib"}
    if "files" in case:
        wanted = wanted - {"database_cpu_seconds"}
    found = {(row["peer"], row["metric"]) for row in rows if row["case"] == case}
    assert found == {(peer, metric) for peer in PEERS[case] for metric in wanted}


def test_the_numbers_without_a_peer_are_there(run: Run) -> None:
    _, rows = run
    found = {(row["case"], row["peer"], row["metric"]) for row in rows if row["case"] not in PEERS}
    assert found == {
        ("cutter", "target", "mariadb_mb_per_second"),
        ("cutter", "target", "mysql_mb_per_second"),
        ("catalogue", "target", "first_list_seconds"),
        ("catalogue", "target", "list_seconds"),
        ("catalogue", "target", "list_mib"),
        ("catalogue", "target", "more_mib_than_a_tenth"),
    }


def test_a_row_is_a_comparison(run: Run) -> None:
    _, rows = run
    for row in rows:
        assert list(row) == ["case", "peer", "metric", "ours", "theirs", "ratio"]
        assert isinstance(row["ours"], float)
        assert isinstance(row["theirs"], float)
        assert (row["ratio"] is None) == (row["theirs"] == 0)
    walls = [row for row in rows if row["metric"] in ("wall_seconds", "memory_mib")]
    assert all(row["ours"] and row["theirs"] for row in walls)


def test_the_tables_name_the_machine_the_contestants_and_the_targets(run: Run) -> None:
    printed, _ = run
    for words in (
        "cores",
        "mydumper 0.",
        "backup of 4 MB",
        "restore of 4 MB",
        "files-restore of 4 MB",
        "restic 0.",
        "at most 0.25",
        "at least 400",
    ):
        assert words in printed


@pytest.mark.usefixtures("run")  # data and programs are there already
def test_a_peer_that_fails_is_an_error_with_its_own_words(folder: Path, tmp_path: Path) -> None:
    broken = tmp_path / "mydumper"
    broken.write_text('#!/bin/sh\n[ "$1" = --version ] && exec echo mydumper 0\necho "no such table" >&2\nexit 3\n')
    broken.chmod(0o755)
    results = tmp_path / "bench.json"
    done = bench(folder, "--json", str(results), "--cases", "backup", PATH=f"{tmp_path}:{os.environ['PATH']}")
    assert done.returncode == 1
    assert "mydumper_backup.sh ended with status 3" in done.stderr
    assert "no such table" in done.stderr
    assert not results.exists()
