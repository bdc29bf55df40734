"""Room on the staging disk, reserved before a run fills it: runs at the same time can't fill it up together.

    <staging>/.reservations.json  .reservations.lock        shared by all sites that stage there

A reservation is what a run may need at most. What its set's folder holds already is off the disk's free space, so only
the rest counts; nothing does when the set is published (its folder is gone), when all of it is encrypted (it only gets
smaller), or when nothing was written for longer than a task may take: then the run is dead, and whoever clears it
reserves anew.
"""

import logging
import os
import shutil
import time
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from datetime import timedelta
from pathlib import Path

from spoqplus_backup.core.errors import BackupError, PermanentError
from spoqplus_backup.core.manifest import Model
from spoqplus_backup.core.process import check_cancelled
from spoqplus_backup.core.progress import human_bytes, human_seconds
from spoqplus_backup.core.settings import Settings
from spoqplus_backup.core.staging import Staging, locked, read_json, write_json

log = logging.getLogger(__name__)

LEDGER = ".reservations.json"
LOCK = ".reservations.lock"
LOCK_SECONDS = 60.0
STALE = timedelta(hours=12)  # as long as a task may take
POLL_SECONDS = 15.0
SAY_SECONDS = 600.0


class Reservation(Model):
    """What a run may need at most. `folder` is its set's, below the staging folder; `made_at` in seconds since 1970."""

    folder: str
    run: str
    bytes: int
    made_at: float


class Ledger(Model):
    """All of them."""

    reservations: tuple[Reservation, ...] = ()


@dataclass(frozen=True)
class _Use:
    """What a set's folder holds, and when something was written there last."""

    bytes: int
    newest: float


@dataclass(frozen=True)
class _Held:
    """Another run's reservation: how much of it is still to come, and how much lies there."""

    folder: str
    run: str
    to_come: int
    there: int


def free_bytes(directory: Path) -> int:
    """The free bytes of a folder's disk.

    Raises:
        PermanentError: it can't be made or read.
    """
    try:
        directory.mkdir(parents=True, exist_ok=True)
        return shutil.disk_usage(directory).free
    except OSError as error:
        raise PermanentError(
            f"The staging folder {directory} can't be used ({error.strerror}): make it, writable for Airflow."
        ) from error


def refuse_hopeless(settings: Settings, needed: int) -> None:
    """See that so many bytes have room once every other run is done.

    Raises:
        PermanentError: they have not.
    """
    root = settings.staging.directory
    free = free_bytes(root)
    held = [item for item in _held(root, _ledger(root), time.time()) if item.to_come]
    if free + sum(item.there for item in held) < needed:
        raise _never(root, needed, free, held)


def reserve(
    settings: Settings,
    staging: Staging,
    run: str,
    needed: int,
    wait_seconds: float = 0.0,
    clock: Callable[[], float] = time.time,
) -> None:
    """Reserve room for a set, once; waits for other runs to end when there is not enough for both.

    Args:
        settings: the site.
        staging: of the set, which the run has claimed.
        run: names it; a retry keeps what it reserved.
        needed: bytes that it may need at most.
        wait_seconds: how long to wait.
        clock: the time, for tests.

    Raises:
        BackupError: other runs still hold what is needed: try again when they are done.
        PermanentError: there would not be enough without them either.
    """
    root = settings.staging.directory
    deadline, say_at = clock() + wait_seconds, 0.0
    while (held := _try(root, staging, run, needed, clock())) is not None:
        check_cancelled()
        whom = _named(held)
        if clock() >= deadline:
            raise BackupError(
                f"The staging disk at {root} has no room for {human_bytes(needed)} beside {whom}: clear this task when "
                f"they are done (it waited {human_seconds(wait_seconds)}; `staging.wait_hours` says how long)."
            )
        if clock() >= say_at:
            log.info("Waiting for room on the staging disk (%s), behind %s", human_bytes(needed), whom)
            say_at = clock() + SAY_SECONDS
        time.sleep(min(POLL_SECONDS, max(0.0, deadline - clock())))


def release(settings: Settings, staging: Staging) -> None:
    """Let go of a set's reservation; nothing happens when there is none."""
    root = settings.staging.directory
    folder = _folder(root, staging)
    with locked(root / LOCK, f"the reservations in {root}", LOCK_SECONDS):
        ledger = _ledger(root)
        kept = tuple(item for item in ledger.reservations if item.folder != folder)
        if kept != ledger.reservations:
            write_json(root / LEDGER, Ledger(reservations=kept))


def _try(root: Path, staging: Staging, run: str, needed: int, now: float) -> Sequence[_Held] | None:
    """Reserve it, or say who is in the way."""
    folder = _folder(root, staging)
    with locked(root / LOCK, f"the reservations in {root}", LOCK_SECONDS):
        ledger = _ledger(root)
        others = Ledger(reservations=tuple(item for item in ledger.reservations if item.folder != folder))
        held = [item for item in _held(root, others, now) if item.to_come]
        free = free_bytes(root)
        missing = needed - _use(staging.path).bytes
        if free - sum(item.to_come for item in held) >= missing:
            mine = Reservation(folder=folder, run=run, bytes=needed, made_at=now)
            there = tuple(item for item in others.reservations if (root / item.folder).is_dir())
            write_json(root / LEDGER, Ledger(reservations=(*there, mine)))
            return None
    if free + sum(item.there for item in held) < missing:
        raise _never(root, missing, free, held)
    return held


def _held(root: Path, ledger: Ledger, now: float) -> Iterator[_Held]:
    for item in ledger.reservations:
        path = root / item.folder
        if not path.is_dir():
            continue
        use = _use(path)
        is_dead = now - max(item.made_at, use.newest) > STALE.total_seconds()
        to_come = 0 if is_dead or _is_encrypted(path) else max(0, item.bytes - use.bytes)
        yield _Held(item.folder, item.run, to_come, use.bytes)


def _use(path: Path) -> _Use:
    total, newest = 0, 0.0
    for folder, _, names in os.walk(path):
        for name in names:
            try:
                found = Path(folder, name).stat()
            except FileNotFoundError:  # the run works on
                continue
            total += found.st_blocks * 512
            newest = max(newest, found.st_mtime)
    return _Use(total, newest)


def _is_encrypted(path: Path) -> bool:
    claim = read_json(path / "claim.json")
    components = claim["components"] if claim else ()
    return bool(components) and all((path / name / "encrypt.json").exists() for name in components)


def _ledger(root: Path) -> Ledger:
    content = read_json(root / LEDGER)
    return Ledger() if content is None else Ledger.model_validate(content)


def _folder(root: Path, staging: Staging) -> str:
    return staging.path.relative_to(root).as_posix()


def _named(held: Sequence[_Held]) -> str:
    return ", ".join(f"{item.folder} ({human_bytes(item.to_come)} to come)" for item in held)


def _never(root: Path, needed: int, free: int, held: Sequence[_Held]) -> PermanentError:
    others = f", and {_named(held)} will not leave enough" if held else ""
    return PermanentError(
        f"The staging disk at {root} has {human_bytes(free)} free but the backup may take {human_bytes(needed)}"
        f"{others}: free some (folders of runs that failed lie there until they are cleared), or point "
        "`staging.directory` elsewhere."
    )
