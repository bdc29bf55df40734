"""requirements.in, requirements.txt and what is installed are one set of versions."""

import os
import re
import subprocess
import sys
from collections.abc import Iterator
from importlib.metadata import distribution, packages_distributions
from pathlib import Path

import pytest
from packaging.requirements import Requirement
from packaging.utils import canonicalize_name

ROOT = Path(__file__).resolve().parents[2]


def requirements(name: str) -> list[Requirement]:
    text = re.sub(r"\s*\\\n\s*--hash=\S+", "", (ROOT / name).read_text())
    lines = (re.sub(r"(^|\s)#.*", "", line).strip() for line in text.splitlines())
    return [Requirement(line) for line in lines if line]


def pinned_here(file: str = "requirements.txt") -> dict[str, str]:
    """Version by name of what a file of pins installs on the Python that runs the tests."""
    found: dict[str, str] = {}
    for pin in requirements(file):
        if pin.marker and not pin.marker.evaluate():
            continue
        (specifier,) = pin.specifier
        assert specifier.operator == "==", f"{pin} is not pinned"
        name = canonicalize_name(pin.name)
        assert name not in found, f"{name} is pinned twice for this Python"
        found[name] = specifier.version
    return found


def needed(wanted: list[Requirement]) -> set[str]:
    """Names that these requirements install here, through the metadata of the installed distributions."""
    seen: set[tuple[str, str]] = set()
    queue = [(requirement, "") for requirement in wanted]
    while queue:
        requirement, extra_of_parent = queue.pop()
        if requirement.marker and not requirement.marker.evaluate({"extra": extra_of_parent}):
            continue
        name = canonicalize_name(requirement.name)
        for extra in ["", *requirement.extras]:
            if (name, extra) not in seen:
                seen.add((name, extra))
                queue.extend((child, extra) for child in children(name))
    return {name for name, _ in seen}


def children(name: str) -> Iterator[Requirement]:
    return (Requirement(line) for line in distribution(name).requires or [])


@pytest.mark.parametrize("wanted", requirements("requirements.in"), ids=str)
def test_what_is_wanted_is_pinned_at_a_version_that_satisfies_it(wanted: Requirement) -> None:
    version = pinned_here()[canonicalize_name(wanted.name)]
    assert wanted.specifier.contains(version), f"requirements.in wants {wanted}, requirements.txt pins {version}"


def test_everything_needed_is_pinned_and_nothing_else() -> None:
    assert set(pinned_here()) == needed(requirements("requirements.in")), "run `make requirements`"


def test_what_is_pinned_is_what_is_installed() -> None:
    pinned = pinned_here()
    assert {name: distribution(name).version for name in pinned} == pinned, "run scripts/setup.sh"


def test_no_pin_names_a_place_of_one_machine() -> None:
    text = (ROOT / "requirements.txt").read_text()
    assert "://" not in text
    assert "--" not in text.replace("-r requirements.in", "").replace("--hash=sha256:", "")
    assert "make requirements" in text.splitlines()[1]


def test_the_core_alone_has_the_same_versions_and_all_that_it_needs() -> None:
    core = pinned_here("requirements-core.txt")
    assert core.items() <= pinned_here().items(), "run `make requirements`"
    assert set(core) == needed(requirements("requirements-core.in"))
    assert "apache-airflow" not in core


LOCKS = ("requirements.txt", "requirements-core.txt", "include/docker/requirements.txt", "include/docker/build.txt")


@pytest.mark.parametrize("lock", LOCKS)
def test_every_pin_has_the_hashes_of_its_files(lock: str) -> None:
    """pip and uv take no other file for it, whatever an index offers."""
    pins = re.split(r"(?m)^(?=\S+==)", (ROOT / lock).read_text())[1:]
    assert pins
    assert [pin.splitlines()[0] for pin in pins if not re.search(r"--hash=sha256:[0-9a-f]{64}\b", pin)] == []


def test_the_set_up_insists_on_the_hashes() -> None:
    lines = (ROOT / "scripts" / "setup.sh").read_text().replace("\\\n", " ").splitlines()
    installs = [line for line in lines if re.search(r"pip (install|sync)", line) and "say " not in line]
    assert all("--require-hashes" in line or "--editable ." in line for line in installs)
    assert len(installs) == 3


def test_the_core_imports_nothing_else() -> None:
    """All of it, and the command line, with every other package hidden."""
    allowed = set(pinned_here("requirements-core.txt"))
    hidden = {
        module
        for module, owners in packages_distributions().items()
        if not {canonicalize_name(owner) for owner in owners} & {*allowed, "spoqplus-backup"}
    }
    assert "airflow" in hidden
    without = sorted(hidden - {"_virtualenv", "_distutils_hack", "pkg_resources", "setuptools"})
    script = f"""
import importlib, pkgutil, sys
for name in {without!r}:
    sys.modules[name] = None
import spoqplus_backup.cli, spoqplus_backup.core
for found in pkgutil.walk_packages(spoqplus_backup.core.__path__, "spoqplus_backup.core."):
    if found.name != "spoqplus_backup.core.proof.checks.uploads":  # of a recovery test, which Airflow runs
        importlib.import_module(found.name)
"""
    environment = os.environ | {"PYTHONPATH": str(ROOT / "plugins")}
    done = subprocess.run([sys.executable, "-c", script], capture_output=True, text=True, env=environment, check=False)
    assert done.returncode == 0, done.stderr
