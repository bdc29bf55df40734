"""The runbook says of each task what its help in the Airflow UI says, and its commands are ones."""

import contextlib
import re
import shlex
import textwrap
from pathlib import Path

import botocore.session
import pytest
from botocore import xform_name
from botocore.waiter import WaiterModel

from spoqplus_backup.cli import _parser as cli_parser
from spoqplus_backup.message_files import Language, texts

DOCS = Path(__file__).resolve().parents[2] / "docs"
FILES: dict[Language, str] = {"en": "runbook.md", "ko": "runbook.ko.md"}
PROGRAMS = ("spoqplus-backup ", "aws ")
SHORT = {"region", "query", "protocol", "port", "cidr", "id"}  # of the command line itself
TASKS = [key.removeprefix("help.") for key in texts() if key.startswith("help.")]


@pytest.mark.parametrize("language", FILES)
@pytest.mark.parametrize("task", TASKS)
def test_every_task_has_its_line(language: Language, task: str) -> None:
    line = f"| `{task}` | {texts()[f'help.{task}'].form(language)} |"
    assert line in (DOCS / FILES[language]).read_text().splitlines(), f"put into docs/{FILES[language]}: {line}"


def commands(language: Language) -> list[list[str]]:
    """Every command that a reader of the runbook types: those of its blocks, and those in backquotes."""
    page = (DOCS / FILES[language]).read_text()
    blocks = re.findall(r"```sh\n(.*?)```", textwrap.dedent(page).replace("   ```", "```"), re.DOTALL)
    lines = [line for block in blocks for line in block.replace("\\\n", " ").splitlines()]
    lines += re.findall(r"`([^`\n]+)`", page)
    found = [shlex.split(line.strip(), comments=True) for line in lines if line.strip().startswith(PROGRAMS)]
    return [words for words in found if len(words) > 1]


@pytest.mark.parametrize("language", FILES)
def test_our_commands_are_ones(language: Language) -> None:
    ours = [words for words in commands(language) if words[0] == "spoqplus-backup"]
    assert len(ours) > 10
    for words in ours:
        with contextlib.suppress(SystemExit):  # what needs a word more, such as `keys generate`, says so
            cli_parser().parse_args(words[1:])
            continue
        assert len(words) <= 3, f"`{' '.join(words)}` is no command of ours"


@pytest.mark.parametrize("language", FILES)
def test_commands_of_aws_have_only_what_aws_knows(language: Language) -> None:
    session = botocore.session.get_session()
    of_aws = [words for words in commands(language) if words[0] == "aws" and words[1] != "s3"]
    assert len(of_aws) > 8
    for words in of_aws:
        service, operation, *options = words[1:]
        model = session.get_service_model(service)
        names = {xform_name(name, "-"): name for name in model.operation_names}
        if operation == "wait":
            waiters = WaiterModel(session.get_component("data_loader").load_service_model(service, "waiters-2"))
            operation, *options = options
            called = {xform_name(name, "-"): name for name in waiters.waiter_names}
            names[operation] = waiters.get_waiter(called[operation]).operation
        members = model.operation_model(names[operation]).input_shape.members
        known = {xform_name(name, "-") for name in members} | SHORT
        assert {word[2:] for word in options if word.startswith("--")} <= known, " ".join(words)


def test_both_languages_have_the_same_commands() -> None:
    in_english, in_korean = ([words for words in commands(one) if words[0] == "aws"] for one in ("en", "ko"))
    assert in_english == in_korean


@pytest.mark.parametrize("language", FILES)
def test_what_messages_link_to_is_there(language: Language) -> None:
    headings = re.findall(r"(?m)^## (.+)$", (DOCS / FILES[language]).read_text())
    linked = [found.form(language) for key, found in texts().items() if key.startswith("runbook.")]
    assert linked
    assert [heading for heading in linked if heading not in headings] == []
