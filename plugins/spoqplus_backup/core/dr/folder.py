"""Where a failover keeps what it must not lose: Terraform's plan, what DNS said before, what the fence took away."""

import hashlib
from pathlib import Path

from spoqplus_backup.core.settings import Settings


def dr_folder(settings: Settings) -> Path:
    """The site's folder in the staging area; only this user can read it (a plan of Terraform holds its variables)."""
    folder = settings.staging.directory / ".dr" / settings.site
    folder.mkdir(parents=True, exist_ok=True)
    folder.chmod(0o700)
    return folder


def run_file(settings: Settings, run_id: str, name: str) -> Path:
    """A file of one run in that folder; the run's id may hold anything."""
    folder = dr_folder(settings) / hashlib.sha256(run_id.encode()).hexdigest()[:16]
    folder.mkdir(exist_ok=True)
    return folder / name
