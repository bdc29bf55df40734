"""What a person reads before approving a restore."""

from datetime import datetime, timezone
from pathlib import Path
from typing import Any

import pytest

from spoqplus_backup.core.manifest import Part
from spoqplus_backup.core.notice import notice
from spoqplus_backup.core.recovery.files.plan import PlannedArchive, PlannedFiles
from spoqplus_backup.core.recovery.plan import PlannedComponent, RestorePlan
from spoqplus_backup.core.recovery.request import RestoreRequest
from spoqplus_backup.core.recovery.target import PlannedLog, PlannedReplay, Target
from spoqplus_backup.core.recovery.windows import Window
from spoqplus_backup.core.settings import Settings, load_settings
from spoqplus_backup.plan_text import plan_markdown

RECIPIENT = "age1ymxyng7j0w4d88k3ql9rxtjvdf6c9yk7ahlkhftpxheasrr0j4eshggk8g"  # nobody has the private half


@pytest.fixture
def settings(tmp_path: Path) -> Settings:
    path = tmp_path / "site.yaml"
    path.write_text(f"encryption: {{recipients: [{RECIPIENT}]}}\nsigning: {{public_key_files: [signing.pub]}}\n")
    return load_settings(path)


def planned(**fields: Any) -> RestorePlan:
    component = PlannedComponent(
        name="database",
        databases=("spoqplus",),
        parts=("000001.sql.zst.age",),
        fetch_bytes=12 << 20,
        sql_bytes=200 << 20,
        rows=1_234_567,
    )
    return RestorePlan(
        **{
            "run_id": "spoqplus_restore/manual",
            "request": RestoreRequest(environment="production"),
            "made_at": datetime(2026, 1, 2, tzinfo=timezone.utc),
            "site": "spoqplus",
            "backup": "daily/20260102_030000",
            "backup_finished_at": datetime(2026, 1, 1, 18, 5, tzinfo=timezone.utc),
            "backup_server": "mariadb 10.11.6",
            "manifest_sha256": "0" * 64,
            "repository": "s3",
            "target": "mariadb 10.11.6 at db:3306",
            "connection": "spoqplus_mysql",
            "components": (component,),
            "overwrites": (("spoqplus", "members"), ("spoqplus", "od|d")),
            "objects": 9,
            "seconds": 185.0,
            "rto_seconds": 14400.0,
            "warnings": (notice("plan.no_safety_backup", "There will be no safety backup."),),
        }
        | fields
    )


def test_the_plan_in_korean(settings: Settings) -> None:
    assert (
        plan_markdown(settings, planned())
        == """### spoqplus 복원 계획

| | |
|---|---|
| 백업 | `daily/20260102_030000` (2026-01-02 03:05 KST, mariadb 10.11.6) |
| 저장소 | s3 |
| 대상 | **운영 서버 (승인 필요)**: mariadb 10.11.6 at db:3306 |
| 구성 요소 | 데이터베이스 전체 |
| 내려받기 | 12.0 MiB |
| 적재 | SQL 200.0 MiB, 행 1,234,567개, 오브젝트 9개 |
| 예상 시간 | 3분 5초 (복구 목표 4시간) |

#### 덮어쓰는 것 2개

- `spoqplus.members`
- `spoqplus.od|d`

#### 주의

- 안전 백업을 만들지 않습니다: 덮어쓴 내용은 되돌릴 수 없습니다."""
    )


def test_a_restore_beside_the_original_overwrites_nothing(settings: Settings) -> None:
    english = settings.model_copy(update={"language": "en"})
    request = RestoreRequest(environment="test", into_schema="spoqplus_before")
    said = plan_markdown(english, planned(request=request, overwrites=(), warnings=()))
    assert "| Into another schema | `spoqplus_before` |" in said
    assert "**Test server**" in said
    assert said.endswith("Overwrites nothing.")


def test_two_thousand_tables_are_not_a_page_of_their_own(settings: Settings) -> None:
    many = tuple(("spoqplus", f"t{number:04}") for number in range(2000))
    said = plan_markdown(settings, planned(overwrites=many))
    assert "덮어쓰는 것 2000개" in said
    assert "- 외 1960건" in said
    assert len(said) < 4000


def point(**fields: Any) -> PlannedReplay:
    part = Part(name="l.zst.age", raw_bytes=900, raw_sha256="0" * 64, stored_bytes=1 << 20, sha256="0" * 64)
    log = PlannedLog(name="binlog.000012", sidecar_sha256="0" * 64, log=part, end=900, truncated=False, scheme="age")
    target = Target(
        parameter="to_time",
        text="2026-01-02 12:00",
        time=datetime(2026, 1, 2, 3, 0, tzinfo=timezone.utc),
        zone="Asia/Seoul",
    )
    return PlannedReplay(
        **{
            "target": target,
            "server_id": 1,
            "timeline": "000002",
            "logs": (log, log.model_copy(update={"name": "binlog.000013"})),
            "start": 4711,
            "stop": 815,
            "transactions": 12345,
            "last_at": datetime(2026, 1, 2, 2, 59, 59, 250000, tzinfo=timezone.utc),
            "bytes": 3 << 20,
            "seconds": 3.1,
            "back_seconds": 80.0,
        }
        | fields
    )


def test_a_point_in_time(settings: Settings) -> None:
    day = datetime(2026, 1, 1, tzinfo=timezone.utc)
    windows = (
        Window(backup="daily/20260102_030000", start=day.replace(day=2), end=day.replace(day=2, hour=5)),
        Window(backup="daily/20260101_030000", start=day, end=day.replace(hour=9), problem="the logs were reset"),
    )
    english = settings.model_copy(update={"language": "en"})
    said = plan_markdown(english, planned(replay=point(), windows=windows))
    for part in (
        "| Point in time | up to 2026-01-02 12:00:00+09:00 |",
        "| To fetch | 14.0 MiB |",
        "| To replay | 12,345 transactions, the last one of 2026-01-02 11:59:59.250000+09:00; 2 logs "
        "(from binlog.000012 4711 to binlog.000013 815, 3.0 MiB, timeline 000002), about 3.1 s |",
        "- `daily/20260102_030000`: 2026-01-02 09:00:00+09:00 to 2026-01-02 14:00:00+09:00",
        "- can't be reached: 2026-01-01 18:00:00+09:00 to 2026-01-02 09:00:00+09:00 (the logs were reset)",
        "- no offset was given: it is read as a time of Asia/Seoul",
        "- Times in the logs go back by up to 80 s",
    ):
        assert part in said


def test_just_before_a_transaction(settings: Settings) -> None:
    target = Target(parameter="before_gtid", text="0-1-4711")
    said = plan_markdown(settings, planned(replay=point(target=target, stop=None, back_seconds=0.0, last_at=None)))
    assert "| 복원 시점 | `0-1-4711` 트랜잭션 직전까지 |" in said
    assert "binlog.000013 끝까지" in said
    assert "마지막 없음" in said


def files(**fields: Any) -> PlannedFiles:
    archives = [
        PlannedArchive(set=name, repository="s3", manifest_sha256="0" * 64, level=level, parts=(), fetch_bytes=1 << 20)
        for level, name in enumerate(("weekly/20251228_040000", "daily/20260102_030000"))
    ]
    return PlannedFiles(
        **{
            "name": "uploads",
            "content": "tar",
            "root": "/",
            "tops": ("var/www/html/public/uploads",),
            "archives": tuple(archives),
            "files": 12_345,
            "bytes": 3 << 30,
            "stream_bytes": 3 << 30,
            "fetch_bytes": 2 << 20,
            "replaces": ("/var/www/html/public/uploads",),
            "seconds": 61.0,
        }
        | fields
    )


def test_files_in_korean(settings: Settings) -> None:
    text = plan_markdown(settings, planned(files=(files(),)))
    assert "| 구성 요소 | 데이터베이스 전체, 업로드 파일 |" in text
    assert (
        """#### 업로드 파일

| | |
|---|---|
| 파일 | 12,345개, 3.0 GiB |
| 백업 순서 | `weekly/20251228_040000` → `daily/20260102_030000` |
| 위치 | `/var/www/html/public/uploads` |
| 예상 시간 | 1분 1초 |

바뀌는 것: `/var/www/html/public/uploads`. 지금 있는 것은 통째로 옆에 두었다가(.replaced-) 검증이 끝나면 지웁니다."""
        in text
    )


def test_files_alone_in_english(settings: Settings) -> None:
    chosen = files(paths=("2026/*", "a|b"), deleted=("uploads/old",), deleted_count=7, replaces=(), root="/restore")
    english = settings.model_copy(update={"language": "en"})
    text = plan_markdown(english, planned(components=(), overwrites=(), files=(chosen,), target="/restore"))
    assert "| Components | Uploads |" in text
    assert "| Place | `/restore/var/www/html/public/uploads` |" in text
    assert "| Chosen | `2026/*`, `a\\|b` |" in text
    assert "Nothing is there now." in text
    assert "Deleted before the backup was made, and not restored: 7: `uploads/old`" in text
    assert "SQL" not in text, "no server is touched"
