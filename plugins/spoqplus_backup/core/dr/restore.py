"""The replica is lost, too: a backup of the DR region goes into a new instance, by the steps of every restore."""

from datetime import datetime, timezone

from spoqplus_backup.core.connections import Connections
from spoqplus_backup.core.dr.journal import LOADING, REMEMBERED, journal_places, stories
from spoqplus_backup.core.dr.places import dr_repository
from spoqplus_backup.core.dr.server import dr_settings
from spoqplus_backup.core.errors import PermanentError
from spoqplus_backup.core.recovery.archived import ArchivedLogs
from spoqplus_backup.core.recovery.plan import RestorePlan
from spoqplus_backup.core.recovery.planning import make_plan
from spoqplus_backup.core.recovery.request import RestoreRequest
from spoqplus_backup.core.recovery.windows import fulls, window_or_problem
from spoqplus_backup.core.repository.catalog import Catalog
from spoqplus_backup.core.run import ACCOUNTS, DATABASE
from spoqplus_backup.core.settings import Settings

LATEST = "latest"  # to the end of the logs


def plan_restore(settings: Settings, connections: Connections, run_id: str, region: str) -> RestorePlan:
    """Plan to restore the newest backup of the DR region, and every log that follows it, into the new instance.

    Raises:
        PermanentError: there is no backup, or the instance holds what no failover put there.
    """
    if region != dr_settings(settings).region:
        raise PermanentError(f"A restore goes to the region of `dr.region`, not to {region}: set it there, and go on.")
    repository = dr_repository(settings, connections)
    newest = next(fulls(Catalog(repository, settings.signing.public_key_files, settings.site)), None)
    if newest is None:
        raise PermanentError(f"{repository.url} has no full backup: copy one there, or take another way.")
    has_logs = window_or_problem(ArchivedLogs(settings, connections, repository), newest).has_logs
    accounts = (ACCOUNTS,) if any(component.name == ACCOUNTS for component in newest.components) else ()
    request = RestoreRequest(
        environment="dr",
        backup=newest.name,
        repository=repository.name,
        components=(DATABASE, *accounts),
        to_time=LATEST if has_logs else None,
    )
    plan = make_plan(settings, connections, request, run_id)
    if plan.overwrites and not _was_begun(settings, connections):
        raise PermanentError(
            f"The instance of {plan.connection} ({plan.target}) is not empty, and no failover began to fill it: see "
            "what it is. If nobody needs what it holds, drop its databases and clear this task."
        )
    return plan


def _was_begun(settings: Settings, connections: Connections) -> bool:
    """Whether an earlier run, or an earlier try, filled the instance."""
    since = datetime.now(timezone.utc) - REMEMBERED
    told = stories(journal_places(settings, connections), since)
    return any(entry.step == LOADING for story in told for entry in story.entries)
