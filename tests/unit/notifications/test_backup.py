"""The message about a backup."""

from typing import Any

from slack_sink import words
from spoqplus_backup.core.notice import notice
from spoqplus_backup.messages import Language
from spoqplus_backup.notifications.backup import backup_message
from spoqplus_backup.notifications.report import RunReport

WARNINGS = [
    notice("preflight.sync_binlog", "The server has sync_binlog={value}, not 1.", value=0).model_dump(),
    notice("files.missing", "{component}: {path} is not there.", component="config", path="/etc/<nginx>").model_dump(),
    {"code": "", "words": "Of a set that was published before.", "values": {}},
]
PUBLISHED: dict[str, Any] = {
    "set": "daily/20260102_030000",
    "raw_bytes": 2,
    "stored_bytes": 1,
    "components": [],
    "previous_stored_bytes": None,
    "server": "mariadb 10.11.6",
    "coordinates": {},
    "warnings": WARNINGS,
}


def told(language: Language) -> str:
    report = RunReport("spoqplus", language, True, "http://airflow/dags/d/runs/r", 120.0)
    message = backup_message(report, PUBLISHED, ["not committed to git"])
    return words({"text": message.text, "blocks": message.blocks})


def test_warnings_are_in_the_site_s_language() -> None:
    said = told("ko")
    assert "서버의 sync_binlog가 1이 아니라 0입니다" in said
    assert "config: /etc/&lt;nginx&gt; 경로가 없어" in said
    assert "Of a set that was published before." in said
    assert "not committed to git" in said


def test_in_english_they_are_what_the_manifest_has() -> None:
    said = told("en")
    assert "The server has sync_binlog=0, not 1." in said
    assert "config: /etc/&lt;nginx&gt; is not there." in said
