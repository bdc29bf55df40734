"""Retention in a real Airflow: a little goes by itself, much waits for a person, a dry run deletes nothing."""

from collections.abc import Iterator

import pytest

from spoqplus_backup.core.connections import EnvironmentConnections
from spoqplus_backup.core.repository.base import Repository
from support.history import DAY, Past
from support.keys import SigningPair
from support.world import World

pytestmark = [pytest.mark.e2e, pytest.mark.timeout(600)]

RETENTION = "spoqplus_retention"


@pytest.fixture(scope="module")
def newest(world: World) -> str:
    """A backup of today, by which the age of all others is told."""
    world.airflow.wait_for_dag(RETENTION)
    return world.back_up()


@pytest.fixture
def past(world: World, monkeypatch: pytest.MonkeyPatch) -> Past:
    """The repositories of the world, to put something old into."""
    for connection, value in world.connections.items():
        monkeypatch.setenv(connection, value)
    signing = world.settings.signing
    assert signing.private_key_file is not None
    keys = SigningPair(signing.private_key_file, signing.public_key_files[0])
    return Past(world.settings, EnvironmentConnections(), keys, world.settings.source.parent)


@pytest.fixture
def week(past: Past) -> Iterator[None]:
    """A good backup of each of the last seven days on the disk: what is older is past its time."""
    local = past.repository("local")
    names = [past.publish(local, "daily", DAY * days) for days in range(1, 8)]
    yield
    for name in names:
        remove(local, name)


def remove(repository: Repository, name: str) -> None:
    for key in list(repository.list(f"{name}/")):
        repository.delete(key)


@pytest.mark.usefixtures("week")
def test_a_little_goes_by_itself_and_much_when_a_person_approved(world: World, past: Past, newest: str) -> None:
    local, bucket = past.repository("local"), past.repository("s3")
    abandoned = past.unfinished(bucket, "daily", DAY * 5)
    old = [past.publish(local, "daily", DAY * days) for days in range(20, 60)]

    dry = world.airflow.trigger(RETENTION, {"dry_run": True})
    assert world.airflow.wait(RETENTION, dry) == "success"
    states = world.airflow.task_states(RETENTION, dry)
    assert {states[f"{name}.{step}"] for name in ("local", "s3") for step in ("approve", "delete")} == {"skipped"}
    assert local.stat(f"{old[0]}/manifest.json") is not None

    run = world.airflow.trigger(RETENTION)
    world.airflow.wait_for_task(RETENTION, run, "local.approve", {"awaiting_input"})
    world.airflow.wait_for_task(RETENTION, run, "s3.delete", {"success"})
    assert list(bucket.list(f"{abandoned}/")) == [], "one repository does not wait for the other"
    assert "local 삭제 승인이 필요합니다" in world.told()
    asked = world.airflow.approval(RETENTION, run, "local.approve")
    assert f"| `{old[0]}` |" in asked["body"]
    assert f"| `{old[0]}` |" in world.airflow.log(RETENTION, run, "local.plan")
    assert local.stat(f"{old[0]}/manifest.json") is not None

    left = past.unfinished(bucket, "weekly", DAY * 5)
    later = world.airflow.trigger(RETENTION)
    assert world.airflow.wait(RETENTION, later) == "success", "a run that waits holds up no other"
    states = world.airflow.task_states(RETENTION, later)
    assert [states[f"local.{step}"] for step in ("approve", "delete")] == ["skipped"] * 2
    assert f"{RETENTION}/{run}" in world.airflow.log(RETENTION, later, "local.plan")
    assert list(bucket.list(f"{left}/")) == []

    world.airflow.answer(RETENTION, run, "local.approve", "Approve")
    assert world.airflow.wait(RETENTION, run) == "success", world.airflow.task_states(RETENTION, run)

    assert set(old) <= set(world.airflow.xcom(RETENTION, run, "local.delete")["sets"])
    assert world.airflow.task_states(RETENTION, run)["s3.approve"] == "skipped"
    assert [key for name in old for key in local.list(f"{name}/")] == []
    assert "보관 기간 정리 완료" in world.told()
    assert world.airflow.xcom(RETENTION, run, "report")["newest"]["s3"]
    for repository in ("local", "s3"):
        assert world.manifest(repository, newest)


@pytest.mark.usefixtures("newest", "week")
def test_what_a_person_rejects_stays_and_the_run_is_red(world: World, past: Past) -> None:
    local = past.repository("local")
    old = [past.publish(local, "daily", DAY * days) for days in range(20, 60)]
    run = world.airflow.trigger(RETENTION)
    world.airflow.wait_for_task(RETENTION, run, "local.approve", {"awaiting_input"})
    world.airflow.answer(RETENTION, run, "local.approve", "Reject")
    assert world.airflow.wait(RETENTION, run) == "failed"
    states = world.airflow.task_states(RETENTION, run)
    assert (states["local.approve"], states["local.delete"], states["s3.delete"]) == (
        "failed",
        "upstream_failed",
        "success",
    )
    assert all(local.stat(f"{name}/manifest.json") is not None for name in old)
    assert "보관 기간 정리 실패" in world.told()
    for name in old:
        remove(local, name)
