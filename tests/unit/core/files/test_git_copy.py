"""The configuration as commits, by the real git: what gets to the remote, and what never does."""

import os
import subprocess
from collections.abc import Callable
from datetime import datetime, timezone
from pathlib import Path
from typing import Any

import pytest

from spoqplus_backup.core.connections import ConnectionRecord
from spoqplus_backup.core.errors import BackupError, PermanentError, SettingsError
from spoqplus_backup.core.files.git_copy import copy_to_git
from spoqplus_backup.core.run import StageSummary
from spoqplus_backup.core.settings import Settings, load_settings
from support.connections import FixedConnections
from support.git_server import Served, serve
from support.site_file import write_site

KEY = "-----BEGIN OPENSSH PRIVATE KEY-----\nb3BlbnNzaC1rZXk\n-----END OPENSSH PRIVATE KEY-----\n"
FIRST = datetime(2025, 1, 1, 18, 30, tzinfo=timezone.utc)  # the second of January in Seoul
NEXT = datetime(2025, 1, 2, 18, 0, tzinfo=timezone.utc)
MakeSite = Callable[..., Settings]


def git(remote: Path, *arguments: str) -> str:
    command = ["git", "--git-dir", str(remote), *arguments]
    return subprocess.run(command, check=True, capture_output=True, text=True).stdout.strip()


@pytest.fixture
def remote(tmp_path: Path) -> Path:
    bare = tmp_path / "remote.git"
    subprocess.run(["git", "init", "--quiet", "--bare", bare], check=True)
    return bare


@pytest.fixture
def config(tmp_path: Path) -> Path:
    """A site's configuration, with secrets in it."""
    folder = tmp_path / "html"
    (folder / "app" / "Config" / "secrets").mkdir(parents=True)
    (folder / ".env").write_text("DB_PASSWORD=hunter2\n")
    (folder / "app" / "Config" / "App.php").write_text("<?php\r\n// 설정\r\n")
    (folder / "app" / "Config" / ".gitignore").write_text("Routes.php\n")
    (folder / "app" / "Config" / ".gitattributes").write_text("* text eol=lf\n")
    (folder / "app" / "Config" / "Routes.php").write_text("<?php // routes")
    (folder / "app" / "Config" / "tls.KEY").write_text("hunter2")
    (folder / "app" / "Config" / "db-password.txt").write_text("hunter2")
    (folder / "app" / "Config" / "secrets" / "token").write_text("hunter2")
    (folder / "app" / "Config" / ".git").mkdir()
    (folder / "app" / "Config" / ".git" / "config").write_text("hunter2")
    (folder / "app" / "Config" / "run.sh").write_text("#!/bin/sh")
    (folder / "app" / "Config" / "run.sh").chmod(0o755)
    (folder / "app" / "Config" / "current").symlink_to("App.php")
    return folder


@pytest.fixture
def site(tmp_path: Path, remote: Path, config: Path) -> MakeSite:
    def make(**fields: Any) -> Settings:
        paths = [str(config / ".env"), str(config / "app" / "Config")]
        return load_settings(write_site(tmp_path / "site", config_git={"remote": str(remote), "paths": paths} | fields))

    return make


def copied(settings: Settings, now: datetime = FIRST, *records: ConnectionRecord) -> StageSummary:
    return copy_to_git(settings, FixedConnections(*records), now)


def test_the_configuration_becomes_a_branch_of_its_day(site: MakeSite, remote: Path, config: Path) -> None:
    summary = copied(site())

    assert summary.detail["branch"] == "backup-20250102"
    assert git(remote, "for-each-ref", "--format=%(refname)") == "refs/heads/backup-20250102"
    assert git(remote, "log", "--format=%s|%an|%ae|%aI", "backup-20250102") == (
        "Backup configuration 2025-01-02|SPOQ Plus backup|backup@spoqplus.com|2025-01-02T03:30:00+09:00"
    )
    names = git(remote, "ls-tree", "-r", "--name-only", "backup-20250102").splitlines()
    below = f"{str(config)[1:]}/app/Config"
    assert names == [
        f"{below}/{name}" for name in (".gitattributes", ".gitignore", "App.php", "Routes.php", "current", "run.sh")
    ]
    assert summary.parts == 6


def test_files_are_committed_to_the_byte(site: MakeSite, remote: Path, config: Path) -> None:
    copied(site())
    below = f"backup-20250102:{str(config)[1:]}/app/Config"
    show = ["git", "--git-dir", str(remote), "show", f"{below}/App.php"]
    assert subprocess.run(show, check=True, capture_output=True).stdout == "<?php\r\n// 설정\r\n".encode()
    modes = git(
        remote, "ls-tree", "-r", "--format=%(objectmode)", "backup-20250102", f"{str(config)[1:]}/app/Config/run.sh"
    )
    assert modes == "100755"


def test_no_secret_gets_into_the_remote(site: MakeSite, remote: Path) -> None:
    assert copied(site()).detail["excluded"] == 4
    objects = git(remote, "cat-file", "--batch-check=%(objectname) %(objecttype)", "--batch-all-objects")
    for name, kind in (line.split() for line in objects.splitlines()):
        assert kind != "blob" or "hunter2" not in git(remote, "cat-file", "blob", name)


def test_nothing_is_committed_when_nothing_changed(site: MakeSite, remote: Path) -> None:
    copied(site())
    again = copied(site(), NEXT)
    assert (again.detail["branch"], again.detail["before"]) == (None, "backup-20250102")
    assert git(remote, "for-each-ref", "--format=%(refname:short)") == "backup-20250102"


def test_a_change_goes_on_from_the_last_backup_s_branch(site: MakeSite, remote: Path, config: Path) -> None:
    first = copied(site()).detail["commit"]
    (config / "app" / "Config" / "Routes.php").unlink()
    (config / "app" / "Config" / "App.php").write_text("<?php // new")

    assert copied(site(), NEXT).detail["branch"] == "backup-20250103"

    assert git(remote, "rev-parse", "backup-20250103~1") == first
    changes = git(remote, "diff", "--name-status", "backup-20250102", "backup-20250103").splitlines()
    assert [change.split("/")[0][0] + change.rpartition("/")[2] for change in changes] == ["MApp.php", "DRoutes.php"]


def test_a_second_change_of_a_day_goes_onto_the_same_branch(site: MakeSite, remote: Path, config: Path) -> None:
    copied(site())
    (config / "app" / "Config" / "App.php").write_text("<?php // new")
    copied(site())
    assert git(remote, "rev-list", "--count", "backup-20250102") == "2"


def test_other_branches_of_the_remote_are_left_alone(site: MakeSite, remote: Path, tmp_path: Path) -> None:
    empty_tree = git(remote, "hash-object", "-t", "tree", "-w", os.devnull)
    env = os.environ | {
        "GIT_AUTHOR_NAME": "a",
        "GIT_AUTHOR_EMAIL": "a@b",
        "GIT_COMMITTER_NAME": "a",
        "GIT_COMMITTER_EMAIL": "a@b",
    }
    made = subprocess.run(
        ["git", "--git-dir", remote, "commit-tree", empty_tree, "-m", "theirs"],
        env=env,
        check=True,
        capture_output=True,
        text=True,
    ).stdout.strip()
    for name in ("main", "backup-99999999-notes"):
        git(remote, "update-ref", f"refs/heads/{name}", made)
    assert copied(site()).detail["before"] is None
    assert git(remote, "rev-parse", "main") == made


@pytest.mark.parametrize("content", [KEY, "AGE-SECRET-KEY-1QQQQQQQQQQQQQQQQQQQQQQQQ", "x" * ((1 << 20) - 10) + KEY])
def test_a_private_key_under_a_harmless_name_stops_everything(
    site: MakeSite, remote: Path, config: Path, content: str
) -> None:
    (config / "app" / "Config" / "notes.txt").write_text(content)
    with pytest.raises(PermanentError, match=r"notes\.txt holds a private key.*Nothing was committed"):
        copied(site())
    assert git(remote, "for-each-ref") == ""


def test_a_remote_that_is_down_is_no_reason_to_stop_trying(site: MakeSite, tmp_path: Path) -> None:
    settings = site(remote=str(tmp_path / "not there.git"))
    with pytest.raises(BackupError, match="can't be used") as caught:
        copied(settings)
    assert not isinstance(caught.value, PermanentError)


def test_a_remote_that_refuses_says_so(site: MakeSite, remote: Path) -> None:
    hook = remote / "hooks" / "pre-receive"
    hook.write_text("#!/bin/sh\necho 'this repository is read only' >&2\nexit 1\n")
    hook.chmod(0o755)
    with pytest.raises(BackupError, match=r"remote\.git can't be used.*this repository is read only") as caught:
        copied(site())
    assert not isinstance(caught.value, PermanentError)
    assert git(remote, "for-each-ref") == ""
    hook.unlink()
    assert copied(site()).detail["branch"] == "backup-20250102"


@pytest.mark.parametrize("now", [FIRST, NEXT], ids=["the same day", "the next day"])
def test_what_is_excluded_later_leaves_the_history_behind(
    site: MakeSite, remote: Path, config: Path, now: datetime
) -> None:
    (config / "app" / "Config" / "license.txt").write_text("s3cret")
    assert copied(site()).detail["exposed"] is False

    done = copied(site(exclude=[".env", "*.key", "*secret*", "*password*", "license.*"]), now)

    assert done.detail["exposed"] is True
    branch = str(done.detail["branch"])
    names = git(remote, "log", "--format=", "--name-only", branch).splitlines()
    assert names
    assert not [name for name in names if "license" in name]
    assert git(remote, "rev-list", "--count", branch) == "1"
    again = copied(site(exclude=[".env", "*.key", "*secret*", "*password*", "license.*"]), now)
    assert (again.detail["branch"], again.detail["exposed"]) == (None, False)


def test_nothing_is_left_on_the_staging_disk(site: MakeSite, config: Path) -> None:
    settings = site()
    copied(settings)
    (config / "app" / "Config" / "notes.txt").write_text(KEY)
    with pytest.raises(PermanentError):
        copied(settings)
    assert not (settings.staging.directory / "spoqplus" / "config_git").exists()


def test_paths_that_are_not_there_are_left_out_but_nothing_at_all_is_an_error(
    site: MakeSite, config: Path, tmp_path: Path
) -> None:
    here = str(config / "app" / "Config")
    assert copied(site(paths=[here, str(tmp_path / "nginx")])).parts == 6
    with pytest.raises(PermanentError, match="There is nothing to commit"):
        copied(site(paths=[str(tmp_path / "nginx")]))


def test_a_password_in_the_remote_s_address_is_refused(site: MakeSite) -> None:
    with pytest.raises(SettingsError, match="holds a user or password") as caught:
        site(remote="https://user:hunter2@git.example.com/config.git")
    assert "hunter2" not in str(caught.value)


def test_the_settings_of_the_machine_s_git_have_no_say(
    site: MakeSite, remote: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    hooks = tmp_path / "home" / "hooks"
    hooks.mkdir(parents=True)
    (hooks / "pre-push").write_text("#!/bin/sh\nexit 1\n")
    (hooks / "pre-push").chmod(0o755)
    (tmp_path / "home" / ".gitconfig").write_text(f"[core]\n hooksPath = {hooks}\n[commit]\n gpgSign = true\n")
    monkeypatch.setenv("HOME", str(tmp_path / "home"))
    assert copied(site()).detail["branch"] == "backup-20250102"


@pytest.fixture
def server(remote: Path) -> Any:
    with serve(remote.parent, user="backup", password="p@ss:word") as served:
        yield served


def test_a_login_over_http_comes_from_the_connection_alone(
    site: MakeSite, remote: Path, server: Served, tmp_path: Path
) -> None:
    login = ConnectionRecord(id="spoqplus_git", login="backup", password="p@ss:word")
    settings = site(remote=f"{server.url}/remote.git", connection="spoqplus_git")
    assert copied(settings, FIRST, login).detail["branch"] == "backup-20250102"
    assert git(remote, "for-each-ref", "--format=%(refname:short)") == "backup-20250102"
    assert copied(settings, NEXT, login).detail["branch"] is None


def test_a_wrong_login_is_not_asked_for_again(site: MakeSite, server: Served) -> None:
    settings = site(remote=f"{server.url}/remote.git", connection="spoqplus_git", timeout_seconds=20)
    with pytest.raises(BackupError, match="can't be used") as caught:
        copied(settings, FIRST, ConnectionRecord(id="spoqplus_git", login="backup", password="hunter2"))
    assert "hunter2" not in str(caught.value)


def test_no_password_is_on_a_command_line_or_in_the_environment(
    site: MakeSite, server: Served, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    seen = tmp_path / "seen"
    (tmp_path / "bin").mkdir()
    program = tmp_path / "bin" / "git"
    real = subprocess.run(["which", "git"], check=True, capture_output=True, text=True).stdout.strip()
    program.write_text(f'#!/bin/bash\n{{ printf "%s\\n" "$@"; env; }} >> {seen}\nexec {real} "$@"\n')
    program.chmod(0o755)
    monkeypatch.setenv("PATH", f"{tmp_path}/bin:{os.environ['PATH']}")
    settings = site(remote=f"{server.url}/remote.git", connection="spoqplus_git")
    copied(settings, FIRST, ConnectionRecord(id="spoqplus_git", login="backup", password="p@ss:word"))
    assert "push" in seen.read_text()
    assert "p@ss" not in seen.read_text()


def test_ssh_gets_the_configured_key_and_never_asks(
    site: MakeSite, remote: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (tmp_path / "bin").mkdir()
    ssh = tmp_path / "bin" / "ssh"
    ssh.write_text(f'#!/bin/bash\nprintf "%s\\n" "$*" >> {tmp_path}/called\neval "${{@: -1}}"\n')
    ssh.chmod(0o755)
    monkeypatch.setenv("PATH", f"{tmp_path}/bin:{os.environ['PATH']}")
    settings = site(
        remote=f"ssh://git@host.example{remote}", ssh_key_file="deploy key", known_hosts_file="/etc/known_hosts"
    )
    assert copied(settings).detail["branch"] == "backup-20250102"
    called = (tmp_path / "called").read_text()
    assert f"-i {tmp_path}/site/deploy key -o IdentitiesOnly=yes" in called
    assert "BatchMode=yes" in called
    assert "StrictHostKeyChecking=yes" in called
