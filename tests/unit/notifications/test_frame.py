"""The frame of all messages: the cause first, then the facts, then where to look."""

from typing import Any

import pytest

from slack_sink import readable
from spoqplus_backup.core.settings import Settings
from spoqplus_backup.messages import text
from spoqplus_backup.notifications.blocks import bullets
from spoqplus_backup.notifications.frame import Story, framed, what_to_do
from spoqplus_backup.notifications.message import Message
from spoqplus_backup.notifications.report import Failure, RunReport, anchor, runbook_url

RECIPIENT = "age1ymxyng7j0w4d88k3ql9rxtjvdf6c9yk7ahlkhftpxheasrr0j4eshggk8g"  # nobody has the private half
HELP = "Sends it. **When it fails**, its log names the <repository>: clear `upload` **alone**."
FULL = "disk is <full>"


def report(*failures: Failure, **fields: Any) -> RunReport:
    values = {"timezone": "Asia/Seoul", "dag_id": "spoqplus_daily_backup", "started_at": "2026-01-01T18:00:00+00:00"}
    return RunReport("spoqplus", "en", not failures, "http://airflow/run", 60.0, failures, **(values | fields))


def failure(task: str, error: str = FULL, help_text: str = "") -> Failure:
    return Failure(task, error, f"http://airflow/{task}", help_text)


def lines(message: Message) -> list[str]:
    return readable({"text": message.text, "blocks": message.blocks}).splitlines()


STORY = Story(
    title="❌ backup failed",
    lead=["Something to know first."],
    facts=[("Size", "1 GiB")],
    warnings=["mind <this>"],
    details=[bullets("Components", ["database"])],
    footer=["mariadb 10.11.6"],
)


def test_reads_from_the_cause_to_the_footer() -> None:
    message = framed(report(failure("upload", help_text=HELP), runbook_url="http://docs/runbook.md#a"), STORY)
    assert lines(message) == [
        "❌ backup failed",
        "Failed",
        "• `upload` disk is <full> Open the log: http://airflow/upload",
        "What to do",
        "Its log names the <repository>: clear `upload` alone.",
        "Something to know first.",
        "Size: 1 GiB",
        "Warnings",
        "• mind <this>",
        "Components",
        "• database",
        "Open the run: http://airflow/run · Runbook: http://docs/runbook.md#a",
        "`spoqplus_daily_backup` · 2026-01-02 03:00:00 KST · mariadb 10.11.6",
    ]
    assert message.text == "❌ backup failed disk is &lt;full&gt;"  # what a phone shows
    assert message.cause == "upload: disk is <full>"


def test_a_success_has_no_cause() -> None:
    message = framed(report(), Story(title="✅ backup complete", summary="daily/20260102_030000"))
    assert message.text == "✅ backup complete daily/20260102_030000"
    assert message.cause is None
    assert len(lines(message)) == 3


def test_one_error_of_many_tasks_is_one_line() -> None:
    failed = [failure(f"{name}.upload") for name in "abcdef"] + [failure("mirror", "no rsync")]
    said = lines(framed(report(*failed), STORY))
    assert said[2].startswith("• `a.upload` `b.upload` `c.upload` `d.upload` and 2 more disk is <full> Open the log")
    assert said[3].startswith("• `mirror` no rsync")


def test_many_errors_are_counted() -> None:
    said = lines(framed(report(*(failure(f"task{number}", f"error {number}") for number in range(11))), STORY))
    assert said[6].startswith("• `task4` error 4")
    assert said[7] == "• and 6 more"


def test_many_facts_need_more_than_one_section() -> None:
    message = framed(report(), Story(title="x", facts=[(str(number), "x") for number in range(12)]))
    assert [len(block["fields"]) for block in message.blocks if "fields" in block] == [10, 2]


def test_a_question_is_no_failure_that_repeats() -> None:
    assert framed(report(failure("load")), Story(title="🛑 put back?", asks=True)).cause is None


@pytest.mark.parametrize(
    ("help_text", "said"),
    [
        ("**실패하면** 로그를 보세요.", "로그를 보세요."),
        ("Does it. **When it fails** look at its log.", "Look at its log."),
        ("Nothing to say of failures.", "Nothing to say of failures."),
    ],
)
def test_what_a_help_says_of_failures(help_text: str, said: str) -> None:
    assert what_to_do(help_text) == said


def test_links_into_the_runbook_of_the_site_s_language() -> None:
    fields = {"encryption": {"recipients": [RECIPIENT]}, "signing": {"public_key_files": ["signing.pub"]}}
    page = "https://git.example/docs/runbook.md"
    settings = Settings.model_validate(fields | {"language": "en", "slack": {"runbook": page}})
    assert runbook_url(settings, "backup") == f"{page}#the-daily-weekly-and-monthly-backup"
    assert runbook_url(Settings.model_validate(fields), "backup") is None
    assert anchor(text("ko", "runbook.backup")) == "일일-주간-월간-백업"
