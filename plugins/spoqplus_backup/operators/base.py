"""What all operators share: the site's settings, Airflow's connections, and how an error becomes a retry or not."""

import logging
from collections.abc import Callable, Sequence
from typing import TYPE_CHECKING, Any

from airflow.sdk import BaseOperator
from airflow.sdk.exceptions import (
    AirflowFailException,
    AirflowSkipException,
    AirflowTaskTimeout,
    DownstreamTasksSkipped,
)
from airflow.sdk.log import redact  # type: ignore[attr-defined]  # public, but not re-exported

from spoqplus_backup.core import process
from spoqplus_backup.core.confine import confine
from spoqplus_backup.core.errors import PermanentError
from spoqplus_backup.core.progress import human_bytes
from spoqplus_backup.hooks import AirflowConnections
from spoqplus_backup.messages import component_label, duration, text
from spoqplus_backup.sites import site

if TYPE_CHECKING:
    from airflow.sdk import Context

    from spoqplus_backup.core.run import StageSummary
    from spoqplus_backup.core.settings import Settings

log = logging.getLogger(__name__)

ERROR_KEY = "error"  # XCom: the first line of why the task's last try failed, for the notification
WARNINGS_KEY = "warnings"  # XCom: what a task that succeeded wants to be told, for the notification
ERROR_CHARACTERS = 500


class SiteOperator(BaseOperator):
    """Runs one step for a site. Subclasses say what in `work`.

    A `PermanentError` fails the task at once; any other error leaves it to its retries.

    :param site: the site's name; its settings are read when the task runs.
    """

    template_fields: Sequence[str] = ()

    def __init__(self, *, site: str, **kwargs: Any) -> None:
        super().__init__(**kwargs)
        self.site = site

    def work(self, context: "Context", settings: "Settings", connections: AirflowConnections) -> Any:
        """Do it and return what goes to XCom: small, readable, no secrets."""
        raise NotImplementedError

    def execute(self, context: "Context") -> Any:
        """Run `work`; keep the first line of its error in XCom, where the notification finds it."""
        return self.guarded(context, self.work)

    def guarded(self, context: "Context", work: Callable[["Context", "Settings", AirflowConnections], Any]) -> Any:
        """Run a part of the work so that its errors become what `execute` says; for what comes after a deferral."""
        confine()
        process.reset_cancellation()
        try:
            return work(context, site(self.site), AirflowConnections())
        except (AirflowSkipException, DownstreamTasksSkipped):  # not errors
            raise
        except PermanentError as error:
            remember(context, error)
            raise AirflowFailException(str(error)) from error
        except (Exception, AirflowTaskTimeout) as error:
            remember(context, error)
            raise

    def on_kill(self) -> None:
        """End every program that the task runs."""
        process.cancel_all()


def remember(context: "Context", error: BaseException) -> None:
    """Keep the first line of an error in XCom, where the notification finds it."""
    first_line = next(iter(str(error).strip().splitlines()), "") or type(error).__name__
    context["ti"].xcom_push(key=ERROR_KEY, value=str(redact(first_line[:ERROR_CHARACTERS])))


def run_name(context: "Context") -> str:
    """`<dag id>/<run id>`: who owns a set's staging folder or a plan."""
    return f"{context['ti'].dag_id}/{context['ti'].run_id}"


def log_summary(settings: "Settings", summary: "StageSummary") -> dict[str, Any]:
    """Say in the log what a stage did; returns the summary for XCom."""
    log.info(
        "%s",
        text(
            settings.language,
            "log.stage",
            stage=text(settings.language, f"stage.{summary.stage}"),
            component=component_label(settings.language, summary.component),
            parts=summary.parts,
            sizes=" → ".join(human_bytes(size) for size in (summary.bytes_in, summary.bytes_out) if size),
            seconds=duration(settings.language, summary.seconds),
            rate=human_bytes(max(summary.bytes_in, summary.bytes_out) / max(summary.seconds, 1e-3)),
        ),
    )
    return summary.xcom()
