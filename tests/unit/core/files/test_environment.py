"""The environment: which variables are kept, encrypted by the real age and gpg, and never readable on the disk."""

import os
import re
import shutil
import subprocess
import sys
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest

from spoqplus_backup.core import stages
from spoqplus_backup.core.component import read_record
from spoqplus_backup.core.errors import BackupError, IntegrityError, PermanentError, SettingsError, WrongKeyError
from spoqplus_backup.core.files import environment
from spoqplus_backup.core.files.environment import collect, export_environment, read_file, read_process
from spoqplus_backup.core.gpg import GpgScheme
from spoqplus_backup.core.run import BackupRun
from spoqplus_backup.core.settings import Settings, check_settings, load_settings
from support.connections import FixedConnections
from support.keys import GpgPair, gpg_pair
from support.servers import wait_until
from support.site_file import write_site

SECRET = "s3cret-p@ss #1"
ENV = f"""# the site's own
APP_NAME="SPOQ Plus"
DB_PASSWORD={SECRET}
export AWS_SECRET_ACCESS_KEY = 'abc=def'
APP_KEY="line one
line two"
MAIL_PASSWORD=not asked for
CDB_HOST=not at the beginning
DB_PASSWORD_OLD=
"""
MakeSite = Callable[..., Settings]


@pytest.fixture
def site(tmp_path: Path) -> MakeSite:
    (tmp_path / "html").mkdir()
    (tmp_path / "html" / ".env").write_text(ENV)

    def make(**fields: Any) -> Settings:
        chosen = {"files": [str(tmp_path / "html" / ".env")]} | fields
        return load_settings(write_site(tmp_path / "site", environment=chosen))

    return make


@pytest.fixture(scope="module")
def gpg(tmp_path_factory: pytest.TempPathFactory) -> Iterator[GpgPair]:
    with gpg_pair(tmp_path_factory.mktemp("gpg"), "backup@spoqplus.com") as pair:
        yield pair


def begin(settings: Settings) -> BackupRun:
    run = BackupRun(settings, FixedConnections(), "daily", "20250101_030000", "test/1")
    assert run.staging.claim(run.run_id, ["environment"])
    return run


def finish(run: BackupRun) -> Path:
    """The component's whole chain; where its objects lie in the repository."""
    export_environment(run, 1)
    for stage in (stages.compress, stages.encrypt, stages.upload):
        stage(run, "environment")
    stages.verify(run)
    return run.settings.staging.directory.parent / "repository" / run.name / "environment"


def unzipped(content: bytes) -> str:
    return subprocess.run(["zstd", "-dc"], input=content, check=True, capture_output=True).stdout.decode()


def by_age(path: Path, settings: Settings) -> str:
    command = ["age", "-d", "-i", settings.encryption.identity_files[0], path]
    return unzipped(subprocess.run(command, check=True, capture_output=True).stdout)


def by_gpg(path: Path, home: Path) -> str:
    command = ["gpg", "--homedir", home, "--batch", "--quiet", "-d", path]
    return unzipped(subprocess.run(command, check=True, capture_output=True).stdout)


class TestWhatIsKept:
    def test_variables_with_the_prefixes_as_they_stand_in_the_file(self, site: MakeSite, tmp_path: Path) -> None:
        settings = site()
        content = by_age(finish(begin(settings)) / "000001.env.zst.age", settings)
        assert content == (
            f"# {tmp_path}/html/.env\n"
            'APP_KEY="line one\nline two"\n'
            'APP_NAME="SPOQ Plus"\n'
            "AWS_SECRET_ACCESS_KEY='abc=def'\n"
            f"DB_PASSWORD={SECRET}\n"
            "DB_PASSWORD_OLD=\n"
        )

    def test_the_worker_s_own_environment_is_not_taken(self, site: MakeSite, monkeypatch: pytest.MonkeyPatch) -> None:
        monkeypatch.setenv("AWS_WORKER_SECRET", "mine")
        assert [name for _, found in collect(site()) for name in found if name == "AWS_WORKER_SECRET"] == []

    @pytest.fixture
    def service(self) -> Iterator[subprocess.Popen[bytes]]:
        env = {"DB_HOST": "db.example", "APP_MOTD": 'two\n"lines"', "DB_PASSWORD": SECRET, "OTHER": "x"}
        process = subprocess.Popen([sys.executable, "-c", "input()"], env=env, stdin=subprocess.PIPE)
        wait_until(lambda: b"DB_HOST" in Path(f"/proc/{process.pid}/environ").read_bytes(), 10, "the service")
        yield process
        process.communicate(b"\n")

    def test_a_process_is_found_by_its_file(
        self, site: MakeSite, service: subprocess.Popen[bytes], tmp_path: Path
    ) -> None:
        (tmp_path / "service.pid").write_text(f"{service.pid}\n")
        settings = site(pid_file=str(tmp_path / "service.pid"))
        content = by_age(finish(begin(settings)) / "000001.env.zst.age", settings)
        own = content.partition(f"# the process of {tmp_path}/service.pid\n")[2]
        assert own == 'APP_MOTD="two\\n\\"lines\\""\nDB_HOST=db.example\n'  # the password is said above already
        assert collect(site(process_file=f"/proc/{service.pid}/environ"))[1][1]["DB_HOST"] == "db.example"

    def test_a_process_is_found_by_its_unit(
        self, site: MakeSite, service: subprocess.Popen[bytes], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        (tmp_path / "bin").mkdir()
        systemctl = tmp_path / "bin" / "systemctl"
        systemctl.write_text(
            f'#!/bin/sh\ntest "$*" = "show --property=MainPID --value -- php.service" && echo {service.pid}'
        )
        systemctl.chmod(0o755)
        monkeypatch.setenv("PATH", f"{tmp_path}/bin:{os.environ['PATH']}")
        assert collect(site(systemd_unit="php.service"))[1][1]["DB_HOST"] == "db.example"
        with pytest.raises(BackupError, match=r"main process of the unit other.service can't be told"):
            collect(site(systemd_unit="other.service"))

    @pytest.mark.parametrize("content", ["", "0", "nonsense", "-1"])
    def test_a_service_that_does_not_run_is_named(self, site: MakeSite, tmp_path: Path, content: str) -> None:
        (tmp_path / "service.pid").write_text(content)
        with pytest.raises(PermanentError, match=r"no process in .*service\.pid"):
            collect(site(pid_file=str(tmp_path / "service.pid")))

    def test_a_file_that_can_t_be_read_is_named(self, site: MakeSite, tmp_path: Path) -> None:
        with pytest.raises(PermanentError, match=r"nothing/\.env can't be read \(No such file"):
            collect(site(files=[str(tmp_path / "nothing" / ".env")]))

    def test_no_variable_at_all_is_an_error(self, site: MakeSite) -> None:
        with pytest.raises(PermanentError, match=r"No variable in .* begins with NOTHING_"):
            export_environment(begin(site(prefixes=["NOTHING_"])), 1)

    def test_two_ways_to_name_a_process_are_one_too_many(self, site: MakeSite) -> None:
        with pytest.raises(SettingsError, match=r"pid_file and systemd_unit are set"):
            site(pid_file="a", systemd_unit="b.service")
        with pytest.raises(SettingsError, match=r"process_file and pid_file are set"):
            site(pid_file="a", process_file="b")


def test_what_is_no_assignment_is_left_out() -> None:
    assert read_file("A=1\nnot one\n  # B=2\n9C=3\nD =  x y \nA=4\n") == {"A": "4", "D": "x y"}
    assert read_process("A=1\0B\0=C\0D=x=y\0BASH_FUNC_x%%=() {\0") == {"A": "1", "D": "x=y"}


@pytest.mark.parametrize(
    ("content", "found"),
    [
        ("A=a=b==\n", {"A": "a=b=="}),
        ("export A=1\n  export  B = 2 \n", {"A": "1", "B": "2"}),
        ("A='한글 이름' # 설명\n#A=old\n  # B=2\n", {"A": "'한글 이름' # 설명"}),
        (
            'A="one\ntwo # no comment\n\nB=in the value"\nC=3\n',
            {"A": '"one\ntwo # no comment\n\nB=in the value"', "C": "3"},
        ),
        ('A="a \\"quoted\\" word"\nB=1\n', {"A": '"a \\"quoted\\" word"', "B": "1"}),
        ("A='one\ntwo'\nB=\n", {"A": "'one\ntwo'", "B": ""}),
        ('A="never closed\nB=1\n', {"A": '"never closed', "B": "1"}),
        ("A=it's\nB=1\n", {"A": "it's", "B": "1"}),
        ('\ufeffA="dos\r\nlines"\r\nB=2\r\n', {"A": '"dos\nlines"', "B": "2"}),
        ("A=one\u2028line\x85\x0c\nB=1", {"A": "one\u2028line", "B": "1"}),
        ("database.default.hostname = db\n", {"database.default.hostname": "db"}),
    ],
)
def test_forms_of_assignments(content: str, found: dict[str, str]) -> None:
    assert read_file(content) == found


@pytest.mark.parametrize("program", ["age", "gpg"])
def test_no_value_is_ever_on_the_disk_readable(
    site: MakeSite, gpg: GpgPair, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, program: str
) -> None:
    """The program that encrypts looks for it, at the moment when it would be there."""
    fields = {"gpg_recipient": gpg.recipient, "gpg_public_key_file": str(gpg.public)} if program == "gpg" else {}
    settings = site(**fields)
    (tmp_path / "tmp").mkdir()
    (tmp_path / "bin").mkdir()
    looking = tmp_path / "bin" / program
    looking.write_text(
        f"#!/bin/bash\necho looked >> {tmp_path}/looked\n"
        f'grep -rqF "{SECRET}" {settings.staging.directory} {tmp_path}/tmp && exit 99\n'
        f'exec {shutil.which(program)} "$@"\n'
    )
    looking.chmod(0o755)
    monkeypatch.setenv("PATH", f"{tmp_path}/bin:{os.environ['PATH']}")
    monkeypatch.setattr("tempfile.tempdir", str(tmp_path / "tmp"))
    finish(begin(settings))
    assert (tmp_path / "looked").read_text()


class TestGpg:
    def test_the_owner_of_the_key_opens_it_with_gpg(self, site: MakeSite, gpg: GpgPair) -> None:
        settings = site(gpg_recipient=gpg.recipient, gpg_public_key_file=str(gpg.public))
        run = begin(settings)
        folder = finish(run)
        assert f"DB_PASSWORD={SECRET}\n" in by_gpg(folder / "000001.env.zst.gpg", gpg.home)
        assert "DB_PASSWORD" in by_gpg(folder / "index.jsonl.zst.gpg", gpg.home)
        record = read_record(run.staging.component("environment"))
        assert record is not None
        assert (record.scheme, record.content, record.kind) == ("gpg", "environment", "files")

    def test_a_restore_opens_it_with_the_private_key_s_file(self, gpg: GpgPair, tmp_path: Path) -> None:
        (tmp_path / "plain").write_bytes(os.urandom(100_000))
        scheme = GpgScheme(gpg.recipient, gpg.public, gpg.private)
        scheme.encrypt(tmp_path / "plain", tmp_path / "sealed")
        scheme.check_can_open(tmp_path / "sealed")
        with scheme.decrypting(tmp_path / "sealed") as plaintext:
            assert plaintext.readall() == (tmp_path / "plain").read_bytes()

    def test_no_key_a_wrong_key_and_damage_are_told_apart(self, gpg: GpgPair, tmp_path: Path) -> None:
        (tmp_path / "plain").write_bytes(b"plain" * 1000)
        scheme = GpgScheme(gpg.recipient, gpg.public, gpg.private)
        scheme.encrypt(tmp_path / "plain", tmp_path / "sealed")

        with pytest.raises(WrongKeyError, match=r"gpg_private_key_file"):
            GpgScheme(gpg.recipient, gpg.public).check_can_open(tmp_path / "sealed")
        with (
            gpg_pair(tmp_path / "other", "other@spoqplus.com") as other,
            pytest.raises(WrongKeyError, match="does not open"),
        ):
            GpgScheme(gpg.recipient, gpg.public, other.private).check_can_open(tmp_path / "sealed")
        with pytest.raises(PermanentError, match="can't be used as a key"):
            GpgScheme(gpg.recipient, gpg.public, tmp_path / "plain").check_can_open(tmp_path / "sealed")
        content = bytearray((tmp_path / "sealed").read_bytes())
        content[-30] ^= 1
        (tmp_path / "damaged").write_bytes(content)
        with (
            pytest.raises(IntegrityError, match="damaged or cut off"),
            scheme.decrypting(tmp_path / "damaged") as reader,
        ):
            reader.readall()

    def test_a_key_of_somebody_else_is_refused(self, gpg: GpgPair) -> None:
        with pytest.raises(PermanentError, match=r"holds no key of nobody@spoqplus\.com"):
            GpgScheme("nobody@spoqplus.com", gpg.public).check_recipient()

    @pytest.mark.parametrize(
        ("made", "words"),
        [
            (("future-default", "default", "2020-06-01"), "has expired"),
            (("ed25519", "sign", "never"), "can't encrypt"),
        ],
    )
    def test_a_key_that_can_t_be_encrypted_to_is_refused_before_anything_is_written(
        self, site: MakeSite, tmp_path: Path, made: tuple[str, ...], words: str
    ) -> None:
        with gpg_pair(tmp_path / "bad", "backup@spoqplus.com", *made) as pair:
            settings = site(gpg_recipient=pair.recipient, gpg_public_key_file=str(pair.public))
            problems = check_settings(settings, FixedConnections(), components=["environment"])
            (problem,) = (found for found in problems if "`environment" in found)
            with pytest.raises(PermanentError, match=words) as caught:
                export_environment(begin(settings), 1)
        assert f"The key of backup@spoqplus.com in {pair.public} {words}: have its owner" in problem
        assert "gpg --export backup@spoqplus.com" in str(caught.value)

    def test_no_agent_and_no_keyring_stay_behind(
        self, gpg: GpgPair, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        monkeypatch.setattr("tempfile.tempdir", str(tmp_path))
        (tmp_path / "plain").write_bytes(b"plain")
        scheme = GpgScheme(gpg.recipient, gpg.public, gpg.private)
        scheme.encrypt(tmp_path / "plain", tmp_path / "sealed")
        scheme.check_can_open(tmp_path / "sealed")
        assert [path.name for path in tmp_path.iterdir() if path.name.startswith("gpg-")] == []

        def gone() -> bool:
            agents = [line for line in command_lines() if b"gpg-agent" in line]
            return not any(str(tmp_path).encode() in line for line in agents)

        wait_until(gone, 20, "the end of gpg's agent")

    def test_the_file_goes_with_the_recipient(self, site: MakeSite) -> None:
        with pytest.raises(SettingsError, match=r"gpg_public_key_file` and gpg_recipient go together"):
            site(gpg_recipient="backup@spoqplus.com")


def command_lines() -> list[bytes]:
    found = []
    for path in Path("/proc").glob("[0-9]*/cmdline"):
        try:
            found.append(path.read_bytes())
        except OSError:  # it has ended
            continue
    return found


def test_a_second_try_of_a_finished_export_reads_nothing(site: MakeSite, tmp_path: Path) -> None:
    run = begin(site())
    export_environment(run, 1)
    (tmp_path / "html" / ".env").unlink()
    assert export_environment(run, 1).parts == 1
    with pytest.raises(PermanentError, match=re.escape(".env can't be read")):
        environment.export_environment(run, 2)
