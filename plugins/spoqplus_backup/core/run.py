"""One run of a backup, as every stage of its chain sees it."""

from dataclasses import dataclass
from typing import Any

from spoqplus_backup.core.cadence import Cadence, cadence_named
from spoqplus_backup.core.connections import Connections
from spoqplus_backup.core.manifest import Model
from spoqplus_backup.core.settings import Settings
from spoqplus_backup.core.staging import Staging

DATABASE = "database"
ACCOUNTS = "accounts"
FACE_IMAGES = "face_images"
ENVIRONMENT = "environment"


@dataclass(frozen=True)
class BackupRun:
    """Which set is being made, of which site, by which run of which DAG."""

    settings: Settings
    connections: Connections
    cadence: str
    set_id: str
    run_id: str

    @property
    def staging(self) -> Staging:
        """What this run has on disk."""
        return Staging(self.settings.staging.directory, self.settings.site, self.cadence, self.set_id)

    @property
    def rules(self) -> Cadence:
        """How sets of this run's cadence are made."""
        return cadence_named(self.cadence)

    @property
    def name(self) -> str:
        """`<cadence>/<id>`, the set's name."""
        return f"{self.cadence}/{self.set_id}"


class StageSummary(Model):
    """What a stage did, in numbers a person reads; small enough for XCom. Sizes in bytes."""

    stage: str
    component: str
    parts: int
    bytes_in: int
    bytes_out: int
    seconds: float
    detail: dict[str, str | int | float | bool | None] = {}

    def xcom(self) -> dict[str, Any]:
        """As plain JSON."""
        return self.model_dump(mode="json")


def making_task(settings: Settings, component: str) -> str:
    """The first task of a component's chain, which is cleared to make the component again."""
    if component in file_names(settings):
        return "archive"
    return {FACE_IMAGES: "sync", ENVIRONMENT: "export"}.get(component, "dump")


def database_names(settings: Settings) -> tuple[str, ...]:
    """The components that are read from the database server, in the order of their priority at a restore."""
    return (DATABASE, ACCOUNTS, *(selection.name for selection in settings.components))


def file_names(settings: Settings) -> tuple[str, ...]:
    """The components that are archives of files, in the order of their priority at a restore."""
    return tuple(selection.name for selection in settings.files)


def component_names(settings: Settings) -> tuple[str, ...]:
    """The components of a daily backup, in the order of their priority at a restore."""
    faces = [FACE_IMAGES] if settings.faces is not None else []
    environment = [ENVIRONMENT] if settings.environment is not None else []
    return (*database_names(settings), *faces, *file_names(settings), *environment)
