"""What breaks in the night while a backup is restored: it is refused before the first statement, or goes on."""

import shutil
from collections.abc import Callable
from pathlib import Path

import pytest

from spoqplus_backup.core.errors import IntegrityError, PermanentError, SettingsError, WrongKeyError
from spoqplus_backup.core.mysql.sandbox import SandboxServer
from spoqplus_backup.core.process import ProcessError
from spoqplus_backup.core.recovery import restore as recovery
from spoqplus_backup.core.recovery.plan import RestorePlan
from support.backups import PRODUCTION, TEST, Site, database_record, make_site
from support.keys import age_pair, signing_pair
from support.servers import databases, empty, rows

pytestmark = pytest.mark.integration

SELECTIONS = [
    {"name": "critical", "tables": ["spoqplus.member_faces", "spoqplus.logs"]},
    {"name": "active", "tables": ["spoqplus.member_faces"], "where": "is_active=1"},
]


@pytest.fixture
def production(mariadb_server: SandboxServer) -> SandboxServer:
    empty(mariadb_server)
    cursor = mariadb_server.connect().cursor()
    for statement in (
        "CREATE DATABASE spoqplus",
        "CREATE TABLE spoqplus.members (id INT PRIMARY KEY, name VARCHAR(4000))",
        "INSERT INTO spoqplus.members SELECT seq, REPEAT(SHA2(seq, 512), 20) FROM spoqplus.seq_1_to_10000",
        "CREATE TABLE spoqplus.member_faces (id INT PRIMARY KEY, is_active INT)",
        "INSERT INTO spoqplus.member_faces SELECT seq, seq % 2 FROM spoqplus.seq_1_to_100",
        "CREATE TABLE spoqplus.logs (id INT)",
        "CREATE TRIGGER spoqplus.count_up BEFORE INSERT ON spoqplus.members FOR EACH ROW SET NEW.name = 'trigger'",
        "CREATE VIEW spoqplus.active AS SELECT * FROM spoqplus.member_faces WHERE is_active",
        "CREATE DATABASE other",
        "CREATE TABLE other.t (id INT)",
    ):
        cursor.execute(statement)
    return mariadb_server


@pytest.fixture
def target(mariadb_target: SandboxServer) -> SandboxServer:
    empty(mariadb_target)
    return mariadb_target


@pytest.fixture
def site(production: SandboxServer, target: SandboxServer, tmp_path: Path) -> Site:
    site = make_site(tmp_path / "site", production, target, components=SELECTIONS)
    site.back_up()
    return site


def set_folder(site: Site) -> Path:
    (folder,) = (Path(site.settings.repositories[0].root.removeprefix("file://")) / "daily").iterdir()
    return folder


def run_restore(site: Site, plan: RestorePlan, generation: int = 1) -> None:
    recovery.fetch(site.settings, site.connections, plan)
    recovery.load_set(site.settings, site.connections, plan, generation)
    recovery.verify_restored(site.settings, site.connections, plan)


def content(server: SandboxServer, table: str) -> list[tuple[object, ...]]:
    return rows(server.connect(), f"SELECT * FROM {table} ORDER BY 1")


def flip(path: Path) -> None:
    data = bytearray(path.read_bytes())
    data[len(data) // 2] ^= 1
    path.unlink()  # it may be a link to the staged file
    path.write_bytes(data)


def truncate(path: Path) -> None:
    data = path.read_bytes()
    path.unlink()
    path.write_bytes(data[:-1])


@pytest.mark.parametrize("damage", [flip, truncate, Path.unlink], ids=["flipped byte", "truncated", "missing"])
@pytest.mark.parametrize("name", ["000001.sql.zst.age", "index.json.zst.age"])
def test_a_damaged_object_is_refused_before_the_first_statement(
    damage: Callable[[Path], None], name: str, site: Site, target: SandboxServer
) -> None:
    damage(set_folder(site) / "database" / name)
    with pytest.raises(IntegrityError, match=f"database/{name}"):
        site.restore()
    assert databases(target.connect()) == []


@pytest.mark.parametrize("name", ["manifest.json", "manifest.json.sig"])
@pytest.mark.parametrize("damage", [flip, truncate, Path.unlink], ids=["flipped byte", "truncated", "missing"])
def test_a_damaged_manifest_is_refused(damage: Callable[[Path], None], name: str, site: Site) -> None:
    damage(set_folder(site) / name)
    with pytest.raises(PermanentError, match=r"manifest\.json|no backup"):
        site.restore()


def test_a_forged_manifest_is_refused(site: Site, tmp_path: Path) -> None:
    from spoqplus_backup.core.crypto import sign

    manifest = set_folder(site) / "manifest.json"
    forged = manifest.read_bytes().replace(b'"rows": 100', b'"rows": 999')
    manifest.write_bytes(forged)
    (set_folder(site) / "manifest.json.sig").write_bytes(sign(forged, signing_pair(tmp_path, "stranger").private))
    with pytest.raises(IntegrityError, match=r"manifest\.json"):
        site.restore()


def test_a_wrong_key_is_refused_before_the_first_statement(site: Site, target: SandboxServer, tmp_path: Path) -> None:
    stranger = age_pair(tmp_path, "stranger").identity_file
    shutil.copy(stranger, site.settings.encryption.identity_files[0])
    with pytest.raises(WrongKeyError, match=r"\.age"):
        site.restore()
    assert databases(target.connect()) == []


def test_a_key_that_is_changed_between_plan_and_load_is_refused(
    site: Site, target: SandboxServer, tmp_path: Path
) -> None:
    plan = site.plan()
    shutil.copy(age_pair(tmp_path, "stranger").identity_file, site.settings.encryption.identity_files[0])
    with pytest.raises(WrongKeyError):
        run_restore(site, plan)
    assert databases(target.connect()) == []


def test_test_never_reaches_production(site: Site, production: SandboxServer) -> None:
    site.connections.records[TEST] = database_record(TEST, production)
    with pytest.raises(PermanentError, match=f"{TEST} leads to the production server"):
        site.plan()
    # the same server by another way
    record = database_record(TEST, production)
    by_port = record.__class__(id=TEST, type="mysql", host="127.0.0.1", port=production.port, login="root", password="")
    site.connections.records[TEST] = by_port
    with pytest.raises(PermanentError, match=f"{TEST} leads to the production server"):
        site.plan()


def test_one_table_comes_back_and_nothing_else_is_touched(site: Site, target: SandboxServer) -> None:
    site.restore()
    cursor = target.connect().cursor()
    cursor.execute("DROP TABLE spoqplus.member_faces")
    cursor.execute("DELETE FROM spoqplus.members WHERE id > 5")
    plan = site.restore(tables=["spoqplus.member_faces"])
    assert len(content(target, "spoqplus.member_faces")) == 100
    assert len(content(target, "spoqplus.members")) == 5
    assert plan.rows == 100


def test_tables_into_another_schema(site: Site, target: SandboxServer, production: SandboxServer) -> None:
    site.restore()
    site.restore(tables=["spoqplus.members", "spoqplus.member_faces"], into_schema="어제")
    assert content(target, "`어제`.members") == content(production, "spoqplus.members"), "no trigger fired"
    assert rows(target.connect(), "SHOW TRIGGERS FROM `어제`") == []
    assert len(rows(target.connect(), "SHOW TABLES FROM `어제`")) == 2


def test_a_component_of_some_tables_comes_back(site: Site, target: SandboxServer) -> None:
    site.restore(components=["active"])
    assert len(content(target, "spoqplus.member_faces")) == 50
    site.restore(components=["critical"])
    assert len(content(target, "spoqplus.member_faces")) == 100
    assert databases(target.connect()) == ["spoqplus"]


def test_an_interrupted_load_goes_on_without_what_is_there(
    site: Site, target: SandboxServer, monkeypatch: pytest.MonkeyPatch
) -> None:
    plan = site.plan()
    recovery.fetch(site.settings, site.connections, plan)
    original = recovery.load
    from spoqplus_backup.core.mysql import load as module

    real = module._Loader.in_order
    calls = 0

    def fails_behind_the_rows(self: module._Loader, segments: object) -> None:
        nonlocal calls
        calls += 1
        if calls == 2:
            raise ProcessError("mysql", "was killed by signal SIGKILL", "")
        real(self, segments)  # type: ignore[arg-type]

    monkeypatch.setattr(module._Loader, "in_order", fails_behind_the_rows)
    with pytest.raises(ProcessError):
        recovery.load_set(site.settings, site.connections, plan, 1)
    monkeypatch.undo()
    assert original is recovery.load
    target.connect().cursor().execute("UPDATE spoqplus.members SET name = 'kept' WHERE id = 1")
    recovery.load_set(site.settings, site.connections, plan, 2)  # cleared while it had failed: it goes on
    recovery.verify_restored(site.settings, site.connections, plan)
    assert content(target, "spoqplus.members WHERE id = 1") == [(1, "kept")], "a loaded table is not loaded again"
    assert len(rows(target.connect(), "SHOW TRIGGERS FROM spoqplus")) == 1


def test_a_finished_load_is_loaded_again_only_when_it_was_cleared(site: Site, target: SandboxServer) -> None:
    plan = site.plan()
    recovery.fetch(site.settings, site.connections, plan)
    recovery.load_set(site.settings, site.connections, plan, 1)
    cursor = target.connect().cursor()
    cursor.execute("UPDATE spoqplus.members SET name = 'garbled' WHERE id = 1")
    recovery.load_set(site.settings, site.connections, plan, 1)
    assert content(target, "spoqplus.members WHERE id = 1") == [(1, "garbled")]
    recovery.load_set(site.settings, site.connections, plan, 2)
    assert content(target, "spoqplus.members WHERE id = 1") != [(1, "garbled")]
    recovery.verify_restored(site.settings, site.connections, plan)


def test_a_lost_row_is_found_afterwards(site: Site, target: SandboxServer) -> None:
    plan = site.plan()
    recovery.fetch(site.settings, site.connections, plan)
    recovery.load_set(site.settings, site.connections, plan, 1)
    cursor = target.connect().cursor()
    cursor.execute("DELETE FROM spoqplus.members WHERE id = 7")
    with pytest.raises(IntegrityError, match=r"spoqplus\.members has 9999 rows, the backup has 10000"):
        recovery.verify_restored(site.settings, site.connections, plan)
    cursor.execute("DROP VIEW spoqplus.active")
    with pytest.raises(IntegrityError, match=r"the view spoqplus\.active is missing"):
        recovery.verify_restored(site.settings, site.connections, plan)


def test_production_is_saved_before_it_is_overwritten(site: Site, production: SandboxServer) -> None:
    from datetime import datetime, timezone

    from spoqplus_backup.core.publish import publish
    from spoqplus_backup.core.run import BackupRun
    from spoqplus_backup.core.stages import verify

    cursor = production.connect().cursor()
    cursor.execute("UPDATE spoqplus.member_faces SET is_active = 9")
    plan = site.plan(environment="production", tables=["spoqplus.member_faces"])
    assert plan.overwrites == (("spoqplus", "member_faces"),)
    report = recovery.safety_preflight(site.settings, site.connections, plan, "r/1", datetime.now(timezone.utc))
    assert report is not None
    run = BackupRun(site.settings, site.connections, "safety", report.set_id, "r/1")
    site.component(run, "database")
    verify(run)
    safety = publish(run)
    run_restore(site, plan)
    assert content(production, "spoqplus.member_faces WHERE is_active = 9") == []
    assert len(content(production, "spoqplus.members")) == 10000
    # and back again
    run_restore(site, site.plan(environment="production", backup=safety.set))
    assert len(content(production, "spoqplus.member_faces WHERE is_active = 9")) == 100


def test_nothing_to_save_when_nothing_is_overwritten(site: Site, production: SandboxServer) -> None:
    from datetime import datetime, timezone

    production.connect().cursor().execute("DROP TABLE spoqplus.member_faces")
    plan = site.plan(environment="production", tables=["spoqplus.member_faces"])
    assert recovery.safety_preflight(site.settings, site.connections, plan, "r/1", datetime.now(timezone.utc)) is None


@pytest.mark.parametrize(
    ("params", "words"),
    [
        ({"environment": "staging"}, "environment"),
        ({"components": ["nothing"]}, "components has nothing"),
        ({"components": []}, "components is empty"),
        ({"components": ["database", "critical"]}, "choose one of them"),
        ({"tables": ["members"]}, "write database.table"),
        ({"repository": "tape"}, "tape"),
        ({"into_schema": "mysql"}, "server's own"),
        ({"colour": "red"}, "no such parameter"),
        ({"backup": "yesterday"}, "names no backup"),
        ({"backup": "20010101"}, "There is no backup 20010101"),
        ({"tables": ["spoqplus.nothing"]}, "no table spoqplus.nothing"),
        ({"into_schema": "copy"}, "into_schema takes one database"),
    ],
)
def test_a_request_that_makes_no_sense_is_refused(params: dict[str, object], words: str, site: Site) -> None:
    with pytest.raises((SettingsError, PermanentError), match=words):
        site.plan(**params)


def test_the_other_vendors_server_is_refused(site: Site, mysql_server: SandboxServer) -> None:
    site.connections.records[TEST] = database_record(TEST, mysql_server)
    with pytest.raises(PermanentError, match="is of mariadb but the target is mysql"):
        site.plan()
    site.connections.records[PRODUCTION] = database_record(PRODUCTION, mysql_server)
    with pytest.raises(PermanentError, match="the server is mysql: install MySQL|is a mariadb program"):
        site.start()
