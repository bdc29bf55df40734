"""Where files come from and who restores them: S3 that fails, a worker that is not root, many files, a sparse one."""

import os
import shutil
import subprocess
import tempfile
from collections.abc import Iterator
from pathlib import Path

import pytest

from spoqplus_backup.core.connections import s3_client
from spoqplus_backup.core.errors import BackupError, IntegrityError
from spoqplus_backup.core.recovery import restore as recovery
from spoqplus_backup.core.recovery.files import steps
from support import s3
from support.connections import FixedConnections
from support.file_sets import FileSite, make_file_site
from support.nobody import NOBODY, as_nobody, give_to_nobody

pytestmark = pytest.mark.integration

IS_ROOT = os.geteuid() == 0
OWNED = {"uploads": {"owner": "www-data", "group": "www-data", "folders": "755", "files": "644"}}


def content(top: Path) -> dict[str, bytes]:
    return {str(path.relative_to(top)): path.read_bytes() for path in top.rglob("*") if path.is_file()}


# ---- S3 -------------------------------------------------------------------------------------------------------------


@pytest.fixture
def faults() -> Iterator[s3.Faults]:
    """A proxy in front of an S3 server that has a bucket."""
    with s3.moto() as endpoint, s3.faulty(endpoint) as proxy:
        yield proxy


@pytest.fixture
def in_s3(tmp_path: Path, faults: s3.Faults) -> FileSite:
    """A full and an incremental set in a bucket, and an older tree at their place."""
    prefix = tmp_path.name  # moto keeps what other tests of this process stored
    repository = {"name": "s3", "root": f"s3://{s3.BUCKET}/{prefix}", "connection": "spoqplus_aws"}
    site = make_file_site(tmp_path / "site", repositories=[repository])
    site.connections = FixedConnections(s3.record(faults.endpoint))
    up = site.source / "up"
    (up / "사진").mkdir(parents=True)
    for number in range(20):
        (up / f"사진/{number}.jpg").write_bytes(os.urandom(3000))
    (up / "deleted").write_text("deleted later")
    full = site.archive(["up"], part_bytes=20_000)
    (up / "deleted").unlink()
    (up / "new").write_text("new")
    site.archive(["up"], base=full)
    client = s3_client(s3.record(faults.endpoint))
    for path in site.repository.rglob("*"):
        if path.is_file():
            client.upload_file(str(path), s3.BUCKET, f"{prefix}/{path.relative_to(site.repository)}")
    shutil.rmtree(site.repository)
    there = site.directory / "restored/up"
    there.mkdir(parents=True)
    (there / "old").write_text("old")
    return site


def test_from_s3_through_a_network_that_fails(in_s3: FileSite, faults: s3.Faults) -> None:
    plan = in_s3.plan()
    faults.requests.clear()
    faults.statuses, faults.only, faults.within = [503, 500, 503], "GET", ".tar.zst.age"
    faults.cut_bodies = [100, 0, 3000]
    in_s3.fetch(plan)
    assert (faults.statuses, faults.cut_bodies) == ([], [])
    steps.restore_files(in_s3.settings, in_s3.connections, plan, 1)
    recovery.verify_restored(in_s3.settings, in_s3.connections, plan)
    assert content(in_s3.directory / "restored/up") == content(in_s3.source / "up")


def test_from_s3_that_is_out_of_order_nothing_is_replaced(in_s3: FileSite, faults: s3.Faults) -> None:
    plan = in_s3.plan()
    faults.always = 503
    with pytest.raises(BackupError):
        in_s3.fetch(plan)
    assert content(in_s3.directory / "restored/up") == {"old": b"old"}
    faults.always = None
    in_s3.fetch(plan)
    faults.always = 503  # the manifests are read once more, before the first file is touched
    with pytest.raises(BackupError):
        steps.restore_files(in_s3.settings, in_s3.connections, plan, 1)
    assert content(in_s3.directory / "restored/up") == {"old": b"old"}
    faults.always = None
    steps.restore_files(in_s3.settings, in_s3.connections, plan, 1)
    assert content(in_s3.directory / "restored/up") == content(in_s3.source / "up")


def test_from_s3_that_lacks_a_part(in_s3: FileSite, faults: s3.Faults) -> None:
    plan = in_s3.plan()
    client = s3_client(s3.record(faults.endpoint))
    prefix = in_s3.settings.repositories[0].root.rpartition("/")[2]
    client.delete_object(Bucket=s3.BUCKET, Key=f"{prefix}/daily/20260101_000001/uploads/000002.tar.zst.age")
    with pytest.raises(IntegrityError, match=r"20260101_000001/uploads/000002\.tar\.zst\.age"):
        in_s3.fetch(plan)
    assert content(in_s3.directory / "restored/up") == {"old": b"old"}


def test_of_a_pattern_only_what_holds_it_is_fetched_from_s3(in_s3: FileSite, faults: s3.Faults) -> None:
    plan = in_s3.plan(paths=["up/사진/1?.jpg", "new"])
    faults.requests.clear()
    in_s3.fetch(plan)
    fetched = {line.rpartition("/")[2] for line in faults.requests if line.startswith("GET") and ".tar." in line}
    assert fetched == {part for archive in plan.files[0].archives for part in archive.parts}
    assert len(fetched) < len(list(in_s3.plan().files[0].archives[0].parts)) + 1
    steps.restore_files(in_s3.settings, in_s3.connections, plan, 1)
    expected = {f"사진/{number}.jpg" for number in range(10, 20)} | {"new", "old"}
    assert set(content(in_s3.directory / "restored/up")) == expected


# ---- a worker that is not root --------------------------------------------------------------------------------------


@pytest.fixture
def open_folder() -> Iterator[Path]:
    """pytest's own folders are closed to others."""
    folder = Path(tempfile.mkdtemp(prefix="spoqplus-"))
    folder.chmod(0o755)
    yield folder
    shutil.rmtree(folder)


def test_a_worker_that_is_not_root_gets_the_files_and_says_so(open_folder: Path) -> None:
    """Also to production: that the files are not www-data's is said, and all else is as it should be."""
    assert IS_ROOT, "Only root can become somebody else: run the tests as root."
    top = str(open_folder / "production/up").lstrip("/")
    site = make_file_site(
        open_folder / "site",
        files=[{"name": "uploads", "paths": [f"/{top}"]}],
        restore={"files_root": str(open_folder / "restored"), "ownership": OWNED},
    )
    up = site.source / top
    (up / "deep").mkdir(parents=True)
    (up / "deep/a").write_text("a")
    (up / "deep/a").chmod(0o600)
    (up / "link").symlink_to("deep/a")
    os.chown(up / "deep/a", 33, 33)
    site.archive([top])
    site.restore()  # so that all code is loaded that somebody else may not read
    (open_folder / "production").mkdir()
    give_to_nobody(open_folder)

    def restore() -> str:
        plan = site.plan(environment="production")
        site.fetch(plan)
        steps.restore_files(site.settings, site.connections, plan, 1)
        owned = steps.set_ownership(site.settings, plan)
        verified = recovery.verify_restored(site.settings, site.connections, plan)
        return f"{[warning.code for warning in plan.warnings]} {owned.detail} {verified.detail}"

    said = as_nobody(restore)
    assert "plan.not_root" in said
    assert "www-data:www-data 755/644 (the worker is not root: 4 stay its own)" in said
    assert "'files': 2" in said
    restored = Path("/", top)
    found = {str(path.relative_to(restored)): path.lstat() for path in (restored, *restored.rglob("*"))}
    assert {name: oct(status.st_mode & 0o777) for name, status in found.items() if name != "link"} == {
        ".": "0o755",
        "deep": "0o755",
        "deep/a": "0o644",
    }
    assert {(status.st_uid, status.st_gid) for status in found.values()} == {(NOBODY, NOBODY)}


# ---- many files, and one with holes ---------------------------------------------------------------------------------


@pytest.mark.timeout(900)
def test_a_hundred_thousand_small_files(tmp_path: Path) -> None:
    """A full set and an incremental one on top; what is not in the backup any more is gone afterwards."""
    site = make_file_site(tmp_path / "site")
    up = site.source / "up"
    for folder in range(100):
        (up / f"{folder:02}").mkdir(parents=True)
        for number in range(1000):
            (up / f"{folder:02}/{number}.jpg").write_bytes(b"%d" % number)
    full = site.archive(["up"], part_bytes=16 << 20)
    shutil.rmtree(up / "00")
    (up / "01/new.jpg").write_text("new")
    site.archive(["up"], base=full, part_bytes=16 << 20)
    plan = site.restore()
    assert plan.files[0].files == 99_001
    script = "cd $1 && (find . -printf '%p %y %m %T@\\n'; find . -type f -printf '%p %s\\n') | sort"
    listings = [
        subprocess.run(["sh", "-c", script, "-", top], check=True, capture_output=True).stdout
        for top in (up, site.directory / "restored/up")
    ]
    assert listings[0] == listings[1]
    assert (site.directory / "restored/up/42/42.jpg").read_text() == "42"


@pytest.mark.timeout(300)
def test_a_sparse_file_of_two_gigabytes_stays_sparse(tmp_path: Path) -> None:
    site = make_file_site(tmp_path / "site")
    (site.source / "up").mkdir()
    with (site.source / "up/disk.img").open("wb") as file:
        file.truncate(2 << 30)
        file.seek(1 << 30)
        file.write(b"in the middle")
    site.archive(["up"])
    plan = site.restore()
    restored = site.directory / "restored/up/disk.img"
    assert (restored.stat().st_size, plan.files[0].bytes) == (2 << 30, 2 << 30)
    assert restored.stat().st_blocks * 512 < 1 << 20
    with restored.open("rb") as file:
        file.seek(1 << 30)
        assert file.read(16) == b"in the middle\0\0\0"
