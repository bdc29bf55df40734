"""Looks at everything that a failover needs, changes nothing, and says what would fail: `assess`, and a rehearsal."""

import logging
import time
from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import Future, ThreadPoolExecutor
from concurrent.futures import TimeoutError as TooLateError
from dataclasses import dataclass, field
from datetime import datetime, timedelta

from spoqplus_backup.core.connections import Connections
from spoqplus_backup.core.dr import fence, permissions, route53, terraform
from spoqplus_backup.core.dr.endpoint import database_endpoint, of_terraform
from spoqplus_backup.core.dr.findings import Assessment, Finding, Reached, Subject, Verdict, choose_way
from spoqplus_backup.core.dr.health import health_checks
from spoqplus_backup.core.dr.journal import LAST, REMEMBERED, Story, clock_from, journal_places, stories
from spoqplus_backup.core.dr.production import look_at_production
from spoqplus_backup.core.dr.request import FailoverRequest
from spoqplus_backup.core.dr.server import dr_settings
from spoqplus_backup.core.dr.ways import Found, look_at_ways
from spoqplus_backup.core.errors import AbsentError, BackupError, SettingsError
from spoqplus_backup.core.notice import Notice, notice
from spoqplus_backup.core.process import Cancelled
from spoqplus_backup.core.settings import Settings

log = logging.getLogger(__name__)

MOST_SHOWN = 30
LOOK_SECONDS = 180  # what does not answer by then is gone, for this night


@dataclass
class _Look:
    """What the looks around need, and what they fill in; each look has fields of its own."""

    settings: Settings
    connections: Connections
    request: FailoverRequest
    run_id: str
    now: datetime
    production: Reached = "unreachable"
    ways: Found = field(default_factory=Found)
    told: list[Story] = field(default_factory=list)
    changes: tuple[str, ...] = ()
    resources: tuple[str, ...] = ()


Look = Callable[[_Look], Iterator[Finding]]


def assess(
    settings: Settings,
    connections: Connections,
    request: FailoverRequest,
    run_id: str,
    started_at: datetime,
    now: datetime,
) -> Assessment:
    """Look at everything, all at once: a region that is gone answers slowly.

    Args:
        settings: the site.
        connections: where its credentials are.
        request: what was asked for.
        run_id: `<dag id>/<run id>`.
        started_at: when that run began.
        now: the time.
    """
    look = _Look(settings, connections, request, run_id, now)
    deadline = time.monotonic() + LOOK_SECONDS
    pool = ThreadPoolExecutor(max_workers=len(_LOOKS))
    try:
        found = [(subject, pool.submit(_looked, subject, one, look)) for subject, one in _LOOKS]
        findings = [finding for subject, future in found for finding in _in_time(subject, future, deadline)]
    finally:
        pool.shutdown(wait=False, cancel_futures=True)
    clock = clock_from(look.told, run_id, started_at)
    left = timedelta(hours=settings.objectives.rto_hours) - (now - clock)
    way = choose_way(look.ways.ways, now, left)
    return Assessment(
        run_id=run_id,
        made_at=now,
        request=request,
        production=look.production,
        findings=tuple(_softened(findings, way)),
        ways=tuple(look.ways.ways),
        way=way,
        clock_from=clock,
        changes=look.changes[:MOST_SHOWN],
        resources=look.resources[:MOST_SHOWN],
    )


def _in_time(subject: Subject, future: "Future[list[Finding]]", deadline: float) -> list[Finding]:
    try:
        return future.result(timeout=max(0.0, deadline - time.monotonic()))
    except TooLateError:
        return [
            _finding(subject, "fails", notice("dr.late", "There was no answer in {seconds} s.", seconds=LOOK_SECONDS))
        ]


def _softened(findings: Sequence[Finding], way: str | None) -> Iterator[Finding]:
    """Backups that can't be restored are no reason for a failover to fail as long as there is a replica."""
    for finding in findings:
        spare = way == "replica" and finding.subject == "backups" and finding.verdict == "fails"
        yield finding.model_copy(update={"verdict": "warning"}) if spare else finding


def _looked(subject: Subject, one: Look, look: _Look) -> list[Finding]:
    try:
        return list(one(look))
    except Cancelled:
        raise
    except (BackupError, OSError) as error:
        return [_finding(subject, "fails", notice("dr.error", "It can't be looked at: {words}", words=error))]


def _finding(subject: Subject, verdict: Verdict, what: Notice) -> Finding:
    return Finding(subject=subject, verdict=verdict, what=what)


def _production(look: _Look) -> Iterator[Finding]:
    look.production, findings = look_at_production(look.settings, look.connections, look.request.mode)
    yield from findings


def _ways(look: _Look) -> Iterator[Finding]:
    look.ways = look_at_ways(look.settings, look.connections, look.request.region, look.now)
    yield from look.ways.findings


def _terraform(look: _Look) -> Iterator[Finding]:
    dr = dr_settings(look.settings)
    if dr.terraform is None:
        yield _finding(
            "terraform",
            "warning",
            notice("dr.terraform.none", "`dr.terraform` is not set: the application's servers are started by hand."),
        )
        return
    opened = terraform.open_terraform(
        look.settings,
        look.connections,
        f"{look.run_id}#assess",
        region=look.request.region,
        variables=of_terraform(look.settings, _endpoint(look)),
    )
    opened.init()
    try:
        planned = opened.plan()
    finally:  # the step makes its own; this one holds variables, and nobody applies it
        opened.forget_plan()
    look.resources = tuple(planned.resources)
    refused = bool(planned.destroys) and not dr.terraform.allow_destroy
    yield _finding(
        "terraform",
        "fails" if refused else "good",
        notice(
            "dr.terraform",
            "Terraform would add {add}, change {change} and destroy {destroy} ({seconds} s for the plan).",
            add=planned.add,
            change=planned.change,
            destroy=planned.destroy,
            seconds=f"{planned.seconds:.0f}",
        ),
    )


def _endpoint(look: _Look) -> dict[str, str]:
    """Where the database will be, as far as it is known now."""
    try:
        return database_endpoint(look.settings, look.connections, look.request.region)
    except AbsentError:
        return {}


def _dns(look: _Look) -> Iterator[Finding]:
    dr = dr_settings(look.settings)
    if dr.dns is None:
        yield _finding("dns", "warning", notice("dr.dns.none", "`dr.dns` is not set: the DNS is switched by hand."))
        return
    try:
        known = {"region": look.request.region} | _endpoint(look) | dr.dns.variables
        batch = route53.render(dr.dns.template, known)
    except SettingsError as error:
        # what Terraform's outputs fill in is known when it has run
        verdict: Verdict = "fails" if dr.terraform is None else "warning"
        yield _finding(
            "dns", verdict, notice("dr.dns.later", "The change of the DNS is not known yet: {words}", words=error)
        )
        return
    client = look.connections.aws_client(dr.connection, "route53", look.request.region)
    planned = route53.plan_change(client, dr.dns.zone, batch)
    look.changes = tuple(change.text for change in planned.changes)
    yield _finding(
        "dns",
        "good",
        notice(
            "dr.dns",
            "The zone {zone} can be read; {count} records would change.",
            zone=planned.zone_name,
            count=sum(change.differs for change in planned.changes),
        ),
    )


def _fence(look: _Look) -> Iterator[Finding]:
    if dr_settings(look.settings).fence is None:
        yield _finding(
            "fence",
            "warning",
            notice("dr.fence.none", "`dr.fence` is not set: nothing keeps the old primary from taking writes."),
        )
        return
    verdicts: dict[str, Verdict] = {"refused": "fails", "unreachable": "warning"}
    for step in fence.rehearse_fence(look.settings, look.connections):
        words = {"step": step.name, "state": step.state, "detail": step.detail or "-"}
        yield _finding(
            "fence",
            verdicts.get(step.state, "good"),
            notice("dr.fence", "{step}: {state} ({detail})", **words),
        )


def _permissions(look: _Look) -> Iterator[Finding]:
    asked = permissions.rehearse_permissions(look.settings, look.connections, look.request.region)
    unknown = [permission for permission in asked if permission.verdict == "unknown"]
    for permission in asked:
        if permission.verdict == "denied":
            yield _finding(
                "permissions",
                "fails",
                notice(
                    "dr.permissions.denied",
                    "{action} on {resource} is denied ({detail}).",
                    action=permission.action,
                    resource=permission.resource,
                    detail=permission.detail or "-",
                ),
            )
    if unknown:
        yield _finding(
            "permissions",
            "warning",
            notice(
                "dr.permissions.unknown",
                "{count} permissions can't be simulated ({detail}).",
                count=len(unknown),
                detail=unknown[0].detail or "-",
            ),
        )
    if allowed := sum(permission.verdict == "allowed" for permission in asked):
        yield _finding(
            "permissions",
            "good",
            notice("dr.permissions", "{count} permissions are there, says the policy simulator.", count=allowed),
        )


def _health(look: _Look) -> Iterator[Finding]:
    names = health_checks(look.settings)
    if not names:
        yield _finding(
            "health",
            "warning",
            notice("dr.health.none", "`dr.health` names no checks and no pages: only the database is looked at."),
        )
        return
    yield _finding("health", "good", notice("dr.health", "Checks before the DNS: {names}.", names=", ".join(names)))


def _earlier(look: _Look) -> Iterator[Finding]:
    look.told = stories(journal_places(look.settings, look.connections), look.now - REMEMBERED)
    for story in look.told:
        done = [step for step, entry in story.last.items() if entry.event == "done"]
        verdict: Verdict = "warning"
        words = {
            "run": story.run,
            "time": f"{story.started_at:%Y-%m-%d %H:%M:%S} UTC",
            "done": ", ".join(done) or "-",
            "open": ", ".join(f"{step} ({entry.event})" for step, entry in story.last.items() if step not in done)
            or ("-" if LAST in done else LAST),
        }
        yield _finding(
            "earlier",
            verdict,
            notice("dr.earlier", "{run} of {time}: done {done}; not done: {open}.", **words),
        )


_LOOKS: Sequence[tuple[Subject, Look]] = (
    ("production", _production),
    ("replica", _ways),
    ("earlier", _earlier),
    ("terraform", _terraform),
    ("dns", _dns),
    ("fence", _fence),
    ("permissions", _permissions),
    ("health", _health),
)
