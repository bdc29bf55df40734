"""What `assess` finds, of AWS as it is and as it may be that night; nothing is changed by it."""

from collections.abc import Iterator
from datetime import datetime, timedelta, timezone
from pathlib import Path
from typing import Any

import pytest

from slack_sink import SlackSink
from spoqplus_backup.core.connections import ConnectionRecord
from spoqplus_backup.core.dr.assess import assess
from spoqplus_backup.core.dr.findings import Assessment, Verdict
from spoqplus_backup.core.dr.health import health_checks, wait_until_healthy
from spoqplus_backup.core.dr.journal import Journal, journal_places
from spoqplus_backup.core.dr.request import FailoverRequest
from spoqplus_backup.core.errors import BackupError, SettingsError
from spoqplus_backup.core.mysql.sandbox import SandboxServer
from support import servers
from support.aws import DR_REGION, REPLICA, Cloud, cloud, put_lag
from support.backups import database_record
from support.dr import dr_settings_of
from support.s3 import free_port, moto
from support.terraform import STANDIN, Configuration

NOW = datetime.now(timezone.utc)
RUN = "spoqplus_dr_failover/manual__1"


@pytest.fixture(scope="module")
def page() -> Iterator[str]:
    with SlackSink() as sink:
        yield sink.url


@pytest.fixture(scope="module")
def aws() -> Iterator[Cloud]:
    with moto() as upstream, cloud(upstream) as found:  # emptied: moto's servers of one process are one
        put_lag(found, 90, NOW)
        yield found


def site(folder: Path, aws: Cloud, **dr: Any) -> Any:
    terraform = Configuration(folder / "terraform").write(["network", "application"])
    template = folder / "dns.json"
    template.write_text(
        '{"Changes": [{"Action": "UPSERT", "ResourceRecordSet": {"Name": "spoqplus.example", "Type": "A", "TTL": 60,'
        ' "ResourceRecords": [{"Value": "192.0.2.7"}]}}]}'
    )
    fields = {
        "database": {"replica": REPLICA},
        "fence": {"commands": [["true"]]},
        "terraform": {"directory": str(terraform.folder), "binary": str(STANDIN)},
        "dns": {"zone": aws.zone, "template": str(template)},
    }
    return dr_settings_of(folder, **(fields | dr))


def looked(settings: Any, aws: Cloud, mode: Any = "rehearsal", *more: ConnectionRecord) -> Assessment:
    records = {record.id: record for record in (*gone(), *more)}
    request = FailoverRequest(mode=mode, reason="drill", region=DR_REGION)
    return assess(settings, aws.connections(*records.values()), request, RUN, NOW, datetime.now(timezone.utc))


def gone() -> tuple[ConnectionRecord, ...]:
    """Databases that nobody answers at."""
    fields: dict[str, Any] = {"type": "mysql", "host": "127.0.0.1", "login": "backup", "password": "x"}
    return (
        ConnectionRecord(id="spoqplus_mysql", port=free_port(), **fields),
        ConnectionRecord(id="spoqplus_dr_mysql", port=free_port(), **fields),
    )


def said(found: Assessment, verdict: Verdict) -> str:
    return "\n".join(f"{one.subject}: {one.what.words}" for one in found.findings if one.verdict == verdict)


def test_a_failover_by_the_replica_would_work(tmp_path: Path, aws: Cloud, page: str) -> None:
    before = aws.records()
    found = looked(site(tmp_path, aws, urls=[page], health={"urls": [page]}), aws)
    assert found.failing == (), said(found, "fails")
    assert found.way == "replica"
    (way,) = (way for way in found.ways if way.way == "replica")
    assert 85 < (way.lost_seconds(NOW) or 0) < 95
    good, mind = said(found, "good"), said(found, "warning")
    assert "minutes behind" in good
    assert "Terraform would add 2" in good
    assert "1 records would change" in good
    assert "has no full backup" in mind, "no reason to fail as long as there is a replica"
    assert "can't be reached" in mind
    assert found.production == "partly"
    assert (aws.records(), aws.promotions) == (before, 0)
    assert list(tmp_path.rglob("*.tfplan")) == [], "a plan holds variables"


def test_everything_that_would_fail_is_named_at_once(tmp_path: Path, aws: Cloud) -> None:
    checks = tmp_path / "checks"
    checks.mkdir()
    (checks / "a.yaml").write_text("checks: [{name: a, title: {ko: 가, en: A}, command: [x]}]")
    aws.simulated["rds:PromoteReadReplica"] = "explicitDeny"
    settings = site(
        tmp_path,
        aws,
        database={"replica": REPLICA, "maximum_lag_minutes": 1},
        dns={"zone": "Z0000000000000000000", "template": str(tmp_path / "dns.json")},
        terraform={"directory": str(tmp_path / "terraform"), "binary": str(tmp_path / "none")},
        fence={"commands": [["nowhere"]]},
        health={"checks": [str(checks)]},
    )
    found = looked(settings, aws)
    aws.simulated.clear()
    fails = said(found, "fails")
    for words in (
        "replica: The replica spoqplus-dr-replica is available and",
        "dns: It can't be looked at: ",
        "terraform: It can't be looked at: There is no terraform or tofu at",
        "permissions: rds:PromoteReadReplica",
        "fence: nowhere: refused",
        "health: It can't be looked at: ",
    ):
        assert words in fails
    assert found.way == "replica", "far behind is better than nothing: people decide"


def test_a_busy_aws_is_no_answer(tmp_path: Path, aws: Cloud) -> None:
    aws.always, aws.code, aws.within = 400, "Throttling", "/hostedzone/"
    found = looked(site(tmp_path, aws), aws)
    aws.always, aws.within = None, ""
    assert "dns: It can't be looked at: " in said(found, "fails")
    assert "too many requests at once" in said(found, "fails")


def test_a_lost_replica_leaves_a_snapshot_or_nothing(tmp_path: Path, aws: Cloud) -> None:
    rds = aws.client("rds")
    rds.create_db_snapshot(DBInstanceIdentifier=REPLICA, DBSnapshotIdentifier="before-the-night")
    restore = {"instance": "spoqplus-dr-restored", "snapshot": "before-the-night"}
    settings = site(tmp_path, aws, database={"replica": REPLICA, "restore": restore})
    assert looked(settings, aws, "failover").way == "replica"
    aws.states, aws.stuck = ["storage-full"], True
    found = looked(settings, aws, "failover")
    aws.states, aws.stuck = [], False
    assert found.way == "snapshot"
    assert "is storage-full, so it can't be promoted" in said(found, "fails")
    assert "before-the-night" in said(found, "good")

    lost = looked(site(tmp_path, aws, database={"replica": "spoqplus-gone"}), aws, "failover")
    assert lost.way is None
    for words in ("There is no replica spoqplus-gone", "has no full backup", "There is no way to a database"):
        assert words in said(lost, "fails")


def test_what_an_earlier_run_did_is_on_the_page_and_its_clock_goes_on(tmp_path: Path, aws: Cloud) -> None:
    settings = site(tmp_path, aws)
    places = journal_places(settings, aws.connections(*gone()))
    began = NOW - timedelta(hours=2)
    Journal(places, "spoqplus_dr_failover/manual__0", began).note("fence", "done")
    Journal(places, "spoqplus_dr_failover/manual__0", began).note("apply_terraform", "failed", "a quota")
    found = looked(settings, aws, "failover")
    assert "manual__0" in said(found, "warning")
    assert "done fence; not done: apply_terraform (failed)" in said(found, "warning")
    assert found.clock_from == began.replace(microsecond=found.clock_from.microsecond)


def test_the_dr_side_is_asked_until_it_is_healthy(
    tmp_path: Path, aws: Cloud, page: str, mariadb_target: SandboxServer, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("spoqplus_backup.core.dr.health.POLL_SECONDS", 0.1)
    checks = tmp_path / "checks"
    checks.mkdir()
    (checks / "site.yaml").write_text(
        "checks:\n"
        "  - {name: members, title: {ko: 회원, en: Members}, sql: SELECT 1, expect: 1}\n"
        f"  - {{name: page, title: {{ko: 페이지, en: Page}}, http: {{url: '{page}'}}}}\n"
    )
    settings = site(tmp_path, aws, health={"checks": [str(checks)], "urls": [page], "wait_minutes": 0.02})
    connections = aws.connections(database_record("spoqplus_dr_mysql", mariadb_target))
    assert health_checks(settings) == ["members", "page", page]
    answers = wait_until_healthy(settings, connections, DR_REGION)
    assert [(answer.name, answer.passed) for answer in answers] == [
        ("database", True),
        ("members", True),
        ("page", True),
        (page, True),
    ]
    servers.run(mariadb_target, "SET GLOBAL read_only = ON")
    try:
        with pytest.raises(BackupError, match=r"not healthy: database: .* takes no writes"):
            wait_until_healthy(settings, connections, DR_REGION)
    finally:
        servers.run(mariadb_target, "SET GLOBAL read_only = OFF")
    (checks / "site.yaml").write_text(
        "checks: [{name: a, title: {ko: 가, en: A}, sql: SELECT 1, expect: {same_as_production: true}}]"
    )
    with pytest.raises(SettingsError, match="the check a is of a recovery test"):
        health_checks(settings)
