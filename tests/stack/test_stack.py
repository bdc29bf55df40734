"""The containers, for real: they are confined, they back up, restore and prove it, and no accident loses anything.

In the order in which they stand here: each goes on with what the one before left.
"""

import json
from typing import Any

import pytest

from stack.deployed import SECOND, Deployment, processes
from stack.engine import service_of

pytestmark = pytest.mark.timeout(1200)

DAILY, RESTORE, RECOVERY_TEST = "spoqplus_daily_backup", "spoqplus_restore", "spoqplus_recovery_test"
ARCHIVE = "spoqplus_binlog_archive"
CLI = ("spoqplus-backup", "--site", "spoqplus")
DUMP = "database.dump"


@pytest.fixture(autouse=True)
def dumps_go(stack: Deployment) -> Any:
    yield
    stack.let_dumps_go()


def secrets(stack: Deployment) -> dict[str, str]:
    """Every password and key of the deployment, by where it lies."""
    found = {
        path.name: path.read_text().strip()
        for path in (stack.home / "secrets").iterdir()
        if path.suffix not in (".conf", ".json")
    }
    for host in ("worker-backup", "worker-recovery", "api-server"):
        connections = json.loads((stack.home / host / "connections.json").read_text())
        found |= {f"{host} {name}": record["password"] for name, record in connections.items()}
    return found


def test_every_service_is_healthy_and_confined(stack: Deployment) -> None:
    seen = set()
    for container in stack.project.containers():
        service, state, host = service_of(container), container["State"], container["HostConfig"]
        seen.add(service)
        if service in ("init", "demo"):
            assert (state["Status"], state["ExitCode"]) == ("exited", 0), service
        else:
            assert state["Health"]["Status"] == "healthy", service
            assert host["RestartPolicy"]["Name"] == "unless-stopped", service
        assert host["ReadonlyRootfs"], service
        assert host["Memory"], service
        assert host["CapDrop"] == ["ALL"], service
        assert host["LogConfig"]["Config"]["max-size"], service
    assert seen >= {"postgres", "redis", "api-server", "scheduler", "dag-processor", "triggerer", "mysql", "seaweedfs"}
    assert seen >= {"worker", "worker-backup", "worker-recovery", "sandbox"}
    assert stack.project.execute("worker-backup", "id", "-u").strip() != "0"


def test_no_secret_is_where_docker_shows_it(stack: Deployment) -> None:
    shown = json.dumps(list(stack.project.containers()))
    assert [name for name, value in secrets(stack).items() if value in shown] == []


def test_a_worker_has_no_way_into_airflows_database(stack: Deployment) -> None:
    for worker in ("worker", "worker-backup", "worker-recovery"):
        assert set(stack.project.execute(worker, "ls", "/run/secrets").split()) == {
            "celery_broker_url",
            "celery_result_backend",
        }
    script = (
        "import psycopg2, sys; from urllib.parse import urlsplit, unquote\n"
        "u = urlsplit(open('/run/secrets/celery_result_backend').read().strip())\n"
        "psycopg2.connect(host=u.hostname, user=u.username, password=unquote(u.password), dbname=sys.argv[1]).close()"
    )
    stack.project.execute("worker-backup", "python", "-c", script, "celery")
    with pytest.raises(Exception, match="permission denied for database"):
        stack.project.execute("worker-backup", "python", "-c", script, "airflow")


def test_a_daily_backup_runs_on_the_backup_host(stack: Deployment) -> None:
    tasks = stack.end(DAILY, stack.begin(DAILY))
    ran = {task["hostname"] for task in tasks.values() if task["state"] == "success"}
    assert ran == {"worker-backup"}
    assert len(stack.published()) == 1


def test_its_restore_runs_where_the_keys_are(stack: Deployment) -> None:
    tasks = stack.end(RESTORE, stack.begin(RESTORE, {"environment": "test", "components": ["database", "uploads"]}))
    assert tasks["load"]["state"] == tasks["restore_files"]["state"] == "success"
    assert {task["hostname"] for task in tasks.values() if task["state"] == "success"} == {"worker-recovery"}


def test_the_backup_host_can_not_read_what_it_wrote(stack: Deployment) -> None:
    assert "identity.txt" not in stack.project.execute("worker-backup", "ls", "/run/spoqplus").split()
    assert "identity.txt" in stack.project.execute("worker-recovery", "ls", "/run/spoqplus").split()


def test_a_recovery_test_proves_the_backup_in_the_sandbox(stack: Deployment) -> None:
    stack.end(ARCHIVE, stack.begin(ARCHIVE))  # what would be lost now is measured from the logs in the repositories
    run_id = stack.begin(RECOVERY_TEST)
    tasks = stack.end(RECOVERY_TEST, run_id, 900)
    hosts = {name: task["hostname"] for name, task in tasks.items() if task["state"] == "success"}
    assert hosts.pop("archive.fetch") == "worker-backup"
    assert {host for name, host in hosts.items() if not name.startswith("archive.")} == {"worker-recovery"}
    report = stack.airflow.xcom(RECOVERY_TEST, run_id, "report")
    assert report, "the report says nothing"


def test_prometheus_reads_the_metrics_and_knows_the_alertmanager(stack: Deployment) -> None:
    def ask(path: str) -> Any:
        url = f"http://127.0.0.1:9090/api/v1/{path}"
        return json.loads(stack.project.execute("prometheus", "wget", "-q", "-O", "-", url))["data"]

    def is_up() -> bool:
        return [target["health"] for target in ask("targets")["activeTargets"]] == ["up"]

    stack.airflow.until("Prometheus reads the metrics", is_up, 180)
    sites = ask("query?query=count%20by%20(site)({site!=%22%22})")["result"]
    assert [item["metric"]["site"] for item in sites] == ["spoqplus"]
    assert ask("rules")["groups"]
    assert [item["url"] for item in ask("alertmanagers")["activeAlertmanagers"]] == [
        "http://alertmanager:9093/api/v2/alerts"
    ]


def test_two_hosts_back_up_their_own_sites(stack: Deployment) -> None:
    stack.add_host()
    assert stack.second is not None
    other = f"{SECOND}_daily_backup"
    before = stack.published()
    stack.airflow.wait_for_dag(other, 300)
    runs = {dag_id: stack.begin(dag_id) for dag_id in (DAILY, other)}
    hosts = {
        dag_id: {task["hostname"] for task in stack.end(dag_id, run_id).values() if task["state"] == "success"}
        for dag_id, run_id in runs.items()
    }
    assert hosts == {DAILY: {"worker-backup"}, other: {f"worker-{SECOND}"}}
    assert len(stack.published() - before) == 1
    assert len(stack.published(project=stack.second)) == 1
    assert "dump: " in stack.airflow.log(other, runs[other], DUMP), "the log of another host is not to be read"


def test_a_worker_that_is_killed_in_the_middle_of_a_dump(stack: Deployment) -> None:
    before = stack.published()
    stack.hold_dumps()
    run_id = stack.begin(DAILY)
    stack.wait_for_held_dump()
    found = processes(stack.project, "worker-backup")
    assert [name for name, value in secrets(stack).items() if value in found] == []
    stack.kill("worker-backup")
    stack.let_dumps_go()
    tasks = stack.end(DAILY, run_id)
    assert tasks[DUMP]["try_number"] == 2
    assert len(stack.published() - before) == 1


def test_a_worker_that_is_stopped_lets_its_dump_end(stack: Deployment) -> None:
    before = stack.published()
    stack.hold_dumps()
    run_id = stack.begin(DAILY)
    stack.wait_for_held_dump()
    stack.ask_to_end("worker-backup")
    assert stack.airflow.tasks(DAILY, run_id)[DUMP]["state"] == "running"
    stack.let_dumps_go()
    stack.start_again("worker-backup")
    tasks = stack.end(DAILY, run_id)
    assert tasks[DUMP]["try_number"] == 1
    assert len(stack.published() - before) == 1


def test_redis_postgres_and_the_scheduler_go_away_while_a_backup_runs(stack: Deployment) -> None:
    before = stack.published()
    stack.hold_dumps()
    run_id = stack.begin(DAILY)
    stack.wait_for_held_dump()
    stack.restart("redis")
    stack.restart("postgres")
    stack.kill("scheduler")
    stack.let_dumps_go()
    tasks = stack.end(DAILY, run_id)
    assert {name for name, task in tasks.items() if task["state"] not in ("success", "skipped")} == set()
    assert len(stack.published() - before) == 1


def test_everything_that_was_published_is_whole(stack: Deployment) -> None:
    tasks = stack.end(RESTORE, stack.begin(RESTORE, {"environment": "test", "components": ["database"]}))
    assert tasks["verify_restore"]["state"] == "success"
    assert len(stack.published()) == 5
    for name in stack.published():
        stack.project.execute("worker-recovery", *CLI, "verify", f"daily/{name}")


def test_the_command_line_works_where_the_credentials_are(stack: Deployment) -> None:
    listed = stack.project.execute("worker-backup", *CLI, "list")
    assert all(name in listed for name in stack.published())
