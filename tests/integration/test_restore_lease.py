"""A set that is being restored can't be deleted meanwhile."""

import shutil
from datetime import datetime, timedelta, timezone
from pathlib import Path

import pytest

from spoqplus_backup.cli import main
from spoqplus_backup.core.errors import BackupError, PermanentError
from spoqplus_backup.core.mysql.sandbox import SandboxServer
from spoqplus_backup.core.recovery import restore
from spoqplus_backup.core.recovery.files import steps
from spoqplus_backup.core.recovery.undo import undo
from spoqplus_backup.core.repository import leases
from spoqplus_backup.core.repository.local import LocalRepository
from spoqplus_backup.core.repository.opener import open_repository
from spoqplus_backup.core.repository.retention_model import RepositoryPlan
from spoqplus_backup.core.retention.planning import plan_repository
from support.backups import Site, make_site
from support.file_sets import FileSite, make_file_site
from support.servers import empty, rows

pytestmark = pytest.mark.integration


@pytest.fixture
def site(mariadb_server: SandboxServer, mariadb_target: SandboxServer, tmp_path: Path) -> Site:
    """A site with one backup of one table."""
    for server in (mariadb_server, mariadb_target):
        empty(server)
    connection = mariadb_server.connect()
    rows(connection, "CREATE DATABASE spoqplus")
    rows(connection, "CREATE TABLE spoqplus.members (id INT PRIMARY KEY)")
    rows(connection, "INSERT INTO spoqplus.members VALUES (1), (2)")
    connection.commit()
    made = make_site(tmp_path, mariadb_server, mariadb_target)
    made.back_up()
    return made


def in_use(site: Site) -> list[leases.Lease]:
    return leases.all_leases(open_repository(site.settings, "local", site.connections))


def reasons(plan: RepositoryPlan) -> set[str]:
    return {item.reason for item in plan.decisions if item.kind == "set"}


def test_from_the_plan_to_the_end_of_the_verification(site: Site) -> None:
    """However long a person takes to approve the plan, the set is there when it is fetched."""
    site.plan(dry_run=True)
    assert in_use(site) == []
    plan = site.plan()
    lease = next(one for one in in_use(site) if one.run == plan.run_id)
    assert (lease.set, lease.purpose) == (plan.backup, "restore")
    assert lease.expires_at > datetime.now(timezone.utc) + timedelta(
        hours=24 + site.settings.restore.approval_hours - 1
    )
    assert reasons(plan_repository(site.settings, site.connections, "local", "retention")) == {"lease"}

    for step in (restore.fetch, lambda *arguments: restore.load_set(*arguments, 1)):
        step(site.settings, site.connections, plan)
        (renewed,) = (one for one in in_use(site) if one.run == plan.run_id)
        assert renewed.expires_at > lease.expires_at
        lease = renewed

    restore.verify_restored(site.settings, site.connections, plan)
    assert plan.run_id not in {one.run for one in in_use(site)}


def test_a_set_that_is_being_deleted_is_not_fetched_nor_planned_with(site: Site) -> None:
    plan = site.plan()
    repository = open_repository(site.settings, "local", site.connections)
    leases.take(repository, plan.backup, "spoqplus_retention/run", leases.DELETE)
    with pytest.raises(BackupError, match="is being deleted by spoqplus_retention/run"):
        restore.fetch(site.settings, site.connections, plan)
    with pytest.raises(BackupError, match="is being deleted by spoqplus_retention/run"):
        site.plan()


def test_a_repository_that_can_only_be_read_is_restored_from_all_the_same(
    site: Site, monkeypatch: pytest.MonkeyPatch
) -> None:
    def refuse(self: LocalRepository, key: str, content: bytes) -> None:
        raise PermanentError(f"{key} is refused (Read-only file system): make it writable.")

    plan = site.plan()
    monkeypatch.setattr(LocalRepository, "put_bytes", refuse)
    restore.fetch(site.settings, site.connections, plan)
    restore.load_set(site.settings, site.connections, plan, 1)
    assert restore.verify_restored(site.settings, site.connections, plan).detail["rows"] == 2


# ---- files: every set that an incremental one stands on, wherever it lies ---------------------------------------


@pytest.fixture
def chain(tmp_path: Path) -> FileSite:
    """The incremental set is in one repository, the full one that it stands on in another."""
    roots = {name: tmp_path / "site" / name for name in ("repository", "other")}
    repositories = [{"name": name, "root": f"file://{root}"} for name, root in roots.items()]
    site = make_file_site(tmp_path / "site", repositories=repositories)
    (site.source / "up").mkdir()
    (site.source / "up/a").write_text("a")
    full = site.archive(["up"])
    site.archive(["up"], base=full)
    (roots["other"] / full).parent.mkdir(parents=True)
    (roots["repository"] / full).rename(roots["other"] / full)
    return site


def leased(site: FileSite) -> dict[str, list[str]]:
    return {
        item.name: [
            lease.set for lease in leases.all_leases(open_repository(site.settings, item.name, site.connections))
        ]
        for item in site.settings.repositories
    }


FREE: dict[str, list[str]] = {"repository": [], "other": []}
USED = {"repository": ["daily/20260101_000002"], "other": ["daily/20260101_000001"]}


def test_all_that_files_come_from_is_kept(chain: FileSite) -> None:
    plan = chain.plan()
    assert leased(chain) == USED
    chain.fetch(plan)
    steps.restore_files(chain.settings, chain.connections, plan, 1)
    assert leased(chain) == USED
    restore.verify_restored(chain.settings, chain.connections, plan)
    assert leased(chain) == FREE
    assert (chain.directory / "restored/up/a").read_text() == "a"


def test_what_was_put_back_is_no_longer_kept(chain: FileSite) -> None:
    plan = chain.plan()
    chain.fetch(plan)
    steps.restore_files(chain.settings, chain.connections, plan, 1)
    undo(chain.settings, chain.connections, plan)
    assert leased(chain) == FREE


def test_a_restore_that_nobody_goes_on_with_is_dropped_with_its_leases(chain: FileSite) -> None:
    plan = chain.plan()
    chain.fetch(plan)
    assert leased(chain) == USED
    assert main(["--config", str(chain.settings.source), "restore", "--drop", plan.run_id]) == 0
    assert leased(chain) == FREE


def test_a_plan_only_and_a_refused_restore_keep_nothing(chain: FileSite, monkeypatch: pytest.MonkeyPatch) -> None:
    options = ["--config", str(chain.settings.source), "restore", "--components", "uploads"]
    assert main([*options, "--dry-run"]) == 0
    assert leased(chain) == FREE

    asked: list[object] = []

    def refuse(question: str) -> str:
        asked.append(leased(chain))
        return "no"

    monkeypatch.setattr("builtins.input", refuse)
    root = str(chain.directory / "elsewhere")
    assert main([*options, "--environment", "production", "--target-root", root]) == 1
    assert (asked, leased(chain)) == ([USED], FREE)


def test_a_set_that_is_gone_since_the_plan(chain: FileSite) -> None:
    """A lease that nobody could write, or that ran out, is no reason for a puzzle."""
    plan = chain.plan()
    shutil.rmtree(chain.directory / "other/daily")
    for step in (chain.fetch, lambda plan: steps.restore_files(chain.settings, chain.connections, plan, 1)):
        with pytest.raises(
            PermanentError, match="other/daily/20260101_000001 is gone since the restore .* was planned"
        ):
            step(plan)
    assert leased(chain) == USED | {"other": []}


def test_a_repository_that_is_out_of_order_at_the_end_fails_no_restore(
    chain: FileSite, monkeypatch: pytest.MonkeyPatch
) -> None:
    def fails(self: LocalRepository, prefix: str = "") -> None:
        raise BackupError("out of order")

    plan = chain.plan()
    chain.fetch(plan)
    steps.restore_files(chain.settings, chain.connections, plan, 1)
    monkeypatch.setattr(LocalRepository, "list", fails)
    assert restore.verify_restored(chain.settings, chain.connections, plan).detail["files"] == 1
