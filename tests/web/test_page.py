"""The Backups page, as a person uses it: in Airflow's frame and by itself."""

import re
import urllib.error
import urllib.parse
import urllib.request
from collections.abc import Callable
from typing import Any

import pytest
from playwright.sync_api import BrowserContext, FrameLocator, Page, expect

from support.page import ADMIN, DOWN, SITE, VIEWER, World, settled

OpenPage = Callable[..., Page]
NAV = "백업 · Backups"
ADDRESSES = ("", "static/app.js", "static/i18n/ko.json", "api/sites", f"api/{SITE}/overview")
# how far what was painted moved, summed up as browsers do for their "cumulative layout shift"
MOVED = """() => new Promise((done) => {
  let sum = 0;
  new PerformanceObserver((list) => {
    for (const entry of list.getEntries()) if (!entry.hadRecentInput) sum += entry.value;
  }).observe({ type: "layout-shift", buffered: true });
  setTimeout(() => done(sum), 200);
})"""
LITTLE = 0.05
WIDER = "document.documentElement.scrollWidth - document.documentElement.clientWidth"


def in_airflow(world: World, context: Callable[..., BrowserContext], **person: Any) -> tuple[Page, FrameLocator]:
    """The page in Airflow's own UI, by its navigation."""
    page = context(**person).new_page()
    page.goto(f"{world.airflow.url}/")
    page.get_by_role("link", name=NAV).click()
    frame = page.frame_locator(f"iframe[title='{NAV}']")
    frame.locator("h1").wait_for()
    return page, frame


@pytest.mark.parametrize("address", ADDRESSES)
def test_who_is_not_logged_in_gets_nothing(world: World, address: str) -> None:
    with pytest.raises(urllib.error.HTTPError) as failure:
        urllib.request.urlopen(f"{world.airflow.url}/spoqplus/{address}", timeout=30)
    assert failure.value.code == 401


def test_the_page_is_in_the_navigation_and_its_address_can_be_copied(
    world: World, context: Callable[..., BrowserContext]
) -> None:
    page, frame = in_airflow(world, context)
    expect(frame.get_by_role("heading", level=1)).to_contain_text("four promises")
    frame.get_by_role("link", name="Backup sets").first.click()
    frame.get_by_role("link", name=re.compile(world.daily[-1].split("/")[1])).click()
    page.wait_for_url(f"**/plugin/backups/spoqplus/#/{SITE}/{world.daily[-1]}")
    page.reload()
    expect(frame.get_by_role("heading", level=1)).to_contain_text(world.daily[-1].split("/")[1])


def test_the_promises_are_plain_statements(world: World, open_page: OpenPage) -> None:
    page = open_page()
    promises = page.locator(".promise")
    expect(promises).to_have_count(4)
    for promise, word in zip(promises.all(), ("Kept", "Kept", "Kept", "Kept"), strict=True):
        expect(promise.locator(".status")).to_have_text(word)
    expect(promises.nth(0).locator(".big")).to_have_text(re.compile(r"second|minute"))
    expect(promises.nth(2).locator(".big")).to_have_text("3 copies")
    expect(promises.nth(3).locator(".big")).to_have_text("Passed")
    expect(page.get_by_role("heading", level=1)).to_have_text("All four promises are kept")


def test_sets_are_searched_sorted_and_paged(world: World, open_page: OpenPage) -> None:
    page = open_page(f"#/{SITE}/sets")
    rows = page.locator("table.sets tbody tr")
    expect(rows).to_have_count(25)
    expect(rows.first).to_contain_text(world.daily[-1].split("/")[1])
    page.get_by_role("button", name="Next").click()
    expect(page.get_by_text(re.compile(r"^26–50 of"))).to_be_visible()
    page.get_by_role("button", name="Size").click()  # the largest first: real backups, not those of the past
    expect(page.get_by_role("columnheader", name="Size")).to_have_attribute("aria-sort", "descending")
    expect(rows.first).to_contain_text(re.compile("|".join(name.split("/")[1] for name in world.daily)))
    page.get_by_role("button", name="Size").click()
    expect(page.get_by_role("columnheader", name="Size")).to_have_attribute("aria-sort", "ascending")
    page.get_by_role("searchbox").fill(world.daily[0].split("/")[1][:8] + " daily")
    expect(rows).to_have_count(sum(name.startswith(world.daily[0][:14]) for name in world.daily))
    page.get_by_role("combobox", name="Kind").select_option("weekly")
    expect(page.get_by_role("heading", name="No set is like that")).to_be_visible()
    page.get_by_role("button", name="Show all").click()
    expect(rows).to_have_count(25)
    expect(page.get_by_role("searchbox")).to_have_value("")


def test_a_set_tells_what_is_in_it_and_who_can_open_it(world: World, open_page: OpenPage) -> None:
    page = open_page(f"#/{SITE}/{world.daily[-1]}")
    manifest = world.manifest(world.daily[-1])
    expect(page.get_by_role("row", name="Database").locator(".stage-bar i")).not_to_have_count(0)
    for text in (manifest.server.version, *world.site.settings.encryption.recipients, "local", "seoul"):
        expect(page.get_by_text(text, exact=False).first).to_be_visible()
    where = manifest.component("database").coordinates
    assert where is not None
    expect(page.get_by_text(f"{where.file}:{where.position}")).to_be_visible()
    expect(page.locator(".stages")).to_contain_text("Compress")


def test_a_restore_is_filled_in_with_the_set_and_started(world: World, context: Callable[..., BrowserContext]) -> None:
    name = world.daily[0]
    page, frame = in_airflow(world, context)
    page.goto(f"{world.airflow.url}/plugin/backups/spoqplus/#/{SITE}/{name}")
    frame.get_by_role("link", name="Restore …").click()
    backup = frame.get_by_role("textbox", name="백업", exact=True)  # the form speaks the site's language, as Airflow's
    expect(backup).to_have_value(name)
    expect(frame.get_by_role("combobox", name="대상 환경")).to_have_value("test")
    frame.get_by_role("checkbox", name="계획만").check()
    frame.get_by_role("button", name="Make the plan").click()
    page.wait_for_url(re.compile(rf"/dags/{SITE}_restore/runs/"))
    run_id = urllib.parse.unquote(page.url.rpartition("/runs/")[2].partition("?")[0])
    conf = world.airflow.run(f"{SITE}_restore", run_id)["conf"]
    assert conf["backup"] == name
    assert conf["components"] == ["database"]
    assert conf["dry_run"] is True
    assert conf["environment"] == "test"


def test_a_set_is_held_with_a_reason_and_released(world: World, open_page: OpenPage) -> None:
    name = world.daily[0]
    page = open_page(f"#/{SITE}/{name}")
    page.get_by_role("button", name="Hold …").click()
    dialog = page.get_by_role("dialog")
    dialog.get_by_role("button", name="Hold", exact=True).click()
    expect(dialog.get_by_role("alert")).to_contain_text("Say why")
    dialog.get_by_role("textbox").fill("감사 2026: <b>보관</b>")
    dialog.get_by_role("button", name="Hold", exact=True).click()
    expect(page.locator(".notice")).to_contain_text("감사 2026: <b>보관</b>")
    assert world.reasons(name) == ["감사 2026: <b>보관</b>"] * 2
    page.goto(f"{world.airflow.url}/spoqplus/#/{SITE}/sets?q=감사")
    expect(page.locator("table.sets tbody tr")).to_have_count(1)
    page.goto(f"{world.airflow.url}/spoqplus/#/{SITE}/{name}")
    page.get_by_role("button", name="Release").click()
    page.get_by_role("dialog").get_by_role("button", name="Release").click()
    expect(page.get_by_role("button", name="Hold …")).to_be_visible()
    assert world.reasons(name) == []


def test_a_viewer_sees_all_and_changes_nothing(world: World, open_page: OpenPage) -> None:
    page = open_page(f"#/{SITE}/{world.daily[-1]}", user=VIEWER)
    expect(page.get_by_role("rowheader", name="Database")).to_be_visible()
    expect(page.get_by_role("link", name="Restore …")).to_have_count(0)
    expect(page.get_by_role("button", name="Hold …")).to_have_count(0)
    page.goto(f"{world.airflow.url}/spoqplus/#/{SITE}/{world.daily[-1]}/restore")
    expect(page.get_by_role("heading", name="You may not restore")).to_be_visible()
    for method, address in (
        ("PUT", f"api/{SITE}/sets/{world.daily[-1]}/hold"),
        ("POST", f"../api/v2/dags/{SITE}_restore/dagRuns"),
    ):
        status = page.evaluate(
            """([method, address]) => fetch(address, {method, headers: {"Content-Type": "application/json"},
                body: JSON.stringify({reason: "x", logical_date: null})}).then((answer) => answer.status)""",
            [method, address],
        )
        assert status == 403, address


def test_restore_points_are_walked_by_keys_and_read_as_a_table(world: World, open_page: OpenPage) -> None:
    page = open_page()
    section = page.get_by_role("region", name="Where we can go back to")
    expect(section).to_contain_text("can be restored")
    section.get_by_role("button", name="7 days").click()
    marks = section.locator(".lane.full .mark")
    newest = section.locator(f".mark[href$='{world.daily[-1]}']")
    expect(newest).to_have_attribute("tabindex", "0")
    expect(marks.first).to_have_attribute("tabindex", "-1")
    newest.focus()
    page.keyboard.press("ArrowLeft")
    expect(section.locator(".meant")).to_contain_text(world.daily[0])
    section.get_by_text("Show as a table").click()
    expect(section.get_by_role("link", name=world.daily[-1])).to_be_visible()
    section.locator(f".mark[href$='{world.daily[0]}']").focus()
    page.keyboard.press("Enter")
    expect(page.get_by_role("heading", level=1)).to_contain_text(world.daily[0].split("/")[1])


def test_trends_are_drawn_and_a_recovery_test_has_its_report(world: World, open_page: OpenPage) -> None:
    page = open_page(f"#/{SITE}/trends")
    expect(page.locator(".chart canvas").first).to_be_visible()
    page.get_by_text("Show as a table").first.click()
    expect(page.get_by_role("cell", name="Daily").first).to_be_visible()
    page.get_by_role("link", name="Recovery tests").click()
    expect(page.get_by_role("row", name=re.compile("Passed"))).to_contain_text(max(world.daily))
    with page.context.expect_page() as report:
        page.get_by_role("link", name="Open").click()
    expect(report.value.get_by_role("heading", level=1)).to_have_text("the report")


def test_theme_and_language_are_those_of_airflow(world: World, context: Callable[..., BrowserContext]) -> None:
    page, frame = in_airflow(world, context)
    root = frame.locator("html")
    expect(root).to_have_attribute("data-theme", "light")
    light = frame.locator("body").evaluate("(body) => getComputedStyle(body).backgroundColor")
    page.get_by_role("button", name="User").click()
    page.get_by_role("menuitem", name="Appearance").click()
    page.get_by_role("menuitemradio", name="Dark Mode").click()
    expect(root).to_have_attribute("data-theme", "dark")
    assert frame.locator("body").evaluate("(body) => getComputedStyle(body).backgroundColor") != light
    expect(frame.get_by_role("heading", level=1)).to_contain_text("promises")
    page.keyboard.press("Escape")
    page.get_by_role("button", name="User").click()
    page.get_by_role("menuitem", name="Select Language").click()
    page.get_by_role("combobox").click()
    page.get_by_role("option", name="한국어").click()
    expect(root).to_have_attribute("lang", "ko")
    expect(frame.get_by_role("heading", level=1)).to_contain_text("네 가지 약속")


def test_by_itself_it_takes_the_browsers_theme_and_language(open_page: OpenPage) -> None:
    page = open_page(language="ko", theme="dark")
    expect(page.locator("html")).to_have_attribute("data-theme", "dark")
    expect(page.get_by_role("heading", level=1)).to_contain_text("네 가지 약속")
    page.emulate_media(color_scheme="light")
    expect(page.locator("html")).to_have_attribute("data-theme", "light")


def test_a_repository_that_is_down_is_told_with_how_old_its_sets_are(world: World, open_page: OpenPage) -> None:
    page = open_page(f"#/{SITE}")
    page.get_by_role("combobox", name="Site").select_option(DOWN)
    notice = page.locator(".notice.bad")
    expect(notice).to_contain_text("The repository gimhae does not answer.")
    expect(notice).to_contain_text("as it was on")
    expect(page.locator(".places")).to_contain_text("Down")
    page.get_by_role("link", name="Backup sets").first.click()
    expect(page.locator("table.sets tbody tr")).to_have_count(6)  # as they were seen last


def test_a_run_shows_the_set_that_it_made(world: World, open_page: OpenPage) -> None:
    run = world.manifest(world.daily[-1]).run_id.partition("/")
    page = open_page(f"#/run/{run[0]}/{run[2]}")
    expect(page.get_by_role("heading", level=1)).to_contain_text(world.daily[-1].split("/")[1])


@pytest.mark.parametrize("width", [375, 1920])
def test_nothing_jumps_and_nothing_is_wider_than_the_window(world: World, open_page: OpenPage, width: int) -> None:
    page = open_page(width=width, language="ko")
    for address in ("", "/sets", "/trends", "/tests", f"/{world.daily[-1]}", f"/{world.daily[-1]}/restore"):
        page.goto("about:blank")
        page.goto(f"{world.airflow.url}/spoqplus/#/{SITE}{address}")
        settled(page)
        assert page.evaluate(MOVED) < LITTLE, address
        assert page.evaluate(WIDER) <= 0, address


def test_what_is_not_there_says_so(open_page: OpenPage) -> None:
    page = open_page(f"#/{SITE}/sets")
    for address, words in (
        (f"#/{SITE}/daily/20200101_000000", "This is not there"),
        ("#/nowhere", "There is no site “nowhere”"),
        (f"#/{SITE}/a/b/c/d", "There is nothing at this address"),
    ):
        page.goto(page.url.partition("#")[0] + address)
        expect(page.get_by_role("heading", name=re.compile(words))).to_be_visible()


def test_a_login_that_ended_is_told_and_what_was_seen_stays(world: World, open_page: OpenPage) -> None:
    page = open_page(user=ADMIN)
    page.context.clear_cookies()
    page.get_by_role("link", name="Backup sets").first.click()
    expect(page.get_by_role("heading", name="You are logged out")).to_be_visible()
    expect(page.get_by_role("link", name="Log in")).to_have_attribute("href", "..")
