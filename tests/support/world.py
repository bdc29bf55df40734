"""What the end-to-end tests talk to: Airflow, the databases, the repositories, Slack."""

import json
from dataclasses import dataclass
from typing import Any

import pytest

import compare
from airflow_instance import AirflowInstance
from slack_sink import SlackSink, words
from spoqplus_backup.core.connections import EnvironmentConnections
from spoqplus_backup.core.manifest import Manifest
from spoqplus_backup.core.mysql.sandbox import SandboxServer
from spoqplus_backup.core.repository.catalog import Catalog
from spoqplus_backup.core.repository.opener import open_repository
from spoqplus_backup.core.settings import Settings
from support import servers
from support.dump_gate import DumpGate

BUCKET, DR_BUCKET = "spoqplus-backup", "spoqplus-backup-dr"
DATABASE_PASSWORD = "p4ss w0rd/of%the:database"
METRICS_TOKEN = "the-token-of-the-metrics"
S3_SECRET = "secret-key-of-the-bucket"
DAILY, RESTORE = "spoqplus_daily_backup", "spoqplus_restore"
POOL = "spoqplus_database"
ARCHIVE, INCREMENTAL = "spoqplus_binlog_archive", "spoqplus_incremental_backup"


@dataclass
class World:
    """Everything that the tests talk to."""

    airflow: AirflowInstance
    settings: Settings
    production: SandboxServer
    test_server: SandboxServer
    slack: SlackSink
    s3: Any
    gate: DumpGate
    connections: dict[str, str]

    def back_up(self) -> str:
        """A daily backup that has to succeed; returns the set's name."""
        run = self.airflow.trigger(DAILY)
        assert self.airflow.wait(DAILY, run) == "success", self.airflow.task_states(DAILY, run)
        return str(self.airflow.xcom(DAILY, run, "publish")["set"])

    def manifest(self, repository: str, name: str) -> Manifest:
        """The proved manifest of a set in a repository, every object of which is there, whole."""
        with pytest.MonkeyPatch.context() as environment:
            for connection, value in self.connections.items():
                environment.setenv(connection, value)
            opened = open_repository(self.settings, repository, EnvironmentConnections())
            manifest = Catalog(opened, self.settings.signing.public_key_files, self.settings.site).resolve(name)
            assert manifest.name == name
            for key, part in manifest.objects().items():
                opened.check(f"{name}/{key}", part.stored_bytes, part.sha256)
        return manifest

    def dump_at_once(self, slots: int) -> None:
        """How many dumps may read a server at the same time."""
        self.airflow.request(
            "PATCH", f"/pools/{POOL}?update_mask=slots", {"pool": POOL, "slots": slots, "include_deferred": False}
        )

    def archive(self) -> dict[str, Any]:
        """Archive production's binary logs up to now; the tasks that failed, with their logs: a gap is told so."""
        run = self.airflow.trigger(ARCHIVE)
        self.airflow.wait(ARCHIVE, run)
        states = self.airflow.task_states(ARCHIVE, run)
        return {task: self.airflow.log(ARCHIVE, run, task) for task, state in states.items() if state == "failed"}

    def snapshot(self, server: SandboxServer) -> compare.Snapshot:
        """Every table, trigger, view ... of the site's database on a server."""
        connection = server.connect()
        try:
            return compare.snapshot(connection, ["spoqplus"], accounts=False)
        finally:
            connection.close()

    def on_production(self, *statements: str) -> None:
        """Run statements at the production server."""
        connection = self.production.connect(database="spoqplus")
        try:
            for statement in statements:
                servers.rows(connection, statement)
        finally:
            connection.close()

    def told(self) -> str:
        """What the newest Slack message says."""
        return words(self.slack.messages[-1])


def database_connection(server: SandboxServer) -> str:
    fields = {"conn_type": "mysql", "host": "127.0.0.1", "port": server.port, "login": "backup"}
    return json.dumps(fields | {"password": DATABASE_PASSWORD})


def bucket_connection(endpoint: str, region: str) -> str:
    fields = {"conn_type": "aws", "login": "access-key", "password": S3_SECRET}
    return json.dumps(fields | {"extra": {"endpoint_url": endpoint, "region_name": region}})


def with_login(server: SandboxServer) -> None:
    connection = server.connect()
    servers.rows(connection, f"CREATE USER backup@'%' IDENTIFIED BY '{DATABASE_PASSWORD}'")
    servers.rows(connection, "GRANT ALL PRIVILEGES ON *.* TO backup@'%' WITH GRANT OPTION")
    connection.close()
