"""The archive of binary logs against real servers: what goes on, what is a gap, and what the recovery point says."""

import hashlib
import json
import shutil
import subprocess
import threading
from collections.abc import Iterator
from datetime import datetime, timedelta, timezone
from pathlib import Path
from typing import Any

import pytest

from spoqplus_backup.core.archive.area import Area
from spoqplus_backup.core.archive.gaps import claim_gap, claimed_gap, note_break
from spoqplus_backup.core.archive.summary import ArchiveSummary
from spoqplus_backup.core.crypto import scheme_for
from spoqplus_backup.core.errors import BackupError, IntegrityError, PermanentError
from spoqplus_backup.core.manifest import BinlogSegment, Gap
from spoqplus_backup.core.repository.binlogs import BinlogCatalog, Timeline
from spoqplus_backup.core.repository.opener import open_repositories
from spoqplus_backup.core.sealed import unsealed
from support.backups import Site, make_site
from support.production import ProductionServer, production
from support.servers import wait_until

pytestmark = pytest.mark.integration

FIRST, SECOND = "000001", "000002"


@pytest.fixture(scope="module", params=["mariadb", "mysql"])
def running(request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory) -> Iterator[ProductionServer]:
    yield from production(tmp_path_factory.mktemp(request.param), request.param)


@pytest.fixture
def db(running: ProductionServer) -> ProductionServer:
    running.renew()
    return running


@pytest.fixture
def site(db: ProductionServer, tmp_path: Path) -> Site:
    return make_site(tmp_path / "site", db.server)


@pytest.fixture
def two(db: ProductionServer, tmp_path: Path) -> Site:
    roots = [{"name": name, "root": f"file://{tmp_path}/site/{name}"} for name in ("near", "far")]
    return make_site(tmp_path / "site", db.server, repositories=roots)


def catalogs(site: Site) -> list[BinlogCatalog]:
    keys = site.settings.signing.public_key_files
    return [BinlogCatalog(item, keys, "spoqplus") for item in open_repositories(site.settings, site.connections)]


def archived(site: Site, repository: int = 0) -> dict[str, list[str]]:
    """The numbers of the logs in each timeline of server 1."""
    catalog = catalogs(site)[repository]
    return {
        timeline.name: [name.rpartition(".")[2].lstrip("0") for name in catalog.names(timeline)]
        for timeline in catalog.timelines()
    }


def segment(site: Site, number: int, timeline: str = FIRST, server: int = 1) -> BinlogSegment:
    return catalogs(site)[0].load(Timeline(server, timeline), f"binlog.{number:06d}")


def content(site: Site, sidecar: BinlogSegment, target: Path) -> bytes:
    """The raw log, out of a repository."""
    part = sidecar.log
    path = target / part.name
    catalogs(site)[0].repository.get(f"{sidecar.folder}/{part.name}", path, part.sha256, part.stored_bytes)
    with unsealed(path, scheme_for(site.settings, site.connections)) as stream:
        return b"".join(iter(lambda: stream.read(1 << 20), b""))


def gap_of(site: Site) -> Gap | None:
    """The gap that the archive names now, if it does."""
    return site.archive().gap


def complete_until(summary: ArchiveSummary) -> datetime:
    assert summary.recovery_point is not None
    assert summary.recovery_point.complete_until is not None
    return summary.recovery_point.complete_until


def complete_until_or_none(summary: ArchiveSummary) -> datetime | None:
    assert summary.recovery_point is not None
    return summary.recovery_point.complete_until


def test_a_log_is_archived_to_the_byte_with_its_sidecar_and_index(
    db: ProductionServer, site: Site, tmp_path: Path
) -> None:
    db.write(3)
    result = site.archive()
    assert archived(site) == {FIRST: ["1"]}
    sidecar = segment(site, 1)
    raw = content(site, sidecar, tmp_path)
    assert raw == (db.server.datadir / "binlog.000001").read_bytes()
    assert hashlib.sha256(raw).hexdigest() == sidecar.log.raw_sha256
    assert (sidecar.transactions, sidecar.closed, sidecar.previous, sidecar.gap) == (3, "rotate", None, None)
    assert sidecar.gtids_before == ""
    assert sidecar.gtids_after in ("0-1-3", f"{sidecar.server.uuid}:1-3")
    assert sidecar.last_at == (result.recovery_point and result.recovery_point.last_event_at)
    assert not Area(site.settings).staged()
    index = json.loads(content(site, sidecar.model_copy(update={"log": sidecar.index}), tmp_path))
    assert index["tables"] == [["ledger", "entries", {"insert": 3}]]


def test_a_quiet_server_costs_nothing_and_its_recovery_point_goes_on(db: ProductionServer, site: Site) -> None:
    db.write()
    first = site.archive()
    logs = db.logs()
    second = site.archive()
    assert (db.logs(), archived(site)) == (logs, {FIRST: ["1"]}), "nothing new: no rotation, no file"
    assert complete_until(second) > complete_until(first)
    assert second.recovery_point is not None
    assert first.recovery_point is not None
    assert second.recovery_point.last_event_at == first.recovery_point.last_event_at
    assert second.recovery_point.seconds is not None
    assert second.recovery_point.seconds < 5


def test_statements_that_are_no_text_are_archived_like_others(db: ProductionServer, site: Site) -> None:
    connection = db.server.connect()
    connection.query(b"CREATE TABLE ledger.bytes (b BLOB) COMMENT '\xed\x95\x9c'")
    connection.query(b"INSERT INTO ledger.bytes VALUES (_binary '\x9f\xff\x00')")
    connection.query(b"CREATE VIEW ledger.seen AS SELECT _binary '\x9f\xff' AS b")
    connection.close()
    site.archive()
    assert archived(site) == {FIRST: ["1"]}
    assert segment(site, 1).transactions >= 3


def test_a_server_that_never_wrote_anything_has_nothing_to_lose(db: ProductionServer, site: Site) -> None:
    result = site.archive()
    assert archived(site) == {}
    assert result.gap is None
    assert datetime.now(timezone.utc) - complete_until(result) < timedelta(seconds=5)


def test_logs_follow_each_other_over_rotations_restarts_and_crashes(db: ProductionServer, site: Site) -> None:
    db.write()
    site.archive()
    db.write()
    db.flush()
    db.flush()  # one without a transaction between them
    db.restart()
    db.write(2)
    assert gap_of(site) is None
    db.restart(kill=True)
    db.write()
    db.restart(kill=True)
    assert gap_of(site) is None
    db.write()
    assert gap_of(site) is None
    (numbers,) = archived(site).values()
    assert numbers == [str(number) for number in range(1, len(numbers) + 1)]
    chain = [segment(site, int(number)) for number in numbers]
    for before, after in zip(chain, chain[1:], strict=False):
        assert after.gtids_before == before.gtids_after
        digest = hashlib.sha256(before.to_json()).hexdigest()
        assert after.previous is not None
        assert (after.previous.id, after.previous.sha256) == (before.name, digest)
    assert {"rotate", "stop", "crash"} >= {item.closed for item in chain} >= {"rotate", "crash"}
    assert sum(item.transactions for item in chain) == 6


def test_a_reset_opens_a_timeline_and_names_the_gap(db: ProductionServer, site: Site) -> None:
    db.write()
    before = site.archive()
    db.write()
    db.reset()
    result = site.archive()
    assert result.gap is not None
    assert (result.gap.reason, result.gap.after) == ("reset", "binlog.000001")
    assert before.recovery_point is not None
    assert result.gap.lost_from == before.recovery_point.last_event_at
    assert complete_until(result) == complete_until(before), "nothing behind a gap can be restored before a full backup"
    db.write()
    again = site.archive()
    assert again.gap == result.gap, "nobody asked for a full backup yet"
    assert archived(site) == {FIRST: ["1"], SECOND: ["1"]}
    first = segment(site, 1, SECOND)
    assert first.gap is not None
    assert (first.gap.reason, first.gap.lost_until) == ("reset", first.first_at)
    elsewhere = site.settings.staging.directory.rename(site.settings.staging.directory.with_name("elsewhere"))
    assert complete_until_or_none(site.archive()) is None, "another host knows of the gap by the first sidecar"
    shutil.rmtree(site.settings.staging.directory)
    elsewhere.rename(site.settings.staging.directory)
    assert claim_gap(site.settings, "run-1") is not None
    assert claim_gap(site.settings, "run-2") is None, "asked for once"
    assert claim_gap(site.settings, "run-1") is not None, "a retry of the one that asked"
    assert claimed_gap(site.settings, "run-2") is None
    assert gap_of(site) is None
    site.back_up()
    mended = site.archive()
    assert complete_until(mended) > complete_until(before)


def test_a_reset_is_seen_though_the_new_log_has_the_same_name_and_size(db: ProductionServer, site: Site) -> None:
    db.write()
    site.archive()
    begun = segment(site, 1).created_at + timedelta(seconds=1)
    wait_until(
        lambda: datetime.now(timezone.utc) > begun, 3, "another second, which is all that a log's beginning tells"
    )
    db.reset()
    db.write()
    db.flush()
    assert db.run("SHOW BINARY LOGS")[0][1] == segment(site, 1).log.raw_bytes, "what this test is about"
    gap = gap_of(site)
    assert gap is not None
    assert gap.reason == "reset"
    assert "was begun at" in gap.words


def test_purged_logs_are_a_gap_only_if_they_were_not_archived(db: ProductionServer, site: Site) -> None:
    db.write()
    site.archive()
    db.write()
    site.archive()
    db.purge_to(db.logs()[-1])
    db.write()
    assert gap_of(site) is None
    for _ in range(2):
        db.write()
        db.flush()
    db.purge_to(db.logs()[-1])
    db.write()
    gap = gap_of(site)
    assert gap is not None
    assert (gap.reason, gap.after) == ("purged", "binlog.000003")
    assert archived(site) == {FIRST: ["1", "2", "3"], SECOND: ["6"]}


def test_another_server_id_is_a_gap(db: ProductionServer, site: Site) -> None:
    db.write()
    site.archive()
    db.restart(**{"server-id": "7"})
    db.write()
    gap = gap_of(site)
    assert gap is not None
    assert gap.reason == "server"
    assert [(item.server_id, item.name) for item in catalogs(site)[0].timelines()] == [(1, FIRST), (7, FIRST)]
    db.restart()


def test_another_uuid_is_a_gap(db: ProductionServer, site: Site) -> None:
    db.write()
    site.archive()
    db.server.stop()
    (db.server.datadir / "auto.cnf").unlink(missing_ok=True)
    db.restart()
    db.write()
    gap = gap_of(site)
    if db.flavour == "mariadb":  # its servers have none
        assert gap is None
        return
    assert gap is not None
    assert (gap.reason, gap.after) == ("server", "binlog.000001")
    assert archived(site)[FIRST] == ["1"], "what was archived is not archived again"
    assert archived(site)[SECOND][0] == "2"


def test_logs_that_follow_by_number_but_not_by_gtid_are_a_gap(db: ProductionServer, site: Site) -> None:
    db.write()
    site.archive()
    db.reset()
    db.write(2)
    db.flush()
    db.write()
    db.flush()
    db.purge_to("binlog.000002")  # what was archived is gone, and the next number is there
    result = site.archive("rotate", "list_logs")
    assert result.gap is None
    fetched = site.archive("fetch")
    assert fetched.gap is not None
    assert (fetched.gap.reason, fetched.gap.after) == ("history", "binlog.000001")
    assert site.archive("fetch", "compress", "encrypt", "upload", "verify").gap == fetched.gap
    assert archived(site) == {FIRST: ["1"], SECOND: ["2"]}
    db.write()
    site.archive()
    assert archived(site) == {FIRST: ["1"], SECOND: ["2", "3"]}


def test_changes_that_are_in_no_log_end_the_timeline_where_they_are_noted(db: ProductionServer, site: Site) -> None:
    db.write()
    site.archive()
    db.write()
    db.run("SET sql_log_bin = 0", "DELETE FROM ledger.entries")
    note_break(site.settings, site.connections, "Production was restored from daily/20250101_030000.")
    db.write()
    gap = gap_of(site)
    assert gap is not None
    assert (gap.reason, gap.words) == ("history", "Production was restored from daily/20250101_030000.")
    assert archived(site) == {FIRST: ["1", "2"], SECOND: ["3"]}
    db.write()
    site.archive()
    assert archived(site) == {FIRST: ["1", "2"], SECOND: ["3", "4"]}


def test_a_timeline_is_found_again_by_a_new_backup_host(db: ProductionServer, site: Site, tmp_path: Path) -> None:
    db.write()
    site.archive()
    shutil.rmtree(site.settings.staging.directory)
    db.write()
    result = site.archive()
    assert result.gap is None
    assert archived(site) == {FIRST: ["1", "2"]}
    shutil.rmtree(site.settings.staging.directory)
    quiet = site.archive()
    assert quiet.recovery_point is not None
    assert quiet.recovery_point.last_event_at == segment(site, 2).last_at


def test_every_stage_may_run_again_at_any_point(db: ProductionServer, two: Site) -> None:
    db.write()
    db.flush()
    db.write()
    for stage in ("rotate", "list_logs", "fetch", "compress", "encrypt", "upload", "verify"):
        two.archive(stage)
        two.archive(stage)
        if stage == "encrypt":
            two.archive("list_logs", "fetch", "compress")
    assert archived(two) == archived(two, 1) == {FIRST: ["1", "2"]}
    two.archive("fetch", "compress", "encrypt", "upload", "verify")
    assert archived(two) == {FIRST: ["1", "2"]}


def test_two_archives_at_once_archive_everything_once(db: ProductionServer, two: Site) -> None:
    db.write()
    failures: list[BaseException] = []

    def work() -> None:
        try:
            two.archive()
        except BackupError as error:
            failures.append(error)

    threads = [threading.Thread(target=work) for _ in range(2)]
    for thread in threads:
        thread.start()
    db.write()
    for thread in threads:
        thread.join()
    assert failures == []
    two.archive()
    assert archived(two) == archived(two, 1)
    (numbers,) = archived(two).values()
    assert sum(segment(two, int(number)).transactions for number in numbers) == 2


def damage(site: Site, suffix: str, change: Any, repository: str = "near") -> None:
    (path,) = (Path(site.settings.repository(repository).root.removeprefix("file://")) / "binlog").rglob(f"*{suffix}")
    data = path.read_bytes()
    path.unlink()  # not through a hard link to the staged file
    path.write_bytes(change(data))


def test_a_log_that_is_cut_off_in_a_repository_is_seen_and_sent_again(db: ProductionServer, two: Site) -> None:
    db.write()
    two.archive("rotate", "list_logs", "fetch", "compress", "encrypt", "upload")
    damage(two, "binlog.000001.zst.age", lambda data: data[:-9])
    with pytest.raises(IntegrityError, match=r"near/binlog/1/000001/binlog\.000001\.zst\.age has \d+ bytes"):
        two.archive("verify")
    two.archive("upload", "verify")
    assert archived(two) == {FIRST: ["1"]}


def test_a_forged_sidecar_is_seen(db: ProductionServer, two: Site) -> None:
    db.write()
    two.archive()
    damage(two, "binlog.000001.json", lambda data: data.replace(b'"transactions": 1', b'"transactions": 0'))
    with pytest.raises(IntegrityError, match=r"near/.*binlog\.000001\.json is not signed"):
        two.archive()


def test_what_one_repository_lacks_comes_from_the_other_as_it_is(db: ProductionServer, two: Site) -> None:
    for _ in range(3):
        db.write()
        two.archive()
    root = Path(two.settings.repository("far").root.removeprefix("file://"))
    before = {path.relative_to(root): path.read_bytes() for path in root.rglob("*") if path.is_file()}
    shutil.rmtree(root / "binlog" / "1" / FIRST)
    two.archive()
    assert {path.relative_to(root): path.read_bytes() for path in root.rglob("*") if path.is_file()} == before
    for path in root.rglob("binlog.000002*"):
        path.unlink()
    two.archive()
    assert archived(two, 1) == {FIRST: ["1", "2", "3"]}
    for path in root.rglob("binlog.000001*"):  # older than its oldest: its own retention took it
        path.unlink()
    two.archive()
    assert archived(two, 1) == {FIRST: ["2", "3"]}


def test_a_server_that_dies_while_a_log_is_fetched(db: ProductionServer, site: Site, tmp_path: Path) -> None:
    db.write()
    site.archive("rotate", "list_logs")
    db.server.kill()
    with pytest.raises(BackupError) as caught:
        site.archive("fetch")
    assert not isinstance(caught.value, PermanentError)
    db.restart()
    db.write()
    assert site.archive("fetch", "compress", "encrypt", "upload", "verify").gap is None
    assert gap_of(site) is None
    (numbers,) = archived(site).values()
    assert sum(segment(site, int(number)).transactions for number in numbers) == 2


def test_a_log_that_breaks_off_in_an_event_is_taken_as_far_as_it_goes(db: ProductionServer, site: Site) -> None:
    db.write(2)
    size = int(db.run("SHOW BINARY LOGS")[0][1])
    db.run("FLUSH LOCAL BINARY LOGS")
    db.server.stop()
    path = db.server.datadir / "binlog.000001"
    path.write_bytes(path.read_bytes()[: size - 10])  # as on a disk that lost its last write
    db.restart()
    site.archive()
    sidecar = segment(site, 1)
    assert (sidecar.closed, sidecar.transactions) == ("crash", 1)
    assert sidecar.end < size - 10


def test_warns_when_the_server_keeps_its_logs_for_too_short_a_time(db: ProductionServer, site: Site) -> None:
    assert site.archive().warnings == ()
    db.run("SET GLOBAL binlog_expire_logs_seconds = 3000")
    warned = site.archive()
    assert len(warned.new_warnings) == 1
    assert "after 50 min 0 s" in warned.new_warnings[0]
    again = site.archive()
    assert (again.warnings, again.new_warnings) == (warned.warnings, ())
    db.run("SET GLOBAL binlog_expire_logs_seconds = 0")


def test_warns_when_rds_keeps_no_logs(db: ProductionServer, site: Site) -> None:
    db.run("CREATE TABLE mysql.rds_configuration (name VARCHAR(100), value VARCHAR(100))")
    try:
        db.run("INSERT INTO mysql.rds_configuration VALUES ('binlog retention hours', NULL)")
        assert "is NULL" in site.archive("rotate").warnings[0]
        db.run("UPDATE mysql.rds_configuration SET value = '24'")
        assert site.archive("rotate").warnings == ()
    finally:
        db.run("DROP TABLE mysql.rds_configuration")


def test_a_login_that_may_not_read_logs_is_told_what_it_lacks(db: ProductionServer, site: Site) -> None:
    record = site.connections.records["spoqplus_mysql"]
    db.run("CREATE OR REPLACE USER weak@localhost" if db.flavour == "mariadb" else "CREATE USER weak@localhost")
    try:
        db.run("GRANT RELOAD ON *.* TO weak@localhost")
        weak = record.__class__(id=record.id, type="mysql", login="weak", password="", extra=dict(record.extra))
        site.connections.records["spoqplus_mysql"] = weak
        with pytest.raises(PermanentError, match="GRANT REPLICATION SLAVE, "):
            site.archive("rotate")
        client = "BINLOG MONITOR" if db.flavour == "mariadb" else "REPLICATION CLIENT"
        db.run(f"GRANT REPLICATION SLAVE, {client} ON *.* TO weak@localhost")
        db.write()
        assert site.archive().parts == 1, "these privileges are enough for all of it"
    finally:
        db.run("DROP USER weak@localhost")


def test_nothing_is_purged_on_the_server(db: ProductionServer, site: Site) -> None:
    for _ in range(3):
        db.write()
        site.archive()
    assert [name.rpartition(".")[2] for name in db.logs()] == ["000001", "000002", "000003", "000004"]


def test_what_was_archived_opens_with_the_vendors_own_program(db: ProductionServer, site: Site, tmp_path: Path) -> None:
    from spoqplus_backup.core.mysql import client

    db.write(2)
    site.archive()
    raw = tmp_path / "binlog.000001"
    raw.write_bytes(content(site, segment(site, 1), tmp_path))
    program = client.find("mysqlbinlog", site.settings.database.client_directory, db.flavour)
    text = subprocess.run([program.path, "--no-defaults", str(raw)], capture_output=True, check=True, text=True).stdout
    assert text.count("COMMIT") >= 2
