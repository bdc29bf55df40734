"""How an operator turns errors into retries, and what it leaves for the notification."""

from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from airflow.sdk.exceptions import AirflowFailException, AirflowSkipException, AirflowTaskTimeout

from spoqplus_backup.core.errors import BackupError, WrongKeyError
from spoqplus_backup.core.process import Cancelled, Child, check_cancelled
from spoqplus_backup.operators.base import SiteOperator
from spoqplus_backup.sites import sites


class Works(SiteOperator):
    """Does what it is told."""

    def __init__(self, *, what: Callable[[], Any], **kwargs: Any) -> None:
        super().__init__(**kwargs)
        self.what = what

    def work(self, context: Any, settings: Any, connections: Any) -> Any:
        return self.what()


def operator(what: Callable[[], Any], site: str = "spoqplus") -> Works:
    return Works(task_id="the_task", site=site, what=what)


def failing(error: BaseException) -> Works:
    def fail() -> None:
        raise error

    return operator(fail)


def test_returns_what_the_work_returns(run: Any) -> None:
    assert operator(lambda: {"parts": 3}).execute(run.context) == {"parts": 3}
    assert run.xcoms == {}


def test_an_error_that_may_pass_is_left_to_the_retries(run: Any) -> None:
    with pytest.raises(BackupError) as caught:
        failing(BackupError("S3 said 503: try again.")).execute(run.context)
    assert not isinstance(caught.value, AirflowFailException)


def test_a_wrong_key_is_not_retried(run: Any) -> None:
    with pytest.raises(AirflowFailException, match="no identity matched"):
        failing(WrongKeyError("000001.sql.zst.age: no identity matched.")).execute(run.context)


@pytest.mark.parametrize(
    ("error", "line"),
    [
        (BackupError("mysqldump failed: Got error: 1045\nAccess denied"), "mysqldump failed: Got error: 1045"),
        (WrongKeyError("no identity matched"), "no identity matched"),
        (ValueError(""), "ValueError"),
        (AirflowTaskTimeout("Timeout, PID: 7"), "Timeout, PID: 7"),
        (BackupError("x" * 10_000), "x" * 500),
    ],
)
def test_the_first_line_of_an_error_is_kept_for_the_notification(run: Any, error: BaseException, line: str) -> None:
    with pytest.raises(BaseException):  # noqa: B017, PT011 (each its own)
        failing(error).execute(run.context)
    assert run.xcoms["the_task", "error"] == line


def test_a_skipped_task_is_no_error(run: Any) -> None:
    with pytest.raises(AirflowSkipException):
        failing(AirflowSkipException("nothing to do")).execute(run.context)
    assert run.xcoms == {}


def test_a_site_whose_file_is_gone_fails_for_good(run: Any) -> None:
    with pytest.raises(AirflowFailException, match="No configuration file describes the site daegu"):
        operator(lambda: None, site="daegu").execute(run.context)


def test_a_configuration_that_broke_since_fails_for_good(run: Any, site_file: Path) -> None:
    site_file.write_text("compression: {level: 99}")
    sites.cache_clear()
    with pytest.raises(AirflowFailException, match=r"compression\.level"):
        operator(lambda: None).execute(run.context)
    assert "compression.level" in run.xcoms["the_task", "error"]


def test_cancelling_ends_the_programs_and_the_next_task_is_not_cancelled(run: Any) -> None:
    def cancelled() -> None:
        with Child(["sleep", "600"]) as child:
            work.on_kill()
            child.finish()

    work = operator(cancelled)
    with pytest.raises(Cancelled):
        work.execute(run.context)
    assert operator(check_cancelled).execute(run.context) is None
