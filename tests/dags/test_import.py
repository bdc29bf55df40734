"""The DAG files import, for any number of sites, and say what is wrong with a configuration."""

from collections.abc import Callable

import pytest
from airflow.dag_processing.dagbag import DagBag

ReadDags = Callable[..., DagBag]
DAGS = (
    "daily_backup",
    "weekly_backup",
    "monthly_backup",
    "incremental_backup",
    "binlog_archive",
    "replication",
    "restore",
    "retention",
    "recovery_test",
    "watchdog",
    "monthly_digest",
    "dr_failover",
)


def test_all_dags_of_a_site_import(read_dags: ReadDags) -> None:
    bag = read_dags("")
    assert bag.import_errors == {}
    assert set(bag.dags) == {f"spoqplus_{name}" for name in DAGS}


def test_a_second_club_is_a_second_file(read_dags: ReadDags) -> None:
    repositories = "repositories: [{name: local, root: 'file:///backup/busan'}]"
    bag = read_dags("", f"site: busan\nlanguage: en\n{repositories}")
    assert bag.import_errors == {}
    assert set(bag.dags) == {f"{site}_{name}" for site in ("spoqplus", "busan") for name in DAGS}
    assert bag.dags["spoqplus_daily_backup"].dag_display_name == "spoqplus 일일 백업"
    assert bag.dags["busan_daily_backup"].dag_display_name == "busan daily backup"


@pytest.mark.parametrize(
    ("text", "field"),
    [
        ("scedules: {daily_backup: '0 3 * * *'}", "scedules"),
        ("schedules: {daily_backup: 'every night'}", "schedules.daily_backup"),
        ("compression: {level: 99}", "compression.level"),
    ],
)
def test_a_wrong_file_is_a_clear_import_error(read_dags: ReadDags, text: str, field: str) -> None:
    bag = read_dags(text)
    assert bag.dags == {}
    assert bag.import_errors
    for error in bag.import_errors.values():
        last = error.strip().splitlines()[-1]
        assert "SettingsError" in last
        assert "site0.yaml" in last
        assert f"`{field}`" in last


def test_a_daily_backup_can_be_by_hand_only(read_dags: ReadDags) -> None:
    dag = read_dags("schedules: {daily_backup: null}").dags["spoqplus_daily_backup"]
    assert dag.timetable.can_be_scheduled is False
