"""Weekly and monthly backups of a real server: read back, locked, three at once, and copied elsewhere with logs."""

import base64
import hashlib
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from datetime import datetime, timezone
from pathlib import Path
from typing import Any, NamedTuple

import pytest

from compare import differences, snapshot
from spoqplus_backup.core.archive.incremental import PublishedIncremental, publish_incremental, ref_problems
from spoqplus_backup.core.errors import BackupError, IntegrityError, PermanentError
from spoqplus_backup.core.mysql.sandbox import SandboxServer
from spoqplus_backup.core.recovery.archived import ArchivedLogs
from spoqplus_backup.core.recovery.windows import Window, fulls, windows
from spoqplus_backup.core.replication import copy_logs, copy_sets
from spoqplus_backup.core.replication_plan import plan_copies
from spoqplus_backup.core.repository.binlogs import BinlogCatalog
from spoqplus_backup.core.repository.catalog import Catalog, SetRef
from spoqplus_backup.core.repository.opener import open_repository
from support import s3
from support.backups import Site, make_site
from support.production import ProductionServer, production
from support.servers import empty

pytestmark = pytest.mark.integration

LOCKED, ELSEWHERE = "spoqplus-locked", "spoqplus-backup-dr"


class World(NamedTuple):
    """A site that backs up to a folder and, through a proxy, to a bucket; a second S3 server has a replica."""

    site: Site
    db: ProductionServer
    faults: s3.Faults
    here: Any
    elsewhere: Any
    prefix: str

    def catalog(self, repository: str) -> Catalog:
        opened = open_repository(self.site.settings, repository, self.site.connections)
        return Catalog(opened, self.site.settings.signing.public_key_files, "spoqplus")

    def incremental(self) -> PublishedIncremental:
        self.site.archive()
        self.site.runs += 1
        run = f"test/incremental-{self.site.runs}"
        return publish_incremental(self.site.settings, self.site.connections, run, datetime.now(timezone.utc))

    def windows(self, repository: str) -> list[Window]:
        catalog = self.catalog(repository)
        logs = ArchivedLogs(self.site.settings, self.site.connections, catalog.repository)
        return windows(logs, fulls(catalog))

    def downloads(self) -> int:
        """Parts that were read from the bucket."""
        return sum(request.startswith("GET ") and ".age" in request for request in self.faults.requests)

    def damage(self, key: str) -> None:
        """Change an object in the bucket while the server goes on to vouch for it."""
        key = f"{self.prefix}/{key}"
        stored = self.here.get_object(Bucket=LOCKED, Key=key)
        content = bytearray(stored["Body"].read())
        right = hashlib.sha256(content).digest()
        content[-1] ^= 1
        self.here.put_object(
            Bucket=LOCKED,
            Key=key,
            Body=bytes(content),
            Metadata=stored["Metadata"],
            ChecksumAlgorithm="SHA256",
            ChecksumSHA256=base64.b64encode(right).decode(),
        )


@pytest.fixture(scope="module")
def running(tmp_path_factory: pytest.TempPathFactory) -> Iterator[ProductionServer]:
    yield from production(tmp_path_factory.mktemp("mariadb"), "mariadb")


@pytest.fixture(scope="module")
def endpoints() -> Iterator[tuple[str, str]]:
    with s3.moto() as here, s3.moto() as elsewhere:
        s3.s3_client(s3.record(here)).create_bucket(Bucket=LOCKED, ObjectLockEnabledForBucket=True)
        s3.make_bucket(elsewhere, ELSEWHERE)
        yield here, elsewhere


@pytest.fixture
def world(
    running: ProductionServer, endpoints: tuple[str, str], mariadb_target: SandboxServer, tmp_path: Path
) -> Iterator[World]:
    here, elsewhere = endpoints
    running.renew()
    running.write()
    empty(mariadb_target)
    repositories = [
        {"name": "local", "root": f"file://{tmp_path}/site/local"},
        {
            "name": "s3",
            "root": f"s3://{LOCKED}/{tmp_path.name}",
            "connection": "here",
            "long_term_storage_class": "GLACIER_IR",
            "object_lock": {"mode": "governance", "days": 30},
        },
        {"name": "dr", "root": f"s3://{ELSEWHERE}/{tmp_path.name}", "connection": "elsewhere", "role": "replica"},
    ]
    site = make_site(tmp_path / "site", running.server, mariadb_target, repositories=repositories)
    with s3.faulty(here) as faults:
        faults.checks_checksums = True
        site.connections.records |= {
            "here": s3.record(faults.endpoint, "here"),
            "elsewhere": s3.record(elsewhere, "elsewhere"),
        }
        clients = [s3.s3_client(s3.record(endpoint)) for endpoint in (here, elsewhere)]
        yield World(site, running, faults, *clients, tmp_path.name)


def test_a_weekly_backup_is_read_back(world: World) -> None:
    world.site.back_up("daily")
    assert world.downloads() == 0, "the server checks what it keeps, and a daily backup believes it"

    weekly = world.site.back_up("weekly")

    objects = world.catalog("s3").resolve(weekly.set).objects()
    assert world.downloads() == len(objects)


@pytest.mark.parametrize("cadence", ["daily", "weekly"])
def test_a_server_that_lies_about_an_object_is_found_by_reading_it(world: World, cadence: str) -> None:
    from spoqplus_backup.core import stages
    from spoqplus_backup.core.publish import publish

    run = world.site.start(cadence)
    for component in run.staging.components():
        world.site.component(run, component)
    world.damage(f"{run.name}/database/000001.sql.zst.age")

    if cadence == "daily":
        stages.verify(run)
        return
    with pytest.raises(
        IntegrityError, match=rf"s3://{LOCKED}/.*/{run.name}/database/000001\.sql\.zst\.age has the SHA"
    ):
        stages.verify(run)
    assert world.catalog("s3").sets() == []
    # what the help says: clear the upload, after the object was moved away, for the server vouches for it
    world.here.delete_object(Bucket=LOCKED, Key=f"{world.prefix}/{run.name}/database/000001.sql.zst.age")
    stages.upload(run, "database")
    assert stages.verify(run).detail["s3"] == "4 objects, read back"
    assert publish(run).set == run.name


def test_a_monthly_backup_is_locked_and_in_the_long_term_class(world: World, mariadb_target: SandboxServer) -> None:
    monthly = world.site.back_up("monthly")

    heads = {
        key: world.here.head_object(Bucket=LOCKED, Key=f"{world.prefix}/{monthly.set}/{key}")
        for key in [*world.catalog("s3").resolve(monthly.set).objects(), "manifest.json", "manifest.json.sig"]
    }
    assert {head["ObjectLockMode"] for head in heads.values()} == {"GOVERNANCE"}
    assert {head.get("StorageClass") for key, head in heads.items() if key.endswith(".age")} == {"GLACIER_IR"}

    world.site.restore(backup="latest", repository="s3")
    before = snapshot(world.db.server.connect(), ["ledger"], accounts=False)
    assert differences(before, snapshot(mariadb_target.connect(), ["ledger"], accounts=False)) == []


def test_only_monthly_backups_are_locked(world: World) -> None:
    weekly = world.site.back_up("weekly")
    head = world.here.head_object(Bucket=LOCKED, Key=f"{world.prefix}/{weekly.set}/manifest.json")
    assert "ObjectLockMode" not in head


def test_a_bucket_without_object_lock_is_found_before_the_dump(world: World) -> None:
    world.here.create_bucket(Bucket="spoqplus-open")
    repositories = [
        item.model_copy(update={"root": "s3://spoqplus-open"}) if item.name == "s3" else item
        for item in world.site.settings.repositories
    ]
    object.__setattr__(world.site, "settings", world.site.settings.model_copy(update={"repositories": repositories}))
    with pytest.raises(PermanentError, match="The bucket spoqplus-open has no object lock"):
        world.site.start("monthly")
    world.site.start("weekly")


def test_weekly_and_monthly_sets_are_fulls_that_logs_lead_on_from(world: World) -> None:
    first = world.site.back_up("weekly")
    world.db.write()
    assert world.incremental().after == first.set
    world.db.write()
    monthly = world.site.back_up("monthly")
    world.db.write()
    made = world.incremental()
    assert made.after == monthly.set

    found = {window.backup: window for window in world.windows("s3")}
    assert set(found) == {first.set, monthly.set}
    assert all(window.has_logs and window.problem is None for window in found.values())
    assert found[first.set].end == found[monthly.set].end
    assert world.catalog("s3").resolve("latest").name == monthly.set


def test_three_at_once(world: World) -> None:
    """Sunday the 1st: no set takes another's id or place, and nothing is left in the staging area."""
    with ThreadPoolExecutor() as pool:
        runs = [
            pool.submit(world.site.back_up, cadence, run_id=f"test/{cadence}")
            for cadence in ("daily", "weekly", "monthly")
        ]
    published = [run.result().set for run in runs]

    assert sorted(name.partition("/")[0] for name in published) == ["daily", "monthly", "weekly"]
    for name in published:
        for repository in ("local", "s3"):
            catalog = world.catalog(repository)
            for key, part in catalog.resolve(name).objects().items():
                catalog.repository.check(f"{name}/{key}", part.stored_bytes, part.sha256, read_back=True)
    staging = world.site.settings.staging.directory
    assert [path for path in staging.rglob("*") if path.is_file() and not path.name.startswith(".reservations")] == []
    assert "daily" not in (staging / ".reservations.json").read_text()


def copy(world: World) -> None:
    """As the DAG does."""
    plan = plan_copies(world.site.settings, world.site.connections)
    copy_logs(world.site.settings, world.site.connections)
    copy_sets(world.site.settings, world.site.connections, plan)


def test_a_replica_can_bring_back_everything(world: World, mariadb_target: SandboxServer) -> None:
    full = world.site.back_up("weekly")
    world.db.write(3)
    made = world.incremental()

    copy(world)

    assert world.catalog("dr").sets() == [SetRef(*str(made.set).split("/")), SetRef(*full.set.split("/"))]
    assert world.windows("dr") == world.windows("s3")
    world.site.restore(backup="latest", repository="dr", to_time="latest")
    before = snapshot(world.db.server.connect(), ["ledger"], accounts=False)
    assert differences(before, snapshot(mariadb_target.connect(), ["ledger"], accounts=False)) == []


def test_backups_and_logs_go_to_primaries_alone(world: World) -> None:
    world.site.back_up("daily")
    world.db.write()
    world.site.archive()
    assert list(world.catalog("dr").repository.list()) == []


def test_an_incremental_set_is_not_published_without_its_logs(world: World) -> None:
    full = world.site.back_up("daily")
    world.db.write()
    made = world.incremental()
    plan = plan_copies(world.site.settings, world.site.connections)
    assert plan.sets == {"dr": (full.set, made.set)}

    with pytest.raises(BackupError, match=f"The logs of {made.set} are not in s3://{ELSEWHERE}/.* yet") as caught:
        copy_sets(world.site.settings, world.site.connections, plan)
    assert not isinstance(caught.value, PermanentError), "the task's retry finds them"
    assert [ref.name for ref in world.catalog("dr").sets()] == [full.set]

    copy(world)
    assert [ref.name for ref in world.catalog("dr").sets()] == [made.set, full.set]


def test_a_log_that_is_damaged_everywhere_is_refused_and_named(world: World) -> None:
    world.site.back_up("daily")
    world.db.write()
    made = world.incremental()
    manifest = world.catalog("s3").resolve(str(made.set))
    key = f"{manifest.binlogs[0].key}.zst.age"
    world.damage(key)
    local = Path(world.site.settings.repository("local").root.removeprefix("file://"), key)
    copy_logs(world.site.settings, world.site.connections)  # the folder's copy is good
    catalog = BinlogCatalog(world.catalog("dr").repository, world.site.settings.signing.public_key_files, "spoqplus")
    assert ref_problems(catalog, manifest) == []

    for stored in world.catalog("dr").repository.list("binlog/"):
        world.catalog("dr").repository.delete(stored)
    local.write_bytes(b"x" + local.read_bytes()[1:])
    with pytest.raises(IntegrityError, match=f"{key} has the SHA-256"):
        copy_logs(world.site.settings, world.site.connections)
