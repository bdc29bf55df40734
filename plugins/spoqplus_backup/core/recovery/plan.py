"""What a restore will do, written down before it does anything: shown to the person who approves it, then followed."""

import hashlib
import re
from datetime import datetime
from pathlib import Path

from spoqplus_backup.core.errors import PermanentError
from spoqplus_backup.core.manifest import Flavour, Model
from spoqplus_backup.core.notice import Notice
from spoqplus_backup.core.recovery.files.plan import PlannedFiles
from spoqplus_backup.core.recovery.request import Place, RestoreRequest
from spoqplus_backup.core.recovery.target import PlannedReplay
from spoqplus_backup.core.recovery.windows import Window
from spoqplus_backup.core.settings import Settings
from spoqplus_backup.core.staging import read_json

PLAN = "plan.json"  # in a restore's folder
VERIFIED = "verify.json"  # there when the whole of it was verified

_UNSAFE = re.compile(r"[^A-Za-z0-9._-]+")


class PlannedComponent(Model):
    """A component of the set that will be restored. `tables` are (database, table) pairs; empty: all of it."""

    name: str
    databases: tuple[str, ...]
    tables: tuple[tuple[str, str], ...] = ()
    parts: tuple[str, ...]
    fetch_bytes: int
    sql_bytes: int
    rows: int


class RestorePlan(Model):
    """What a restore will do. Sizes in bytes, times in seconds."""

    run_id: str
    request: RestoreRequest
    made_at: datetime
    site: str
    backup: str
    backup_finished_at: datetime
    backup_server: str
    manifest_sha256: str
    repository: str
    target: str
    connection: str
    components: tuple[PlannedComponent, ...]
    overwrites: tuple[tuple[str, str], ...]
    objects: int
    seconds: float
    rto_seconds: float
    warnings: tuple[Notice, ...] = ()
    replay: PlannedReplay | None = None
    windows: tuple[Window, ...] = ()
    may_drop: tuple[str, ...] = ()
    """Databases at the target that the backup does not have: when the replayed logs make them, these go first."""
    place: Place = "server"
    files: tuple[PlannedFiles, ...] = ()
    """Components of files, in the order of their priority; they come after the database."""

    @property
    def component_names(self) -> tuple[str, ...]:
        """What is restored, in the order of its priority."""
        return (*(component.name for component in self.components), *(planned.name for planned in self.files))

    @property
    def sets(self) -> tuple[tuple[str, str], ...]:
        """Repository and name of every set that is read, those that incremental archives stand on included."""
        archives = (archive for planned in self.files for archive in planned.archives)
        return tuple(dict.fromkeys([(self.repository, self.backup), *((one.repository, one.set) for one in archives)]))

    @property
    def has_database(self) -> bool:
        """Whether anything of it concerns a server."""
        return bool(self.components)

    @property
    def flavour(self) -> Flavour:
        """Whose server it is."""
        return "mariadb" if self.backup_server.startswith("mariadb") else "mysql"

    @property
    def copied(self) -> tuple[tuple[str, str], ...]:
        """Database and name of the tables that are copied out of a sandbox."""
        if self.place != "sandbox":
            return ()
        pairs = (name.split(".", 1) for name in self.request.tables)
        return tuple((database, table) for database, table in pairs)

    @property
    def replaces(self) -> bool:
        """Whether anything is lost without a safety backup."""
        return bool(self.overwrites or self.may_drop)

    @property
    def fetch_bytes(self) -> int:
        """What is downloaded."""
        logs = self.replay.stored_bytes if self.replay else 0
        of_files = sum(component.fetch_bytes for component in self.files)
        return sum(component.fetch_bytes for component in self.components) + logs + of_files

    @property
    def sql_bytes(self) -> int:
        """What the server executes."""
        return sum(component.sql_bytes for component in self.components)

    @property
    def rows(self) -> int:
        """Rows that will be there afterwards."""
        return sum(component.rows for component in self.components)


def goes_to_binary_log(settings: Settings, plan: RestorePlan) -> bool:
    """Whether the target's own binary log gets what a restore does; a new primary's has to lead on from it."""
    return settings.restore.binary_log or plan.place != "server" or plan.request.environment == "dr"


def restore_directory(settings: Settings, run_id: str) -> Path:
    """The folder of a restore on the worker's disk."""
    readable = _UNSAFE.sub("_", run_id)[:80]
    return restores_directory(settings) / f"{readable}-{hashlib.sha256(run_id.encode()).hexdigest()[:8]}"


def restores_directory(settings: Settings) -> Path:
    """The folder that holds those of all restores."""
    return settings.staging.directory / "restore" / settings.site


def load_plan(settings: Settings, run_id: str) -> RestorePlan:
    """The plan of a run, as its plan task wrote it.

    Raises:
        PermanentError: there is none on this worker.
    """
    content = read_json(restore_directory(settings, run_id) / PLAN)
    if content is None:
        raise PermanentError(
            f"There is no plan of {run_id} on this worker's disk: clear the task plan with everything downstream."
        )
    return RestorePlan.model_validate(content)
