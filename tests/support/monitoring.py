"""The programs that check rules, configurations and metrics; `scripts/setup.sh test` unpacks them."""

import subprocess
from pathlib import Path

PROJECT = Path(__file__).parents[2]
PROGRAMS = PROJECT / "build" / "prometheus"


def check(program: str, *arguments: str, folder: Path = PROJECT, sent: bytes | None = None) -> str:
    """Run promtool or amtool, which has to be content; what it says."""
    path = PROGRAMS / program
    assert path.exists(), f"There is no {path}: run `scripts/setup.sh test`."
    done = subprocess.run([path, *arguments], cwd=folder, input=sent, capture_output=True, timeout=60)
    said = (done.stdout + done.stderr).decode()
    assert done.returncode == 0, said
    return said
