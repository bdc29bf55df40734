"""The commands that people and machines start: make and .ci/run."""

import os
import re
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
    assert {"demo", "test", "lint", "bench", "docs", "clean", "requirements"} <= set(targets())


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
    run = subprocess.run([ROOT / ".ci" / "run"], env={"PATH": path}, capture_output=True, text=True)
    assert run.stdout.splitlines() == ["make test", "make lint"]
    assert run.returncode == status


def test_no_shell_script_depends_on_the_developers_shell() -> None:
    for script in [ROOT / ".ci" / "run", *sorted((ROOT / "scripts").glob("*.sh"))]:
        assert os.access(script, os.X_OK), f"{script} is not executable"
        assert script.read_text().startswith(("#!/usr/bin/env bash\n", "#!/bin/bash\n", "#!/bin/sh\n")), script
