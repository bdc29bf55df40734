"""What a failover asks of AWS, against moto: the replica, DNS, the fence, permissions; and what goes wrong there."""

import json
import time
from collections.abc import Iterator
from dataclasses import replace
from datetime import datetime, timedelta, timezone
from pathlib import Path
from typing import Any

import pytest

from spoqplus_backup.core import process
from spoqplus_backup.core.connections import ConnectionRecord
from spoqplus_backup.core.dr import fence, permissions, rds, route53, server
from spoqplus_backup.core.errors import AbsentError, BackupError, PermanentError
from spoqplus_backup.core.mysql.sandbox import SandboxServer
from spoqplus_backup.core.mysql.server import connect
from spoqplus_backup.core.process import Cancelled
from spoqplus_backup.core.settings import Settings, load_settings
from spoqplus_backup.core.settings_dr import RestoreInstanceSettings
from support import aws, s3, servers
from support.aws import CONNECTION, DOMAIN, DR_REGION, PRIMARY, PRODUCTION_REGION, REPLICA, Cloud
from support.connections import FixedConnections
from support.dns_server import NameServer, name_server
from support.iam import POLICIES, listed
from support.site_file import write_site

pytestmark = pytest.mark.integration

ASKS = {"backup_retention_days": 7, "backup_window": "18:00-18:30"}


@pytest.fixture(scope="module")
def upstream() -> Iterator[str]:
    with s3.moto() as endpoint:
        yield endpoint


@pytest.fixture
def cloud(upstream: str) -> Iterator[Cloud]:
    with aws.cloud(upstream) as found:
        yield found


def client(cloud: Cloud, service: str, region: str = DR_REGION) -> Any:
    return cloud.connections().aws_client(CONNECTION, service, region)


class TestReplica:
    """The replica's promotion."""

    def test_takes_its_time_and_ends_in_a_server_of_its_own(self, cloud: Cloud) -> None:
        api = client(cloud, "rds")
        found = rds.find_instance(api, REPLICA)
        assert found.is_replica
        assert found.source
        assert PRIMARY in found.source
        cloud.states = ["available", "available", "modifying", "rebooting"]
        asked = rds.promote(api, REPLICA, **ASKS)
        assert not asked.already
        assert rds.promoted(api, REPLICA) is None  # available, and still a replica
        instance = rds.Waiting(REPLICA, ASKS).wait(api, time.time() + 60, 0.01)
        assert (instance.is_replica, instance.backup_retention_days) == (False, 7)
        assert cloud.promotions == 1

        assert rds.promote(api, REPLICA, **ASKS).already
        assert cloud.promotions == 1

    def test_is_asked_for_again_when_rds_refused_it(self, cloud: Cloud, caplog: pytest.LogCaptureFixture) -> None:
        api = client(cloud, "rds")
        cloud.within, cloud.code, cloud.statuses = "Action=PromoteReadReplica", "InvalidDBInstanceState", [400]
        assert not rds.promote(api, REPLICA, **ASKS).already
        assert rds.Waiting(REPLICA, ASKS).look(api) is None
        assert cloud.promotions == 1
        assert rds.Waiting(REPLICA, ASKS).look(api) is not None

    def test_that_never_gets_available_is_waited_for_no_longer_than_said(self, cloud: Cloud) -> None:
        api = client(cloud, "rds")
        rds.promote(api, REPLICA, **ASKS)
        cloud.states, cloud.stuck = ["modifying"], True
        with pytest.raises(BackupError, match="wait_minutes.*A retry goes on waiting"):
            rds.Waiting(REPLICA).wait(api, time.time() + 0.2, 0.05)
        cloud.states = ["incompatible-parameters"]
        with pytest.raises(PermanentError, match="is incompatible-parameters and won't become available"):
            rds.Waiting(REPLICA).wait(api, time.time() + 60, 0.05)

    def test_a_wait_is_cancelled(self, cloud: Cloud) -> None:
        cloud.states, cloud.stuck = ["modifying"], True
        process.cancel_all()
        with pytest.raises(Cancelled):
            rds.Waiting(REPLICA).wait(client(cloud, "rds"), time.time() + 60, 60)

    def test_throttling_passes_or_is_told_as_such(self, cloud: Cloud) -> None:
        api = client(cloud, "rds")
        cloud.code, cloud.statuses = "Throttling", [400, 400]
        assert rds.find_instance(api, REPLICA).is_available  # the third try
        cloud.always = 400
        with pytest.raises(
            BackupError, match=r"AWS answered Throttling.*\(tried 3 times\): too many requests"
        ) as caught:
            rds.promote(api, REPLICA, **ASKS)
        assert not isinstance(caught.value, PermanentError)
        cloud.code, cloud.always = "InternalFailure", 503
        with pytest.raises(BackupError, match="look at the region's health"):
            rds.find_instance(api, REPLICA)

    def test_what_no_retry_heals(self, cloud: Cloud) -> None:
        api = client(cloud, "rds")
        with pytest.raises(AbsentError, match="no RDS instance other in ap-northeast-1"):
            rds.promote(api, "other", **ASKS)
        cloud.within, cloud.code, cloud.always = "Action=PromoteReadReplica", "AccessDenied", 403
        with pytest.raises(PermanentError, match="allow PromoteReadReplica to the connection's user or role"):
            rds.promote(api, REPLICA, **ASKS)

    def test_its_lag_is_cloudwatch_s_newest(self, cloud: Cloud) -> None:
        watch, now = client(cloud, "cloudwatch"), datetime.now(timezone.utc)
        assert rds.lag_by_cloudwatch(watch, REPLICA, now).seconds is None
        aws.put_lag(cloud, 900, now - timedelta(minutes=9))
        aws.put_lag(cloud, 42, now - timedelta(minutes=2))
        lag = rds.lag_by_cloudwatch(watch, REPLICA, now)
        assert (lag.seconds, lag.by) == (42, "cloudwatch")
        aws.put_lag(cloud, -1, now - timedelta(seconds=30))
        assert "does not replicate" in rds.lag_by_cloudwatch(watch, REPLICA, now).detail
        cloud.always = 503
        failed = rds.lag_by_cloudwatch(watch, REPLICA, now)
        assert failed.seconds is None
        assert "CloudWatch" in failed.detail


def test_a_lost_replica_s_instance_is_restored_from_the_newest_snapshot(cloud: Cloud) -> None:
    direct, api = cloud.client("rds"), client(cloud, "rds")
    how = RestoreInstanceSettings(instance="spoqplus-dr-restored", source=REPLICA, instance_class="db.r6g.large")
    with pytest.raises(AbsentError, match=f"no snapshot of {REPLICA} in {DR_REGION}"):
        rds.find_snapshot(api, how)
    for name in ("older", "newer"):
        direct.create_db_snapshot(DBInstanceIdentifier=REPLICA, DBSnapshotIdentifier=name)
    snapshot = rds.find_snapshot(api, how)
    assert snapshot.identifier == "newer"
    assert rds.find_snapshot(api, how.model_copy(update={"snapshot": "older"})).identifier == "older"
    with pytest.raises(AbsentError, match="no snapshot gone"):
        rds.find_snapshot(api, how.model_copy(update={"snapshot": "gone"}))

    assert not rds.restore_from_snapshot(api, how, snapshot).already
    assert rds.restore_from_snapshot(api, how, snapshot).already
    made = direct.describe_db_instances(DBInstanceIdentifier=how.instance)["DBInstances"][0]
    assert made["DBInstanceClass"] == "db.r6g.large"


def test_a_server_says_itself_whether_it_takes_writes(db_server: SandboxServer, cloud: Cloud) -> None:
    login = servers.login(db_server)
    found = server.is_writable(login)
    assert found.writable
    with connect(login) as connection:
        connection.execute(b"CREATE DATABASE IF NOT EXISTS dr_writes")
        connection.execute(b"SET GLOBAL read_only = 1")
        try:
            closed = server.is_writable(login)
            with pytest.raises(BackupError, match="read_only=ON.*wait_minutes"):
                server.wait_until_writable(login, time.time() - 1, 0.01)
        finally:
            connection.execute(b"SET GLOBAL read_only = 0")
        connection.execute(b"DROP DATABASE dr_writes")
    assert not closed.writable
    assert server.is_writable(login).gtids
    lag = server.lag_by_server(login)
    assert (lag.seconds, lag.by) == (None, "server")
    assert "replicates from nobody" in lag.detail
    with pytest.raises(PermanentError, match="Check the login"):
        server.wait_until_writable(replace(login, password="wrong", user="nobody"), time.time() + 60, 1)
    gone = replace(login, socket="/nowhere.sock")
    assert server.replica_lag(client(cloud, "cloudwatch"), REPLICA, datetime.now(timezone.utc), gone).by == "unknown"


def test_a_login_without_host_gets_the_address_that_rds_says(cloud: Cloud, tmp_path: Path) -> None:
    restore = {"instance": "spoqplus-dr-restored", "source": PRIMARY}
    settings = site(tmp_path, cloud, database={"replica": REPLICA, "restore": restore})
    empty = cloud.connections(ConnectionRecord(id="spoqplus_dr_mysql", login="u", password="p"))
    assert server.dr_login(settings, empty).host == f"{REPLICA}.aaaaaaaaaa.{DR_REGION}.rds.amazonaws.com"
    named = cloud.connections(ConnectionRecord(id="spoqplus_dr_mysql", login="u", password="p", host="db.example"))
    assert server.dr_login(settings, named).host == "db.example"
    settings = site(tmp_path, cloud, database={"replica": "lost", "restore": {**restore, "instance": PRIMARY}})
    with pytest.raises(AbsentError, match=f"no RDS instance lost in {DR_REGION}"):
        server.dr_login(settings, empty)
    found = server.dr_login(settings, empty, PRODUCTION_REGION)  # what was restored instead of it
    assert found.host
    assert found.host.startswith(PRIMARY)


def site(folder: Path, cloud: Cloud, **dr: Any) -> Settings:
    section = {"database": {"replica": REPLICA}, "connection": CONNECTION, **dr}
    return load_settings(write_site(folder, dr=section))


ADDRESS = {"Name": DOMAIN, "Type": "A", "TTL": 60, "ResourceRecords": [{"Value": "198.51.100.7"}]}
NEW = {"Name": f"www.{DOMAIN}", "Type": "A", "AliasTarget": {
    "HostedZoneId": "Z14GRHDCWA56QT", "DNSName": "dr.elb.example", "EvaluateTargetHealth": False,
}}  # fmt: skip
ANY = {"Name": f"*.{DOMAIN}", "Type": "TXT", "TTL": 60, "ResourceRecords": [{"Value": '"dr"'}]}


def batch(*records: dict[str, Any]) -> dict[str, Any]:
    return {"Changes": [{"Action": "UPSERT", "ResourceRecordSet": record} for record in records]}


class TestDns:
    """The switch."""

    def test_changes_what_differs_once_and_knows_the_way_back(self, cloud: Cloud) -> None:
        api, before = client(cloud, "route53"), cloud.records()
        plan = route53.plan_change(api, cloud.zone, batch(ADDRESS, NEW, ANY))
        assert [item.text for item in plan.changes] == [
            f"{DOMAIN}. A: 192.0.2.1 (TTL 60) → 198.51.100.7 (TTL 60)",
            f"www.{DOMAIN}. A: - → alias dr.elb.example",
            f'\\052.{DOMAIN}. TXT: - → "dr" (TTL 60)',
        ]
        assert cloud.records() == before  # a plan changes nothing
        back = plan.failback
        change = route53.change(api, plan)
        assert change
        cloud.pending = 2
        route53.wait_in_sync(api, change, 10, 0.01)
        assert cloud.pending == 0
        assert cloud.records()[f"{DOMAIN}. A"]["ResourceRecords"] == ADDRESS["ResourceRecords"]

        again = route53.plan_change(api, cloud.zone, batch(ADDRESS, NEW, ANY))
        assert (again.pending, again.failback) == ((), None)
        assert route53.change(api, again) is None

        cloud.client("route53").change_resource_record_sets(HostedZoneId=cloud.zone, ChangeBatch=back)
        assert cloud.records() == before

    def test_that_does_not_spread_or_is_rejected_is_told(self, cloud: Cloud) -> None:
        api = client(cloud, "route53")
        plan = route53.plan_change(api, cloud.zone, batch(ADDRESS))
        cloud.within, cloud.code, cloud.statuses = "ChangeBatch", "InvalidChangeBatch", [400]
        before = cloud.records()
        with pytest.raises(PermanentError, match="AWS answered InvalidChangeBatch.*correct what was asked for"):
            route53.change(api, plan)
        assert cloud.records() == before
        cloud.code, cloud.statuses = "PriorRequestNotComplete", [400, 400, 400]
        with pytest.raises(BackupError, match="PriorRequestNotComplete.*the next try goes on") as caught:
            route53.change(api, plan)
        assert not isinstance(caught.value, PermanentError)
        change = route53.change(api, plan)
        assert change
        cloud.pending = -1
        with pytest.raises(BackupError, match=r"still PENDING after 0\.1 s.*a retry waits on"):
            route53.wait_in_sync(api, change, 0.1, 0.02)

    def test_what_could_never_be_is_found_before(self, cloud: Cloud) -> None:
        api = client(cloud, "route53")
        with pytest.raises(PermanentError, match="lies outside of"):
            route53.plan_change(api, cloud.zone, batch({**ADDRESS, "Name": f"not{DOMAIN}"}))
        with pytest.raises(PermanentError, match="nothing can stand beside a CNAME"):
            route53.plan_change(api, cloud.zone, batch({**ADDRESS, "Name": f"db.{DOMAIN}"}))
        with pytest.raises(PermanentError, match="routing policy"):
            route53.plan_change(api, cloud.zone, batch({**ADDRESS, "SetIdentifier": "dr", "Weight": 1}))
        with pytest.raises(PermanentError, match="NoSuchHostedZone"):
            route53.plan_change(api, "Z0NONE", batch(ADDRESS))


class TestNames:
    """What name servers answer behind the switch."""

    @pytest.fixture
    def zone(self) -> Iterator[NameServer]:
        with name_server() as found:
            yield found

    def plan(self, *records: dict[str, Any]) -> route53.DnsPlan:
        changes = tuple(route53.RecordChange(None, record) for record in records)
        return route53.DnsPlan("Z1", f"{DOMAIN}.", (), changes, batch(*records))

    def test_are_asked_until_they_answer_what_was_set(self, zone: NameServer) -> None:
        zone.records = {
            (f"{DOMAIN}.", "A"): [["192.0.2.1"], ["192.0.2.1"], ["198.51.100.7"]],
            (f"www.{DOMAIN}.", "A"): [["203.0.113.5"]],
            (f"shop.{DOMAIN}.", "A"): [["203.0.113.6"]],
        }
        plan, addresses = self.plan(ADDRESS, NEW, ANY), [zone.address]
        found = route53.resolve(plan, [], addresses, 10, 0.01)
        assert found == {f"{DOMAIN}.": ["198.51.100.7"], f"www.{DOMAIN}.": ["203.0.113.5"]}
        assert zone.asked.count(f"{DOMAIN}. A") == 3
        only = route53.resolve(plan, [f"shop.{DOMAIN}"], addresses, 10, 0.01)
        assert only == {f"shop.{DOMAIN}.": ["203.0.113.6"]}

    def test_that_answer_otherwise_are_named_with_what_they_say(self, zone: NameServer) -> None:
        zone.records = {(f"{DOMAIN}.", "A"): [["192.0.2.1"]]}
        with pytest.raises(BackupError, match=r"is 192\.0\.2\.1 at 127.*not 198\.51\.100\.7, after 0\.1 s"):
            route53.resolve(self.plan(ADDRESS), [], [zone.address], 0.1, 0.02)
        with pytest.raises(BackupError, match="is not answered at"):
            route53.resolve(self.plan(NEW), [], [zone.address], 0.1, 0.02)
        with pytest.raises(BackupError, match="has an address"):
            route53.resolve(self.plan(NEW), [], ["no-such-server.invalid"], 0.1, 0.02)


class TestFence:
    """The old primary."""

    def settings(self, folder: Path, cloud: Cloud, *commands: list[str], seconds: float = 30) -> Settings:
        group = {"id": cloud.group, "region": PRODUCTION_REGION}
        return site(folder, cloud, fence={"commands": commands, "command_seconds": seconds, "security_group": group})

    def test_is_raised_once_and_lifted_as_it_was(self, cloud: Cloud, tmp_path: Path) -> None:
        settings, note = self.settings(tmp_path, cloud, ["/bin/true"]), tmp_path / "fence.json"
        before = {(rule["CidrIpv4"], rule["FromPort"], rule.get("Description")) for rule in cloud.rules()}
        rehearsed = fence.rehearse_fence(settings, cloud.connections())
        assert [step.state for step in rehearsed] == ["done", "done"]
        assert "2 rules would be taken away" in rehearsed[1].detail
        assert len(cloud.rules()) == 3

        steps = fence.fence(settings, cloud.connections(), note)
        assert [(step.name, step.state) for step in steps] == [("true", "done"), (cloud.group, "done")]
        assert [rule["FromPort"] for rule in cloud.rules()] == [22]
        again = fence.fence(settings, cloud.connections(), note)
        assert again[1].state == "already"
        assert fence.lift_fence(settings, cloud.connections(), note)[0].state == "done"
        assert {(rule["CidrIpv4"], rule["FromPort"], rule.get("Description")) for rule in cloud.rules()} == before
        assert fence.lift_fence(settings, cloud.connections(), note)[0].state == "already"

    def test_a_rule_that_lets_in_at_more_goes_too(self, cloud: Cloud, tmp_path: Path) -> None:
        cloud.client("ec2", PRODUCTION_REGION).authorize_security_group_ingress(
            GroupId=cloud.group,
            IpPermissions=[
                {"IpProtocol": "-1", "UserIdGroupPairs": [{"GroupId": cloud.group}]},
                {"IpProtocol": "tcp", "FromPort": 3000, "ToPort": 4000, "Ipv6Ranges": [{"CidrIpv6": "fd00::/8"}]},
            ],
        )
        settings, note = self.settings(tmp_path, cloud), tmp_path / "fence.json"
        (step,) = fence.fence(settings, cloud.connections(), note)
        assert "4 rules taken away; 2 of them let in at other ports, too" in step.detail
        assert [rule["FromPort"] for rule in cloud.rules()] == [22]
        fence.lift_fence(settings, cloud.connections(), note)
        assert len(cloud.rules()) == 5

    def test_what_can_t_be_reached_is_a_finding_and_the_rest_goes_on(self, cloud: Cloud, tmp_path: Path) -> None:
        commands = [["/bin/sh", "-c", "echo no route >&2; exit 7"], ["/no/such/fence.sh"], ["sleep", "600"]]
        settings = self.settings(tmp_path, cloud, *commands, seconds=0.3)
        cloud.code, cloud.always = "Unavailable", 503
        steps = fence.fence(settings, cloud.connections(), tmp_path / "fence.json")
        assert [step.state for step in steps] == ["unreachable", "refused", "unreachable", "unreachable"]
        assert "no route" in steps[0].detail
        assert "took more than 0.3 s" in steps[2].detail
        cloud.code, cloud.always = "UnauthorizedOperation", 403
        assert fence.rehearse_fence(settings, cloud.connections())[-1].state == "refused"
        assert len(cloud.rules()) == 3


def test_permissions_are_simulated_and_what_can_t_be_is_said(cloud: Cloud, tmp_path: Path) -> None:
    settings = site(tmp_path, cloud, dns={"zone": "Z123456"})
    unknown = permissions.rehearse_permissions(settings, cloud.connections(), DR_REGION)
    assert {found.verdict for found in unknown} == {"unknown"}
    assert {"rds:PromoteReadReplica", "route53:ChangeResourceRecordSets"} <= {found.action for found in unknown}

    cloud.simulated = {found.action: "allowed" for found in unknown} | {"rds:PromoteReadReplica": "implicitDeny"}
    found = {item.action: item for item in permissions.rehearse_permissions(settings, cloud.connections(), DR_REGION)}
    assert found["route53:GetChange"].verdict == "allowed"
    denied = found["rds:PromoteReadReplica"]
    assert denied.verdict == "denied"
    assert f"implicitDeny: allow rds:PromoteReadReplica on arn:aws:rds:{DR_REGION}" in denied.detail
    assert denied.resource.endswith(f":db:{REPLICA}")

    cloud.always = 500
    assert {item.verdict for item in permissions.rehearse_permissions(settings, cloud.connections(), DR_REGION)} == {
        "unknown"
    }


def test_the_policy_for_it_is_what_a_failover_asks_for(cloud: Cloud, tmp_path: Path) -> None:
    """Every operation is done once; `include/aws/failover.json` allows these and no more."""
    asked: set[str] = set()

    class Noting(FixedConnections):
        def aws_client(self, connection_id: str, service: str, region: str | None = None) -> Any:
            made = super().aws_client(connection_id, service, region)
            made.meta.events.register("provide-client-params", lambda model, **_: asked.add(f"{service}:{model.name}"))
            return made

    group = {"id": cloud.group, "region": PRODUCTION_REGION, "connection": CONNECTION}
    how = {"instance": "spoqplus-dr-restored", "source": REPLICA}
    settings = site(
        tmp_path,
        cloud,
        database={"replica": REPLICA, "restore": how},
        dns={"zone": cloud.zone},
        fence={"security_group": group},
    )
    connections = Noting(s3.record(cloud.endpoint, CONNECTION))
    api = {name: connections.aws_client(CONNECTION, name, DR_REGION) for name in ("rds", "route53", "cloudwatch")}
    permissions.rehearse_permissions(settings, connections, DR_REGION)
    rds.lag_by_cloudwatch(api["cloudwatch"], REPLICA, datetime.now(timezone.utc))
    rds.promote(api["rds"], REPLICA, **ASKS)
    cloud.client("rds").create_db_snapshot(DBInstanceIdentifier=REPLICA, DBSnapshotIdentifier="last")
    restore = RestoreInstanceSettings(**how)
    rds.restore_from_snapshot(api["rds"], restore, rds.find_snapshot(api["rds"], restore))
    change = route53.change(api["route53"], route53.plan_change(api["route53"], cloud.zone, batch(ADDRESS)))
    assert change
    route53.wait_in_sync(api["route53"], change, 5)
    fence.fence(settings, connections, tmp_path / "fence.json")
    fence.lift_fence(settings, connections, tmp_path / "fence.json")

    policy = json.loads((POLICIES / "failover.json").read_text())
    granted = {action for statement in policy["Statement"] for action in listed(statement["Action"])}
    free = {"sts:GetCallerIdentity"}  # needs no permission
    only_for_roles = {"iam:GetRole"}  # moto's caller is a user
    assert asked - free == granted - only_for_roles


def test_a_replica_says_itself_how_far_it_is_behind(db_server: SandboxServer, restore_target: SandboxServer) -> None:
    source, replica = servers.login(db_server), servers.login(restore_target)
    is_mysql = db_server.flavour == "mysql"
    where = f"'127.0.0.1', {'SOURCE' if is_mysql else 'MASTER'}_PORT={db_server.port}"
    setup, start, stop = (
        (
            f"CHANGE REPLICATION SOURCE TO SOURCE_HOST={where}, SOURCE_USER='repl', SOURCE_PASSWORD='r', "
            "GET_SOURCE_PUBLIC_KEY=1, SOURCE_AUTO_POSITION=0",
            "START REPLICA",
            ("STOP REPLICA", "RESET REPLICA ALL"),
        )
        if is_mysql
        else (
            f"CHANGE MASTER TO MASTER_HOST={where}, MASTER_USER='repl', MASTER_PASSWORD='r'",
            "START SLAVE",
            ("STOP SLAVE", "RESET SLAVE ALL"),
        )
    )
    servers.run(
        db_server,
        "CREATE USER repl@'127.0.0.1' IDENTIFIED BY 'r'",
        "GRANT REPLICATION SLAVE ON *.* TO repl@'127.0.0.1'",
    )
    servers.run(restore_target, "SET GLOBAL server_id = 77")
    try:
        with connect(source) as connection:
            place = connection.named_row("SHOW BINARY LOG STATUS" if is_mysql else "SHOW MASTER STATUS")
        word = "SOURCE" if is_mysql else "MASTER"
        servers.run(restore_target, f"{setup}, {word}_LOG_FILE='{place['File']}', {word}_LOG_POS={place['Position']}")
        stopped = server.lag_by_server(replica)
        assert stopped.seconds is None
        assert "does not replicate" in stopped.detail
        servers.run(restore_target, start)
        servers.wait_until(lambda: server.lag_by_server(replica).seconds == 0, 30, "a running replica")
        servers.run(db_server, "CREATE DATABASE arrived")
        servers.wait_until(
            lambda: bool(servers.run(restore_target, "SHOW DATABASES LIKE 'arrived'")), 30, "replication"
        )
        assert server.lag_by_server(replica).by == "server"
    finally:
        for statement in stop:
            servers.run(restore_target, statement)
        servers.run(restore_target, "SET GLOBAL server_id = 1")
        servers.run(db_server, "DROP USER repl@'127.0.0.1'", "DROP DATABASE IF EXISTS arrived")
