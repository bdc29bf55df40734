"""The git copy never fails a night because a remote was down, but does when a secret would have got out."""

from typing import Any

import pytest
from airflow.sdk.exceptions import AirflowFailException

from spoqplus_backup.core.errors import BackupError, PermanentError
from spoqplus_backup.core.run import StageSummary
from spoqplus_backup.operators.backup import ConfigGitOperator

DOWN = BackupError("The git remote git@example.com:config.git can't be used: Connection refused.")


@pytest.fixture
def outcome(monkeypatch: pytest.MonkeyPatch) -> Any:
    def of(error: Exception) -> ConfigGitOperator:
        def fail(*_: object) -> None:
            raise error

        monkeypatch.setattr("spoqplus_backup.core.files.git_copy.copy_to_git", fail)
        return ConfigGitOperator(task_id="config_git", site="spoqplus")

    return of


@pytest.mark.parametrize("attempt", [1, 2])
def test_a_remote_that_is_down_is_tried_again(run: Any, outcome: Any, attempt: int) -> None:
    run.try_number = attempt
    with pytest.raises(BackupError, match="Connection refused"):
        outcome(DOWN).execute(run.context)


def test_in_the_last_try_it_is_a_warning(run: Any, outcome: Any) -> None:
    run.task_id, run.try_number = "config_git", 3
    assert outcome(DOWN).execute(run.context) is None
    (warning,) = run.xcoms["config_git", "warnings"]
    assert warning.startswith("The configuration was not committed to git")
    assert "Connection refused" in warning


def test_a_secret_in_the_history_of_the_remote_is_told(run: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    detail: dict[str, Any] = {"branch": "backup-20250102", "before": "backup-20250101", "exposed": True}
    summary = StageSummary(
        stage="config_git", component="config", parts=1, bytes_in=0, bytes_out=0, seconds=1, detail=detail
    )
    monkeypatch.setattr("spoqplus_backup.core.files.git_copy.copy_to_git", lambda *_: summary)
    run.task_id = "config_git"
    ConfigGitOperator(task_id="config_git", site="spoqplus").execute(run.context)
    (warning,) = run.xcoms["config_git", "warnings"]
    assert warning.startswith("The branch backup-20250101 of the git remote")


def test_a_private_key_fails_it_at_once(run: Any, outcome: Any) -> None:
    run.try_number = 3
    with pytest.raises(AirflowFailException, match="private key"):
        outcome(PermanentError("/etc/x holds a private key.")).execute(run.context)
