"""What a run has on the backup host's disk, stage by stage: complete or absent.

    <staging>/<site>/<cadence>/<set id>/claim.json        which run owns the set id
    <staging>/<site>/<cadence>/<set id>/<component>/
        component.json  raw/000001.sql                     written by dump (of files, 000001.tar by archive)
        parts/000001.json  zst/000001.sql.zst              written by compress
                           sealed/000001.sql.zst.age       written by encrypt
        compress.json  encrypt.json  upload.json           a stage's summary: there only when it is complete

The first task works ahead of compress and encrypt (`ahead.py`): a part may be found in any state that those leave.
Every file is written aside, synced and renamed. Files of a partial write end in `.partial` and are never read.
"""

import contextlib
import fcntl
import json
import os
import shutil
import time
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import IO, Any

from pydantic import BaseModel

from spoqplus_backup.core.errors import BackupError, IntegrityError, disk_full
from spoqplus_backup.core.process import check_cancelled

PARTIAL = ".partial"
LOCK_POLL_SECONDS = 0.2


@contextlib.contextmanager
def written_aside(path: Path) -> Iterator[IO[bytes]]:
    """Open a file for writing that appears under its name only when the block ended well, and is on disk then."""
    path.parent.mkdir(parents=True, exist_ok=True)
    partial = path.with_name(path.name + PARTIAL)
    try:
        with partial.open("wb", buffering=0) as file:
            yield file
            os.fsync(file.fileno())
        partial.rename(path)
        sync_directory(path.parent)
    except OSError as error:
        partial.unlink(missing_ok=True)
        if full := disk_full(error, path.parent):
            raise full from error
        raise
    except BaseException:
        partial.unlink(missing_ok=True)
        raise


def write_all(file: IO[bytes], data: bytes | bytearray | memoryview) -> None:
    """Write every byte to a raw file or pipe, which may take fewer at a time."""
    view = memoryview(data)
    while view:
        view = view[file.write(view) :]


def sync_directory(path: Path) -> None:
    """Make renames in this directory survive a power cut."""
    fd = os.open(path, os.O_RDONLY | os.O_DIRECTORY)
    try:
        os.fsync(fd)
    finally:
        os.close(fd)


def write_json(path: Path, content: BaseModel | Mapping[str, Any]) -> None:
    """Write a small JSON file, complete or not at all."""
    text = content.model_dump_json() if isinstance(content, BaseModel) else json.dumps(content)
    with written_aside(path) as file:
        write_all(file, text.encode() + b"\n")


def read_json(path: Path) -> Any:
    """Read a JSON file of the staging area; None when it is absent."""
    try:
        content = path.read_bytes()
    except FileNotFoundError:
        return None
    try:
        return json.loads(content)
    except ValueError as error:
        raise IntegrityError(
            f"{path} is damaged ({error}): remove the set's staging folder and run it again."
        ) from error


class Staging:
    """The staging folder of one backup set."""

    def __init__(self, root: Path, site: str, cadence: str, set_id: str) -> None:
        self.path = root / site / cadence / set_id

    def component(self, name: str) -> Path:
        """The folder of a component."""
        return self.path / name

    def claim(self, run: str, components: Sequence[str], selection: BaseModel | None = None) -> bool:
        """Take this set id for a run; True when this run has it now (or had it already).

        Args:
            run: names the run.
            components: what it will back up.
            selection: what `database` is of, when it is not what the configuration says.
        """
        self.path.mkdir(parents=True, exist_ok=True)
        mine = self.path / f"claim.{os.getpid()}{PARTIAL}"
        chosen = selection.model_dump(mode="json") if selection else None
        mine.write_text(json.dumps({"run": run, "components": list(components), "selection": chosen}) + "\n")
        try:
            os.link(mine, self.path / "claim.json")  # fails when there is one: two runs can't both have it
        except FileExistsError:
            return self.owner() == run
        finally:
            mine.unlink()
        return True

    def owner(self) -> str | None:
        """The run that claimed this set id; None when nobody did, or the set is published and gone from here."""
        claim = read_json(self.path / "claim.json")
        return None if claim is None else str(claim["run"])

    def components(self) -> tuple[str, ...]:
        """The components that the claiming run set out to back up."""
        claim = read_json(self.path / "claim.json")
        return tuple(claim["components"]) if claim else ()

    def selection(self) -> Any:
        """The selection that the claim names, as plain JSON; None without one."""
        claim = read_json(self.path / "claim.json")
        return claim["selection"] if claim else None

    @contextlib.contextmanager
    def locked(self, component: str) -> Iterator[Path]:
        """Work on a component alone: a retry can't run beside a task that is still alive."""
        directory = self.component(component)
        directory.mkdir(parents=True, exist_ok=True)
        with locked(directory / "lock", f"the component {component} of {self.path}"):
            yield directory

    def remove(self) -> None:
        """Remove the set from the staging area, when it is published."""
        with contextlib.suppress(FileNotFoundError):
            shutil.rmtree(self.path)


@contextlib.contextmanager
def locked(path: Path, what: str, wait_seconds: float = 0.0) -> Iterator[None]:
    """Hold an exclusive lock that ends with the process; `wait_seconds` is how long another may still hold it.

    Raises:
        BackupError: another live process holds it.
    """
    path.parent.mkdir(parents=True, exist_ok=True)
    with path.open("a+") as file:
        deadline = time.monotonic() + wait_seconds
        while not _flock(file):
            check_cancelled()
            if time.monotonic() >= deadline:
                file.seek(0)
                holder = file.read().strip() or "unknown"
                raise BackupError(f"Another process (pid {holder}) works on {what}: wait for its end or end it.")
            time.sleep(LOCK_POLL_SECONDS)
        file.truncate(0)
        file.write(str(os.getpid()))
        file.flush()
        try:
            yield
        finally:  # closing is not enough: a child that another thread has just forked still has the file open
            fcntl.flock(file, fcntl.LOCK_UN)


def _flock(file: IO[str]) -> bool:
    try:
        fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except BlockingIOError:
        return False
    return True
