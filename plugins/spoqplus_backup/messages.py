"""What people read in the Airflow UI, the logs and Slack, in the site's language.

The texts stand in `include/messages/`, where a team may adapt them; this is how code asks for one.
"""

from collections.abc import Mapping
from datetime import datetime
from typing import Any
from zoneinfo import ZoneInfo

from spoqplus_backup.core.errors import SettingsError
from spoqplus_backup.message_files import Language as Language
from spoqplus_backup.message_files import texts


def text(language: Language, key: str, **fields: object) -> str:
    """The text of that key; `fields` fill its `{places}`.

    Raises:
        SettingsError: `include/messages/` has no such text, or it has a place that is not filled.
    """
    found = texts().get(key)
    form = found.form(language) if found else None
    if form is None:
        raise SettingsError(f"include/messages has no text `{key}` in `{language}`: add it as this version ships it.")
    try:
        return form.format(**fields)
    except KeyError as error:
        raise SettingsError(
            f"include/messages: `{key}` has {{{error.args[0]}}}, which nothing fills: remove it."
        ) from None


def label(language: Language, key: str, default: str) -> str:
    """As `text`, or the default when there is no such text."""
    return text(language, key) if key in texts() else default


def gap_text(language: Language, gap: Mapping[str, Any]) -> str:
    """What a `core.manifest.Gap`, as JSON, says, in a language; the details are the core's."""
    found, words = texts().get(f"gap.reason.{gap['reason']}"), str(gap["words"])
    form = found.form(language) if found else None
    return words if form is None else f"{form}. {words}"


def notice_text(language: Language, notice: Mapping[str, Any]) -> str:
    """A `core.notice.Notice`, as JSON, in a language; one that is not known in it is said as the core said it."""
    found = texts().get(f"notice.{notice['code']}")
    form = found.form(language) if found else None
    try:
        return str(notice["words"]) if form is None else form.format(**notice["values"])
    except KeyError:  # a manifest of another version
        return str(notice["words"])


def component_label(language: Language, component: str) -> str:
    """A readable name for the strategy's components; a site's own keep the name it gave them."""
    return label(language, f"form.component.{component}", component)


def check_title(titles: Mapping[str, str], name: str, language: Language) -> str:
    """A check's title in a language; one of the team's own may have it in another only."""
    return titles.get(language) or next(iter(titles.values()), name)


def local_time(moment: str, timezone: str) -> str:
    """A time in ISO 8601, for people of a time zone: `2025-01-02 03:04:05 KST`."""
    return f"{datetime.fromisoformat(moment).astimezone(ZoneInfo(timezone)):%Y-%m-%d %H:%M:%S %Z}"


def duration(language: Language, seconds: float) -> str:
    """Seconds for people: `4.2 s`, `3 min 5 s`, `1 h 2 min`."""
    hour, minute, second = ("시간", "분", "초") if language == "ko" else (" h", " min", " s")
    if (tenths := round(seconds, 1)) < 60:
        return f"{tenths:.1f}{second}"
    if (whole := round(seconds)) < 3600:
        return f"{whole // 60}{minute} {whole % 60}{second}"
    return f"{whole // 3600}{hour} {whole % 3600 // 60}{minute}"
