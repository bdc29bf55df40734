"""Incremental sets: which logs they are made of, and every way in which their chain can be broken."""

from datetime import datetime, timedelta, timezone
from pathlib import Path

import pytest

from spoqplus_backup.cli import main
from spoqplus_backup.core.archive.incremental import PublishedIncremental, publish_incremental
from spoqplus_backup.core.errors import IntegrityError, PermanentError
from spoqplus_backup.core.manifest import Manifest
from spoqplus_backup.core.publish import publish as publish_full
from spoqplus_backup.core.repository.catalog import Catalog
from spoqplus_backup.core.repository.opener import open_repositories
from support.archive import folder, rewrite
from support.backups import Site, make_site
from support.production import ProductionServer

pytestmark = pytest.mark.integration


@pytest.fixture
def site(db: ProductionServer, tmp_path: Path) -> Site:
    roots = [{"name": name, "root": f"file://{tmp_path}/site/{name}"} for name in ("near", "far")]
    return make_site(tmp_path / "site", db.server, repositories=roots)


def publish(site: Site, run_id: str | None = None, at: datetime | None = None) -> PublishedIncremental:
    """Archive up to now and publish, as the DAG does."""
    site.archive()
    site.runs += 1
    name = run_id or f"test/incremental-{site.runs}"
    return publish_incremental(site.settings, site.connections, name, at or datetime.now(timezone.utc))


def catalog(site: Site) -> Catalog:
    repository = open_repositories(site.settings, site.connections)[0]
    return Catalog(repository, site.settings.signing.public_key_files, "spoqplus")


def manifest(site: Site, name: str | None) -> Manifest:
    assert name is not None
    return catalog(site).resolve(name)


def names(found: Manifest) -> list[str]:
    return [ref.key.rpartition("/")[2].lstrip("binlog.0") for ref in found.binlogs]


def test_a_set_leads_from_the_full_backups_own_coordinates_to_now(db: ProductionServer, site: Site) -> None:
    db.write()
    db.flush()
    db.write()
    full = site.back_up()
    db.write(2)
    made = publish(site)
    found = manifest(site, made.set)
    assert found.binlog_range is not None
    assert found.binlog_range.start == full.coordinates
    assert (found.binlog_range.after_cadence, found.depends_on) == ("daily", (full.set,))
    assert names(found) == ["2"], "the log with the coordinates, not the one before"
    assert (made.logs, made.transactions, found.components) == (1, 3, ())
    assert found.recovery_point is not None
    assert found.recovery_point.seconds is not None
    assert found.recovery_point.seconds < 10


def test_sets_follow_each_other_without_gap_or_overlap(db: ProductionServer, site: Site) -> None:
    site.back_up()
    db.write()
    first = manifest(site, publish(site).set)
    db.write()
    site.archive()
    db.write()
    second = manifest(site, publish(site).set)
    assert first.binlog_range is not None
    assert second.binlog_range is not None
    assert (names(first), names(second)) == (["1"], ["2", "3"])
    assert second.binlog_range.start == first.binlog_range.end
    assert second.depends_on == (first.name,)
    assert second.previous is not None
    assert second.previous.id == first.id


def test_a_newer_full_backup_is_what_the_next_set_follows(db: ProductionServer, site: Site) -> None:
    site.back_up()
    db.write()
    publish(site)
    full = site.back_up()
    db.write()
    assert publish(site).after == full.set


def test_a_quiet_server_makes_no_set(db: ProductionServer, site: Site) -> None:
    full = site.back_up()
    nothing = publish(site)
    assert (nothing.set, nothing.after, nothing.logs) == (None, full.set, 0)
    db.write()
    made = publish(site)
    again = publish(site)
    assert (again.set, again.after) == (None, made.set)
    assert again.recovery_point is not None
    assert made.recovery_point is not None
    assert again.recovery_point.complete_until is not None
    assert made.recovery_point.complete_until is not None
    assert again.recovery_point.complete_until > made.recovery_point.complete_until


def test_a_retry_publishes_the_same_set(db: ProductionServer, site: Site) -> None:
    site.back_up()
    db.write()
    at = datetime.now(timezone.utc)
    made = publish(site, "run", at)
    db.write()
    assert publish(site, "run", at) == made
    assert len(catalog(site).sets("incremental")) == 1


def test_without_a_full_backup_there_is_nothing_to_follow(db: ProductionServer, site: Site) -> None:
    db.write()
    with pytest.raises(PermanentError, match="trigger the DAG spoqplus_daily_backup"):
        publish(site)


def test_a_gap_is_named_and_refused_until_there_is_a_full_backup(db: ProductionServer, site: Site) -> None:
    site.back_up()
    db.write()
    publish(site)
    db.reset()
    with pytest.raises(PermanentError, match=r"No incremental backup can follow incremental/.*reset"):
        publish(site)
    db.write()
    with pytest.raises(PermanentError, match="reset"):
        publish(site)
    full = site.back_up()
    assert publish(site).set is not None or publish(site).after == full.set
    db.write()
    assert publish(site).set is not None


def test_a_full_backup_of_before_the_gap_is_refused_though_its_log_has_the_same_name(
    db: ProductionServer, site: Site
) -> None:
    db.write()
    site.back_up()
    site.archive()
    db.reset()
    db.write(3)
    with pytest.raises(PermanentError, match="No incremental backup can follow daily/"):
        publish(site)


def test_a_missing_log_is_named(db: ProductionServer, site: Site) -> None:
    site.back_up()
    for _ in range(3):
        db.write()
        site.archive()
    for repository in ("near", "far"):
        for path in folder(site, repository).rglob("binlog.000002*"):
            path.unlink()
    with pytest.raises(PermanentError, match=r"binlog\.000002 is missing in binlog/1/000001"):
        publish(site)


def test_a_log_that_is_damaged_in_one_repository_is_named(db: ProductionServer, site: Site) -> None:
    site.back_up()
    db.write()
    site.archive()
    path = folder(site, "far") / "binlog/1/000001/binlog.000001.zst.age"
    content = path.read_bytes()
    path.unlink()
    path.write_bytes(content[:-1] + bytes([content[-1] ^ 1]))
    with pytest.raises(IntegrityError, match=r"far/binlog/1/000001/binlog\.000001\.zst\.age"):
        publish(site)


def test_a_sidecar_that_was_replaced_breaks_the_chain_of_hashes(db: ProductionServer, site: Site) -> None:
    site.back_up()
    for _ in range(2):
        db.write()
        site.archive()
    rewrite(site, "binlog.000001", ("near", "far"), transactions=0)
    with pytest.raises(IntegrityError, match=r"binlog\.000002 does not follow .*binlog\.000001"):
        publish(site)


def test_a_log_of_an_earlier_set_that_was_replaced_is_no_ground_for_the_next(db: ProductionServer, site: Site) -> None:
    site.back_up()
    db.write()
    publish(site)
    rewrite(site, "binlog.000001", ("near", "far"), transactions=0)
    db.write()
    with pytest.raises(IntegrityError, match="does not follow"):
        publish(site)


def test_nobody_means_an_incremental_set_by_latest_or_by_a_day(db: ProductionServer, site: Site) -> None:
    full = site.back_up()
    db.write()
    made = publish(site)
    found = catalog(site)
    assert found.resolve("latest").name == full.set
    assert found.resolve(full.set.partition("/")[2][:8]).name == full.set
    latest = found.latest()
    assert latest is not None
    assert latest.name == full.set
    assert made.set is not None
    assert found.resolve(made.set).name == made.set


def test_a_full_backup_says_how_much_would_be_lost(db: ProductionServer, site: Site) -> None:
    before = datetime.now(timezone.utc)
    db.write()
    alone = manifest(site, site.back_up().set).recovery_point
    assert alone is not None
    assert alone.complete_until is not None
    assert alone.complete_until > before, "the snapshot itself"
    site.archive()
    run = site.start()
    for component in run.staging.components():
        site.component(run, component)
    archived = site.archive().recovery_point
    assert archived is not None
    late = manifest(site, publish_full(run).set).recovery_point
    assert late is not None
    assert late.complete_until == archived.complete_until, "the archive was later than the snapshot"
    assert late.measured_at - archived.measured_at < timedelta(seconds=30)


def test_the_command_line_shows_and_verifies_it(
    db: ProductionServer, site: Site, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setenv("SPOQPLUS_BACKUP_CONFIG", str(site.settings.source))
    full = site.back_up()
    db.write(2)
    made = publish(site)
    assert made.set is not None
    assert main(["list", "--repository", "near", "--details"]) == 0
    assert f"로그 1개, 트랜잭션 2개  {db.flavour} " in capsys.readouterr().out
    assert main(["show", made.set]) == 0
    shown = capsys.readouterr().out
    assert f"follows       {full.set}, in timeline 000001" in shown
    assert "log           binlog/1/000001/binlog.000001: " in shown
    assert main(["verify", made.set]) == 0
    assert f"near: {made.set}: good (2 objects, " in capsys.readouterr().out
    (folder(site, "far") / "binlog/1/000001/binlog.000001.zst.age").unlink()
    assert main(["verify", made.set]) == 1
    assert "binlog.000001.zst.age is not there" in capsys.readouterr().out
    assert main(["verify", "latest"]) == 0
