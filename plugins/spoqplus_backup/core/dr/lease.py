"""One failover at a time, also from two Airflows: a lease in the DR region's repository.

Within one Airflow its runs wait for each other. A run that was broken off there leaves a lease that the next one of the
same Airflow takes over; what another Airflow does nobody here can know, so its lease has to run out, or be removed.
"""

import logging
from collections.abc import Callable
from datetime import datetime, timedelta, timezone

from spoqplus_backup.core.errors import BackupError, PermanentError
from spoqplus_backup.core.repository.base import Repository
from spoqplus_backup.core.repository.leases import leases_of, release, release_all, take

log = logging.getLogger(__name__)

NAME = "failovers/current"  # as if it were a set
PURPOSE = "failover"
DURATION = timedelta(hours=2)  # longer than a step waits; each renews it


def hold(repository: Repository, run: str, is_over: Callable[[str], bool]) -> None:
    """Take the lease, or renew it; a repository that can't be written to is no reason not to fail over.

    Args:
        repository: in the DR region.
        run: who takes it.
        is_over: whether a run is one of this Airflow that has ended.

    Raises:
        PermanentError: another failover holds it.
    """
    try:
        lease = take(repository, NAME, run, PURPOSE, DURATION)
        now = datetime.now(timezone.utc)
        others = [other for other in leases_of(repository, NAME) if other.run != run and other.is_valid(now)]
    except BackupError as error:
        log.warning("No lease keeps another failover away: %s", error)
        return
    for other in others:
        if is_over(other.run):
            release(repository, other)
            continue
        release(repository, lease)
        raise PermanentError(
            f"Another failover is under way: {other.run} holds {repository.url}/{other.key} until "
            f"{other.expires_at:%Y-%m-%d %H:%M:%S} UTC. Look at that run first; when it is not one of anybody's any "
            "more, remove that object and clear this task."
        )


def let_go(repository: Repository, run: str) -> None:
    """Release the lease of a run."""
    try:
        release_all(repository, NAME, run)
    except BackupError as error:
        log.warning("The lease of %s runs out by itself: %s", run, error)
