"""Copies from repository to repository: whole or not at all, once, and never over another set."""

import hashlib
import multiprocessing
import os
import signal
import subprocess
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from datetime import timedelta
from pathlib import Path
from typing import Any, NamedTuple

import pytest
import yaml

from spoqplus_backup.core import replication, replication_plan
from spoqplus_backup.core.errors import BackupError, DiskFullError, IntegrityError, PermanentError
from spoqplus_backup.core.manifest import MANIFEST, SIGNATURE
from spoqplus_backup.core.replication import CopyReport, copy_sets
from spoqplus_backup.core.replication_plan import CopyPlan, plan_copies
from spoqplus_backup.core.repository import leases
from spoqplus_backup.core.repository.base import Repository
from spoqplus_backup.core.repository.opener import open_all, open_repositories, open_repository
from spoqplus_backup.core.settings import RepositorySettings, Settings, load_settings
from support import s3
from support.connections import FixedConnections
from support.keys import SigningPair, age_pair, signing_pair
from support.published import PARTS, content_of, manifest_of, publish_in

ONE, TWO, THREE = (f"daily/2025030{day}_030000" for day in (1, 2, 3))
WEEKLY = "weekly/20250302_040000"
PART = f"{ONE}/database/{PARTS[0]}"


class World(NamedTuple):
    """A folder and a bucket that backups go to, and a bucket elsewhere that gets copies, behind a proxy."""

    settings: Settings
    connections: FixedConnections
    faults: s3.Faults
    keys: SigningPair

    @property
    def sources(self) -> list[Repository]:
        return open_repositories(self.settings, self.connections)

    @property
    def replica(self) -> Repository:
        return open_repository(self.settings, "dr", self.connections)

    def publish(self, name: str, repositories: list[Repository] | None = None, **fields: Any) -> None:
        publish_in(
            self.sources if repositories is None else repositories, self.keys.private, manifest_of(name, **fields)
        )

    def plan(self, *announced: str, asked: tuple[str, ...] = ()) -> CopyPlan:
        return plan_copies(self.settings, self.connections, announced, asked)

    def copy(self, *names: str, **options: Any) -> CopyReport:
        return copy_sets(self.settings, self.connections, CopyPlan(sets={"dr": names}), **options)

    def uploads(self) -> list[str]:
        """The parts that were sent to the replica."""
        return [request for request in self.faults.requests if request.startswith("PUT ") and ".age" in request]


@pytest.fixture(scope="module")
def endpoints() -> Iterator[tuple[str, str]]:
    with s3.moto() as here, s3.moto() as elsewhere:
        yield here, elsewhere


@pytest.fixture
def world(endpoints: tuple[str, str], tmp_path: Path) -> Iterator[World]:
    here, elsewhere = endpoints
    keys = signing_pair(tmp_path)
    (tmp_path / "site.yaml").write_text(
        f"""
encryption: {{recipients: [{age_pair(tmp_path).recipient}]}}
signing: {{public_key_files: [{keys.public}]}}
staging: {{directory: staging}}
repositories:
  - {{name: local, root: "file://{tmp_path}/local"}}
  - {{name: s3, root: "s3://{s3.BUCKET}/{tmp_path.name}", connection: here}}
  - {{name: dr, root: "s3://{s3.BUCKET}/{tmp_path.name}-dr", connection: elsewhere, role: replica}}
"""
    )
    with s3.faulty(elsewhere) as faults:
        connections = FixedConnections(s3.record(here, "here"), s3.record(faults.endpoint, "elsewhere"))
        (tmp_path / "local").mkdir()
        yield World(load_settings(tmp_path / "site.yaml"), connections, faults, keys)


def test_a_set_is_copied_whole_and_its_manifest_last(world: World) -> None:
    world.publish(ONE)

    report = world.copy(ONE)

    assert (report.copied, report.present, report.sent_objects) == ({"dr": (ONE,)}, {}, 3)
    assert list(world.replica.list()) == list(world.sources[1].list())
    for part in PARTS:
        assert world.replica.read(f"{ONE}/database/{part}") == content_of(ONE, part)
    puts = [request for request in world.faults.requests if request.startswith("PUT ") and ".probe" not in request]
    assert puts[-2].endswith(f"{ONE}/{SIGNATURE}")
    assert puts[-1].endswith(f"{ONE}/{MANIFEST}")
    assert [item.name for item in open_all(world.settings, world.connections)] == ["local", "s3", "dr"]


def test_a_second_time_nothing_is_sent(world: World) -> None:
    world.publish(ONE)
    world.copy(ONE)
    world.faults.requests.clear()

    report = world.copy(ONE)

    assert (report.copied, report.present) == ({}, {"dr": (ONE,)})
    assert world.faults.count("PUT") == 0
    assert world.plan().sets == {"dr": ()}


def test_it_goes_on_where_it_was_interrupted(world: World) -> None:
    world.publish(ONE)
    world.replica.put_bytes(PART, content_of(ONE, PARTS[0]))
    world.replica.put_bytes(f"{ONE}/database/{PARTS[1]}", b"half of it")
    world.faults.requests.clear()

    report = world.copy(ONE)

    assert report.sent_objects == 2
    assert not any(request.endswith(PART) for request in world.uploads())
    assert world.replica.read(f"{ONE}/database/{PARTS[1]}") == content_of(ONE, PARTS[1])


def test_a_replica_out_of_order_is_worth_another_try(world: World) -> None:
    world.publish(ONE)
    world.faults.always, world.faults.only = 503, "PUT"
    with pytest.raises(BackupError, match="answered 503") as caught:
        world.copy(ONE)
    assert not isinstance(caught.value, PermanentError)
    assert world.replica.stat(f"{ONE}/{MANIFEST}") is None

    world.faults.always = None
    assert world.copy(ONE).copied == {"dr": (ONE,)}


def test_a_replica_without_room_is_tried_again_by_the_next_run(world: World) -> None:
    world.publish(ONE)
    world.faults.always, world.faults.only, world.faults.code = 507, "PUT", "XMinioStorageFull"
    with pytest.raises(DiskFullError, match=r"The server has no room for s3://.*: free some or raise its quota"):
        world.copy(ONE)

    world.faults.always = None
    assert copy_sets(world.settings, world.connections, world.plan()).copied == {"dr": (ONE,)}


def test_an_object_that_is_damaged_in_one_source_comes_from_another(world: World) -> None:
    world.publish(ONE)
    world.sources[0].put_bytes(PART, content_of(ONE, PARTS[0])[:-1] + b"!")

    report = world.copy(ONE)

    assert world.replica.read(PART) == content_of(ONE, PARTS[0])
    (warning,) = report.warnings
    assert f"/local/{PART} has the SHA-256" in warning


def test_a_source_that_is_out_of_reach_is_left_out(world: World) -> None:
    world.publish(ONE)
    gone = world.settings.repositories[1].model_copy(update={"root": "s3://no-such-bucket-here"})
    first, _, replica = world.settings.repositories
    without = world._replace(settings=world.settings.model_copy(update={"repositories": (first, gone, replica)}))

    assert without.plan(ONE).sets == {"dr": (ONE,)}
    assert without.copy(ONE).copied == {"dr": (ONE,)}

    alone = world._replace(settings=world.settings.model_copy(update={"repositories": (gone, replica)}))
    with pytest.raises(PermanentError, match="There is no bucket no-such-bucket-here"):
        alone.plan(ONE)


def test_an_object_that_is_damaged_everywhere_is_refused_and_named_and_other_sets_are_copied(world: World) -> None:
    world.publish(ONE)
    world.publish(TWO)
    for source in world.sources:
        source.put_bytes(PART, content_of(ONE, PARTS[0])[:-1] + b"!")

    with pytest.raises(IntegrityError, match=f"s3://.*/{PART} has the SHA-256"):
        world.copy(ONE, TWO)

    assert world.replica.stat(f"{ONE}/{MANIFEST}") is None
    assert world.replica.stat(PART) is None
    assert world.replica.stat(f"{TWO}/{MANIFEST}") is not None


def test_what_arrives_damaged_is_not_published(world: World) -> None:
    world.publish(ONE)
    world.faults.flip_uploads = 1
    with pytest.raises(BackupError, match="arrived damaged: the next try sends it again") as caught:
        world.copy(ONE)
    assert not isinstance(caught.value, PermanentError)
    assert world.replica.stat(f"{ONE}/{MANIFEST}") is None

    assert world.copy(ONE).copied == {"dr": (ONE,)}


def test_a_forged_manifest_is_not_copied(world: World, tmp_path: Path) -> None:
    thief = signing_pair(tmp_path, "thief")
    publish_in(world.sources, thief.private, manifest_of(ONE))
    with pytest.raises(IntegrityError, match="is not signed by any key"):
        world.copy(ONE)
    assert list(world.replica.list()) == []


def test_another_set_under_the_same_name_is_never_overwritten(world: World) -> None:
    world.publish(ONE)
    world.publish(ONE, [world.replica], run_id="somebody/else")
    before = world.replica.read(f"{ONE}/{MANIFEST}")

    world.publish(TWO)
    with pytest.raises(IntegrityError, match=f"dr holds another set under the name {ONE}"):
        copy_sets(world.settings, world.connections, world.plan(ONE))

    assert world.replica.read(f"{ONE}/{MANIFEST}") == before
    assert world.replica.stat(f"{TWO}/{MANIFEST}") is not None


INCREMENTAL = "incremental/20250303_060000"


def test_what_is_newest_counts_most_and_incremental_sets_come_last(world: World) -> None:
    for name in (INCREMENTAL, ONE, TWO, WEEKLY):
        world.publish(name)
    assert world.plan(TWO, WEEKLY, TWO, ONE).sets == {"dr": (WEEKLY, TWO, ONE, INCREMENTAL)}


def test_every_run_brings_what_is_lacking(world: World) -> None:
    for name in (ONE, TWO, THREE, WEEKLY, "safety/20250303_120000"):
        world.publish(name)
    for name in (TWO, THREE):
        world.publish(name, [world.replica])
    assert world.plan().sets == {"dr": (WEEKLY, ONE)}, "a copy that failed is made up for, newer ones or not"


def test_a_run_brings_a_part_of_many_and_what_is_named_in_any_case(
    world: World, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(replication_plan, "AT_ONCE", 2)
    for name in (ONE, TWO, THREE, WEEKLY):
        world.publish(name)
    assert world.plan().sets == {"dr": (THREE, WEEKLY)}
    assert world.plan(ONE).sets == {"dr": (THREE, ONE)}
    assert world.plan(asked=(ONE, TWO, WEEKLY)).sets == {"dr": (WEEKLY, TWO, ONE)}


def test_what_the_replica_s_retention_would_delete_is_not_brought(world: World) -> None:
    first, second, replica = world.settings.repositories
    keep = replica.keep.model_copy(update={"daily": 2, "weekly": 0, "monthly": 0})
    few = world.settings.model_copy(update={"repositories": (first, second, replica.model_copy(update={"keep": keep}))})
    for name in (ONE, TWO, THREE, WEEKLY):
        world.publish(name)
    world.publish(THREE, [world.replica])
    planned = plan_copies(few, world.connections)
    assert planned.sets == {"dr": (WEEKLY,)}, "the newest of a cadence always stays; TWO goes tomorrow"
    assert plan_copies(few, world.connections, asked=(ONE,)).sets == {"dr": (WEEKLY, ONE)}, "unless a person asks"


def test_what_a_set_stands_on_comes_first(world: World) -> None:
    world.publish(WEEKLY)
    world.publish(THREE, depends_on=(WEEKLY,))
    assert world.plan(THREE).sets == {"dr": (WEEKLY, THREE)}

    for source in world.sources:
        source.delete(f"{WEEKLY}/database/{PARTS[0]}")
    with pytest.raises(IntegrityError, match="is not there"):
        world.copy(WEEKLY, THREE)
    assert world.replica.stat(f"{THREE}/{MANIFEST}") is None, "without its base it can't be restored"
    assert world.plan().sets == {"dr": ()}, "neither will be better at the next run"


def test_a_set_that_is_damaged_everywhere_is_told_once_a_day(world: World, monkeypatch: pytest.MonkeyPatch) -> None:
    for name in (ONE, TWO):
        world.publish(name)
    for source in world.sources:
        source.put_bytes(PART, b"rotten")
    with pytest.raises(IntegrityError, match=f"{PART} has"):
        copy_sets(world.settings, world.connections, world.plan())
    assert world.replica.stat(f"{TWO}/{MANIFEST}") is not None
    assert world.plan().sets == {"dr": ()}
    assert world.plan(asked=(ONE,)).sets == {"dr": (ONE,)}, "a person may know better"

    monkeypatch.setattr(replication_plan, "DAMAGE_RESTS", timedelta(0))
    assert world.plan().sets == {"dr": (ONE,)}
    monkeypatch.undo()
    (world.settings.staging.directory / "spoqplus" / "replication" / "damaged.json").write_text("not JSON")
    assert world.plan().sets == {"dr": (ONE,)}, "forgotten, it is only tried sooner"
    world.sources[0].put_bytes(PART, content_of(ONE, PARTS[0]))
    assert world.copy(ONE).copied == {"dr": (ONE,)}


def test_a_set_that_retention_deleted_meanwhile_is_a_warning(world: World) -> None:
    world.publish(ONE)
    world.publish(TWO)
    plan = world.plan()
    for source in world.sources:
        for key in list(source.list(f"{ONE}/")):
            source.delete(key)

    report = copy_sets(world.settings, world.connections, plan)

    assert report.copied == {"dr": (TWO,)}
    assert report.warnings == (f"{ONE} is in no repository any more, it was deleted: it is not copied.",)


def test_a_copy_that_is_being_deleted_is_not_read(world: World) -> None:
    """The folder's retention is at it; the bucket still has the set."""
    world.publish(ONE)
    folder, bucket = world.sources
    deleting = leases.take(folder, ONE, "retention", leases.DELETE)
    folder.delete(PART)
    report = world.copy(ONE)
    assert (report.copied, report.warnings) == ({"dr": (ONE,)}, ())

    world.publish(TWO)
    for source in (folder, bucket):
        leases.take(source, TWO, "retention", leases.DELETE)
    with pytest.raises(BackupError, match=f"{TWO} is being deleted by retention") as caught:
        world.copy(TWO)
    assert not isinstance(caught.value, PermanentError), "the next try knows whether it is gone"
    leases.release(folder, deleting)


def test_retention_spares_a_set_while_it_is_copied_here_and_there(world: World) -> None:
    world.publish(ONE)
    seen: list[str] = []

    def look(*_: object) -> list[tuple[str, str]]:
        for repository in (*world.sources, world.replica):
            seen.extend(lease.purpose for lease in leases.leases_of(repository, ONE))
        return []

    world.copy(ONE, shared=look)
    assert seen == ["copy"] * 3
    assert [leases.all_leases(repository) for repository in (*world.sources, world.replica)] == [[], [], []]


def test_two_runs_at_once_send_everything_once(world: World) -> None:
    world.publish(ONE)
    world.publish(TWO)
    with ThreadPoolExecutor(2) as pool:
        reports = [run.result() for run in [pool.submit(world.copy, ONE, TWO) for _ in range(2)]]
    assert sorted(report.sent_objects for report in reports) == [0, 2 * len(PARTS)]
    assert [report.copied or report.present for report in reports] == [{"dr": (ONE, TWO)}] * 2
    assert len(world.uploads()) == len(set(world.uploads()))


def test_a_run_that_is_killed_goes_on_where_it_was(world: World) -> None:
    world.publish(ONE)

    def killed() -> None:
        bring = replication._bring

        def once(work: Any, holders: Any, target: Any, key: str, part: Any) -> None:
            if key != PART:  # its source is read, nothing is sent
                holders[0].get(key, work.folder / key, part.sha256, part.stored_bytes)
                os.kill(os.getpid(), signal.SIGKILL)
            bring(work, holders, target, key, part)

        replication._bring, replication.STORE_THREADS = once, 1
        world.copy(ONE)

    victim = multiprocessing.get_context("fork").Process(target=killed)
    victim.start()
    victim.join()
    assert victim.exitcode == -signal.SIGKILL
    assert world.replica.stat(PART) is not None
    assert world.replica.stat(f"{ONE}/{MANIFEST}") is None
    world.faults.requests.clear()

    report = world.copy(ONE)

    assert report.sent_objects == len(PARTS) - 1
    assert not any(request.endswith(PART) for request in world.uploads())
    assert not list((world.settings.staging.directory / "spoqplus" / "replication").glob("copies*"))


def test_a_folder_without_room_is_named_and_gets_what_fits(world: World, tmp_path: Path) -> None:
    disk = tmp_path / "disk"
    disk.mkdir()
    first, second, _ = world.settings.repositories
    replica = RepositorySettings(name="dr", root=f"file://{disk}", role="replica")
    here = world._replace(settings=world.settings.model_copy(update={"repositories": (first, second, replica)}))
    here.publish(ONE)
    subprocess.run(["mount", "-t", "tmpfs", "-o", "size=16k", "none", disk], check=True)
    try:
        with pytest.raises(DiskFullError, match=f"No space left on the disk of {disk}"):
            here.copy(ONE)
        assert here.replica.stat(f"{ONE}/{MANIFEST}") is None
        subprocess.run(["mount", "-o", "remount,size=1m", disk], check=True)
        assert here.copy(ONE).copied == {"dr": (ONE,)}
    finally:
        subprocess.run(["umount", disk], check=True)


def test_names_of_sets_that_are_nowhere(world: World) -> None:
    world.publish(ONE)
    plan = world.plan(TWO)
    assert plan.warnings == (f"{TWO} was published but is gone again: it is not copied.",)
    with pytest.raises(PermanentError, match=f"There is no set {TWO} in any repository"):
        world.plan(asked=(TWO,))


def test_without_a_replica(world: World) -> None:
    alone = world.settings.model_copy(update={"repositories": world.settings.repositories[:2]})
    with pytest.raises(PermanentError, match="no repository has `role: replica`"):
        plan_copies(alone, world.connections)


def test_objects_that_sets_share_are_copied_once(world: World) -> None:
    world.publish(ONE)
    faces = {f"faces/{number:02d}/{number:064d}.zst.age": f"face {number}".encode() for number in range(5)}
    for source in world.sources:
        for key, content in faces.items():
            source.put_bytes(key, content)
    there = sorted(faces)[2]
    world.replica.put_bytes(there, faces[there])
    world.faults.requests.clear()

    world.copy(ONE, shared=lambda *_: sorted((key, hashlib.sha256(item).hexdigest()) for key, item in faces.items()))

    assert {key: world.replica.read(key) for key in faces} == faces
    assert not any(there in request for request in world.uploads())


def test_a_shared_object_that_is_nowhere_is_named(world: World) -> None:
    world.publish(ONE)
    with pytest.raises(IntegrityError, match=r"faces/00/gone\.zst\.age is not there"):
        world.copy(ONE, shared=lambda *_: [("faces/00/gone.zst.age", "0" * 64)])
    assert world.replica.stat(f"{ONE}/{MANIFEST}") is None


def test_shared_objects_that_a_replica_has_are_locked_as_long_as_the_monthly_set(
    world: World, endpoints: tuple[str, str]
) -> None:
    client = s3.s3_client(s3.record(endpoints[1]))
    bucket = f"locked-{world.settings.repository('dr').root.rpartition('/')[2].replace('_', '-')}"[:63].rstrip("-")
    client.create_bucket(Bucket=bucket, ObjectLockEnabledForBucket=True)
    locked = {"root": f"s3://{bucket}", "object_lock": {"mode": "governance", "days": 30}}
    content = yaml.safe_load(world.settings.source.read_text())
    content["repositories"][2] |= locked | {"long_term_storage_class": "GLACIER_IR"}
    world.settings.source.write_text(yaml.safe_dump(content))
    world = world._replace(settings=load_settings(world.settings.source))
    monthly = "monthly/20250301_050000"
    world.publish(ONE)
    world.publish(monthly)
    faces = {f"faces/{number:02d}/{number:064d}.zst.age": f"face {number}".encode() for number in range(3)}
    for key, face in faces.items():
        world.sources[0].put_bytes(key, face)
    digests = sorted((key, hashlib.sha256(face).hexdigest()) for key, face in faces.items())

    world.copy(ONE, shared=lambda *_: digests[:2])
    heads = {key: client.head_object(Bucket=bucket, Key=key) for key, _ in digests[:2]}
    assert [head.get("ObjectLockMode") for head in heads.values()] == [None, None]
    world.copy(monthly, shared=lambda *_: digests[1:])

    heads = {key: client.head_object(Bucket=bucket, Key=key) for key in faces}
    assert [heads[key].get("ObjectLockMode") for key in sorted(heads)] == [None, "GOVERNANCE", "GOVERNANCE"]
    assert {head.get("StorageClass") for head in heads.values()} == {None}
    part = client.head_object(Bucket=bucket, Key=f"{monthly}/database/{PARTS[0]}")
    assert (part["ObjectLockMode"], part["StorageClass"]) == ("GOVERNANCE", "GLACIER_IR")
