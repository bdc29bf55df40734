"""requirements.in, requirements.txt and what is installed are one set of versions."""

import re
from collections.abc import Iterator
from importlib.metadata import distribution
from pathlib import Path

import pytest
from packaging.requirements import Requirement
from packaging.utils import canonicalize_name

ROOT = Path(__file__).resolve().parents[2]


def requirements(name: str) -> list[Requirement]:
    lines = (re.sub(r"(^|\s)#.*", "", line).strip() for line in (ROOT / name).read_text().splitlines())
    return [Requirement(line) for line in lines if line]


def pinned_here() -> dict[str, str]:
    """Version by name of what requirements.txt installs on the Python that runs the tests."""
    found: dict[str, str] = {}
    for pin in requirements("requirements.txt"):
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
    assert "--" not in text.replace("-r requirements.in", "")
    assert "make requirements" in text.splitlines()[1]
