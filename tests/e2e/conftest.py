"""One real Airflow for all end-to-end tests, and around it a real database, an S3 endpoint and a stand-in for Slack."""

import json
import logging
import subprocess
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import boto3
import pytest
import yaml
from moto.server import ThreadedMotoServer
from PIL import Image

from airflow_instance import ADMIN, AirflowInstance
from slack_sink import SlackSink
from spoq_data import load as load_spoq_data
from spoqplus_backup.core.crypto import generate_signing_key
from spoqplus_backup.core.mysql.sandbox import SandboxServer
from spoqplus_backup.core.settings import load_settings
from support import servers
from support.aws import REPLICA
from support.club import Club, club_in
from support.dump_gate import DumpGate
from support.jeju import ONCALL, Jeju, jeju_in
from support.keys import age_pair
from support.service import Service, make_service
from support.site_file import WITHOUT_FILES
from support.trees import nasty_tree
from support.world import (
    BUCKET,
    DAILY,
    DATABASE_PASSWORD,
    DR_BUCKET,
    METRICS_TOKEN,
    RESTORE,
    S3_SECRET,
    World,
    bucket_connection,
    database_connection,
    with_login,
)

PAYMENTS = {
    "name": "payments_have_members",
    "title": {"ko": "결제마다 회원이 있음", "en": "Each payment has its member"},
    "sql": "SELECT p.id FROM club.payments p LEFT JOIN club.members m ON m.id = p.member_id WHERE m.id IS NULL",
    "expect": {"empty": True},
}
# What the tasks import. Those of the demonstration, which is tested too, import it themselves.
PRELOADED = (
    "MySQLdb.cursors",
    "boto3.s3.transfer",
    "botocore.session",
    "airflow.providers.slack.hooks.slack_webhook",
    "airflow.sdk.execution_time.task_runner",
    "spoqplus_backup.core.files.archive",
    "spoqplus_backup.core.mysql.dump",
    "spoqplus_backup.core.preflight",
    "spoqplus_backup.core.publish",
    "spoqplus_backup.core.recovery.restore",
    "spoqplus_backup.core.repository.s3",
    "spoqplus_backup.core.settings_check",
    "spoqplus_backup.core.stages",
    "spoqplus_backup.flows.archive",
    "spoqplus_backup.flows.backup",
    "spoqplus_backup.flows.recovery_test",
    "spoqplus_backup.flows.replication",
    "spoqplus_backup.flows.restore",
    "spoqplus_backup.flows.retention",
)


@pytest.fixture(scope="session")
def slack() -> Iterator[SlackSink]:
    with SlackSink() as sink:
        yield sink


@pytest.fixture(scope="session")
def s3_endpoint() -> Iterator[str]:
    logging.getLogger("werkzeug").setLevel(logging.WARNING)
    server = ThreadedMotoServer(ip_address="127.0.0.1", port=0)
    server.start()
    host, port = server.get_host_and_port()
    yield f"http://{host}:{port}"
    server.stop()


@pytest.fixture(scope="session")
def configuration(tmp_path_factory: pytest.TempPathFactory) -> Callable[..., Path]:
    """Writes the file of a site; its keys and folders lie beside it."""
    folder = tmp_path_factory.mktemp("sites")
    first, second = age_pair(folder, "first"), age_pair(folder, "second")
    generate_signing_key(folder / "signing.pem", folder / "signing.pub.pem")

    def write(site: str, **fields: Any) -> Path:
        content = {
            "site": site,
            "schedules": dict.fromkeys(("binlog_archive", "incremental_backup", "retention", "watchdog")),  # by hand
            "staging": {"directory": str(folder / site / "staging")},
            "encryption": {
                "recipients": [first.recipient, second.recipient],
                "identity_files": [str(first.identity_file)],
            },
            "signing": {"private_key_file": "signing.pem", "public_key_files": ["signing.pub.pem"]},
            "alerts": {"minimum_backup_bytes": 0},
            **WITHOUT_FILES,
        }
        path = folder / f"{site}.yaml"
        path.write_text(yaml.safe_dump(content | fields))
        return path

    return write


@pytest.fixture(scope="package")
def lost(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Service]:
    """A server that runs as a service of this machine, to be rebuilt."""
    folder, vendor = tmp_path_factory.mktemp("lost"), servers.programs("mariadb")
    with servers.start(folder / "first", "mariadb") as first:
        with_login(first)
    service = make_service(folder / "lost-service", vendor, folder / "first" / "data")
    subprocess.run(service.start, check=True)
    yield service
    service.kill()
    service.socket.unlink(missing_ok=True)


@pytest.fixture(scope="package")
def club(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Club]:
    """What a site has that backs up everything there is."""
    with club_in(tmp_path_factory.mktemp("club")) as made:
        yield made


@pytest.fixture(scope="package")
def jeju(tmp_path_factory: pytest.TempPathFactory, slack: SlackSink) -> Iterator[Jeju]:
    """A site that has lost its region, and AWS, where its replica is."""
    with jeju_in(tmp_path_factory.mktemp("jeju"), page=slack.url) as made:
        yield made


@pytest.fixture(scope="package")
def world(
    mariadb_server: SandboxServer,
    mariadb_target: SandboxServer,
    mysql_server: SandboxServer,
    lost: Service,
    slack: SlackSink,
    s3_endpoint: str,
    configuration: Callable[..., Path],
    club: Club,
    jeju: Jeju,
    tmp_path_factory: pytest.TempPathFactory,
) -> Iterator[World]:
    for server in (mariadb_server, mariadb_target, mysql_server):
        servers.empty(server)
        with_login(server)
    load_spoq_data(mariadb_server.connect, 2)
    gate = DumpGate(tmp_path_factory.mktemp("clients"))
    repository = tmp_path_factory.mktemp("repository")
    database = {"client_directory": str(gate.directory)}
    uploads = tmp_path_factory.mktemp("www") / "uploads"
    nasty_tree(uploads)
    Image.new("RGB", (64, 48), "teal").save(uploads / "강습실.png")
    main = configuration(
        "spoqplus",
        database=database,
        files=[{"name": "uploads", "paths": [str(uploads)], "level": "full"}],
        repositories=[
            {"name": "local", "root": f"file://{repository}"},
            {"name": "s3", "root": f"s3://{BUCKET}/seoul", "connection": "spoqplus_aws"},
        ],
    )
    # A second site, whose test connection leads to production by mistake.
    configuration(
        "careless",
        database=database,
        restore={"test_connection": "spoqplus_mysql"},
        dr={"connection": "jeju_aws", "database": {"replica": REPLICA}, "approval_hours": 0.0005},  # nobody is so quick
        repositories=[{"name": "local", "root": f"file://{repository}/careless"}],
    )
    # A third site, whose test server is a service of this machine that can be rebuilt.
    rebuilt = {"data_directory": str(lost.data), "stop": list(lost.stop), "start": list(lost.start)}
    rebuilt |= {"defaults_file": str(lost.folder / "my.cnf")}
    configuration(
        "lost",
        database=database,
        components=[],
        objectives={"rto_hours": 0.001},  # its restores are told to be late
        restore={"test_connection": "lost_mysql", "rebuild": {"test": rebuilt | {"memory_mib": 64}}},
        repositories=[{"name": "local", "root": f"file://{repository}/lost"}],
    )
    configuration("club", **club.configuration())
    # Another vendor's server, whose recovery test has one check of its own.
    mysql = {"connection": "busan_mysql", "client_directory": str(servers.MYSQL_DIRECTORY / "bin")}
    checks = tmp_path_factory.mktemp("checks")
    (checks / "payments.yaml").write_text(yaml.safe_dump({"checks": [PAYMENTS]}))
    configuration(
        "busan",
        database=mysql,
        components=[],
        restore={"server_directory": str(servers.MYSQL_DIRECTORY / "bin")},
        recovery_test={"checks": [str(checks)], "faces": None, "memory_mib": 64},
        repositories=[{"name": "local", "root": f"file://{repository}/busan"}],
    )
    configuration("jeju", **jeju.configuration())
    connections = jeju.connections(mariadb_target) | {
        "AIRFLOW_CONN_BUSAN_MYSQL": database_connection(mysql_server),
        "AIRFLOW_CONN_LOST_MYSQL": json.dumps(
            {
                "conn_type": "mysql",
                "login": "backup",
                "password": DATABASE_PASSWORD,
                "extra": {"unix_socket": str(lost.socket)},
            }
        ),
        "AIRFLOW_CONN_SPOQPLUS_MYSQL": database_connection(mariadb_server),
        "AIRFLOW_CONN_SPOQPLUS_TEST_MYSQL": database_connection(mariadb_target),
        "AIRFLOW_CONN_SPOQPLUS_SLACK": slack.connection,
        "AIRFLOW_CONN_SPOQPLUS_METRICS": json.dumps({"conn_type": "generic", "password": METRICS_TOKEN}),
        "AIRFLOW_CONN_SPOQPLUS_AWS": bucket_connection(s3_endpoint, "ap-northeast-2"),
        "AIRFLOW_CONN_SPOQPLUS_AWS_DR": bucket_connection(s3_endpoint, "ap-northeast-1"),
    }
    s3 = boto3.client(
        "s3",
        endpoint_url=s3_endpoint,
        region_name="us-east-1",
        aws_access_key_id="access-key",
        aws_secret_access_key=S3_SECRET,
    )
    for bucket in (BUCKET, DR_BUCKET):
        s3.create_bucket(Bucket=bucket)
    airflow = AirflowInstance(
        tmp_path_factory.mktemp("airflow"),
        {
            "SPOQPLUS_BACKUP_CONFIG": str(main.parent),
            "AIRFLOW__CORE__MAX_TASK_RETRY_DELAY": "1",  # seconds: retries without the wait
            "AIRFLOW__WORKERS__MIN_HEARTBEAT_INTERVAL": "1",  # a task learns sooner that it was cancelled
            "AIRFLOW__DAG_PROCESSOR__MIN_FILE_PROCESS_INTERVAL": "3600",  # seconds: no site changes meanwhile
            **connections,
        },
        users={ADMIN: "admin", ONCALL: "admin"},
        triggerer=True,
        preloaded=PRELOADED,
    )
    airflow.start()
    try:
        for dag_id in (DAILY, RESTORE, "careless_restore", "lost_restore", "club_daily_backup"):
            airflow.wait_for_dag(dag_id)
        yield World(airflow, load_settings(main), mariadb_server, mariadb_target, slack, s3, gate, connections)
    finally:
        airflow.stop(patience=0)
