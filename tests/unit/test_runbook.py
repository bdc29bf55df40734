"""The runbook says of each task what its help in the Airflow UI says."""

import re
from pathlib import Path

import pytest

from spoqplus_backup.message_files import Language, texts

DOCS = Path(__file__).resolve().parents[2] / "docs"
FILES: dict[Language, str] = {"en": "runbook.md", "ko": "runbook.ko.md"}
TASKS = [key.removeprefix("help.") for key in texts() if key.startswith("help.")]


@pytest.mark.parametrize("language", FILES)
@pytest.mark.parametrize("task", TASKS)
def test_every_task_has_its_line(language: Language, task: str) -> None:
    line = f"| `{task}` | {texts()[f'help.{task}'].form(language)} |"
    assert line in (DOCS / FILES[language]).read_text().splitlines(), f"put into docs/{FILES[language]}: {line}"


@pytest.mark.parametrize("language", FILES)
def test_what_messages_link_to_is_there(language: Language) -> None:
    headings = re.findall(r"(?m)^## (.+)$", (DOCS / FILES[language]).read_text())
    linked = [found.form(language) for key, found in texts().items() if key.startswith("runbook.")]
    assert linked
    assert [heading for heading in linked if heading not in headings] == []
