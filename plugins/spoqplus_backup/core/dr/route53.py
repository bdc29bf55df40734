"""The switch in Route 53: a change batch from a template, what it changes, the change itself, and what DNS says then.

The template is a change batch as the AWS command line takes it, with `$NAME` where a value goes. Only UPSERT is
allowed: a second time it changes nothing, and what was there before is kept as the batch that puts it back.
"""

import json
import logging
import time
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from string import Template
from typing import Any

from spoqplus_backup.core.dr.errors import aws_calls
from spoqplus_backup.core.dr.rds import pause
from spoqplus_backup.core.errors import BackupError, PermanentError, SettingsError

log = logging.getLogger(__name__)

IN_SYNC = "INSYNC"
EXAMPLE = "include/route53/dr-failover.json"
_ALONE = ("CNAME",)  # no other type may stand beside it


def render(path: Path, variables: Mapping[str, str]) -> dict[str, Any]:
    """The change batch of a template.

    Raises:
        SettingsError: it can't be read, a name in it has no value, or Route 53 would not understand it.
    """
    try:
        text = path.read_text("utf-8")
    except (OSError, UnicodeDecodeError) as error:
        raise SettingsError(f"{path} can't be read ({error}): correct `dr.dns.template`.") from error
    # a value that holds a quote must not become JSON of its own
    values = {name: json.dumps(str(value), ensure_ascii=False)[1:-1] for name, value in variables.items()}
    try:
        batch = json.loads(Template(text).substitute(values))
    except KeyError as error:
        raise SettingsError(
            f"{path}: ${error.args[0]} has no value: set it in `dr.dns.variables`, or give Terraform an output of that "
            f"name (there are {', '.join(sorted(variables)) or 'none'})."
        ) from error
    except ValueError as error:  # a lone $, or no JSON
        raise SettingsError(f"{path} is no template of a change batch ({error}): write it as {EXAMPLE}.") from error
    _check(path, batch)
    return dict(batch)


def _check(path: Path, batch: Any) -> None:
    from botocore.session import get_session
    from botocore.validate import ParamValidator

    shape = get_session().get_service_model("route53").shape_for("ChangeBatch")
    report = ParamValidator().validate(batch, shape)
    if report.has_errors():
        words = report.generate_report().replace("\n", "; ")
        raise SettingsError(f"{path} is no change batch of Route 53: {words}: write it as {EXAMPLE}.")
    for number, change in enumerate(batch["Changes"], 1):
        record = change["ResourceRecordSet"]
        if change["Action"] != "UPSERT":
            raise SettingsError(
                f"{path}: change {number} is {change['Action']}: write UPSERT; nothing is deleted in a failover."
            )
        if ("AliasTarget" in record) == bool(record.get("ResourceRecords")):
            raise SettingsError(f"{path}: change {number} needs either AliasTarget or ResourceRecords.")
        if "ResourceRecords" in record and "TTL" not in record:
            raise SettingsError(f"{path}: change {number} has no TTL: set one of 60 seconds or so.")


@dataclass(frozen=True)
class RecordChange:
    """A record as it is, and as it is to be. `before` None: there is none."""

    before: Mapping[str, Any] | None
    after: Mapping[str, Any]

    @property
    def name(self) -> str:
        """Its name, with the last dot."""
        return _name(self.after["Name"])

    @property
    def type(self) -> str:
        """A, CNAME, ..."""
        return str(self.after["Type"])

    @property
    def differs(self) -> bool:
        """Whether the change changes anything."""
        return self.before is None or _comparable(self.before) != _comparable(self.after)

    @property
    def text(self) -> str:
        """For people."""
        before = _said(self.before) if self.before else "-"
        return f"{self.name} {self.type}: {before}" + (f" → {_said(self.after)}" if self.differs else " (as it is)")


@dataclass(frozen=True)
class DnsPlan:
    """What a change batch would do to a zone. `servers` are the zone's name servers."""

    zone: str
    zone_name: str
    servers: tuple[str, ...]
    changes: tuple[RecordChange, ...]
    batch: Mapping[str, Any]

    @property
    def pending(self) -> tuple[RecordChange, ...]:
        """What is not yet so."""
        return tuple(change for change in self.changes if change.differs)

    @property
    def failback(self) -> dict[str, Any] | None:
        """The change batch that puts back what is there now; None when nothing would change."""
        if not self.pending:
            return None
        back = [
            {"Action": "UPSERT", "ResourceRecordSet": dict(change.before)}
            if change.before
            else {"Action": "DELETE", "ResourceRecordSet": dict(change.after)}
            for change in self.pending
        ]
        return {"Comment": f"Back from the DR region: {self.zone_name} as it was", "Changes": back}


def _name(name: str) -> str:
    """As Route 53 lists it."""
    return name.lower().replace("*", "\\052").rstrip(".") + "."


def _comparable(record: Mapping[str, Any]) -> dict[str, Any]:
    found = {name: value for name, value in record.items() if value not in (None, [], {})}
    found["Name"] = _name(str(record["Name"]))
    if "ResourceRecords" in found:
        found["ResourceRecords"] = sorted(item["Value"] for item in found["ResourceRecords"])
    if alias := found.get("AliasTarget"):
        found["AliasTarget"] = {**alias, "DNSName": _name(str(alias["DNSName"]))}
    return found


def _said(record: Mapping[str, Any]) -> str:
    if alias := record.get("AliasTarget"):
        said = f"alias {alias['DNSName']}"
    else:
        said = f"{', '.join(item['Value'] for item in record.get('ResourceRecords') or ())} (TTL {record.get('TTL')})"
    return f"{said} [{record['SetIdentifier']}]" if record.get("SetIdentifier") else said


def plan_change(route53: Any, zone: str, batch: Mapping[str, Any]) -> DnsPlan:
    """Compare a change batch with the zone.

    Raises:
        PermanentError: there is no such zone, a name lies outside of it, or the change could never be made.
    """
    with aws_calls(f"To look at the zone {zone}"):
        found = route53.get_hosted_zone(Id=zone)
    zone_name = _name(found["HostedZone"]["Name"])
    changes = []
    for change in batch["Changes"]:
        record = change["ResourceRecordSet"]
        name = _name(record["Name"])
        if name != zone_name and not name.endswith(f".{zone_name}"):
            raise PermanentError(f"{name} lies outside of {zone} ({zone_name}): correct `dr.dns.zone` or the template.")
        changes.append(RecordChange(before=_present(route53, zone, record), after=record))
    servers = tuple((found.get("DelegationSet") or {}).get("NameServers") or ())
    return DnsPlan(zone=zone, zone_name=zone_name, servers=servers, changes=tuple(changes), batch=batch)


def _present(route53: Any, zone: str, wanted: Mapping[str, Any]) -> Mapping[str, Any] | None:
    """The record that a change would overwrite."""
    name, key = _name(wanted["Name"]), (wanted["Type"], wanted.get("SetIdentifier"))
    same_name = []
    with aws_calls(f"To list the records of {zone}"):
        pages = route53.get_paginator("list_resource_record_sets").paginate(
            HostedZoneId=zone, StartRecordName=name.replace("\\052", "*")
        )
        for page in pages:
            same_name += [record for record in page["ResourceRecordSets"] if _name(record["Name"]) == name]
            if page["ResourceRecordSets"] and _name(page["ResourceRecordSets"][-1]["Name"]) != name:
                break
    for record in same_name:
        if (record["Type"], record.get("SetIdentifier")) == key:
            return dict(record)
        if record["Type"] != key[0] and (record["Type"] in _ALONE or key[0] in _ALONE):
            raise PermanentError(
                f"{name} is a {record['Type']} in {zone}, and nothing can stand beside a CNAME: write the template's "
                f"{key[0]} as {record['Type']}, or make it {key[0]} now, before it matters."
            )
        if record["Type"] == key[0] and bool(record.get("SetIdentifier")) != bool(key[1]):
            raise PermanentError(
                f"{name} {key[0]} is {_said(record)} in {zone}: a record with a routing policy and one without can't "
                "stand beside each other: give the template's the same SetIdentifier and policy."
            )
    return None


def change(route53: Any, plan: DnsPlan) -> str | None:
    """Send the change batch when it changes anything; the change's id, or None.

    Raises:
        BackupError: Route 53 is busy with an earlier change, throttles or is out of order.
        PermanentError: it rejects the batch, of which nothing is done then.
    """
    if not plan.pending:
        log.info("%s is as the change batch would have it: nothing to change", plan.zone_name)
        return None
    with aws_calls(f"To change {len(plan.pending)} records of {plan.zone} ({plan.zone_name})"):
        answer = route53.change_resource_record_sets(HostedZoneId=plan.zone, ChangeBatch=dict(plan.batch))
    change_id = str(answer["ChangeInfo"]["Id"]).rpartition("/")[2]
    for item in plan.pending:
        log.info("changed (%s): %s", change_id, item.text)
    return change_id


def wait_in_sync(route53: Any, change_id: str, seconds: float, poll_seconds: float = 5) -> None:
    """Wait until all of Route 53's name servers know a change.

    Raises:
        BackupError: they did not in so many seconds.
        Cancelled: the task was.
    """
    end = time.monotonic() + seconds
    while True:
        with aws_calls(f"To ask for the change {change_id}"):
            status = route53.get_change(Id=change_id)["ChangeInfo"]["Status"]
        log.info("change %s is %s", change_id, status)
        if status == IN_SYNC:
            return
        if time.monotonic() >= end:
            raise BackupError(
                f"The change {change_id} is still {status} after {seconds:g} s (`dr.dns.wait_seconds`): it is made and "
                "spreads; a retry waits on."
            )
        pause(min(poll_seconds, seconds))


def resolve(
    plan: DnsPlan, names: Sequence[str], servers: Sequence[str], seconds: float, poll_seconds: float = 2
) -> dict[str, list[str]]:
    """Ask the zone's name servers (or `servers`) for names until they answer what the plan sets.

    A name that the plan does not set, and one with a routing policy or an alias, has to have some answer.

    Raises:
        BackupError: they did not in so many seconds; it says what they answered.
        Cancelled: the task was.
    """
    resolver = _resolver(servers or plan.servers)
    end = time.monotonic() + seconds
    answers: dict[str, list[str]] = {}
    for wanted in _wanted(plan, names):
        while not wanted.fits(found := wanted.ask(resolver)):
            if time.monotonic() >= end:
                raise BackupError(
                    f"{wanted.name} {wanted.type} is {', '.join(found) or 'not answered'} at "
                    f"{', '.join(servers or plan.servers) or 'the resolver of this machine'}, not "
                    f"{', '.join(wanted.values) or 'any address'}, after {seconds:g} s: look at the zone's delegation."
                )
            pause(min(poll_seconds, seconds))
        log.info("%s %s is %s", wanted.name, wanted.type, ", ".join(found))
        answers[wanted.name] = found
    return answers


@dataclass(frozen=True)
class _Question:
    name: str
    type: str
    values: tuple[str, ...]  # empty: any

    def fits(self, found: Sequence[str]) -> bool:
        return sorted(found) == sorted(self.values) if self.values else bool(found)

    def ask(self, resolver: Any) -> list[str]:
        import dns.exception

        try:
            answer = resolver.resolve(self.name, self.type, raise_on_no_answer=False)
        except dns.exception.DNSException as error:
            log.info("%s %s: %s", self.name, self.type, error)
            return []
        return sorted(_value(str(item)) for item in answer.rrset or ())


def _value(text: str) -> str:
    return text.lower().rstrip(".") if not text.startswith('"') else text


def _wanted(plan: DnsPlan, names: Sequence[str]) -> list[_Question]:
    """What to ask: names with a wildcard can't be asked for."""
    chosen = {_name(name) for name in names}
    questions = {}
    for item in plan.changes:
        if item.name.startswith("\\052") or (chosen and item.name not in chosen):
            continue
        fixed = "AliasTarget" not in item.after and not item.after.get("SetIdentifier")
        values = tuple(_value(record["Value"]) for record in item.after.get("ResourceRecords") or ()) if fixed else ()
        questions[item.name, item.type] = _Question(item.name, item.type, values)
    known = {name for name, _ in questions}
    questions |= {(name, "A"): _Question(name, "A", ()) for name in sorted(chosen - known)}
    return list(questions.values())


def _resolver(servers: Sequence[str]) -> Any:
    """dnspython's, asking only these; the machine's own when there are none (a private zone)."""
    import dns.nameserver
    import dns.resolver

    if not servers:
        return dns.resolver.Resolver()
    resolver = dns.resolver.Resolver(configure=False)
    resolver.cache = None
    resolver.lifetime = 5
    resolver.nameservers = [
        dns.nameserver.Do53Nameserver(address, port)
        for server in servers
        for address, port in [_address(server)]
        if address
    ]
    if not resolver.nameservers:
        raise BackupError(f"None of the name servers {', '.join(servers)} has an address: look at this machine's DNS.")
    return resolver


def _address(server: str) -> tuple[str | None, int]:
    """The address and port of a name server: `ns-1.awsdns-1.com`, `10.0.0.2`, `127.0.0.1:5353`, `[::1]:5353`."""
    import socket

    host, _, port = server.rpartition(":") if server.count(":") == 1 or server.startswith("[") else (server, "", "")
    try:
        found = socket.getaddrinfo(host.strip("[]"), int(port or 53), type=socket.SOCK_DGRAM)
    except (OSError, ValueError) as error:
        log.info("the name server %s has no address: %s", server, error)
        return None, 0
    return str(found[0][4][0]), int(port or 53)
