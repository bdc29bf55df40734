"""A site on throw-away servers, and its backups and restores made stage by stage, as the DAGs make them."""

import json
from collections.abc import Callable
from dataclasses import dataclass
from datetime import datetime, timezone
from pathlib import Path
from typing import Any

import pytest
import yaml

from spoqplus_backup.core import stages
from spoqplus_backup.core.archive import delivery
from spoqplus_backup.core.archive import stages as archive
from spoqplus_backup.core.archive.summary import ArchiveSummary
from spoqplus_backup.core.connections import ConnectionRecord, Connections, RecordConnections
from spoqplus_backup.core.files.archive import archive as archive_files
from spoqplus_backup.core.files.environment import export_environment
from spoqplus_backup.core.files.faces import sync_faces
from spoqplus_backup.core.mysql.dump import dump
from spoqplus_backup.core.mysql.sandbox import SandboxServer
from spoqplus_backup.core.preflight import preflight
from spoqplus_backup.core.publish import Published, publish
from spoqplus_backup.core.recovery import restore as recovery
from spoqplus_backup.core.recovery.plan import RestorePlan
from spoqplus_backup.core.recovery.planning import make_plan
from spoqplus_backup.core.recovery.request import validate_request
from spoqplus_backup.core.run import BackupRun, making_task
from spoqplus_backup.core.settings import Settings, load_settings
from support.keys import age_pair, signing_pair
from support.servers import client_directory
from support.site_file import WITHOUT_FILES

ARCHIVE_STAGES: dict[str, Callable[[Settings, Connections], ArchiveSummary]] = {
    "rotate": archive.rotate,
    "list_logs": archive.list_logs,
    "fetch": archive.fetch,
    "compress": archive.compress,
    "encrypt": archive.encrypt,
    "upload": delivery.upload,
    "verify": delivery.verify,
}
# The first task of a component's chain.
MAKERS: dict[str, Callable[[BackupRun, str, int], object]] = {
    "dump": dump,
    "archive": archive_files,
    "sync": lambda run, _, generation: sync_faces(run, generation),
    "export": lambda run, _, generation: export_environment(run, generation),
}
PRODUCTION, TEST = "spoqplus_mysql", "spoqplus_test_mysql"


class TestConnections(RecordConnections):
    """Connections of a test, from a dictionary."""

    __test__ = False

    def __init__(self, records: dict[str, ConnectionRecord]) -> None:
        self.records = records

    def record(self, connection_id: str) -> ConnectionRecord:
        return self.records[connection_id]


def database_record(connection_id: str, server: SandboxServer) -> ConnectionRecord:
    return ConnectionRecord(
        id=connection_id, type="mysql", login="root", password="", extra={"unix_socket": str(server.socket)}
    )


@dataclass
class Site:
    """A configured site with its connections."""

    settings: Settings
    connections: TestConnections
    runs: int = 0

    def export(self, environment: pytest.MonkeyPatch) -> None:
        """Let the command line find the site's file and its connections."""
        environment.setenv("SPOQPLUS_BACKUP_CONFIG", str(self.settings.source))
        for name, record in self.connections.records.items():
            fields = {"conn_type": "mysql", "login": record.login, "password": record.password}
            content = json.dumps(fields | {"extra": dict(record.extra)})
            environment.setenv(f"AIRFLOW_CONN_{name.upper()}", content)

    def start(self, cadence: str = "daily", run_id: str | None = None, **options: Any) -> BackupRun:
        """Preflight: the run of a new set."""
        self.runs += 1
        name = run_id or f"test/run-{self.runs}"
        report = preflight(self.settings, self.connections, cadence, name, datetime.now(timezone.utc), **options)
        return BackupRun(self.settings, self.connections, cadence, report.set_id, name)

    def component(self, run: BackupRun, component: str, generation: int = 1) -> None:
        """One component's chain."""
        MAKERS[making_task(self.settings, component)](run, component, generation)
        stages.compress(run, component)
        stages.encrypt(run, component)
        stages.upload(run, component)

    def archive(self, *stages: str) -> ArchiveSummary:
        """A run of the archive, or only these of its stages; what the last one told."""
        summary = None
        for stage in stages or ARCHIVE_STAGES:
            summary = ARCHIVE_STAGES[stage](self.settings, self.connections)
        assert summary is not None
        return summary

    def back_up(self, cadence: str = "daily", **options: Any) -> Published:
        """A whole backup."""
        run = self.start(cadence, **options)
        for component in run.staging.components():
            self.component(run, component)
        stages.verify(run)
        return publish(run)

    def restore(self, generation: int = 1, **params: Any) -> RestorePlan:
        """A whole restore."""
        plan = self.plan(**params)
        recovery.fetch(self.settings, self.connections, plan)
        recovery.load_set(self.settings, self.connections, plan, generation)
        if plan.replay is not None:
            recovery.roll_forward(self.settings, self.connections, plan)
        recovery.verify_restored(self.settings, self.connections, plan)
        return plan

    def plan(self, **params: Any) -> RestorePlan:
        """The plan of a new restore."""
        self.runs += 1
        request = validate_request(self.settings, params)
        return make_plan(self.settings, self.connections, request, f"test/restore-{self.runs}")


def make_site(directory: Path, production: SandboxServer, test: SandboxServer | None = None, **fields: Any) -> Site:
    """A site whose keys, staging area and one local repository lie in `directory`; `fields` go over the rest."""
    directory.mkdir(parents=True, exist_ok=True)
    first, second = age_pair(directory, "first"), age_pair(directory, "second")
    signing = signing_pair(directory)
    clients = client_directory(production.flavour)
    content: dict[str, Any] = {
        "site": "spoqplus",
        "database": {"client_directory": str(clients) if clients else None},
        "components": [],
        "staging": {"directory": str(directory / "staging")},
        "repositories": [{"name": "local", "root": f"file://{directory}/repository"}],
        "encryption": {
            "recipients": [first.recipient, second.recipient],
            "identity_files": [str(first.identity_file)],
        },
        "signing": {"private_key_file": str(signing.private), "public_key_files": [str(signing.public)]},
        "slack": {"connection": None},
        "alerts": {"minimum_backup_bytes": 0},
        **WITHOUT_FILES,
    }
    path = directory / "site.yaml"
    path.write_text(yaml.safe_dump(content | fields))
    records = {PRODUCTION: database_record(PRODUCTION, production)}
    if test is not None:
        records[TEST] = database_record(TEST, test)
    return Site(load_settings(path), TestConnections(records))
