"""Our own contestant, as a process of its own: calls the core as the tasks of the two DAGs do, one after the other.

    python -m bench.ours backup|restore|files-backup|files-next-day|files-restore TIMES.json

Reads the configuration from SPOQPLUS_BACKUP_CONFIG and the connections from AIRFLOW_CONN_*.
"""

import json
import logging
import sys
import time
from collections.abc import Callable
from datetime import datetime, timezone
from functools import partial
from pathlib import Path
from typing import TypeVar

from spoqplus_backup.core import stages
from spoqplus_backup.core.connections import EnvironmentConnections
from spoqplus_backup.core.files.archive import archive
from spoqplus_backup.core.mysql.dump import dump
from spoqplus_backup.core.preflight import preflight
from spoqplus_backup.core.publish import publish
from spoqplus_backup.core.recovery import restore
from spoqplus_backup.core.recovery.files.steps import restore_files
from spoqplus_backup.core.recovery.planning import make_plan
from spoqplus_backup.core.recovery.request import validate_request
from spoqplus_backup.core.run import ACCOUNTS, BackupRun, database_names, file_names, making_task
from spoqplus_backup.core.settings import Settings, load_settings

DAILY, WEEKLY = "daily", "weekly"
RUN = "bench"

T = TypeVar("T")


class Times:
    """The seconds of each step."""

    def __init__(self) -> None:
        self.seconds: dict[str, float] = {}

    def of(self, name: str, step: Callable[[], T]) -> T:
        """Do a step and note how long it took; the same name again adds up."""
        started = time.monotonic()
        result = step()
        self.seconds[name] = round(self.seconds.get(name, 0.0) + time.monotonic() - started, 3)
        return result


def backup(settings: Settings, connections: EnvironmentConnections, times: Times) -> None:
    """The daily backup of the database."""
    _back_up(settings, connections, times, DAILY, database_names(settings))


def back_up_files(settings: Settings, connections: EnvironmentConnections, times: Times) -> None:
    """The weekly backup, of all files; and of the accounts, as no set is without anything of a database."""
    _back_up(settings, connections, times, WEEKLY, (ACCOUNTS, *file_names(settings)))


def back_up_changes(settings: Settings, connections: EnvironmentConnections, times: Times) -> None:
    """The daily backup, of the files that changed since the weekly one; and of the accounts."""
    _back_up(settings, connections, times, DAILY, (ACCOUNTS, *file_names(settings)))


def _back_up(
    settings: Settings, connections: EnvironmentConnections, times: Times, cadence: str, components: tuple[str, ...]
) -> None:
    """Preflight, each component's chain, verify, publish."""
    now = datetime.now(timezone.utc)
    report = times.of("preflight", lambda: preflight(settings, connections, cadence, RUN, now, components))
    run = BackupRun(settings, connections, cadence, report.set_id, RUN)
    for component in components:
        making = making_task(settings, component)
        times.of(making, partial({"dump": dump, "archive": archive}[making], run, component, generation=0))
        times.of("compress", partial(stages.compress, run, component))
        times.of("encrypt", partial(stages.encrypt, run, component))
        times.of("upload", partial(stages.upload, run, component))
    times.of("verify", lambda: stages.verify(run))
    times.of("publish", lambda: publish(run, report.warnings))


def bring_back(settings: Settings, connections: EnvironmentConnections, times: Times) -> None:
    """The restore of the newest backup to the test server: plan, fetch, load, verify."""
    _bring_back(settings, connections, times, ("database", "accounts"), "load", restore.load_set)


def bring_back_files(settings: Settings, connections: EnvironmentConnections, times: Times) -> None:
    """The restore of the newest backup of the files: plan, fetch, unpack and put in place, verify."""
    _bring_back(settings, connections, times, file_names(settings), "unpack", restore_files)


def _bring_back(
    settings: Settings,
    connections: EnvironmentConnections,
    times: Times,
    components: tuple[str, ...],
    verb: str,
    load: Callable[..., object],
) -> None:
    request = validate_request(settings, {"environment": "test", "components": components})
    plan = times.of("plan", lambda: make_plan(settings, connections, request, RUN))
    times.of("fetch", lambda: restore.fetch(settings, connections, plan))
    times.of(verb, lambda: load(settings, connections, plan, generation=0))
    times.of("verify", lambda: restore.verify_restored(settings, connections, plan))


STEPS = {
    "backup": backup,
    "restore": bring_back,
    "files-backup": back_up_files,
    "files-next-day": back_up_changes,
    "files-restore": bring_back_files,
}


def main() -> None:
    """Run one of them."""
    logging.basicConfig(level=logging.INFO, format="%(asctime)s %(name)s %(message)s")
    times = Times()
    STEPS[sys.argv[1]](load_settings(), EnvironmentConnections(), times)
    Path(sys.argv[2]).write_text(json.dumps(times.seconds))


if __name__ == "__main__":
    main()
