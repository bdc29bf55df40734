"""The commands that people and machines start: make and .ci/run."""

import os
import re
import shutil
import subprocess
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parents[2]


def targets() -> list[str]:
    phony = re.findall(r"^\.PHONY: (.+)$", (ROOT / "Makefile").read_text(), re.MULTILINE)
    return [target for line in phony for target in line.split() if target != "help"]


def test_make_alone_lists_every_target_with_its_description() -> None:
    outside = {name: value for name, value in os.environ.items() if name not in ("MAKEFLAGS", "MAKELEVEL")}
    listing = subprocess.run(["make"], cwd=ROOT, env=outside, check=True, capture_output=True, text=True).stdout
    described = [re.fullmatch(r"  make ([a-z-]+) +(\S.+)", line) for line in listing.splitlines()]
    assert [line and line[1] for line in described] == targets()


def test_the_promised_targets_exist() -> None:
    assert {"demo", "test", "test-stack", "lint", "bench", "docs", "clean", "requirements", "up", "down"} <= set(
        targets()
    )


@pytest.mark.parametrize("target", targets())
def test_every_target_can_be_planned(target: str) -> None:
    subprocess.run(["make", "--dry-run", target], cwd=ROOT, check=True, capture_output=True)


@pytest.mark.parametrize(
    ("failing", "status"), [("", 0), ("test", 1), ("lint", 1)], ids=["all is well", "tests fail", "lint fails"]
)
def test_continuous_integration_runs_tests_and_lint_and_fails_with_either(
    failing: str, status: int, tmp_path: Path
) -> None:
    make = tmp_path / "make"
    make.write_text(f'#!/bin/sh\necho "make $*"\n[ "$1" != "{failing}" ]\n')
    make.chmod(0o755)
    path = f"{tmp_path}:{os.environ['PATH']}"
    env = {"PATH": path, "SPOQPLUS_STACK_TEST": "off"}
    run = subprocess.run([ROOT / ".ci" / "run"], env=env, capture_output=True, text=True)
    *commands, stack = run.stdout.splitlines()
    assert commands == ["make test", "make lint"]
    assert "NOT RUN: SPOQPLUS_STACK_TEST=off" in stack
    assert run.returncode == status


STACK_TOOLS = ("bash", "cut", "dirname", "env", "mkdir", "sleep", "tail", "timeout")


def run_stack(folder: Path, **programs: str) -> subprocess.CompletedProcess[str]:
    """`.ci/stack` with nothing on its path but these programs, shell scripts, and a few of the system's."""
    for name in STACK_TOOLS:
        found = shutil.which(name)
        assert found, f"there is no {name}"
        (folder / name).symlink_to(found)
    for name, script in ({"id": "echo 1000"} | programs).items():
        (folder / name).write_text(f"#!{shutil.which('bash')}\n{script}\n")
        (folder / name).chmod(0o755)
    return subprocess.run(
        [ROOT / ".ci" / "stack"], env={"PATH": str(folder)}, capture_output=True, text=True, timeout=60
    )


DOCKER_WITHOUT_IMAGES = """case "$1 $2" in "image inspect" | "pull "*) exit 1 ;; "version "*) echo 20.10 ;; esac"""
DOCKER = """case "$1 $2" in "image inspect") echo sha256:1 created today ;; *) echo 20.10 ;; esac"""


@pytest.mark.parametrize(
    ("programs", "status", "words"),
    [
        ({}, 0, "NOT RUN: no Docker engine answers, and only root can start one"),
        ({"id": "echo 0"}, 0, "NOT RUN: there is no Docker engine, and none can be installed"),
        (
            {"id": "echo 0", "dockerd": "echo no right to; exit 1"},
            0,
            "NOT RUN: dockerd does not start here (no right to)",
        ),
        ({"docker": DOCKER_WITHOUT_IMAGES}, 0, "is not here and can't be pulled"),
        ({"docker": DOCKER, "make": "exit 0"}, 0, "image postgres:17: present, sha256:1 created today"),
        ({"docker": DOCKER, "make": "exit 1"}, 1, "image mysql:9.7: present"),
    ],
    ids=["no engine", "none to install", "it does not start", "no images", "it succeeds", "it fails"],
)
def test_the_stack_test_runs_where_it_can_and_says_where_it_can_not(
    programs: dict[str, str], status: int, words: str, tmp_path: Path
) -> None:
    run = run_stack(tmp_path, **programs)
    assert words in run.stdout
    assert run.returncode == status, run.stderr


def test_no_shell_script_depends_on_the_developers_shell() -> None:
    for script in [ROOT / ".ci" / "run", ROOT / ".ci" / "stack", *sorted((ROOT / "scripts").glob("*.sh"))]:
        assert os.access(script, os.X_OK), f"{script} is not executable"
        assert script.read_text().startswith(("#!/usr/bin/env bash\n", "#!/bin/bash\n", "#!/bin/sh\n")), script
