"""Sets that a person wants kept, whatever the rules say: because of an investigation, a dispute, an audit.

    holds/<cadence>/<id>.json  .json.sig      who holds the set, since when, and why; signed as manifests are

A hold is stored in every repository, also in those that don't have the set (yet), and one that only one of them has
holds the set in all. One whose signature is wrong holds all the same: keeping too much does no harm.
"""

import getpass
import logging
import socket
from collections.abc import Callable, Iterable, Sequence
from datetime import datetime, timezone
from pathlib import Path

from pydantic import ValidationError

from spoqplus_backup.core.crypto import sign, verify_signature
from spoqplus_backup.core.errors import BackupError, IntegrityError, PermanentError
from spoqplus_backup.core.manifest import MANIFEST, Model, SafeName, SetName
from spoqplus_backup.core.repository.base import Repository
from spoqplus_backup.core.repository.leases import DELETE, leases_of
from spoqplus_backup.core.settings import Settings

log = logging.getLogger(__name__)

ROOT = "holds"
SIDECAR, SIGNATURE = ".json", ".json.sig"
UNSIGNED = "? (unsigned)"


class Hold(Model):
    """Why a set stays."""

    set: SetName
    site: SafeName
    reason: str
    by: str
    since: datetime

    @property
    def words(self) -> str:
        """For people."""
        return f"{self.reason} ({self.by}, {self.since:%Y-%m-%d})"


def who() -> str:
    """Who types: a person's name on a machine."""
    try:
        name = getpass.getuser()
    except (KeyError, OSError):  # a user without an entry, as in some containers
        name = "unknown"
    return f"{name}@{socket.gethostname()}"


def hold(settings: Settings, repositories: Sequence[Repository], name: str, reason: str, by: str) -> Hold:
    """Hold a set in every repository; again with another reason replaces it.

    Raises:
        PermanentError: the reason is empty, there is no key to sign with, or no repository has the set.
        BackupError: a repository could not be written to, or deletes the set right now; the others have the hold.
    """
    if not reason.strip():
        raise PermanentError("A hold needs a reason: say why the set has to stay, for whoever finds it in a year.")
    key_file = settings.signing.private_key_file
    if key_file is None:
        raise PermanentError(
            f"{settings.source}: signing.private_key_file is not set: hold the set on a host that signs."
        )
    made = Hold(set=name, site=settings.site, reason=reason.strip(), by=by, since=datetime.now(timezone.utc))
    content = made.model_dump_json(indent=2).encode() + b"\n"
    signature = sign(content, key_file)
    having: list[str] = []

    def store(repository: Repository) -> None:
        repository.put_bytes(_key(name) + SIGNATURE, signature)
        repository.put_bytes(_key(name) + SIDECAR, content)
        if repository.stat(f"{name}/{MANIFEST}") is None:
            return
        having.append(repository.url)
        if any(lease.purpose == DELETE and lease.is_valid(made.since) for lease in leases_of(repository, name)):
            raise BackupError(f"{repository.url}/{name} is being deleted right now: see whether it stays.")

    _in_each(repositories, store)
    if not having:
        release(repositories, name)
        raise PermanentError(f"No repository has the set {name}: see `spoqplus-backup list`.")
    return made


def release(repositories: Iterable[Repository], name: str) -> None:
    """Let a set go the way of its rules again; nothing happens when nobody held it.

    Raises:
        BackupError: a repository refused or can't be reached; the others have let go.
    """

    def remove(repository: Repository) -> None:
        repository.delete(_key(name) + SIDECAR)
        repository.delete(_key(name) + SIGNATURE)

    _in_each(repositories, remove)


def _in_each(repositories: Iterable[Repository], act: Callable[[Repository], None]) -> None:
    failures = []
    for repository in repositories:
        try:
            act(repository)
        except BackupError as error:  # the next repository may be well
            log.warning("%s", error)
            failures.append(error)
    if failures:
        raise failures[0]


def is_held(repositories: Iterable[Repository], name: str) -> bool:
    """Whether a set is held in any of these repositories."""
    return any(repository.stat(_key(name) + SIDECAR) is not None for repository in repositories)


def held(repository: Repository, public_key_files: Sequence[Path]) -> dict[str, Hold | None]:
    """The holds in a repository, by the set; None of one that can't be believed, and holds all the same."""
    found = {}
    for key in repository.list(f"{ROOT}/"):
        if key.endswith(SIDECAR):
            name = key.removeprefix(f"{ROOT}/").removesuffix(SIDECAR)
            found[name] = _read(repository, key, public_key_files)
    return found


def holds(repository: Repository, public_key_files: Sequence[Path]) -> dict[str, str]:
    """The sets that are held in a repository, and why in words."""
    return {name: made.words if made else UNSIGNED for name, made in held(repository, public_key_files).items()}


def _read(repository: Repository, key: str, public_key_files: Sequence[Path]) -> Hold | None:
    where = f"{repository.url}/{key}"
    try:
        content = repository.read(key)
        verify_signature(content, repository.read(key.removesuffix(SIDECAR) + SIGNATURE), public_key_files, where)
        return Hold.model_validate_json(content)
    except (IntegrityError, ValidationError) as error:
        log.warning("The hold %s can't be believed, and holds all the same: %s", where, error)
        return None


def _key(name: str) -> str:
    return f"{ROOT}/{name}"
