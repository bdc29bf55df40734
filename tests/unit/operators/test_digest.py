"""The monthly digest of a site whose repository is a folder, from its task to Slack."""

from pathlib import Path
from typing import Any

import pytest
from airflow.sdk.exceptions import AirflowFailException

from slack_sink import CHANNEL, SlackSink, readable
from spoqplus_backup.operators.digest import CollectMonthOperator, NotifyDigestOperator
from spoqplus_backup.sites import sites


def test_the_message_of_a_site_without_a_past(
    run: Any, site_file: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (tmp_path / "repository").mkdir()
    more = f"repositories: [{{name: local, root: 'file://{tmp_path}/repository'}}]\nslack: {{channel: '{CHANNEL}'}}\n"
    site_file.write_text(f"{site_file.read_text()}staging: {{directory: {tmp_path}/staging}}\n{more}")
    (tmp_path / "signing.pub").write_text("")
    sites.cache_clear()
    run.dag_id = "spoqplus_monthly_digest"
    run.xcoms["collect_month", "return_value"] = CollectMonthOperator(task_id="collect_month", site="spoqplus").execute(
        run.context
    )
    run.states = {"collect_month": "success"}
    with SlackSink() as slack:
        monkeypatch.setenv("AIRFLOW_CONN_SPOQPLUS_SLACK", slack.bot_connection)
        notify = NotifyDigestOperator(task_id="notify", site="spoqplus", result_task_id="collect_month")
        assert notify.execute(run.context) == {"slack": True}
        assert "not every promise was kept" in slack.messages[0]["text"]
        assert "Recovery tests: ⚠️ 0 passed · 0 failed" in readable(slack.messages[0])


def test_a_digest_that_could_not_be_made_says_why(run: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    run.states, run.task_id = {"collect_month": "failed"}, "notify"
    run.xcoms["collect_month", "error"] = "The public key can't be read."
    with SlackSink() as slack:
        monkeypatch.setenv("AIRFLOW_CONN_SPOQPLUS_SLACK", slack.connection)
        with pytest.raises(AirflowFailException, match="collect_month"):
            NotifyDigestOperator(task_id="notify", site="spoqplus", result_task_id="collect_month").execute(run.context)
        assert "The public key can't be read." in readable(slack.messages[0])
