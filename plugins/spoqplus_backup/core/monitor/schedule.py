"""When the DAGs of a site run by their schedules, and when the next set of a cadence has to be there."""

from datetime import datetime, timezone
from zoneinfo import ZoneInfo

from croniter import croniter  # type: ignore[import-untyped] # it ships no types

from spoqplus_backup.core.repository.catalog import INCREMENTAL
from spoqplus_backup.core.settings import AFTER_BACKUP, Settings

RECOVERY_TEST = "recovery_test"


def schedules(settings: Settings) -> dict[str, str | None]:
    """The cron expression of each DAG by its name; None: by hand, or behind another one."""
    found = settings.schedules.model_dump()
    return {name: None if cron == AFTER_BACKUP else cron for name, cron in found.items()}


def cron_of(settings: Settings, cadence: str) -> str | None:
    """The schedule of the sets of a cadence; None by hand, or of sets that have none."""
    name = "incremental_backup" if cadence == INCREMENTAL else f"{cadence}_backup"
    return schedules(settings).get(name)


def after(settings: Settings, cron: str | None, moment: datetime) -> datetime | None:
    """The first time behind a moment at which a schedule comes true, UTC."""
    if cron is None:
        return None
    found: datetime = croniter(cron, moment.astimezone(ZoneInfo(settings.timezone))).get_next(datetime)
    return found.astimezone(timezone.utc)
