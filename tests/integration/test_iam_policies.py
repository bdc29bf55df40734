"""Each role's policy in include/aws/ holds exactly what the code asks of S3 in that role."""

import contextlib
import hashlib
import itertools
import json
import re
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest
from botocore import xform_name

from spoqplus_backup.core.errors import BackupError
from spoqplus_backup.core.repository import holds, leases
from spoqplus_backup.core.repository import s3 as s3_module
from spoqplus_backup.core.repository.base import Keeping
from spoqplus_backup.core.repository.catalog import Catalog
from spoqplus_backup.core.repository.s3 import S3Repository
from spoqplus_backup.core.retention.deleting import carry_out
from spoqplus_backup.core.retention.planning import plan_repository
from support import s3
from support.connections import FixedConnections
from support.history import DAY, Past, make_past, now
from support.iam import POLICIES, Role

pytestmark = pytest.mark.integration

MIB = 1 << 20
ROLES = ("writer", "pruner", "restorer")
NUMBERS = itertools.count(1)


@pytest.fixture(scope="module")
def endpoint() -> Iterator[str]:
    with s3.moto() as found:
        yield found


@pytest.fixture(autouse=True)
def small_pieces(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(s3_module, "SINGLE_BYTES", 6 * MIB)
    monkeypatch.setattr(s3_module, "PIECE_BYTES", 5 * MIB)


class RoleConnections(FixedConnections):
    """Connections whose S3 clients may do what a role may."""

    def __init__(self, role: Role, *records: Any) -> None:
        super().__init__(*records)
        self.role = role

    def s3_client(self, connection_id: str) -> Any:
        return self.role.client(self.record(connection_id))


MakePast = Callable[..., Past]


@pytest.fixture
def new_past(tmp_path: Path, endpoint: str) -> MakePast:
    """Makes a site whose repository is a bucket of its own, as the policies have it: without a prefix."""

    def make(*, locks: bool = False) -> Past:
        number = next(NUMBERS)
        bucket = f"{s3.BUCKET}-{number}"
        s3.s3_client(s3.record(endpoint)).create_bucket(Bucket=bucket, ObjectLockEnabledForBucket=locks)
        repositories = [
            {"name": "s3", "root": f"s3://{bucket}", "connection": "spoqplus_aws", "keep": {"daily": 1}},
        ]
        fields: dict[str, Any] = {"retention": {"maximum_share": 1}, "repositories": repositories}
        return make_past(tmp_path / str(number), endpoint, **fields)

    return make


@pytest.fixture
def past(new_past: MakePast) -> Past:
    return new_past()


def bucket_of(past: Past) -> str:
    return past.settings.repositories[0].root.removeprefix("s3://")


def as_role(past: Past, role: Role, endpoint: str, keeping: Keeping | None = None) -> S3Repository:
    return S3Repository("s3", lambda: role.client(s3.record(endpoint)), bucket_of(past), keeping=keeping)


def write(past: Past, role: Role, endpoint: str) -> None:
    """What a backup, its archive of logs, a hold and a copy ask for."""
    repository = as_role(past, role, endpoint)
    repository.probe()
    left = s3.s3_client(s3.record(endpoint))  # of an uploader that was killed
    left.create_multipart_upload(Bucket=bucket_of(past), Key="daily/20250101_030000/database/000002.sql.zst.age")
    for number, size in ((1, 100), (2, 12 * MIB)):
        content = bytes(size)
        source = past.folder / f"part{number}"
        source.write_bytes(content)
        digest = hashlib.sha256(content).hexdigest()
        key = f"daily/20250101_030000/database/{number:06d}.sql.zst.age"
        repository.put(key, source, digest)
        repository.check(key, size, digest)
    name = past.publish(past.repository("s3"), "daily", DAY)
    Catalog(repository, past.settings.signing.public_key_files).resolve("latest")
    repository.put_bytes(f"{name}/manifest.json", repository.read(f"{name}/manifest.json"))
    holds.hold(past.settings, [repository], name, "audit", "kim")
    with leases.leased(repository, [name], "run", "copy"):
        assert [lease.purpose for lease in leases.leases_of(repository, name)] == ["copy"]
    assert leases.all_leases(repository) == []
    assert not any(key.startswith(".probe/") for key in repository.list())


def write_locked(past: Past, role: Role, endpoint: str) -> None:
    """What a monthly backup asks for where the bucket has object lock; one object was stored before it had."""
    name = "monthly/20250101_050000"
    sources = {}
    for number, size in ((1, 100), (2, 12 * MIB)):
        source = past.folder / f"part{number}"
        source.write_bytes(bytes(size))
        sources[f"{name}/database/{number:06d}.sql.zst.age"] = (source, hashlib.sha256(bytes(size)).hexdigest())
    (key, (source, digest)), *_ = sources.items()
    as_role(past, role, endpoint).put(key, source, digest)
    repository = as_role(past, role, endpoint, Keeping("GLACIER_IR", "governance", 30))
    repository.probe()
    for key, (source, digest) in sources.items():
        repository.put(key, source, digest)
        repository.check(key, source.stat().st_size, digest, read_back=True)
    repository.put_bytes(f"{name}/manifest.json", b"{}")


def prune(past: Past, role: Role, endpoint: str) -> None:
    """What a retention asks for that deletes everything it knows, from a bucket with versions."""
    repository = past.repository("s3")
    client = s3.s3_client(s3.record(endpoint))
    faces = [past.face(repository, number, DAY * 90) for number in range(2)]
    old = past.publish(repository, "daily", DAY * 9, faces=faces)
    past.publish(repository, "daily", DAY * 2, faces=faces[:1])
    past.unfinished(repository, "daily", DAY * 5)
    for number in (1, 2):
        past.log(repository, number, DAY * 30)
    past.log(repository, 3, DAY)
    leases.take(repository, old, "killed", "restore", duration=-DAY)
    client.create_multipart_upload(Bucket=bucket_of(past), Key="daily/20250101_030000/database/000001.sql.zst.age")
    connections = RoleConnections(role, s3.record(endpoint))

    plan = plan_repository(past.settings, connections, "s3", "run")
    report = carry_out(past.settings, connections, "s3", plan, "run")

    assert report.refused == ()
    assert (report.sets, report.logs, report.faces, report.uploads) == ((old,), 2, 1, 1)
    assert len(report.unfinished) == 1
    assert leases.all_leases(repository) == []


def prune_versions(past: Past, role: Role, endpoint: str) -> None:
    """The same, from a bucket that keeps versions."""
    client = s3.s3_client(s3.record(endpoint))
    client.put_bucket_versioning(Bucket=bucket_of(past), VersioningConfiguration={"Status": "Enabled"})
    prune(past, role, endpoint)


def prune_locked(past: Past, role: Role, endpoint: str) -> None:
    """A retention of a bucket that locks: one set until a day, one by a legal hold, one no more."""
    repository = past.repository("s3")
    client = s3.s3_client(s3.record(endpoint))
    held, locked, old, _ = (past.publish(repository, "daily", DAY * days) for days in (9, 8, 7, 2))
    for name in (held, locked):
        place = {"Bucket": bucket_of(past), "Key": f"{name}/manifest.json"}
        if name == held:
            client.put_object_legal_hold(**place, LegalHold={"Status": "ON"})
        else:
            client.put_object_retention(**place, Retention={"Mode": "GOVERNANCE", "RetainUntilDate": now() + DAY * 9})
    connections = RoleConnections(role, s3.record(endpoint))

    plan = plan_repository(past.settings, connections, "s3", "run")
    report = carry_out(past.settings, connections, "s3", plan, "run")

    assert {item.name: item.reason for item in plan.decisions if item.keep} | {held: "locked", locked: "locked"} == {
        item.name: item.reason for item in plan.decisions if item.keep
    }
    assert (report.sets, report.refused) == ((old,), ())


def restore(past: Past, role: Role, endpoint: str) -> None:
    """What a restore asks for."""
    name = past.publish(past.repository("s3"), "daily", DAY)
    repository = as_role(past, role, endpoint)
    leases.keep_for(repository, name, "run", "restore", DAY)
    assert [lease.run for lease in leases.leases_of(past.repository("s3"), name)] == ["run"]
    manifest = Catalog(repository, past.settings.signing.public_key_files).resolve("latest")
    for key, part in manifest.objects().items():
        repository.get(f"{name}/{key}", past.folder / "fetched", part.sha256, part.stored_bytes)
    leases.release_all(repository, name, "run")
    assert leases.all_leases(repository) == []


WORK: dict[str, list[Callable[[Past, Role, str], None]]] = {
    "writer": [write, write_locked],
    "pruner": [prune, prune_versions, prune_locked],
    "restorer": [restore],
}
LOCKS = (write_locked, prune_locked)
CORE = Path(s3_module.__file__).parent.parent
ASKED = re.compile(r"_client\.(?!get_paginator)(\w+)\(|get_paginator\(\s*\"(\w+)\"")


def work_as(name: str, new_past: MakePast, endpoint: str) -> Role:
    """Everything that a role's code does."""
    role = Role.of(name)
    for work in WORK[name]:
        work(new_past(locks=work in LOCKS), role, endpoint)
    return role


@pytest.mark.parametrize("name", ROLES)
def test_a_policy_is_one_that_aws_takes(name: str) -> None:
    policy = json.loads((POLICIES / f"{name}.json").read_text())
    assert policy["Version"] == "2012-10-17"
    sids = [statement["Sid"] for statement in policy["Statement"]]
    assert len(set(sids)) == len(sids)
    for statement in policy["Statement"]:
        assert set(statement) == {"Sid", "Effect", "Action", "Resource"}
        assert statement["Effect"] == "Allow"
        assert statement["Sid"].isalnum()
        assert "*" not in str(statement["Action"])
        assert len(json.dumps(policy)) < 2048  # of a policy that stands in a user


@pytest.mark.parametrize("name", ROLES)
def test_a_role_may_do_what_its_code_asks_for_and_nothing_else(name: str, new_past: MakePast, endpoint: str) -> None:
    role = work_as(name, new_past, endpoint)

    assert role.denied == []
    assert role.granted == role.used


def test_every_request_that_the_code_can_make_is_made_here(new_past: MakePast, endpoint: str) -> None:
    """Else a new one would be in no policy."""
    made = set().union(*(work_as(name, new_past, endpoint).operations for name in ROLES))
    sources = [path for path in CORE.rglob("*.py") if CORE / "dr" not in path.parents]  # failover.json has its own test
    written = {"".join(found) for path in sources for found in ASKED.findall(path.read_text())}
    assert written == {xform_name(name) for name in made}


@pytest.mark.parametrize(
    ("action", "sid"),
    [
        ("s3:GetBucketObjectLockConfiguration", "ListTheBucket"),
        ("s3:PutObjectRetention", "WriteAndReadBack"),
        ("s3:GetObjectRetention", "WriteAndReadBack"),
    ],
)
def test_without_a_right_to_lock_a_monthly_set_the_check_fails(
    action: str, sid: str, new_past: MakePast, endpoint: str
) -> None:
    role = Role.of("writer").without(action, sid)
    with contextlib.suppress(BackupError):  # one who may not look whether a bucket locks goes on
        write_locked(new_past(locks=True), role, endpoint)
    assert role.denied[0].startswith(f"{action} ")


def test_a_writer_can_not_delete_a_backup(past: Past, endpoint: str) -> None:
    name = past.publish(past.repository("s3"), "daily", DAY)
    role = Role.of("writer")
    repository = as_role(past, role, endpoint)
    for key in (f"{name}/manifest.json", f"holds/{name}.json", "binlog/1/x/binlog.000001.json"):
        with pytest.raises(BackupError, match="AccessDenied"):
            repository.delete(key)


def test_a_restorer_can_not_write_a_backup(past: Past, endpoint: str) -> None:
    role = Role.of("restorer")
    repository = as_role(past, role, endpoint)
    with pytest.raises(BackupError, match="AccessDenied"):
        repository.put_bytes("daily/20250101_030000/manifest.json", b"{}")


def test_a_reader_that_may_not_even_write_a_lease_still_reads(past: Past, endpoint: str) -> None:
    name = past.publish(past.repository("s3"), "daily", DAY)
    role = Role.of("restorer").without("s3:PutObject", "KeepWhatIsBeingRestored")
    repository = as_role(past, role, endpoint)
    leases.keep_for(repository, name, "run", "restore", DAY)
    assert leases.leases_of(past.repository("s3"), name) == []
    assert Catalog(repository, past.settings.signing.public_key_files).resolve(name).name == name


def test_a_pruner_without_a_right_says_which_policy_has_it(past: Past, endpoint: str) -> None:
    repository = past.repository("s3")
    names = [past.publish(repository, "daily", DAY * days) for days in (9, 2)]
    role = Role.of("pruner").without("s3:DeleteObject", "JudgeAndDelete")
    role = role.without("s3:DeleteObjectVersion", "JudgeAndDelete")
    connections = RoleConnections(role, s3.record(endpoint))

    plan = plan_repository(past.settings, connections, "s3", "run")
    report = carry_out(past.settings, connections, "s3", plan, "run")

    assert report.sets == ()
    assert "AccessDenied" in report.refused[0]
    assert repository.stat(f"{names[0]}/manifest.json") is not None
