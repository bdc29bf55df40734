"""What breaks in the night while a backup is made: each stage ends complete or absent, and a retry ends in one set."""

import os
import shutil
import signal
import subprocess
import sys
import threading
from collections.abc import Callable
from pathlib import Path

import pytest

from spoqplus_backup.core import process, stages
from spoqplus_backup.core.errors import BackupError, DiskFullError, IntegrityError, PermanentError
from spoqplus_backup.core.mysql.dump import dump
from spoqplus_backup.core.mysql.sandbox import SandboxServer
from spoqplus_backup.core.part_writer import PartWriter
from spoqplus_backup.core.process import Cancelled, ProcessError
from spoqplus_backup.core.publish import publish
from spoqplus_backup.core.repository.catalog import Catalog
from spoqplus_backup.core.repository.opener import open_repositories
from support.backups import Site, make_site
from support.servers import programs, wait_until

pytestmark = pytest.mark.integration


@pytest.fixture
def server(mariadb_server: SandboxServer) -> SandboxServer:
    from support.servers import empty

    empty(mariadb_server)
    cursor = mariadb_server.connect().cursor()
    cursor.execute("CREATE DATABASE spoqplus")
    cursor.execute("CREATE TABLE spoqplus.members (id INT PRIMARY KEY, name VARCHAR(4000)) ENGINE=InnoDB")
    cursor.execute("INSERT INTO spoqplus.members SELECT seq, REPEAT(SHA2(seq, 512), 20) FROM spoqplus.seq_1_to_20000")
    return mariadb_server


@pytest.fixture
def site(server: SandboxServer, tmp_path: Path) -> Site:
    return make_site(tmp_path / "site", server)


def with_program(site_folder: Path, server: SandboxServer, name: str, script: str) -> Site:
    """A site whose client program of that name is a script; `$REAL` is the real one."""
    folder = site_folder / "bin"
    folder.mkdir(parents=True)
    real = programs(server.flavour).find(name)
    path = folder / name
    path.write_text(f'#!/bin/bash\nREAL={real}\n[ "$1" = --version ] && exec $REAL --version\n{script}\n')
    path.chmod(0o755)
    return make_site(site_folder, server, database={"client_directory": str(folder)})


def sets(site: Site) -> list[str]:
    (repository,) = open_repositories(site.settings, site.connections)
    catalog = Catalog(repository, site.settings.signing.public_key_files, site.settings.site)
    return [catalog.resolve(f"{ref.cadence}/{ref.id}").name for ref in catalog.sets()]


@pytest.mark.parametrize(
    ("script", "error", "words"),
    [
        ('$REAL "$@" | head -c 100000; exit 0', IntegrityError, "Dump completed"),
        ('$REAL "$@" | head -n -1; exit 0', IntegrityError, "Dump completed"),
        (
            '$REAL "$@" | head -c 3000000; echo "mysqldump: Error 2013: Lost connection" >&2; exit 3',
            ProcessError,
            "Lost connection",
        ),
        ("kill -KILL $$", ProcessError, "SIGKILL"),
        ('exec $REAL "$@"', None, ""),
    ],
    ids=["truncated", "last line missing", "error in the middle", "killed", "control: whole"],
)
def test_a_dump_that_is_not_whole_fails(
    script: str, error: type[Exception] | None, words: str, server: SandboxServer, tmp_path: Path
) -> None:
    site = with_program(tmp_path / "site", server, "mysqldump", script)
    run = site.start()
    if error is None:
        assert dump(run, "database", 1).detail["rows"] == 20000
        return
    with pytest.raises(error, match=words):
        dump(run, "database", 1)
    assert not (run.staging.component("database") / "component.json").exists()
    with pytest.raises(PermanentError, match=r"clear database\.dump"):
        stages.compress(run, "database")


def test_a_stalled_dump_is_ended(server: SandboxServer, tmp_path: Path) -> None:
    site = with_program(tmp_path / "site", server, "mysqldump", "echo working; exec sleep 600")
    site.settings.__dict__["database"] = site.settings.database.model_copy(update={"stall_seconds": 1})
    run = site.start()
    with pytest.raises(ProcessError, match="no byte for 1 s"):
        dump(run, "database", 1)


def test_a_missing_privilege_is_found(server: SandboxServer, site: Site) -> None:
    cursor = server.connect().cursor()
    cursor.execute("CREATE USER weak@localhost IDENTIFIED BY 'p\"w\\\\ #;'")
    cursor.execute("GRANT SELECT ON *.* TO weak@localhost")
    record = site.connections.records["spoqplus_mysql"]
    weak = record.__class__(id=record.id, type="mysql", login="weak", password='p"w\\ #;', extra=dict(record.extra))
    site.connections.records["spoqplus_mysql"] = weak
    with pytest.raises(PermanentError, match=r"lacks .*TRIGGER.*GRANT"):
        site.start()


def test_a_wrong_password_is_not_retried_and_not_shown(site: Site) -> None:
    record = site.connections.records["spoqplus_mysql"]
    wrong = record.__class__(id=record.id, type="mysql", login="nobody", password="hunter2", extra=dict(record.extra))
    site.connections.records["spoqplus_mysql"] = wrong
    with pytest.raises(PermanentError, match="nobody") as caught:
        site.start()
    assert "hunter2" not in str(caught.value) + repr(caught.value.__cause__)


def test_the_password_is_on_no_command_line_and_in_no_environment(server: SandboxServer, tmp_path: Path) -> None:
    script = 'cat /proc/$$/environ > $(dirname $0)/environ; echo "$@" > $(dirname $0)/arguments; exec $REAL "$@"'
    site = with_program(tmp_path / "site", server, "mysqldump", script)
    cursor = server.connect().cursor()
    cursor.execute("CREATE USER backup@localhost IDENTIFIED BY 'hunter2\"\\\\ #'")
    cursor.execute("GRANT ALL ON *.* TO backup@localhost")
    record = site.connections.records["spoqplus_mysql"]
    login = record.__class__(
        id=record.id, type="mysql", login="backup", password='hunter2"\\ #', extra=dict(record.extra)
    )
    site.connections.records["spoqplus_mysql"] = login
    os.environ["AIRFLOW_CONN_EXAMPLE"] = "mysql://u:hunter2@h/"
    try:
        site.back_up()
    finally:
        del os.environ["AIRFLOW_CONN_EXAMPLE"]
    seen = (tmp_path / "site/bin/environ").read_text() + (tmp_path / "site/bin/arguments").read_text()
    assert "--single-transaction" in seen
    assert "hunter2" not in seen


def test_a_killed_compress_goes_on_with_what_is_missing(site: Site, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("spoqplus_backup.core.ahead.usable_cores", lambda: 1)  # all is left to the stage
    run = site.start()
    site.settings.__dict__["database"] = site.settings.database.model_copy(update={"part_mib": 16})
    dump(run, "database", 1)
    directory = run.staging.component("database")
    raw = sorted((directory / "raw").iterdir())
    assert len(raw) > 3
    whole = {path.name: path.read_bytes() for path in raw}
    # as a kill leaves it: one part done, one half-written
    raw[-1].unlink()
    with pytest.raises(PermanentError, match=r"Clear the task database\.dump"):
        stages.compress(run, "database")
    done = sorted(path.name for path in (directory / "zst").iterdir())
    (directory / "raw" / raw[-1].name).write_bytes(whole[raw[-1].name])
    (directory / "zst" / "000001.sql.zst.partial").write_bytes(b"half")
    before = {name: (directory / "zst" / name).stat().st_mtime_ns for name in done}
    stages.compress(run, "database")
    after = {name: (directory / "zst" / name).stat().st_mtime_ns for name in done}
    assert after == before, "finished parts were left alone"
    assert not list((directory / "raw").iterdir())
    stages.encrypt(run, "database")
    stages.upload(run, "database")


def test_a_damaged_staging_file_is_found_before_it_is_published(site: Site) -> None:
    run = site.start()
    for component in ("database", "accounts"):
        site.component(run, component)
    (sealed,) = (run.staging.component("accounts") / "sealed").glob("000001*")
    content = bytearray(sealed.read_bytes())
    content[-1] ^= 1
    sealed.write_bytes(content)
    stored = Path(site.settings.repositories[0].root.removeprefix("file://")) / run.name / "accounts" / sealed.name
    stored.unlink()
    with pytest.raises(IntegrityError, match=sealed.name):
        stages.upload(run, "accounts")


def test_every_stage_may_run_again_at_any_point(site: Site) -> None:
    run = site.start()
    for component in ("accounts", "database"):
        first = dump(run, component, 1)
        assert dump(run, component, 1) == first, "a retry keeps the dump"
        for stage in (stages.compress, stages.encrypt, stages.upload):
            once = stage(run, component)
            again = stage(run, component)
            assert (again.parts, again.bytes_out) == (once.parts, once.bytes_out)
    stages.compress(run, "database")  # cleared although encryption has used its output: nothing to do
    assert stages.verify(run).parts == stages.verify(run).parts
    published = publish(run)
    assert publish(run) == published
    for stage in (stages.compress, stages.encrypt, stages.upload):
        assert stage(run, "database").detail["published"], "the whole run was cleared after it was done"
    assert dump(run, "database", 2).detail["published"]
    assert stages.verify(run).parts > 0
    assert sets(site) == [run.name]


def test_a_cleared_dump_starts_its_chain_again(server: SandboxServer, site: Site) -> None:
    run = site.start()
    site.component(run, "accounts")
    site.component(run, "database")
    server.connect().cursor().execute("DELETE FROM spoqplus.members WHERE id > 10")
    dump(run, "database", 2)
    for stage in (stages.compress, stages.encrypt, stages.upload):
        stage(run, "database")
    stages.verify(run)
    published = publish(run)
    assert {component.name: component.rows for component in published.components}["database"] == 10


def test_two_runs_of_one_second_get_sets_of_their_own(site: Site) -> None:
    from datetime import datetime, timezone

    from spoqplus_backup.core.preflight import preflight

    moment = datetime(2026, 11, 22, 18, 0, 0, tzinfo=timezone.utc)
    arguments = (site.settings, site.connections, "daily")
    ids = [preflight(*arguments, run, moment).set_id for run in ("a", "b", "a")]
    assert ids == ["20261123_030000", "20261123_030001", "20261123_030000"]


def test_a_retry_can_not_run_beside_a_task_that_is_still_alive(site: Site) -> None:
    run = site.start()
    with run.staging.locked("database"), pytest.raises(BackupError, match=f"pid {os.getpid()}"):
        dump(run, "database", 1)


def test_too_little_room_is_found_before_the_dump(
    server: SandboxServer, site: Site, monkeypatch: pytest.MonkeyPatch
) -> None:
    server.connect().cursor().execute("ANALYZE TABLE spoqplus.members")
    monkeypatch.setattr("spoqplus_backup.core.reservation.free_bytes", lambda directory: 1000)
    with pytest.raises(PermanentError, match="1000 B free but the backup may take .* MiB"):
        site.start()


def test_a_full_disk_is_named_and_not_retried(site: Site, monkeypatch: pytest.MonkeyPatch) -> None:
    class OnAFullDisk(PartWriter):
        def __init__(self, directory: Path, on_part: Callable[[Path], None] | None) -> None:
            super().__init__(directory, on_part)
            self._file = Path("/dev/full").open("wb", buffering=0)  # noqa: SIM115 (closed as any part)

    monkeypatch.setattr("spoqplus_backup.core.mysql.dump.PartWriter", OnAFullDisk)
    run = site.start()
    with pytest.raises(DiskFullError, match="No space left"):
        dump(run, "database", 1)
    assert not (run.staging.component("database") / "component.json").exists()
    monkeypatch.undo()
    assert dump(run, "database", 1).detail["rows"] == 20000, "with room made, the same task goes on"


def test_cancelling_ends_the_children(server: SandboxServer, tmp_path: Path) -> None:
    script = "echo $$ > $(dirname $0)/pid; echo; exec sleep 600"
    site = with_program(tmp_path / "site", server, "mysqldump", script)
    run = site.start()
    pid = tmp_path / "site/bin/pid"
    failures: list[BaseException] = []

    def work() -> None:
        try:
            dump(run, "database", 1)
        except BackupError as error:
            failures.append(error)

    thread = threading.Thread(target=work)
    thread.start()
    wait_until(lambda: pid.exists() and bool(pid.read_text().strip()), 20, "mysqldump to start")
    process.cancel_all()
    thread.join(20)
    assert isinstance(failures[0], Cancelled)
    with pytest.raises(ProcessLookupError):
        os.kill(int(pid.read_text()), 0)


def test_children_die_with_a_worker_that_is_killed(tmp_path: Path) -> None:
    pid = tmp_path / "pid"
    code = (
        "from spoqplus_backup.core.process import Child\n"
        f"child = Child(['bash', '-c', 'echo $$ > {pid}; exec sleep 600'])\n"
        "child.finish()\n"
    )
    worker = subprocess.Popen([sys.executable, "-c", code])
    wait_until(lambda: pid.exists() and bool(pid.read_text().strip()), 20, "the child to start")
    worker.send_signal(signal.SIGKILL)
    worker.wait()
    child = int(pid.read_text())
    wait_until(lambda: not Path(f"/proc/{child}").exists(), 10, "the child to die with its worker")


def test_a_repository_that_lost_an_object_is_found_by_verify(site: Site) -> None:
    run = site.start()
    for component in ("accounts", "database"):
        site.component(run, component)
    folder = Path(site.settings.repositories[0].root.removeprefix("file://")) / run.name / "database"
    victim = sorted(folder.iterdir())[0]
    kept = victim.read_bytes()
    victim.unlink()
    with pytest.raises(IntegrityError, match=victim.name):
        stages.verify(run)
    victim.write_bytes(kept[:-1])
    with pytest.raises(IntegrityError, match=victim.name):
        stages.verify(run)
    stages.upload(run, "database")
    stages.verify(run)
    assert sets(site) == [], "nothing is a backup before it is published"
    publish(run)
    assert sets(site) == [run.name]
    assert not run.staging.path.exists()
    shutil.rmtree(folder)
