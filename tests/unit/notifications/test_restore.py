"""The message about a restore."""

from typing import Any

from slack_sink import words
from spoqplus_backup.notifications.report import Failure, RunReport
from spoqplus_backup.notifications.restore import Restored, put_back_message, restore_message

PLAN: dict[str, Any] = {
    "environment": "production",
    "backup": "daily/20260102_030000",
    "repository": "s3",
    "target": "mariadb 10.11.6 at db:3306",
    "components": ["database"],
    "overwrites": 7,
    "objects": 9,
    "rows": 1000,
    "fetch_bytes": 1 << 20,
    "sql_bytes": 3 << 20,
    "seconds": 31.0,
    "rto_seconds": 14400.0,
    "warnings": ["replicas won't have it"],
}
STAGES = {
    "fetch": {"seconds": 1.5, "bytes_out": 1 << 20},
    "load": {"seconds": 75.0, "bytes_out": 3 << 20},
    "verify_restore": {"seconds": 0.5, "bytes_out": 0},
}


def told(report: RunReport, restored: Restored) -> str:
    message = restore_message(report, restored)
    return words({"text": message.text, "blocks": message.blocks})


def report(language: Any = "en", failures: tuple[Failure, ...] = ()) -> RunReport:
    return RunReport("spoqplus", language, not failures, "http://airflow/dags/d/runs/r", 120.0, failures)


def test_a_restore_to_production_says_who_approved_and_what_was_saved() -> None:
    approval = {"responded_by_user": {"id": "kim", "name": "Kim <dba>"}}
    said = told(report(), Restored(PLAN, approval, {"set": "safety/20260102_030500"}, STAGES))
    for part in (
        "✅ spoqplus restore complete",
        "`daily/20260102_030000` (s3)",
        "Production server",
        "mariadb 10.11.6 at db:3306",
        "2 min 0 s (objective 4 h)",
        "Kim &lt;dba&gt;",
        "`safety/20260102_030500`",
        "Fetch 1.5 s · 1.0 MiB",
        "Load 1 min 15 s · 3.0 MiB",
        "Verify the restore 0.5 s",
        "replicas won't have it",
    ):
        assert part in said


def test_what_is_kept_aside_is_named_with_the_way_to_remove_it() -> None:
    verified = STAGES["verify_restore"] | {"detail": {"kept_aside": "/var/www/up.replaced-12345678-1"}}
    plan = PLAN | {"run": "spoqplus_restore/manual__1"}
    said = told(report(), Restored(plan, stages=STAGES | {"verify_restore": verified}))
    command = "spoqplus-backup restore --drop spoqplus_restore/manual__1"
    assert f"Kept aside: /var/www/up.replaced-12345678-1. To remove it: {command}" in said
    assert "Kept aside" not in told(report(), Restored(plan, stages=STAGES))


def test_a_restore_to_the_test_server_has_neither() -> None:
    said = told(report("ko"), Restored(PLAN | {"environment": "test", "warnings": []}, stages=STAGES))
    assert "✅ spoqplus 복원 완료" in said
    assert "시험 서버" in said
    assert "승인" not in said
    assert "안전 백업" not in said
    assert "적재 1분 15초" in said


def test_a_plan_that_failed_leaves_only_its_error() -> None:
    failure = Failure("plan", "The parameter tables has 'x': write database.table.", "http://airflow/log")
    said = told(report(failures=(failure,)), Restored())
    assert "❌ spoqplus restore failed" in said
    assert "`plan` The parameter tables has 'x': write database.table." in said
    assert "<http://airflow/log|Open the log>" in said


def test_a_point_in_time_says_where_it_ended() -> None:
    detail = {"transactions": 12345, "last_at": "2026-01-02T03:04:05.250000+00:00", "last_gtid": "0-1-4711"}
    replayed = STAGES | {"apply_binlogs": {"seconds": 61.0, "bytes_out": 2 << 20, "detail": detail}}
    there = RunReport("spoqplus", "en", True, "http://airflow/dags/d/runs/r", 120.0, timezone="Asia/Seoul")
    said = told(there, Restored(PLAN, stages=replayed))
    assert "2026-01-02 12:04:05.250000+09:00 0-1-4711 (12,345 transactions applied)" in said
    assert "Apply binary logs 1 min 1 s · 2.0 MiB" in said
    nothing = replayed | {"apply_binlogs": replayed["apply_binlogs"] | {"detail": detail | {"transactions": 0}}}
    assert "백업 시점 그대로" in told(report("ko"), Restored(PLAN, stages=nothing))


def test_what_was_put_back_and_what_differs() -> None:
    put_back = {"detail": {"data_directory": "/var/lib/mysql", "failed": "/var/lib/mysql.failed-1"}}
    found = {"table": "spoqplus.members", "only_restored": 2, "only_current": 1, "changed": 0, "same": 1234}
    said = told(report(), Restored(PLAN, put_back=put_back, differences=(found,)))
    assert "The old data directory is /var/lib/mysql again. What was being restored is in" in said
    assert "`spoqplus.members` gone now 2 · came since 1 · changed 0 · same 1,234" in said


def test_the_logs_that_a_lost_server_had_not_archived_are_named() -> None:
    detail = {"transactions": 0, "last_at": None, "last_gtid": None, "own_logs": "binlog.000007"}
    replayed = {"apply_binlogs": {"seconds": 61.0, "bytes_out": 2 << 20, "detail": detail}}
    assert "not archived before: binlog.000007" in told(report(), Restored(PLAN, stages=replayed))


def test_a_failed_rebuild_asks_for_a_decision() -> None:
    message = put_back_message(report())
    assert "somebody has to decide" in message.text
    assert "after_failure" in words({"text": message.text, "blocks": message.blocks})
