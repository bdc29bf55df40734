"""Whether a run's set is published already: then its staging is gone, and there is nothing left to do."""

import logging

from spoqplus_backup.core.errors import PermanentError
from spoqplus_backup.core.manifest import MANIFEST, Manifest
from spoqplus_backup.core.repository.opener import open_repositories
from spoqplus_backup.core.run import BackupRun, StageSummary

log = logging.getLogger(__name__)


def published_manifest(run: BackupRun) -> Manifest | None:
    """The manifest of this run's set when it is published and no longer staged; None while the run is under way.

    Raises:
        PermanentError: the staging area is gone but nothing was published, or another run owns the set.
    """
    owner = run.staging.owner()
    if owner == run.run_id:
        return None
    if owner is not None:
        raise PermanentError(f"The set {run.name} belongs to the run {owner}, not to {run.run_id}: trigger a new run.")
    repository = open_repositories(run.settings, run.connections)[0]
    key = f"{run.name}/{MANIFEST}"
    if repository.stat(key) is None:
        raise PermanentError(
            f"The staging of {run.name} is gone and the set was not published: clear the task preflight of the run "
            f"{run.run_id} with everything downstream of it."
        )
    manifest = Manifest.from_json(repository.read(key), f"{repository.url}/{key}")
    if manifest.run_id != run.run_id:
        raise PermanentError(f"The set {run.name} was published by {manifest.run_id}: trigger a new run.")
    return manifest


def published_summary(manifest: Manifest, stage: str, component: str) -> StageSummary:
    """What a stage did for a set that is published, as its manifest tells."""
    log.info("The set %s is published: nothing to %s", manifest.name, stage)
    found = manifest.component(component)
    return StageSummary(
        stage=stage,
        component=component,
        parts=len(found.objects),
        bytes_in=found.raw_bytes,
        bytes_out=found.stored_bytes,
        seconds=found.seconds.get(stage, 0.0),
        detail={"published": True},
    )
