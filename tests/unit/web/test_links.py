"""Links from a task to its set: where there is one, and nothing that breaks where there is none."""

import support.airflow_home  # noqa: F401, I001 (before Airflow is imported)

import json
from collections.abc import Callable
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest
from airflow.sdk.execution_time.xcom import XCom

from spoqplus_backup.operators.archive import PublishIncrementalOperator
from spoqplus_backup.operators.backup import BackupSetOperator, CompressOperator, PublishOperator, UploadOperator
from spoqplus_backup.operators.notify import NotifyBackupOperator
from spoqplus_backup.sites import sites
from spoqplus_backup.web.links import ConsoleLink, ReportLink, SetLink
from support.history import make_past

PAGE = "/plugin/backups/spoqplus/#/spoqplus/daily/20260101_030000"
Left = Callable[[dict[str, Any]], None]
COMMON = {"site": "spoqplus", "cadence": "daily", "preflight_task_id": "safety_backup.preflight"}
TI: Any = SimpleNamespace(dag_id="spoqplus_daily_backup", run_id="manual__1", task_id="publish", map_index=-1)


@pytest.fixture
def left(monkeypatch: pytest.MonkeyPatch) -> Left:
    """What the tasks of the run returned."""
    values: dict[str, Any] = {}

    def get_one(**words: Any) -> Any:
        assert (words["dag_id"], words["run_id"]) == ("spoqplus_daily_backup", "manual__1")
        return values.get(words["task_id"])

    monkeypatch.setattr(XCom, "get_one", get_one)
    monkeypatch.setattr(XCom, "get_value", lambda **_: values.get("report"))
    monkeypatch.setenv("AIRFLOW__API__BASE_URL", "https://airflow.example")
    return values.update


def test_every_task_of_a_set_leads_to_it(left: Left) -> None:
    left({"safety_backup.preflight": {"set_id": "20260101_030000"}})
    compress = CompressOperator(task_id="compress", component="database", **COMMON)
    for operator in (compress, PublishOperator(task_id="publish", **COMMON)):
        assert SetLink().get_link(operator, ti_key=TI) == PAGE


def test_what_published_by_itself_and_what_tells_of_it(left: Left) -> None:
    left({"publish": {"set": "daily/20260101_030000"}})
    tell = NotifyBackupOperator(task_id="notify", site="spoqplus", result_task_id="publish")
    assert SetLink().get_link(tell, ti_key=TI) == PAGE
    incremental = PublishIncrementalOperator(task_id="publish", site="spoqplus", verify_task_id="verify")
    assert SetLink().get_link(incremental, ti_key=TI) == PAGE


def test_without_a_set_there_is_no_link(left: Left, monkeypatch: pytest.MonkeyPatch) -> None:
    publish = PublishOperator(task_id="publish", **COMMON)
    tell = NotifyBackupOperator(task_id="notify", site="spoqplus", result_task_id="publish")
    for values in ({}, {"safety_backup.preflight": "marked by hand", "publish": {"set": None}}):
        left(values)
        for operator in (publish, tell):
            for link in (SetLink(), ConsoleLink()):
                assert link.get_link(operator, ti_key=TI) == ""
    assert ReportLink().get_link(publish, ti_key=TI) == ""


def test_airflow_may_live_below_a_path(left: Left, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("AIRFLOW__API__BASE_URL", "https://club.example/airflow/")
    left({"safety_backup.preflight": {"set_id": "20260101_030000"}, "report": "spoqplus/20260101_060000"})
    publish = PublishOperator(task_id="publish", **COMMON)
    assert SetLink().get_link(publish, ti_key=TI) == f"/airflow{PAGE.replace('/spoqplus/#', '/airflow/spoqplus/#')}"
    assert ReportLink().get_link(publish, ti_key=TI) == "/airflow/spoqplus/reports/spoqplus/20260101_060000"


@pytest.mark.parametrize("extra", [{"region_name": "ap-northeast-2"}, {"endpoint_url": "http://127.0.0.1:9"}, None])
def test_the_console_of_amazons_buckets_alone(
    left: Left, extra: dict[str, str] | None, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    left({"safety_backup.preflight": {"set_id": "20260101_030000"}})
    past = make_past(tmp_path / "site", "http://127.0.0.1:9", "seoul")
    monkeypatch.setenv("SPOQPLUS_BACKUP_CONFIG", str(past.settings.source))
    if extra is not None:
        fields = {"conn_type": "aws", "login": "key", "password": "secret", "extra": extra}
        monkeypatch.setenv("AIRFLOW_CONN_SPOQPLUS_AWS", json.dumps(fields))
    sites.cache_clear()
    upload = UploadOperator(task_id="upload", component="database", **COMMON)
    found = ConsoleLink().get_link(upload, ti_key=TI)
    sites.cache_clear()
    if extra and "region_name" in extra:
        assert found.startswith("https://console.aws.amazon.com/s3/buckets/spoqplus-backup?region=ap-northeast-2")
        assert "daily%2F20260101_030000" in found
    else:
        assert found == ""


def test_which_tasks_have_them() -> None:
    assert [type(link) for link in BackupSetOperator.operator_extra_links] == [SetLink]
    assert {type(link) for link in UploadOperator.operator_extra_links} == {SetLink, ConsoleLink}
