"""The restore in a real Airflow: to the test server, to production after damage, and refused."""

import pytest

from compare import Snapshot, differences
from support import writer
from support.world import RESTORE, World

pytestmark = [pytest.mark.e2e, pytest.mark.timeout(600)]


@pytest.fixture(scope="module")
def backup(world: World) -> str:
    """The name of a good set of what production holds now."""
    return world.back_up()


@pytest.fixture(scope="module")
def before(world: World, backup: str) -> Snapshot:
    return world.snapshot(world.production)


def test_a_bad_statement_is_found_and_everything_but_it_comes_back(world: World) -> None:
    world.archive()
    world.back_up()
    writer.create(world.production.connect(), bulk_mib=1)
    with writer.Writer(world.production.connect):
        world.on_production(
            "UPDATE members SET name = CONCAT(name, '*') LIMIT 7", "CREATE TABLE later (id INT PRIMARY KEY)"
        )
        good = world.snapshot(world.production)
        world.on_production("DELETE FROM member_faces", "INSERT INTO later VALUES (1)")
        assert world.archive() == {}

    told = len(world.slack.messages)
    search = {"find_tables": ["spoqplus.member_faces"], "find_kinds": ["delete", "truncate"]}
    run = world.airflow.trigger(RESTORE, search)
    assert world.airflow.wait(RESTORE, run) == "success"
    states = world.airflow.task_states(RESTORE, run)
    assert states.pop("plan") == "success"
    assert set(states.values()) == {"skipped"}
    (found, *_) = world.airflow.xcom(RESTORE, run, "plan")["found"]
    assert found["statement"] == "DELETE FROM member_faces"
    assert found["gtid"] in world.airflow.log(RESTORE, run, "plan")
    assert len(world.slack.messages) == told

    run = world.airflow.trigger(RESTORE, {"before_gtid": found["gtid"]})
    assert world.airflow.wait(RESTORE, run) == "success"
    assert world.airflow.task_states(RESTORE, run)["apply_binlogs"] == "success"
    assert differences(good, world.snapshot(world.test_server)) == []
    assert "복원된 시점" in world.told()
    assert writer.violations(world.test_server.connect()) == [], "what others wrote meanwhile is as of one moment"


def test_a_dry_run_ends_after_its_plan(world: World, before: Snapshot, backup: str) -> None:
    told = len(world.slack.messages)
    run = world.airflow.trigger(RESTORE, {"environment": "production", "dry_run": True})
    assert world.airflow.wait(RESTORE, run) == "success"
    states = world.airflow.task_states(RESTORE, run)
    assert states.pop("plan") == "success"
    assert set(states.values()) == {"skipped"}
    assert backup in world.airflow.log(RESTORE, run, "plan")
    assert differences(before, world.snapshot(world.production)) == []
    assert len(world.slack.messages) == told


def test_the_test_server_gets_the_newest_backup_without_approval(world: World, before: Snapshot, backup: str) -> None:
    run = world.airflow.trigger(RESTORE)
    assert world.airflow.wait(RESTORE, run) == "success"
    states = world.airflow.task_states(RESTORE, run)
    assert {name for name, state in states.items() if state == "success"} == {
        "plan",
        "fetch",
        "load",
        "verify_restore",
        "notify",
    }
    assert differences(before, world.snapshot(world.test_server)) == []
    told = world.told()
    assert "spoqplus 복원 완료" in told
    assert backup in told
    assert "시험 서버" in told


def test_damaged_production_comes_back_once_a_person_approved(world: World, before: Snapshot, backup: str) -> None:
    world.on_production(
        "SET foreign_key_checks = 0",
        "DROP TABLE payments",
        "UPDATE members SET name = REVERSE(name), phone = ''",
        "DELETE FROM member_faces LIMIT 10",
    )
    damaged = world.snapshot(world.production)
    assert differences(before, damaged)

    run = world.airflow.trigger(RESTORE, {"environment": "production", "backup": backup, "repository": "s3"})
    world.airflow.wait_for_task(RESTORE, run, "approve", {"awaiting_input"})
    assert differences(damaged, world.snapshot(world.production)) == [], "nothing happens before the approval"
    asked = world.airflow.approval(RESTORE, run, "approve")
    assert asked["subject"] == "spoqplus 운영 서버 복원을 승인하시겠습니까?"
    assert backup in asked["body"]
    world.airflow.answer(RESTORE, run, "approve", "Approve")

    assert world.airflow.wait(RESTORE, run) == "success"
    states = world.airflow.task_states(RESTORE, run)
    unneeded = {
        "rebuild",
        "apply_binlogs",
        "copy_tables",
        "restore_files",
        "set_ownership",
        "start_service",
        "after_failure",
        "put_back",
    }
    assert {name for name, state in states.items() if state != "success"} == unneeded, states
    assert differences(before, world.snapshot(world.production)) == []
    saved = world.airflow.xcom(RESTORE, run, "safety_backup.publish")["set"]
    assert saved.startswith("safety/")
    for repository in ("local", "s3"):
        assert world.manifest(repository, saved).component("database").rows
    told = world.told()
    assert "spoqplus 복원 완료" in told
    assert "admin" in told
    assert saved in told

    undone = world.airflow.trigger(RESTORE, {"environment": "test", "backup": saved})
    assert world.airflow.wait(RESTORE, undone) == "success"
    assert differences(damaged, world.snapshot(world.test_server)) == [  # what a backup does not hold, a restore leaves
        "table spoqplus.payments is new",
        "trigger spoqplus.payments_after_insert is new",
    ]


def test_a_rejected_restore_changes_nothing_and_is_red(world: World, before: Snapshot, backup: str) -> None:
    run = world.airflow.trigger(RESTORE, {"environment": "production", "safety_backup": False})
    world.airflow.answer(RESTORE, run, "approve", "Reject")
    assert world.airflow.wait(RESTORE, run) == "failed"
    states = world.airflow.task_states(RESTORE, run)
    assert (states["approve"], states["fetch"], states["load"]) == ("failed", "upstream_failed", "upstream_failed")
    assert differences(before, world.snapshot(world.production)) == []
    told = world.told()
    assert "spoqplus 복원 실패" in told
    assert "`approve`" in told


def test_a_test_connection_that_leads_to_production_is_refused(world: World, before: Snapshot) -> None:
    run = world.airflow.trigger("careless_restore", {"environment": "test"})
    assert world.airflow.wait("careless_restore", run) == "failed"
    assert "leads to the production server" in world.airflow.log("careless_restore", run, "plan")
    assert world.airflow.task_states("careless_restore", run)["load"] == "upstream_failed"
    assert differences(before, world.snapshot(world.production)) == []


def test_what_the_api_lets_through_the_plan_refuses(world: World) -> None:
    run = world.airflow.trigger(RESTORE, {"evironment": "production"})
    assert world.airflow.wait(RESTORE, run) == "failed"
    assert "evironment" in world.airflow.log(RESTORE, run, "plan")
    assert "evironment" in world.told()
