"""Recovery tests that never ran: what they found is made up."""

from datetime import datetime, timedelta, timezone
from typing import Any

from spoqplus_backup.core.mysql.fingerprint import Place
from spoqplus_backup.core.notice import notice
from spoqplus_backup.core.proof.model import CheckResult, Proof, ProofStage, Verdict

MOMENT = datetime(2026, 1, 1, 21, 0, tzinfo=timezone.utc)
STAGES = (("start_sandbox", 6.4, 0), ("fetch", 412.0, 9 << 30), ("load", 1310.0, 31 << 30)) + (
    *(("apply_binlogs", 188.0, 2 << 30), ("restore_files", 521.0, 14 << 30)),
)


def check(name: str, title: str, verdict: Verdict, *evidence: str, korean: str | None = None) -> CheckResult:
    """One check, with what it says."""
    return CheckResult(
        name=name,
        title={"ko": korean or title, "en": title},
        verdict=verdict,
        evidence=tuple(notice("of a test", "{words}", words=words) for words in evidence),
        seconds=12.3,
        finished_at=MOMENT + timedelta(minutes=50),
    )


CHECKS = (
    check(
        *("rows", "Every table equals production, row for row", "passed"),
        *("42 tables, 12,345,678 rows: all equal.", "17 views, triggers, routines and events: all equal."),
        korean="모든 테이블이 운영과 한 행씩 같음",
    ),
    check("integrity", "The database is whole", "passed", "CHECK TABLE: 42 tables good.", korean="데이터베이스 무결성"),
    check("faces", "Face data is whole", "passed", "5,120 encodings of 128 numbers each.", korean="얼굴 데이터 온전함"),
)


def proof_of(number: int = 0, **fields: Any) -> Proof:
    """A test that passed, so many months after the first."""
    began = MOMENT + timedelta(days=30 * number)
    local = began + timedelta(hours=9)
    values: dict[str, Any] = {
        "site": "spoqplus",
        "id": f"{local:%Y%m%d_%H%M%S}",
        "run_id": f"scheduled__{began.isoformat()}",
        "started_at": began,
        "finished_at": began + timedelta(minutes=58),
        "verdict": "passed",
        "backup": f"daily/{local:%Y%m%d}_030000",
        "repository": "s3",
        "backup_finished_at": began - timedelta(hours=2),
        "server": "mariadb 10.11.6",
        "place": Place(log="binlog.000123", position=4711, gtid="0-1-987654", at=began + timedelta(minutes=2)),
        "tables": 42,
        "rows": 12_345_678,
        "files": 210_034,
        "bytes": 45 << 30,
        "stages": tuple(ProofStage(name=name, seconds=seconds, bytes=size) for name, seconds, size in STAGES),
        "rto_seconds": 2450.0,
        "rto_limit_seconds": 4 * 3600.0,
        "rpo_seconds": 540.0,
        "rpo_limit_seconds": 3600.0,
        "ten_times_seconds": 24_100.0,
        "checks": CHECKS,
    }
    return Proof(**(values | fields))
