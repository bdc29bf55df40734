"""An S3 server that fails, refuses, forgets or lies; and an uploader that is killed."""

import hashlib
import os
import subprocess
import sys
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from spoqplus_backup.core import process
from spoqplus_backup.core.errors import BackupError, DiskFullError, IntegrityError, PermanentError
from spoqplus_backup.core.repository import s3 as s3_module
from spoqplus_backup.core.repository.s3 import S3Repository
from support import s3

PROJECT = Path(__file__).parents[4]
MIB = 1 << 20
KEY = "daily/20250101_030000/database/000001.sql.zst.age"
CONTENT = os.urandom(3 * MIB + 5)
SHA256 = hashlib.sha256(CONTENT).hexdigest()
LARGE = os.urandom(12 * MIB + 5)
LARGE_SHA256 = hashlib.sha256(LARGE).hexdigest()


@pytest.fixture(scope="module")
def moto_endpoint() -> Iterator[str]:
    with s3.moto() as endpoint:
        yield endpoint


@pytest.fixture
def faults(moto_endpoint: str) -> Iterator[s3.Faults]:
    with s3.faulty(moto_endpoint) as proxy:
        yield proxy


def open_at(endpoint: str, prefix: str, bucket: str = s3.BUCKET) -> S3Repository:
    return S3Repository("s3", lambda: s3.s3_client(s3.record(endpoint)), bucket, prefix)


@pytest.fixture
def repository(faults: s3.Faults, tmp_path: Path) -> S3Repository:
    """Behind the proxy, with a place of its own."""
    return open_at(faults.endpoint, tmp_path.name)


@pytest.fixture
def pieces(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(s3_module, "SINGLE_BYTES", 6 * MIB)
    monkeypatch.setattr(s3_module, "PIECE_BYTES", 5 * MIB)


@pytest.fixture
def source(tmp_path: Path) -> Path:
    path = tmp_path / "part"
    path.write_bytes(CONTENT)
    return path


@pytest.fixture
def large(tmp_path: Path) -> Path:
    path = tmp_path / "large"
    path.write_bytes(LARGE)
    return path


def uploads(endpoint: str, prefix: str) -> list[str]:
    """The uploads under a prefix that were begun and not ended."""
    found = s3.s3_client(s3.record(endpoint)).list_multipart_uploads(Bucket=s3.BUCKET, Prefix=prefix)
    return [upload["Key"] for upload in found.get("Uploads", [])]


class TestOutOfOrder:
    """503 and worse."""

    def test_a_passing_503_is_not_noticed(self, repository: S3Repository, faults: s3.Faults, source: Path) -> None:
        faults.statuses = [503]
        assert repository.put(KEY, source, SHA256)
        faults.statuses = [503, 503]
        repository.put_bytes("manifest.json", b"{}")
        faults.statuses = [500]
        repository.check(KEY, len(CONTENT), SHA256)

        assert faults.statuses == []

    @pytest.mark.usefixtures("pieces")
    def test_a_503_in_the_middle_of_a_large_object(
        self, repository: S3Repository, faults: s3.Faults, large: Path
    ) -> None:
        faults.statuses, faults.only = [503], "PUT"

        assert repository.put(KEY, large, LARGE_SHA256)
        assert faults.count("PUT") == 4
        repository.check(KEY, len(LARGE), LARGE_SHA256, read_back=True)

    def test_a_lasting_503_is_an_error_worth_a_retry(
        self, repository: S3Repository, faults: s3.Faults, source: Path, tmp_path: Path
    ) -> None:
        faults.always = 503
        attempts: list[Callable[[], object]] = [
            lambda: repository.put(KEY, source, SHA256),
            lambda: repository.put_bytes(KEY, b""),
            lambda: repository.check(KEY, 1, SHA256),
            lambda: repository.get(KEY, tmp_path / "target", SHA256, 1),
            lambda: list(repository.list()),
        ]
        for attempt in attempts:
            faults.requests.clear()
            with pytest.raises(BackupError, match=r"s3://spoqplus-backup/.*the server answered 503") as caught:
                attempt()
            assert not isinstance(caught.value, PermanentError)
            assert len(faults.requests) == 3

    @pytest.mark.usefixtures("pieces")
    def test_a_large_object_that_fails_leaves_no_unfinished_upload(
        self, repository: S3Repository, faults: s3.Faults, large: Path, moto_endpoint: str
    ) -> None:
        faults.always, faults.only = 503, "PUT"

        with pytest.raises(BackupError, match="503"):
            repository.put(KEY, large, LARGE_SHA256)

        assert faults.count("POST") == 1  # it was begun

        assert repository.stat(KEY) is None
        assert uploads(moto_endpoint, repository.prefix) == []

    def test_a_server_that_is_gone(self, source: Path) -> None:
        repository = open_at(f"http://127.0.0.1:{s3.free_port()}", "x")

        with pytest.raises(BackupError, match=r"can't be reached: .*look after network") as caught:
            repository.put(KEY, source, SHA256)
        assert not isinstance(caught.value, PermanentError)

    def test_a_full_server(self, repository: S3Repository, faults: s3.Faults, source: Path) -> None:
        repository.stat(KEY)
        faults.code, faults.always = "XMinioStorageFull", 507
        with pytest.raises(DiskFullError, match="no room"):
            repository.put_bytes(KEY, b"x")


class TestRefused:
    """What no retry can help."""

    def test_access_denied(self, repository: S3Repository, faults: s3.Faults, source: Path) -> None:
        faults.code, faults.always = "AccessDenied", 403

        for attempt in (lambda: repository.probe(), lambda: repository.put(KEY, source, SHA256)):
            faults.requests.clear()
            with pytest.raises(PermanentError, match=r"is refused \(.*its policy allows s3:ListBucket.*s3:PutObject"):
                attempt()
            assert len(faults.requests) == 1

    def test_a_wrong_secret_key(self, tmp_path: Path) -> None:
        secret = "wrong-secret-access-key"
        with s3.rclone(tmp_path / "data") as endpoint:
            record = s3.record(endpoint)
            wrong = type(record)(**{**vars(record), "password": secret})
            repository = S3Repository("s3", lambda: s3.s3_client(wrong), s3.BUCKET)
            with pytest.raises(PermanentError, match=r"is refused .*check the access key") as caught:
                repository.probe()
        assert secret not in str(caught.value) + repr(caught.value.__cause__) + repr(wrong)

    def test_no_such_bucket(self, faults: s3.Faults, source: Path) -> None:
        repository = open_at(faults.endpoint, "", bucket="no-such-bucket")

        for attempt in (repository.probe, lambda: repository.put(KEY, source, SHA256), lambda: list(repository.list())):
            with pytest.raises(
                PermanentError, match="There is no bucket no-such-bucket: create it, or correct the root"
            ):
                attempt()

    def test_no_credentials_at_all(self, faults: s3.Faults, monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
        for name in ("AWS_ACCESS_KEY_ID", "AWS_SECRET_ACCESS_KEY", "AWS_PROFILE"):
            monkeypatch.delenv(name, raising=False)
        for name in ("AWS_SHARED_CREDENTIALS_FILE", "AWS_CONFIG_FILE"):
            monkeypatch.setenv(name, str(tmp_path / "none"))
        monkeypatch.setenv("AWS_EC2_METADATA_DISABLED", "true")
        record = s3.record(faults.endpoint)
        without = type(record)(**{**vars(record), "login": None, "password": None})
        repository = S3Repository("s3", lambda: s3.s3_client(without), s3.BUCKET)

        with pytest.raises(PermanentError, match="put the access key into the connection of the repository s3"):
            repository.probe()


class TestChecksums:
    """Who vouches for what is stored."""

    def test_a_server_that_checks_is_believed(self, repository: S3Repository, faults: s3.Faults, source: Path) -> None:
        faults.checks_checksums = True
        repository.put(KEY, source, SHA256)
        faults.requests.clear()

        repository.check(KEY, len(CONTENT), SHA256)
        assert faults.count("GET") == 0

        repository.check(KEY, len(CONTENT), SHA256, read_back=True)
        assert faults.count("GET") == 1

    def test_a_server_that_checks_nothing_is_read(
        self, repository: S3Repository, faults: s3.Faults, source: Path
    ) -> None:
        repository.put(KEY, source, SHA256)
        faults.requests.clear()

        repository.check(KEY, len(CONTENT), SHA256)

        assert faults.count("GET") == 1
        assert list(repository.list(".probe/")) == []

    @pytest.mark.parametrize("change", ["flipped", "truncated"])
    def test_damage_on_the_servers_disk_is_found(self, tmp_path: Path, source: Path, change: str) -> None:
        with s3.rclone(tmp_path / "data") as endpoint:
            repository = open_at(endpoint, "")
            repository.put(KEY, source, SHA256)
            repository.check(KEY, len(CONTENT), SHA256)
            damaged = tmp_path / "data" / s3.BUCKET / KEY
            size = len(CONTENT) - 1
            with damaged.open("r+b") as file:
                if change == "truncated":
                    file.truncate(size)
                else:
                    file.seek(size)
                    file.write(bytes([CONTENT[-1] ^ 1]))

            with pytest.raises(IntegrityError, match=f"{KEY} has "):
                repository.check(KEY, len(CONTENT), SHA256)
            with pytest.raises(IntegrityError, match=f"{KEY} has "):
                repository.get(KEY, tmp_path / "target", SHA256, len(CONTENT))
        assert not list(tmp_path.glob("target*"))

    def test_what_was_garbled_on_the_way_is_sent_again(
        self, repository: S3Repository, faults: s3.Faults, source: Path
    ) -> None:
        faults.checks_checksums, faults.flip_uploads = True, 1

        with pytest.raises(BackupError, match="BadDigest") as caught:
            repository.put(KEY, source, SHA256)
        assert not isinstance(caught.value, PermanentError)

        assert repository.put(KEY, source, SHA256)

    @pytest.mark.usefixtures("pieces")
    def test_a_file_that_changed_since_is_not_stored(
        self, repository: S3Repository, faults: s3.Faults, source: Path, large: Path
    ) -> None:
        faults.checks_checksums = True
        other = hashlib.sha256(b"other").hexdigest()

        for path in (source, large):
            with pytest.raises(IntegrityError, match=f"{path} is no longer what was encrypted"):
                repository.put(KEY, path, other)
        assert repository.stat(KEY) is None

    def test_what_is_there_is_not_sent_again(self, repository: S3Repository, faults: s3.Faults, source: Path) -> None:
        repository.put(KEY, source, SHA256)
        faults.requests.clear()

        assert repository.put(KEY, source, SHA256) is False

        assert [request.split()[0] for request in faults.requests] == ["HEAD"]

    @pytest.mark.usefixtures("pieces")
    def test_a_large_object_is_not_sent_again(self, repository: S3Repository, faults: s3.Faults, large: Path) -> None:
        repository.put(KEY, large, LARGE_SHA256)
        assert faults.count("PUT") == 3
        faults.requests.clear()

        assert repository.put(KEY, large, LARGE_SHA256) is False

        assert [request.split()[0] for request in faults.requests] == ["HEAD"]


class TestDownload:
    """A connection that breaks."""

    def test_it_goes_on_where_it_broke(
        self, repository: S3Repository, faults: s3.Faults, source: Path, tmp_path: Path
    ) -> None:
        repository.put(KEY, source, SHA256)
        faults.requests.clear()
        faults.cut_bodies = [2 * MIB, 0, 100]

        repository.get(KEY, tmp_path / "target", SHA256, len(CONTENT))

        assert (tmp_path / "target").read_bytes() == CONTENT
        assert faults.count("GET") == 4

    def test_one_that_always_breaks_is_given_up(
        self, repository: S3Repository, faults: s3.Faults, source: Path, tmp_path: Path
    ) -> None:
        repository.put(KEY, source, SHA256)
        faults.cut_bodies = [0] * 20

        with pytest.raises(BackupError, match="broke off after 0 bytes") as caught:
            repository.get(KEY, tmp_path / "target", SHA256, len(CONTENT))

        assert not isinstance(caught.value, PermanentError)
        assert not list(tmp_path.glob("target*"))

    def test_cancelling_ends_it(self, repository: S3Repository, source: Path, tmp_path: Path) -> None:
        repository.put(KEY, source, SHA256)
        with pytest.raises(process.Cancelled):
            repository.get(KEY, tmp_path / "target", SHA256, len(CONTENT), lambda _: process.cancel_all())
        assert not list(tmp_path.glob("target*"))


def in_a_process(script: str, *arguments: object) -> subprocess.CompletedProcess[str]:
    """Run Python on its own: to be killed, or to be measured."""
    return subprocess.run(
        [sys.executable, "-c", script, *map(str, arguments)],
        env=os.environ
        | {"PYTHONPATH": os.pathsep.join(str(PROJECT / name) for name in ("plugins", "tests", "scripts"))},
        capture_output=True,
        text=True,
        check=False,
    )


KILLED_UPLOADER = """
import os, signal, sys
from pathlib import Path
from spoqplus_backup.core.repository import s3 as s3_module
from support import s3
endpoint, prefix, key, source, sha256 = sys.argv[1:]
s3_module.SINGLE_BYTES, s3_module.PIECE_BYTES = 6 << 20, 5 << 20
repository = s3_module.S3Repository("s3", lambda: s3.s3_client(s3.record(endpoint)), s3.BUCKET, prefix)
repository.put(key, Path(source), sha256, lambda _: os.kill(os.getpid(), signal.SIGKILL))
"""


@pytest.mark.usefixtures("pieces")
def test_a_killed_uploader_leaves_nothing_that_stays(repository: S3Repository, large: Path, moto_endpoint: str) -> None:
    killed = in_a_process(KILLED_UPLOADER, moto_endpoint, repository.prefix, KEY, large, LARGE_SHA256)
    assert killed.returncode == -9, killed.stderr
    assert repository.stat(KEY) is None
    assert uploads(moto_endpoint, repository.prefix) == [f"{repository.prefix}/{KEY}"]

    assert repository.put(KEY, large, LARGE_SHA256)

    assert uploads(moto_endpoint, repository.prefix) == []
    repository.check(KEY, len(LARGE), LARGE_SHA256, read_back=True)


MEASURED = """
import resource, sys
from pathlib import Path
from spoqplus_backup.core.repository.s3 import S3Repository
from support import s3
endpoint, source, digest = sys.argv[1], Path(sys.argv[2]), sys.argv[3]
repository = S3Repository("s3", lambda: s3.s3_client(s3.record(endpoint)), s3.BUCKET)
size = source.stat().st_size
assert repository.put("key", source, digest)
repository.check("key", size, digest)
repository.get("key", source.with_name("target"), digest, size)
print(resource.getrusage(resource.RUSAGE_SELF).ru_maxrss)
"""


def test_memory_does_not_grow_with_the_object(tmp_path: Path) -> None:
    used = []
    with s3.rclone(tmp_path / "data") as endpoint:
        for size in (MIB, 160 * MIB):
            source = tmp_path / f"{size}"
            source.touch()
            os.truncate(source, size)
            digest = hashlib.sha256(bytes(size)).hexdigest()
            measured = in_a_process(MEASURED, endpoint, source, digest)
            assert measured.returncode == 0, measured.stderr
            used.append(int(measured.stdout) / 1024)

    assert used[1] - used[0] < 30, f"{used} MiB"
