"""The cadences: what differs between a daily, a weekly and a monthly backup, in one table.

All of them are full backups of the database that a restore can begin with; each has its own folder in a repository.
"""

from dataclasses import dataclass

from spoqplus_backup.core.settings import Settings


@dataclass(frozen=True)
class Cadence:
    """How the sets of one folder are made.

    Attributes:
        name: the folder in the repositories, and what the DAG's name begins with.
        full_files: archives of files hold everything, not what changed since the last full one.
        read_back: verify reads every object back, whatever the repository says of it.
        long_term: objects get the repository's long-term storage class and its object lock, where it has them.
        waits: its preflight waits for other runs to end when the staging disk has no room for both.
    """

    name: str
    full_files: bool
    read_back: bool
    long_term: bool
    waits: bool = True

    def schedule(self, settings: Settings) -> str | None:
        """When it runs: cron in the site's time zone; None is only by hand."""
        cron: str | None = getattr(settings.schedules, f"{self.name}_backup")
        return cron


DAILY = Cadence("daily", full_files=False, read_back=False, long_term=False)
WEEKLY = Cadence("weekly", full_files=True, read_back=True, long_term=False)
MONTHLY = Cadence("monthly", full_files=True, read_back=True, long_term=True)

CADENCES = (DAILY, WEEKLY, MONTHLY)


def cadence_named(name: str) -> Cadence:
    """How sets in a folder of this name are made; other ones than `CADENCES` are of a person who waits for them."""
    for cadence in CADENCES:
        if cadence.name == name:
            return cadence
    return Cadence(name, full_files=True, read_back=False, long_term=False, waits=False)
