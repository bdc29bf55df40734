"""Retention's operators: plan and delete for each repository, then a report. The approval between is Airflow's own."""

import logging
from collections.abc import Sequence
from datetime import datetime
from typing import TYPE_CHECKING, Any

from airflow.sdk.bases.skipmixin import SkipMixin

from spoqplus_backup.core.errors import PermanentError
from spoqplus_backup.messages import text
from spoqplus_backup.operators.base import SiteOperator, run_name

if TYPE_CHECKING:
    from airflow.sdk import Context

    from spoqplus_backup.core.repository.retention_model import RepositoryPlan
    from spoqplus_backup.core.settings import Settings
    from spoqplus_backup.hooks import AirflowConnections

log = logging.getLogger(__name__)

APPROVE = "Approve"  # the option of Airflow's ApprovalOperator
MARKDOWN_KEY = "markdown"  # XCom: the plan or the report as a person reads it
DRY_RUN = "dry_run"  # the DAG's parameter
ENDED = ("success", "failed", "skipped", "upstream_failed", "removed")  # states of Airflow's


class RepositoryOperator(SiteOperator):
    """A step in one repository.

    :param repository: its name in the configuration.
    :param approve_task_id: the task that asks a person when much would go.
    """

    template_fields: Sequence[str] = ("repository", "approve_task_id")

    def __init__(self, *, repository: str, approve_task_id: str, **kwargs: Any) -> None:
        super().__init__(**kwargs)
        self.repository = repository
        self.approve_task_id = approve_task_id


class PlanRetentionOperator(RepositoryOperator, SkipMixin):
    """Decides what stays in a repository and what goes, with the reason for each; the whole table is in its log.

    The approval is skipped unless more would go than may without a person. A dry run ends here, and so does one of a
    repository that an earlier run has asked a person about.

    :param delete_task_id: the task that carries the plan out.
    """

    inherits_from_skipmixin = True
    template_fields: Sequence[str] = ("repository", "approve_task_id", "delete_task_id")
    ui_color = "#e8f0fe"

    def __init__(self, *, delete_task_id: str, **kwargs: Any) -> None:
        super().__init__(**kwargs)
        self.delete_task_id = delete_task_id

    def work(self, context: "Context", settings: "Settings", connections: "AirflowConnections") -> Any:
        """Plan. The result is pushed before the skipping, which ends the task."""
        from spoqplus_backup.core.retention.planning import note_asked, plan_repository
        from spoqplus_backup.retention_text import MOST_ROWS, plan_markdown

        plan = plan_repository(settings, connections, self.repository, run_name(context))
        dry_run = bool(context["params"].get(DRY_RUN))
        asking = self.asked_elsewhere(context, settings) if plan.needs_approval and not dry_run else None
        log.info("%s", plan_markdown(settings, self.repository, plan))
        ti = context["ti"]
        ti.xcom_push(key=MARKDOWN_KEY, value=plan_markdown(settings, self.repository, plan, MOST_ROWS))
        ti.xcom_push(key="return_value", value=_summary(settings, plan) | {"asked_by": asking})
        if dry_run:
            log.info("%s", text(settings.language, "log.dry_run"))
        elif asking is not None:
            log.info("%s", text(settings.language, "log.asked_already", run=asking))
        elif plan.needs_approval:
            note_asked(settings, run_name(context), self.repository)
            _tell(context, settings, self.repository, plan)
        downstream = self.get_flat_relatives(upstream=False)
        unneeded = self.unneeded(plans_only=dry_run or asking is not None, needs_approval=plan.needs_approval)
        self.skip(ti, [task for task in downstream if task.task_id in unneeded])

    def asked_elsewhere(self, context: "Context", settings: "Settings") -> str | None:
        """An earlier run that waits for a person, or deletes what one agreed to; None: there is none."""
        from spoqplus_backup.core.retention.planning import asked_by

        run = asked_by(settings, self.repository)
        if run is None or run == run_name(context):
            return None
        ti, run_id = context["ti"], run.partition("/")[2]
        states = ti.get_task_states(dag_id=ti.dag_id, run_ids=[run_id]).get(run_id, {})
        under_way = any(states.get(task, ENDED[0]) not in ENDED for task in (self.approve_task_id, self.delete_task_id))
        return run if under_way else None

    def unneeded(self, *, plans_only: bool, needs_approval: bool) -> set[str]:
        """The tasks that such a run skips."""
        if plans_only:
            return {self.approve_task_id, self.delete_task_id}
        return set() if needs_approval else {self.approve_task_id}


def _summary(settings: "Settings", plan: "RepositoryPlan") -> dict[str, Any]:
    from spoqplus_backup.retention_text import MOST_CHARACTERS, MOST_ROWS, problems, why_kept

    gone = plan.deletions
    sets = [item.name for item in gone if item.kind == "set"]
    return {
        "delete": len(gone),
        "bytes": sum(item.bytes for item in gone),
        "sets": len(sets),
        "first_sets": sets[:MOST_ROWS],
        "keep": len(plan.decisions) - len(gone),
        "why_kept": why_kept(plan),
        "newest": plan.newest,
        "nothing_good": plan.nothing_good,
        "share": round(plan.share, 3),
        "needs_approval": plan.needs_approval,
        "problems": [words[:MOST_CHARACTERS] for words in problems(settings, plan)[:20]],
    }


def _tell(context: "Context", settings: "Settings", repository: str, plan: "RepositoryPlan") -> None:
    from spoqplus_backup.operators.notify import tell_retention_approval

    tell_retention_approval(context, settings, repository, plan)


class DeleteOperator(RepositoryOperator):
    """Deletes what was planned, as far as it would be planned now; its XCom says what went and what was refused.

    It fails when the repository refused something, after everything else that was planned has gone.
    """

    ui_color = "#fad2cf"

    def work(self, context: "Context", settings: "Settings", connections: "AirflowConnections") -> Any:
        """Delete."""
        from spoqplus_backup.core.retention.deleting import carry_out
        from spoqplus_backup.core.retention.planning import load_plan
        from spoqplus_backup.retention_text import MOST_CHARACTERS, MOST_ROWS, report_markdown

        run = run_name(context)
        plan = load_plan(settings, run, self.repository)
        if plan.needs_approval:
            self.check_approved(context, settings, plan.made_at)
        report = carry_out(settings, connections, self.repository, plan, run)
        log.info("%s", report_markdown(settings, [report]))
        context["ti"].xcom_push(
            key="return_value", value=report.shortened(MOST_ROWS, MOST_CHARACTERS).model_dump(mode="json")
        )
        if report.refused:
            raise PermanentError(
                text(
                    settings.language,
                    "error.refused",
                    repository=self.repository,
                    count=len(report.refused),
                    words=report.refused[0],
                )
            )

    def check_approved(self, context: "Context", settings: "Settings", made_at: datetime) -> None:
        """Raise `PermanentError` unless a person agreed to this very plan."""
        approval = context["ti"].xcom_pull(task_ids=self.approve_task_id)
        if not approval or approval["chosen_options"] != [APPROVE]:
            raise PermanentError(text(settings.language, "error.retention_not_approved"))
        if approval["responded_at"] < made_at:
            raise PermanentError(text(settings.language, "error.plan_changed"))
        user = (approval["responded_by_user"] or {}).get("name", "?")
        log.info("%s", text(settings.language, "log.approved", user=user, time=approval["responded_at"].isoformat()))


class ReportRetentionOperator(SiteOperator):
    """Says what went from each repository, and proves that each still has its newest backup. Runs whatever happened.

    :param plan_task_ids: for each repository, by name, the task that planned.
    :param delete_task_ids: the task that deleted.
    """

    template_fields: Sequence[str] = ()
    ui_color = "#e6f4ea"

    def __init__(self, *, plan_task_ids: dict[str, str], delete_task_ids: dict[str, str], **kwargs: Any) -> None:
        super().__init__(**kwargs)
        self.plan_task_ids = plan_task_ids
        self.delete_task_ids = delete_task_ids

    def work(self, context: "Context", settings: "Settings", connections: "AirflowConnections") -> Any:
        """Look, and report."""
        from spoqplus_backup.core.retention.checking import check_newest
        from spoqplus_backup.core.retention.planning import forget_run
        from spoqplus_backup.core.retention.report import RetentionReport
        from spoqplus_backup.retention_text import report_markdown

        pull = context["ti"].xcom_pull
        plans = {name: pull(task_ids=task_id) for name, task_id in self.plan_task_ids.items()}
        reports = [
            RetentionReport.model_validate(found)
            for task_id in self.delete_task_ids.values()
            if (found := pull(task_ids=task_id)) is not None
        ]
        markdown = report_markdown(settings, reports)
        log.info("%s", markdown)
        context["ti"].xcom_push(key=MARKDOWN_KEY, value=markdown)
        newest = {name: plan["newest"] for name, plan in plans.items() if plan and plan["newest"]}
        lost = check_newest(settings, connections, newest)
        if lost:
            raise PermanentError(" ".join(lost))
        waiting = sum(bool(plan and plan["asked_by"]) for plan in plans.values())
        whole = len(reports) + waiting == len(self.delete_task_ids) and not any(report.refused for report in reports)
        if whole or context["params"].get(DRY_RUN):  # what failed may be cleared, and needs its plan
            forget_run(settings, run_name(context))
        return {
            "deleted": sum(report.deleted for report in reports),
            "bytes": sum(report.bytes for report in reports),
            "newest": newest,
        }
