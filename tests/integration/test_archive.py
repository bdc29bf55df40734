"""The archive of binary logs against real servers: what goes on, what is a gap, and what the recovery point says."""

import hashlib
import json
import shutil
import subprocess
import threading
from datetime import datetime, timedelta, timezone
from pathlib import Path
from typing import Any

import pytest

from spoqplus_backup.core import stages
from spoqplus_backup.core.archive.area import Area
from spoqplus_backup.core.archive.gaps import begin_unlogged, claim_gap, claimed_gap, end_unlogged
from spoqplus_backup.core.archive.incremental import publish_incremental
from spoqplus_backup.core.archive.summary import ArchiveSummary
from spoqplus_backup.core.crypto import scheme_for
from spoqplus_backup.core.errors import BackupError, IntegrityError, PermanentError
from spoqplus_backup.core.manifest import BinlogSegment, Gap
from spoqplus_backup.core.mysql.dump import dump
from spoqplus_backup.core.publish import publish
from spoqplus_backup.core.repository.binlogs import Timeline
from spoqplus_backup.core.sealed import unsealed
from support.archive import catalogs, folder, sidecars
from support.backups import PRODUCTION, Site, database_record, make_site
from support.production import ProductionServer, production
from support.servers import next_second, wait_until

pytestmark = pytest.mark.integration

FIRST, SECOND = "000001", "000002"


@pytest.fixture
def site(db: ProductionServer, tmp_path: Path) -> Site:
    return make_site(tmp_path / "site", db.server)


@pytest.fixture
def two(db: ProductionServer, tmp_path: Path) -> Site:
    roots = [{"name": name, "root": f"file://{tmp_path}/site/{name}"} for name in ("near", "far")]
    return make_site(tmp_path / "site", db.server, repositories=roots)


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


def seconds_lost(summary: ArchiveSummary) -> float:
    assert summary.recovery_point is not None
    assert summary.recovery_point.seconds is not None
    return summary.recovery_point.seconds


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


def test_after_half_of_the_promised_time_a_quiet_server_closes_a_log_as_proof(db: ProductionServer, site: Site) -> None:
    db.write(1)
    site.archive()
    area = Area(site.settings)
    rotation = area.rotation()
    assert rotation is not None
    area.write(rotation.model_copy(update={"rotated_at": rotation.checked_at - timedelta(minutes=29)}))
    site.archive()
    assert archived(site) == {FIRST: ["1"]}
    area.write(rotation.model_copy(update={"rotated_at": rotation.checked_at - timedelta(minutes=30)}))

    site.archive()

    assert archived(site) == {FIRST: ["1", "2"]}
    proof = segment(site, 2)
    assert (proof.transactions, proof.gap) == (0, None)
    assert proof.closed_at is not None


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
    next_second()  # which is all that a log's beginning tells
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
    listed = site.archive("rotate", "list_logs").gap
    assert (listed is None) == (db.flavour == "mariadb"), "MySQL tells what it executed and no log of its holds"
    found = site.archive("fetch").gap
    assert found is not None
    assert (found.reason, found.after) == ("history", "binlog.000001")
    assert site.archive("compress", "encrypt", "upload", "verify").gap == found
    assert archived(site) == {FIRST: ["1"], SECOND: ["2"]}
    db.write()
    site.archive()
    assert archived(site) == {FIRST: ["1"], SECOND: ["2", "3"]}


WHAT = "The restore r of daily/20250101_030000"


def begin(site: Site, by: str = "r") -> None:
    begin_unlogged(site.settings, site.connections, by, WHAT)


def end(site: Site, by: str = "r") -> None:
    end_unlogged(site.settings, site.connections, by, WHAT)


def test_a_restore_that_no_log_holds_is_told_once_when_it_is_done(db: ProductionServer, site: Site) -> None:
    db.write()
    before = site.archive()
    db.write()
    begin(site)
    db.run("SET sql_log_bin = 0", "DELETE FROM ledger.entries")
    db.write()  # others go on writing
    meanwhile = site.archive()
    site.back_up()  # the night's own
    assert meanwhile.gap is None, "a full backup would mend nothing yet"
    assert claim_gap(site.settings, "run-1") is None
    assert complete_until(meanwhile) == complete_until(before)
    begin(site)  # it failed, and is tried once more
    db.run("SET sql_log_bin = 0", "INSERT INTO ledger.entries (note) VALUES ('restored')")
    end(site)
    end(site)  # as when its task is cleared later
    done = site.archive()
    assert done.gap is not None, "though nothing was written since"
    assert (done.gap.reason, done.gap.lost_from) == ("history", segment(site, 2).last_at)
    assert done.gap.words.startswith(f"{WHAT} changed the server from ")
    claimed = claim_gap(site.settings, "run-2")
    assert claimed is not None
    assert (claimed.gap, claim_gap(site.settings, "run-3")) == (done.gap, None)
    assert complete_until(done) == complete_until(before)
    db.write()
    assert gap_of(site) is None
    site.back_up()
    assert complete_until(site.archive()) > complete_until(before)
    assert archived(site) == {FIRST: ["1", "2"], SECOND: ["3", "4"], "000003": ["5"]}


def test_a_restore_between_two_runs_of_the_archive_is_told_once(db: ProductionServer, site: Site) -> None:
    db.write()
    site.archive()
    begin(site)
    db.run("SET sql_log_bin = 0", "DELETE FROM ledger.entries")
    end(site)
    assert gap_of(site) is not None
    assert claim_gap(site.settings, "run-1") is not None
    db.write()
    assert gap_of(site) is None
    opening = {name: segment(site, int(numbers[0]), name).gap for name, numbers in archived(site).items()}
    assert [gap.unlogged for gap in opening.values() if gap is not None] == [True, False]


def test_a_restore_that_never_ends_is_told_when_it_should_have(
    db: ProductionServer, site: Site, monkeypatch: pytest.MonkeyPatch
) -> None:
    db.write()
    site.archive()
    begin(site)
    db.run("SET sql_log_bin = 0", "DELETE FROM ledger.entries")
    assert gap_of(site) is None
    objectives = site.settings.objectives.model_copy(update={"rto_hours": 1e-9})
    monkeypatch.setitem(site.settings.__dict__, "objectives", objectives)
    gap = gap_of(site)
    assert gap is not None
    assert "was not finished within" in gap.words
    claim_gap(site.settings, "run-1")
    site.back_up()
    mended = complete_until(site.archive())
    end(site)  # after all
    db.write()
    assert gap_of(site) is not None
    assert complete_until(site.archive()) == mended


def test_a_break_is_where_it_was_noted_and_nowhere_else(db: ProductionServer, site: Site) -> None:
    db.write()
    site.archive()
    for _ in range(2):
        begin(site)
        end(site)
        db.write()
    site.archive()
    assert list(archived(site)) == [FIRST, SECOND, "000003", "000004", "000005"]
    db.reset()
    db.write()
    assert gap_of(site) is not None
    assert list(archived(site))[-1] == "000006"
    db.write()
    site.archive()
    assert len(archived(site)["000006"]) == 2, "what was noted before the reset is not of these logs"


@pytest.mark.parametrize("running", ["mysql"], indirect=True)
def test_transactions_that_count_as_executed_without_a_log_are_a_gap(db: ProductionServer, site: Site) -> None:
    other = "aaaaaaaa-1111-1111-1111-aaaaaaaaaaaa"
    db.run(f"SET GLOBAL gtid_purged = '+{other}:1-5'")  # before the first archive: what every full backup has
    db.write()
    assert gap_of(site) is None
    assert segment(site, 1).gtids_unlogged == f"{other}:1-5"
    db.write()
    assert gap_of(site) is None
    db.restart()
    db.write()
    assert gap_of(site) is None
    before = len(archived(site)[FIRST])
    db.write()
    db.run(f"SET GLOBAL gtid_purged = '+{other}:6-9'")
    db.write()
    gap = gap_of(site)
    assert gap is not None
    assert gap.reason == "history"
    assert f"has executed {other}:6-9 since binlog.00000{before}, which neither it nor" in gap.words
    assert len(archived(site)[FIRST]) == before
    claim_gap(site.settings, "run-1")
    db.write()
    assert gap_of(site) is None, "told once"
    db.purge_to(db.logs()[-1])
    db.write()
    assert gap_of(site) is None, "what was purged was archived"


@pytest.mark.parametrize("running", ["mariadb"], indirect=True)
def test_a_domain_that_is_deleted_is_no_gap(db: ProductionServer, site: Site) -> None:
    db.run("SET gtid_domain_id = 7", "INSERT INTO ledger.entries (note) VALUES ('of another domain')")
    site.back_up()
    db.write()
    for _ in range(2):
        site.archive()
        db.write()
    db.purge_to(db.logs()[-1])
    db.run("FLUSH BINARY LOGS DELETE_DOMAIN_ID = (7)")
    db.write()
    assert gap_of(site) is None
    *_, before, after = sidecars(site)
    assert ("7-1-1" in before.gtids_after, "7-1-1" in after.gtids_before) == (True, False)
    made = publish_incremental(site.settings, site.connections, "test/incremental", datetime.now(timezone.utc))
    assert made.transactions == 5


def test_a_replica_that_does_not_log_what_it_applies_is_refused(db: ProductionServer, site: Site) -> None:
    mysql = db.flavour == "mysql"
    db.restart(**{"log-replica-updates" if mysql else "log-slave-updates": "OFF"})
    db.write()
    assert site.archive().gap is None, "it is none yet"
    names = ("REPLICATION SOURCE", "SOURCE", "REPLICA") if mysql else ("MASTER", "MASTER", "SLAVE")
    db.run(f"CHANGE {names[0]} TO {names[1]}_HOST = 'none', {names[1]}_USER = 'none'")
    try:
        with pytest.raises(PermanentError, match=r"is a replica that does not log what it applies.*=ON"):
            site.archive()
    finally:
        db.run(f"RESET {names[2]} ALL")
        db.restart()


def test_a_failover_to_another_server_is_a_gap(db: ProductionServer, site: Site, tmp_path: Path) -> None:
    db.write()
    before = site.archive()
    replicas = production(tmp_path / "replica", db.flavour)
    replica = next(replicas)
    try:
        replica.restart(**{"server-id": "2"})
        replica.renew()
        replica.write()
        site.connections.records[PRODUCTION] = database_record(PRODUCTION, replica.server)
        gap = gap_of(site)
        assert gap is not None
        assert (gap.reason, gap.after) == ("server", "binlog.000001")
        assert before.recovery_point is not None
        assert gap.lost_from == before.recovery_point.last_event_at
        assert [item.server_id for item in catalogs(site)[0].timelines()] == [1, 2]
        claim_gap(site.settings, "run-1")
        replica.write()
        assert gap_of(site) is None
        site.back_up()
        replica.write()
        assert complete_until(site.archive()) > complete_until(before)
    finally:
        replicas.close()


def test_a_server_that_is_killed_during_the_dump(db: ProductionServer, site: Site, tmp_path: Path) -> None:
    program = "mysqldump" if db.flavour == "mysql" else "mariadb-dump"
    digits = "(SELECT 0 AS d" + "".join(f" UNION ALL SELECT {digit}" for digit in range(1, 10)) + ")"
    many = " CROSS JOIN ".join(f"{digits} AS t{number}" for number in range(4))
    db.run(f"INSERT INTO ledger.entries (note) SELECT REPEAT(UUID(), 30) FROM {many}")
    site.archive()
    real = shutil.which(str(site.settings.database.client_directory or "") + f"/{program}") or shutil.which(program)
    folder_ = tmp_path / "bin"
    folder_.mkdir()
    for name in ("mysqldump", "mariadb-dump"):
        (folder_ / name).write_text(
            f'#!/bin/bash\nset -o pipefail\n[ "$1" = --version ] && exec {real} --version\n'
            f'{real} "$@" | {{ head -c 200000; kill -KILL {db.server.pid}; cat; }}\n'
        )
        (folder_ / name).chmod(0o755)
    directory = site.settings.database.client_directory
    run = site.start()
    site.settings.__dict__["database"] = site.settings.database.model_copy(update={"client_directory": folder_})
    with pytest.raises(BackupError) as caught:
        dump(run, "database", 1)
    assert not isinstance(caught.value, PermanentError), "a retry helps"
    site.settings.__dict__["database"] = site.settings.database.model_copy(update={"client_directory": directory})
    db.restart(kill=True)
    db.write()
    for component in run.staging.components():
        site.component(run, component)
    stages.verify(run)
    full = publish(run)
    assert {item.name: item.rows for item in full.components}["database"] == 10_001
    db.write()
    assert site.archive().gap is None
    made = publish_incremental(site.settings, site.connections, "test/incremental", datetime.now(timezone.utc))
    assert (made.after, made.set is not None) == (full.set, True)


def test_the_log_of_each_run_says_how_much_would_be_lost(
    db: ProductionServer, site: Site, caplog: pytest.LogCaptureFixture
) -> None:
    caplog.set_level("INFO")
    db.write()
    result = site.archive()
    assert result.recovery_point is not None
    assert result.detail["rpo_seconds"] == round(result.recovery_point.seconds or 0, 1)
    (said,) = (line for line in caplog.messages if "would be lost now" in line)
    assert str(result.recovery_point.last_event_at) in said


def test_a_clock_that_jumps_is_no_gap(db: ProductionServer, site: Site, monkeypatch: pytest.MonkeyPatch) -> None:
    db.write()
    before = site.archive()
    for days in (-1, 1):
        jump = timedelta(days=days)
        seconds = int(jump.total_seconds())
        with monkeypatch.context() as patch:
            for module in ("stages", "delivery"):
                clock = f"spoqplus_backup.core.archive.{module}.binlog.clock"
                patch.setattr(clock, lambda connection, jump=jump: datetime.now(timezone.utc) + jump)
            db.run(f"SET timestamp = UNIX_TIMESTAMP() + {seconds}", "INSERT INTO ledger.entries (note) VALUES ('x')")
            jumped = site.archive()
            assert jumped.gap is None
            assert seconds_lost(jumped) < 30
    assert gap_of(site) is None
    assert sum(item.transactions for item in sidecars(site)) == 3
    assert complete_until(site.archive()) > complete_until(before), "and the clock is right again"


def test_a_server_whose_clocks_go_back_while_it_is_written_to(db: ProductionServer, site: Site) -> None:
    now = int(datetime.now(timezone.utc).timestamp())
    ((number,),) = db.run("SELECT COALESCE(MAX(Time_zone_id), 0) + 1 FROM mysql.time_zone")
    db.run(
        f"INSERT INTO mysql.time_zone VALUES ({number}, 'N')",
        f"INSERT INTO mysql.time_zone_name VALUES ('Test/{now}', {number})",
        f"INSERT INTO mysql.time_zone_transition_type VALUES ({number}, 0, 7200, 1, 'SUM')",
        f"INSERT INTO mysql.time_zone_transition_type VALUES ({number}, 1, 3600, 0, 'WIN')",
        f"INSERT INTO mysql.time_zone_transition VALUES ({number}, {now - 86400}, 0), ({number}, {now + 5}, 1)",
        f"SET GLOBAL time_zone = 'Test/{now}'",
    )
    ahead = "SELECT TIMESTAMPDIFF(MINUTE, UTC_TIMESTAMP(), NOW())"
    try:
        assert db.run(ahead) == [(120,)]
        db.write()
        summer = site.archive()
        wait_until(lambda: db.run(ahead) == [(60,)], 10, "winter")
        db.write()
        winter = site.archive()
    finally:
        db.run("SET GLOBAL time_zone = 'SYSTEM'")
    assert (summer.gap, winter.gap) == (None, None)
    assert complete_until(summer) < complete_until(winter)
    for summary, found in zip((summer, winter), sidecars(site), strict=True):
        assert found.last_at is not None
        assert abs((complete_until(summary) - found.last_at).total_seconds()) < 5
        assert seconds_lost(summary) < 30


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
    (path,) = (folder(site, repository) / "binlog").rglob(f"*{suffix}")
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
    root = folder(two, "far")
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
    assert "after 50 min 0 s" in warned.new_warnings[0].words
    again = site.archive()
    assert (again.warnings, again.new_warnings) == (warned.warnings, ())
    db.run("SET GLOBAL binlog_expire_logs_seconds = 0")


def test_warns_when_rds_keeps_no_logs(db: ProductionServer, site: Site) -> None:
    db.run("CREATE TABLE mysql.rds_configuration (name VARCHAR(100), value VARCHAR(100))")
    try:
        db.run("INSERT INTO mysql.rds_configuration VALUES ('binlog retention hours', NULL)")
        assert "is NULL" in site.archive("rotate").warnings[0].words
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
