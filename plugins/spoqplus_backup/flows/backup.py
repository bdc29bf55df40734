"""The backup flow: preflight → (dump or archive → compress → encrypt → upload) for each component → verify → publish.

What was published, or what failed, is told by `notify`.
"""

from collections.abc import Sequence
from datetime import timedelta

from airflow.sdk import Asset, BaseOperator, TaskGroup, TriggerRule, chain

from spoqplus_backup.core.cadence import Cadence
from spoqplus_backup.core.run import component_names, making_task
from spoqplus_backup.core.settings import Settings
from spoqplus_backup.flows.tasks import SHORT_TIMEOUT, stage
from spoqplus_backup.messages import component_label
from spoqplus_backup.operators.backup import (
    ComponentOperator,
    CompressOperator,
    ConfigGitOperator,
    EncryptOperator,
    EnvironmentOperator,
    FaceSyncOperator,
    MirrorOperator,
    MySqlDumpOperator,
    PreflightOperator,
    PublishOperator,
    TarOperator,
    UploadOperator,
    VerifyOperator,
)
from spoqplus_backup.operators.notify import NotifyBackupOperator

MAKERS: dict[str, type[ComponentOperator]] = {
    "dump": MySqlDumpOperator,
    "archive": TarOperator,
    "sync": FaceSyncOperator,
    "export": EnvironmentOperator,
}


def backup_asset(settings: Settings) -> Asset:
    """Updated whenever a set of this site was published; the event's `extra` names the set.

    It has no URI: for a URI's scheme Airflow imports every provider's handlers, and with them boto3, in every task.
    """
    return Asset(f"{settings.site}_backup")


def backup_chain(
    settings: Settings, cadence: str, component: str, preflight_task_id: str, pool: str | None = None
) -> TaskGroup:
    """One component as a task group; each task can be retried and cleared alone. The dump stands in line for `pool`."""
    label = component_label(settings.language, component)
    common = {"cadence": cadence, "component": component, "preflight_task_id": preflight_task_id}
    made_by = making_task(settings, component)
    reading = {"pool": pool} if pool and made_by == "dump" else {}
    with TaskGroup(component, group_display_name=label, tooltip=label) as group:
        chain(
            MAKERS[made_by](**stage(settings, made_by), **common, **reading),
            CompressOperator(**stage(settings, "compress"), **common),
            EncryptOperator(**stage(settings, "encrypt"), **common),
            UploadOperator(**stage(settings, "upload"), **common),
        )
    return group


def backup_set(
    settings: Settings,
    checked: BaseOperator,
    cadence: str,
    components: Sequence[str],
    outlets: Sequence[Asset] = (),
    pool: str | None = None,
) -> BaseOperator:
    """Everything behind the preflight task `checked` that makes one published set; returns its last task.

    Dumps stand in line for `pool`; what a person waits for has none.
    """
    common = {"cadence": cadence, "preflight_task_id": checked.task_id}
    chains = [backup_chain(settings, cadence, component, checked.task_id, pool) for component in components]
    verified = VerifyOperator(**stage(settings, "verify"), **common)
    published = PublishOperator(
        **stage(settings, "publish"), **common, outlets=list(outlets), execution_timeout=SHORT_TIMEOUT
    )
    chain(checked, chains, verified, published)
    return published


def beside_set(settings: Settings) -> list[BaseOperator]:
    """What a backup does that is no part of its set, so that nothing waits for it but the report."""
    tasks: list[BaseOperator] = []
    if settings.mirror is not None:
        tasks.append(MirrorOperator(**stage(settings, "mirror")))
    if settings.config_git is not None:
        tasks.append(ConfigGitOperator(**stage(settings, "config_git"), execution_timeout=SHORT_TIMEOUT))
    return tasks


def backup(settings: Settings, cadence: Cadence) -> None:
    """The whole run: one set with all components, announced as the site's asset, and its result in Slack.

    Several cadences at once queue: `preflight` until the staging disk has room, the dumps in the server's pool.
    """
    waiting = timedelta(hours=settings.staging.wait_hours)
    checked = PreflightOperator(
        **stage(settings, "preflight"), cadence=cadence.name, execution_timeout=SHORT_TIMEOUT + waiting
    )
    published = backup_set(
        settings,
        checked,
        cadence.name,
        component_names(settings),
        outlets=[backup_asset(settings)],
        pool=settings.database_pool,
    )
    beside = beside_set(settings)
    checked >> beside
    [published, *beside] >> NotifyBackupOperator(
        **stage(settings, "notify"),
        result_task_id=published.task_id,
        beside_task_ids=[task.task_id for task in beside],
        trigger_rule=TriggerRule.ALL_DONE,
        execution_timeout=SHORT_TIMEOUT,
    )
