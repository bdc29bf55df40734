"""No view has a finding of axe that is serious or worse, in either language and theme."""

from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from playwright.sync_api import Page

from support.page import DOWN, SITE, World, settled

AXE = Path(__file__).parent / "vendor" / "axe.min.js"
BAD = ("serious", "critical")
RUN = "() => axe.run(document, { resultTypes: ['violations'] }).then((found) => found.violations)"
# every view in both languages and themes: what a theme does to a text does not depend on its language
PEOPLE = [("en", "light"), ("ko", "dark"), ("ko", "light"), ("en", "dark")]


def views(world: World) -> dict[str, str]:
    newest = world.daily[-1]
    return {
        "overview": f"#/{SITE}",
        "sets": f"#/{SITE}/sets",
        "set": f"#/{SITE}/{newest}",
        "restore": f"#/{SITE}/{newest}/restore",
        "trends": f"#/{SITE}/trends",
        "tests": f"#/{SITE}/tests",
        "doctor": f"#/{SITE}/doctor",
        "down": f"#/{DOWN}",
        "missing": f"#/{SITE}/daily/20200101_000000",
    }


@pytest.mark.parametrize(("language", "theme"), PEOPLE)
def test_axe_finds_nothing_serious(world: World, open_page: Callable[..., Page], language: Any, theme: Any) -> None:
    page = open_page(language=language, theme=theme)
    page.evaluate(AXE.read_text())
    for name, address in views(world).items():
        page.evaluate("(address) => { location.hash = address }", address)
        settled(page)
        page.evaluate("document.querySelectorAll('details').forEach((closed) => { closed.open = true; })")
        assert told(page.evaluate(RUN)) == [], f"{name}, {language}, {theme}"
    page.evaluate("(address) => { location.hash = address }", views(world)["set"])
    page.locator(".set-head button").click()
    assert told(page.evaluate(RUN)) == [], f"dialog, {language}, {theme}"


def told(violations: list[dict[str, Any]]) -> list[str]:
    return [
        f"{found['id']}: {found['help']}: {[node['html'][:160] for node in found['nodes'][:3]]}"
        for found in violations
        if found["impact"] in BAD
    ]
