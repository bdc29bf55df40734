"""What breaks while binary logs are archived: nothing is lost, archived twice or claimed falsely."""

import shutil
import stat
from collections.abc import Iterator
from datetime import timedelta
from pathlib import Path
from types import SimpleNamespace

import pytest

from spoqplus_backup.core.archive.area import Area
from spoqplus_backup.core.archive.summary import ArchiveSummary
from spoqplus_backup.core.errors import BackupError, DiskFullError, IntegrityError, PermanentError
from spoqplus_backup.core.process import ProcessError
from support import s3
from support.archive import transactions
from support.backups import Site, make_site
from support.production import ProductionServer, production

pytestmark = pytest.mark.integration

ONE_ATTEMPT = {"retries": {"mode": "standard", "total_max_attempts": 1}}


@pytest.fixture(scope="module")
def running(tmp_path_factory: pytest.TempPathFactory) -> Iterator[ProductionServer]:
    yield from production(tmp_path_factory.mktemp("mariadb"), "mariadb")


@pytest.fixture
def site(db: ProductionServer, tmp_path: Path) -> Site:
    return make_site(tmp_path / "site", db.server)


def with_mysqlbinlog(folder: Path, db: ProductionServer, script: str, **fields: object) -> Site:
    """A site whose mysqlbinlog runs `script` where a log is fetched; `$REAL` is the real one, `$TO` its folder."""
    (folder / "bin").mkdir(parents=True)
    path = folder / "bin" / "mysqlbinlog"
    real = shutil.which("mariadb-binlog")
    path.write_text(
        f'#!/bin/bash\nREAL={real}\ncase "$*" in *--raw*) ;; *) exec $REAL "$@" ;; esac\n'
        'for option; do case "$option" in --result-file=*) TO="${option#*=}" ;; esac; done\n'
        f"{script}\n"
    )
    path.chmod(path.stat().st_mode | stat.S_IXUSR)
    return make_site(folder, db.server, database={"client_directory": str(path.parent), **fields})


def reachable_again(site: Site) -> None:
    """The next fetch uses the real program."""
    assert site.settings.database.client_directory is not None
    (site.settings.database.client_directory / "mysqlbinlog").unlink()
    site.settings.__dict__["database"] = site.settings.database.model_copy(update={"client_directory": None})


def seconds_lost(summary: ArchiveSummary) -> float:
    assert summary.recovery_point is not None
    assert summary.recovery_point.seconds is not None
    return summary.recovery_point.seconds


def test_while_s3_is_down_logs_wait_and_then_all_arrive_once(db: ProductionServer, tmp_path: Path) -> None:
    with s3.moto() as moto, s3.faulty(moto) as faults:
        repositories = [
            {"name": "local", "root": f"file://{tmp_path}/site/repository"},
            {"name": "s3", "root": f"s3://{s3.BUCKET}/site", "connection": "spoqplus_aws"},
        ]
        site = make_site(tmp_path / "site", db.server, repositories=repositories)
        site.connections.records["spoqplus_aws"] = s3.record(faults.endpoint, config_kwargs=ONE_ATTEMPT)
        db.write()
        before = site.archive().recovery_point
        faults.always = 503
        for _ in range(4):  # an hour
            db.write()
            with pytest.raises(BackupError) as caught:
                site.archive()
            assert not isinstance(caught.value, PermanentError)
        assert transactions(site, 0) == 5, "the repository that is up has everything"
        assert len(Area(site.settings).staged()) == 4
        status = Area(site.settings).status()
        assert status is not None
        assert status.recovery_point == before, "what is not in every repository is not safe"
        faults.always = None
        faults.requests.clear()
        assert site.archive().gap is None
        assert transactions(site, 0) == transactions(site, 1) == 5
        sent = [request for request in faults.requests if request.startswith("PUT") and ".zst" in request]
        assert len(sent) == len(set(sent)) == 8, "four logs and their indexes, once"
        assert Area(site.settings).staged() == []


def test_while_every_repository_is_down_logs_still_leave_the_server(db: ProductionServer, tmp_path: Path) -> None:
    with s3.moto() as moto, s3.faulty(moto) as faults:
        repositories = [{"name": "s3", "root": f"s3://{s3.BUCKET}/alone", "connection": "spoqplus_aws"}]
        site = make_site(tmp_path / "site", db.server, repositories=repositories)
        site.connections.records["spoqplus_aws"] = s3.record(faults.endpoint, config_kwargs=ONE_ATTEMPT)
        db.write()
        site.archive()
        faults.always = 503
        db.write()
        with pytest.raises(BackupError):
            site.archive()
        (staged,) = Area(site.settings).staged()
        assert staged.fetched.name == "binlog.000002"
        db.write()
        db.flush()
        db.purge_to("binlog.000003")  # the server had no patience
        faults.always = None
        assert site.archive().gap is None
        assert transactions(site) == 3


def test_a_server_that_is_killed_in_the_middle_of_a_fetch(db: ProductionServer, tmp_path: Path) -> None:
    script = (
        '$REAL "$@" & fetching=$!\nuntil [ -s "$TO/binlog.000001" ]; do :; done\n'
        f"kill -STOP $fetching; kill -KILL {db.server.pid}; kill -CONT $fetching; wait $fetching"
    )
    site = with_mysqlbinlog(tmp_path / "site", db, script)
    rows = "INSERT INTO ledger.entries (note) SELECT REPEAT('x', 1000) FROM ledger.seq_1_to_30000"
    db.run(*[rows] * 2)
    site.archive("rotate", "list_logs")
    with pytest.raises(ProcessError) as caught:
        site.archive("fetch")
    assert not isinstance(caught.value, PermanentError)
    assert Area(site.settings).staged() == [], "complete or absent"
    db.restart(kill=True)
    db.write()
    reachable_again(site)
    assert site.archive("fetch", "compress", "encrypt", "upload", "verify").gap is None
    assert site.archive().gap is None
    assert transactions(site) == 3


@pytest.mark.parametrize(
    ("script", "error", "words"),
    [
        ('ln -s /dev/full "$TO/binlog.000001"; exec $REAL "$@"', BackupError, "came 0 bytes but the server"),
        ("kill -KILL $$", ProcessError, "SIGKILL"),
        ("exec sleep 600", ProcessError, "no byte for 1 s"),
        ('$REAL "$@"; truncate -s -20 "$TO/binlog.000001"', BackupError, "bytes but the server"),
        (
            '$REAL "$@"; printf X | dd of="$TO/binlog.000001" bs=1 seek=300 conv=notrunc status=none',
            IntegrityError,
            "binlog.000001 is damaged",
        ),
    ],
    ids=["nothing written", "killed", "stalled", "short", "damaged"],
)
def test_a_fetch_that_is_not_whole_leaves_nothing_and_a_retry_goes_on(
    script: str, error: type[Exception], words: str, db: ProductionServer, tmp_path: Path
) -> None:
    site = with_mysqlbinlog(tmp_path / "site", db, script, stall_seconds=1)
    db.write()
    site.archive("rotate", "list_logs")
    with pytest.raises(error, match=words):
        site.archive("fetch")
    assert Area(site.settings).staged() == []
    assert list(Area(site.settings).path.rglob("*.partial")) == []
    reachable_again(site)
    assert site.archive("fetch", "compress", "encrypt", "upload", "verify").gap is None
    assert transactions(site) == 1


def test_a_full_disk_is_named_and_not_retried(
    db: ProductionServer, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    site = with_mysqlbinlog(tmp_path / "site", db, 'ln -s /dev/full "$TO/binlog.000001"; exec $REAL "$@"')
    db.write()
    site.archive("rotate", "list_logs")
    monkeypatch.setattr("shutil.disk_usage", lambda path: SimpleNamespace(free=100))
    with pytest.raises(DiskFullError, match=r"No space left on the staging disk for binlog\.000001"):
        site.archive("fetch")
    monkeypatch.undo()
    reachable_again(site)
    site.archive("fetch", "compress", "encrypt", "upload", "verify")
    assert transactions(site) == 1


def test_a_log_that_was_purged_after_it_was_listed_becomes_a_gap(db: ProductionServer, site: Site) -> None:
    db.write()
    site.archive()
    db.write()
    site.archive("rotate", "list_logs")
    db.flush()
    db.purge_to(db.logs()[-1])
    with pytest.raises(PermanentError, match=r"no longer has binlog\.000002.*Clear the task list_logs"):
        site.archive("fetch")
    gap = site.archive("list_logs").gap
    assert gap is not None
    assert gap.reason == "purged"


def test_a_staged_log_that_is_damaged_is_fetched_again(db: ProductionServer, site: Site) -> None:
    db.write()
    site.archive("rotate", "list_logs", "fetch", "compress", "encrypt")
    (sealed,) = Area(site.settings).path.rglob("binlog.000001.zst.age")
    sealed.write_bytes(sealed.read_bytes()[:-1] + b"?")
    with pytest.raises(IntegrityError, match=r"remove (\S+) and clear the task list_logs"):
        site.archive("upload")
    shutil.rmtree(sealed.parents[1])
    site.archive("list_logs", "fetch", "compress", "encrypt", "upload", "verify")
    assert transactions(site) == 1


def test_a_run_that_was_killed_while_it_let_go_of_a_log(db: ProductionServer, site: Site) -> None:
    db.write()
    site.archive("rotate", "list_logs", "fetch", "compress", "encrypt", "upload")
    (staged,) = Area(site.settings).staged()
    staged.directory.rename(staged.directory.with_name("binlog.000001.gone.partial"))
    db.write()
    site.archive()
    assert transactions(site) == 2


def test_the_recovery_point_moves_only_with_what_is_archived(
    db: ProductionServer, site: Site, monkeypatch: pytest.MonkeyPatch
) -> None:
    db.write()
    before = site.archive().recovery_point
    assert before is not None
    db.write()
    late = site.archive("rotate", "verify")  # as if the tasks between had been marked as a success by hand
    assert late.recovery_point is not None
    assert late.recovery_point.complete_until == before.complete_until
    assert late.recovery_point.last_event_at == before.last_event_at
    assert seconds_lost(late) >= 0
    real = site.archive("list_logs", "fetch", "compress", "encrypt", "upload", "verify")
    assert real.recovery_point is not None
    assert real.recovery_point.complete_until is not None
    assert before.complete_until is not None
    assert real.recovery_point.complete_until > before.complete_until
    monkeypatch.setattr(
        "spoqplus_backup.core.archive.delivery.binlog.clock",
        lambda connection: real.recovery_point.complete_until - timedelta(hours=3),
    )
    assert seconds_lost(site.archive("verify")) == 0, "a server's clock that went back"
