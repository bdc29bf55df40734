"""No program is started through a shell, and the linter's rules of security hold for all that runs in production."""

import ast
import re
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parents[2]
SHIPPED = ("plugins", "dags", "include", "scripts")


def shells(path: Path) -> Iterator[str]:
    """Calls that take a line for a shell."""
    for node in ast.walk(ast.parse(path.read_text())):
        if not isinstance(node, ast.Call):
            continue
        name = ast.unparse(node.func)
        if name in ("os.system", "os.popen", "subprocess.getoutput", "subprocess.getstatusoutput") or any(
            word.arg == "shell" and ast.unparse(word.value) != "False" for word in node.keywords
        ):
            yield f"{path.relative_to(ROOT)}:{node.lineno}: {name}"


def test_nothing_is_run_by_a_shell() -> None:
    files = [path for place in SHIPPED for path in (ROOT / place).rglob("*.py")]
    assert len(files) > 200
    assert [found for path in files for found in shells(path)] == []


@pytest.mark.parametrize("file", ["cli.py", "core/process.py", "core/mysql/load.py", "operators/base.py", "web/api.py"])
def test_the_linter_s_rules_of_security_are_on(file: str) -> None:
    ruff = Path(sys.executable).with_name("ruff")
    asked = [ruff, "check", "--show-settings", ROOT / "plugins" / "spoqplus_backup" / file]
    settings = subprocess.run(asked, capture_output=True, text=True, check=True, cwd=ROOT).stdout
    enabled = settings.partition("linter.rules.enabled = [")[2].partition("]")[0]
    on = set(re.findall(r"\((S\d+)\)", enabled))
    asked_for = {f"S{number}" for number in (102, 103, 105, 106, 108, 301, 306, 307, 323, 324, 501, 506)}
    assert asked_for | {f"S{number}" for number in range(602, 608)} <= on


def test_programs_are_started_in_two_places() -> None:
    lines = [line for path in (ROOT / "plugins").rglob("*.py") for line in path.read_text().splitlines()]
    allowed = [line for line in lines if "noqa" in line and "S603" in line]
    assert len(allowed) == 2, "core/process.py, and what stands between a task and Terraform"
