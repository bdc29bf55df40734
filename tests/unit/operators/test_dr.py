"""A failover's operators and their trigger, against moto and a real database server."""

import asyncio
import json
import logging
import time
from collections.abc import Iterator
from importlib import import_module
from pathlib import Path
from typing import Any

import pytest
import yaml
from airflow.sdk.exceptions import AirflowFailException, TaskDeferred
from airflow.triggers.base import BaseTrigger

from spoqplus_backup.core.errors import BackupError
from spoqplus_backup.core.mysql.sandbox import SandboxServer
from spoqplus_backup.operators.dr import (
    RdsPromoteReadReplicaOperator,
    RdsRestoreSnapshotOperator,
    Route53ChangeOperator,
    TerraformOperator,
)
from spoqplus_backup.sites import sites
from support import aws, s3
from support.aws import CONNECTION, DOMAIN, DR_REGION, REPLICA, Cloud
from support.dns_server import NameServer, name_server
from support.terraform import Configuration, binaries

pytestmark = pytest.mark.integration

TERRAFORM = next(iter(binaries().values()))  # a real one where there is one
TEMPLATE = {
    "Changes": [
        {
            "Action": "UPSERT",
            "ResourceRecordSet": {"Name": DOMAIN, "Type": "A", "TTL": 60, "ResourceRecords": [{"Value": "$address"}]},
        }
    ]
}


@pytest.fixture(scope="module")
def upstream() -> Iterator[str]:
    with s3.moto() as endpoint:
        yield endpoint


@pytest.fixture
def zone() -> Iterator[NameServer]:
    with name_server() as found:
        yield found


@pytest.fixture
def cloud(
    upstream: str, site_file: Path, mariadb_server: SandboxServer, zone: NameServer, monkeypatch: pytest.MonkeyPatch
) -> Iterator[Cloud]:
    """The cloud, and a site that fails over there; the database server stands for the promoted one."""
    Configuration(site_file.parent / "tf").write(["servers"])
    (site_file.parent / "switch.json").write_text(json.dumps(TEMPLATE))
    with aws.cloud(upstream) as found:
        record = s3.record(found.endpoint)
        keys = {"conn_type": "aws", "login": record.login, "password": record.password, "extra": dict(record.extra)}
        login = {"conn_type": "mysql", "login": "root", "extra": {"unix_socket": str(mariadb_server.socket)}}
        monkeypatch.setenv(f"AIRFLOW_CONN_{CONNECTION.upper()}", json.dumps(keys))
        monkeypatch.setenv("AIRFLOW_CONN_SPOQPLUS_DR_MYSQL", json.dumps(login))
        configure(site_file, found, zone)
        yield found


def configure(site_file: Path, cloud: Cloud, zone: NameServer, **database: Any) -> None:
    restore = {"instance": "spoqplus-dr-restored", "source": REPLICA}
    content = yaml.safe_load(site_file.read_text())
    content["staging"] = {"directory": str(site_file.parent / "staging")}
    content["dr"] = {
        "connection": CONNECTION,
        "database": {"replica": REPLICA, "poll_seconds": 0.02, "wait_minutes": 1, "restore": restore, **database},
        "terraform": {"directory": "tf", "binary": str(TERRAFORM)},
        "dns": {"zone": cloud.zone, "template": "switch.json", "servers": [zone.address], "wait_seconds": 0.5},
    }
    site_file.write_text(yaml.safe_dump(content))
    sites.cache_clear()


def promote(**options: Any) -> RdsPromoteReadReplicaOperator:
    return RdsPromoteReadReplicaOperator(task_id="promote_replica", site="spoqplus", **options)


def deferred(operator: Any, run: Any) -> BaseTrigger:
    """The trigger that the triggerer makes of what the database kept: it has nothing else."""
    with pytest.raises(TaskDeferred) as caught:
        operator.execute(run.context)
    assert caught.value.method_name == "execute_complete"
    assert caught.value.timeout
    return again(caught.value.trigger)


def again(trigger: BaseTrigger) -> BaseTrigger:
    path, arguments = trigger.serialize()
    module, _, name = path.rpartition(".")
    made: BaseTrigger = getattr(import_module(module), name)(**json.loads(json.dumps(arguments)))
    return made


def event(trigger: BaseTrigger) -> dict[str, Any]:
    async def first() -> dict[str, Any]:
        async for found in trigger.run():
            return dict(found.payload)
        raise AssertionError("no event")

    return asyncio.run(first())


def test_without_a_section_in_the_file_nothing_is_tried(run: Any) -> None:
    for operator in (promote(), TerraformOperator(task_id="t", site="spoqplus")):
        with pytest.raises(AirflowFailException, match="`dr` is null"):
            operator.execute(run.context)


def test_a_promotion_is_waited_for_in_the_worker(run: Any, cloud: Cloud) -> None:
    cloud.states = ["available", "modifying", "rebooting"]
    result = promote(deferrable=False).execute(run.context)
    assert (result["identifier"], result["already"], result["port"]) == (REPLICA, False, 3306)
    assert result["endpoint"].startswith(REPLICA)
    assert promote(deferrable=False).execute(run.context)["already"]
    assert cloud.promotions == 1


def test_a_promotion_is_waited_for_in_the_triggerer_which_may_restart(run: Any, cloud: Cloud) -> None:
    cloud.states = ["available", "modifying"]
    trigger = deferred(promote(deferrable=True), run)
    cloud.states, cloud.stuck = ["modifying"], True

    async def end_early() -> None:
        task = asyncio.ensure_future(anext(trigger.run()))
        await asyncio.sleep(0.1)
        task.cancel()

    asyncio.run(end_early())  # this triggerer is gone
    cloud.states, cloud.stuck, cloud.code, cloud.statuses = ["rebooting"], False, "Throttling", [400, 400, 400]
    found = event(again(trigger))
    assert found["status"] == "done"
    result = promote(deferrable=True).execute_complete(run.context, found)
    assert (result["identifier"], result["already"]) == (REPLICA, False)
    assert promote(deferrable=True).execute(run.context)["already"]  # nothing to wait for: no deferral
    assert cloud.promotions == 1


def test_a_replica_that_never_gets_available_fails_the_task(
    run: Any, cloud: Cloud, site_file: Path, zone: NameServer
) -> None:
    configure(site_file, cloud, zone, wait_minutes=0.005)
    cloud.states, cloud.stuck = ["available", "modifying"], True
    found = event(deferred(promote(deferrable=True), run))
    assert found["status"] == "late"
    with pytest.raises(BackupError, match=r"spoqplus-dr-replica: .*wait_minutes"):
        promote(deferrable=True).execute_complete(run.context, found)
    assert "wait_minutes" in run.xcoms["the_task", "error"]  # for the notification

    cloud.states = ["incompatible-network"]
    found = event(again(deferred_trigger(found)))
    assert found["status"] == "failed"
    with pytest.raises(AirflowFailException, match="is incompatible-network and won't become available"):
        promote(deferrable=True).execute_complete(run.context, found)


def deferred_trigger(found: dict[str, Any]) -> BaseTrigger:
    from spoqplus_backup.triggers import RdsPromotedTrigger

    return RdsPromotedTrigger(
        connection=CONNECTION, region=DR_REGION, identifier=REPLICA, asks=None, deadline=time.time() + 60,
        poll_seconds=0.02, asked=found["asked"],
    )  # fmt: skip


def test_a_snapshot_is_restored_into_a_new_instance(run: Any, cloud: Cloud) -> None:
    cloud.client("rds").create_db_snapshot(DBInstanceIdentifier=REPLICA, DBSnapshotIdentifier="last")
    cloud.promoted.add("spoqplus-dr-restored")  # moto copies the replica's source, too
    operator = RdsRestoreSnapshotOperator(task_id="restore_snapshot", site="spoqplus", deferrable=False)
    result = operator.execute(run.context)
    assert (result["identifier"], result["snapshot"], result["already"]) == ("spoqplus-dr-restored", "last", False)
    assert operator.execute(run.context)["already"]


def switch(**options: Any) -> Route53ChangeOperator:
    variables = {"address": "198.51.100.7", "secret_output": None, "subnets": ["a"]}
    return Route53ChangeOperator(task_id="switch_dns", site="spoqplus", variables=variables, **options)


def test_dns_is_switched_and_the_way_back_is_kept_over_retries(run: Any, cloud: Cloud, zone: NameServer) -> None:
    before = cloud.records()
    planned = switch(plan_only=True).execute(run.context)
    assert "192.0.2.1 (TTL 60) → 198.51.100.7" in planned["changes"][0]
    assert cloud.records() == before

    zone.records = {(f"{DOMAIN}.", "A"): [["192.0.2.1"]]}
    cloud.pending = 1
    operator = switch()
    with pytest.raises(BackupError, match=r"after 0\.5 s"):
        operator.execute(run.context)
    zone.records = {(f"{DOMAIN}.", "A"): [["198.51.100.7"]]}
    result = operator.execute(run.context)
    assert result["change_id"] is None  # it was made by the first try
    assert result["resolved"] == {f"{DOMAIN}.": ["198.51.100.7"]}
    cloud.client("route53").change_resource_record_sets(HostedZoneId=cloud.zone, ChangeBatch=result["failback"])
    assert cloud.records() == before


def test_terraform_is_run_in_one_task_or_in_several(run: Any, cloud: Cloud, caplog: pytest.LogCaptureFixture) -> None:
    caplog.set_level(logging.INFO)

    def terraform(**options: Any) -> Any:
        return TerraformOperator(task_id="apply_terraform", site="spoqplus", **options).execute(run.context)

    assert terraform(action="init")["action"] == "init"
    planned = terraform(action="plan", region="ap-northeast-3")
    assert (planned["add"], planned["resources"]) == (1, ["create terraform_data.servers"])
    applied = terraform(action="apply", region="ap-northeast-3")
    assert (applied["add"], applied["outputs"]["region"], applied["outputs"]["password"]) == (1, "ap-northeast-3", None)
    assert "Creat" in caplog.text or "complete" in caplog.text
    again = terraform(variables={"secret": "x", "ignored": None})
    assert (again["add"], again["outputs"]["region"]) == (0, DR_REGION)
