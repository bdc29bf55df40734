"""The configured sites, read once per process: a task parses its DAG's file and then needs its settings again."""

from functools import cache

from spoqplus_backup.core.errors import SettingsError
from spoqplus_backup.core.settings import Settings, load_sites


@cache
def sites() -> tuple[Settings, ...]:
    """Every site found; `SettingsError` names file and field of the first thing that is wrong."""
    return tuple(load_sites())


def site(name: str) -> Settings:
    """The settings of one site.

    Raises:
        SettingsError: the site is no longer configured.
    """
    for settings in sites():
        if settings.site == name:
            return settings
    known = ", ".join(settings.site for settings in sites())
    raise SettingsError(f"No configuration file describes the site {name}; there are {known}: restore its file.")
