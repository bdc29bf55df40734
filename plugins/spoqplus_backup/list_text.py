"""The list of backups as people read it: a line for each set, in columns that hold Korean too."""

import unicodedata
from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime
from typing import Any

from spoqplus_backup.core.progress import human_bytes
from spoqplus_backup.core.proof.model import Proof
from spoqplus_backup.core.repository.details import Described
from spoqplus_backup.core.repository.survey import COPIES, LIVE_MEDIUM, MEDIA, SetCopies
from spoqplus_backup.core.settings import Settings
from spoqplus_backup.messages import duration, local_time, text

COLUMNS = ("backup", "copies", "media", "offsite", "rule", "size", "time", "contents")
NAME_COLUMNS = 28  # incremental/YYYYMMDD_HHMMSS
RULE_COLUMNS = 36
NOTHING = "-"


def width(words: str) -> int:
    """How many columns of a terminal they take: a letter of Hangul takes two."""
    if words.isascii():
        return len(words)
    return sum(2 if unicodedata.east_asian_width(letter) in "WF" else 1 for letter in words)


def padded(words: str, columns: int) -> str:
    """With spaces behind, so that they take so many columns."""
    return words + " " * (columns - width(words))


@dataclass(frozen=True)
class Columns:
    """The columns of a site's list; `widths` hold whatever its repositories may make of a set."""

    settings: Settings
    labels: tuple[str, ...]
    widths: tuple[int, ...]

    @classmethod
    def of(cls, settings: Settings) -> "Columns":
        """Those of a site."""
        names = [item.name for item in settings.repositories]
        media = sorted({LIVE_MEDIUM, *(item.kept_on for item in settings.repositories)})
        offsite = [item.name for item in settings.repositories if item.is_offsite]
        least = [NAME_COLUMNS, *(width(", ".join(words)) for words in (names, media, offsite)), RULE_COLUMNS, 22, 12, 0]
        labels = tuple(text(settings.language, f"list.{name}") for name in COLUMNS)
        return cls(settings, labels, tuple(max(*pair) for pair in zip(least, map(width, labels), strict=True)))

    def header(self) -> str:
        """The columns' names."""
        return self._line(self.labels)

    def line(self, item: Described) -> str:
        """One set: where it is, whether the 3-2-1 rule holds, and what is known of its manifest."""
        found = item.found
        return self._line(
            [
                found.name,
                ", ".join(copy.repository for copy in found.copies),
                ", ".join(found.media),
                ", ".join(found.offsite) or NOTHING,
                rule_words(self.settings, found),
                *_details(self.settings, item),
            ]
        )

    def _line(self, cells: Sequence[str]) -> str:
        filled = [padded(cell, columns) for cell, columns in zip(cells, self.widths, strict=True)]
        return "  ".join(filled).rstrip()


def rule_words(settings: Settings, found: SetCopies) -> str:
    """Whether the 3-2-1 rule holds; if not, what is missing."""
    if found.holds:
        return text(settings.language, "list.holds")
    missing = []
    if found.count < COPIES:
        missing.append(text(settings.language, "list.lacks.copies", count=found.count))
    if len(found.media) < MEDIA:
        missing.append(text(settings.language, "list.lacks.media", count=len(found.media)))
    if not found.offsite:
        missing.append(text(settings.language, "list.lacks.offsite"))
    return text(settings.language, "list.broken", missing=", ".join(missing))


def total_line(settings: Settings, count: int, good: int) -> str:
    """How many sets there are, and for how many of them the rule holds."""
    return text(settings.language, "list.total", count=f"{count:,}", good=f"{good:,}", medium=LIVE_MEDIUM)


def proved_line(settings: Settings, moment: datetime) -> str:
    """When a set was last proved to restore."""
    return text(settings.language, "list.proved", time=local_time(moment.isoformat(), settings.timezone))


def last_test_line(settings: Settings, proof: Proof | None) -> str:
    """What the last recovery test found."""
    language = settings.language
    if proof is None:
        return text(language, "list.last_test.none")

    def took(seconds: float | None) -> str:
        return NOTHING if seconds is None else duration(language, seconds)

    return text(
        language,
        f"list.last_test.{proof.verdict}",
        time=local_time(proof.finished_at.isoformat(), settings.timezone),
        rto=took(proof.rto_seconds),
        rpo=took(proof.rpo_seconds),
    )


def as_json(item: Described) -> dict[str, Any]:
    """One set for programs."""
    found = item.found
    return {
        "set": found.name,
        "cadence": found.cadence,
        "id": found.id,
        "repositories": [copy.model_dump(include={"repository", "medium", "offsite"}) for copy in found.copies],
        "copies": found.count,
        "media": list(found.media),
        "offsite": list(found.offsite),
        "holds_3_2_1": found.holds,
        "details": None if item.details is None else item.details.model_dump(mode="json"),
        "problem": item.problem,
    }


def _details(settings: Settings, item: Described) -> list[str]:
    if item.details is None:
        return [NOTHING, NOTHING, ""]
    details = item.details
    contents = ", ".join(details.contents)
    if details.logs:
        contents = text(
            settings.language, "slack.logs.amount", logs=details.logs, transactions=f"{details.transactions:,}"
        )
    sizes = f"{human_bytes(details.stored_bytes)} / {human_bytes(details.raw_bytes)}"
    return [sizes, duration(settings.language, details.seconds), f"{contents}  {details.server}"]
