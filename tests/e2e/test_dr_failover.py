"""The failover in a real Airflow: rehearsed, carried out by the replica, and from backups when that is lost, too."""

from collections.abc import Iterator
from datetime import datetime, timedelta, timezone
from typing import Any

import pytest

from compare import differences
from slack_sink import words
from spoqplus_backup.core.connections import ConnectionRecord
from spoqplus_backup.core.dr.journal import Story, stories
from spoqplus_backup.core.repository.local import LocalRepository
from spoqplus_backup.core.settings import load_settings
from support import servers
from support.aws import DOMAIN, REPLICA
from support.backups import Site, TestConnections, database_record
from support.jeju import ADDRESS, ONCALL, Jeju
from support.world import World, with_login

pytestmark = [pytest.mark.e2e, pytest.mark.timeout(600)]

FAILOVER = "jeju_dr_failover"
REASON = "The region of Seoul is gone"
DONE = ("fence", "promote_replica", "apply_terraform", "health", "switch_dns", "verify")


@pytest.fixture(scope="module")
def backups(world: World, jeju: Jeju) -> str:
    """A full backup of what was production, and the logs behind it, in the DR region's repository: the set's name."""
    settings = load_settings(world.settings.source.with_name("jeju.yaml"))
    slack = ConnectionRecord(id="spoqplus_slack", type="slackwebhook", password="T/B/token")
    production = database_record("jeju_mysql", world.production)
    site = Site(settings, TestConnections({"jeju_mysql": production, "spoqplus_slack": slack}))
    name = site.back_up().set
    world.on_production("UPDATE members SET name = '백업 뒤에 바뀐 이름' WHERE id = 1")
    site.archive()
    return name


@pytest.fixture(scope="module", autouse=True)
def _emptied(world: World) -> Iterator[None]:
    """The server that is filled here is the test server of other tests."""
    yield
    servers.empty(world.test_server)
    with_login(world.test_server)


def told(world: World, since: int) -> list[str]:
    return [words(message) for message in world.slack.messages[since:]]


def journal(jeju: Jeju) -> list[Story]:
    since = datetime.now(timezone.utc) - timedelta(days=1)
    return stories([LocalRepository("dr", jeju.repository)], since)


def failed_logs(world: World, run: str) -> dict[str, Any]:
    states = world.airflow.task_states(FAILOVER, run)
    return {task: world.airflow.log(FAILOVER, run, task) for task, state in states.items() if state == "failed"}


def test_a_rehearsal_changes_nothing_and_is_red_when_a_failover_would_fail(
    world: World, jeju: Jeju, backups: str
) -> None:
    world.airflow.wait_for_dag(FAILOVER)
    before, since = jeju.cloud.records(), len(world.slack.messages)
    jeju.cloud.simulated["route53:ChangeResourceRecordSets"] = "implicitDeny"
    run = world.airflow.trigger(FAILOVER, {"reason": "drill"})
    assert world.airflow.wait(FAILOVER, run) == "failed"
    states = world.airflow.task_states(FAILOVER, run)
    assert {task for task, state in states.items() if state != "skipped"} == {"assess", "rehearsal", "notify"}, states
    page = world.airflow.log(FAILOVER, run, "assess")
    for expected in (backups, "route53:ChangeResourceRecordSets", REPLICA, "terraform_data.application", ADDRESS):
        assert expected in page
    (message,) = told(world, since)
    assert "route53:ChangeResourceRecordSets" in message
    assert (jeju.cloud.records(), jeju.cloud.promotions, jeju.terraform.present()) == (before, 0, set())
    assert not jeju.fence_log.exists()
    assert journal(jeju) == []
    jeju.cloud.simulated.clear()


def test_refused_or_not_answered_nothing_is_changed(world: World, jeju: Jeju) -> None:
    since = len(world.slack.messages)
    late, asked = "careless_dr_failover", {"mode": "failover", "reason": REASON}
    runs = {late: world.airflow.trigger(late, asked), FAILOVER: world.airflow.trigger(FAILOVER, asked)}
    world.airflow.answer(FAILOVER, runs[FAILOVER], "approve_first", "Reject", user=ONCALL)
    for dag_id, run in runs.items():
        assert world.airflow.wait(dag_id, run) == "failed"
        states = world.airflow.task_states(dag_id, run)
        assert states["approve_first"] == "failed"
        assert {states[name] for name in DONE} == {"upstream_failed"}
    messages = "\n".join(told(world, since))
    assert "oncall 님이 거절했습니다. 아무것도 바꾸지 않았습니다." in messages
    assert "시간 안에 아무도 답하지 않았습니다. 아무것도 바꾸지 않았습니다." in messages
    assert (jeju.cloud.promotions, jeju.terraform.present(), journal(jeju)) == (0, set(), [])


def test_two_people_fail_over_and_what_fails_on_the_way_goes_on(world: World, jeju: Jeju, backups: str) -> None:
    since = len(world.slack.messages)
    run = world.airflow.trigger(FAILOVER, {"mode": "failover", "reason": REASON})
    world.airflow.answer(FAILOVER, run, "approve_first", "Approve")
    world.airflow.answer(FAILOVER, run, "approve_second", "Approve")
    assert world.airflow.wait(FAILOVER, run) == "failed", "one person is not two"
    assert jeju.cloud.promotions == 0
    assert not jeju.fence_log.exists()
    assert "admin" in told(world, since)[-1]
    asked = world.airflow.approval(FAILOVER, run, "approve_second")
    assert REASON in asked["body"]
    assert "admin" in asked["body"], "who was first"

    since = len(world.slack.messages)
    jeju.cloud.states, jeju.cloud.stuck = ["storage-full"], True  # it never gets available
    world.airflow.clear(FAILOVER, run, ["approve_second"])
    world.airflow.answer(FAILOVER, run, "approve_second", "Approve", user=ONCALL)
    assert world.airflow.wait(FAILOVER, run) == "failed"
    half_way = told(world, since)[-1]
    for line in ("✅ 이전 운영 차단", "❌ 복제본 승격", "⬜ DNS 전환", "storage-full"):
        assert line in half_way

    jeju.cloud.states, jeju.cloud.stuck = ["modifying", "backing-up", "modifying"], False  # a promotion takes time
    jeju.cloud.statuses, jeju.cloud.code, jeju.cloud.within = [400, 400], "Throttling", ""  # too many requests
    world.airflow.clear(FAILOVER, run, ["promote_replica"])
    world.airflow.wait_for_task(FAILOVER, run, "promote_replica", {"success"})
    jeju.cloud.always, jeju.cloud.code, jeju.cloud.within = 400, "InvalidChangeBatch", "/rrset/"
    assert world.airflow.wait(FAILOVER, run) == "failed"
    assert "InvalidChangeBatch" in told(world, since)[-1]
    assert world.airflow.task_states(FAILOVER, run)["health"] == "success"

    jeju.cloud.always, jeju.cloud.within = None, ""
    world.airflow.clear(FAILOVER, run, ["switch_dns"])
    assert world.airflow.wait(FAILOVER, run) == "success", failed_logs(world, run)

    tasks = world.airflow.tasks(FAILOVER, run)
    assert {tasks[name]["state"] for name in DONE} == {"success"}
    assert {task["state"] for name, task in tasks.items() if name.startswith("restore")} == {"skipped"}
    assert tasks["apply_terraform"]["try_number"] == 2, "it failed half-way, and went on"
    assert jeju.terraform.present() == {"network", "application"}
    assert jeju.cloud.promotions == 1
    assert jeju.fence_log.read_text() == "fenced\n", "what is done is not done twice"
    assert jeju.cloud.records()[f"{DOMAIN}. A"]["ResourceRecords"] == [{"Value": ADDRESS}]
    assert world.airflow.xcom(FAILOVER, run, "switch_dns")["resolved"] == {f"{DOMAIN}.": [ADDRESS]}

    steps = [message for message in told(world, since) if "복구 시간" in message]
    assert len(steps) == len(DONE), "one message a step"
    assert "보관된 로그" in steps[1], "what the replica lacked is told"
    end = told(world, since)[-1]
    assert "전환 완료" in end
    assert "admin, oncall" in end
    (story,) = journal(jeju)
    assert story.is_complete
    assert list(dict.fromkeys(entry.step for entry in story.entries)) == list(DONE)
    events = [(entry.step, entry.event) for entry in story.entries if entry.event != "begun"]
    assert [step for step, event in events if event == "failed"] == ["promote_replica", "apply_terraform", "switch_dns"]


def test_when_the_replica_is_lost_too_backups_and_logs_go_into_a_new_instance(
    world: World, jeju: Jeju, backups: str
) -> None:
    jeju.cloud.client("rds").delete_db_instance(DBInstanceIdentifier=REPLICA, SkipFinalSnapshot=True)
    servers.empty(world.test_server)
    with_login(world.test_server)
    run = world.airflow.trigger(FAILOVER, {"mode": "failover", "reason": REASON})
    world.airflow.answer(FAILOVER, run, "approve_first", "Approve", user=ONCALL)
    world.airflow.answer(FAILOVER, run, "approve_second", "Approve")
    page = world.airflow.approval(FAILOVER, run, "approve_second")["body"]
    assert "우리 백업과 로그에서 복원" in page
    assert "한 것 fence, promote_replica" in page, "what the run before did"
    assert world.airflow.wait(FAILOVER, run) == "success", failed_logs(world, run)

    tasks = world.airflow.tasks(FAILOVER, run)
    assert {task["state"] for name, task in tasks.items() if name.startswith("restore.")} == {"success"}
    assert tasks["promote_replica"]["state"] == "skipped"
    assert differences(world.snapshot(world.production), world.snapshot(world.test_server)) == []
    assert [story.is_complete for story in journal(jeju)] == [True, True]
