"""Who watches: the watchdog and the metrics, of a real Airflow."""

from pathlib import Path

import pytest
import requests

from support.monitoring import check
from support.world import METRICS_TOKEN, World

pytestmark = [pytest.mark.e2e, pytest.mark.timeout(600)]

WATCHDOG = "careless_watchdog"


def scraped(world: World, token: str | None) -> requests.Response:
    headers = {"Authorization": f"Bearer {token}"} if token else {}
    return requests.get(f"{world.airflow.url}/spoqplus/metrics", headers=headers, timeout=30)


def test_nobody_backed_up_and_the_metrics_tell(world: World) -> None:
    world.airflow.wait_for_dag(WATCHDOG)
    for token in (None, "wrong", world.airflow.token()):
        assert scraped(world, token).status_code == 401
    sets = world.settings.repository("local").root.removeprefix("file://")
    if not list(Path(sets).glob("daily/*/manifest.json")):  # as the tests before have left
        world.back_up()

    run = world.airflow.trigger(WATCHDOG)
    assert world.airflow.wait(WATCHDOG, run) == "failed"
    assert world.airflow.task_states(WATCHDOG, run) == {"look": "success", "notify": "failed"}
    assert "careless 백업에 문제가 있습니다" in world.told()
    assert "저장소 local를 볼 수 없습니다" in world.told()

    answer = scraped(world, METRICS_TOKEN)
    assert answer.status_code == 200
    check("promtool", "check", "metrics", sent=answer.content)
    lines = answer.text.splitlines()
    for wanted in (
        'spoqplus_watchdog_last_run_timestamp_seconds{site="careless"}',
        'spoqplus_repository_up{repository="local",site="careless"} 0.0',
        'spoqplus_repository_up{repository="s3",site="spoqplus"} 1.0',
        'spoqplus_backup_rule_3_2_1{site="spoqplus"} 1.0',
    ):
        assert any(line.startswith(wanted) for line in lines), f"{wanted} is not in {answer.text}"
    (size,) = (line for line in lines if line.startswith('backup_size_bytes{site="spoqplus"}'))
    assert float(size.split()[-1]) > 1000
