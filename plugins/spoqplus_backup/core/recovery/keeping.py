"""Keeps every set that a restore reads from being deleted: from its plan, through any wait for a person, to its end.

Each step renews the leases (`repository/leases.py`), so a restore that died lets go of its sets by itself.
"""

import logging
from datetime import timedelta

from spoqplus_backup.core.connections import Connections
from spoqplus_backup.core.errors import BackupError, PermanentError
from spoqplus_backup.core.manifest import MANIFEST
from spoqplus_backup.core.recovery.plan import RestorePlan
from spoqplus_backup.core.repository.leases import keep_for, release_all
from spoqplus_backup.core.repository.opener import open_repository
from spoqplus_backup.core.settings import Settings

log = logging.getLogger(__name__)

PURPOSE = "restore"
LONGEST_STEP = timedelta(hours=24)  # a task ends after 12; the rest is for who retries it


def keep_sets(settings: Settings, connections: Connections, plan: RestorePlan) -> None:
    """Take the leases of a plan's sets, or renew them: until its next step ends, whenever it is approved.

    Raises:
        BackupError: retention is deleting one of them right now.
        PermanentError: one is gone since the plan was made.
    """
    duration = LONGEST_STEP + timedelta(hours=settings.restore.approval_hours)
    for repository_name, set_name in plan.sets:
        repository = open_repository(settings, repository_name, connections)
        keep_for(repository, set_name, plan.run_id, PURPOSE, duration)
        if repository.stat(f"{set_name}/{MANIFEST}") is None:
            release_all(repository, set_name, plan.run_id)
            raise PermanentError(
                f"{repository.url}/{set_name} is gone since the restore {plan.run_id} was planned: clear the task plan "
                "with everything downstream, or start another restore."
            )


def release_sets(settings: Settings, connections: Connections, plan: RestorePlan) -> None:
    """Let go of a plan's sets; where that fails they are free when their leases run out."""
    for repository_name, set_name in plan.sets:
        try:
            release_all(open_repository(settings, repository_name, connections), set_name, plan.run_id)
        except BackupError as error:
            log.warning("The lease of %s in %s runs out by itself: %s", set_name, repository_name, error)
