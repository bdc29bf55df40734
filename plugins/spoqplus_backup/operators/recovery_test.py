"""The recovery test's operators around those of a restore: production's fingerprint, the sandbox, checks, report."""

import logging
from collections.abc import Sequence
from typing import TYPE_CHECKING, Any

from airflow.sdk.exceptions import AirflowFailException, AirflowSkipException

from spoqplus_backup.core.progress import human_bytes
from spoqplus_backup.messages import duration, notice_text, text
from spoqplus_backup.operators.base import ERROR_KEY, SiteOperator, log_summary, run_name
from spoqplus_backup.operators.notify import NotifyOperator, is_of, task_states
from spoqplus_backup.operators.restore import RestoreFilesOperator
from spoqplus_backup.web.links import REPORT_KEY, ReportLink

if TYPE_CHECKING:
    from airflow.sdk import Context

    from spoqplus_backup.core.proof.model import CheckResult
    from spoqplus_backup.core.settings import Settings
    from spoqplus_backup.hooks import AirflowConnections
    from spoqplus_backup.notifications.message import Message
    from spoqplus_backup.notifications.report import RunReport

log = logging.getLogger(__name__)

PROOF_KEY = "proof"  # XCom of the report task: the report's JSON
PAGE_KEY = "page"  # XCom of the report task: where the HTML is
STAGES = ("start_sandbox", "fetch", "load", "apply_binlogs", "restore_files")


class FingerprintOperator(SiteOperator):
    """Reads every row and definition of production in one snapshot; a retry keeps what nobody changed since."""

    ui_color = "#e8f0fe"

    def work(self, context: "Context", settings: "Settings", connections: "AirflowConnections") -> Any:
        """Read production."""
        from spoqplus_backup.core.proof import steps
        from spoqplus_backup.core.proof.definitions import load_checks
        from spoqplus_backup.core.proof.measure import measure

        checks = load_checks(settings)
        found = steps.read_production(
            settings,
            connections,
            run_name(context),
            context["dag_run"].run_after,
            lambda connection: measure(connection, checks, settings.database.databases),
        )
        log.info(
            "%s",
            text(
                settings.language,
                "log.fingerprint",
                tables=len(found.tables),
                rows=f"{found.rows:,}",
                place=f"{found.place.log}:{found.place.position}",
                seconds=duration(settings.language, found.seconds),
            ),
        )
        return {
            "tables": len(found.tables),
            "rows": found.rows,
            "place": found.place.model_dump(mode="json"),
            "seconds": found.seconds,
            "kept": found.kept,
        }


class StartSandboxOperator(SiteOperator):
    """Plans the restore up to production's place and makes an empty server for it; from here the time counts."""

    ui_color = "#fad2cf"

    def work(self, context: "Context", settings: "Settings", connections: "AirflowConnections") -> Any:
        """Start."""
        from spoqplus_backup.core.progress import Progress
        from spoqplus_backup.core.proof import steps
        from spoqplus_backup.core.run import StageSummary

        progress = Progress("start_sandbox")
        plan = steps.start_sandbox(settings, connections, run_name(context))
        summary = StageSummary(
            stage="start_sandbox",
            component="",
            parts=0,
            bytes_in=0,
            bytes_out=0,
            seconds=progress.seconds,
            detail={"backup": plan.backup, "repository": plan.repository, "sandbox": plan.connection or "private"},
        )
        return log_summary(settings, summary)


class RestoreTestFilesOperator(RestoreFilesOperator):
    """Restores the files below the test's own folder; behind it, everything is there, and the time stops."""

    def work(self, context: "Context", settings: "Settings", connections: "AirflowConnections") -> Any:
        """Restore the files, and note the time."""
        from spoqplus_backup.core.proof import steps
        from spoqplus_backup.core.recovery.plan import load_plan

        plan = load_plan(settings, run_name(context))
        summary = super().work(context, settings, connections) if plan.files else None
        steps.note_restored(settings, run_name(context))
        return summary


class CheckOperator(SiteOperator):
    """One check of what was restored: red when something is not as it should be, with what that is in its log.

    :param check: its name.
    """

    template_fields: Sequence[str] = ("check",)
    ui_color = "#e6f4ea"

    def __init__(self, *, check: str, **kwargs: Any) -> None:
        super().__init__(**kwargs)
        self.check = check

    def work(self, context: "Context", settings: "Settings", connections: "AirflowConnections") -> Any:
        """Check."""
        from spoqplus_backup.core.proof.results import perform

        return judged(settings, perform(settings, connections, run_name(context), self.check))


class MaskOperator(SiteOperator):
    """Overwrites personal data in the sandbox, for the checks behind it."""

    ui_color = "#fff4d6"

    def work(self, context: "Context", settings: "Settings", connections: "AirflowConnections") -> Any:
        """Mask."""
        from spoqplus_backup.core.proof import steps
        from spoqplus_backup.core.proof.mask import mask
        from spoqplus_backup.core.recovery.plan import load_plan

        _only_restored(context, settings)
        with steps.sandbox(settings, connections, load_plan(settings, run_name(context))) as login:
            return {"rows": mask(login, settings.recovery_test.mask)}


class OtherSetsOperator(SiteOperator):
    """Restores other sets, each as it was taken: the oldest monthly one now and then, one of the DR region always."""

    ui_color = "#e6f4ea"

    def work(self, context: "Context", settings: "Settings", connections: "AirflowConnections") -> Any:
        """Restore and count."""
        from spoqplus_backup.core.proof.results import keep
        from spoqplus_backup.core.proof.sets import due, prove_set
        from spoqplus_backup.core.proof.store import past_proofs
        from spoqplus_backup.core.repository.opener import open_repository

        _only_restored(context, settings)
        run_id = run_name(context)
        first = open_repository(settings, settings.primaries[0].name, connections)
        past = past_proofs(first, settings.signing.public_key_files, site=settings.site)
        found = [
            keep(settings, run_id, prove_set(settings, connections, run_id, name, repository, backup))
            for name, (repository, backup) in due(settings, connections, past).items()
        ]
        return [judged(settings, result) for result in found]


def _only_restored(context: "Context", settings: "Settings") -> None:
    """Skip the task unless the restore got to its end."""
    from spoqplus_backup.core.errors import PermanentError
    from spoqplus_backup.core.proof import steps

    try:
        if steps.record(settings, run_name(context)).restored_at is not None:
            return
    except PermanentError:  # not even begun
        pass
    raise AirflowSkipException(text(settings.language, "log.not_restored"))


def judged(settings: "Settings", result: "CheckResult") -> dict[str, Any]:
    """Say what a check found.

    Raises:
        AirflowFailException: it did not pass: trying again would find the same.
    """
    evidence = [notice_text(settings.language, item.model_dump()) for item in result.evidence]
    title = result.title[settings.language]
    for line in evidence:
        log.info("%s: %s", title, line)
    if result.verdict != "passed":
        raise AirflowFailException(f"{title}: {' '.join(evidence)}")
    return {"check": result.name, "verdict": result.verdict, "evidence": evidence, "seconds": result.seconds}


class ReportOperator(SiteOperator):
    """Puts everything together, keeps the signed report in every repository, and is red unless the test passed.

    :param check_task_ids: the tasks whose failures are results of checks.
    """

    template_fields: Sequence[str] = ("check_task_ids",)
    operator_extra_links = (ReportLink(),)
    ui_color = "#fce8e6"

    def __init__(self, *, check_task_ids: Sequence[str], **kwargs: Any) -> None:
        super().__init__(**kwargs)
        self.check_task_ids = check_task_ids

    def work(self, context: "Context", settings: "Settings", connections: "AirflowConnections") -> Any:
        """Conclude and store."""
        from spoqplus_backup.core.proof import steps
        from spoqplus_backup.core.proof.model import FOLDER
        from spoqplus_backup.core.proof.results import conclude
        from spoqplus_backup.core.proof.store import PAGE, past_proofs, store_proof
        from spoqplus_backup.core.repository.opener import open_repository
        from spoqplus_backup.report_html import report_html

        ti, run_id = context["ti"], run_name(context)
        found = {name: ti.xcom_pull(task_ids=name) for name in STAGES}
        stages = {name: summary for name, summary in found.items() if summary}
        proof = conclude(settings, run_id, stages, self._failure(context, settings))
        primaries = [open_repository(settings, item.name, connections) for item in settings.primaries]
        past = past_proofs(primaries[0], settings.signing.public_key_files, site=settings.site)
        history = [item for item in past if item.id != proof.id]
        page = report_html(proof, history, settings.language, settings.timezone)
        proof = store_proof(settings, primaries, proof, page)
        steps.remove(settings, run_id)
        place = f"{primaries[-1].url}/{FOLDER}/{proof.id}/{PAGE}"
        ti.xcom_push(key=PROOF_KEY, value=proof.model_dump(mode="json"))
        ti.xcom_push(key=PAGE_KEY, value=place)
        ti.xcom_push(key=REPORT_KEY, value=f"{settings.site}/{proof.id}")
        self._say(settings, proof.verdict, proof.rto_seconds, proof.bytes, place)
        if proof.verdict != "passed":
            raise AirflowFailException(text(settings.language, "error.not_proved", page=place))
        return {"verdict": proof.verdict, "page": place}

    def _failure(self, context: "Context", settings: "Settings") -> str | None:
        """The first line of the first task that failed and is no check."""
        for task_id, state in task_states(context).items():
            if state == "failed" and not any(is_of(task_id, name) for name in self.check_task_ids):
                words = context["ti"].xcom_pull(task_ids=task_id, key=ERROR_KEY)
                return f"{task_id}: {words or text(settings.language, 'error.unknown')}"
        return None

    def _say(self, settings: "Settings", verdict: str, rto: float | None, size: int, place: str) -> None:
        seconds = duration(settings.language, rto) if rto is not None else "?"
        log.info(
            "%s", text(settings.language, f"log.proof.{verdict}", seconds=seconds, size=human_bytes(size), page=place)
        )


class StopSandboxOperator(SiteOperator):
    """Ends the sandbox and removes everything that was restored, whatever happened before; what was found stays."""

    ui_color = "#fad2cf"

    def work(self, context: "Context", settings: "Settings", connections: "AirflowConnections") -> Any:
        """Remove."""
        from spoqplus_backup.core.proof import steps

        steps.end(settings, connections, run_name(context))


class NotifyRecoveryTestOperator(NotifyOperator):
    """Reports a recovery test: verdict, time and loss against the promises, what was compared, failed checks."""

    runbook = "recovery_test"

    def message(self, context: "Context", report: "RunReport") -> "Message":
        """The numbers of the report, as far as there is one."""
        from spoqplus_backup.core.proof.model import Proof
        from spoqplus_backup.notifications.recovery_test import recovery_test_message

        pull = context["ti"].xcom_pull
        proof = pull(task_ids=self.result_task_id, key=PROOF_KEY)
        page = pull(task_ids=self.result_task_id, key=PAGE_KEY)
        return recovery_test_message(report, Proof.model_validate(proof) if proof else None, page)
