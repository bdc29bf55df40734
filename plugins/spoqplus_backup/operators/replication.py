"""The replication's operators: list_sets, copy_sets, copy_logs."""

import logging
from collections.abc import Iterator, Sequence
from typing import TYPE_CHECKING, Any

from spoqplus_backup.core.errors import PermanentError
from spoqplus_backup.core.progress import human_bytes
from spoqplus_backup.messages import duration, text
from spoqplus_backup.operators.base import SiteOperator

if TYPE_CHECKING:
    from airflow.sdk import Context

    from spoqplus_backup.core.settings import Settings
    from spoqplus_backup.hooks import AirflowConnections

log = logging.getLogger(__name__)


class ListSetsOperator(SiteOperator):
    """Finds what each replica lacks: what the asset's events or the form name, and all else that it would keep."""

    ui_color = "#e8f0fe"

    def work(self, context: "Context", settings: "Settings", connections: "AirflowConnections") -> Any:
        """List."""
        from spoqplus_backup.core.replication_plan import plan_copies

        asked = _asked(context)
        plan = plan_copies(settings, connections, tuple(_announced(context)), asked)
        for warning in plan.warnings:
            log.warning("%s", warning)
        return plan.model_dump(mode="json")


def _announced(context: "Context") -> Iterator[str]:
    """The sets that the events name which started this run: several, when it could not start at once."""
    for events in context["triggering_asset_events"].values():
        for event in events:
            if name := (event.extra or {}).get("set"):
                yield str(name)


def _asked(context: "Context") -> tuple[str, ...]:
    """The sets of the form; the API checks neither their type nor further keys.

    Raises:
        PermanentError: it has something else.
    """
    params = context["params"]
    given = params.get("sets") or []
    if unknown := sorted(set(params) - {"sets"}):
        raise PermanentError(f"There is no parameter {', '.join(unknown)}: `sets` is the only one.")
    if not isinstance(given, list) or not all(isinstance(name, str) and name.count("/") == 1 for name in given):
        raise PermanentError(f"`sets` is {given!r}: write names of sets such as daily/20250101_030000.")
    return tuple(given)


class CopySetsOperator(SiteOperator):
    """Copies sets to the replicas, the manifest last; one that fails does not hold up the others.

    :param list_task_id: the task whose XCom says which.
    """

    template_fields: Sequence[str] = ("list_task_id",)
    ui_color = "#e4f7fb"

    def __init__(self, *, list_task_id: str, **kwargs: Any) -> None:
        super().__init__(**kwargs)
        self.list_task_id = list_task_id

    def work(self, context: "Context", settings: "Settings", connections: "AirflowConnections") -> Any:
        """Copy."""
        from spoqplus_backup.core.files.face_check import shared_checksums
        from spoqplus_backup.core.replication import copy_sets
        from spoqplus_backup.core.replication_plan import CopyPlan

        listed = context["ti"].xcom_pull(task_ids=self.list_task_id)
        if not isinstance(listed, dict):
            raise PermanentError(f"The task {self.list_task_id} left no list of sets: clear it, and let it run.")
        report = copy_sets(settings, connections, CopyPlan.model_validate(listed), shared_checksums)
        log.info(
            "%s",
            text(
                settings.language,
                "log.copied",
                sets=sum(map(len, report.copied.values())),
                objects=report.sent_objects,
                size=human_bytes(report.sent_bytes),
                seconds=duration(settings.language, report.seconds),
            ),
        )
        return report.model_dump(mode="json")


class CopyLogsOperator(SiteOperator):
    """Brings the archived binary logs that a replica lacks to it."""

    ui_color = "#e4f7fb"

    def work(self, context: "Context", settings: "Settings", connections: "AirflowConnections") -> Any:
        """Copy."""
        from spoqplus_backup.core.replication import copy_logs

        return copy_logs(settings, connections).model_dump(mode="json")
