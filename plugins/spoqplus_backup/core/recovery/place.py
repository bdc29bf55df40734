"""Where a restore works: at the server that people use, or at a private one that nobody else reaches meanwhile."""

import contextlib
import shutil
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path

from spoqplus_backup.core.connections import Connections, DatabaseLogin
from spoqplus_backup.core.errors import PermanentError
from spoqplus_backup.core.manifest import Flavour
from spoqplus_backup.core.mysql.sandbox import SandboxServer, ServerPrograms
from spoqplus_backup.core.recovery import rebuild as rebuilding
from spoqplus_backup.core.recovery.plan import VERIFIED, RestorePlan, load_plan, restore_directory
from spoqplus_backup.core.recovery.reach import target_login
from spoqplus_backup.core.recovery.rebuild import Rebuild
from spoqplus_backup.core.run import StageSummary
from spoqplus_backup.core.settings import Settings

SANDBOX = "sandbox"
SANDBOX_MEMORY_MIB = 512

# Nobody waits for what a sandbox holds to survive a power cut.
_SANDBOX: Mapping[str, str] = {
    "skip-log-bin": "",
    "event-scheduler": "OFF",
    "innodb-flush-log-at-trx-commit": "2",
}


@dataclass(frozen=True)
class PrivatePlace:
    """A data directory of ours; `start` starts its server with more options, for one step of the restore."""

    flavour: Flavour
    datadir: Path
    job: Rebuild | None
    directory: Path
    programs: ServerPrograms

    def start(self, options: Mapping[str, str]) -> SandboxServer:
        """Start the server; `stop` ends it."""
        if self.job is not None:
            return rebuilding.start_private(self.job, options)
        return rebuilding.start_alone(
            self.directory, self.programs, {**_SANDBOX, **options}, memory_mib=SANDBOX_MEMORY_MIB
        )

    def renew(self) -> None:
        """Throw away what was restored so far."""
        if self.job is not None:
            rebuilding.make_anew(self.job)
        else:
            shutil.rmtree(self.directory, ignore_errors=True)


def private_place(settings: Settings, connections: Connections, plan: RestorePlan) -> PrivatePlace | None:
    """The place of a restore that works at a server of its own; None when it works at the server that people use.

    Raises:
        PermanentError: the configuration does not say how the server is rebuilt, or its programs are missing.
    """
    if plan.place == "server":
        return None
    directory = restore_directory(settings, plan.run_id)
    if plan.place == "rebuild":
        job = rebuild_job(settings, connections, plan)
        return PrivatePlace(plan.flavour, job.path, job, job.directory, job.programs)
    folder = directory / SANDBOX
    return PrivatePlace(plan.flavour, folder / "data", None, folder, sandbox_programs(settings, plan.flavour))


def sandbox_programs(settings: Settings, flavour: Flavour) -> ServerPrograms:
    """The server programs for a sandbox.

    Raises:
        PermanentError: there are none; says what to install or set.
    """
    programs = ServerPrograms(flavour, settings.restore.server_directory)
    programs.find("mariadbd" if flavour == "mariadb" else "mysqld")
    return programs


def rebuild_job(settings: Settings, connections: Connections, plan: RestorePlan) -> Rebuild:
    """The rebuild that a plan asks for."""
    return rebuilding.rebuild_for(
        settings.restore.rebuild.get(plan.request.environment),
        connections,
        plan.connection,
        restore_directory(settings, plan.run_id),
        plan.flavour,
    )


@contextlib.contextmanager
def working_server(settings: Settings, connections: Connections, plan: RestorePlan) -> Iterator[DatabaseLogin]:
    """A login to the server that a restore works at; a private one runs for the length of the block.

    Raises:
        PermanentError: the server was not made yet.
        BackupError: it does not start.
    """
    place = private_place(settings, connections, plan)
    if place is None:
        yield target_login(settings, connections, plan.request.environment)[1]
    else:
        with place.start({}) as running:
            yield rebuilding.private_login(running)


def rebuild_server(settings: Settings, connections: Connections, plan: RestorePlan) -> StageSummary:
    """Stop the service, move its data directory aside, make an empty server; see `rebuild.rebuild`."""
    job = rebuild_job(settings, connections, plan)
    if job.record is None or job.record.state != "moved":  # what an earlier try loaded was put back, or is gone
        forget_progress(job.directory)
    return rebuilding.rebuild(job)


def forget_progress(directory: Path) -> None:
    """Forget what was loaded, replayed, copied and verified, for the server that had it is made anew."""
    names = ("load.json", "*.loaded", "replay.json", "replay-begun.json", "copied.json", "differences.json")
    for path in (path for name in (*names, VERIFIED) for path in directory.glob(name)):
        path.unlink()


def start_rebuilt(settings: Settings, connections: Connections, plan: RestorePlan) -> StageSummary:
    """Start the service on what was restored; see `rebuild.finish`."""
    return rebuilding.finish(rebuild_job(settings, connections, plan))


def put_back(settings: Settings, connections: Connections, plan: RestorePlan) -> StageSummary:
    """Make the old data directory the service's again; see `rebuild.put_back`."""
    return rebuilding.put_back(rebuild_job(settings, connections, plan))


def is_starting(settings: Settings, connections: Connections, plan: RestorePlan) -> bool:
    """Whether all of a rebuild is done but the start of the service."""
    record = rebuild_job(settings, connections, plan).record
    return record is not None and record.state in ("starting", "verified")


def is_rebuilding(settings: Settings, connections: Connections, run_id: str) -> bool:
    """Whether a run has begun to rebuild its server, and neither finished nor put it back."""
    try:
        plan = load_plan(settings, run_id)
    except PermanentError:  # it failed before there was one
        return False
    if plan.place != "rebuild":
        return False
    record = rebuild_job(settings, connections, plan).record
    return record is not None and record.state not in ("verified", "put_back")
