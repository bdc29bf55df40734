"""What the watchdog found, as people read it."""

from spoqplus_backup.core.monitor.findings import Finding
from spoqplus_backup.core.progress import human_bytes
from spoqplus_backup.core.settings import Settings
from spoqplus_backup.messages import duration, local_time, text


def finding_words(settings: Settings, finding: Finding) -> str:
    """One sentence in the site's language."""
    values = {name: _words(settings, name, value) for name, value in finding.values.items()}
    return text(settings.language, f"watchdog.{finding.code}", subject=finding.subject, **values)


def _words(settings: Settings, name: str, value: float | str) -> str:
    """A value by the unit that its name ends in."""
    if name.endswith("_seconds"):
        return duration(settings.language, float(value))
    if name.endswith("_bytes"):
        return human_bytes(float(value))
    return local_time(str(value), settings.timezone) if name.endswith("_at") else str(value)
