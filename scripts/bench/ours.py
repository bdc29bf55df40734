"""Our own contestant, as a process of its own: calls the core as the tasks of the two DAGs do, one after the other.

    python -m bench.ours backup|restore TIMES.json

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
from spoqplus_backup.core.mysql.dump import dump
from spoqplus_backup.core.preflight import preflight
from spoqplus_backup.core.publish import publish
from spoqplus_backup.core.recovery import restore
from spoqplus_backup.core.recovery.planning import make_plan
from spoqplus_backup.core.recovery.request import validate_request
from spoqplus_backup.core.run import BackupRun, component_names
from spoqplus_backup.core.settings import Settings, load_settings

CADENCE = "daily"
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
    """The daily backup: preflight, each component's chain, verify, publish."""
    now = datetime.now(timezone.utc)
    report = times.of("preflight", lambda: preflight(settings, connections, CADENCE, RUN, now))
    run = BackupRun(settings, connections, CADENCE, report.set_id, RUN)
    for component in component_names(settings):
        times.of("dump", partial(dump, run, component, generation=0))
        times.of("compress", partial(stages.compress, run, component))
        times.of("encrypt", partial(stages.encrypt, run, component))
        times.of("upload", partial(stages.upload, run, component))
    times.of("verify", lambda: stages.verify(run))
    times.of("publish", lambda: publish(run, report.warnings))


def bring_back(settings: Settings, connections: EnvironmentConnections, times: Times) -> None:
    """The restore of the newest backup to the test server: plan, fetch, load, verify."""
    request = validate_request(settings, {"environment": "test", "components": ["database", "accounts"]})
    plan = times.of("plan", lambda: make_plan(settings, connections, request, RUN))
    times.of("fetch", lambda: restore.fetch(settings, connections, plan))
    times.of("load", lambda: restore.load_set(settings, connections, plan, generation=0))
    times.of("verify", lambda: restore.verify_restored(settings, connections, plan))


def main() -> None:
    """Run one of the two."""
    logging.basicConfig(level=logging.INFO, format="%(asctime)s %(name)s %(message)s")
    times = Times()
    step = {"backup": backup, "restore": bring_back}[sys.argv[1]]
    step(load_settings(), EnvironmentConnections(), times)
    Path(sys.argv[2]).write_text(json.dumps(times.seconds))


if __name__ == "__main__":
    main()
