"""What Slack is told of a failover: it asks, each step with the time used, what is done and what is not."""

from typing import Any

import pytest

from slack_sink import words
from spoqplus_backup.message_files import Language
from spoqplus_backup.notifications.dr_failover import Failover, approval_message, failover_message, step_message
from spoqplus_backup.notifications.report import Failure, RunReport

FOUND: dict[str, Any] = {
    "mode": "failover",
    "reason": "Seoul <is> gone",
    "production": "unreachable",
    "way": "replica",
    "lost_minutes": {"replica": 1.5},
    "fails": [],
    "warnings": [],
}


def report(*, succeeded: bool = True, language: Language = "en", failures: tuple[Failure, ...] = ()) -> RunReport:
    return RunReport(
        site="spoqplus", language=language, succeeded=succeeded, run_url="http://x", seconds=9, failures=failures
    )


def said(message: Any) -> str:
    return words({"text": message.text, "blocks": message.blocks})


def test_it_asks_with_what_would_be_lost() -> None:
    message = approval_message(report(), FOUND, first=False)
    assert message.asks
    assert "somebody else" in message.title
    for expected in ("Seoul &lt;is&gt; gone", "1.5 min", "can't be reached from here"):
        assert expected in said(message) or expected in str(message.blocks)


@pytest.mark.parametrize(("used", "mark"), [(600.0, "⏱️ Recovery time 10 min 0 s / 4 h 0 min"), (15000.0, "❌")])
def test_a_step_says_the_time_used(used: float, mark: str) -> None:
    message = step_message(report(), "switch_dns", "www leads to Tokyo", ["slow"], used, 14400)
    assert message.title == "🔁 spoqplus DR failover: Switch the DNS done"
    assert mark in said(message)
    assert "slow" in said(message)
    assert message.asks, "the run's thread goes on"


def test_a_run_that_stopped_half_way_says_what_is_done_and_what_is_not() -> None:
    failure = Failure(task="health", error="no answer", log_url="http://x/log")
    states = {"fence": "success", "restore_snapshot": "skipped", "health": "failed", "switch_dns": "upstream_failed"}
    failover = Failover(found=FOUND, states=states, approvers=("admin", "oncall"), used_seconds=60)
    message = failover_message(report(succeeded=False, failures=(failure,)), failover)
    text = said(message)
    assert message.title == "❌ spoqplus DR failover is not complete"
    assert "✅ Fence the old primary" in text
    assert "❌ Health" in text
    assert "⬜ Switch the DNS" in text
    assert "snapshot" not in text
    assert "admin, oncall" in text


def test_a_refused_failover_changed_nothing() -> None:
    states = dict.fromkeys(("fence", "health"), "upstream_failed")
    message = failover_message(report(succeeded=False), Failover(found=FOUND, states=states))
    assert "Nothing was changed." in said(message)


def test_a_rehearsal_lists_what_would_fail() -> None:
    found = FOUND | {"mode": "rehearsal", "fails": [f"reason {number}" for number in range(12)], "warnings": ["mind"]}
    message = failover_message(report(succeeded=False, language="ko"), Failover(found=found))
    assert message.title == "❌ spoqplus DR 훈련: 지금 전환하면 실패합니다"
    for expected in ("reason 0", "reason 9", "2", "mind"):
        assert expected in said(message)
    assert failover_message(report(), Failover(found=FOUND | {"mode": "rehearsal"})).title.startswith("✅")
    assert failover_message(report(succeeded=False), Failover()).title.startswith("❌"), "it failed before its page"
