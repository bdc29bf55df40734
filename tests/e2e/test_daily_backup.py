"""The daily backup in a real Airflow: without a fault, and with several."""

import json
import os
import signal
from collections.abc import Iterator
from pathlib import Path
from urllib.parse import quote

import pytest
import requests

from airflow_instance import AirflowError
from support.servers import wait_until
from support.world import BUCKET, DAILY, World

pytestmark = [pytest.mark.e2e, pytest.mark.timeout(600)]

COMPONENTS = ("database", "accounts", "critical_tables", "face_encodings", "uploads")
UPLOADS = [f"{component}.upload" for component in COMPONENTS]


@pytest.fixture(autouse=True)
def all_at_once(world: World) -> Iterator[None]:
    """Several dumps may read the server here; and no test leaves the gate closed for the next."""
    world.dump_at_once(4)
    yield
    world.dump_at_once(1)
    world.gate.open()


def empty_the_bucket(world: World) -> None:
    for page in world.s3.get_paginator("list_objects_v2").paginate(Bucket=BUCKET):
        for stored in page.get("Contents", []):
            world.s3.delete_object(Bucket=BUCKET, Key=stored["Key"])


def test_a_backup_ends_published_in_both_repositories_and_told(world: World) -> None:
    run = world.airflow.trigger(DAILY)
    assert world.airflow.wait(DAILY, run) == "success"

    states = world.airflow.task_states(DAILY, run)
    assert len(states) == 24
    assert set(states.values()) == {"success"}
    published = world.airflow.xcom(DAILY, run, "publish")
    for repository in ("local", "s3"):
        manifest = world.manifest(repository, published["set"])
        assert [component.name for component in manifest.components] == list(COMPONENTS)
        assert manifest.run_id == f"{DAILY}/{run}"
        assert manifest.component("database").rows
        assert manifest.component("uploads").files
    folder = Path(world.settings.repository("local").root.removeprefix("file://"), published["set"])
    assert [path for path in (folder, *folder.rglob("*")) if path.stat().st_mode & 0o077] == [], "the tasks' umask"
    told = world.told()
    assert "spoqplus 백업 완료" in told
    assert f"`{published['set']}`" in told
    assert f"{published['coordinates']['file']}:{published['coordinates']['position']}" in told
    assert f"{world.airflow.url}/dags/{DAILY}/runs/" in told
    assert not list(world.settings.staging.directory.glob("spoqplus/daily/*")), "staging of a good run goes"
    leads_to_its_set(world, run, published["set"])


def leads_to_its_set(world: World, run: str, name: str) -> None:
    """From the run's tasks to the Backups page, where the set is."""
    page = f"/plugin/backups/spoqplus/#/spoqplus/{name}"
    for task in ("preflight", "database.upload", "publish", "notify"):
        path = f"/dags/{DAILY}/dagRuns/{quote(run, safe='')}/taskInstances/{task}/links"
        links = world.airflow.request("GET", path)["extra_links"]
        assert [url for url in links.values() if url] == ([] if task == "preflight" else [page]), task
    headers = {"Authorization": f"Bearer {world.airflow.token()}"}
    answers = []

    def seen() -> bool:
        found = requests.get(f"{world.airflow.url}/spoqplus/api/spoqplus/sets?q={name}", headers=headers, timeout=30)
        answers[:] = found.json()["items"]
        return bool(answers) and answers[0]["copies"] == ["local", "s3"] and answers[0]["stored_bytes"] is not None

    wait_until(seen, 120, f"the Backups page to show {name}: {answers}")
    made = f"{world.airflow.url}/spoqplus/api/runs/{DAILY}/{quote(run, safe='')}"
    assert requests.get(made, headers=headers, timeout=30).json()["sets"] == [name]


def test_killed_programs_tasks_and_clears_end_in_one_whole_set(world: World) -> None:
    """One dump's mysqldump is killed, another's task process; a third is cleared while it runs."""
    world.gate.stick()
    run = world.airflow.trigger(DAILY)
    held = {dump.arguments: dump for dump in world.gate.wait_for(3)}
    (whole,) = [dump for words, dump in held.items() if "--databases" in words]
    (faces,) = [dump for words, dump in held.items() if "--where" in words]
    (tables,) = [dump for words, dump in held.items() if "--where" not in words and "--databases" not in words]
    world.gate.open()

    os.kill(whole.pid, signal.SIGKILL)
    os.kill(faces.task_pid, signal.SIGKILL)
    world.airflow.clear(DAILY, run, ["critical_tables.dump"])

    assert world.airflow.wait(DAILY, run) == "success"
    wait_until(lambda: not (faces.is_alive or tables.is_alive), 15, "mysqldump to end with its task")
    tries = {name: task["try_number"] for name, task in world.airflow.tasks(DAILY, run).items()}
    assert tries["accounts.dump"] == 1
    assert [tries[f"{name}.dump"] for name in ("database", "critical_tables", "face_encodings")] == [2, 2, 2]
    assert "SIGKILL" in world.airflow.log(DAILY, run, "database.dump", 1)
    name = world.airflow.xcom(DAILY, run, "publish")["set"]
    assert len(world.manifest("local", name).components) == 5
    assert len(world.manifest("s3", name).components) == 5


def test_a_failed_upload_is_told_and_the_cleared_chain_ends_in_the_same_set(world: World) -> None:
    world.gate.close()
    run = world.airflow.trigger(DAILY)
    world.airflow.wait_for_task(DAILY, run, "database.dump", {"running"})
    empty_the_bucket(world)
    world.s3.delete_bucket(Bucket=BUCKET)
    world.gate.open()

    assert world.airflow.wait(DAILY, run) == "failed"
    tasks = world.airflow.tasks(DAILY, run)
    assert {name for name, task in tasks.items() if task["state"] == "failed"} == {*UPLOADS, "notify"}
    assert {name for name, task in tasks.items() if task["state"] == "upstream_failed"} == {"verify", "publish"}
    assert tasks["database.upload"]["try_number"] == 1, "a bucket that is missing is not retried"
    told = world.told()
    assert "spoqplus 백업 실패" in told
    assert BUCKET in told
    assert "/tasks/" in told
    assert any(f"`{upload}`" in told for upload in UPLOADS)
    assert "올라간 파트는 다시 보내지 않습니다" in told, "what the task's help says to do"
    remembered = json.loads(world.airflow.request("GET", f"/variables/slack_threads.{DAILY}")["value"])
    assert [(thread["count"], thread["runs"]) for thread in remembered] == [(1, [run])]

    claimed = world.airflow.xcom(DAILY, run, "preflight")["set_id"]
    world.s3.create_bucket(Bucket=BUCKET)
    world.airflow.clear(DAILY, run, ["database.compress", *UPLOADS[1:]])
    assert world.airflow.wait(DAILY, run) == "success"
    assert world.airflow.tasks(DAILY, run)["database.dump"]["try_number"] == 1, "nothing is dumped twice"
    name = world.airflow.xcom(DAILY, run, "publish")["set"]
    assert name == f"daily/{claimed}"
    for repository in ("local", "s3"):
        assert len(world.manifest(repository, name).components) == 5
    assert "spoqplus 백업 완료" in world.told()
    assert "다시 정상입니다" in world.told()
    with pytest.raises(AirflowError, match="HTTP 404"):
        world.airflow.request("GET", f"/variables/slack_threads.{DAILY}")


def test_cancelling_a_task_ends_its_programs(world: World) -> None:
    world.gate.stick()
    run = world.airflow.trigger(DAILY)
    held = world.gate.wait_for(3)
    for component in ("database", "critical_tables", "face_encodings"):
        world.airflow.mark(DAILY, run, f"{component}.dump", "failed")
    wait_until(lambda: not any(dump.is_alive for dump in held), 30, "the marked tasks' programs to end")
    assert world.airflow.wait(DAILY, run) == "failed"
    assert "spoqplus 백업 실패" in world.told()


def test_a_slack_that_is_down_leaves_a_good_backup_green(world: World) -> None:
    world.slack.statuses = [503] * 3
    run = world.airflow.trigger(DAILY)
    assert world.airflow.wait(DAILY, run) == "success"
    assert world.airflow.xcom(DAILY, run, "notify") == {"slack": False}
    assert "Slack에 알리지 못했습니다" in world.airflow.log(DAILY, run, "notify")
