"""A real browser, and a page that it opens."""

from collections.abc import Callable, Iterator
from typing import Any

import pytest
from playwright.sync_api import Browser, BrowserContext, Page, expect, sync_playwright

from browser import LOCALES, launch, log_in
from spoqplus_backup.core.mysql.sandbox import SandboxServer
from support.page import ADMIN, SITE, SLOW_MS, World, settled, world_in

# Chromium drops what it loads when a network interface of the machine comes or goes: a test beside may do that
NETWORK_CHANGED = "ERR_NETWORK_CHANGED"


@pytest.fixture(scope="session")
def world(mariadb_server: SandboxServer, tmp_path_factory: pytest.TempPathFactory) -> Iterator[World]:
    with world_in(tmp_path_factory.mktemp("web"), mariadb_server) as made:
        yield made


@pytest.fixture(scope="session")
def browser() -> Iterator[Browser]:
    expect.set_options(timeout=SLOW_MS)
    with sync_playwright() as playwright:
        launched = launch(playwright)
        yield launched
        launched.close()


@pytest.fixture
def context(world: World, browser: Browser) -> Iterator[Callable[..., BrowserContext]]:
    """Makes a browser of a person who is logged in, with a language, a theme and a size of the window."""
    made: list[BrowserContext] = []

    def make(user: str = ADMIN, language: Any = "en", theme: Any = "light", width: int = 1440) -> BrowserContext:
        options: dict[str, Any] = {
            "viewport": {"width": width, "height": 900},
            "locale": LOCALES[language],
            "color_scheme": theme,
            "timezone_id": "Asia/Seoul",
            "reduced_motion": "reduce",
        }
        if user not in world.sessions:
            first = browser.new_context(**options)
            log_in(first.new_page(), world.airflow, user)
            world.sessions[user] = {"cookies": first.cookies(), "origins": []}
            first.close()
        made.append(browser.new_context(storage_state=world.sessions[user], **options))
        return made[-1]

    yield make
    for item in made:
        item.close()


@pytest.fixture
def open_page(world: World, context: Callable[..., BrowserContext]) -> Iterator[Callable[..., Page]]:
    """Opens the page by itself, at an address behind the #; at the end the browser must not have complained.

    That the server refused something is no complaint: a test sees what the page makes of it.
    """
    complaints: list[str] = []

    def make(address: str = f"#/{SITE}", **person: Any) -> Page:
        page = context(**person).new_page()
        page.on("pageerror", lambda error: complaints.append(str(error)))
        page.on("console", lambda message: complaints.append(message.text) if message.type == "error" else None)
        page.goto(f"{world.airflow.url}/spoqplus/{address}")
        while any(NETWORK_CHANGED in text for text in complaints):
            complaints.clear()
            page.reload()
        settled(page)
        return page

    yield make
    assert [text for text in complaints if "responded with a status of 40" not in text] == []
