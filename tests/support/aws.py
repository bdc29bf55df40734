"""AWS in two regions, by moto: production's instance and its replica, a zone, a security group; and what goes wrong.

moto's answers are immediate, so a proxy in front of it makes the waiting: see `Cloud`.
"""

import contextlib
import re
import urllib.request
from collections.abc import Iterator
from dataclasses import dataclass, field
from functools import cache
from typing import Any
from urllib.parse import parse_qs

from spoqplus_backup.core.connections import ConnectionRecord
from support import s3
from support.connections import FixedConnections

PRODUCTION_REGION, DR_REGION = "ap-northeast-2", "ap-northeast-1"
PRIMARY, REPLICA = "spoqplus-production", "spoqplus-dr-replica"
DOMAIN = "spoqplus.example"
CONNECTION = "spoqplus_aws_dr"

_SOURCE = re.compile(rb"<ReadReplicaSourceDBInstanceIdentifier>[^<]*</ReadReplicaSourceDBInstanceIdentifier>")
_STATUS = re.compile(rb"<DBInstanceStatus>[^<]*</DBInstanceStatus>")
_SIMULATION = (
    b"<SimulatePrincipalPolicyResponse><SimulatePrincipalPolicyResult><EvaluationResults>%b</EvaluationResults>"
    b"</SimulatePrincipalPolicyResult></SimulatePrincipalPolicyResponse>"
)
_IDENTIFIER = re.compile(rb"DBInstanceIdentifier=([A-Za-z0-9-]+)")


@cache
def _direct(endpoint: str, service: str, region: str) -> Any:
    return FixedConnections(s3.record(endpoint)).aws_client("spoqplus_aws", service, region)


@dataclass
class Cloud(s3.Faults):
    """What AWS is to do. Statuses and codes of `Faults` are answers to requests that hold `within`.

    `states` are the next statuses of the replica that are told; the last of them again and again when `stuck`.
    `pending` is how often Route 53 says that a change is not everywhere yet; -1 is always.
    """

    upstream: str = ""
    zone: str = ""
    group: str = ""
    states: list[str] = field(default_factory=list)
    stuck: bool = False
    pending: int = 0
    promotions: int = 0  # that were asked for
    promoted: set[str] = field(default_factory=set)
    simulated: dict[str, str] = field(default_factory=dict)  # IAM's decisions by action; none: it can't simulate

    def connections(self, *more: ConnectionRecord) -> FixedConnections:
        """Connections to it, and more."""
        return FixedConnections(s3.record(self.endpoint, CONNECTION), s3.record(self.endpoint, "spoqplus_aws"), *more)

    def client(self, service: str, region: str = DR_REGION) -> Any:
        """A client that meets no faults."""
        return _direct(self.upstream, service, region)

    def records(self) -> dict[str, Any]:
        """The zone's records by name and type, but for those of every zone."""
        found = self.client("route53").list_resource_record_sets(HostedZoneId=self.zone)["ResourceRecordSets"]
        return {f"{item['Name']} {item['Type']}": item for item in found if item["Type"] not in ("NS", "SOA")}

    def rules(self) -> list[dict[str, Any]]:
        """The security group's rules for what comes in."""
        rules = self.client("ec2", PRODUCTION_REGION).describe_security_group_rules(
            Filters=[{"Name": "group-id", "Values": [self.group]}]
        )["SecurityGroupRules"]
        return [rule for rule in rules if not rule["IsEgress"]]


class CloudProxy(s3.FaultyProxy):
    """Answers as AWS does where moto does not: a promotion takes time, and a promoted instance has no source."""

    faults: Cloud

    def own_answer(self, asked: bytes) -> bytes | None:
        """IAM's simulator, which moto has not."""
        if b"Action=SimulatePrincipalPolicy" not in asked:
            return None
        asked_for = parse_qs(asked.decode())
        decision = self.faults.simulated.get(asked_for["ActionNames.member.1"][0])
        if decision is None:
            return _SIMULATION % b""
        member = f"<member><EvalActionName>x</EvalActionName><EvalDecision>{decision}</EvalDecision></member>"
        return _SIMULATION % member.encode()

    def changed(self, asked: bytes, content: bytes) -> bytes:
        cloud = self.faults
        name = match[1].decode() if (match := _IDENTIFIER.search(asked)) else ""
        if b"Action=PromoteReadReplica" in asked:
            cloud.promotions += 1
            cloud.promoted.add(name)
        if b"DBInstance" in asked and name:
            waits = bool(cloud.states)
            if b"Action=DescribeDBInstances" in asked and waits:
                state = cloud.states[0] if cloud.stuck and len(cloud.states) == 1 else cloud.states.pop(0)
                content = _STATUS.sub(f"<DBInstanceStatus>{state}</DBInstanceStatus>".encode(), content)
            if name in cloud.promoted and not waits:
                content = _SOURCE.sub(b"", content)
        if self.command == "GET" and "/change/" in self.path and cloud.pending:
            cloud.pending -= 1
            content = content.replace(b"INSYNC", b"PENDING")
        return content

    def refusal(self, code: str) -> bytes:
        return (
            f"<ErrorResponse><Error><Type>Sender</Type><Code>{code}</Code><Message>out of order</Message></Error>"
            "<RequestId>1</RequestId></ErrorResponse>"
        ).encode()


@contextlib.contextmanager
def cloud(upstream: str | None = None) -> Iterator[Cloud]:
    """moto with an instance and its replica in the DR region, a zone with two records, a security group.

    A moto that runs (`upstream`) is emptied before.
    """
    with contextlib.ExitStack() as stack:
        if upstream is None:
            upstream = stack.enter_context(s3.moto())
        else:
            urllib.request.urlopen(f"{upstream}/moto-api/reset", data=b"").read()
        found = Cloud(upstream=upstream)
        _furnish(found)
        yield stack.enter_context(s3.proxied(upstream, found, CloudProxy))


def _furnish(found: Cloud) -> None:
    primary = found.client("rds", PRODUCTION_REGION).create_db_instance(
        DBInstanceIdentifier=PRIMARY,
        DBInstanceClass="db.t3.medium",
        Engine="mysql",
        AllocatedStorage=20,
        MasterUsername="admin",
        MasterUserPassword="not-a-secret",
    )["DBInstance"]
    found.client("rds").create_db_instance_read_replica(
        DBInstanceIdentifier=REPLICA, SourceDBInstanceIdentifier=primary["DBInstanceArn"]
    )
    route53 = found.client("route53")
    found.zone = route53.create_hosted_zone(Name=DOMAIN, CallerReference="1")["HostedZone"]["Id"].rpartition("/")[2]
    change_records(
        found,
        {"Name": DOMAIN, "Type": "A", "TTL": 60, "ResourceRecords": [{"Value": "192.0.2.1"}]},
        {"Name": f"db.{DOMAIN}", "Type": "CNAME", "TTL": 60, "ResourceRecords": [{"Value": "old.example"}]},
    )
    ec2 = found.client("ec2", PRODUCTION_REGION)
    found.group = ec2.create_security_group(GroupName="spoqplus-database", Description="database")["GroupId"]
    ec2.authorize_security_group_ingress(
        GroupId=found.group,
        IpPermissions=[
            {
                "IpProtocol": "tcp",
                "FromPort": 3306,
                "ToPort": 3306,
                "IpRanges": [
                    {"CidrIp": "10.0.0.0/16", "Description": "application"},
                    {"CidrIp": "10.9.0.0/16"},
                ],
            },
            {"IpProtocol": "tcp", "FromPort": 22, "ToPort": 22, "IpRanges": [{"CidrIp": "10.1.0.0/16"}]},
        ],
    )


def change_records(found: Cloud, *records: dict[str, Any]) -> None:
    found.client("route53").change_resource_record_sets(
        HostedZoneId=found.zone,
        ChangeBatch={"Changes": [{"Action": "UPSERT", "ResourceRecordSet": record} for record in records]},
    )


def put_lag(found: Cloud, seconds: float, at: Any) -> None:
    found.client("cloudwatch").put_metric_data(
        Namespace="AWS/RDS",
        MetricData=[
            {
                "MetricName": "ReplicaLag",
                "Dimensions": [{"Name": "DBInstanceIdentifier", "Value": REPLICA}],
                "Timestamp": at,
                "Value": seconds,
                "Unit": "Seconds",
            }
        ],
    )
