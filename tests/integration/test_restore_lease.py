"""A set that is being restored can't be deleted meanwhile."""

from datetime import datetime, timedelta, timezone
from pathlib import Path

import pytest

from spoqplus_backup.core.errors import BackupError, PermanentError
from spoqplus_backup.core.mysql.sandbox import SandboxServer
from spoqplus_backup.core.recovery import restore
from spoqplus_backup.core.repository import leases
from spoqplus_backup.core.repository.local import LocalRepository
from spoqplus_backup.core.repository.opener import open_repository
from spoqplus_backup.core.repository.retention_model import RepositoryPlan
from spoqplus_backup.core.retention.planning import plan_repository
from support.backups import Site, make_site
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


def test_from_the_fetch_to_the_end_of_the_verification(site: Site) -> None:
    plan = site.plan()
    assert in_use(site) == []

    restore.fetch(site.settings, site.connections, plan)
    (lease,) = in_use(site)
    assert (lease.set, lease.run, lease.purpose) == (plan.backup, plan.run_id, "restore")
    assert lease.expires_at > datetime.now(timezone.utc) + timedelta(hours=23)
    assert reasons(plan_repository(site.settings, site.connections, "local", "retention")) == {"lease"}

    restore.load_set(site.settings, site.connections, plan, 1)
    (renewed,) = in_use(site)
    assert renewed.expires_at > lease.expires_at

    restore.verify_restored(site.settings, site.connections, plan)
    assert in_use(site) == []


def test_a_set_that_is_being_deleted_is_not_fetched(site: Site) -> None:
    plan = site.plan()
    repository = open_repository(site.settings, "local", site.connections)
    leases.take(repository, plan.backup, "spoqplus_retention/run", leases.DELETE)
    with pytest.raises(BackupError, match="is being deleted by spoqplus_retention/run"):
        restore.fetch(site.settings, site.connections, plan)


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
