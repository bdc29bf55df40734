"""A real Chromium without a window, and a person who logs in to Airflow with it."""

from pathlib import Path
from typing import Literal

from playwright.sync_api import Browser, Page, Playwright

from airflow_instance import AirflowInstance

DEBIAN_CHROMIUM = Path("/usr/bin/chromium")
LOCALES: dict[Literal["en", "ko"], str] = {"en": "en-US", "ko": "ko-KR"}


def launch(playwright: Playwright) -> Browser:
    """Debian's Chromium, or the one that Playwright installed."""
    return playwright.chromium.launch(
        executable_path=DEBIAN_CHROMIUM if DEBIAN_CHROMIUM.exists() else None,
        args=["--no-sandbox", "--disable-gpu", "--disable-background-networking"],
    )


def log_in(page: Page, airflow: AirflowInstance, user: str) -> None:
    """By Airflow's own form."""
    page.goto(f"{airflow.url}/")
    page.locator("input[name=username]").fill(user)
    page.locator("input[name=password]").fill(airflow.passwords[user])
    page.keyboard.press("Enter")
    page.wait_for_url(f"{airflow.url}/")
