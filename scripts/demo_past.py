"""A month that never was, for the pictures of the Backups page: a demonstration is only minutes old.

Each made-up set is the manifest of a real one with another date and other sizes, signed with the demonstration's own
key. None of its objects is there. The newest sets of a picture are real.
"""

import math
from datetime import datetime, timedelta, timezone
from zoneinfo import ZoneInfo

from demo_world import DemoError, World
from spoqplus_backup.core.connections import EnvironmentConnections
from spoqplus_backup.core.crypto import sign
from spoqplus_backup.core.manifest import MANIFEST, SIGNATURE, Component, Manifest, Part
from spoqplus_backup.core.repository.catalog import Catalog
from spoqplus_backup.core.repository.opener import open_all

DAYS = 33
YOUNGEST = 3  # days: of younger ones the page would ask why no log leads to them
GROWTH = 0.004  # a day
SUNDAY = 6
HOURS = {"daily": 3, "weekly": 4, "monthly": 5}


def make_past(world: World) -> None:
    """Publish a set a day, a week and a month in every repository."""
    settings = world.settings
    key = settings.signing.private_key_file
    if key is None:
        raise DemoError("The demonstration has no key to sign with.")
    repositories = open_all(settings, EnvironmentConnections())
    real = Catalog(repositories[0], settings.signing.public_key_files, settings.site).resolve("latest")
    today = datetime.now(timezone.utc).astimezone(ZoneInfo(settings.timezone))
    for age in range(YOUNGEST, DAYS):
        day = today - timedelta(days=age)
        for cadence, hour in HOURS.items():
            if (cadence == "weekly" and day.weekday() != SUNDAY) or (cadence == "monthly" and day.day != 1):
                continue
            at = day.replace(hour=hour, minute=0, second=0, microsecond=0)
            made = _aged(real, cadence, at, (1 - age * GROWTH) * (1 + 0.015 * math.sin(age * 2.4)))
            content = made.to_json()
            for repository in repositories:
                repository.put_bytes(f"{made.name}/{SIGNATURE}", sign(content, key))
                repository.put_bytes(f"{made.name}/{MANIFEST}", content)


def _aged(real: Manifest, cadence: str, at: datetime, share: float) -> Manifest:
    """The same set at another time, and this much of its size and duration."""

    def part(made: Part) -> Part:
        return made.model_copy(
            update={"raw_bytes": int(made.raw_bytes * share), "stored_bytes": int(made.stored_bytes * share)}
        )

    def component(made: Component) -> Component:
        return made.model_copy(update={"parts": tuple(part(item) for item in made.parts)})

    started = at.astimezone(timezone.utc)
    took = (real.finished_at - real.started_at) * share
    return real.model_copy(
        update={
            "cadence": cadence,
            "id": f"{at:%Y%m%d_%H%M%S}",
            "run_id": f"{real.site}_{cadence}_backup/scheduled__{started:%Y-%m-%dT%H:%M:%S}+00:00",
            "started_at": started,
            "finished_at": started + took,
            "components": tuple(component(item) for item in real.components),
            "depends_on": (),
            "recovery_point": None,
        }
    )
