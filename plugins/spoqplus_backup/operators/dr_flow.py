"""The failover's operators: assess, rehearsal, and the steps, each behind the look at who agreed.

What a step does is the core's, and the operators' of `operators/dr.py`; here is what stands around it: nothing
changes before two different people said so, one failover at a time, each step is noted and told.
"""

import logging
from collections.abc import Mapping, Sequence
from datetime import datetime, timezone
from typing import TYPE_CHECKING, Any, ClassVar

from airflow.sdk.bases.skipmixin import SkipMixin
from airflow.sdk.exceptions import AirflowSkipException, DownstreamTasksSkipped

from spoqplus_backup.core.errors import PermanentError
from spoqplus_backup.messages import duration, notice_text, text
from spoqplus_backup.operators.base import WARNINGS_KEY, SiteOperator, run_name
from spoqplus_backup.operators.dr import RdsPromoteReadReplicaOperator, Route53ChangeOperator, TerraformOperator
from spoqplus_backup.operators.dr import RdsRestoreSnapshotOperator as RestoreSnapshotOperator
from spoqplus_backup.operators.dr_approval import ASSESS, approvers, assessed, check_agreed
from spoqplus_backup.operators.notify import NotifyOperator, tell_failover_step
from spoqplus_backup.operators.restore import MARKDOWN_KEY, LoadOperator, VerifyRestoreOperator

if TYPE_CHECKING:
    from airflow.sdk import Context

    from spoqplus_backup.core.dr.findings import Assessment
    from spoqplus_backup.core.dr.journal import Journal
    from spoqplus_backup.core.settings import Settings
    from spoqplus_backup.hooks import AirflowConnections
    from spoqplus_backup.notifications.message import Message
    from spoqplus_backup.notifications.report import RunReport

log = logging.getLogger(__name__)

REHEARSAL = "rehearsal"
RESTORE_GROUP = "restore"
OF_WAY = {"promote_replica": "replica", "restore_snapshot": "snapshot"}  # and all of the restore group: backups
STEPS = ("fence", "promote_replica", "restore_snapshot", "apply_terraform") + (
    *(f"{RESTORE_GROUP}.{name}" for name in ("plan", "fetch", "load", "apply_binlogs", "verify_restore")),
    *("health", "switch_dns", "verify"),
)
OVER = frozenset({"success", "failed"})  # states of a run


class AssessOperator(SiteOperator, SkipMixin):
    """Validates every parameter, looks at everything a failover needs, and writes one page of what it found.

    A rehearsal skips everything but its own verdict, a failover the ways that it does not take.
    """

    inherits_from_skipmixin = True
    ui_color = "#e8f0fe"

    def work(self, context: "Context", settings: "Settings", connections: "AirflowConnections") -> Any:
        """Look. The result is pushed before the skipping, which ends the task."""
        from spoqplus_backup.core.dr.assess import assess
        from spoqplus_backup.core.dr.request import validate_request
        from spoqplus_backup.failover_text import assessment_markdown

        run = context["dag_run"]
        by_itself = str(getattr(run.run_type, "value", run.run_type)) in ("scheduled", "backfill")
        reason = text(settings.language, "dr.scheduled") if by_itself else None
        request = validate_request(settings, context["params"], scheduled=reason)
        now = datetime.now(timezone.utc)
        found = assess(settings, connections, request, run_name(context), run.run_after, now)
        markdown = assessment_markdown(settings, found)
        log.info("%s", markdown)
        ti = context["ti"]
        ti.xcom_push(key=MARKDOWN_KEY, value=markdown)
        ti.xcom_push(key="return_value", value=_summary(settings, found))
        if request.mode == "failover" and found.way is None:
            raise PermanentError(text(settings.language, "dr.error.no_way"))
        downstream = self.get_flat_relatives(upstream=False)
        self.skip(ti, [task for task in downstream if not needs(found, task.task_id)])


def needs(found: "Assessment", task_id: str) -> bool:
    """Whether a run with these findings needs a task."""
    if task_id == "notify":
        return True
    if found.request.mode == "rehearsal" or task_id == REHEARSAL:
        return found.request.mode == "rehearsal" and task_id == REHEARSAL
    return way_of(task_id) in (None, found.way)


def way_of(task_id: str) -> str | None:
    """The way that a task belongs to; None: to all."""
    return "backups" if task_id.startswith(f"{RESTORE_GROUP}.") else OF_WAY.get(task_id)


def _summary(settings: "Settings", found: "Assessment") -> dict[str, Any]:
    def said(verdict: str) -> list[str]:
        return [
            notice_text(settings.language, finding.what.model_dump())
            for finding in found.findings
            if finding.verdict == verdict
        ]

    return {
        **found.request.model_dump(),
        "made_at": found.made_at.isoformat(),
        "clock_from": found.clock_from.isoformat(),
        "production": found.production,
        "way": found.way,
        "lost_minutes": {
            way.way: None if (seconds := way.lost_seconds(found.made_at)) is None else round(seconds / 60, 1)
            for way in found.ways
            if way.usable
        },
        "complete_until": next(
            (
                way.complete_until.isoformat()
                for way in found.ways
                if way.way == found.way and way.complete_until is not None
            ),
            None,
        ),
        "fails": said("fails"),
        "warnings": said("warning"),
    }


class RehearsalOperator(SiteOperator):
    """The verdict of a rehearsal: red, with each reason, when a failover would fail."""

    ui_color = "#e6f4ea"

    def work(self, context: "Context", settings: "Settings", connections: "AirflowConnections") -> Any:
        """Judge what was found."""
        found = context["ti"].xcom_pull(task_ids=ASSESS)
        if not found:
            raise PermanentError(text(settings.language, "dr.error.no_assessment"))
        for line in found["fails"]:
            log.error("%s", line)
        if found["fails"]:
            raise PermanentError(
                text(
                    settings.language,
                    "dr.error.would_fail",
                    count=len(found["fails"]),
                    words="; ".join(found["fails"]),
                )
            )
        return {"warnings": found["warnings"]}


class FailoverStep(SiteOperator):
    """What stands around each step of a failover.

    It looks once more at the approvals of two people, which have to be of this very assessment: a task that was marked
    as a success by hand does not count. It holds the lease, notes what happens in the journal, and tells Slack.
    A step that the site's file says nothing of, or of another way than the run takes, is skipped.
    """

    ui_color = "#fad2cf"
    section: ClassVar[str | None] = None  # of `dr` in the site's file; None: the step needs none

    def execute(self, context: "Context") -> Any:
        """Look whether it may, do it, note and tell it."""
        from spoqplus_backup.sites import site

        settings = site(self.site)
        self.guarded(context, self._begin)
        try:
            result = super().execute(context)
        except (AirflowSkipException, DownstreamTasksSkipped):
            raise
        except Exception as error:
            self._note_failure(context, settings, error)
            raise
        return self._end(context, settings, result)

    def execute_complete(self, context: "Context", event: Mapping[str, Any]) -> Any:
        """The end of a step that waited elsewhere."""
        from spoqplus_backup.sites import site

        settings = site(self.site)
        try:
            result = super().execute_complete(context, event)  # type: ignore[misc]  # of a deferrable operator
        except Exception as error:
            self._note_failure(context, settings, error)
            raise
        return self._end(context, settings, result)

    def prepare(self, context: "Context", settings: "Settings") -> None:
        """What a step takes from those before it."""

    def conclude(self, context: "Context", settings: "Settings", result: Any) -> list[str]:
        """What a person should know of a step that is done."""
        return []

    @property
    def step(self) -> str:
        """Its name: the task's, with its group."""
        return str(self.task_id)

    def _begin(self, context: "Context", settings: "Settings", connections: "AirflowConnections") -> None:
        from spoqplus_backup.core.dr.lease import hold
        from spoqplus_backup.core.dr.places import dr_repository
        from spoqplus_backup.core.dr.server import dr_settings

        found = assessed(context, settings)
        if way_of(self.step) not in (None, found["way"]):
            raise AirflowSkipException(text(settings.language, "dr.log.other_way", way=found["way"]))
        check_agreed(context, settings, found)
        if self.section is not None and getattr(dr_settings(settings), self.section) is None:
            raise AirflowSkipException(text(settings.language, "dr.log.not_configured", section=self.section))
        hold(dr_repository(settings, connections), run_name(context), lambda run: is_over(context, run))
        self.prepare(context, settings)
        journal(context, settings).note(
            self.step, "begun", found["reason"], way=found["way"], approved_by=", ".join(approvers(context))
        )

    def _note_failure(self, context: "Context", settings: "Settings", error: Exception) -> None:
        lines = str(error).strip().splitlines() or [type(error).__name__]
        journal(context, settings).note(self.step, "failed", lines[0])

    def _end(self, context: "Context", settings: "Settings", result: Any) -> Any:
        warnings = self.conclude(context, settings, result)
        for line in warnings:
            log.warning("%s", line)
        if warnings:
            context["ti"].xcom_push(key=WARNINGS_KEY, value=warnings)
        words = _words(settings, self.step, result)
        journal(context, settings).note(self.step, "done", words, warnings="; ".join(warnings) or None)
        tell_failover_step(context, settings, self.step, words, warnings, used_seconds(context))
        return result


def used_seconds(context: "Context") -> float:
    """How much of the recovery time is used."""
    found = context["ti"].xcom_pull(task_ids=ASSESS)
    return (datetime.now(timezone.utc) - datetime.fromisoformat(found["clock_from"])).total_seconds()


def is_over(context: "Context", run: str) -> bool:
    """Whether a run is one of this DAG here that has ended; of what is not known here nobody can say so."""
    dag_id, _, run_id = run.partition("/")
    ti = context["ti"]
    if dag_id != ti.dag_id:
        return False
    try:
        return str(ti.get_dagrun_state(dag_id, run_id)) in OVER
    except Exception as error:  # noqa: BLE001 (whatever Airflow says of a run that it does not know)
        log.info("%s is no run of this Airflow: %s", run, error)
        return False


def journal(context: "Context", settings: "Settings") -> "Journal":
    """Where this run notes what it does."""
    from spoqplus_backup.core.dr.journal import Journal, journal_places
    from spoqplus_backup.hooks import AirflowConnections

    places = journal_places(settings, AirflowConnections())
    # not the run's start, which is another one when something was cleared
    return Journal(places, run_name(context), context["dag_run"].run_after)


def _words(settings: "Settings", step: str, result: Any) -> str:
    """What a step did, in a sentence."""
    values = {name: value for name, value in (result or {}).items() if isinstance(value, (str, int, float, bool))}
    named = {
        "fence": ("steps",),
        "promote_replica": ("identifier", "endpoint"),
        "restore_snapshot": ("identifier", "snapshot"),
        "apply_terraform": ("add", "change", "destroy"),
        "health": ("names",),
        "switch_dns": ("said",),
        "verify": ("names",),
    }.get(step, ("said",))
    fields = {name: values.get(name, "-") for name in named}
    return text(settings.language, f"dr.done.{step}", **fields)


class FenceOperator(FailoverStep):
    """Keeps the old primary from taking writes. What can't be reached is a warning: two people know that it is gone."""

    section = "fence"

    def work(self, context: "Context", settings: "Settings", connections: "AirflowConnections") -> Any:
        """Fence."""
        from spoqplus_backup.core.dr.fence import fence
        from spoqplus_backup.core.dr.folder import dr_folder

        steps = fence(settings, connections, dr_folder(settings) / "fence.json")
        said = [f"{step.name}: {step.state}" + (f" ({step.detail})" if step.detail else "") for step in steps]
        for line in said:
            log.info("%s", line)
        if refused := [line for line, step in zip(said, steps, strict=True) if step.state == "refused"]:
            raise PermanentError(text(settings.language, "dr.error.fence_refused", words="; ".join(refused)))
        left = [line for line, step in zip(said, steps, strict=True) if step.state == "unreachable"]
        return {"steps": "; ".join(said), "unreachable": left}

    def conclude(self, context: "Context", settings: "Settings", result: Any) -> list[str]:
        return [text(settings.language, "dr.warning.not_fenced", words=line) for line in result["unreachable"]]


class PromoteReplicaStep(FailoverStep, RdsPromoteReadReplicaOperator):
    """Promotes the replica, and looks whether it has everything that the archived logs hold."""

    def conclude(self, context: "Context", settings: "Settings", result: Any) -> list[str]:
        from spoqplus_backup.core.dr.ways import lacks
        from spoqplus_backup.hooks import AirflowConnections

        missing = lacks(settings, AirflowConnections(), result.get("gtids"))
        if missing is None:
            return []
        return [text(settings.language, "dr.warning.lacks", log=missing.name, time=str(missing.last_at))]


class RestoreSnapshotStep(FailoverStep, RestoreSnapshotOperator):
    """Makes an instance of RDS's newest snapshot."""


class ApplyTerraformStep(FailoverStep, TerraformOperator):
    """Makes the application's servers."""

    section = "terraform"

    def prepare(self, context: "Context", settings: "Settings") -> None:
        from spoqplus_backup.core.dr.endpoint import of_terraform

        self.variables = of_terraform(settings, endpoint(context, settings))


def endpoint(context: "Context", settings: "Settings") -> dict[str, str]:
    """Where the database is by now, as a variable."""
    from spoqplus_backup.core.dr.endpoint import database_endpoint
    from spoqplus_backup.hooks import AirflowConnections

    return database_endpoint(settings, AirflowConnections(), assessed(context, settings)["region"])


class PlanDrRestoreOperator(FailoverStep):
    """Plans the restore into the new instance: the newest backup of the DR region, and every log behind it.

    An instance that holds data which no failover of ours put there is left alone.
    """

    def work(self, context: "Context", settings: "Settings", connections: "AirflowConnections") -> Any:
        """Plan."""
        from spoqplus_backup.core.dr.restore import plan_restore
        from spoqplus_backup.plan_text import plan_markdown

        region = assessed(context, settings)["region"]
        plan = plan_restore(settings, connections, run_name(context), region)
        markdown = plan_markdown(settings, plan)
        log.info("%s", markdown)
        context["ti"].xcom_push(key=MARKDOWN_KEY, value=markdown)
        return {"said": f"{plan.backup} → {plan.target}", "backup": plan.backup, "seconds": plan.seconds}


class LoadDrOperator(FailoverStep, LoadOperator):
    """Loads the backup into the new instance."""


class VerifyDrRestoreOperator(FailoverStep, VerifyRestoreOperator):
    """Compares the new instance with the backup's manifest."""


class HealthOperator(FailoverStep):
    """Asks the DR side until it is healthy: the database, the site's checks and pages."""

    ui_color = "#e6f4ea"

    def work(self, context: "Context", settings: "Settings", connections: "AirflowConnections") -> Any:
        """Ask."""
        from spoqplus_backup.core.dr.health import wait_until_healthy

        region = assessed(context, settings)["region"]
        answers = wait_until_healthy(settings, connections, region)
        return said_by(settings, answers)


def said_by(settings: "Settings", answers: Sequence[Any]) -> dict[str, Any]:
    """Answers as XCom; each is in the log."""
    lines = []
    for answer in answers:
        line = " ".join(notice_text(settings.language, words.model_dump()) for words in answer.words)
        lines.append(f"{answer.name}: {line}")
        log.info("%s", lines[-1])
    return {"names": ", ".join(answer.name for answer in answers), "answers": lines}


class SwitchDnsStep(FailoverStep, Route53ChangeOperator):
    """Leads people to the DR region, now that there is something to lead them to."""

    section = "dns"

    def prepare(self, context: "Context", settings: "Settings") -> None:
        outputs = (context["ti"].xcom_pull(task_ids="apply_terraform") or {}).get("outputs") or {}
        self.variables = endpoint(context, settings) | outputs

    def conclude(self, context: "Context", settings: "Settings", result: Any) -> list[str]:
        result["said"] = "; ".join(result["changes"]) or "-"
        return []


class VerifyFailoverOperator(FailoverStep):
    """Asks everything once more, and the public pages, which the DNS leads to by now: the failover is complete."""

    ui_color = "#e6f4ea"

    def work(self, context: "Context", settings: "Settings", connections: "AirflowConnections") -> Any:
        """Verify, and measure."""
        from spoqplus_backup.core.dr.health import wait_until_public

        found = assessed(context, settings)
        result = said_by(settings, wait_until_public(settings, connections, found["region"]))
        used, limit = used_seconds(context), settings.objectives.rto_hours * 3600
        log.info(
            "%s",
            text(
                settings.language,
                "dr.log.measured",
                used=duration(settings.language, used),
                limit=duration(settings.language, limit),
            ),
        )
        return result | {"rto_seconds": used, "rto_limit_seconds": limit, "complete_until": found["complete_until"]}


class NotifyFailoverOperator(NotifyOperator):
    """Reports the run: the verdict of a rehearsal, or which steps of a failover are done and which are not."""

    runbook = "dr_failover"
    stands_alone = True

    def has_succeeded(self, states: Mapping[str, str | None]) -> bool:
        return super().has_succeeded(states) or states.get(REHEARSAL) == "success"

    def work(self, context: "Context", settings: "Settings", connections: "AirflowConnections") -> Any:
        """Let the next failover begin, then tell and judge."""
        from spoqplus_backup.core.dr.lease import let_go
        from spoqplus_backup.core.dr.places import dr_repository

        if settings.dr is not None and (context["ti"].xcom_pull(task_ids=ASSESS) or {}).get("mode") == "failover":
            let_go(dr_repository(settings, connections), run_name(context))
        return super().work(context, settings, connections)

    def message(self, context: "Context", report: "RunReport") -> "Message":
        from spoqplus_backup.notifications.dr_failover import Failover, failover_message
        from spoqplus_backup.operators.notify import task_states

        pull, states = context["ti"].xcom_pull, task_states(context)
        found = pull(task_ids=ASSESS)
        return failover_message(
            report,
            Failover(
                found=found,
                states={name: states.get(name) for name in STEPS},
                approvers=tuple(approvers(context)),
                used_seconds=used_seconds(context) if found else None,
                warnings=tuple(line for name in STEPS for line in pull(task_ids=name, key=WARNINGS_KEY) or ()),
            ),
        )
