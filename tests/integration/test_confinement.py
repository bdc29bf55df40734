"""What processes with keys and data leave behind: files for one user, no core dumps, memory that nobody else reads."""

import os
import resource
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest

from spoqplus_backup.core import confine
from spoqplus_backup.core.mysql.sandbox import SandboxServer
from spoqplus_backup.core.process import Child
from spoqplus_backup.operators import base
from support.backups import Site, make_site
from support.nobody import as_nobody
from support.servers import PROJECT, empty, rows

pytestmark = pytest.mark.integration


def confined(pid: int) -> tuple[str, list[str]]:
    """A running process's umask and its limits of core files, as the kernel tells them."""
    (umask,) = (line.split()[1] for line in Path(f"/proc/{pid}/status").read_text().splitlines() if "Umask" in line)
    (core,) = (line for line in Path(f"/proc/{pid}/limits").read_text().splitlines() if "core file" in line)
    return umask, core.split()[4:6]


def open_files(*tops: Path) -> list[str]:
    """What others than its owner may read, write or enter."""
    found = [path for top in tops for path in (top, *top.rglob("*")) if not path.is_symlink()]
    assert len(found) > len(tops)
    return [f"{path} {path.stat().st_mode:o}" for path in found if path.stat().st_mode & 0o077]


@pytest.fixture
def site(mariadb_server: SandboxServer, mariadb_target: SandboxServer, tmp_path: Path) -> Iterator[Site]:
    for server in (mariadb_server, mariadb_target):
        empty(server)
    rows(mariadb_server.connect(), "CREATE DATABASE spoqplus")
    rows(mariadb_server.connect(), "CREATE TABLE spoqplus.members (id INT PRIMARY KEY)")
    rows(mariadb_server.connect(), "INSERT INTO spoqplus.members VALUES (1)")
    uploads = tmp_path / "uploads"
    uploads.mkdir()
    (uploads / "open").write_text("for everybody")
    files = [{"name": "uploads", "paths": [str(uploads)]}]
    made = make_site(tmp_path / "site", mariadb_server, mariadb_target, files=files)
    with pytest.MonkeyPatch.context() as environment:
        made.export(environment)
        yield made


def test_a_backup_and_a_restore_leave_files_for_their_user_alone(site: Site) -> None:
    confine.confine()
    staging, repository = site.settings.staging.directory, Path(site.settings.repositories[0].root[7:])
    run = site.start()
    for component in run.staging.components():
        site.component(run, component)
    assert open_files(staging, repository) == []
    site.back_up()
    site.archive()
    site.restore(components=["database"])
    assert list(staging.glob("restore/**/*")), "what was fetched and decrypted is still there"
    assert open_files(staging, repository) == []


def test_a_command_and_what_it_starts(site: Site) -> None:
    site.back_up()
    command = [sys.executable, "-m", "spoqplus_backup.cli", "restore", "--environment", "production"]
    environment = os.environ | {"PYTHONPATH": str(PROJECT / "plugins")}
    pipe = subprocess.PIPE
    with subprocess.Popen(command, env=environment, stdin=pipe, stdout=pipe, text=True) as waiting:
        assert waiting.stdout is not None
        said = ""
        while not said.endswith("to go on: "):  # the question has no end of a line
            said += (letter := waiting.stdout.read(1))
            assert letter, said
        assert confined(waiting.pid) == ("0077", ["0", "0"])
        waiting.communicate("no\n")

    confine.confine()
    with Child(["sleep", "60"]) as child:  # as age, mysqldump and all others are started
        assert confined(child.pid) == ("0077", ["0", "0"])


def test_a_task_is_confined_before_it_works(site: Site, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(base, "site", lambda _: site.settings)
    task = base.SiteOperator(task_id="look", site="spoqplus")
    seen = task.guarded({}, lambda *_: (os.umask(0o077), resource.getrlimit(resource.RLIMIT_CORE)))  # type: ignore[typeddict-item]
    assert seen == (0o077, (0, 0))
    assert not confine.is_dumpable()


def test_another_process_of_the_same_user_can_not_read_the_memory() -> None:
    """But a program that Terraform needs its keys from may, for as long as it runs."""

    def looks() -> str:
        memory = f"/proc/{os.getpid()}/environ"
        done = subprocess.run(["head", "-c", "1", memory], capture_output=True, check=False)
        return "refused" if done.returncode else "read"

    def work() -> str:
        confine.set_dumpable(True)
        seen = [looks()]
        confine.confine()
        seen.append(looks())
        with confine.open_to_children():
            seen.append(looks())
        return " ".join([*seen, looks()])

    assert as_nobody(work) == "read refused read refused"
