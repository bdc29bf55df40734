"""A statement that should not have been: writes go on, it is found in the archived logs, all but it comes back."""

from collections.abc import Iterator
from typing import Any

import pytest

from support.servers import rows
from support.world import ARCHIVE, INCREMENTAL, RESTORE, World

pytestmark = [pytest.mark.e2e, pytest.mark.timeout(600)]


def archive(world: World) -> dict[str, str]:
    run = world.airflow.trigger(ARCHIVE)
    assert world.airflow.wait(ARCHIVE, run) == "success", world.airflow.task_states(ARCHIVE, run)
    return world.airflow.task_states(ARCHIVE, run)


def members(connection: Any) -> list[Any]:
    return rows(connection, "SELECT id, name FROM spoqplus.members ORDER BY id")


@pytest.fixture
def production(world: World) -> Iterator[Any]:
    connection = world.production.connect()
    yield connection
    connection.close()


def test_everything_but_one_statement_comes_back(world: World, production: Any) -> None:
    world.back_up()
    rows(production, "INSERT INTO spoqplus.products (name, price) SELECT 'before', 1 FROM DUAL")
    archive(world)
    wanted = members(production)
    assert wanted
    rows(production, "DELETE FROM spoqplus.payments")
    rows(production, "UPDATE spoqplus.members SET name = 'gone'")  # without a WHERE
    archive(world)

    found = world.airflow.trigger(RESTORE, {"find_tables": ["spoqplus.members"], "find_kinds": ["update"]})
    assert world.airflow.wait(RESTORE, found) == "success"
    candidates = world.airflow.xcom(RESTORE, found, "plan")["candidates"]
    culprit = next(one for one in candidates if one["rows"] == len(wanted))
    states = world.airflow.task_states(RESTORE, found)
    assert states["load"] == "skipped"

    restored = world.airflow.trigger(RESTORE, {"before_gtid": culprit["gtid"]})
    assert world.airflow.wait(RESTORE, restored) == "success", world.airflow.task_states(RESTORE, restored)
    assert world.airflow.task_states(RESTORE, restored)["apply_binlogs"] == "success"
    target = world.test_server.connect()
    assert members(target) == wanted
    assert rows(target, "SELECT COUNT(*) FROM spoqplus.payments") == [(0,)], "what came before it is there"
    assert rows(target, "SELECT COUNT(*) FROM spoqplus.products WHERE name = 'before'") == [(1,)]
    target.close()


def test_an_incremental_set_covers_what_was_written_since(world: World, production: Any) -> None:
    rows(production, "INSERT INTO spoqplus.products (name, price) SELECT 'later', 2 FROM DUAL")
    run = world.airflow.trigger(INCREMENTAL)
    assert world.airflow.wait(INCREMENTAL, run) == "success", world.airflow.task_states(INCREMENTAL, run)
    published = world.airflow.xcom(INCREMENTAL, run, "publish")
    manifest = world.manifest("s3", published["set"])
    assert manifest.binlogs
    assert manifest.recovery_point is not None
    assert manifest.recovery_point.seconds is not None
    assert manifest.recovery_point.seconds < 3600
    assert "incremental" in world.told() or "증분" in world.told()


def test_a_quiet_server_costs_no_empty_logs(world: World) -> None:
    archive(world)
    count = len(logs(world))
    archive(world)
    assert len(logs(world)) == count


def logs(world: World) -> list[str]:
    objects = world.s3.list_objects_v2(Bucket="spoqplus-backup", Prefix="seoul/binlog/")["Contents"]
    return [found["Key"] for found in objects]
