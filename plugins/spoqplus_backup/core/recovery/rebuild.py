"""Rebuilds a server from nothing: its service stopped, its data directory moved aside, a new one restored in its place.

The new data directory is filled by a private server that nobody else can reach; the service starts only when all is
there and verified. The old data directory stays beside it until then, and `put_back` makes it the service's again. What
was done is written down before it is done, so that a task that is started again, or one that undoes, finds its way
from wherever the other one ended.

    /var/lib/mysql                                the service's data directory
    /var/lib/mysql.before-<restore>               what was there before
    /var/lib/mysql.failed-<restore>               what a restore that was undone had made
"""

import contextlib
import logging
import os
import shutil
import stat
import time
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from subprocess import DEVNULL
from typing import Literal

from spoqplus_backup.core.connections import Connections, DatabaseLogin
from spoqplus_backup.core.errors import BackupError, PermanentError
from spoqplus_backup.core.manifest import Flavour, Model
from spoqplus_backup.core.mysql import server
from spoqplus_backup.core.mysql.sandbox import DataDirectory, SandboxServer, ServerPrograms
from spoqplus_backup.core.process import Child, check_cancelled
from spoqplus_backup.core.run import StageSummary
from spoqplus_backup.core.settings import RebuildSettings
from spoqplus_backup.core.staging import locked, read_json, sync_directory, write_json

log = logging.getLogger(__name__)

STOP_SECONDS = 600.0  # a server with a large buffer pool takes minutes to shut down
POLL_SECONDS = 0.2
RECORD = "rebuild.json"
ACCOUNT = "spoqplus_restore"  # while nobody else reaches the server
_OWN_ACCOUNT = (
    f"CREATE USER IF NOT EXISTS {ACCOUNT}@localhost",
    f"GRANT ALL PRIVILEGES ON *.* TO {ACCOUNT}@localhost WITH GRANT OPTION",
)
_PROXY: Mapping[Flavour, tuple[str, ...]] = {  # who may not be a proxy can't let others be one
    "mysql": (f"GRANT PROXY ON ''@'' TO {ACCOUNT}@localhost WITH GRANT OPTION",),
    "mariadb": (  # its init-file has no account, and so may not grant it
        "REPLACE INTO mysql.proxies_priv (Host, User, Proxied_host, Proxied_user, With_grant, Grantor) "  # noqa: S608
        f"VALUES ('localhost', '{ACCOUNT}', '', '', 1, '')",
        "FLUSH PRIVILEGES",
    ),
}

# The new server is filled without others' help: no replication, no events that run, no log of what is restored.
_PRIVATE: Mapping[Flavour, Mapping[str, str]] = {
    "mysql": {"skip-log-bin": "", "event-scheduler": "OFF", "mysqlx": "OFF", "skip-replica-start": "ON"},
    "mariadb": {"skip-log-bin": "", "event-scheduler": "OFF", "skip-slave-start": "ON"},
}

State = Literal["stopping", "moving", "moved", "starting", "verified", "putting_back", "put_back"]


class Record(Model):
    """How far a rebuild has come: the state that was begun last."""

    state: State
    old: Path
    failed: Path


@dataclass(frozen=True)
class Rebuild:
    """One rebuild.

    Args:
        settings: commands and places.
        login: how the service's clients reach it: tells whether it runs.
        directory: the restore's own folder, for the record and the private server's socket and log.
        name: the restore's, short and fit for a file's name.
        flavour: whose server it is.
    """

    settings: RebuildSettings
    login: DatabaseLogin
    directory: Path
    name: str
    flavour: Flavour

    @property
    def path(self) -> Path:
        """The service's data directory."""
        return self.settings.data_directory

    @property
    def programs(self) -> ServerPrograms:
        """The server's own programs."""
        return ServerPrograms(self.flavour, self.settings.server_directory)

    @property
    def record(self) -> Record | None:
        """What is written down; None before it began."""
        content = read_json(self.directory / RECORD)
        return None if content is None else Record.model_validate(content)

    def note(self, state: State) -> Record:
        """Write down what is about to be done, or was."""
        before, failed = (self.path.with_name(f"{self.path.name}.{word}-{self.name}") for word in ("before", "failed"))
        record = Record(state=state, old=before, failed=failed)
        write_json(self.directory / RECORD, record)
        return record

    def locked(self) -> contextlib.AbstractContextManager[None]:
        """Nobody else rebuilds or puts back meanwhile."""
        return locked(self.directory / "rebuild.lock", f"the rebuild {self.name}")


def rebuild_for(
    settings: RebuildSettings | None, connections: Connections, connection: str, directory: Path, flavour: Flavour
) -> Rebuild:
    """The rebuild of a restore, whose folder `directory` is.

    Raises:
        PermanentError: the configuration does not say how.
    """
    if settings is None:
        raise PermanentError(
            "This site does not say how its server is rebuilt: set `restore.rebuild` with data_directory, stop and "
            "start in the configuration of the worker on the database's own machine."
        )
    return Rebuild(settings, connections.database(connection), directory, directory.name, flavour)


def check(job: Rebuild) -> None:
    """See that the data directory can be moved aside, before anything is stopped.

    Raises:
        PermanentError: it can't; the message says why.
    """
    job.programs.find("mariadbd" if job.flavour == "mariadb" else "mysqld")
    path = job.path
    if not path.is_dir():
        raise PermanentError(
            f"The data directory {path} is not there: the restore has to run on the database's own machine, and "
            "`restore.rebuild.data_directory` has to name it."
        )
    if path.is_symlink() or path.is_mount():
        what = "a symbolic link" if path.is_symlink() else "a mount point"
        raise PermanentError(
            f"The data directory {path} is {what} and can't be renamed: name the folder behind it in "
            "`restore.rebuild.data_directory`, or move the data into a folder of that disk."
        )
    if not (path / "mysql").is_dir():
        raise PermanentError(f"{path} is no data directory of a server (it has no folder mysql): correct the setting.")
    # other files may be read-only for us without harm, but a folder that can't be renamed is better known now
    probe = path.with_name(f".{path.name}.probe-{job.name}")
    try:
        probe.mkdir()
        probe.rmdir()
    except OSError as error:
        raise PermanentError(
            f"{path.parent} can't be written to ({error.strerror}): the restore has to run as root, or as who owns it."
        ) from error


def rebuild(job: Rebuild) -> StageSummary:
    """Stop the service, move its data directory aside, and make an empty server in its place.

    Started again it goes on. The service stays stopped; `private_server` fills the new directory.

    Raises:
        BackupError: the service does not stop, or the new server does not start.
        PermanentError: the data directory can't be moved.
    """
    began = time.monotonic()
    with job.locked():
        record = job.record
        if record is None or record.state in ("stopping", "put_back"):
            check(job)
            job.note("stopping")
            stop_service(job)
            record = job.note("moving")
        if record.state in ("verified", "putting_back", "starting"):
            raise PermanentError(
                f"The rebuild {job.name} is past this step ({record.state}): trigger a new restore instead."
            )
        if record.state == "moving":
            _move_aside(job, record)
        with private_server(job):
            log.info("A new, empty server stands in %s; what was there before is in %s", job.path, record.old)
    return _summary("rebuild", began, {"data_directory": str(job.path), "before": str(record.old)})


def _move_aside(job: Rebuild, record: Record) -> None:
    if not record.old.exists():
        try:
            job.path.rename(record.old)
        except OSError as error:
            raise PermanentError(
                f"{job.path} can't be renamed to {record.old} ({error.strerror}): it stays as it was; start the "
                "service again, or clear put_back."
            ) from error
        sync_directory(job.path.parent)
    elif job.path.exists():  # of a try that died between this and the next line
        shutil.rmtree(job.path)
    job.note("moved")


def _let_through(directory: Path) -> None:
    """Let the server's user get to its own folder in a restore's: nobody but their owner can list those around it."""
    for folder in (directory, *directory.parents[:3]):  # the site's, that of all restores, and the staging area
        folder.chmod(folder.stat().st_mode | stat.S_IXUSR | stat.S_IXGRP | stat.S_IXOTH)


@contextlib.contextmanager
def private_server(job: Rebuild) -> Iterator[SandboxServer]:
    """The new data directory under a server that only this process can reach, for the length of a block.

    Raises:
        PermanentError: the old data directory was not moved aside: this is never started on it.
    """
    with start_private(job) as running:
        yield running


def start_private(job: Rebuild, options: Mapping[str, str] | None = None) -> SandboxServer:
    """Start the private server, with more options; see `private_server`."""
    record = job.record
    if record is None or record.state != "moved" or not record.old.exists():
        raise PermanentError(f"The data directory {job.path} is not a new one: clear the task rebuild.")
    host = DataDirectory(job.path, job.settings.defaults_file, _owner(record.old, job.settings.user))
    if host.user is not None:
        _let_through(job.directory)
    return start_alone(
        job.directory / "server",
        job.programs,
        {**_PRIVATE[job.flavour], **(options or {})},
        memory_mib=job.settings.memory_mib,
        host=host,
    )


def start_alone(
    directory: Path,
    programs: ServerPrograms,
    options: Mapping[str, str],
    *,
    memory_mib: int,
    host: DataDirectory | None = None,
) -> SandboxServer:
    """Start a server that nobody else reaches, under an account of its own: root becomes whatever is restored.

    `forget_account` takes the account away.
    """
    directory.mkdir(parents=True, exist_ok=True)
    script = directory.absolute() / "account.sql"
    script.write_text("".join(f"{statement};\n" for statement in (*_OWN_ACCOUNT, *_PROXY[programs.flavour])))
    if host is not None:
        host.give(script)
    return SandboxServer.start(
        directory,
        programs,
        tcp=False,
        options={"init-file": str(script), **options},
        memory_mib=memory_mib,
        host=host,
        user=ACCOUNT,
    )


def forget_account(running: SandboxServer) -> None:
    """Drop the account that a private server is reached by; the next start makes it again."""
    with server.connect(private_login(running)) as connection:
        connection.rows(f"DROP USER IF EXISTS {ACCOUNT}@localhost")


def private_login(running: SandboxServer) -> DatabaseLogin:
    """How to log in at a private server."""
    return DatabaseLogin(host=None, user=running.user, password="", socket=str(running.socket))


def make_anew(job: Rebuild) -> None:
    """Throw away what was restored so far: an empty server stands in its place again.

    Raises:
        PermanentError: the old data directory was not moved aside.
    """
    with job.locked():
        record = job.record
        if record is None or record.state != "moved" or not record.old.exists():
            raise PermanentError(f"The data directory {job.path} is not a new one: clear the task rebuild.")
        if job.path.exists():
            shutil.rmtree(job.path)
        with private_server(job):
            log.info("An empty server stands in %s again", job.path)


def finish(job: Rebuild) -> StageSummary:
    """Start the service on the new data directory; the old one goes once it answers, unless it is to be kept.

    Raises:
        BackupError: the service does not answer: the old directory is still there.
    """
    began = time.monotonic()
    with job.locked():
        record = job.record
        if record is None or record.state not in ("moved", "starting", "verified"):
            raise PermanentError(f"There is nothing to start for {job.name}: clear the task rebuild.")
        if record.state == "moved":
            with private_server(job) as running:
                forget_account(running)
        if record.state != "verified":
            job.note("starting")
            start_service(job)
            job.note("verified")
        if record.old.exists() and not job.settings.keep_old:
            shutil.rmtree(record.old)
        kept = str(record.old) if record.old.exists() else None
    return _summary("start_service", began, {"data_directory": str(job.path), "kept": kept})


def put_back(job: Rebuild) -> StageSummary:
    """Undo a rebuild: the old data directory is the service's again; what was made instead is kept beside it.

    Started again it goes on. Before anything was moved it only starts the service.

    Raises:
        PermanentError: there was no rebuild, or it is finished and the old directory is gone.
    """
    began = time.monotonic()
    with job.locked():
        record = job.record
        if record is None:
            raise PermanentError(f"The restore {job.name} has not rebuilt anything: there is nothing to put back.")
        if record.state != "put_back":
            if record.state not in ("stopping", "moving", "putting_back") and not record.old.exists():
                raise PermanentError(f"{record.old} is gone: the rebuild was verified, there is nothing to put back.")
            stop_service(job)
            job.note("putting_back")
            if record.old.exists():
                if job.path.exists():
                    shutil.rmtree(record.failed, ignore_errors=True)
                    job.path.rename(record.failed)
                record.old.rename(job.path)
                sync_directory(job.path.parent)
            start_service(job)
            job.note("put_back")
    return _summary("put_back", began, {"data_directory": str(job.path), "failed": str(record.failed)})


def stop_service(job: Rebuild) -> None:
    """Stop it and wait until nobody answers.

    Raises:
        BackupError: the command failed, or something still answers.
    """
    _run("Stopping", job.settings.stop)
    _wait(job, answers=False, seconds=STOP_SECONDS)


def start_service(job: Rebuild) -> None:
    """Start it and wait until it answers its clients.

    Raises:
        BackupError: the command failed, or nothing answers in time.
    """
    _run("Starting", job.settings.start)
    _wait(job, answers=True, seconds=job.settings.answer_seconds)


def _run(what: str, command: Sequence[str]) -> None:
    log.info("%s the service: %s", what, " ".join(command))
    # its output is nobody's: a server that it starts may keep it open
    with Child(command, stdout=DEVNULL) as child:
        child.finish()


def _wait(job: Rebuild, *, answers: bool, seconds: float) -> None:
    deadline = time.monotonic() + seconds
    while (found := _answers(job.login)) != answers:
        if time.monotonic() > deadline:
            words = "still answers" if found else "does not answer"
            raise BackupError(f"The server {job.login.address} {words} after {seconds:.0f} s: look after its service.")
        check_cancelled()
        time.sleep(POLL_SECONDS)


def _answers(login: DatabaseLogin) -> bool:
    """Whether a server is there at all; one that refuses this login is there, too."""
    try:
        with server.connect(login):
            return True
    except PermanentError:
        return True
    except BackupError:
        return False


def _owner(path: Path, configured: str | None) -> str | None:
    """Whom the new data directory belongs to: whoever the old one did, when this process may say so."""
    if configured is not None:
        return configured
    owner = path.owner()
    return None if owner == "root" or os.geteuid() != 0 else owner


def _summary(stage: str, began: float, detail: Mapping[str, str | None]) -> StageSummary:
    return StageSummary(
        stage=stage,
        component="",
        parts=0,
        bytes_in=0,
        bytes_out=0,
        seconds=round(time.monotonic() - began, 3),
        detail=dict(detail),
    )
