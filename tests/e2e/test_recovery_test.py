"""The recovery test in a real Airflow, while others write to production."""

from pathlib import Path
from urllib.parse import quote

import pytest
import requests

from spoqplus_backup.core.connections import EnvironmentConnections
from spoqplus_backup.core.mysql.sandbox import SandboxServer
from spoqplus_backup.core.proof.store import page_of, past_proofs
from spoqplus_backup.core.repository.opener import open_repository
from support import servers
from support.world import World

pytestmark = [pytest.mark.e2e, pytest.mark.timeout(600)]

RECOVERY_TEST = "spoqplus_recovery_test"


def answer(world: World, path: str, token: str | None) -> tuple[int, str]:
    """Status and body of a page."""
    headers = {"Authorization": f"Bearer {token}"} if token else {}
    found = requests.get(world.airflow.url + path, headers=headers, timeout=30)
    return found.status_code, found.text


def test_the_backups_are_proved_while_others_write(world: World, monkeypatch: pytest.MonkeyPatch) -> None:
    world.airflow.wait_for_dag(RECOVERY_TEST)
    backup = world.back_up()
    assert world.archive() == {}, "what would be lost is measured from the last archived log"
    world.on_production("UPDATE members SET name = '바뀐 이름' WHERE id = 1")
    with servers.writing(world.production, "UPDATE spoqplus.products SET price = price + 1 WHERE id = 1"):
        run = world.airflow.trigger(RECOVERY_TEST)
        state = world.airflow.wait(RECOVERY_TEST, run)
    states = world.airflow.task_states(RECOVERY_TEST, run)
    assert state == "success", {
        task: world.airflow.log(RECOVERY_TEST, run, task) for task, found in states.items() if found == "failed"
    }

    for connection, value in world.connections.items():
        monkeypatch.setenv(connection, value)
    repository = open_repository(world.settings, "s3", EnvironmentConnections())
    (proof,) = past_proofs(repository, world.settings.signing.public_key_files, site="spoqplus")
    assert (proof.verdict, proof.backup) == ("passed", backup)
    assert proof.in_time
    assert proof.little_lost
    assert proof.rows > 1000
    assert {"records", "integrity", "uploads", "keys"} <= {check.name for check in proof.checks}
    assert {check.verdict for check in proof.checks} == {"passed"}
    assert [stage.name for stage in proof.stages] == [
        "start_sandbox",
        "fetch",
        "load",
        "apply_binlogs",
        "restore_files",
    ]
    assert "<html" in page_of(repository, proof)

    page = f"/spoqplus/reports/spoqplus/{proof.id}"
    path = f"/dags/{RECOVERY_TEST}/dagRuns/{quote(run, safe='')}/taskInstances/report/links"
    assert list(world.airflow.request("GET", path)["extra_links"].values()) == [page]
    assert answer(world, page, world.airflow.token()) == (200, page_of(repository, proof))
    assert answer(world, page, None)[0] == 401
    for missing in ("/spoqplus/reports/spoqplus/20000101_000000", "/spoqplus/reports/nobody/20000101_000000"):
        assert answer(world, missing, world.airflow.token())[0] == 404

    staging: Path = world.settings.staging.directory
    assert [path for name in ("recovery_test", "restore") for path in (staging / name).glob("*/*recovery_test*")] == []
    assert states["stop_sandbox"] == "success"
    assert "복구" in world.told()


def test_a_payment_without_its_member_is_a_red_run_and_nothing_stays(world: World, mysql_server: SandboxServer) -> None:
    servers.run(
        mysql_server,
        "CREATE DATABASE club",
        "CREATE TABLE club.members (id INT PRIMARY KEY)",
        "CREATE TABLE club.payments (id INT PRIMARY KEY, member_id INT)",
        "CREATE TABLE club.visits (id INT AUTO_INCREMENT PRIMARY KEY, member_id INT)",
        "INSERT INTO club.members VALUES (1), (2)",
        "INSERT INTO club.payments VALUES (10, 1), (11, 2)",
    )
    daily, test = "busan_daily_backup", "busan_recovery_test"
    world.airflow.wait_for_dag(test)
    assert world.airflow.wait(daily, world.airflow.trigger(daily)) == "success"
    servers.run(mysql_server, "DELETE FROM club.members WHERE id = 2")

    with servers.writing(mysql_server, "INSERT INTO club.visits (member_id) VALUES (1)"):
        run = world.airflow.trigger(test)
        assert world.airflow.wait(test, run) == "failed"

    states = world.airflow.task_states(test, run)
    assert {task for task, state in states.items() if state == "failed"} == {"checks", "report", "notify"}
    assert states["stop_sandbox"] == "success"
    verdicts = {check["name"]: check["verdict"] for check in world.airflow.xcom(test, run, "report", "proof")["checks"]}
    assert verdicts.pop("payments_have_members") == "failed"
    assert set(verdicts.values()) == {"passed"}, verdicts
    assert "records" in verdicts
    told = world.told()
    assert "결제마다 회원이 있음" in told
    assert "11" in told
    staging = world.settings.staging.directory.parents[1] / "busan" / "staging"
    assert [path for name in ("recovery_test", "restore") for path in (staging / name).glob("*/*/")] == []
