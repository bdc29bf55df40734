"""What the demonstration prints lines up in Korean, too, and shows a task's log without its JSON."""

import io
import json

from demo_terminal import Terminal, log_tail, padded, width
from slack_sink import readable


def test_korean_letters_take_two_columns() -> None:
    assert width("백업 ok") == 7
    assert padded("백업", 6) == "백업  "
    assert padded("\033[32m✔\033[0m", 3) == "\033[32m✔\033[0m  "


def test_columns_of_a_table_line_up() -> None:
    out = io.StringIO()
    Terminal("ko", 1, out).table(["작업", "크기"], [["dump", "1"], ["암호화", "12.5"]], right=(1,))
    assert {width(line) for line in out.getvalue().splitlines()} == {6 + 6 + 2 + 4}


def test_the_end_of_a_log_shows_events_and_errors() -> None:
    error = {"exc_type": "ProcessError", "exc_value": "mysqldump failed"}
    lines = [
        "::group::Log message source details",
        json.dumps({"event": "Pre Execute", "level": "info"}),
        json.dumps({"event": "Task failed", "level": "error", "error_detail": [error]}),
    ]
    assert log_tail("\n".join(lines), 2) == "ERROR   Task failed\n        ProcessError: mysqldump failed"
    assert log_tail("\n".join(lines)).startswith("INFO    Pre Execute")


def test_a_slack_message_is_readable_without_its_marks() -> None:
    blocks = [
        {"type": "header", "text": {"type": "plain_text", "text": "✅ done"}},
        {"type": "section", "fields": [{"type": "mrkdwn", "text": "*Size*\n1 MiB"}]},
        {"type": "divider"},
        {"type": "context", "elements": [{"type": "mrkdwn", "text": "<http://x/a?b|Open> &lt;ok&gt;"}]},
    ]
    assert readable({"text": "done", "blocks": blocks}) == "✅ done\nSize: 1 MiB\nOpen: http://x/a?b <ok>"
