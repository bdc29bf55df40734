"""Which way a failover takes, and the page that two people read."""

from datetime import datetime, timedelta, timezone

import pytest

from spoqplus_backup.core.dr.findings import Assessment, Finding, Way, WayOut, choose_way
from spoqplus_backup.core.dr.request import FailoverRequest
from spoqplus_backup.core.dr.ways import holds
from spoqplus_backup.core.notice import notice
from spoqplus_backup.core.settings import Settings
from spoqplus_backup.failover_text import assessment_markdown

NOW = datetime(2026, 1, 2, 3, 0, tzinfo=timezone.utc)
FOUR_HOURS = timedelta(hours=4)


def way(name: Way, minutes: float | None, seconds: float = 60, *, usable: bool = True) -> WayOut:
    until = None if minutes is None else NOW - timedelta(minutes=minutes)
    return WayOut(way=name, usable=usable, complete_until=until, seconds=seconds)


@pytest.mark.parametrize(
    ("ways", "chosen"),
    [
        ([way("backups", 1), way("replica", 90)], "replica"),
        ([way("backups", 12), way("replica", None, usable=False), way("snapshot", 600)], "backups"),
        ([way("backups", 12, usable=False), way("snapshot", 600)], "snapshot"),
        ([way("backups", 12, 5 * 3600), way("snapshot", 600, 2400)], "snapshot"),  # the RTO
        ([way("backups", 12, 5 * 3600), way("snapshot", 600, 6 * 3600)], "backups"),  # the quicker one
        ([way("backups", None), way("snapshot", 600)], "snapshot"),  # better known than not
        ([way("backups", 12, usable=False)], None),
        ([], None),
    ],
)
def test_the_way(ways: list[WayOut], chosen: str | None) -> None:
    assert choose_way(ways, NOW, FOUR_HOURS) == chosen


@pytest.mark.parametrize(
    ("flavour", "executed", "archived", "has"),
    [
        ("mariadb", "0-1-10", "0-1-10", True),
        ("mariadb", "0-2-12", "0-1-10,0-2-11", True),
        ("mariadb", "0-1-9", "0-1-10", False),
        ("mariadb", "", "0-1-10", False),
        ("mysql", "3E11FA47-71CA-11E1-9E33-C80AA9429562:1-20", "3E11FA47-71CA-11E1-9E33-C80AA9429562:1-19", True),
        ("mysql", "3E11FA47-71CA-11E1-9E33-C80AA9429562:1-20", "3E11FA47-71CA-11E1-9E33-C80AA9429562:1-21", False),
    ],
)
def test_whether_a_replica_has_what_the_logs_have(flavour: str, executed: str, archived: str, has: bool) -> None:
    assert holds(flavour, executed, archived) is has  # type: ignore[arg-type]


def found(verdict: str = "good") -> Assessment:
    findings = (
        Finding(subject="fence", verdict="good", what=notice("of a test", "rules | rule")),
        Finding(subject="dns", verdict="fails", what=notice("of a test", "x" * 1000)),
    )
    return Assessment(
        run_id="a/1",
        made_at=NOW,
        request=FailoverRequest(mode="failover", reason="Seoul | gone", region="ap-northeast-1"),
        production="unreachable",
        findings=findings,
        ways=(way("backups", 12), way("replica", 1.5), way("snapshot", None, usable=False)),
        way="replica",
        clock_from=NOW - timedelta(minutes=30),
        changes=("www A 10.0.0.1 → 10.1.0.1",),
        resources=("create aws_instance.app",),
    )


@pytest.mark.parametrize("language", ["ko", "en"])
def test_the_page(language: str) -> None:
    settings = Settings.model_validate(
        {"language": language, "encryption": {"scheme": "openssl"}, "signing": {"public_key_files": ["k"]}}
    )
    page = assessment_markdown(settings, found())
    lines = page.splitlines()
    assert any(line.startswith("| ") and "Seoul \\| gone" in line for line in lines)
    assert any("1.5" in line and "**" in line and "2026-01-02 11:58:30 KST" in line for line in lines)
    assert "`create aws_instance.app`" in page
    assert "www A 10.0.0.1 → 10.1.0.1" in page
    first, second = (line for line in lines if line.startswith(("- ❌", "- ✅")))
    assert first.startswith("- ❌"), "what would fail comes first"
    assert len(first) < 500
    assert "rules | rule" in second
    assert any("가" <= letter <= "힣" for letter in page) == (language == "ko")
