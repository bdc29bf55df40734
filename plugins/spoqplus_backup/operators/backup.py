"""The backup chain's operators: preflight, dump, archive, compress, encrypt, upload, verify, publish.

`core` is imported when a task runs, not when the DAG is parsed: every task process parses the DAG first.
"""

import logging
from collections.abc import Collection, Sequence
from typing import TYPE_CHECKING, Any

from spoqplus_backup.core.errors import BackupError, PermanentError
from spoqplus_backup.messages import text
from spoqplus_backup.operators.base import WARNINGS_KEY, SiteOperator, log_summary, run_name
from spoqplus_backup.sites import site
from spoqplus_backup.web.links import ConsoleLink, SetLink

if TYPE_CHECKING:
    from airflow.sdk import BaseOperatorLink, Context

    from spoqplus_backup.core.run import BackupRun
    from spoqplus_backup.core.settings import Settings
    from spoqplus_backup.hooks import AirflowConnections

log = logging.getLogger(__name__)


class PreflightOperator(SiteOperator):
    """Checks everything that a backup needs and claims the set's id; its XCom holds the id and the warnings.

    :param cadence: the set's folder in the repositories, such as `daily`.
    """

    template_fields: Sequence[str] = ("cadence",)
    ui_color = "#e8f0fe"

    def __init__(self, *, cadence: str, **kwargs: Any) -> None:
        super().__init__(**kwargs)
        self.cadence = cadence

    def work(self, context: "Context", settings: "Settings", connections: "AirflowConnections") -> Any:
        """Connect, check, claim."""
        from spoqplus_backup.core.preflight import preflight

        run_after = context["dag_run"].run_after
        return preflight(settings, connections, self.cadence, run_name(context), run_after).model_dump(mode="json")


class BackupSetOperator(SiteOperator):
    """A step of the set that a preflight task claimed.

    :param cadence: the set's folder in the repositories, such as `daily`.
    :param preflight_task_id: the task whose XCom holds the set's id and the warnings.
    """

    template_fields: Sequence[str] = ("cadence", "preflight_task_id")
    operator_extra_links: Collection["BaseOperatorLink"] = (SetLink(),)

    def __init__(self, *, cadence: str, preflight_task_id: str, **kwargs: Any) -> None:
        super().__init__(**kwargs)
        self.cadence = cadence
        self.preflight_task_id = preflight_task_id

    def preflight_report(self, context: "Context") -> dict[str, Any]:
        """What the preflight task returned.

        Raises:
            PermanentError: it returned nothing: somebody marked it as a success by hand.
        """
        report = context["ti"].xcom_pull(task_ids=self.preflight_task_id)
        if not isinstance(report, dict):
            raise PermanentError(f"The task {self.preflight_task_id} left no set id: clear it, and let it run.")
        return report

    def console_url(self, name: str) -> str | None:
        """Where a person sees a set's objects in AWS's console; None when no repository is there, or can't be asked."""
        from spoqplus_backup.core.repository.console import console_url_of
        from spoqplus_backup.hooks import AirflowConnections

        try:
            return console_url_of(site(self.site), AirflowConnections(), name)
        except BackupError as error:  # the task itself tells it, where it matters
            log.info("No link to the console: %s", error)
            return None

    def backup_run(self, context: "Context", settings: "Settings", connections: "AirflowConnections") -> "BackupRun":
        """The run as `core` sees it."""
        from spoqplus_backup.core.run import BackupRun

        return BackupRun(
            settings=settings,
            connections=connections,
            cadence=self.cadence,
            set_id=self.preflight_report(context)["set_id"],
            run_id=run_name(context),
        )


class ComponentOperator(BackupSetOperator):
    """One stage of one component.

    :param component: `database`, `accounts`, or the name of a selection of tables or files in the configuration.
    """

    template_fields: Sequence[str] = ("component", "cadence", "preflight_task_id")

    def __init__(self, *, component: str, **kwargs: Any) -> None:
        super().__init__(**kwargs)
        self.component = component


class MySqlDumpOperator(ComponentOperator):
    """Dumps a component with mysqldump (MariaDB's or MySQL's own), cut into parts while it is written.

    A retry goes on as `core` sees fit. Clearing the task raises Airflow's `max_tries`, and a new value of it means a
    new dump: so a person who clears a finished dump gets a fresh one.
    """

    ui_color = "#fff4e5"

    def work(self, context: "Context", settings: "Settings", connections: "AirflowConnections") -> Any:
        """Dump."""
        from spoqplus_backup.core.mysql.dump import dump

        run = self.backup_run(context, settings, connections)
        return log_summary(settings, dump(run, self.component, generation=context["ti"].max_tries))


class TarOperator(ComponentOperator):
    """Archives a component's files with GNU tar, cut into parts while it is written.

    A retry and a cleared task differ as with the dump.
    """

    ui_color = "#fff4e5"

    def work(self, context: "Context", settings: "Settings", connections: "AirflowConnections") -> Any:
        """Archive."""
        from spoqplus_backup.core.files.archive import archive

        run = self.backup_run(context, settings, connections)
        return log_summary(settings, archive(run, self.component, generation=context["ti"].max_tries))


class FaceSyncOperator(ComponentOperator):
    """Brings new face images to every repository and leaves the set's index of all of them.

    A retry and a cleared task differ as with the dump; neither sends what is there already.
    """

    ui_color = "#fff4e5"

    def work(self, context: "Context", settings: "Settings", connections: "AirflowConnections") -> Any:
        """Synchronise."""
        from spoqplus_backup.core.files.faces import sync_faces

        run = self.backup_run(context, settings, connections)
        return log_summary(settings, sync_faces(run, generation=context["ti"].max_tries))


class EnvironmentOperator(ComponentOperator):
    """Keeps variables of the site's environment, encrypted before they reach the disk."""

    ui_color = "#fff4e5"

    def work(self, context: "Context", settings: "Settings", connections: "AirflowConnections") -> Any:
        """Collect and encrypt."""
        from spoqplus_backup.core.files.environment import export_environment

        run = self.backup_run(context, settings, connections)
        return log_summary(settings, export_environment(run, generation=context["ti"].max_tries))


class MirrorOperator(SiteOperator):
    """Mirrors the uploads with rsync, guarded against a source that is gone. The set does not wait for it."""

    ui_color = "#fff4e5"

    def work(self, context: "Context", settings: "Settings", connections: "AirflowConnections") -> Any:
        """Mirror."""
        from spoqplus_backup.core.files.mirror import mirror

        return log_summary(settings, mirror(settings))


class ConfigGitOperator(SiteOperator):
    """Commits the configuration to a git remote when it changed. The set does not wait for it.

    A remote that can't be reached is tried again; in the last try that is a warning, for the archive of the set has the
    same files. Its XCom `warnings` holds that, and what should not be in the remote's history.
    """

    ui_color = "#fff4e5"

    def work(self, context: "Context", settings: "Settings", connections: "AirflowConnections") -> Any:
        """Copy, look for secrets, commit, push."""
        from spoqplus_backup.core.files.git_copy import copy_to_git

        try:
            summary = copy_to_git(settings, connections)
            if summary.detail["exposed"]:
                branch = str(summary.detail["before"])
                self._warn(context, text(settings.language, "warning.config_git.exposed", branch=branch))
            return log_summary(settings, summary)
        except PermanentError:
            raise
        except BackupError as error:
            if context["ti"].try_number <= context["ti"].max_tries:
                raise
            self._warn(context, text(settings.language, "warning.config_git", error=str(error)))
            return None

    @staticmethod
    def _warn(context: "Context", warning: str) -> None:
        log.warning("%s", warning)
        context["ti"].xcom_push(key=WARNINGS_KEY, value=[warning])


class CompressOperator(ComponentOperator):
    """Compresses a component's parts with zstd and proves each before its raw file goes."""

    ui_color = "#fef7e0"

    def work(self, context: "Context", settings: "Settings", connections: "AirflowConnections") -> Any:
        """Compress."""
        from spoqplus_backup.core.stages import compress

        return log_summary(settings, compress(self.backup_run(context, settings, connections), self.component))


class EncryptOperator(ComponentOperator):
    """Encrypts a component's parts to the configured recipients."""

    ui_color = "#f3e8fd"

    def work(self, context: "Context", settings: "Settings", connections: "AirflowConnections") -> Any:
        """Encrypt."""
        from spoqplus_backup.core.stages import encrypt

        return log_summary(settings, encrypt(self.backup_run(context, settings, connections), self.component))


class UploadOperator(ComponentOperator):
    """Sends a component's parts to every repository; what is already there is not sent again."""

    operator_extra_links = (SetLink(), ConsoleLink())
    ui_color = "#e4f7fb"

    def work(self, context: "Context", settings: "Settings", connections: "AirflowConnections") -> Any:
        """Upload."""
        from spoqplus_backup.core.stages import upload

        return log_summary(settings, upload(self.backup_run(context, settings, connections), self.component))


class VerifyOperator(BackupSetOperator):
    """Checks every object of the set in every repository: there, with the right size and checksum."""

    operator_extra_links = (SetLink(), ConsoleLink())
    ui_color = "#e6f4ea"

    def work(self, context: "Context", settings: "Settings", connections: "AirflowConnections") -> Any:
        """Verify."""
        from spoqplus_backup.core.stages import verify

        return log_summary(settings, verify(self.backup_run(context, settings, connections)))


class PublishOperator(BackupSetOperator):
    """Signs the manifest and writes it last: from here on the set exists. Its outlets' events name the set."""

    operator_extra_links = (SetLink(), ConsoleLink())
    ui_color = "#ceead6"

    def work(self, context: "Context", settings: "Settings", connections: "AirflowConnections") -> Any:
        """Publish, with the preflight's warnings, and announce it to what waits for the asset."""
        from spoqplus_backup.core.notice import Notice
        from spoqplus_backup.core.publish import publish

        run = self.backup_run(context, settings, connections)
        published = publish(run, [Notice.model_validate(item) for item in self.preflight_report(context)["warnings"]])
        for outlet in self.outlets:
            context["outlet_events"][outlet].extra = {"set": run.name}
        return published.model_dump(mode="json")
