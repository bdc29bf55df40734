"""What the Backups page is looked at with: a small Airflow, repositories with sets, and who is logged in.

Two sites: one with sets that the core really made, in a folder and in a bucket, and one whose only repository is a
server that has stopped since it was last looked at. No scheduler: nothing is to run.
"""

import contextlib
import json
import shutil
from collections.abc import Iterator
from dataclasses import dataclass
from datetime import datetime, timedelta, timezone
from pathlib import Path
from typing import Any

from playwright.sync_api import Page, expect

from airflow_instance import AirflowInstance
from spoq_data import load as load_spoq_data
from spoqplus_backup.core.manifest import Manifest
from spoqplus_backup.core.monitor.index import SiteIndex
from spoqplus_backup.core.mysql.sandbox import SandboxServer
from spoqplus_backup.core.proof.store import store_proof
from spoqplus_backup.core.repository.catalog import Catalog
from spoqplus_backup.core.repository.holds import held
from spoqplus_backup.core.repository.opener import open_repository
from support import s3, servers
from support.backups import Site, make_site
from support.history import DAY, HOUR, Past
from support.keys import SigningPair
from support.proofs import proof_of

PROJECT = Path(__file__).resolve().parents[2]
SITE, DOWN = "spoqplus", "ulsan"
ADMIN, VIEWER = "admin", "auditor"
SLOW_MS = 30_000  # on a machine that is busy
OLD_DAYS = 40  # days with a set of each kind, so that there are pages


@dataclass
class World:
    """What the tests look at. `daily` are real sets, the newest last; `report` is a recovery test's id."""

    airflow: AirflowInstance
    site: Site
    daily: list[str]
    report: str
    sessions: dict[str, Any]

    def manifest(self, name: str) -> Manifest:
        """What a set's manifest says."""
        repository = open_repository(self.site.settings, "local", self.site.connections)
        return Catalog(repository, self.site.settings.signing.public_key_files, self.site.settings.site).resolve(name)

    def reasons(self, name: str) -> list[str]:
        """Why a set is held, by each repository itself."""
        found = []
        for item in self.site.settings.repositories:
            repository = open_repository(self.site.settings, item.name, self.site.connections)
            hold = held(repository, self.site.settings.signing.public_key_files).get(name)
            found += [hold.reason] if hold else []
        return found


def settled(page: Page) -> None:
    """Wait until a view shows what it was asked for."""
    page.locator("h1, .empty").first.wait_for()
    expect(page.locator(".skeleton")).to_have_count(0, timeout=SLOW_MS)


@contextlib.contextmanager
def world_in(folder: Path, mariadb_server: SandboxServer) -> Iterator[World]:
    """Make it all; it ends with the block."""
    servers.empty(mariadb_server)
    load_spoq_data(mariadb_server.connect, 1)
    with s3.moto() as endpoint:
        site = _site_with_sets(folder / SITE, mariadb_server, endpoint)
        down = _site_that_is_down(folder / DOWN, mariadb_server)
        config, dags = folder / "config", folder / "dags"
        for directory in (config, dags):
            directory.mkdir()
        for made in (site, down):
            shutil.copy(made.settings.source, config / f"{made.settings.site}.yaml")
        shutil.copy(PROJECT / "dags" / "restore.py", dags)
        report = _recovery_test(site)
        airflow = AirflowInstance(
            folder / "airflow",
            {"SPOQPLUS_BACKUP_CONFIG": str(config)} | _connections(site) | _connections(down),
            dags=dags,
            users={ADMIN: "admin", VIEWER: "viewer"},
            parts=("api-server", "dag-processor"),
        )
        with airflow:
            airflow.wait_for_dag(f"{SITE}_restore")
            SiteIndex(site.settings, site.connections).look()
            yield World(airflow, site, sorted(_names(site, "daily"))[-2:], report, {})


def _site_with_sets(folder: Path, server: SandboxServer, endpoint: str) -> Site:
    repositories = [
        {"name": "local", "root": f"file://{folder}/repository"},
        {"name": "seoul", "root": f"s3://{s3.BUCKET}/seoul", "connection": "spoqplus_aws"},
    ]
    site = make_site(folder, server, language="ko", repositories=repositories)
    site.connections.records["spoqplus_aws"] = s3.record(endpoint)
    _old_sets(site, OLD_DAYS)
    for number in (1, 2):
        site.back_up(run_id=f"{SITE}_daily_backup/manual__{number}")
        servers.run(server, f"CREATE TABLE spoqplus.between_{number} (id INT PRIMARY KEY)")
        site.archive()
    return site


def _site_that_is_down(folder: Path, server: SandboxServer) -> Site:
    with s3.moto() as endpoint:
        repositories = [{"name": "gimhae", "root": f"s3://{s3.BUCKET}/gimhae", "connection": "ulsan_aws"}]
        site = make_site(folder, server, site=DOWN, language="ko", repositories=repositories)
        site.connections.records["ulsan_aws"] = s3.record(endpoint, "ulsan_aws")
        _old_sets(site, 3, "gimhae")
        SiteIndex(site.settings, site.connections).look()
    return site


def _old_sets(site: Site, days: int, repository: str = "local") -> None:
    """Signed sets of the past, which nobody has to restore."""
    past = Past(site.settings, site.connections, SigningPair(*_keys(site)), site.settings.source.parent)  # type: ignore[arg-type]
    opened = past.repository(repository)
    for number in range(3, days + 3):
        past.publish(opened, "daily", DAY * number)
        past.publish(opened, "incremental", DAY * number + HOUR * 6)
        if number % 7 == 0:
            past.publish(opened, "weekly", DAY * number + HOUR)


def _keys(site: Site) -> tuple[Path, Path]:
    signing = site.settings.signing
    assert signing.private_key_file is not None
    return signing.private_key_file, signing.public_key_files[0]


def _recovery_test(site: Site) -> str:
    repositories = [open_repository(site.settings, name, site.connections) for name in ("local", "seoul")]
    started = datetime.now(timezone.utc) - timedelta(days=3)
    newest = max(_names(site, "daily"))
    times = {"id": f"{started:%Y%m%d_%H%M%S}", "started_at": started, "finished_at": started + HOUR}
    proof = proof_of(site=SITE, backup=newest, run_id=f"{SITE}_recovery_test/manual__1", **times)
    store_proof(site.settings, repositories, proof, "<!doctype html><h1>the report</h1>")
    return proof.id


def _names(site: Site, cadence: str) -> set[str]:
    repository = open_repository(site.settings, "local", site.connections)
    return {"/".join(key.split("/")[:2]) for key in repository.list(f"{cadence}/")}


def _connections(site: Site) -> dict[str, str]:
    found = {}
    for name, record in site.connections.records.items():
        fields = {"conn_type": record.type, "login": record.login, "password": record.password}
        found[f"AIRFLOW_CONN_{name.upper()}"] = json.dumps(fields | {"extra": dict(record.extra)})
    return found
