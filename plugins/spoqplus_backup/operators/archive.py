"""The archive's operators: rotate, list_logs, fetch, compress, encrypt, upload, verify; and what follows from a gap."""

import logging
from collections.abc import Callable, Sequence
from typing import TYPE_CHECKING, Any

from airflow.providers.standard.operators.trigger_dagrun import TriggerDagRunOperator
from airflow.sdk.exceptions import AirflowSkipException

from spoqplus_backup.core.errors import PermanentError
from spoqplus_backup.messages import gap_text, local_time, text
from spoqplus_backup.operators.base import SiteOperator, log_summary, run_name
from spoqplus_backup.sites import site
from spoqplus_backup.web.links import SetLink

if TYPE_CHECKING:
    from airflow.sdk import Context

    from spoqplus_backup.core.archive.summary import ArchiveSummary
    from spoqplus_backup.core.connections import Connections
    from spoqplus_backup.core.manifest import Gap
    from spoqplus_backup.core.settings import Settings
    from spoqplus_backup.hooks import AirflowConnections

    Stage = Callable[[Settings, Connections], ArchiveSummary]

log = logging.getLogger(__name__)

GAP_KEY = "gap"  # XCom: the gap that this run found, for the notification


class ArchiveOperator(SiteOperator):
    """One stage of the archive. All runs share its staging area: a retry, a clear or the next run goes on with it."""

    ui_color = "#e8f0fe"

    def stage(self) -> "Stage":
        """The core's function."""
        raise NotImplementedError

    def work(self, context: "Context", settings: "Settings", connections: "AirflowConnections") -> Any:
        """Run the stage."""
        return log_summary(settings, self.stage()(settings, connections))


class RotateOperator(ArchiveOperator):
    """Closes the server's current binary log if something new is in it."""

    def stage(self) -> "Stage":
        from spoqplus_backup.core.archive.stages import rotate

        return rotate


class ListLogsOperator(ArchiveOperator):
    """Finds the closed logs that are not archived yet, and whether they follow those that are."""

    def stage(self) -> "Stage":
        from spoqplus_backup.core.archive.stages import list_logs

        return list_logs


class MySqlBinlogOperator(ArchiveOperator):
    """Fetches closed logs (`mysqlbinlog --read-from-remote-server --raw`) and reads each of them to its end."""

    ui_color = "#fff4e5"

    def stage(self) -> "Stage":
        from spoqplus_backup.core.archive.stages import fetch

        return fetch


class CompressLogsOperator(ArchiveOperator):
    """Compresses fetched logs with zstd and proves each before its raw file goes."""

    ui_color = "#fef7e0"

    def stage(self) -> "Stage":
        from spoqplus_backup.core.archive.stages import compress

        return compress


class EncryptLogsOperator(ArchiveOperator):
    """Encrypts logs to the configured recipients."""

    ui_color = "#f3e8fd"

    def stage(self) -> "Stage":
        from spoqplus_backup.core.archive.stages import encrypt

        return encrypt


class UploadLogsOperator(ArchiveOperator):
    """Sends logs to every repository, the signed sidecar last; fills up what one repository lacks from another."""

    ui_color = "#e4f7fb"

    def stage(self) -> "Stage":
        from spoqplus_backup.core.archive.delivery import upload

        return upload


class VerifyLogsOperator(ArchiveOperator):
    """Checks logs in every repository, and measures how much would be lost now."""

    ui_color = "#e6f4ea"

    def stage(self) -> "Stage":
        from spoqplus_backup.core.archive.delivery import verify

        return verify


class FullBackupOperator(TriggerDagRunOperator):
    """Triggers the daily backup when there is a gap that no run has asked a full backup for; else it is skipped.

    :param site: the site's name.
    """

    template_fields: Sequence[str] = ("trigger_dag_id",)
    ui_color = "#fce8e6"

    def __init__(self, *, site: str, **kwargs: Any) -> None:
        super().__init__(trigger_dag_id=f"{site}_daily_backup", skip_when_already_exists=True, **kwargs)
        self.site = site

    def execute(self, context: "Context") -> Any:
        """Claim the gap, then trigger: a retry triggers the same run."""
        from spoqplus_backup.core.archive.gaps import claim_gap

        settings = site(self.site)
        found = claim_gap(settings, run_name(context))
        if found is None:
            raise AirflowSkipException(text(settings.language, "log.no_gap"))
        self.trigger_run_id = f"gap__{found.name}"
        log.warning("%s", text(settings.language, "log.full_backup", words=found.gap.words, dag=self.trigger_dag_id))
        return super().execute(context)


class CheckChainOperator(SiteOperator):
    """Fails when this run found a gap: what lies in it can't be restored, whatever comes after."""

    ui_color = "#fce8e6"

    def work(self, context: "Context", settings: "Settings", connections: "AirflowConnections") -> Any:
        """Say it once, in the run that found it."""
        from spoqplus_backup.core.archive.gaps import claimed_gap

        found = claimed_gap(settings, run_name(context))
        if found is None:
            return None
        context["ti"].xcom_push(key=GAP_KEY, value=found.gap.model_dump(mode="json"))
        raise PermanentError(gap_sentence(settings, found.gap))


def gap_sentence(settings: "Settings", gap: "Gap") -> str:
    """What happened, and from when to when nothing can be restored."""
    unknown = text(settings.language, "gap.unknown")
    times = {
        name: local_time(moment.isoformat(), settings.timezone) if moment else unknown
        for name, moment in (("lost_from", gap.lost_from), ("lost_until", gap.lost_until))
    }
    words = gap_text(settings.language, gap.model_dump())
    return text(settings.language, "error.gap", words=words, **times)


class PublishIncrementalOperator(SiteOperator):
    """Proves the chain of logs since the set before, and publishes it as an incremental set.

    :param verify_task_id: the task whose XCom holds the archive's warnings.
    """

    template_fields: Sequence[str] = ("verify_task_id",)
    operator_extra_links = (SetLink(),)
    ui_color = "#ceead6"

    def __init__(self, *, verify_task_id: str, **kwargs: Any) -> None:
        super().__init__(**kwargs)
        self.verify_task_id = verify_task_id

    def work(self, context: "Context", settings: "Settings", connections: "AirflowConnections") -> Any:
        """Publish, or say that nothing was written since."""
        from spoqplus_backup.core.archive.incremental import publish_incremental

        verified = context["ti"].xcom_pull(task_ids=self.verify_task_id) or {}
        made = publish_incremental(
            settings,
            connections,
            run_name(context),
            context["dag_run"].run_after,
            tuple(warning["words"] for warning in verified.get("warnings", ())),
        )
        return made.model_dump(mode="json")
