"""The steps of a recovery test around those of its restore: what production holds, the sandbox, and its end.

    <staging>/recovery_test/<site>/<run>/test.json     when what began; written first: a later run cleans up by it
                                         fingerprint/  what production held
                                         files/        the restored files, below their absolute names

The restore itself works in its own folder (`restore_directory`). Both hold personal data and go with `end`.
"""

import contextlib
import logging
import shutil
from collections.abc import Iterator
from datetime import datetime, timezone
from itertools import islice
from pathlib import Path
from zoneinfo import ZoneInfo

from spoqplus_backup.core.archive.area import Area
from spoqplus_backup.core.connections import Connections, DatabaseLogin
from spoqplus_backup.core.errors import PermanentError
from spoqplus_backup.core.manifest import Model
from spoqplus_backup.core.mysql import binlog, client, server
from spoqplus_backup.core.mysql.fingerprint import Fingerprint, Measure, Pace, Place, take
from spoqplus_backup.core.mysql.log_changes import LogChanges
from spoqplus_backup.core.mysql.replay_marker import SCHEMA
from spoqplus_backup.core.mysql.sandbox import stop_leftover
from spoqplus_backup.core.preflight import ID_FORMAT
from spoqplus_backup.core.recovery.archived import ArchivedLogs
from spoqplus_backup.core.recovery.keeping import release_sets
from spoqplus_backup.core.recovery.place import SANDBOX, private_place, working_server
from spoqplus_backup.core.recovery.plan import RestorePlan, load_plan, restore_directory
from spoqplus_backup.core.recovery.planning import make_plan
from spoqplus_backup.core.recovery.reach import target_login
from spoqplus_backup.core.recovery.request import RestoreRequest
from spoqplus_backup.core.recovery.windows import fulls, windows
from spoqplus_backup.core.repository.catalog import LATEST, Catalog
from spoqplus_backup.core.repository.opener import open_all
from spoqplus_backup.core.run import ACCOUNTS, DATABASE, ENVIRONMENT, component_names, database_names
from spoqplus_backup.core.settings import Settings
from spoqplus_backup.core.staging import locked, read_json, write_json

log = logging.getLogger(__name__)

RECORD = "test.json"
FINGERPRINT = "fingerprint"
FILES = "files"
OLDEST, REPLICA = OTHER_SETS = ("oldest_monthly", "replica")  # restored beside, each as a run of its own
LOCK_SECONDS = 3600.0  # another check holds the sandbox


class TestedBackup(Model):
    """What a test restores, as its report tells it when the restored data are gone; `bytes` are raw."""

    backup: str
    repository: str
    backup_finished_at: datetime
    sandbox: str
    files: int
    bytes: int


class TestRecord(Model):
    """When what began. `rpo_seconds` is what would have been lost at `started_at`; None: nothing was ever archived."""

    __test__ = False

    run_id: str
    id: str
    started_at: datetime
    rpo_seconds: float | None
    restore_started_at: datetime | None = None
    restored_at: datetime | None = None
    tested: TestedBackup | None = None

    @property
    def rto_seconds(self) -> float | None:
        """From the start of the sandbox to the last restored file."""
        if self.restore_started_at is None or self.restored_at is None:
            return None
        return (self.restored_at - self.restore_started_at).total_seconds()


def directory(settings: Settings, run_id: str) -> Path:
    """The folder of one test."""
    return settings.staging.directory / "recovery_test" / settings.site / restore_directory(settings, run_id).name


def record(settings: Settings, run_id: str) -> TestRecord:
    """What was noted of a test.

    Raises:
        PermanentError: nothing is on this worker's disk.
    """
    content = read_json(directory(settings, run_id) / RECORD)
    if content is None:
        raise PermanentError(
            f"There is nothing of the recovery test {run_id} on this worker's disk: clear the task fingerprint with "
            "everything downstream."
        )
    return TestRecord.model_validate(content)


def read_production(
    settings: Settings, connections: Connections, run_id: str, run_after: datetime, measure: Measure | None = None
) -> Fingerprint:
    """Note what would be lost now, and read everything that production holds; see `fingerprint.take`.

    What tests left behind that were cut off goes first.

    Raises:
        BackupError: the server can't be asked, or the time is over; the next try goes on.
    """
    clean_up(settings, connections, keep=run_id)
    folder = directory(settings, run_id)
    folder.mkdir(parents=True, exist_ok=True, mode=0o700)
    login = connections.database(settings.database.connection)
    if not (folder / RECORD).exists():
        moment = run_after.astimezone(ZoneInfo(settings.timezone))
        write_json(
            folder / RECORD,
            TestRecord(
                run_id=run_id,
                id=moment.strftime(ID_FORMAT),
                started_at=datetime.now(timezone.utc),
                rpo_seconds=_lost_now(settings, connections, login),
            ),
        )
    with server.connect(login) as connection:
        flavour = server.facts(connection).flavour
    program = client.find("mysqlbinlog", settings.database.client_directory, flavour)
    pace = Pace(settings.recovery_test.fingerprint.load, settings.recovery_test.fingerprint.hours * 3600)
    return take(
        login,
        folder / FINGERPRINT,
        settings.database.databases,
        pace,
        LogChanges(program, login, folder, settings.database.stall_seconds),
        lock_ddl=settings.database.lock_ddl,
        measure=measure,
    )


def _lost_now(settings: Settings, connections: Connections, login: DatabaseLogin) -> float | None:
    """Everything behind what is archived; None when no log ever was."""
    status = Area(settings).status()  # the archive's own measure, on the host where it works
    complete = status.recovery_point.complete_until if status else _archived_until(settings, connections)
    if complete is None:
        return None
    with server.connect(login) as connection:
        now = binlog.clock(connection)
    return max(0.0, (now - complete).total_seconds())


def _archived_until(settings: Settings, connections: Connections) -> datetime | None:
    """The end of the logs in the repositories, as their sidecars say."""
    found = []
    for repository in open_all(settings, connections):
        catalog = Catalog(repository, settings.signing.public_key_files, settings.site)
        logs = ArchivedLogs(settings, connections, repository)
        found += [window.end for window in windows(logs, islice(fulls(catalog), 1)) if window.has_logs]
    return max(found, default=None)


def fingerprint(settings: Settings, run_id: str) -> Fingerprint:
    """What production held.

    Raises:
        PermanentError: it was not read.
    """
    content = read_json(directory(settings, run_id) / FINGERPRINT / "fingerprint.json")
    if content is None:
        raise PermanentError("Production was not read: clear the task fingerprint with everything downstream.")
    return Fingerprint.model_validate(content)


def start_sandbox(settings: Settings, connections: Connections, run_id: str) -> RestorePlan:
    """Plan the restore of the newest backup up to the fingerprint's place, and make an empty server for it.

    Raises:
        PermanentError: no backup leads there, or the server's programs are missing.
        BackupError: the server does not start.
    """
    known, place = record(settings, run_id), fingerprint(settings, run_id).place
    unchanged = _taken_at(settings, connections, place)
    if known.restore_started_at is None:
        note = known.model_copy(update={"restore_started_at": datetime.now(timezone.utc)})
        write_json(directory(settings, run_id) / RECORD, note)
    request = RestoreRequest(
        environment="sandbox",
        private=settings.recovery_test.connection is None,
        components=tested_components(settings),
        backup=unchanged or LATEST,
        to_place=None if unchanged else f"{place.log}:{place.position}",
        target_root=str(directory(settings, run_id) / FILES),
    )
    plan = make_plan(settings, connections, request, run_id)
    tested = TestedBackup(
        backup=plan.backup,
        repository=plan.repository,
        backup_finished_at=plan.backup_finished_at,
        sandbox=plan.connection or "private",
        files=sum(planned.files for planned in plan.files),
        bytes=plan.sql_bytes + sum(planned.bytes for planned in plan.files),
    )
    noted = record(settings, run_id).model_copy(update={"tested": tested})
    write_json(directory(settings, run_id) / RECORD, noted)
    if (private := private_place(settings, connections, plan)) is not None:
        private.renew()
        private.start({}).stop()
    return plan


def tested_components(settings: Settings) -> tuple[str, ...]:
    """What a test restores: the database and everything of files that this worker has a key of."""
    of_database = set(database_names(settings))
    environment = settings.environment
    locked_up = environment is not None and environment.gpg_recipient and not environment.gpg_private_key_file
    return (
        DATABASE,
        ACCOUNTS,
        *(
            name
            for name in component_names(settings)
            if name not in of_database and not (name == ENVIRONMENT and locked_up)
        ),
    )


def _taken_at(settings: Settings, connections: Connections, place: Place) -> str | None:
    """The newest full backup when nothing was written since: no log leads on from it."""
    for repository in open_all(settings, connections):
        catalog = Catalog(repository, settings.signing.public_key_files, settings.site)
        newest = next(fulls(catalog), None)
        if newest is not None:
            at = newest.component(DATABASE).coordinates
            there = (at.file, at.position) == (place.log, place.position)
            same = at.gtid is not None and place.gtid is not None and at.gtid.split() == place.gtid.split()
            return newest.name if there or same else None
    return None


def note_restored(settings: Settings, run_id: str) -> TestRecord:
    """Note that everything is restored: the recovery time ends here, once."""
    known = record(settings, run_id)
    if known.restored_at is None:
        known = known.model_copy(update={"restored_at": datetime.now(timezone.utc)})
        write_json(directory(settings, run_id) / RECORD, known)
    return known


@contextlib.contextmanager
def sandbox(settings: Settings, connections: Connections, plan: RestorePlan) -> Iterator[DatabaseLogin]:
    """The restored server, for one check at a time: a private one runs for the length of the block."""
    with (
        locked(
            restore_directory(settings, plan.run_id) / "check.lock", f"the recovery test {plan.run_id}", LOCK_SECONDS
        ),
        working_server(settings, connections, plan) as login,
    ):
        yield login


def end(settings: Settings, connections: Connections, run_id: str) -> None:
    """Remove the server and everything that was restored: what was found stays for the report. Harmless again."""
    for name in OTHER_SETS:
        forget(settings, connections, f"{run_id}/{name}")
    forget(settings, connections, run_id)
    shutil.rmtree(directory(settings, run_id) / FILES, ignore_errors=True)


def remove(settings: Settings, run_id: str) -> None:
    """Remove what was found, when its report is kept. Harmless when there is nothing."""
    shutil.rmtree(directory(settings, run_id), ignore_errors=True)


def forget(settings: Settings, connections: Connections, run_id: str) -> None:
    """End the server of a restore into a sandbox, let go of its sets, and remove its folder."""
    restored = restore_directory(settings, run_id)
    stop_leftover(restored / SANDBOX)
    with contextlib.suppress(PermanentError):  # it never got a plan
        plan = load_plan(settings, run_id)
        if plan.place == "server":
            _empty(settings, connections, plan)
        release_sets(settings, connections, plan)
    shutil.rmtree(restored, ignore_errors=True)


def _empty(settings: Settings, connections: Connections, plan: RestorePlan) -> None:
    """Drop what was restored to a server that is kept for tests."""
    _, login = target_login(settings, connections, plan.request.environment)
    with server.connect(login) as connection:
        connection.rows("SET SESSION foreign_key_checks = 0")
        for name in {*fingerprint(settings, plan.run_id).databases, SCHEMA} & {*server.databases(connection)}:
            connection.rows(f"DROP DATABASE {server.quoted(name)}")


def clean_up(settings: Settings, connections: Connections, keep: str) -> list[str]:
    """Remove what other tests left behind; their runs. There is one at a time, so they were cut off."""
    found = []
    for path in directory(settings, keep).parent.glob(f"*/{RECORD}"):
        content = read_json(path)
        if content is None or (run_id := TestRecord.model_validate(content).run_id) == keep:
            continue
        log.warning("The recovery test %s was cut off: its server and data are removed", run_id)
        end(settings, connections, run_id)
        remove(settings, run_id)
        found.append(run_id)
    return found
