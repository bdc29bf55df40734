"""`make demo` ends well only when everything was proved, and leaves nothing running."""

import os
import re
import subprocess
import sys
from pathlib import Path

import pytest

from demo import options
from demo_texts import TEXTS
from demo_world import DemoError

PROJECT = Path(__file__).resolve().parents[2]

pytestmark = [pytest.mark.e2e, pytest.mark.timeout(600)]


def processes_of(folder: Path) -> list[str]:
    """The command lines of everything that runs with this folder in its arguments or environment."""
    found = []
    for process in Path("/proc").iterdir():
        if process.name.isdecimal() and process.name != str(os.getpid()):
            try:
                command, environment = ((process / name).read_bytes() for name in ("cmdline", "environ"))
            except (FileNotFoundError, ProcessLookupError, PermissionError):
                continue
            if os.fsencode(folder) in command + environment:
                found.append(command.replace(b"\0", b" ").decode(errors="replace"))
    return found


def test_the_demo_proves_everything_and_leaves_nothing_behind(tmp_path: Path) -> None:
    folder = tmp_path / "demo"
    asked = {"DEMO_EXIT": "1", "DEMO_MB": "5", "DEMO_DIRECTORY": str(folder), "DEMO_LANGUAGE": "ko"}
    demo = subprocess.run(
        [sys.executable, PROJECT / "scripts" / "demo.py"],
        env=os.environ | asked,
        cwd=PROJECT,
        capture_output=True,
        text=True,
        check=False,
    )
    assert demo.returncode == 0, demo.stdout + demo.stderr
    summary = demo.stdout.partition(TEXTS["ko"]["summary.proofs"])[2]
    assert len(re.findall("✔", summary)) == 10
    assert "✘" not in demo.stdout
    assert "spoqplus 복원 완료" in demo.stdout
    assert processes_of(folder) == []


@pytest.mark.parametrize(
    ("variable", "value"), [("DEMO_LANGUAGE", "jp"), ("DEMO_MB", "much"), ("DEMO_MB", "0"), ("DEMO_MB", "-1")]
)
def test_an_option_that_makes_no_sense_is_named(variable: str, value: str) -> None:
    with pytest.raises(DemoError, match=variable):
        options({variable: value})


def test_both_languages_say_the_same() -> None:
    def fields(text: str) -> set[str]:
        return set(re.findall(r"{(\w+)", text))

    assert TEXTS["en"].keys() == TEXTS["ko"].keys()
    for key, english in TEXTS["en"].items():
        assert fields(english) == fields(TEXTS["ko"][key]), key
        assert (" | " in english) == (" | " in TEXTS["ko"][key]), key
