"""The recovery test's steps on real servers: production and its restored twin are the same, row for row."""

import shutil
from datetime import date, datetime, timezone
from pathlib import Path

import pytest
from PIL import Image

from spoqplus_backup.core.errors import BackupError, PermanentError
from spoqplus_backup.core.mysql import sandbox, server
from spoqplus_backup.core.mysql.fingerprint import Mismatch, compare
from spoqplus_backup.core.mysql.sandbox import DataDirectory, SandboxServer, ServerPrograms
from spoqplus_backup.core.proof import results, sets, steps
from spoqplus_backup.core.proof.definitions import check_names
from spoqplus_backup.core.proof.mask import mask
from spoqplus_backup.core.proof.model import CheckResult, Proof
from spoqplus_backup.core.recovery import restore
from spoqplus_backup.core.recovery.files.steps import restore_files
from spoqplus_backup.core.recovery.plan import RestorePlan, restore_directory
from spoqplus_backup.core.settings import RepositorySettings
from support import hard_data, writer
from support.backups import Site, database_record, make_site
from support.proofs import proof_of
from support.servers import copy_template, databases, empty, login, programs, run

pytestmark = pytest.mark.integration

RUN = "spoqplus_recovery_test/manual"


@pytest.fixture(autouse=True)
def quickly_initialised(monkeypatch: pytest.MonkeyPatch) -> None:
    """A sandbox begins on a copy, too; how one is initialised is proved in test_sandbox.py and by the e2e tests."""

    def copy(_: Path, vendor: ServerPrograms, host: DataDirectory) -> None:
        if not host.path.exists():
            copy_template(vendor.flavour, host.path)

    monkeypatch.setattr(sandbox, "_initialise", copy)


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
    if plan.replay is not None:
        restore.roll_forward(site.settings, site.connections, plan)
    restore_files(site.settings, site.connections, plan, 1)
    steps.note_restored(site.settings, run_id)
    return plan


def whole(site: Site) -> Proof:
    """A whole test, as its tasks do it: what fails ends the restore, never the report."""
    failure, stages = None, {}
    try:
        plan = restored(site)
        stages = {"load": {"seconds": 1.0, "bytes_in": 1}}
        for check in check_names(site.settings):
            results.perform(site.settings, site.connections, plan.run_id, check.name)
    except BackupError as error:
        failure = str(error)
    return results.conclude(site.settings, RUN, stages, failure)


def said(proof: Proof) -> str:
    """What a report says of what is wrong."""
    words = [item.words for check in proof.checks if check.verdict == "failed" for item in check.evidence]
    return " ".join([proof.failure or "", *words])


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

    for _ in range(2):
        steps.end(site.settings, site.connections, RUN)
        assert leftovers(site) == [steps.directory(site.settings, RUN)], "what was found is kept for the report"
        assert not copy.exists()
    steps.remove(site.settings, RUN)
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


def test_on_another_host_the_loss_is_told_by_the_repositories(
    db_server: SandboxServer, tmp_path: Path, uploads: Path
) -> None:
    run(db_server, *CLUB)
    site = make_site(tmp_path / "site", db_server, **fields(db_server, uploads))
    site.back_up()
    run(db_server, "UPDATE club.members SET name = 'x'")
    site.archive()
    shutil.rmtree(site.settings.staging.directory / "spoqplus" / "binlog")
    steps.read_production(site.settings, site.connections, RUN, datetime.now(timezone.utc))
    lost = steps.record(site.settings, RUN).rpo_seconds
    assert lost is not None
    assert 0 <= lost < 600


def test_without_an_archived_log_nobody_can_tell_the_loss(
    db_server: SandboxServer, tmp_path: Path, uploads: Path
) -> None:
    run(db_server, *CLUB)
    site = make_site(tmp_path / "site", db_server, **fields(db_server, uploads))
    site.back_up()
    steps.read_production(site.settings, site.connections, RUN, datetime.now(timezone.utc))
    assert steps.record(site.settings, RUN).rpo_seconds is None


def test_production_is_never_the_sandbox(db_server: SandboxServer, tmp_path: Path, uploads: Path) -> None:
    run(db_server, "CREATE DATABASE club", "CREATE TABLE club.members (id INT PRIMARY KEY)")
    site = make_site(tmp_path / "site", db_server, **fields(db_server, uploads, connection="also_production"))
    site.connections.records["also_production"] = database_record("also_production", db_server)
    site.back_up()
    run(db_server, "INSERT INTO club.members VALUES (1)")
    with pytest.raises(BackupError, match="also_production leads to the production server"):
        restored(site)
    assert run(db_server, "SELECT COUNT(*) FROM club.members") == [(1,)]


CLUB = (
    "CREATE DATABASE club",
    "CREATE TABLE club.members (id INT PRIMARY KEY, name VARCHAR(20))",
    "INSERT INTO club.members VALUES (1, 'a'), (2, 'b'), (3, 'c')",
)


@pytest.fixture
def club(mariadb_server: SandboxServer, tmp_path: Path, uploads: Path) -> Site:
    """A site whose newest backup is followed by archived logs, with one check of its own."""
    empty(mariadb_server)
    run(mariadb_server, *CLUB)
    folder = tmp_path / "checks"
    folder.mkdir()
    (folder / "club.yaml").write_text(
        "checks: [{name: members, title: {ko: 회원, en: Members}, sql: SELECT COUNT(*) FROM club.members, expect: 3}]"
    )
    Image.new("RGB", (8, 8)).save(uploads / "picture.png")
    more = fields(mariadb_server, uploads, faces=None, checks=[str(folder)])
    site = make_site(tmp_path / "site", mariadb_server, **more)
    site.back_up()
    run(mariadb_server, "UPDATE club.members SET name = 'x' WHERE id = 1")
    site.archive()
    return site


def stored(site: Site, pattern: str) -> Path:
    """A file of the repository."""
    (found,) = Path(site.settings.repositories[0].root.removeprefix("file://")).glob(pattern)
    return found


def test_what_is_as_it_should_be_passes(club: Site) -> None:
    proof = whole(club)
    assert (proof.verdict, said(proof)) == ("passed", "")
    assert {check.name: check.verdict for check in proof.checks} == dict.fromkeys(
        ("records", "integrity", "uploads", "keys", "members"), "passed"
    )
    assert proof.rto_seconds is not None
    assert proof.ten_times_seconds == pytest.approx(proof.rto_seconds + 9.0)
    assert (proof.tables, proof.rows, proof.files) == (1, 3, 2)


def test_a_server_that_nobody_wrote_to_since_its_backup(
    db_server: SandboxServer, tmp_path: Path, uploads: Path
) -> None:
    run(db_server, *CLUB)
    site = make_site(tmp_path / "site", db_server, **fields(db_server, uploads))
    site.archive()
    site.back_up()
    plan = restored(site)
    assert plan.replay is None
    assert mismatch(site, plan).same


def test_accounts_and_their_rights_are_compared(club: Site, mariadb_server: SandboxServer) -> None:
    run(mariadb_server, "SET sql_log_bin = 0", "CREATE USER coach@'%'", "GRANT SELECT ON club.* TO coach@'%'")
    proof = whole(club)
    assert proof.verdict == "failed"
    assert "account 'coach'@'%'" in said(proof)


def test_hard_accounts_come_back_as_they_were(db_server: SandboxServer, tmp_path: Path, uploads: Path) -> None:
    hard_data.build(db_server, small_tables=2, big_row_mib=1)
    site = make_site(tmp_path / "site", db_server, **fields(db_server, uploads))
    site.back_up()
    run(db_server, "CREATE USER late@'%' IDENTIFIED BY 'secret'", "GRANT SELECT ON *.* TO late@'%'")
    plan = restored(site)
    found = results.perform(site.settings, site.connections, plan.run_id, "records")
    assert [item.words for item in found.evidence if found.verdict != "passed"] == []


def test_a_loss_that_is_greater_than_promised(club: Site) -> None:
    hurried = club.settings.objectives.model_copy(update={"rpo_hours": 0.0000001})
    club.settings = club.settings.model_copy(update={"objectives": hurried})
    proof = whole(club)
    assert (proof.verdict, proof.little_lost) == ("failed", False)


def test_masking_changes_every_value_and_keeps_what_belongs_together(db_server: SandboxServer) -> None:
    run(
        db_server,
        "CREATE DATABASE club",
        "CREATE TABLE club.members (id INT PRIMARY KEY, name VARCHAR(20), phone CHAR(13) UNIQUE, born DATE, "
        "fee DECIMAL(9,2), photo BLOB, doc JSON)",
        "INSERT INTO club.members VALUES (1, '김하나', '010-1234-5678', '1990-05-06', 30.5, 0x00FF, '{}'), "
        "(2, '김하나', '010-9999-0000', NULL, 40, NULL, '{}'), (3, NULL, NULL, '1991-01-01', 1, 0x01, '{}')",
    )
    columns = tuple(f"club.members.{name}" for name in ("name", "phone", "born", "fee", "photo"))
    assert mask(login(db_server), columns) == 2 + 2 + 2 + 3 + 2
    first, second, third = run(db_server, "SELECT name, phone, born, fee, photo FROM club.members ORDER BY id")
    assert first[0] == second[0] != "김하나"
    assert first[1] != second[1]
    assert (first[2], second[2]) == (date(2000, 1, 1), None)
    assert {first[3], second[3], third[3]} == {0}
    assert first[4] not in (b"\x00\xff", None)
    assert (third[0], third[1], second[4]) == (None, None, None)
    with pytest.raises(PermanentError, match=r"no column club\.members\.nobody to mask: correct `recovery_test\.mask`"):
        mask(login(db_server), ("club.members.nobody",))
    if db_server.flavour == "mysql":
        with pytest.raises(PermanentError, match=r"club\.members\.doc is of the type json, which can't be masked"):
            mask(login(db_server), ("club.members.doc",))


@pytest.fixture
def two_regions(club: Site, mariadb_server: SandboxServer, tmp_path: Path) -> Site:
    """The club with two monthly sets and a replica that has the newer one."""
    club.back_up("monthly")
    newest = club.back_up("monthly").set
    replica = RepositorySettings(name="dr", root=f"file://{tmp_path}/dr", role="replica")
    club.settings = club.settings.model_copy(update={"repositories": (*club.settings.repositories, replica)})
    source = Path(club.settings.repositories[0].root.removeprefix("file://"))
    shutil.copytree(source / newest, tmp_path / "dr" / newest)
    return club


def test_the_oldest_monthly_set_and_one_of_the_other_region_are_restored(two_regions: Site) -> None:
    site = two_regions
    due = sets.due(site.settings, site.connections, [])
    oldest, newest = sorted(path.name for path in stored(site, "monthly").iterdir())
    assert due == {"oldest_monthly": ("local", f"monthly/{oldest}"), "replica": ("dr", f"monthly/{newest}")}
    for name, (repository, backup) in due.items():
        found = sets.prove_set(site.settings, site.connections, RUN, name, repository, backup)
        assert (found.verdict, found.evidence[0].values["rows"]) == ("passed", "3"), found
        assert backup in found.evidence[0].words
    assert leftovers(site) == []


def test_a_set_of_the_other_region_that_is_damaged(two_regions: Site, tmp_path: Path) -> None:
    site = two_regions
    (part,) = (tmp_path / "dr").glob("monthly/*/database/000001.sql.zst.age")
    part.write_bytes(part.read_bytes()[:-1])
    repository, backup = sets.due(site.settings, site.connections, [])["replica"]
    found = sets.prove_set(site.settings, site.connections, RUN, "replica", repository, backup)
    assert found.verdict == "failed"
    assert f"{backup} of dr can't be restored" in found.evidence[0].words
    assert "database/000001.sql.zst.age" in found.evidence[0].words
    assert leftovers(site) == []


def test_the_oldest_one_is_restored_now_and_then(two_regions: Site) -> None:
    site = two_regions
    made = CheckResult(
        name="oldest_monthly",
        title={},
        verdict="passed",
        evidence=(),
        seconds=1,
        finished_at=datetime.now(timezone.utc),
    )
    without, having = proof_of(), proof_of(checks=(made,))
    for past, is_due in (
        ([], True),
        ([without, without], True),
        ([having, without], False),
        ([without, having], False),
    ):
        assert ("oldest_monthly" in sets.due(site.settings, site.connections, past)) is is_due
    assert "oldest_monthly" in sets.due(site.settings, site.connections, [without, without, having])
