"""The restore chain's operators: plan, fetch, rebuild, load, replay, copy, files, owners, verify, start, put back.

The approval between them is Airflow's own.
"""

import logging
from collections.abc import Sequence
from typing import TYPE_CHECKING, Any, NamedTuple

from airflow.providers.standard.exceptions import HITLTimeoutError
from airflow.providers.standard.operators.hitl import HITLOperator
from airflow.sdk.bases.skipmixin import SkipMixin
from airflow.sdk.exceptions import AirflowFailException, AirflowSkipException

from spoqplus_backup.core.errors import PermanentError
from spoqplus_backup.messages import text
from spoqplus_backup.operators.base import SiteOperator, log_summary, remember, run_name

if TYPE_CHECKING:
    from airflow.sdk import Context

    from spoqplus_backup.core.recovery.plan import RestorePlan
    from spoqplus_backup.core.recovery.request import RestoreRequest
    from spoqplus_backup.core.settings import Settings
    from spoqplus_backup.hooks import AirflowConnections

log = logging.getLogger(__name__)

APPROVE = "Approve"  # the option of Airflow's ApprovalOperator
PRODUCTION = "production"
REBUILD_TASKS = ("rebuild", "start_service")
UNDO_TASKS = ("after_failure", "put_back")
LOAD_TASK = "load"
FILE_TASKS = ("restore_files", "set_ownership")
COPY_TASK = "copy_tables"
DIFFERENCES_KEY = "differences"  # XCom of verify_restore: what differs between the copied tables and those of now
MARKDOWN_KEY = "markdown"  # XCom of the plan task: the plan as a person reads it


class PlanRestoreOperator(SiteOperator, SkipMixin):
    """Validates every parameter of the run, writes the plan down, and skips what this restore does not need.

    A restore to the test server needs neither approval nor safety backup, one without a target no replay; a dry run
    and a search for transactions need nothing more at all.

    :param approve_task_id: the task that asks a person.
    :param safety_group_id: the task group that saves what will be replaced.
    :param replay_task_id: the task that replays binary logs.
    """

    inherits_from_skipmixin = True
    template_fields: Sequence[str] = ("approve_task_id", "safety_group_id", "replay_task_id")
    ui_color = "#e8f0fe"

    def __init__(
        self, *, approve_task_id: str, safety_group_id: str, replay_task_id: str = "apply_binlogs", **kwargs: Any
    ) -> None:
        super().__init__(**kwargs)
        self.approve_task_id = approve_task_id
        self.safety_group_id = safety_group_id
        self.replay_task_id = replay_task_id

    def work(self, context: "Context", settings: "Settings", connections: "AirflowConnections") -> Any:
        """Plan. The result is pushed before the skipping, which ends the task."""
        from spoqplus_backup.core.recovery.planning import make_plan
        from spoqplus_backup.core.recovery.request import of_database, validate_request
        from spoqplus_backup.plan_text import found_markdown, plan_markdown

        request = validate_request(settings, context["params"])
        if request.finds:
            markdown, summary = found_markdown(settings, connections, request)
            end: str | None = "log.found"
        else:
            plan = make_plan(settings, connections, request, run_name(context))
            markdown, summary = plan_markdown(settings, plan), _summary(settings, plan)
            end = "log.dry_run" if request.dry_run else None
        log.info("%s", markdown)
        ti = context["ti"]
        ti.xcom_push(key=MARKDOWN_KEY, value=markdown)
        ti.xcom_push(key="return_value", value=summary)
        if end is not None:
            log.info("%s", text(settings.language, end))
        downstream = self.get_flat_relatives(upstream=False)
        of_server = of_database(settings, request).components
        scope = Scope(server=bool(of_server), files=len(of_server) < len(request.components))
        self.skip(ti, [task for task in downstream if not self.needs(request, task.task_id, scope)])

    def needs(self, request: "RestoreRequest", task_id: str, scope: "Scope") -> bool:
        """Whether what was asked for needs this task."""
        if request.dry_run or request.finds:
            return False
        if task_id == self.approve_task_id:
            return request.environment == PRODUCTION
        if task_id.startswith(f"{self.safety_group_id}."):
            return request.saves and scope.server
        needed = {
            self.replay_task_id: request.replays,
            LOAD_TASK: scope.server,
            COPY_TASK: request.place == "sandbox",
            **dict.fromkeys(REBUILD_TASKS, request.rebuild),
            **dict.fromkeys(UNDO_TASKS, request.rebuild or scope.files),
            **dict.fromkeys(FILE_TASKS, scope.files),
        }
        return needed.get(task_id, True)


class Scope(NamedTuple):
    """What a restore is about."""

    server: bool = True
    files: bool = False


def _summary(settings: "Settings", plan: "RestorePlan") -> dict[str, Any]:
    from spoqplus_backup.plan_text import plan_warnings

    replay = plan.replay
    return {
        "run": plan.run_id,
        "environment": plan.request.environment,
        "place": plan.place,
        "backup": plan.backup,
        "repository": plan.repository,
        "target": plan.target,
        "components": list(plan.component_names),
        "files": sum(planned.files for planned in plan.files),
        "overwrites": len(plan.overwrites),
        "objects": plan.objects,
        "rows": plan.rows,
        "fetch_bytes": plan.fetch_bytes,
        "sql_bytes": plan.sql_bytes,
        "seconds": plan.seconds,
        "rto_seconds": plan.rto_seconds,
        "warnings": plan_warnings(settings, plan),
        "point": replay.target.text if replay else None,
        "transactions": replay.transactions if replay else None,
        "last_at": replay.last_at.isoformat() if replay and replay.last_at else None,
    }


class SafetyPreflightOperator(SiteOperator):
    """Preflight of the backup of what the plan will overwrite; skipped, with the backup, when that is nothing."""

    ui_color = "#e8f0fe"

    def work(self, context: "Context", settings: "Settings", connections: "AirflowConnections") -> Any:
        """Connect, check, claim."""
        from spoqplus_backup.core.recovery.plan import load_plan
        from spoqplus_backup.core.recovery.restore import safety_preflight

        run = run_name(context)
        plan = load_plan(settings, run)
        report = safety_preflight(settings, connections, plan, run, context["dag_run"].run_after)
        if report is None:
            raise AirflowSkipException(text(settings.language, "log.nothing_overwritten"))
        return report.model_dump(mode="json")


class FetchOperator(SiteOperator):
    """Brings the set here and proves it: signature, sizes, checksums, key. Nothing reaches the server."""

    ui_color = "#e4f7fb"

    def work(self, context: "Context", settings: "Settings", connections: "AirflowConnections") -> Any:
        """Fetch."""
        from spoqplus_backup.core.recovery.plan import load_plan
        from spoqplus_backup.core.recovery.restore import fetch

        return log_summary(settings, fetch(settings, connections, load_plan(settings, run_name(context))))


class AgreedOperator(SiteOperator):
    """A step that takes away what is there.

    It looks once more at what stands before production: an approval of this very plan, and the safety backup. A task
    that was marked as a success or skipped by hand, or a plan that was made anew, does not count.

    :param approve_task_id: the task whose XCom says who approved it, and when.
    :param safety_task_id: the task that published the safety backup.
    """

    template_fields: Sequence[str] = ("approve_task_id", "safety_task_id")
    ui_color = "#fad2cf"

    def __init__(self, *, approve_task_id: str, safety_task_id: str, **kwargs: Any) -> None:
        super().__init__(**kwargs)
        self.approve_task_id = approve_task_id
        self.safety_task_id = safety_task_id

    def agreed_plan(self, context: "Context", settings: "Settings") -> "RestorePlan":
        """The plan, which a person agreed to where that is needed."""
        from spoqplus_backup.core.recovery.plan import load_plan

        plan = load_plan(settings, run_name(context))
        if plan.request.environment == PRODUCTION:
            self.check_agreed(context, settings, plan)
        return plan

    def check_agreed(self, context: "Context", settings: "Settings", plan: "RestorePlan") -> None:
        """Raise `PermanentError` unless a person agreed to this plan and what it overwrites was saved."""
        ti = context["ti"]
        approval = ti.xcom_pull(task_ids=self.approve_task_id)
        if not approval or approval["chosen_options"] != [APPROVE]:
            raise PermanentError(text(settings.language, "error.not_approved"))
        if approval["responded_at"] < plan.made_at:
            raise PermanentError(text(settings.language, "error.plan_changed"))
        if plan.request.saves and plan.replaces and not ti.xcom_pull(task_ids=self.safety_task_id):
            raise PermanentError(text(settings.language, "error.no_safety_backup"))
        user = (approval["responded_by_user"] or {}).get("name", "?")
        log.info("%s", text(settings.language, "log.approved", user=user, time=approval["responded_at"].isoformat()))


class RebuildOperator(AgreedOperator):
    """Stops the service, moves its data directory aside, makes an empty server in its place."""

    def work(self, context: "Context", settings: "Settings", connections: "AirflowConnections") -> Any:
        """Rebuild."""
        from spoqplus_backup.core.recovery.place import rebuild_server

        plan = self.agreed_plan(context, settings)
        if plan.place != "rebuild":
            raise AirflowSkipException(text(settings.language, "log.no_rebuild"))
        return log_summary(settings, rebuild_server(settings, connections, plan))


class LoadOperator(AgreedOperator):
    """Loads the set, table by table; finished tables are skipped when it is retried, not when it was cleared."""

    def work(self, context: "Context", settings: "Settings", connections: "AirflowConnections") -> Any:
        """Load."""
        from spoqplus_backup.core.recovery.restore import load_set

        plan = self.agreed_plan(context, settings)
        return log_summary(settings, load_set(settings, connections, plan, generation=context["ti"].max_tries))


class ApplyBinlogsOperator(SiteOperator):
    """Replays the fetched binary logs on what was loaded, up to the target; retried or cleared, it goes on.

    Without a target it is skipped by the plan, and by itself when it was cleared.
    """

    ui_color = "#fad2cf"

    def work(self, context: "Context", settings: "Settings", connections: "AirflowConnections") -> Any:
        """Replay."""
        from spoqplus_backup.core.recovery.plan import load_plan
        from spoqplus_backup.core.recovery.restore import roll_forward

        plan = load_plan(settings, run_name(context))
        if plan.replay is None and plan.place != "rebuild":  # a lost server's own logs may follow the backup
            raise AirflowSkipException(text(settings.language, "log.no_target"))
        return log_summary(settings, roll_forward(settings, connections, plan))


class CopyTablesOperator(AgreedOperator):
    """Copies single tables that were rolled forward in a sandbox into another schema of the server that people use."""

    def work(self, context: "Context", settings: "Settings", connections: "AirflowConnections") -> Any:
        """Copy."""
        from spoqplus_backup.core.recovery.single_tables import copy_out

        plan = self.agreed_plan(context, settings)
        if plan.place != "sandbox":
            raise AirflowSkipException(text(settings.language, "log.no_copy"))
        return log_summary(settings, copy_out(settings, connections, plan))


class RestoreFilesOperator(AgreedOperator):
    """Unpacks files beside their target, proves them, and puts them in place; what was there is kept aside.

    Retried it goes on, cleared it puts back what was there and begins anew.
    """

    def work(self, context: "Context", settings: "Settings", connections: "AirflowConnections") -> Any:
        """Restore the files."""
        from spoqplus_backup.core.recovery.files.steps import restore_files

        plan = self.agreed_plan(context, settings)
        if not plan.files:
            raise AirflowSkipException(text(settings.language, "log.no_files"))
        return log_summary(settings, restore_files(settings, connections, plan, generation=context["ti"].max_tries))


class SetOwnershipOperator(SiteOperator):
    """Gives restored files to whom the configuration says."""

    ui_color = "#fad2cf"

    def work(self, context: "Context", settings: "Settings", connections: "AirflowConnections") -> Any:
        """Set owners and modes."""
        from spoqplus_backup.core.recovery.files.steps import set_ownership
        from spoqplus_backup.core.recovery.plan import load_plan

        plan = load_plan(settings, run_name(context))
        if not plan.files:
            raise AirflowSkipException(text(settings.language, "log.no_files"))
        return log_summary(settings, set_ownership(settings, plan))


class VerifyRestoreOperator(SiteOperator):
    """Compares the target with the manifest: every object exists, row counts match, every file has its content.

    Of single tables at a point in time it also tells what differs from those of now.
    """

    ui_color = "#e6f4ea"

    def work(self, context: "Context", settings: "Settings", connections: "AirflowConnections") -> Any:
        """Verify."""
        from spoqplus_backup.core.recovery.plan import load_plan
        from spoqplus_backup.core.recovery.restore import verify_restored
        from spoqplus_backup.core.recovery.single_tables import compare_with_now
        from spoqplus_backup.plan_text import differences_markdown

        plan = load_plan(settings, run_name(context))
        summary = verify_restored(settings, connections, plan)
        if plan.has_database and (found := compare_with_now(settings, connections, plan)):
            log.info("%s", differences_markdown(settings, found))
            context["ti"].xcom_push(key=DIFFERENCES_KEY, value=[one.model_dump(mode="json") for one in found])
        if kept := summary.detail.get("kept_aside"):
            log.info("%s", text(settings.language, "restore.kept_aside", paths=kept, run=plan.run_id))
        return log_summary(settings, summary)


class StartServiceOperator(SiteOperator):
    """Starts the service on what was restored; from then on people use it."""

    ui_color = "#e6f4ea"

    def work(self, context: "Context", settings: "Settings", connections: "AirflowConnections") -> Any:
        """Start."""
        from spoqplus_backup.core.recovery.place import start_rebuilt
        from spoqplus_backup.core.recovery.plan import load_plan

        plan = load_plan(settings, run_name(context))
        if plan.place != "rebuild":
            raise AirflowSkipException(text(settings.language, "log.no_rebuild"))
        return log_summary(settings, start_rebuilt(settings, connections, plan))


class AskPutBackOperator(HITLOperator):
    """Asks a person whether what was moved aside is to be put back, when a restore failed; tells Slack so first.

    Nothing is asked when nothing was stopped or moved yet, or files were put back by the step that failed.

    :param site: the site's name; its settings are read when the task runs.
    """

    ui_color = "#fff4d6"

    def __init__(self, *, site: str, **kwargs: Any) -> None:
        super().__init__(**kwargs)
        self.site = site

    def execute(self, context: "Context") -> Any:
        """Ask, where there is something to ask."""
        from spoqplus_backup.core.recovery.undo import can_be_undone
        from spoqplus_backup.hooks import AirflowConnections
        from spoqplus_backup.operators.notify import tell_put_back
        from spoqplus_backup.sites import site

        settings = site(self.site)
        if not can_be_undone(settings, AirflowConnections(), run_name(context)):
            raise AirflowSkipException(text(settings.language, "log.no_rebuild"))
        tell_put_back(context, settings)
        return super().execute(context)

    def execute_complete(self, context: "Context", event: dict[str, Any]) -> Any:
        """The answer; when there was none in time, what state everything is left in: nothing is moved by itself."""
        from spoqplus_backup.sites import site

        try:
            return super().execute_complete(context, event)
        except HITLTimeoutError as error:
            settings, run = site(self.site), run_name(context)
            hours = f"{settings.restore.approval_hours:g}"
            unanswered = PermanentError(text(settings.language, "error.not_answered", hours=hours, run=run))
            remember(context, unanswered)
            raise AirflowFailException(str(unanswered)) from error


class PutBackOperator(SiteOperator):
    """Puts back what was moved aside, a server's data directory and files, when a person chose so.

    :param ask_task_id: the task that asked.
    """

    template_fields: Sequence[str] = ("ask_task_id",)
    ui_color = "#fad2cf"

    def __init__(self, *, ask_task_id: str, **kwargs: Any) -> None:
        super().__init__(**kwargs)
        self.ask_task_id = ask_task_id

    def work(self, context: "Context", settings: "Settings", connections: "AirflowConnections") -> Any:
        """Put back."""
        from spoqplus_backup.core.recovery.plan import load_plan
        from spoqplus_backup.core.recovery.undo import undo

        answer = context["ti"].xcom_pull(task_ids=self.ask_task_id)
        if not answer or answer["chosen_options"] != [text(settings.language, "after_failure.put_back")]:
            raise AirflowSkipException(text(settings.language, "log.not_put_back"))
        plan = load_plan(settings, run_name(context))
        return log_summary(settings, undo(settings, connections, plan))
