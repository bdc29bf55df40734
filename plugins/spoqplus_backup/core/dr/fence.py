"""Keeps the old primary from taking writes while the DR region does: commands of ours, and its security group.

What can't be reached is a finding and no error: the region may be gone, which is why there is a failover.
"""

import json
import logging
import subprocess
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Literal

from spoqplus_backup.core import process
from spoqplus_backup.core.connections import Connections
from spoqplus_backup.core.dr.errors import aws_calls, code_of
from spoqplus_backup.core.errors import BackupError, PermanentError
from spoqplus_backup.core.settings import Settings
from spoqplus_backup.core.settings_dr import FenceSettings, SecurityGroupSettings
from spoqplus_backup.core.staging import read_json, write_json

log = logging.getLogger(__name__)

SAID_CHARACTERS = 300  # of a command's output, in a finding
_ANY_PROTOCOL = ("-1", "tcp", "6")

State = Literal["done", "already", "unreachable", "refused"]


@dataclass(frozen=True)
class FenceStep:
    """One step: `already` had nothing to do, `unreachable` may still succeed later, `refused` won't."""

    name: str
    state: State
    detail: str

    @property
    def is_up(self) -> bool:
        """Whether this part of the fence stands."""
        return self.state in ("done", "already")


def fence(settings: Settings, connections: Connections, note: Path) -> list[FenceStep]:
    """Raise the fence. `note` is a file that keeps the rules which are taken away, for `lift_fence`.

    Raises:
        Cancelled: the task was; nothing else.
    """
    how = _how(settings)
    if how is None:
        return []
    steps = [_run(command, how.command_seconds) for command in how.commands]
    if how.security_group is not None:
        steps.append(_guarded(how.security_group, lambda group: _revoke(_ec2(connections, group), group, note)))
    return steps


def rehearse_fence(settings: Settings, connections: Connections) -> list[FenceStep]:
    """What `fence` would do, with nothing changed: EC2 is asked whether it would, programs are looked up."""
    how = _how(settings)
    if how is None:
        return []
    steps = [_look_up(command) for command in how.commands]
    if how.security_group is not None:
        steps.append(_guarded(how.security_group, lambda group: _revoke_dry(_ec2(connections, group), group)))
    return steps


def lift_fence(settings: Settings, connections: Connections, note: Path) -> list[FenceStep]:
    """Put back the rules that `fence` took away; commands have to be undone by whoever wrote them."""
    how = _how(settings)
    if how is None or how.security_group is None:
        return []
    return [_guarded(how.security_group, lambda group: _authorize(_ec2(connections, group), group, note))]


def _how(settings: Settings) -> FenceSettings | None:
    return settings.dr.fence if settings.dr is not None else None


def _ec2(connections: Connections, group: SecurityGroupSettings) -> Any:
    return connections.aws_client(group.connection, "ec2", group.region)


def _guarded(group: SecurityGroupSettings, step: Any) -> FenceStep:
    try:
        found: FenceStep = step(group)
    except process.Cancelled:
        raise
    except PermanentError as error:
        found = FenceStep(group.id, "refused", str(error))
    except BackupError as error:
        found = FenceStep(group.id, "unreachable", str(error))
    log.info("fence %s: %s: %s", found.name, found.state, found.detail)
    return found


def _run(command: Sequence[str], seconds: float) -> FenceStep:
    """Run a command to its end; it is ended after so many seconds."""
    name = Path(command[0]).name
    try:
        path = process.find_program(command[0], "the package that has it")
        with process.Child([path, *command[1:]], stdout=subprocess.DEVNULL) as child:
            if not child.wait_for_end(seconds):
                child.terminate()
                child.finish(reason=f"took more than {seconds:g} s and was ended")
            child.finish()
            step = FenceStep(name, "done", child.stderr.strip()[-SAID_CHARACTERS:] or "exit status 0")
    except process.Cancelled:
        raise
    except PermanentError as error:
        step = FenceStep(name, "refused", str(error))
    except BackupError as error:
        step = FenceStep(name, "unreachable", str(error)[:SAID_CHARACTERS])
    log.info("fence %s: %s: %s", step.name, step.state, step.detail)
    return step


def _look_up(command: Sequence[str]) -> FenceStep:
    name = Path(command[0]).name
    try:
        return FenceStep(name, "done", process.find_program(command[0], "the package that has it"))
    except PermanentError as error:
        return FenceStep(name, "refused", str(error))


def _open_rules(ec2: Any, group: SecurityGroupSettings) -> list[dict[str, Any]]:
    """The rules that let anybody in at the port, also those that let in at more."""
    with aws_calls(f"To read the rules of {group.id} in {group.region}"):
        pages = ec2.get_paginator("describe_security_group_rules").paginate(
            Filters=[{"Name": "group-id", "Values": [group.id]}]
        )
        rules = [rule for page in pages for rule in page["SecurityGroupRules"] if not rule["IsEgress"]]
    return [rule for rule in rules if _lets_in(rule, group.port)]


def _lets_in(rule: dict[str, Any], port: int) -> bool:
    if str(rule["IpProtocol"]) not in _ANY_PROTOCOL:
        return False
    first, last = rule.get("FromPort", -1), rule.get("ToPort", -1)
    return str(rule["IpProtocol"]) == "-1" or -1 in (first, last) or first <= port <= last


def _revoke(ec2: Any, group: SecurityGroupSettings, note: Path) -> FenceStep:
    rules = _open_rules(ec2, group)
    if not rules:
        return FenceStep(group.id, "already", f"nothing lets anybody in at port {group.port}")
    kept = {rule["SecurityGroupRuleId"]: _permission(rule) for rule in rules}
    write_json(note, {**(read_json(note) or {}), **kept})  # before they go: a second try finds what the first took
    note.chmod(0o600)
    with aws_calls(f"To take {len(rules)} rules out of {group.id} in {group.region}"):
        ec2.revoke_security_group_ingress(GroupId=group.id, SecurityGroupRuleIds=list(kept))
    log.info("kept for failback: %s", json.dumps(kept))
    wide = sum(rule.get("FromPort") != rule.get("ToPort") or str(rule["IpProtocol"]) == "-1" for rule in rules)
    more = f"; {wide} of them let in at other ports, too" if wide else ""
    return FenceStep(
        group.id, "done", f"{len(rules)} rules taken away{more}; connections that are open stay until they end"
    )


def _revoke_dry(ec2: Any, group: SecurityGroupSettings) -> FenceStep:
    from botocore.exceptions import ClientError

    rules = _open_rules(ec2, group)
    if not rules:
        return FenceStep(group.id, "already", f"nothing lets anybody in at port {group.port}")
    with aws_calls(f"To try to take rules out of {group.id} in {group.region}"):
        try:
            ec2.revoke_security_group_ingress(
                GroupId=group.id, SecurityGroupRuleIds=[rule["SecurityGroupRuleId"] for rule in rules], DryRun=True
            )
        except ClientError as error:
            if code_of(error) != "DryRunOperation":
                raise
    return FenceStep(group.id, "done", f"{len(rules)} rules would be taken away")


def _permission(rule: dict[str, Any]) -> dict[str, Any]:
    """A rule as `authorize_security_group_ingress` takes it."""
    permission: dict[str, Any] = {"IpProtocol": rule["IpProtocol"]}
    permission |= {name: rule[name] for name in ("FromPort", "ToPort") if name in rule}
    note = {"Description": rule["Description"]} if rule.get("Description") else {}
    if rule.get("CidrIpv4"):
        permission["IpRanges"] = [{"CidrIp": rule["CidrIpv4"], **note}]
    elif rule.get("CidrIpv6"):
        permission["Ipv6Ranges"] = [{"CidrIpv6": rule["CidrIpv6"], **note}]
    elif rule.get("PrefixListId"):
        permission["PrefixListIds"] = [{"PrefixListId": rule["PrefixListId"], **note}]
    else:
        other = {name: value for name, value in rule["ReferencedGroupInfo"].items() if name in ("GroupId", "UserId")}
        permission["UserIdGroupPairs"] = [{**other, **note}]
    return permission


def _authorize(ec2: Any, group: SecurityGroupSettings, note: Path) -> FenceStep:
    from botocore.exceptions import ClientError

    kept = read_json(note)
    if not kept:
        return FenceStep(group.id, "already", f"no rules of it were taken away ({note})")
    back = 0
    for permission in kept.values():
        with aws_calls(f"To put a rule back into {group.id} in {group.region}"):
            try:
                ec2.authorize_security_group_ingress(GroupId=group.id, IpPermissions=[permission])
                back += 1
            except ClientError as error:
                if code_of(error) != "InvalidPermission.Duplicate":
                    raise
    return FenceStep(group.id, "done" if back else "already", f"{back} of {len(kept)} rules put back")
