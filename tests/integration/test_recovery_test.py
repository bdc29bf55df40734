"""The recovery test's steps on real servers: production and its restored twin are the same, row for row."""

from datetime import datetime, timezone
from pathlib import Path

import pytest

from spoqplus_backup.core.errors import BackupError
from spoqplus_backup.core.mysql import server
from spoqplus_backup.core.mysql.fingerprint import Mismatch, compare
from spoqplus_backup.core.mysql.sandbox import SandboxServer
from spoqplus_backup.core.proof import steps
from spoqplus_backup.core.recovery import restore
from spoqplus_backup.core.recovery.files.steps import restore_files
from spoqplus_backup.core.recovery.plan import RestorePlan, restore_directory
from support import writer
from support.backups import Site, database_record, make_site
from support.servers import databases, programs, run

pytestmark = pytest.mark.integration

RUN = "spoqplus_recovery_test/manual"


@pytest.fixture
def uploads(tmp_path: Path) -> Path:
    folder = tmp_path / "www" / "uploads"
    folder.mkdir(parents=True)
    (folder / "회원 사진.jpg").write_bytes(b"\xff\xd8picture")
    return folder


def fields(db_server: SandboxServer, uploads: Path, **more: object) -> dict[str, object]:
    bin_dir = programs(db_server.flavour).bin_dir
    return {
        "files": [{"name": "uploads", "paths": [str(uploads)]}],
        "restore": {"server_directory": str(bin_dir) if bin_dir else None},
        "recovery_test": {"memory_mib": 64, "fingerprint": {"load": 1}, **more},
    }


def restored(site: Site, run_id: str = RUN) -> RestorePlan:
    """Everything from the fingerprint to the last file."""
    steps.read_production(site.settings, site.connections, run_id, datetime.now(timezone.utc))
    site.archive()
    plan = steps.start_sandbox(site.settings, site.connections, run_id)
    restore.fetch(site.settings, site.connections, plan)
    restore.load_set(site.settings, site.connections, plan, 1)
    restore.roll_forward(site.settings, site.connections, plan)
    restore_files(site.settings, site.connections, plan, 1)
    steps.note_restored(site.settings, run_id)
    return plan


def mismatch(site: Site, plan: RestorePlan) -> Mismatch:
    found = steps.fingerprint(site.settings, plan.run_id)
    with steps.sandbox(site.settings, site.connections, plan) as login:
        return compare(found, steps.directory(site.settings, plan.run_id) / steps.FINGERPRINT, login, found.databases)


def leftovers(site: Site) -> list[Path]:
    staging = site.settings.staging.directory
    return [path for name in ("restore", "recovery_test") for path in (staging / name).glob("*/*/")]


def test_a_restored_server_is_production_while_others_write(
    db_server: SandboxServer, tmp_path: Path, uploads: Path
) -> None:
    writer.create(db_server.connect(), bulk_mib=1)
    site = make_site(tmp_path / "site", db_server, **fields(db_server, uploads))
    site.back_up()
    site.archive()
    with writer.Writer(db_server.connect) as writing:
        writing.wait_for(20)
        plan = restored(site)
        found = mismatch(site, plan)
        writing.wait_for(writing.transactions + 5)
    assert found.same, found
    assert found.rows > 20
    assert plan.replay is not None
    assert plan.replay.transactions > 0
    record = steps.record(site.settings, RUN)
    assert record.rto_seconds is not None
    assert record.rpo_seconds is not None
    assert record.rpo_seconds > 0, "something was written after the archive had run"
    copy = steps.directory(site.settings, RUN) / steps.FILES / str(uploads)[1:] / "회원 사진.jpg"
    assert copy.read_bytes() == b"\xff\xd8picture"

    steps.end(site.settings, site.connections, RUN)
    steps.end(site.settings, site.connections, RUN)
    assert leftovers(site) == []


def test_a_row_that_was_changed_in_the_sandbox_is_named(
    db_server: SandboxServer, tmp_path: Path, uploads: Path
) -> None:
    run(db_server, "CREATE DATABASE club", "CREATE TABLE club.members (id INT PRIMARY KEY, name VARCHAR(20))")
    run(db_server, "INSERT INTO club.members VALUES (1, 'a'), (2, 'b'), (3, 'c')")
    site = make_site(tmp_path / "site", db_server, **fields(db_server, uploads))
    site.back_up()
    run(db_server, "INSERT INTO club.members VALUES (4, 'd')")
    plan = restored(site)
    with steps.sandbox(site.settings, site.connections, plan) as login, server.connect(login) as connection:
        connection.rows("UPDATE club.members SET name = 'x' WHERE id = 2")
        connection.rows("DELETE FROM club.members WHERE id = 3")
    (table,) = mismatch(site, plan).tables
    assert (table.table, table.expected_rows, table.found_rows) == ("club.members", 4, 3)
    assert (table.changed, table.missing) == (('["2"]',), ('["3"]',))


def test_what_a_test_that_was_cut_off_left_is_removed_by_the_next(
    db_server: SandboxServer, tmp_path: Path, uploads: Path
) -> None:
    run(db_server, "CREATE DATABASE club", "CREATE TABLE club.members (id INT PRIMARY KEY)")
    site = make_site(tmp_path / "site", db_server, **fields(db_server, uploads))
    site.back_up()
    run(db_server, "INSERT INTO club.members VALUES (1)")
    plan = restored(site, "spoqplus_recovery_test/first")
    with steps.sandbox(site.settings, site.connections, plan) as login:
        assert login.socket
        pid = int((restore_directory(site.settings, plan.run_id) / "sandbox" / "server.pid").read_text())
        steps.read_production(site.settings, site.connections, RUN, datetime.now(timezone.utc))
        assert not Path(f"/proc/{pid}/fd").exists() or not list(Path(f"/proc/{pid}/fd").iterdir()), "it was ended"
    assert [path.name for path in leftovers(site)] == [steps.directory(site.settings, RUN).name]


def test_a_server_that_is_kept_for_tests_is_used_and_emptied_again(
    db_server: SandboxServer, restore_target: SandboxServer, tmp_path: Path, uploads: Path
) -> None:
    run(db_server, "CREATE DATABASE club", "CREATE TABLE club.members (id INT PRIMARY KEY)")
    run(restore_target, "CREATE DATABASE of_others")
    more = {"connection": "spoqplus_sandbox_mysql"}
    site = make_site(tmp_path / "site", db_server, **fields(db_server, uploads, **more))
    site.connections.records["spoqplus_sandbox_mysql"] = database_record("spoqplus_sandbox_mysql", restore_target)
    site.back_up()
    run(db_server, "INSERT INTO club.members VALUES (1)")
    plan = restored(site)
    assert run(restore_target, "SELECT COUNT(*) FROM club.members") == [(1,)]
    assert [table.table for table in mismatch(site, plan).tables] == []
    steps.end(site.settings, site.connections, RUN)
    assert databases(restore_target.connect()) == ["of_others"]


def test_production_is_never_the_sandbox(db_server: SandboxServer, tmp_path: Path, uploads: Path) -> None:
    run(db_server, "CREATE DATABASE club", "CREATE TABLE club.members (id INT PRIMARY KEY)")
    site = make_site(tmp_path / "site", db_server, **fields(db_server, uploads, connection="also_production"))
    site.connections.records["also_production"] = database_record("also_production", db_server)
    site.back_up()
    run(db_server, "INSERT INTO club.members VALUES (1)")
    with pytest.raises(BackupError, match="also_production leads to the production server"):
        restored(site)
    assert run(db_server, "SELECT COUNT(*) FROM club.members") == [(1,)]
