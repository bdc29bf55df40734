"""Retention of real repositories: a folder, moto's S3, a bucket with versions, one with object lock."""

import os
import threading
from collections.abc import Iterator
from datetime import date, timedelta
from pathlib import Path
from typing import Any

import pytest

from spoqplus_backup.core.errors import BackupError, PermanentError
from spoqplus_backup.core.manifest import MANIFEST
from spoqplus_backup.core.repository import holds, leases
from spoqplus_backup.core.repository.base import Repository
from spoqplus_backup.core.repository.catalog import Catalog
from spoqplus_backup.core.repository.details_cache import DetailsCache
from spoqplus_backup.core.repository.removal import Entry, LocalRemover, Removed, open_remover
from spoqplus_backup.core.repository.retention_model import RepositoryPlan
from spoqplus_backup.core.repository.s3_removal import S3Remover
from spoqplus_backup.core.repository.set_details import contents_of, details_of
from spoqplus_backup.core.repository.survey import Copy
from spoqplus_backup.core.retention import deleting
from spoqplus_backup.core.retention.checking import check_newest
from spoqplus_backup.core.retention.deleting import carry_out
from spoqplus_backup.core.retention.planning import load_plan, plan_repository, run_directory
from spoqplus_backup.core.retention.report import RetentionReport
from spoqplus_backup.core.staging import Staging
from support import s3
from support.connections import FixedConnections
from support.history import DAY, HOUR, Past, make_past, now
from support.published import manifest_of

pytestmark = pytest.mark.integration

RUN = "spoqplus_retention/manual"
KEEP = {"days": None, "daily": 2, "weekly": 1, "monthly": 1}


@pytest.fixture(scope="module")
def endpoint() -> Iterator[str]:
    with s3.moto() as found:
        yield found


def make(tmp_path: Path, endpoint: str, **fields: Any) -> Past:
    """A site that keeps two days in each repository, and asks nobody."""
    past = make_past(tmp_path, endpoint, prefix=f"test/{tmp_path.name}", retention={"maximum_share": 1}, **fields)
    repositories = tuple(
        item.model_copy(update={"keep": item.keep.model_copy(update=KEEP | {"point_in_time_days": 7})})
        for item in past.settings.repositories
    )
    changed = past.settings.model_copy(update={"repositories": repositories})
    changed._source = past.settings.source
    return Past(changed, past.connections, past.keys, past.folder)


@pytest.fixture
def past(tmp_path: Path, endpoint: str) -> Past:
    return make(tmp_path, endpoint)


@pytest.fixture(params=["local", "s3"])
def where(request: pytest.FixtureRequest) -> str:
    return str(request.param)


def run(past: Past, where: str, run_id: str = RUN) -> RetentionReport:
    """A whole retention of one repository."""
    return carry_out(past.settings, past.connections, where, plan(past, where, run_id), run_id)


def plan(past: Past, where: str, run_id: str = RUN) -> RepositoryPlan:
    return plan_repository(past.settings, past.connections, where, run_id)


def reason(made: RepositoryPlan, name: str) -> tuple[bool, str]:
    (found,) = (item for item in made.decisions if item.name == name)
    return found.keep, found.reason


def sets(past: Past, repository: Repository) -> list[str]:
    return sorted(ref.name for ref in Catalog(repository, past.settings.signing.public_key_files).sets())


def test_what_no_rule_keeps_is_gone_to_the_last_object(past: Past, where: str) -> None:
    repository = past.repository(where)
    daily = [past.publish(repository, "daily", DAY * days) for days in (5, 4, 3, 2)]
    weekly = [past.publish(repository, "weekly", DAY * days) for days in (30, 20)]

    report = run(past, where)

    assert sets(past, repository) == sorted([*daily[2:], weekly[1]])
    assert sorted(report.sets) == sorted([*daily[:2], weekly[0]])
    assert report.refused == ()
    assert report.objects == 3 * 4
    assert report.bytes > 3 * 500
    left = list(repository.list())
    assert [key for key in left if key.startswith((*report.sets, "leases/"))] == []


def test_running_it_again_changes_nothing(past: Past, where: str) -> None:
    repository = past.repository(where)
    for days in (9, 8, 3, 2):
        past.publish(repository, "daily", DAY * days)
        past.log(repository, days, DAY * days)
    past.unfinished(repository, "daily", DAY * 4)
    assert run(past, where).deleted > 0
    there = list(repository.list())

    again = run(past, where, "spoqplus_retention/again")

    assert again.deleted == 0
    assert again.objects == 0
    assert list(repository.list()) == there


def test_logs_go_up_to_the_window_the_sidecar_first(past: Past, where: str) -> None:
    repository = past.repository(where)
    past.publish(repository, "daily", DAY * 5)
    past.publish(repository, "daily", DAY * 2)
    refs = [past.log(repository, number, DAY * (12 - number)) for number in range(1, 12)]

    report = run(past, where)

    assert report.logs == 6
    left = {key.partition(".json")[0] for key in repository.list("binlog/") if key.endswith(".json")}
    assert left == {ref.key for ref in refs[6:]}
    assert len(list(repository.list("binlog/"))) == 4 * 5


def test_a_log_that_was_copied_later_counts_from_then_and_a_forged_one_stays(past: Past, where: str) -> None:
    repository = past.repository(where)
    past.publish(repository, "daily", DAY * 2)
    first, second, third = (past.log(repository, number, DAY * (40 - number)) for number in (1, 2, 3))
    past.log(repository, 4, HOUR)
    content = repository.read(f"{second.key}.json")
    repository.put_bytes(f"{second.key}.json", content.replace(b"10.11", b"10.12"))
    past.age(repository, f"{second.key}.json", DAY * 38)

    made = plan(past, where)

    assert [item.name for item in made.deletions] == [first.key]
    assert reason(made, second.key) == (True, "untrusted")
    assert reason(made, third.key) == (True, "behind")


def test_a_set_that_can_not_be_trusted_is_never_deleted_and_is_named(past: Past, where: str) -> None:
    repository = past.repository(where)
    forged = past.publish(repository, "daily", DAY * 50)
    repository.put_bytes(f"{forged}/{MANIFEST}", repository.read(f"{forged}/{MANIFEST}").replace(b"10.11", b"10.12"))
    base = past.publish(repository, "weekly", DAY * 51)
    older = past.publish(repository, "weekly", DAY * 60)
    for cadence, days in (("weekly", 3), ("daily", 3), ("daily", 2)):
        past.publish(repository, cadence, DAY * days)

    made = plan(past, where)
    report = run(past, where)

    assert reason(made, forged) == (True, "untrusted")
    assert reason(made, base) == (True, "may_be_needed")
    assert report.sets == (older,)
    assert repository.stat(f"{forged}/{MANIFEST}") is not None


def test_a_set_that_lost_an_object_takes_no_good_one_s_place(past: Past, where: str) -> None:
    repository = past.repository(where)
    good = [past.publish(repository, "daily", DAY * days) for days in (6, 5)]
    damaged = past.publish(repository, "daily", DAY * 3)
    repository.delete(f"{damaged}/database/000001.sql.zst.age")

    made = plan(past, where)

    assert reason(made, damaged) == (True, "damaged")
    assert made.kept_sets == {*good, damaged}


@pytest.mark.parametrize("spoil", ["gone", "damaged", "untrusted"])
def test_a_set_whose_base_can_not_be_restored_takes_no_good_one_s_place(past: Past, where: str, spoil: str) -> None:
    repository = past.repository(where)
    good = [past.publish(repository, "daily", DAY * days) for days in (6, 5)]
    base = past.publish(repository, "weekly", DAY * 4)
    on_it = [past.publish(repository, "daily", DAY * days, depends_on=(base,)) for days in (3, 2)]
    key = f"{base}/{MANIFEST}"
    if spoil == "gone":
        repository.delete(key)
    elif spoil == "damaged":
        repository.put_bytes(f"{base}/database/000001.sql.zst.age", b"short")
    else:
        repository.put_bytes(key, repository.read(key).replace(b"10.11", b"10.12"))

    made = plan(past, where)

    assert [reason(made, name) for name in on_it] == [(True, "damaged")] * 2
    assert made.newest == good[1]
    assert made.kept_sets >= {*good, *on_it}


@pytest.mark.parametrize("spoil", ["gone", "short"])
def test_an_incremental_set_that_lost_a_log_is_no_good_one(past: Past, where: str, spoil: str) -> None:
    repository = past.repository(where)
    past.publish(repository, "daily", DAY * 2)
    logs = [past.log(repository, number, DAY * (4 - number)) for number in (1, 2, 3)]
    sets = [past.publish(repository, "incremental", DAY * (4 - n), binlogs=(logs[n - 1],)) for n in (1, 2, 3)]
    if spoil == "gone":
        repository.delete(f"{logs[2].key}.zst.age")
    else:
        repository.put_bytes(f"{logs[2].key}.zst.age", b"lo")

    made = plan(past, where)

    assert reason(made, sets[1]) == (True, "newest")
    assert reason(made, sets[2])[0]


def test_a_set_of_a_wrong_clock_counts_for_nothing_and_stays(past: Past, where: str) -> None:
    repository = past.repository(where)
    names = [past.publish(repository, "daily", DAY * days) for days in (9, 3, 2)]
    ahead = past.publish(repository, "daily", -DAY * 500)
    past.age(repository, f"{ahead}/", DAY * 5)
    late = past.publish(repository, "daily", DAY * 4000)
    past.age(repository, f"{late}/", HOUR)

    made = plan(past, where)
    report = run(past, where)

    assert made.newest == names[2]
    assert reason(made, ahead) == (True, "future")
    assert reason(made, late) == (True, "young")
    assert report.sets == (names[0],)


@pytest.mark.parametrize("spoil", ["gone", "short", "forged"])
def test_a_newest_backup_that_is_no_longer_whole_is_found_after_a_deletion(past: Past, where: str, spoil: str) -> None:
    repository = past.repository(where)
    name = past.publish(repository, "daily", DAY)
    newest = {where: str(plan(past, where).newest)}
    assert check_newest(past.settings, past.connections, newest) == []
    key = f"{name}/database/000001.sql.zst.age"
    if spoil == "gone":
        repository.delete(key)
    elif spoil == "short":
        repository.put_bytes(key, b"short")
    else:
        repository.put_bytes(f"{name}/{MANIFEST}", b"{}")

    (problem,) = check_newest(past.settings, past.connections, newest)

    assert f"{repository.url}/{name}" in problem


# ---- what nobody ended


def test_an_abandoned_set_goes_and_one_that_is_being_made_stays(past: Past, where: str) -> None:
    repository = past.repository(where)
    past.publish(repository, "daily", DAY)
    abandoned = past.unfinished(repository, "daily", DAY * 4)
    recent = past.unfinished(repository, "daily", HOUR * 40)
    slow = past.unfinished(repository, "weekly", DAY * 5)
    staging = Staging(past.settings.staging.directory, past.settings.site, *slow.split("/"))
    staging.claim("spoqplus_weekly_backup/run", ("database",))

    report = run(past, where)

    assert report.unfinished == (abandoned,)
    assert list(repository.list(f"{abandoned}/")) == []
    assert list(repository.list(f"{recent}/"))
    assert list(repository.list(f"{slow}/"))
    assert staging.owner() == "spoqplus_weekly_backup/run"


def test_what_lies_in_other_folders_is_left_alone(past: Past, where: str) -> None:
    repository = past.repository(where)
    past.publish(repository, "daily", DAY)
    others = ["reports/20200101_030000/report.html", "notes/20200101_030000/a.txt", "staging/x/20200101_030000/y", "z"]
    for key in others:
        repository.put_bytes(key, b"of somebody else")
        past.age(repository, key, DAY * 400)

    assert run(past, where).deleted == 0
    assert all(repository.stat(key) for key in others)


def test_reports_of_recovery_tests_stay_and_are_no_sets(past: Past, where: str) -> None:
    repository = past.repository(where)
    past.publish(repository, "daily", DAY)
    folder = "recovery_tests/20200101_030000"
    keys = [f"{folder}/{name}" for name in ("report.html", "report.json.sig", "report.json", MANIFEST)]
    for key in keys:
        repository.put_bytes(key, b"{}")
        past.age(repository, key, DAY * 400)

    assert folder not in {decision.name for decision in plan(past, where).decisions}
    assert run(past, where).deleted == 0
    assert all(repository.stat(key) for key in keys)
    assert folder not in sets(past, repository)


def test_the_staging_of_an_abandoned_run_goes_so_that_a_cleared_task_can_not_publish_it(past: Past) -> None:
    repository = past.repository()
    past.publish(repository, "daily", DAY)
    abandoned = past.unfinished(repository, "daily", DAY * 4)
    staging = Staging(past.settings.staging.directory, past.settings.site, *abandoned.split("/"))
    staging.claim("spoqplus_daily_backup/run", ("database",))
    with staging.locked("database") as directory:
        (directory / "dump.json").write_text("{}")
    age_folder(staging.path, DAY * 4)

    with staging.locked("database"):
        kept = run(past, "local")
    assert kept.unfinished == (abandoned,)
    assert staging.path.exists(), "a task works on it"

    age_folder(staging.path, DAY * 4)
    run(past, "local", "spoqplus_retention/again")
    assert not staging.path.exists()


def age_folder(path: Path, age: timedelta) -> None:
    moment = (now() - age).timestamp()
    for found in (*path.rglob("*"), path):
        os.utime(found, (moment, moment))


def test_a_log_without_a_sidecar_goes_after_two_days(past: Past, where: str) -> None:
    repository = past.repository(where)
    past.publish(repository, "daily", DAY)
    past.log(repository, 1, HOUR)
    for number, age in ((2, DAY * 3), (3, HOUR)):
        key = f"binlog/1/20250101_000000/binlog.{number:06d}.zst.age"
        repository.put_bytes(key, b"half")
        past.age(repository, key, age)

    report = run(past, where)

    assert report.unfinished == ("binlog/1/20250101_000000/binlog.000002",)
    assert repository.stat("binlog/1/20250101_000000/binlog.000003.zst.age") is not None


def test_broken_multipart_uploads_go_and_those_of_others_in_the_bucket_stay(past: Past, endpoint: str) -> None:
    repository = past.repository("s3")
    past.publish(repository, "daily", DAY)
    client = s3.s3_client(s3.record(endpoint))
    prefix = repository.url.partition(f"{s3.BUCKET}/")[2]
    keys = [f"{prefix}/daily/20200101_030000/database/000001.sql.zst.age", f"{prefix}/reports/january.pdf", "other/app"]
    uploads = [client.create_multipart_upload(Bucket=s3.BUCKET, Key=key)["UploadId"] for key in keys]

    report = run(past, "s3")  # for moto every upload began in 2010

    left = {item["UploadId"] for item in client.list_multipart_uploads(Bucket=s3.BUCKET).get("Uploads", [])}
    assert report.uploads == 1
    assert uploads[0] not in left
    assert set(uploads[1:]) <= left
    for key, upload in zip(keys[1:], uploads[1:], strict=True):
        client.abort_multipart_upload(Bucket=s3.BUCKET, Key=key, UploadId=upload)


def test_a_file_of_a_broken_write_goes_after_two_days(past: Past) -> None:
    repository = past.repository()
    name = past.publish(repository, "daily", DAY)
    partial = past.folder / "repository" / name / "database" / "000009.sql.zst.age.partial"
    for age, left in ((HOUR, True), (DAY * 3, False)):
        partial.write_bytes(b"half")
        moment = (now() - age).timestamp()
        os.utime(partial, (moment, moment))
        run(past, "local", f"spoqplus_retention/{left}")
        assert partial.exists() == left


def test_what_failed_runs_kept_goes_with_a_later_run(past: Past) -> None:
    past.publish(past.repository(), "daily", DAY)
    ages = {"old": HOUR * 49, "new": HOUR * 47, "own": HOUR * 49}
    folders = {name: run_directory(past.settings, name) for name in ages}
    for name in ages:
        plan(past, "local", name)
    for name, age in ages.items():
        age_folder(folders[name], age)

    plan(past, "local", "own")

    assert {name: folder.exists() for name, folder in folders.items()} == {"old": False, "new": True, "own": True}


def test_the_plan_of_a_run_that_may_still_be_approved_stays(past: Past) -> None:
    plan(past, "local", "old")
    folder = run_directory(past.settings, "old")
    age_folder(folder, HOUR * 49)
    limits = past.settings.retention.model_copy(update={"approval_hours": 72})
    plan_repository(past.settings.model_copy(update={"retention": limits}), past.connections, "local", "new")
    assert folder.exists()


def test_what_a_list_remembers_of_deleted_sets_is_forgotten(past: Past, where: str) -> None:
    repository = past.repository(where)
    names = [past.publish(repository, "daily", DAY * days) for days in (9, 8, 3, 2)]
    copy = Copy(repository=where, place=where, medium="disk", offsite=False, bytes=1, tag="t")
    manifest = manifest_of(names[0])
    details, contents = details_of(manifest, "0" * 64), contents_of(manifest)
    cache = DetailsCache.of(past.settings)
    for url, name in [(repository.url, name) for name in names] + [("s3://elsewhere", names[0])]:
        cache.put(url, name, copy, details, contents)
    repository.delete(f"{names[1]}/{MANIFEST}")  # by somebody's hand

    assert run(past, where).sets == (names[0],)

    assert [cache.get(repository.url, name, copy) for name in names] == [None, None, details, details]
    assert cache.get("s3://elsewhere", names[0], copy) == details
    cache.close()


# ---- face images


def test_face_objects_go_with_the_last_set_that_names_them(past: Past, where: str) -> None:
    repository = past.repository(where)
    faces = [past.face(repository, number, DAY * 90) for number in range(8)]
    fresh = past.face(repository, 99, HOUR)
    past.publish(repository, "daily", DAY * 5, faces=faces[:6])
    past.publish(repository, "daily", DAY * 3, faces=faces[:4])
    past.publish(repository, "daily", DAY * 2, faces=faces[2:5])

    report = run(past, where)

    assert report.faces == 3
    assert sorted(repository.list("faces/")) == sorted([*faces[:5], fresh])
    assert run(past, where, "spoqplus_retention/again").deleted == 0


@pytest.mark.parametrize("spoil", ["missing", "damaged", "untrusted"])
def test_no_face_goes_when_a_list_of_a_set_that_stays_can_not_be_read(past: Past, where: str, spoil: str) -> None:
    repository = past.repository(where)
    faces = [past.face(repository, number, DAY * 90) for number in range(4)]
    name = past.publish(repository, "daily", DAY * 3, faces=faces[:1])
    past.publish(repository, "daily", DAY * 2, faces=faces[:1])
    key = f"{name}/face_images/objects.txt.zst"
    if spoil == "missing":
        repository.delete(key)
    elif spoil == "damaged":
        repository.put_bytes(key, b"x" * repository.stat(key).bytes)  # type: ignore[union-attr]
    else:
        repository.put_bytes(f"{name}/{MANIFEST}", b"{}")

    made = plan(past, where)
    report = run(past, where)

    (about,) = (item for item in made.decisions if item.kind == "faces")
    assert (about.keep, about.reason) == (True, "untrusted")
    assert report.faces == 0
    assert sorted(repository.list("faces/")) == sorted(faces)


def test_no_face_goes_while_a_backup_is_made_that_may_count_on_it(past: Past, where: str) -> None:
    repository = past.repository(where)
    faces = [past.face(repository, number, DAY * 90) for number in range(4)]
    past.publish(repository, "daily", DAY * 2, faces=faces[:1])
    staging = Staging(past.settings.staging.directory, past.settings.site, "daily", past.set_id(HOUR))
    made = plan(past, where)
    assert sum(not item.keep for item in made.decisions) == 1

    staging.claim("spoqplus_daily_backup/run", ("face_images",))
    report = carry_out(past.settings, past.connections, where, made, RUN)

    assert report.faces == 0
    assert sorted(repository.list("faces/")) == sorted(faces)


# ---- holds and leases


def test_a_hold_keeps_a_set_in_every_repository_until_it_is_released(past: Past) -> None:
    repositories = [past.repository(name) for name in ("local", "s3")]
    for repository in repositories:
        for days in (9, 3, 2):
            past.publish(repository, "daily", DAY * days)
    name = sets(past, repositories[0])[0]

    holds.hold(past.settings, repositories, name, "audit 2026-7", "kim")

    for where, repository in zip(("local", "s3"), repositories, strict=True):
        assert "audit 2026-7 (kim, " in holds.holds(repository, past.settings.signing.public_key_files)[name]
        assert reason(plan(past, where), name) == (True, "hold")
        assert run(past, where).sets == ()
    holds.release(repositories, name)
    for where in ("local", "s3"):
        assert run(past, where, "spoqplus_retention/later").sets == (name,)


def test_a_hold_that_only_one_repository_has_holds_in_all(past: Past, where: str) -> None:
    other = {"local": "s3", "s3": "local"}[where]
    repository = past.repository(where)
    names = [past.publish(repository, "daily", DAY * days) for days in (9, 8, 3, 2)]
    made = plan(past, where)
    past.publish(past.repository(other), "daily", DAY)
    holder = past.repository(other)
    holder.put_bytes(f"{names[0]}/{MANIFEST}", b"{}")  # a hold is only stored where some repository has the set
    holds.hold(past.settings, [holder], names[0], "audit", "kim")
    holder.delete(f"{names[0]}/{MANIFEST}")

    assert reason(plan(past, where), names[0]) == (True, "hold")
    assert carry_out(past.settings, past.connections, where, made, RUN).sets == (names[1],)


def test_a_hold_in_another_repository_is_seen_in_the_last_moment(past: Past, monkeypatch: pytest.MonkeyPatch) -> None:
    repositories = [past.repository(name) for name in ("local", "s3")]
    name = [past.publish(repositories[0], "daily", DAY * days) for days in (9, 3, 2)][0]
    real = leases.take

    def take(*args: Any, **kwargs: Any) -> leases.Lease:
        holds.hold(past.settings, repositories, name, "audit", "kim")
        repositories[0].delete(f"holds/{name}.json")
        return real(*args, **kwargs)

    monkeypatch.setattr(deleting.leases, "take", take)
    assert run(past, "local").spared == (f"{name}: hold",)


def test_a_repository_that_does_not_tell_its_holds_is_named_and_holds_up_no_other(past: Past, endpoint: str) -> None:
    name = [past.publish(past.repository(), "daily", DAY * days) for days in (9, 3, 2)][0]
    with s3.faulty(endpoint) as faults:
        faults.always = 503
        past.connections = FixedConnections(s3.record(faults.endpoint))
        assert plan(past, "local").unread == ("s3",)
        assert run(past, "local").sets == (name,)


def test_a_hold_that_somebody_else_signed_holds_all_the_same(past: Past, where: str) -> None:
    repository = past.repository(where)
    name = [past.publish(repository, "daily", DAY * days) for days in (9, 3, 2)][0]
    holds.hold(past.settings, [repository], name, "audit", "kim")
    repository.put_bytes(f"holds/{name}.json.sig", b"x" * 64)
    assert reason(plan(past, where), name) == (True, "hold")


def test_nobody_can_hold_what_is_not_there(past: Past) -> None:
    with pytest.raises(PermanentError, match="No repository has the set daily/20200101_000000"):
        holds.hold(past.settings, [past.repository()], "daily/20200101_000000", "why not", "kim")
    assert holds.holds(past.repository(), past.settings.signing.public_key_files) == {}


def test_a_set_in_use_stays_and_goes_when_the_lease_has_run_out(past: Past, where: str) -> None:
    repository = past.repository(where)
    name = [past.publish(repository, "daily", DAY * days) for days in (9, 3, 2)][0]

    with leases.leased(repository, [name], "spoqplus_restore/run", "restore"):
        assert reason(plan(past, where), name) == (True, "lease")
        assert run(past, where).sets == ()
    assert list(repository.list("leases/")) == []

    leases.take(repository, name, "killed", "restore", now=now() - HOUR * 3)
    assert run(past, where, "spoqplus_retention/later").sets == (name,)
    assert list(repository.list("leases/")) == []


def test_who_begins_to_use_a_set_after_the_plan_still_has_it(past: Past, where: str) -> None:
    repository = past.repository(where)
    name = [past.publish(repository, "daily", DAY * days) for days in (9, 3, 2)][0]
    made = plan(past, where)
    leases.take(repository, name, "spoqplus_restore/run", "restore")

    assert carry_out(past.settings, past.connections, where, made, RUN).sets == ()
    assert name in sets(past, repository)


@pytest.mark.parametrize("what", ["lease", "hold"])
def test_a_lease_or_hold_in_the_last_moment_is_seen(
    past: Past, where: str, what: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    repository = past.repository(where)
    name = [past.publish(repository, "daily", DAY * days) for days in (9, 3, 2)][0]
    real, began = leases.take, []

    def take(*args: Any, **kwargs: Any) -> leases.Lease:
        if args[3] == leases.DELETE and not began:  # the facts are gathered, nothing is deleted yet
            began.append(True)
            if what == "lease":
                leases.take(repository, name, "spoqplus_restore/run", "restore")
            else:
                holds.hold(past.settings, [repository], name, "audit", "kim")
        return real(*args, **kwargs)

    monkeypatch.setattr(deleting.leases, "take", take)
    report = run(past, where)

    assert report.sets == ()
    assert report.spared[0].startswith(f"{name}: ")
    assert name in sets(past, repository)


def test_what_a_set_needs_that_is_spared_in_the_last_moment_stays_too(
    past: Past, where: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    repository = past.repository(where)
    faces = [past.face(repository, number, DAY * 90) for number in range(2)]
    logs = [past.log(repository, number, DAY * (50 - number)) for number in (1, 2, 3)]
    base = past.publish(repository, "weekly", DAY * 50)
    daily = past.publish(repository, "daily", DAY * 49, depends_on=(base,), faces=faces[:1])
    incremental = past.publish(repository, "incremental", DAY * 47, depends_on=(base,), binlogs=(logs[1],))
    for cadence, days in (("weekly", 3), ("daily", 3), ("daily", 2), ("incremental", 1)):
        past.publish(repository, cadence, DAY * days)
    past.log(repository, 9, HOUR)
    made = plan(past, where)
    assert {item.name for item in made.deletions} == {
        base, daily, incremental, "faces", *(ref.key for ref in logs)
    }  # fmt: skip
    real, spared = leases.take, []

    def take(*args: Any, **kwargs: Any) -> leases.Lease:
        if args[3] == leases.DELETE and args[1] in (daily, incremental) and args[1] not in spared:
            spared.append(args[1])
            leases.take(repository, args[1], "spoqplus_restore/run", "restore")
        return real(*args, **kwargs)

    monkeypatch.setattr(deleting.leases, "take", take)
    report = carry_out(past.settings, past.connections, where, made, RUN)

    assert report.sets == ()
    assert f"{base}: {daily} stands on it" in report.spared
    assert {base, daily, incremental} <= set(sets(past, repository))
    assert repository.stat(f"{logs[1].key}.json") is not None
    assert list(repository.list("faces/")) == [faces[0]]


def test_who_wants_a_set_that_is_being_deleted_is_told_so(past: Past, where: str) -> None:
    repository = past.repository(where)
    name = past.publish(repository, "daily", DAY * 9)
    deleting_run = leases.take(repository, name, "spoqplus_retention/run", leases.DELETE)

    with pytest.raises(BackupError, match="is being deleted by spoqplus_retention/run"):
        leases.take(repository, name, "spoqplus_restore/run", "restore")
    with pytest.raises(BackupError, match="is being deleted right now"):
        holds.hold(past.settings, [repository], name, "audit", "kim")

    leases.release(repository, deleting_run)
    assert [lease.purpose for lease in leases.leases_of(repository, name)] == []


def test_a_lease_is_renewed_while_its_work_goes_on(past: Past, where: str) -> None:
    repository = past.repository(where)
    name = past.publish(repository, "daily", DAY * 9)
    with leases.leased(repository, [name], "run", "copy", duration=timedelta(seconds=2)):
        first = leases.leases_of(repository, name)[0].expires_at
        deadline = threading.Event()
        for _ in range(200):
            if leases.leases_of(repository, name)[0].expires_at > first:
                break
            deadline.wait(0.05)
        else:
            pytest.fail("the lease was not renewed within ten seconds")


# ---- what goes wrong


class Killed(BaseException):
    """As a killed task."""


def test_an_interrupted_deletion_leaves_no_half_set_and_the_next_try_goes_on(
    past: Past, where: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    repository = past.repository(where)
    names = [past.publish(repository, "daily", DAY * days) for days in (9, 8, 3, 2)]
    made = plan(past, where)

    remover = LocalRemover if where == "local" else S3Remover
    real = remover.remove

    def remove(self: Any, entries: list[Entry]) -> Removed:
        if entries[0].key.endswith(MANIFEST):
            return real(self, entries)
        raise Killed  # the manifest is gone, the rest is not

    monkeypatch.setattr(remover, "remove", remove)
    with pytest.raises(Killed):
        carry_out(past.settings, past.connections, where, made, RUN)
    assert sets(past, repository) == [names[0], *names[2:]]
    assert list(repository.list(f"{names[1]}/"))
    monkeypatch.undo()

    report = carry_out(past.settings, past.connections, where, load_plan(past.settings, RUN, where), RUN)

    assert sets(past, repository) == names[2:]
    assert {*report.sets, *report.unfinished} == set(names[:2])
    assert report.objects == 2 * 4
    assert [key for key in repository.list() if key.startswith((names[0], names[1], "leases/"))] == []


def test_two_runs_at_once_delete_each_thing_once_and_nothing_else(past: Past, where: str) -> None:
    repository = past.repository(where)
    names = [past.publish(repository, "daily", DAY * days) for days in (12, 11, 10, 9, 8, 3, 2)]
    plans = {run_id: plan(past, where, run_id) for run_id in ("one", "two")}
    failures = []

    def work(run_id: str) -> None:
        try:
            carry_out(past.settings, past.connections, where, plans[run_id], run_id)
        except BaseException as error:  # noqa: BLE001 (shown below)
            failures.append(error)

    threads = [threading.Thread(target=work, args=(run_id,)) for run_id in plans]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()

    assert failures == []
    assert sets(past, repository) == names[5:]
    assert (
        sorted({key.rpartition("/")[0].rpartition("/")[0] for key in repository.list("daily/")} - {"daily"})
        == names[5:]
    )


def test_a_server_that_is_out_of_order_is_tried_again_and_the_rest_goes_then(tmp_path: Path, endpoint: str) -> None:
    with s3.faulty(endpoint) as faults:
        past = make(tmp_path, faults.endpoint)
        once = {"retries": {"mode": "standard", "total_max_attempts": 1}}
        past.connections = FixedConnections(s3.record(faults.endpoint, config_kwargs=once))
        repository = past.repository("s3")
        names = [past.publish(repository, "daily", DAY * days) for days in (9, 8, 7, 6, 3, 2)]
        made = plan(past, "s3")
        faults.only, faults.always = "POST", 503

        with pytest.raises(BackupError, match="503") as caught:
            carry_out(past.settings, past.connections, "s3", made, RUN)
        assert not isinstance(caught.value, PermanentError)
        assert sets(past, repository) == names

        faults.always = None
        report = carry_out(past.settings, past.connections, "s3", made, RUN)
        assert sets(past, repository) == names[4:]
        assert sorted(report.sets) == names[:4]


def test_a_listing_that_breaks_off_decides_nothing(tmp_path: Path, endpoint: str) -> None:
    with s3.faulty(endpoint) as faults:
        past = make(tmp_path, faults.endpoint)
        once = {"retries": {"mode": "standard", "total_max_attempts": 1}}
        past.connections = FixedConnections(s3.record(faults.endpoint, config_kwargs=once))
        past.publish(past.repository("s3"), "daily", DAY * 2)
        faults.only, faults.always = "GET", 503
        with pytest.raises(BackupError, match="503"):
            plan(past, "s3")


class SmallPages(FixedConnections):
    """Connections to a server whose listings come two keys at a time."""

    def s3_client(self, connection_id: str) -> Any:
        client = super().s3_client(connection_id)
        for listing in ("ListObjectsV2", "ListObjectVersions"):
            client.meta.events.register(
                f"provide-client-params.s3.{listing}", lambda params, **_: params | {"MaxKeys": 2}
            )
        return client


@pytest.fixture(params=["plain", "versioned"])
def paged(request: pytest.FixtureRequest, tmp_path: Path, endpoint: str) -> Iterator[tuple[Past, s3.Faults, list[str]]]:
    """Two sets to delete and two to keep, behind a proxy, in a bucket whose listings have many pages."""
    with s3.faulty(endpoint) as faults:
        site = make(tmp_path, faults.endpoint)
        site.connections = SmallPages(s3.record(faults.endpoint))
        if request.param == "versioned":
            bucket = tmp_path.name.replace("_", "-").lower()
            site, _ = own_bucket(site, endpoint, bucket)
        names = [site.publish(site.repository("s3"), "daily", DAY * days) for days in (9, 8, 3, 2)]
        yield site, faults, names


PAGE_TWO = {"plan": "continuation-token", "plain": "continuation-token", "versioned": "key-marker"}


def stored(past: Past) -> list[str]:
    return [key for key in past.repository("s3").list() if not key.startswith("leases/")]


def test_a_second_page_that_does_not_come_at_once_is_asked_for_again(paged: tuple[Past, s3.Faults, list[str]]) -> None:
    past, faults, names = paged
    expected = plan(past, "s3")
    faults.within, faults.statuses = PAGE_TWO["plan"], [503]

    made = plan(past, "s3")
    assert faults.statuses == []
    assert [item.name for item in made.deletions] == [item.name for item in expected.deletions] == names[1::-1]
    faults.statuses = [503]
    assert sorted(carry_out(past.settings, past.connections, "s3", made, RUN).sets) == names[:2]
    assert faults.statuses == []


def test_a_listing_without_its_second_page_deletes_nothing(paged: tuple[Past, s3.Faults, list[str]]) -> None:
    past, faults, names = paged
    there, made = stored(past), plan(past, "s3")
    faults.within, faults.always = PAGE_TWO["plan"], 503

    with pytest.raises(BackupError, match="503"):
        plan(past, "s3")
    with pytest.raises(BackupError, match="503"):
        carry_out(past.settings, past.connections, "s3", made, RUN)

    faults.always = None
    assert stored(past) == there
    assert sorted(carry_out(past.settings, past.connections, "s3", made, RUN).sets) == names[:2]


def test_a_set_whose_listing_breaks_off_while_it_is_deleted_stays_whole(
    paged: tuple[Past, s3.Faults, list[str]], request: pytest.FixtureRequest, monkeypatch: pytest.MonkeyPatch
) -> None:
    past, faults, names = paged
    there, made = stored(past), plan(past, "s3")
    faults.within = PAGE_TWO[request.node.callspec.params["paged"]]
    real = leases.take

    def take(*args: Any, **kwargs: Any) -> leases.Lease:
        faults.always = 503  # everything is decided
        return real(*args, **kwargs)

    monkeypatch.setattr(deleting.leases, "take", take)
    with pytest.raises(BackupError, match="503"):
        carry_out(past.settings, past.connections, "s3", made, RUN)

    monkeypatch.undo()
    faults.always = None
    assert stored(past) == there
    assert sorted(carry_out(past.settings, past.connections, "s3", made, RUN).sets) == names[:2]
    assert sets(past, past.repository("s3")) == names[2:]


def test_what_the_repository_refuses_is_said_and_the_rest_goes(
    past: Past, where: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    repository = past.repository(where)
    names = [past.publish(repository, "daily", DAY * days) for days in (9, 8, 3, 2)]
    remover = LocalRemover if where == "local" else S3Remover
    real = remover.remove

    def remove(self: Any, entries: list[Entry]) -> Removed:
        if entries[0].key.startswith(names[1]):
            return Removed(refused=[(entries[0].key, f"{entries[0].key} is refused (AccessDenied)")])
        return real(self, entries)

    monkeypatch.setattr(remover, "remove", remove)
    report = run(past, where)

    assert report.sets == (names[0],)
    assert report.refused == (f"{names[1]}/{MANIFEST} is refused (AccessDenied)",)
    assert sets(past, repository) == names[1:]


def test_a_folder_that_is_read_only_is_said(past: Past, monkeypatch: pytest.MonkeyPatch) -> None:
    repository = past.repository()
    names = [past.publish(repository, "daily", DAY * days) for days in (9, 3, 2)]

    def unlink(self: Path, missing_ok: bool = False) -> None:
        raise PermissionError(13, "Permission denied", str(self))

    made = plan(past, "local")
    monkeypatch.setattr(Path, "unlink", unlink)
    remover = open_remover(past.settings, "local", past.connections)
    (entry,) = remover.entries(f"{names[0]}/{MANIFEST}.sig")
    refused = remover.remove([entry]).refused
    monkeypatch.undo()

    assert made.deletions
    assert refused == [(entry.key, f"{repository.url}/{entry.key}: Permission denied")]


# ---- buckets that keep more than they show


def own_bucket(past: Past, endpoint: str, name: str, *, lock_days: int | None = None) -> tuple[Past, Any]:
    """A bucket with versions, or with object lock by default, as the repository s3."""
    client = s3.s3_client(s3.record(endpoint))
    client.create_bucket(Bucket=name, ObjectLockEnabledForBucket=lock_days is not None)
    client.put_bucket_versioning(Bucket=name, VersioningConfiguration={"Status": "Enabled"})
    if lock_days is not None:
        rule = {"DefaultRetention": {"Mode": "COMPLIANCE", "Days": lock_days}}
        client.put_object_lock_configuration(
            Bucket=name, ObjectLockConfiguration={"ObjectLockEnabled": "Enabled", "Rule": rule}
        )
    settings = past.settings
    changed = settings.model_copy(
        update={
            "repositories": (
                settings.repositories[0],
                settings.repositories[1].model_copy(update={"root": f"s3://{name}"}),
            )
        }
    )
    changed._source = settings.source
    return Past(changed, past.connections, past.keys, past.folder), client


def versions(client: Any, name: str, prefix: str) -> list[str]:
    answer = client.list_object_versions(Bucket=name, Prefix=prefix)
    return [item["Key"] for item in (*answer.get("Versions", []), *answer.get("DeleteMarkers", []))]


def test_every_version_goes_from_a_bucket_that_keeps_them(past: Past, endpoint: str) -> None:
    site, client = own_bucket(past, endpoint, "versioned")
    repository = site.repository("s3")
    names = [site.publish(repository, "daily", DAY * days) for days in (9, 3, 2)]
    repository.put_bytes(f"{names[0]}/{MANIFEST}", repository.read(f"{names[0]}/{MANIFEST}"))  # as a retry does
    site.age(repository, f"{names[0]}/", DAY * 9)
    repository.delete(f"{names[0]}/database/000001.sql.zst.age")  # as somebody did by hand

    report = run(site, "s3")

    assert report.sets == (names[0],)
    assert versions(client, "versioned", names[0]) == []
    assert len(versions(client, "versioned", names[1])) == 4


def test_what_a_bucket_locks_stays_whole_and_the_plan_says_until_when(past: Past, endpoint: str) -> None:
    site, client = own_bucket(past, endpoint, "locked", lock_days=30)
    repository = site.repository("s3")
    first = now().date()
    names = [site.publish(repository, "daily", DAY * days) for days in (9, 3, 2)]
    unfinished = site.unfinished(repository, "daily", DAY * 5)

    made = plan(site, "s3")
    report = run(site, "s3")

    assert reason(made, names[0]) == (True, "locked")
    until = next(item.detail for item in made.decisions if item.name == names[0])
    assert first <= date.fromisoformat(until) - timedelta(days=30) <= now().date()
    assert made.deletions == ()
    assert report.deleted == 0
    assert report.refused == ()
    assert sets(site, repository) == names
    assert versions(client, "locked", unfinished)


def test_a_lock_that_nobody_knew_of_refuses_and_the_set_stays_whole(past: Past, endpoint: str) -> None:
    site, _ = own_bucket(past, endpoint, "surprise", lock_days=30)
    repository = site.repository("s3")
    names = [site.publish(repository, "daily", DAY * days) for days in (9, 3, 2)]
    remover = open_remover(site.settings, "s3", site.connections)

    refused = remover.remove(list(remover.entries(f"{names[0]}/{MANIFEST}"))).refused

    assert {key for key, _ in refused} == {f"{names[0]}/{MANIFEST}", f"{names[0]}/{MANIFEST}.sig"}
    assert "AccessDenied" in refused[0][1]
    assert sets(site, repository) == names


def test_a_face_that_nobody_needs_but_the_bucket_locks_is_no_failure_each_night(past: Past, endpoint: str) -> None:
    site, client = own_bucket(past, endpoint, "locked-unneeded", lock_days=30)
    no_default = {"ObjectLockEnabled": "Enabled"}
    client.put_object_lock_configuration(Bucket="locked-unneeded", ObjectLockConfiguration=no_default)
    repository = site.repository("s3")
    faces = [site.face(repository, number, DAY * 90) for number in range(4)]
    site.publish(repository, "daily", DAY * 2, faces=faces[:1])
    for key, days in ((faces[1], 200), (faces[2], -1)):
        until = {"Mode": "GOVERNANCE", "RetainUntilDate": now() + DAY * days}
        client.put_object_retention(Bucket="locked-unneeded", Key=key, Retention=until)

    report = run(site, "s3")

    assert (report.faces, report.refused) == (2, ())
    assert list(repository.list("faces/")) == sorted(faces[:2])


# ---- credentials


def test_only_the_connection_that_may_delete_is_used_for_it(past: Past, endpoint: str) -> None:
    record = s3.record(endpoint, "spoqplus_aws_pruner")
    settings = past.settings
    changed = settings.model_copy(
        update={
            "repositories": (
                settings.repositories[0],
                settings.repositories[1].model_copy(update={"delete_connection": record.id}),
            )
        }
    )
    changed._source = settings.source
    asked = []
    connections = type(past.connections)(s3.record(endpoint), record)
    real = connections.s3_client

    def s3_client(connection_id: str) -> Any:
        asked.append(connection_id)
        return real(connection_id)

    connections.s3_client = s3_client  # type: ignore[method-assign]
    site = Past(changed, connections, past.keys, past.folder)
    for days in (9, 3, 2):
        past.publish(past.repository("s3"), "daily", DAY * days)

    assert len(run(site, "s3").sets) == 1
    assert set(asked) == {record.id}
