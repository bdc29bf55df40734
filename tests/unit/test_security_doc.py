"""docs/security.md claims nothing without a test, in both languages."""

import ast
import re
from functools import cache
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parents[2]
PAGES = ("security.md", "security.ko.md")
NAMED = re.compile(r"`(tests/[\w/]+\.py)::(\w+)`")


def page(name: str) -> str:
    return (ROOT / "docs" / name).read_text()


@cache
def functions_of(file: str) -> set[str]:
    tree = ast.parse((ROOT / file).read_text())
    return {node.name for node in ast.walk(tree) if isinstance(node, ast.FunctionDef)}


@pytest.mark.parametrize("name", PAGES)
def test_every_test_that_is_named_exists(name: str) -> None:
    named = NAMED.findall(page(name))
    assert len(named) > 50
    missing = [each for each in named if not (ROOT / each[0]).exists() or each[1] not in functions_of(each[0])]
    assert missing == []


@pytest.mark.parametrize("name", PAGES)
def test_every_claim_names_one(name: str) -> None:
    claims = [line for line in page(name).splitlines() if line.startswith("| **")]
    assert len(claims) > 30
    assert [claim for claim in claims if not NAMED.search(claim)] == []


def test_both_languages_name_the_same() -> None:
    english, korean = (NAMED.findall(page(name)) for name in PAGES)
    assert english == korean
