"""What stands around each step of a failover: two people, this very page, one way, a note, and word of it."""

from datetime import datetime, timedelta, timezone
from pathlib import Path
from typing import Any

import pytest
from airflow.providers.standard.operators.hitl import ApprovalOperator
from airflow.sdk.exceptions import AirflowFailException, AirflowSkipException

from spoqplus_backup.core.dr.fence import FenceStep
from spoqplus_backup.core.dr.journal import Story, stories
from spoqplus_backup.core.repository.local import LocalRepository
from spoqplus_backup.operators import dr_approval, dr_flow
from spoqplus_backup.operators.base import ERROR_KEY
from spoqplus_backup.operators.dr_approval import ApproveFailoverOperator, differ
from spoqplus_backup.operators.dr_flow import (
    FailoverStep,
    FenceOperator,
    NotifyFailoverOperator,
    PromoteReplicaStep,
    RehearsalOperator,
    way_of,
)
from spoqplus_backup.sites import sites

MADE_AT = datetime(2026, 1, 2, 3, 0, tzinfo=timezone.utc)
ADMIN, ONCALL = {"id": "1", "name": "admin"}, {"id": "2", "name": "oncall"}


class Step(FailoverStep):
    """A step that only counts."""

    done = 0

    def work(self, context: Any, settings: Any, connections: Any) -> Any:
        self.done += 1
        return {"said": "something"}


@pytest.fixture(autouse=True)
def dr_site(site_file: Path, tmp_path: Path) -> None:
    site_file.write_text(
        site_file.read_text() + f"staging: {{directory: '{tmp_path}/staging'}}\n"
        f"repositories: [{{name: dr, root: 'file://{tmp_path}/dr'}}]\nslack: {{connection: null}}\n"
        "dr: {database: {replica: spoqplus-dr-replica}}\n"
    )
    sites.cache_clear()


@pytest.fixture
def agreed(run: Any) -> Any:
    """A run that two people agreed to."""
    run.dag_id = "spoqplus_dr_failover"
    run.xcoms["assess", "return_value"] = {
        "mode": "failover",
        "reason": "Seoul is gone",
        "region": "ap-northeast-1",
        "made_at": MADE_AT.isoformat(),
        "clock_from": MADE_AT.isoformat(),
        "production": "unreachable",
        "way": "replica",
        "lost_minutes": {"replica": 1.5},
        "complete_until": None,
        "fails": [],
        "warnings": [],
    }
    for name, user in (("approve_first", ADMIN), ("approve_second", ONCALL)):
        run.xcoms[name, "return_value"] = approval(user)
    return run


def approval(user: dict[str, str] | None, option: str = "Approve", minutes: int = 5) -> dict[str, Any]:
    at = MADE_AT + timedelta(minutes=minutes)
    return {"chosen_options": [option], "params_input": {}, "responded_at": at, "responded_by_user": user}


def told(tmp_path: Path) -> list[Story]:
    return stories([LocalRepository("dr", tmp_path / "dr")], MADE_AT - timedelta(days=1))


def step(name: str = "health") -> Step:
    return Step(task_id=name, site="spoqplus")


def test_a_step_that_two_people_agreed_to_is_done_and_noted(agreed: Any, tmp_path: Path) -> None:
    one = step()
    assert one.execute(agreed.context) == {"said": "something"}
    (story,) = told(tmp_path)
    assert story.run == f"spoqplus_dr_failover/{agreed.run_id}"
    assert [(entry.step, entry.event) for entry in story.entries] == [("health", "begun"), ("health", "done")]
    assert story.entries[0].detail == {"way": "replica", "approved_by": "admin, oncall"}
    assert story.entries[0].words == "Seoul is gone"


@pytest.mark.parametrize(
    ("task", "answer", "words"),
    [
        ("approve_first", None, "Two people have not approved"),
        ("approve_second", None, "Two people have not approved"),
        ("approve_second", approval(ONCALL, "Reject"), "Two people have not approved"),
        ("approve_second", approval(ADMIN), "admin approved twice"),
        ("approve_second", approval(None), "approved twice"),
        ("approve_first", approval(ADMIN, minutes=-5), "of an earlier page"),
        ("assess", None, "There is no result of assess"),
        ("assess", {"mode": "rehearsal"}, "This run is a rehearsal"),
    ],
)
def test_without_that_nothing_is_done(agreed: Any, tmp_path: Path, task: str, answer: Any, words: str) -> None:
    agreed.xcoms[task, "return_value"] = answer
    one = step()
    with pytest.raises(AirflowFailException, match=words):
        one.execute(agreed.context)
    assert one.done == 0
    assert told(tmp_path) == []
    assert words in agreed.xcoms["the_task", ERROR_KEY]


def test_a_step_of_another_way_is_skipped_also_when_it_was_cleared(agreed: Any) -> None:
    one = step("restore.load")
    with pytest.raises(AirflowSkipException, match="another way"):
        one.execute(agreed.context)
    assert one.done == 0
    assert [way_of(name) for name in ("promote_replica", "restore_snapshot", "restore.plan", "health")] == [
        "replica",
        "snapshot",
        "backups",
        None,
    ]


def test_what_the_file_says_nothing_of_is_skipped(agreed: Any) -> None:
    with pytest.raises(AirflowSkipException, match=r"no dr\.fence"):
        FenceOperator(task_id="fence", site="spoqplus").execute(agreed.context)


def test_a_failure_is_noted_with_its_words(agreed: Any, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def fail(*_: Any) -> None:
        raise ConnectionError("no route to the host\nand more")

    monkeypatch.setattr(Step, "work", fail)
    with pytest.raises(ConnectionError):
        step().execute(agreed.context)
    assert [(entry.event, entry.words) for entry in told(tmp_path)[0].entries[1:]] == [
        ("failed", "no route to the host")
    ]


def test_an_unreachable_primary_is_a_warning_and_a_refused_fence_a_failure(
    agreed: Any, tmp_path: Path, site_file: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    script = tmp_path / "fence.sh"
    script.write_text("#!/bin/sh\nexit 1\n")
    script.chmod(0o755)
    site_file.write_text(site_file.read_text().replace("dr: {", f"dr: {{fence: {{commands: [['{script}']]}}, "))
    sites.cache_clear()
    fence = FenceOperator(task_id="fence", site="spoqplus")
    result = fence.execute(agreed.context)
    assert len(result["unreachable"]) == 1
    (warning,) = agreed.xcoms["the_task", "warnings"]
    assert "is not fenced: fence.sh: unreachable" in warning
    refused = FenceStep("sg-1", "refused", "not allowed")
    monkeypatch.setattr("spoqplus_backup.core.dr.fence.fence", lambda *_: [refused])
    with pytest.raises(AirflowFailException, match=r"could not be fenced: sg-1: refused \(not allowed\)"):
        fence.execute(agreed.context)


def test_the_end_of_a_wait_is_noted_too(agreed: Any, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    waited = {"identifier": "spoqplus-dr-replica", "endpoint": "db.example", "gtids": None}
    monkeypatch.setattr(dr_flow.RdsPromoteReadReplicaOperator, "execute_complete", lambda *_: waited)
    one = PromoteReplicaStep(task_id="promote_replica", site="spoqplus", region="ap-northeast-1")
    assert one.execute_complete(agreed.context, {}) == waited
    (entry,) = told(tmp_path)[0].entries
    assert (entry.step, entry.event) == ("promote_replica", "done")
    assert "db.example" in entry.words


@pytest.mark.parametrize(
    ("first", "second", "two"),
    [
        (approval(ADMIN), approval(ONCALL), True),
        (approval(ADMIN), approval(ADMIN), False),
        (approval(None), approval(ONCALL), False),
        (None, approval(ONCALL), False),
    ],
)
def test_two_people(first: Any, second: Any, two: bool) -> None:
    assert differ(first, second) is two


def asked(name: str) -> ApproveFailoverOperator:
    first = "approve_first" if name == "approve_second" else None
    return ApproveFailoverOperator(task_id=name, site="spoqplus", subject="?", first_task_id=first)


@pytest.mark.parametrize(
    ("event", "words"),
    [
        ({"error": "late", "error_type": "timeout"}, "Nobody answered within 1 h. Nothing was changed."),
        (approval(ONCALL, "Reject"), "oncall rejected it. Nothing was changed."),
        (approval(ADMIN), "admin approved twice"),
    ],
)
def test_whatever_is_no_second_yes_says_that_nothing_was_changed(agreed: Any, event: Any, words: str) -> None:
    with pytest.raises(AirflowFailException, match=words):
        asked("approve_second").execute_complete(agreed.context, event)
    assert words in agreed.xcoms["the_task", ERROR_KEY]


def test_another_person_s_yes_is_kept(agreed: Any) -> None:
    answer = asked("approve_second").execute_complete(agreed.context, approval(ONCALL))
    assert answer["responded_by_user"] == ONCALL


def test_asking_tells_slack_first(agreed: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    said: list[str] = []
    monkeypatch.setattr(
        dr_approval, "tell_failover_approval", lambda context, settings, *, first: said.append(str(first))
    )
    monkeypatch.setattr(ApprovalOperator, "execute", lambda self, context: said.append("asked"))
    asked("approve_second").execute(agreed.context)
    assert said == ["False", "asked"]


def test_a_rehearsal_is_red_with_every_reason(run: Any) -> None:
    judge = RehearsalOperator(task_id="rehearsal", site="spoqplus")
    run.xcoms["assess", "return_value"] = {"fails": [], "warnings": ["mind"]}
    assert judge.execute(run.context) == {"warnings": ["mind"]}
    run.xcoms["assess", "return_value"] = {"fails": ["no zone", "no replica"], "warnings": []}
    with pytest.raises(AirflowFailException, match="for 2 reasons: no zone; no replica"):
        judge.execute(run.context)


def test_the_next_failover_may_begin_when_a_run_has_ended(agreed: Any, tmp_path: Path) -> None:
    from spoqplus_backup.operators.notify import RunFailedError

    step().execute(agreed.context)
    repository = LocalRepository("dr", tmp_path / "dr")
    assert list(repository.list("leases/"))
    agreed.states |= {"fence": "success", "health": "failed"}
    with pytest.raises((AirflowFailException, RunFailedError), match="health"):
        NotifyFailoverOperator(task_id="notify", site="spoqplus", result_task_id="verify").execute(agreed.context)
    assert list(repository.list("leases/")) == []
