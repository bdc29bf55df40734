"""Pictures of the Airflow UI for the documentation, in both languages, out of demonstrations of their own.

make screenshots    writes docs/images/*.png
"""

import json
import sys
import tempfile
from collections.abc import Mapping
from pathlib import Path
from urllib.parse import quote

from playwright.sync_api import Browser, FloatRect, Page, ViewportSize, expect, sync_playwright

from airflow_instance import PROJECT
from browser import LOCALES, launch, log_in
from demo import own_environment
from demo_past import make_past
from demo_runs import APPROVE, BINLOG_ARCHIVE, DAILY_BACKUP, RESTORE, RUN_SECONDS
from demo_terminal import Terminal
from demo_world import ADMIN, SITE, DemoError, World, running
from spoqplus_backup.core.run import component_names
from spoqplus_backup.flows.archive import GROUP as ARCHIVE_GROUP
from spoqplus_backup.messages import Language, text
from spoqplus_backup.operators.dr_flow import RESTORE_GROUP
from spoqplus_backup.web import PAGE_ROUTE

IMAGES = PROJECT / "docs" / "images"
MEGABYTES = 20
TRIGGER: dict[Language, str] = {"en": "Trigger", "ko": "트리거"}
HEIGHT = 1300
RECOVERY_TEST = f"{SITE}_recovery_test"
FAILOVER = f"{SITE}_dr_failover"
REPORT_SIZE = {"width": 1100, "height": 1060}  # its verdict, its numbers and the first checks
BACKUPS_SIZE: ViewportSize = {"width": 1440, "height": 1000}
PHONE_SIZE: ViewportSize = {"width": 390, "height": 844}
MARGIN = 16  # pixels around what is shown
SETTLED_MS = 1500  # the graph moves to its place and the dialog fades in


def main() -> int:
    """Make all pictures."""
    own_environment()
    IMAGES.mkdir(parents=True, exist_ok=True)
    for language in LOCALES:
        terminal = Terminal(language, 1)
        terminal.step("step.world")
        with (
            tempfile.TemporaryDirectory() as folder,
            running(Path(folder), language, MEGABYTES, terminal.tell) as world,
        ):
            world.airflow.wait_until_healthy()
            runs = _prepare(world)
            make_past(world)
            _take_pictures(world, runs)
    for image in sorted(IMAGES.glob("*.png")):
        print(f"{image.relative_to(PROJECT)} {image.stat().st_size / 1000:.0f} kB")
    return 0


def _prepare(world: World) -> dict[str, str]:
    """A backup, an archive and a recovery test that are done, and a restore that waits: the run of each DAG."""
    airflow = world.airflow
    runs = {}
    for dag_id in (DAILY_BACKUP, BINLOG_ARCHIVE, RECOVERY_TEST):
        airflow.wait_for_dag(dag_id)
        runs[dag_id] = airflow.trigger(dag_id)
        if (state := airflow.wait(dag_id, runs[dag_id], RUN_SECONDS)) != "success":
            raise DemoError(f"{dag_id} is {state}: {airflow.task_states(dag_id, runs[dag_id])}")
    airflow.wait_for_dag(RESTORE)
    runs[RESTORE] = airflow.trigger(RESTORE, {"environment": "production"})
    airflow.wait_for_task(RESTORE, runs[RESTORE], APPROVE, {"awaiting_input"}, RUN_SECONDS)
    return runs


def _take_pictures(world: World, runs: Mapping[str, str]) -> None:
    suffix = ".png" if world.language == "en" else f".{world.language}.png"
    with sync_playwright() as playwright:
        browser = launch(playwright)
        page = browser.new_page(
            viewport={"width": 1900, "height": HEIGHT}, locale=LOCALES[world.language], timezone_id="Asia/Seoul"
        )
        _log_in(page, world)
        _graph(page, world, DAILY_BACKUP, runs[DAILY_BACKUP], IMAGES / f"daily-backup-graph{suffix}")
        _graph(page, world, BINLOG_ARCHIVE, runs[BINLOG_ARCHIVE], IMAGES / f"binlog-archive-graph{suffix}")
        _graph(page, world, RECOVERY_TEST, runs[RECOVERY_TEST], IMAGES / f"recovery-test-graph{suffix}")
        _plain_graph(page, world, FAILOVER, IMAGES / f"dr-failover-graph{suffix}")
        _form(page, world, IMAGES, suffix)
        _approval(page, world, runs[RESTORE], IMAGES / f"restore-approval{suffix}")
        _report(page, world, runs[RECOVERY_TEST], IMAGES / f"recovery-test-report{suffix}")
        _backups_page(browser, world, suffix)
        browser.close()


def _backups_page(browser: Browser, world: World, suffix: str) -> None:
    """What a director sees first, in light and dark; a set and its restore; on a telephone."""
    page = browser.new_page(viewport=BACKUPS_SIZE, locale=LOCALES[world.language], timezone_id="Asia/Seoul")
    _log_in(page, world)
    api = f"{world.airflow.url}/spoqplus/api/{SITE}"

    def newest_of_many() -> str:
        found = page.request.get(f"{api}/sets?cadence=daily&limit=1").json()
        overview = page.request.get(f"{api}/overview").json()
        is_known = found["total"] > 1 and overview["catalogue"]["complete"] and overview["promises"][0]["ok"]
        return str(found["items"][0]["name"]) if is_known else ""

    newest = world.airflow.until("the page knows all sets", newest_of_many, RUN_SECONDS)
    for theme, mark in (("light", ""), ("dark", "-dark")):
        page.evaluate("(theme) => localStorage.setItem('theme', theme)", theme)
        page.goto(f"{world.airflow.url}/plugin/{PAGE_ROUTE}")
        _frame_picture(page, IMAGES / f"backups-page{mark}{suffix}")
    page.evaluate("localStorage.setItem('theme', 'light')")
    page.goto("about:blank")  # else only what is behind the # changes, and no theme
    for name, address in (("sets", "sets"), ("set", newest), ("restore", f"{newest}/restore"), ("trends", "trends")):
        page.goto(f"{world.airflow.url}/plugin/{PAGE_ROUTE}/spoqplus/#/{SITE}/{address}")
        _frame_picture(page, IMAGES / f"backups-{name}{suffix}")
    page.set_viewport_size(PHONE_SIZE)
    page.goto(f"{world.airflow.url}/spoqplus/#/{SITE}")
    page.locator(".timeline").wait_for()
    page.screenshot(path=IMAGES / f"backups-phone{suffix}")


def _frame_picture(page: Page, target: Path) -> None:
    frame = page.frame_locator("iframe")
    frame.locator("h1").wait_for()
    expect(frame.locator(".skeleton")).to_have_count(0)
    page.wait_for_timeout(SETTLED_MS)
    page.screenshot(path=target)


def _log_in(page: Page, world: World) -> None:
    log_in(page, world.airflow, ADMIN)
    remembered = {
        "default_dag_view": "graph",
        f"{DAILY_BACKUP}/open-groups": list(component_names(world.settings)),
        f"{BINLOG_ARCHIVE}/open-groups": [ARCHIVE_GROUP],
        f"{FAILOVER}/open-groups": [RESTORE_GROUP],
    }
    for name, value in remembered.items():
        page.evaluate("([name, value]) => localStorage.setItem(name, value)", [name, json.dumps(value)])


def _split(page: Page, left: int) -> None:
    """How much of the page's width the graph has, in percent."""
    layout = {"details-panel,main-panel": {"expandToSizes": {}, "layout": [left, 100 - left]}}
    name = "react-resizable-panels:graph-ltr"
    page.evaluate("([name, value]) => localStorage.setItem(name, value)", [name, json.dumps(layout)])


def _graph(page: Page, world: World, dag_id: str, run_id: str, target: Path) -> None:
    _split(page, 90)
    page.goto(f"{world.airflow.url}/dags/{dag_id}/runs/{quote(run_id)}")
    names = world.airflow.task_states(dag_id, run_id)
    nodes = len({name.partition(".")[0] for name in names} if dag_id == RECOVERY_TEST else names)  # its group is closed
    page.locator(".react-flow__node").nth(nodes - 1).wait_for()  # groups are nodes, too
    page.wait_for_timeout(SETTLED_MS)
    page.screenshot(path=target, clip=_around(page, ".react-flow__node"))


def _plain_graph(page: Page, world: World, dag_id: str, target: Path) -> None:
    """The graph of a DAG that the demonstration does not run."""
    world.airflow.wait_for_dag(dag_id)
    tasks = world.airflow.request("GET", f"/dags/{dag_id}/tasks")["tasks"]
    _split(page, 90)
    page.goto(f"{world.airflow.url}/dags/{dag_id}")
    page.locator(".react-flow__node").nth(len(tasks)).wait_for()  # and its group
    page.wait_for_timeout(SETTLED_MS)
    page.screenshot(path=target, clip=_around(page, ".react-flow__node"))


def _around(page: Page, selector: str) -> FloatRect:
    """The rectangle that holds all of these elements, with a margin."""
    boxes = [box for item in page.locator(selector).all() if (box := item.bounding_box())]
    left, top = min(box["x"] for box in boxes), min(box["y"] for box in boxes)
    right = max(box["x"] + box["width"] for box in boxes)
    bottom = max(box["y"] + box["height"] for box in boxes)
    return {
        "x": left - MARGIN,
        "y": top - MARGIN,
        "width": right - left + 2 * MARGIN,
        "height": bottom - top + 2 * MARGIN,
    }


def _form(page: Page, world: World, folder: Path, suffix: str) -> None:
    page.goto(f"{world.airflow.url}/dags/{RESTORE}")
    page.get_by_role("button", name=TRIGGER[world.language]).first.click()
    dialog = page.get_by_role("dialog")
    dialog.locator("input").first.wait_for()
    page.wait_for_timeout(SETTLED_MS)
    dialog.screenshot(path=folder / f"restore-form{suffix}")
    for section in ("point", "find"):
        dialog.get_by_role("button", name=text(world.language, f"form.section.{section}")).click()
    page.wait_for_timeout(SETTLED_MS)
    dialog.screenshot(path=folder / f"restore-form-point{suffix}")


def _approval(page: Page, world: World, run_id: str, target: Path) -> None:
    page.set_viewport_size({"width": 1500, "height": 1180})
    _split(page, 20)
    page.goto(f"{world.airflow.url}/dags/{RESTORE}/runs/{quote(run_id)}/tasks/{APPROVE}/required_actions")
    page.get_by_role("heading", level=4).first.wait_for()
    page.wait_for_timeout(SETTLED_MS)
    page.screenshot(path=target)


def _report(page: Page, world: World, run_id: str, target: Path) -> None:
    path = f"/dags/{RECOVERY_TEST}/dagRuns/{quote(run_id, safe='')}/taskInstances/report/links"
    (address,) = world.airflow.request("GET", path)["extra_links"].values()
    page.set_viewport_size({"width": REPORT_SIZE["width"], "height": REPORT_SIZE["height"]})
    page.goto(f"{world.airflow.url}{address}")
    page.get_by_role("heading", level=1).first.wait_for()
    page.screenshot(path=target)


if __name__ == "__main__":
    sys.exit(main())
