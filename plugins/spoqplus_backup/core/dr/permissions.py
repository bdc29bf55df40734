"""Whether a failover would be allowed, asked without doing anything: IAM's policy simulator.

What can't be simulated is said so: it is a finding for whoever reads the rehearsal, never an error of it.
"""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import Any, Literal

from spoqplus_backup.core.connections import Connections
from spoqplus_backup.core.dr.errors import aws_calls
from spoqplus_backup.core.dr.rds import find_instance
from spoqplus_backup.core.errors import BackupError
from spoqplus_backup.core.settings import Settings
from spoqplus_backup.core.settings_dr import DrSettings

Wanted = tuple[str, str]  # an action and a resource's ARN, or `*`


@dataclass(frozen=True)
class Permission:
    """What the simulator says of an action on a resource."""

    action: str
    resource: str
    verdict: Literal["allowed", "denied", "unknown"]
    detail: str


def rehearse_permissions(settings: Settings, connections: Connections, region: str) -> list[Permission]:
    """Everything that a failover would ask of AWS and EC2 has no dry run for."""
    dr = settings.dr
    if dr is None:
        return []
    sts, iam, rds = (connections.aws_client(dr.connection, service, region) for service in ("sts", "iam", "rds"))
    return simulate(sts, iam, list(_wanted(dr, rds, region)))


def _wanted(dr: DrSettings, rds: Any, region: str) -> Iterator[Wanted]:
    try:
        instance = find_instance(rds, dr.database.replica).arn
    except BackupError:
        instance = f"arn:aws:rds:{region}:*:db:{dr.database.replica}"
    yield "rds:DescribeDBInstances", instance
    yield "rds:PromoteReadReplica", instance
    yield "cloudwatch:GetMetricStatistics", "*"
    if dr.database.restore is not None:
        yield "rds:DescribeDBSnapshots", "*"
        yield "rds:RestoreDBInstanceFromDBSnapshot", "*"
    if dr.dns is not None:
        zone = f"arn:aws:route53:::hostedzone/{dr.dns.zone}"
        yield "route53:GetHostedZone", zone
        yield "route53:ListResourceRecordSets", zone
        yield "route53:ChangeResourceRecordSets", zone
        yield "route53:GetChange", "arn:aws:route53:::change/*"


def simulate(sts: Any, iam: Any, wanted: Sequence[Wanted]) -> list[Permission]:
    """Ask the simulator for whoever the client is."""
    try:
        principal = _principal(sts, iam)
        return [_simulated(iam, principal, action, resource) for action, resource in wanted]
    except BackupError as error:
        return [Permission(action, resource, "unknown", str(error)) for action, resource in wanted]


def _principal(sts: Any, iam: Any) -> str:
    """The ARN of the user or role; a session's names its role without the path, which IAM knows."""
    with aws_calls("To ask who the connection is"):
        arn = str(sts.get_caller_identity()["Arn"])
    kind, _, name = arn.split(":", 5)[5].partition("/")
    if kind == "user":
        return arn
    if kind != "assumed-role":
        raise BackupError(f"{arn} is no user and no role, so nothing could be simulated for it.")
    role = name.split("/")[0]
    with aws_calls(f"To look up the role {role}"):
        return str(iam.get_role(RoleName=role)["Role"]["Arn"])


def _simulated(iam: Any, principal: str, action: str, resource: str) -> Permission:
    with aws_calls(f"To simulate {action} for {principal}"):
        answer = iam.simulate_principal_policy(
            PolicySourceArn=principal, ActionNames=[action], ResourceArns=[resource]
        )["EvaluationResults"]
    if not answer:
        return Permission(action, resource, "unknown", "the simulator answered nothing")
    decision = str(answer[0]["EvalDecision"])
    blocked = answer[0].get("OrganizationsDecisionDetail", {}).get("AllowedByOrganizations") is False
    if decision == "allowed" and not blocked:
        return Permission(action, resource, "allowed", principal)
    why = "the organization's policy forbids it" if blocked else decision
    return Permission(action, resource, "denied", f"{principal}: {why}: allow {action} on {resource}")
