"""What the doctor found, as people and programs read it, in a language."""

from collections import Counter
from typing import Any

from spoqplus_backup.core.doctor.model import Checkup, Line
from spoqplus_backup.list_text import padded
from spoqplus_backup.messages import Language, notice_text, text

_OK = {"ok": True, "warning": None, "failed": False}


def checkup_text(language: Language, checkup: Checkup) -> str:
    """A line for each thing that was looked at, what is wrong last, and how many there were."""
    order = ("ok", "warning", "failed")
    lines = sorted(checkup.lines, key=lambda line: order.index(line.status))
    counts = Counter(line.status for line in lines)
    shown = [
        f"{padded(text(language, f'doctor.status.{line.status}'), 8)}{title(language, line)}: {detail(language, line)}"
        for line in lines
    ]
    summary = text(
        language,
        "doctor.summary",
        site=checkup.site,
        machine=checkup.machine,
        good=counts["ok"],
        warnings=counts["warning"],
        failed=counts["failed"],
    )
    return "\n".join([*shown, summary])


def title(language: Language, line: Line) -> str:
    """What was looked at."""
    return f"{text(language, f'doctor.area.{line.area}')} · {line.name}"


def detail(language: Language, line: Line) -> str:
    """What was found, and what to do."""
    return notice_text(language, line.said.model_dump())


def as_json(language: Language, checkup: Checkup) -> dict[str, Any]:
    """The same for programs; `ok` is null for a warning."""
    checks = [
        {
            "area": line.area,
            "subject": line.name,
            "name": title(language, line),
            "status": line.status,
            "ok": _OK[line.status],
            "detail": detail(language, line),
        }
        for line in checkup.lines
    ]
    return {"site": checkup.site, "machine": checkup.machine, "ok": not checkup.has_failed, "checks": checks}
