"""The Backups page in a real browser, of a site with ten sets for each megabyte: 10,000 beside 1,000 MB.

First paint is when the promises are there to be read, from the moment the address was opened. Cold is an API server
that has just started, with nothing remembered on disk; warm is one that was asked before.
"""

import shutil
import time
from collections.abc import Iterator
from datetime import datetime, timedelta, timezone
from pathlib import Path
from statistics import median

import yaml
from playwright.sync_api import Page, sync_playwright

from airflow_instance import ADMIN, AirflowInstance
from bench import report
from bench.measure import BenchError
from bench.world import World, say
from browser import launch, log_in
from spoqplus_backup.core.crypto import sign
from spoqplus_backup.core.manifest import (
    MANIFEST,
    SIGNATURE,
    Component,
    Compression,
    Encryption,
    Manifest,
    Part,
    Server,
)

SETS_A_MB = 10
SITE = "bench"
APART = timedelta(hours=6)
OPENINGS = 5  # of a warm page; the median counts
LOOK_SECONDS = 300.0
# from the opening of the address to the first sight of an element, in milliseconds
SEEN = """(selector) => new Promise((done) => {
  const look = () => document.querySelector(selector)
    ? requestAnimationFrame(() => done(performance.now())) : setTimeout(look, 5);
  look();
})"""
METRICS = ("first_paint_cold", "first_paint_warm", "sets_warm")
PROMISES, ROWS = "#promises-title", "table.sets tbody tr"


def rows(world: World, runs: int) -> Iterator[report.Row]:
    """The medians of the seconds."""
    number = world.megabytes * SETS_A_MB
    root = world.folder / f"page-{number}"
    _publish(world, root, number)
    found = [_run(world, root, number) for _ in range(runs)]
    for name, seconds in zip(METRICS, zip(*found, strict=True), strict=True):
        yield report.against_target("page", f"{name}_seconds", median(seconds))


def _run(world: World, root: Path, number: int) -> tuple[float, float, float]:
    for folder in (world.folder / "airflow", world.folder / "page-staging", world.folder / "page-dags"):
        shutil.rmtree(folder, ignore_errors=True)
    (dags := world.folder / "page-dags").mkdir()
    config = world.folder / "page.yaml"
    config.write_text(yaml.safe_dump(_settings(world, root)))
    say(f"starting an Airflow for the page of {number} sets")
    airflow = AirflowInstance(
        world.folder / "airflow", {"SPOQPLUS_BACKUP_CONFIG": str(config)}, dags=dags, parts=("api-server",)
    )
    with airflow, sync_playwright() as playwright, launch(playwright) as browser:
        page = browser.new_page(locale="en-US")
        log_in(page, airflow, ADMIN)
        address = f"{airflow.url}/spoqplus/#/{SITE}"
        cold = _opened(page, address, PROMISES)
        began = time.monotonic()
        _until_all_is_known(page, number)
        say(f"  cold: first paint {cold:.2f} s, all sets known after {time.monotonic() - began:.0f} s")
        warm = median(_opened(page, address, PROMISES) for _ in range(OPENINGS))
        sets = median(_opened(page, f"{address}/sets", ROWS) for _ in range(OPENINGS))
        say(f"  warm: first paint {warm:.2f} s, the table of sets {sets:.2f} s")
        return cold, warm, sets


def _opened(page: Page, address: str, selector: str) -> float:
    page.goto("about:blank")
    page.goto(address, wait_until="commit")
    return float(page.evaluate(SEEN, selector)) / 1000


def _until_all_is_known(page: Page, number: int) -> None:
    deadline = time.monotonic() + LOOK_SECONDS
    while time.monotonic() < deadline:
        overview = page.evaluate(f"fetch('api/{SITE}/overview').then((answer) => answer.json())")
        if overview["catalogue"]["complete"] and overview["totals"]["sets"] == number:
            return
        time.sleep(1)
    raise BenchError(f"The page did not know all {number} sets within {LOOK_SECONDS:.0f} s.")


def _settings(world: World, root: Path) -> dict[str, object]:
    return {
        "site": SITE,
        "staging": {"directory": str(world.folder / "page-staging")},
        "repositories": [{"name": "local", "root": f"file://{root}"}],
        "encryption": {"recipients": [world.keys.recipient]},
        "signing": {"public_key_files": [str(world.keys.signing_public)]},
        "slack": {"connection": None},
    }


def _publish(world: World, root: Path, number: int) -> None:
    """So many signed sets of one component, made once; their objects are not there, nobody reads them."""
    if (root / "complete").exists():
        return
    shutil.rmtree(root, ignore_errors=True)
    say(f"making {number} sets in {root}")
    newest = datetime.now(timezone.utc)
    for position in range(number):
        at = newest - position * APART
        folder = root / "daily" / f"{at:%Y%m%d_%H%M%S}"
        folder.mkdir(parents=True)
        content = _manifest(folder.name, at).to_json()
        (folder / SIGNATURE).write_bytes(sign(content, world.keys.signing_private))
        (folder / MANIFEST).write_bytes(content)
    (root / "complete").touch()


def _manifest(set_id: str, at: datetime) -> Manifest:
    part = Part(name="000001.sql.zst.age", raw_bytes=100, raw_sha256="0" * 64, stored_bytes=50, sha256="0" * 64)
    end = at + timedelta(minutes=5)
    database = Component(
        name="database", kind="logical", content="dump", parts=(part,), index=part, started_at=at, finished_at=end
    )
    return Manifest(
        site=SITE,
        cadence="daily",
        id=set_id,
        run_id=f"{SITE}_daily_backup/scheduled",
        started_at=at,
        finished_at=end,
        server=Server(flavour="mariadb", version="10.11", id=1),
        tools={},
        compression=Compression(level=3),
        encryption=Encryption(scheme="age"),
        components=(database,),
    )
