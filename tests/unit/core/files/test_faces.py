"""The sync of face images to real repositories: a folder and moto's S3, with age and zstd to read what came there."""

import os
import shutil
import signal
import subprocess
import sys
import threading
from collections import Counter
from collections.abc import Callable, Iterator
from datetime import datetime, timedelta, timezone
from pathlib import Path
from typing import Any

import pytest

from spoqplus_backup.core import stages
from spoqplus_backup.core.component import ComponentRecord, read_record
from spoqplus_backup.core.connections import ConnectionRecord, s3_client
from spoqplus_backup.core.errors import BackupError, IntegrityError, PermanentError
from spoqplus_backup.core.files import face_scan, faces
from spoqplus_backup.core.files.face_index import FaceEntry, read_index
from spoqplus_backup.core.files.face_scan import pack, scan
from spoqplus_backup.core.files.face_store import Found, faces_folder
from spoqplus_backup.core.files.faces import faces_in_use, sync_faces
from spoqplus_backup.core.files.guard import GuardError
from spoqplus_backup.core.run import BackupRun
from spoqplus_backup.core.settings import Settings, load_settings
from support.connections import FixedConnections
from support.keys import age_pair
from support.s3 import BUCKET, Faults, faulty, moto, record
from support.servers import wait_until
from support.site_file import write_site

MakeSite = Callable[..., Settings]
KEY = r"faces/([0-9a-f]{2})/\1[0-9a-f]{62}\.zst\.age"


@pytest.fixture
def images(tmp_path: Path) -> Path:
    """Twenty pictures in folders, of which two are the same, and names that are hard on programs."""
    folder = tmp_path / "face_images"
    for number in range(20):
        (folder / f"{number % 3}").mkdir(parents=True, exist_ok=True)
        (folder / f"{number % 3}" / f"{number}.jpg").write_bytes(b"face" + os.urandom(2000))
    shutil.copy2(folder / "0" / "0.jpg", folder / "1" / "same.jpg")
    (folder / "1" / "two\nlines.jpg").write_bytes(b"newline")
    (folder / "홍길동.jpg").write_bytes("얼굴".encode())
    (Path(os.fsdecode(os.fsencode(folder) + b"/caf\xe9.jpg"))).write_bytes(b"latin")
    (folder / "empty.jpg").touch(mode=0o640)
    (folder / "nobody").mkdir(mode=0o700)
    (folder / "latest").symlink_to("0/0.jpg")
    for path in folder.rglob("*"):
        os.utime(path, (1_600_000_000, 1_600_000_000), follow_symlinks=False)
    return folder


FILES = 25


@pytest.fixture
def site(tmp_path: Path, images: Path) -> MakeSite:
    def make(**fields: Any) -> Settings:
        roots = fields.pop("repositories", [f"file://{tmp_path}/local", f"file://{tmp_path}/second"])
        kept = fields.pop("kept", {})
        content = [
            {"name": f"r{number}", "root": root}
            | ({"connection": "spoqplus_aws"} | kept if root.startswith("s3") else {})
            for number, root in enumerate(roots)
        ]
        others = {name: fields.pop(name) for name in ("encryption",) if name in fields}
        chosen = {"directory": str(images)} | fields
        return load_settings(write_site(tmp_path / "site", faces=chosen, repositories=content, **others))

    return make


def begin(settings: Settings, number: int = 1, endpoint: str = "", cadence: str = "daily") -> BackupRun:
    """The run of a new set."""
    connections = FixedConnections(record(endpoint)) if endpoint else FixedConnections()
    run = BackupRun(settings, connections, cadence, f"20250101_0300{number:02d}", f"test/{number}")
    assert run.staging.claim(run.run_id, ["face_images"])
    return run


def finish(run: BackupRun, generation: int = 1) -> ComponentRecord:
    """The component's whole chain, and the verification."""
    sync_faces(run, generation)
    for stage in (stages.compress, stages.encrypt, stages.upload):
        stage(run, "face_images")
    stages.verify(run)
    found = read_record(run.staging.component("face_images"))
    assert found is not None
    return found


def opened(path: Path, settings: Settings) -> bytes:
    """What a person gets with age and zstd."""
    plain = path.read_bytes()
    if path.suffix == ".age":
        key = settings.encryption.identity_files[0]
        plain = subprocess.run(["age", "-d", "-i", key], input=plain, check=True, capture_output=True).stdout
    return subprocess.run(["zstd", "-dc"], input=plain, check=True, capture_output=True).stdout


def stored(run: BackupRun, name: str) -> bytes:
    found = next((run.staging.component("face_images") / "sealed").glob(f"{name}.zst*"))
    return opened(found, run.settings)


def entries(run: BackupRun) -> dict[bytes, FaceEntry]:
    lines = stored(run, "index.jsonl").splitlines()
    return {entry.path_bytes: entry for entry in read_index(lines, "index")}


def keys(run: BackupRun) -> list[str]:
    return stored(run, "objects.txt").decode().splitlines()


def root(settings: Settings, number: int = 0) -> Path:
    return Path(settings.repositories[number].root.removeprefix("file://"))


def objects(folder: Path) -> dict[str, bytes]:
    return {
        str(path.relative_to(folder)): path.read_bytes() for path in (folder / "faces").rglob("*") if path.is_file()
    }


def damage(path: Path, change: Callable[[bytes], bytes]) -> None:
    """Replace an object: the folders of one disk share their files, so it is not written in place."""
    content = path.read_bytes()
    path.unlink()
    path.write_bytes(change(content))


def below(images: Path, name: bytes) -> bytes:
    return os.fsencode(images)[1:] + b"/" + name


class TestASync:
    def test_every_file_can_be_had_back_with_age_and_zstd(self, site: MakeSite, images: Path) -> None:
        settings = site()
        run = begin(settings)
        made = finish(run)

        found = entries(run)
        there = {os.fsencode(path)[1:] for path in [images, *images.rglob("*")]}
        assert found.keys() == there
        for path, entry in found.items():
            real = Path(os.fsdecode(b"/" + path))
            facts = real.lstat()
            assert (entry.mode, entry.uid) == (facts.st_mode & 0o7777, facts.st_uid)
            assert entry.mtime == pytest.approx(facts.st_mtime, rel=0, abs=1e-6)
            if entry.type == "file":
                assert entry.key is not None
                assert opened(root(settings) / entry.key, settings) == real.read_bytes()
                assert entry.size == facts.st_size
        assert found[below(images, b"latest")].link_bytes == b"0/0.jpg"
        assert found[below(images, b"nobody")].type == "directory"
        assert found[below(images, b"caf\xe9.jpg")].path is None
        assert made.files == FILES

    def test_every_repository_has_the_same_objects_and_nothing_readable(self, site: MakeSite, images: Path) -> None:
        settings = site()
        finish(begin(settings))
        assert objects(root(settings)) == objects(root(settings, 1))
        for path in root(settings).rglob("*"):
            assert "jpg" not in path.name
            assert not path.is_file() or b"face\x00" not in path.read_bytes()
        assert (settings.staging.directory / "spoqplus" / "faces" / "known.sqlite").stat().st_mode & 0o077 == 0

    def test_one_content_is_one_object(self, site: MakeSite, images: Path) -> None:
        run = begin(site())
        made = finish(run)
        found = entries(run)
        assert found[below(images, b"0/0.jpg")].key == found[below(images, b"1/same.jpg")].key
        assert made.shared is not None
        assert made.shared.count == len(keys(run)) == len(objects(root(run.settings))) == FILES - 1

    def test_the_lists_name_every_object_once_and_sorted(self, site: MakeSite) -> None:
        run = begin(site())
        finish(run)
        assert keys(run) == sorted(objects(root(run.settings)))
        checked = subprocess.run(
            ["sha256sum", "--check", "--quiet", "--strict"], cwd=root(run.settings), input=stored(run, "objects.sha256")
        )
        assert checked.returncode == 0
        sealed = run.staging.component("face_images") / "sealed"
        assert {path.name for path in sealed.iterdir()} == {
            "objects.txt.zst",
            "objects.sha256.zst",
            "index.jsonl.zst.age",
        }

    def test_what_was_deleted_is_gone_from_the_next_set_only(self, site: MakeSite, images: Path) -> None:
        settings = site()
        finish(begin(settings))
        before = objects(root(settings))
        (images / "0" / "3.jpg").unlink()
        (images / "0" / "6.jpg").write_bytes(b"another face")

        second = begin(settings, 2)
        finish(second)

        after = objects(root(settings))
        assert before.items() <= after.items()
        assert len(after) == len(before) + 1
        assert below(images, b"0/3.jpg") not in entries(second)
        assert len(keys(second)) == len(before) - 1

    def test_a_finished_sync_is_left_as_it_is_by_a_retry_but_not_by_a_clear(self, site: MakeSite, images: Path) -> None:
        run = begin(site())
        sync_faces(run, 1)
        (images / "new.jpg").write_bytes(b"new")
        assert sync_faces(run, 1).detail["files"] == FILES
        assert sync_faces(run, 2).detail["files"] == FILES + 1

    def test_sets_that_are_under_way_are_known(self, site: MakeSite) -> None:
        settings = site()
        assert faces_in_use(settings) == []
        run = begin(settings)
        sync_faces(run, 1)
        assert faces_in_use(settings) == [run.name]
        run.staging.remove()
        assert faces_in_use(settings) == []


class TestEncryption:
    def test_it_can_be_switched_off_with_a_warning(self, site: MakeSite, images: Path) -> None:
        settings = site(encrypt=False)
        run = begin(settings)
        made = finish(run)
        entry = entries(run)[below(images, b"0/0.jpg")]
        assert entry.key is not None
        assert entry.key.endswith(".zst")
        assert opened(root(settings) / entry.key, settings) == (images / "0" / "0.jpg").read_bytes()
        assert "faces.encrypt is false" in made.warnings[0].words

    def test_other_recipients_get_objects_of_their_own(self, site: MakeSite, tmp_path: Path) -> None:
        settings = site()
        first = begin(settings)
        finish(first)
        other = age_pair(tmp_path, "other")
        changed = site(encryption={"recipients": [other.recipient], "identity_files": [str(other.identity_file)]})
        second = begin(changed, 2)
        finish(second)
        assert not set(keys(first)) & set(keys(second))
        for key in keys(second):
            opened(root(changed) / key, changed)

    def test_another_password_gets_objects_of_its_own(self, site: MakeSite, monkeypatch: pytest.MonkeyPatch) -> None:
        monkeypatch.setattr("spoqplus_backup.core.crypto.ITERATIONS", 1000)  # or each picture takes a quarter second
        settings = site(encryption={"scheme": "openssl"})
        sets = []
        for number, password in enumerate(["first", "first", "second"], 1):
            connections = FixedConnections(ConnectionRecord(id="spoqplus_backup_password", password=password))
            run = BackupRun(settings, connections, "daily", f"20250101_0300{number:02d}", f"test/{number}")
            assert run.staging.claim(run.run_id, ["face_images"])
            finish(run)
            sets.append(set(keys(run)))
        assert sets[0] == sets[1]
        assert not sets[0] & sets[2]
        assert all(key.endswith(".zst.enc") for key in sets[2])

    def test_names_tell_nothing_about_contents(self, site: MakeSite, tmp_path: Path) -> None:
        settings = site()
        first = begin(settings)
        finish(first)
        shutil.rmtree(faces_folder(settings))  # with the key that names are made with
        second = begin(settings, 2)
        finish(second)
        assert not set(keys(first)) & set(keys(second))
        assert set(keys(first)) < set(objects(root(settings)))


class TestGuard:
    def test_an_empty_folder_stops_the_sync(self, site: MakeSite, images: Path) -> None:
        settings = site()
        finish(begin(settings))
        shutil.rmtree(images)
        images.mkdir()
        with pytest.raises(GuardError, match="is empty"):
            sync_faces(begin(settings, 2), 1)

    def test_more_than_the_share_is_not_believed(self, site: MakeSite, images: Path) -> None:
        settings = site()
        finish(begin(settings))
        for name in ("0/0.jpg", "0/3.jpg"):
            (images / name).unlink()
        finish(begin(settings, 2))  # 2 of 25 is less than a tenth
        for name in ("0/6.jpg", "0/9.jpg", "0/12.jpg"):
            (images / name).rename(images / "new name")
        with pytest.raises(GuardError, match=r"3 of 23 files are gone .* more than 10% \(`faces.maximum_deletions`\)"):
            sync_faces(begin(settings, 3), 1)
        assert read_record(begin(settings, 4).staging.component("face_images")) is None

        finish(begin(site(maximum_deletions=0.2), 5))  # a person has looked and says that it is meant
        finish(begin(settings, 6))

    def test_a_stop_changes_nothing_in_any_repository_and_the_next_sync_goes_on(
        self, site: MakeSite, images: Path
    ) -> None:
        settings = site()
        finish(begin(settings))
        before = [objects(root(settings, number)) for number in (0, 1)]
        away = images.with_name("unmounted")
        (images / "new.jpg").write_bytes(b"new")
        for stop in ("missing", "a file", "a folder in place of files"):
            images.rename(away)
            if stop == "a file":
                images.write_text("no folder")
            elif stop == "a folder in place of files":
                for number in range(FILES):
                    (images / f"{number}.jpg").mkdir(parents=True)
            with pytest.raises(GuardError):
                sync_faces(begin(settings, 2), 1)
            assert [objects(root(settings, number)) for number in (0, 1)] == before, stop
            shutil.rmtree(images) if images.is_dir() else images.unlink(missing_ok=True)
            away.rename(images)
        assert finish(begin(settings, 2)).files == FILES + 1

    def test_a_folder_that_can_t_be_read_fails_for_good(
        self, site: MakeSite, images: Path, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        real = os.scandir

        def refuse(path: Any) -> Any:
            if isinstance(path, bytes) and path.endswith(b"nobody"):
                raise PermissionError(13, "Permission denied")
            return real(path)

        monkeypatch.setattr(os, "scandir", refuse)
        with pytest.raises(PermanentError, match=r"nobody can't be read \(Permission denied\)"):
            sync_faces(begin(site()), 1)


class TestFilesInMotion:
    def test_a_file_that_is_written_to_all_the_time_is_stored_and_reported(
        self, site: MakeSite, images: Path, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
    ) -> None:
        real = os.fstat

        def touched(fd: int) -> os.stat_result:
            if os.readlink(f"/proc/self/fd/{fd}").endswith("0/0.jpg"):  # noqa: PTH115
                os.utime(fd)
            return real(fd)

        monkeypatch.setattr(os, "fstat", touched)
        made = finish(begin(site()))
        assert tuple(warning.words for warning in made.warnings) == (
            "1 face images were written to while they were read: their newest state may be missing.",
        )
        assert "0/0.jpg was written to all the time" in caplog.text

    def test_a_file_that_vanishes_before_it_is_read_is_reported(
        self, site: MakeSite, images: Path, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        real = faces.list_objects

        def list_and_delete(*arguments: Any) -> None:
            real(*arguments)
            (images / "홍길동.jpg").unlink()

        monkeypatch.setattr(faces, "list_objects", list_and_delete)
        run = begin(site())
        made = finish(run)
        assert tuple(warning.words for warning in made.warnings) == ("1 face images vanished before they were read.",)
        assert made.files == FILES - 1
        assert below(images, "홍길동.jpg".encode()) not in entries(run)

    def test_a_file_that_became_a_link_or_a_pipe_is_not_followed(self, tmp_path: Path) -> None:
        (tmp_path / "secret").write_text("secret")
        (tmp_path / "link").symlink_to("secret")
        os.mkfifo(tmp_path / "pipe")
        facts: dict[str, Any] = {"type": "file", "size": 0, "mode": 0, "uid": 0, "gid": 0, "mtime_ns": 0, "facts": ""}
        pipe = Found(path=os.fsencode(tmp_path / "pipe")[1:], **facts)
        assert pack(pipe, tmp_path / "out", 1) is None
        with pytest.raises(BackupError, match="link can't be read"):
            pack(Found(path=os.fsencode(tmp_path / "link")[1:], **facts), tmp_path / "out", 1)

    def test_sockets_and_pipes_are_left_out(self, site: MakeSite, images: Path) -> None:
        os.mkfifo(images / "pipe")
        run = begin(site())
        made = finish(run)
        assert tuple(warning.words for warning in made.warnings) == (
            "1 face images are no files but sockets, pipes or devices: they were left out.",
        )
        assert below(images, b"pipe") not in entries(run)

    def test_a_deep_tree_is_scanned(self, tmp_path: Path) -> None:
        deep = tmp_path / "deep"
        deep.joinpath(*["d"] * 300).mkdir(parents=True)
        assert sum(1 for _ in scan(deep, lambda _: None)) == 301


class TestVerification:
    @pytest.fixture
    def run(self, site: MakeSite) -> BackupRun:
        run = begin(site())
        finish(run)
        return run

    def test_a_missing_object_is_named(self, run: BackupRun) -> None:
        (root(run.settings, 1) / keys(run)[7]).unlink()
        with pytest.raises(IntegrityError, match=rf"second/{keys(run)[7]} is not there"):
            stages.verify(run)

    def test_a_truncated_object_is_named(self, run: BackupRun) -> None:
        damage(root(run.settings, 1) / keys(run)[7], lambda content: content[:-1])
        with pytest.raises(IntegrityError, match=rf"{keys(run)[7]} has \d+ bytes, not \d+"):
            stages.verify(run)

    def test_a_flipped_bit_in_what_this_run_stored_is_found(self, run: BackupRun) -> None:
        damage(root(run.settings, 1) / keys(run)[7], lambda content: content[:-1] + bytes([content[-1] ^ 1]))
        with pytest.raises(IntegrityError, match=rf"{keys(run)[7]} does not hold what was sent: clear .*sync"):
            stages.verify(run)
        finish(run, generation=2)  # cleared
        assert objects(root(run.settings)) == objects(root(run.settings, 1))

    def test_what_a_repository_lost_is_copied_there_again_by_the_next_sync(self, run: BackupRun) -> None:
        second = root(run.settings, 1)
        whole = objects(second)
        (second / keys(run)[7]).unlink()
        damage(second / keys(run)[9], lambda content: content[:-1])
        finish(begin(run.settings, 2))
        assert objects(second) == whole

    def test_a_new_repository_gets_everything_by_copies(self, run: BackupRun, site: MakeSite, tmp_path: Path) -> None:
        roots = [f"file://{tmp_path}/{name}" for name in ("local", "second", "third")]
        finish(begin(site(repositories=roots), 2))
        assert objects(tmp_path / "third") == objects(tmp_path / "local")

    def test_an_object_that_no_repository_has_whole_is_made_anew(
        self, run: BackupRun, images: Path, caplog: pytest.LogCaptureFixture
    ) -> None:
        key = entries(run)[below(images, b"0/3.jpg")].key
        assert key is not None
        for number in (0, 1):
            damage(root(run.settings, number) / key, lambda _: b"damaged")
        finish(begin(run.settings, 2))
        assert opened(root(run.settings) / key, run.settings) == (images / "0" / "3.jpg").read_bytes()
        assert "older sets have lost this file" in caplog.text


@pytest.fixture(scope="module")
def s3_server() -> Iterator[str]:
    with moto() as endpoint:
        client(endpoint).put_bucket_versioning(Bucket=BUCKET, VersioningConfiguration={"Status": "Enabled"})
        yield endpoint


@pytest.fixture
def s3(s3_server: str) -> Iterator[Faults]:
    with faulty(s3_server) as faults:
        yield faults


def client(endpoint: str) -> Any:
    return s3_client(record(endpoint))


def puts(faults: Faults) -> Counter[str]:
    """How often each face image was sent."""
    return Counter(
        line.split("/faces/")[1] for line in faults.requests if line.startswith("PUT ") and "/faces/" in line
    )


class TestS3:
    @pytest.fixture
    def prefix(self, request: pytest.FixtureRequest) -> str:
        """A place of the test's own in the bucket."""
        return f"s3://{BUCKET}/{request.node.name.replace('_', '-')}"

    def test_nothing_is_sent_or_read_twice(
        self, site: MakeSite, s3: Faults, prefix: str, images: Path, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        monkeypatch.setattr(face_scan, "SETTLED_SECONDS", -60.0)  # these pictures were made just now
        settings = site(repositories=[prefix])
        finish(begin(settings, 1, s3.endpoint))
        assert len(puts(s3)) == FILES - 1
        assert set(puts(s3).values()) == {1}
        s3.requests.clear()

        def never(*_: object) -> None:
            raise AssertionError("a file was read again")

        monkeypatch.setattr(faces, "pack", never)
        sync_faces(begin(settings, 2, s3.endpoint), 1)
        assert not puts(s3)
        assert not [line for line in s3.requests if line.startswith("HEAD ") and "/faces/" in line]
        assert s3.count("GET") <= 257 + 10  # a listing of each folder, not a question for each object

    def test_a_deletion_leaves_no_mark_in_a_versioned_bucket(
        self, site: MakeSite, s3: Faults, prefix: str, images: Path
    ) -> None:
        settings = site(repositories=[prefix])
        finish(begin(settings, 1, s3.endpoint))
        (images / "0" / "3.jpg").unlink()
        finish(begin(settings, 2, s3.endpoint))
        folder = prefix.removeprefix(f"s3://{BUCKET}/")
        versions = client(s3.endpoint).list_object_versions(Bucket=BUCKET, Prefix=f"{folder}/faces/")
        assert "DeleteMarkers" not in versions
        assert len(versions["Versions"]) == len({version["Key"] for version in versions["Versions"]}) == FILES - 1

    def test_a_monthly_set_locks_the_objects_of_all_its_faces(
        self, site: MakeSite, s3_server: str, images: Path, tmp_path: Path, caplog: pytest.LogCaptureFixture
    ) -> None:
        """Those that daily sets brought, too, for as long as its own; they stay in the class that all sets use."""
        s3, bucket = client(s3_server), "spoqplus-locked-faces"
        s3.create_bucket(Bucket=bucket, ObjectLockEnabledForBucket=True)

        def settings(days: int) -> Settings:
            lock = {"mode": "governance", "days": days}
            kept = {"long_term_storage_class": "GLACIER_IR", "object_lock": lock}
            return site(repositories=[f"file://{tmp_path}/local", f"s3://{bucket}"], kept=kept)

        def locks() -> dict[str, Any]:
            listed = s3.list_objects_v2(Bucket=bucket, Prefix="faces/")["Contents"]
            heads = {item["Key"]: s3.head_object(Bucket=bucket, Key=item["Key"]) for item in listed}
            assert {found.get("StorageClass", "STANDARD") for found in heads.values()} == {"STANDARD"}
            return {key: found.get("ObjectLockRetainUntilDate") for key, found in heads.items()}

        daily = begin(settings(30), 1, s3_server)
        finish(daily)
        assert set(locks().values()) == {None}
        (images / "0" / "3.jpg").unlink()
        (images / "new.jpg").write_bytes(b"new")

        first = begin(settings(30), 2, s3_server, "monthly")
        finish(first)

        needed = set(keys(first))
        locked = locks()
        assert {key for key, until in locked.items() if until is not None} == needed
        assert set(locked) - needed == set(keys(daily)) - needed, "what it does not need is not locked"
        until = datetime.now(timezone.utc) + timedelta(days=30)
        assert all(abs(locked[key] - until) < timedelta(hours=1) for key in needed)
        assert "is in the storage class" not in caplog.text
        version = s3.head_object(Bucket=bucket, Key=min(needed))["VersionId"]
        with pytest.raises(s3.exceptions.ClientError, match="AccessDenied"):
            s3.delete_object(Bucket=bucket, Key=min(needed), VersionId=version)

        finish(begin(settings(60), 3, s3_server, "monthly"))
        locked = locks()
        assert all(abs(locked[key] - until) > timedelta(days=29) for key in needed)

    def test_a_server_that_is_busy_for_a_while_is_asked_again(self, site: MakeSite, s3: Faults, prefix: str) -> None:
        settings = site(repositories=[prefix], parallel=2)
        s3.only, s3.statuses = "PUT", [503, 503]
        finish(begin(settings, 1, s3.endpoint))
        assert sum(puts(s3).values()) == FILES - 1 + 2

    def test_a_server_that_stays_busy_fails_the_task_and_the_retry_sends_the_rest(
        self, site: MakeSite, s3: Faults, prefix: str, tmp_path: Path
    ) -> None:
        settings = site(repositories=[f"file://{tmp_path}/local", prefix], parallel=1)
        run = begin(settings, 1, s3.endpoint)
        s3.only, s3.statuses = "PUT", [503] * 3
        with pytest.raises(BackupError, match="503") as caught:
            sync_faces(run, 1)
        assert not isinstance(caught.value, PermanentError)
        local = {path: path.stat().st_ino for path in (tmp_path / "local" / "faces").rglob("*.age")}
        assert local
        finish(run)
        assert local.items() <= {path: path.stat().st_ino for path in local}.items()
        assert len(puts(s3)) == FILES - 1

    def test_after_a_kill_in_the_middle_only_the_rest_is_sent(
        self, site: MakeSite, s3: Faults, prefix: str, tmp_path: Path
    ) -> None:
        settings = site(repositories=[prefix], parallel=2)
        command = [sys.executable, "-c", SYNC, str(settings.source), s3.endpoint]
        path = os.pathsep.join(sys.path)
        process = subprocess.Popen(command, env=os.environ | {"PYTHONPATH": path}, stderr=subprocess.PIPE)
        wait_until(lambda: len(puts(s3)) == 8 or process.poll() is not None, 60, "eight objects")
        process.send_signal(signal.SIGKILL)
        assert process.wait() == -signal.SIGKILL
        before = puts(s3)
        assert len(before) == 8

        run = begin(settings, 1, s3.endpoint)
        made = finish(run)

        twice = [key for key, count in puts(s3).items() if count > 1]
        assert len(twice) <= 2  # those that were on their way
        assert made.files == FILES
        assert len(puts(s3)) == FILES - 1

    def test_when_the_memory_is_lost_the_listing_decides(self, site: MakeSite, s3: Faults, prefix: str) -> None:
        settings = site(repositories=[prefix])
        first = begin(settings, 1, s3.endpoint)
        finish(first)
        s3.requests.clear()
        for path in faces_folder(settings).glob("known.sqlite*"):
            path.unlink()
        second = begin(settings, 2, s3.endpoint)
        finish(second)
        assert not puts(s3)
        assert stored(first, "objects.sha256") == stored(second, "objects.sha256")


# Synchronises, and hangs after eight objects.
SYNC = """
import itertools, sys, threading
from pathlib import Path
from spoqplus_backup.core.files.face_objects import Objects
from spoqplus_backup.core.files.faces import sync_faces
from spoqplus_backup.core.run import BackupRun
from spoqplus_backup.core.settings import load_settings
from support.connections import FixedConnections
from support.s3 import record

number, put = itertools.count(1), Objects.put
Objects.put = lambda *given: put(*given) if next(number) <= 8 else threading.Event().wait()
connections = FixedConnections(record(sys.argv[2]))
run = BackupRun(load_settings(Path(sys.argv[1])), connections, "daily", "20250101_030001", "test/1")
run.staging.claim(run.run_id, ["face_images"])
sync_faces(run, 1)
"""


def test_two_syncs_at_once_wait_for_each_other(site: MakeSite, monkeypatch: pytest.MonkeyPatch) -> None:
    settings = site()
    inside, leave = threading.Event(), threading.Event()
    real = faces.list_objects

    def hold(*arguments: Any) -> None:
        inside.set()
        assert leave.wait(20)
        real(*arguments)

    monkeypatch.setattr(faces, "list_objects", hold)
    first = threading.Thread(target=sync_faces, args=(begin(settings, 1), 1))
    first.start()
    assert inside.wait(20)
    monkeypatch.setattr(faces, "WAIT_SECONDS", 0.0)
    with pytest.raises(BackupError, match="works on the face images of spoqplus"):
        sync_faces(begin(settings, 2), 1)
    leave.set()
    first.join(20)
    monkeypatch.setattr(faces, "list_objects", real)
    finish(begin(settings, 2))
