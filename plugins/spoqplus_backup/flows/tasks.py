"""What every task of a flow has in common: its names in the UI, its help, its retries and its queue."""

from datetime import timedelta
from typing import Any

from airflow.sdk.definitions.callback import SyncCallback
from airflow.sdk.definitions.deadline import DeadlineAlert

from spoqplus_backup.core.settings import Settings
from spoqplus_backup.deadlines import RunAfter
from spoqplus_backup.messages import text
from spoqplus_backup.operators.deadline import tell_late

# A stage works through a terabyte at 25 MB/s in this time; what hangs is ended much earlier by its own stall limit.
DATA_TIMEOUT = timedelta(hours=12)
SHORT_TIMEOUT = timedelta(minutes=30)


def placed(settings: Settings, queue: str | None = None) -> dict[str, Any]:
    """The arguments that bring a task to a queue, of None the backup host's, and to the executor that serves it."""
    backup_host = settings.airflow.queue
    executor = settings.airflow.executor if queue in (None, backup_host) else None
    return {"queue": queue or backup_host} | ({"executor": executor} if executor else {})


def default_args(settings: Settings, queue: str | None = None) -> dict[str, Any]:
    """The `default_args` of every DAG of a site. One queue: all tasks of a chain need the same staging disk."""
    return placed(settings, queue) | {
        "owner": settings.airflow.owner,
        "retries": 2,
        "retry_delay": timedelta(seconds=30),
        "retry_exponential_backoff": 2.0,
        "max_retry_delay": timedelta(minutes=10),
        "execution_timeout": DATA_TIMEOUT,
    }


def deadline(settings: Settings, hours: float) -> DeadlineAlert:
    """Tells Slack when a run of a site's DAG is not over so many hours after it was due."""
    return DeadlineAlert(
        reference=RunAfter(),
        interval=timedelta(hours=hours),
        callback=SyncCallback(tell_late, kwargs={"site_name": settings.site, "hours": hours}),
        name=f"{hours:g} h",
    )


def named(settings: Settings, stage: str, group: str | None = None) -> dict[str, Any]:
    """The id of a stage's task, its name and its help in the site's language.

    `group` is that of tasks which share a stage's name with others but not its help.
    """
    return {
        "task_id": stage,
        "task_display_name": text(settings.language, f"stage.{stage}"),
        "doc_md": text(settings.language, f"help.{group}.{stage}" if group else f"help.{stage}"),
    }


def stage(settings: Settings, name: str, group: str | None = None) -> dict[str, Any]:
    """`named`, and the site: what every operator of ours takes."""
    return named(settings, name, group) | {"site": settings.site}
