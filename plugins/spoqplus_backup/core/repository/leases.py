"""A set that is being restored, copied or tested can't be deleted meanwhile: a lease says so, in the repository itself.

    leases/<cadence>/<id>/<run>.json      who uses the set, for what, and until when

A reader writes its lease and then looks whether somebody deletes the set; retention writes a lease of its own (purpose
`delete`) and then looks whether somebody uses it. Storage shows at once what was written, so at least one of the two
sees the other: the reader fails with a sentence, or the set stays. A lease of a run that was killed runs out by itself.
"""

import contextlib
import hashlib
import logging
import re
import threading
from collections.abc import Iterator, Sequence
from datetime import datetime, timedelta, timezone

from pydantic import ValidationError

from spoqplus_backup.core.errors import BackupError, IntegrityError, PermanentError
from spoqplus_backup.core.manifest import Model, SetName
from spoqplus_backup.core.repository.base import Repository

log = logging.getLogger(__name__)

ROOT = "leases"
DELETE = "delete"  # the purpose of retention's own
DURATION = timedelta(hours=1)  # of a run that was killed the set is free again after this
RENEWALS = 4  # in that time: a repository that is out of order for half an hour does no harm
FACES = "faces/objects"  # stands for all face objects, as if they were a set

_SET = re.compile(r"[A-Za-z0-9][A-Za-z0-9._-]*/[A-Za-z0-9][A-Za-z0-9._-]*")
_NEVER = datetime.max.replace(tzinfo=timezone.utc)
_ATTEMPTS = 3
_NAME_CHARACTERS = 80


class Lease(Model):
    """Who uses a set, for what, and until when (UTC)."""

    set: SetName
    run: str
    purpose: str
    taken_at: datetime
    expires_at: datetime

    @property
    def key(self) -> str:
        """Where it lies."""
        return f"{ROOT}/{self.set}/{_file_name(self.run)}"

    def is_valid(self, now: datetime) -> bool:
        """Whether it still counts."""
        return self.expires_at > now


def take(
    repository: Repository,
    name: str,
    run: str,
    purpose: str,
    duration: timedelta = DURATION,
    now: datetime | None = None,
) -> Lease:
    """Take a lease of a set, or renew the one that this run has; who reads a set calls this first.

    Args:
        repository: where the set is read.
        name: the set, `<cadence>/<id>`.
        run: who takes it; a retry with the same name renews.
        purpose: for people: `restore`, `copy`, `test`.
        duration: how long it lasts unless it is renewed.
        now: the time, for tests.

    Raises:
        BackupError: the set is being deleted right now, or the repository can't be reached.
        PermanentError: the repository refuses to store it.
    """
    moment = now or datetime.now(timezone.utc)
    lease = Lease(set=name, run=run, purpose=purpose, taken_at=moment, expires_at=moment + duration)
    _write(repository, lease)
    if purpose == DELETE:
        return lease
    others = [other for other in leases_of(repository, name) if other.purpose == DELETE and other.is_valid(moment)]
    if others:
        release(repository, lease)
        raise BackupError(
            f"{repository.url}/{name} is being deleted by {others[0].run}: choose another set or another repository."
        )
    return lease


def release(repository: Repository, lease: Lease) -> None:
    """Let go. Who may not delete leaves the lease to run out by itself."""
    try:
        repository.delete(lease.key)
    except BackupError as error:
        log.info("The lease %s stays until %s: %s", lease.key, lease.expires_at, error)


@contextlib.contextmanager
def leased(
    repository: Repository, names: Sequence[str], run: str, purpose: str, duration: timedelta = DURATION
) -> Iterator[None]:
    """Use sets: their leases are taken, renewed while the block runs, and released behind it.

    Raises:
        BackupError: one of them is being deleted.
        PermanentError: the repository refuses to store a lease.
    """
    taken: list[Lease] = []
    ended = threading.Event()
    renewing = threading.Thread(
        target=_renew, args=(repository, taken, duration, ended), name=f"leases of {run}", daemon=True
    )
    try:
        taken += [take(repository, name, run, purpose, duration) for name in names]
        renewing.start()
        yield
    finally:
        ended.set()
        if renewing.is_alive():
            renewing.join()
        for lease in taken:
            release(repository, lease)


def _renew(repository: Repository, taken: Sequence[Lease], duration: timedelta, ended: threading.Event) -> None:
    while not ended.wait(duration.total_seconds() / RENEWALS):
        for lease in taken:
            moment = datetime.now(timezone.utc)
            try:
                _write(repository, lease.model_copy(update={"expires_at": moment + duration}))
            except BackupError as error:  # the next one may arrive
                log.warning("The lease of %s could not be renewed: %s", lease.set, error)


def keep_for(repository: Repository, name: str, run: str, purpose: str, duration: timedelta) -> None:
    """Take a lease that outlives this process, for the next steps of a run.

    A reader that may not write there goes on without: a restore never fails because of its lease.

    Raises:
        BackupError: the set is being deleted right now.
    """
    try:
        take(repository, name, run, purpose, duration)
    except PermanentError as error:
        log.warning("%s can't be kept from being deleted while it is read: %s", name, error)


def release_all(repository: Repository, name: str, run: str) -> None:
    """Let go of what `keep_for` took."""
    for lease in leases_of(repository, name):
        if lease.run == run:
            release(repository, lease)


def leases_of(repository: Repository, name: str) -> list[Lease]:
    """The leases of one set, those that ran out included."""
    return list(_read(repository, f"{ROOT}/{name}/"))


def all_leases(repository: Repository) -> list[Lease]:
    """Every lease in a repository, those that ran out included."""
    return list(_read(repository, f"{ROOT}/"))


def in_use(found: Sequence[Lease], now: datetime) -> dict[str, str]:
    """The sets that somebody uses, and for what; those that are being deleted are none."""
    return {
        lease.set: f"{lease.purpose}, {lease.run}" for lease in found if lease.purpose != DELETE and lease.is_valid(now)
    }


def _read(repository: Repository, prefix: str) -> Iterator[Lease]:
    for key in _keys(repository, prefix):
        name = key.removeprefix(f"{ROOT}/").rpartition("/")[0]
        if not _SET.fullmatch(name):
            continue
        try:
            yield Lease.model_validate_json(repository.read(key))
        except IntegrityError:  # released meanwhile
            continue
        except ValidationError:
            log.warning("%s/%s is no lease: until somebody removes it, %s stays", repository.url, key, name)
            moment = datetime.now(timezone.utc)
            yield Lease(set=name, run=key, purpose="?", taken_at=moment, expires_at=_NEVER)


def _keys(repository: Repository, prefix: str) -> list[str]:
    for attempt in range(1, _ATTEMPTS + 1):
        try:
            return list(repository.list(prefix))
        except IntegrityError:  # a folder went with its last lease while it was listed
            if attempt == _ATTEMPTS:
                raise
    return []


def _write(repository: Repository, lease: Lease) -> None:
    for attempt in range(1, _ATTEMPTS + 1):
        try:
            repository.put_bytes(lease.key, lease.model_dump_json().encode() + b"\n")
        except IntegrityError:  # another run released its own just now, and with it went the folder
            if attempt == _ATTEMPTS:
                raise
        else:
            return


def _file_name(run: str) -> str:
    """A run's name as one step of a key."""
    plain = re.sub(r"[^A-Za-z0-9._-]+", "_", run).strip("._-")[-_NAME_CHARACTERS:]
    return f"{plain}-{hashlib.sha256(run.encode()).hexdigest()[:8]}.json"
