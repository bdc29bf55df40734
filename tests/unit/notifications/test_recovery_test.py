"""The message about a recovery test."""

import pytest

from slack_sink import words
from spoqplus_backup.core.proof.model import Proof
from spoqplus_backup.messages import Language
from spoqplus_backup.notifications.recovery_test import recovery_test_message
from spoqplus_backup.notifications.report import Failure, RunReport
from support.proofs import CHECKS, check, proof_of

BAD = check("rows", "Every <table> equals", "failed", "members: 3 rows, not 4.", "key 17", korean="모든 테이블이 같음")


def told(proof: Proof | None, language: Language = "en", page: str | None = None, *failures: Failure) -> str:
    succeeded = proof is not None and proof.verdict == "passed"
    report = RunReport("spoqplus", language, succeeded, "http://airflow/dags/d/runs/r", 3480.0, failures)
    message = recovery_test_message(report, proof, page)
    return words({"text": message.text, "blocks": message.blocks})


def test_one_that_passed_has_every_number() -> None:
    said = told(proof_of(), page="https://airflow/report")
    for part in (
        "✅ spoqplus recovery test passed daily/20260102_030000",
        "✅ 40 min 50 s (objective 4 h)",
        "✅ 9 min 0 s (objective 1 h)",
        "12,345,678 rows · 42 tables · 210,034 files · 45.0 GiB",
        "3 passed · 0 failed · 0 not run",
        "`daily/20260102_030000` (s3)",
        "❌ 6 h 41 min (objective 4 h)",
        "<http://airflow/dags/d/runs/r|Open the run>",
        "<https://airflow/report|Open the report>",
    ):
        assert part in said
    assert "Failed checks" not in said


def test_one_that_failed_names_each_failed_check_with_its_first_evidence() -> None:
    proof = proof_of(verdict="failed", checks=(*CHECKS, BAD), rto_seconds=16_000.0, rpo_seconds=None)
    said = told(proof, page="s3://bucket/recovery_tests/1/report.html")
    assert "❌ spoqplus recovery test failed" in said
    assert "❌ 4 h 26 min (objective 4 h)" in said
    assert "⚠️ not measured (objective 1 h)" in said
    assert "3 passed · 1 failed · 0 not run" in said
    assert "• Every &lt;table&gt; equals: members: 3 rows, not 4." in said
    assert "key 17" not in said
    assert "Report `s3://bucket/recovery_tests/1/report.html`" in said


def test_in_korean() -> None:
    said = told(proof_of(verdict="failed", checks=(BAD,)), "ko")
    assert "❌ spoqplus 복구 시험 실패" in said
    assert "✅ 40분 50초 (복구 목표 4시간)" in said
    assert "통과 0 · 실패 1 · 실행 안 함 0" in said
    assert "• 모든 테이블이 같음: members: 3 rows, not 4." in said


def test_many_failed_checks_are_counted() -> None:
    checks = tuple(check(f"c{number}", f"Check {number}", "failed") for number in range(11))
    said = told(proof_of(verdict="failed", checks=checks))
    assert "Check 7" in said
    assert "Check 8" not in said
    assert "and 3 more" in said


def test_a_run_that_left_no_proof_says_which_task_failed() -> None:
    said = told(None, "en", None, Failure("load", "The disk is full.", "http://airflow/log"))
    assert "❌ spoqplus recovery test failed" in said
    assert "`load` The disk is full." in said
    assert "RTO" not in said


def test_a_run_with_a_red_task_is_red_whatever_the_proof_says() -> None:
    report = RunReport("spoqplus", "en", False, "http://airflow/r", 1.0, (Failure("stop", "stays", "http://log"),))
    assert recovery_test_message(report, proof_of()).text.startswith("❌")


@pytest.mark.parametrize("language", ["ko", "en"])
def test_a_long_evidence_is_cut(language: Language) -> None:
    said = told(proof_of(verdict="failed", checks=(check("x", "X", "failed", "y" * 5000),)), language)
    assert "y" * 150 in said
    assert "y" * 250 not in said
