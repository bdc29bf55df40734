"""What the doctor finds on this machine: the configuration, keys, programs, room."""

import shutil
from collections.abc import Iterator
from datetime import datetime, timedelta, timezone

from spoqplus_backup.core.connections import Connections
from spoqplus_backup.core.doctor.model import Area, Line, doubtful, good, wrong
from spoqplus_backup.core.errors import BackupError
from spoqplus_backup.core.monitor.expiry import expiries
from spoqplus_backup.core.notice import notice
from spoqplus_backup.core.preflight import encryption_warnings
from spoqplus_backup.core.process import find_program, output_of
from spoqplus_backup.core.progress import human_bytes
from spoqplus_backup.core.settings import Settings
from spoqplus_backup.core.settings_check import OTHERS, findings

VERSION_SECONDS = 20
SCARCE = 0.1  # of a disk

# How a field of the configuration is filed, by what its name has in it; the first that fits.
_AREAS: tuple[tuple[str, Area], ...] = (
    ("signing", "keys"),
    ("encryption.identity", "keys"),
    ("key_file", "keys"),
    ("connection", "connections"),
    ("client_directory", "tools"),
    ("terraform.binary", "tools"),
    ("staging", "permissions"),
    ("files", "permissions"),
    ("faces", "permissions"),
    ("mirror", "permissions"),
)


def fields(settings: Settings, connections: Connections, *, restoring: bool) -> Iterator[Line]:
    """Each field that names something of this machine, as `check-config` looks at it."""
    for field, problem in findings(settings, connections, restoring=restoring):
        area: Area = next((area for part, area in _AREAS if part in field), "configuration")
        yield good(area, field) if problem is None else wrong(area, field, problem)


def keys(settings: Settings, connections: Connections, *, restoring: bool) -> Iterator[Line]:
    """How safe the encryption is, and which keys and certificates end soon."""
    if not restoring:
        yield from (doubtful("keys", "encryption", warning) for warning in encryption_warnings(settings))
    now, soon = datetime.now(timezone.utc), timedelta(days=settings.alerts.expiry_days)
    for item in expiries(settings, connections):
        at = f"{item.at:%Y-%m-%d}"
        if item.at <= now:
            sentence = "ended on {at}: have it extended or renewed (docs/runbook.md, Expired)."
            yield wrong("keys", item.name, notice("doctor.expired", sentence, at=at))
        elif item.at <= now + soon:
            sentence = "ends on {at}: have it extended or renewed before (docs/runbook.md, ExpiresSoon)."
            yield doubtful("keys", item.name, notice("doctor.expires", sentence, at=at))
        else:
            yield good("keys", item.name, notice("doctor.valid", "valid until {at}", at=at))


def tools(settings: Settings, *, restoring: bool) -> Iterator[Line]:
    """The programs that this site needs and their versions; a database's own are for its server to judge."""
    for name, package in _needed(settings, restoring).items():
        try:
            said = output_of([find_program(name, package), "--version"], stall_seconds=VERSION_SECONDS)
            yield good("tools", name, notice("doctor.version", "{version}", version=_first_line(said)))
        except BackupError as error:
            yield wrong("tools", name, error)
    if shutil.which("setpriv") is None:
        sentence = "is missing (apt-get install util-linux): a worker that is killed leaves the programs behind it ran."
        yield doubtful("tools", "setpriv", notice("doctor.setpriv", sentence))


def _needed(settings: Settings, restoring: bool) -> dict[str, str]:
    """Program and Debian's package."""
    found = {"age": "age"} if settings.encryption.scheme == "age" else {"openssl": "openssl"}
    if settings.files:
        found["tar"] = "tar"
    if settings.environment is not None and settings.environment.gpg_recipient is not None:
        found["gpg"] = "gnupg"
    if settings.mirror is not None and not restoring:
        found["rsync"] = "rsync"
    if settings.config_git is not None and not restoring:
        found["git"] = "git"
    return found


def _first_line(said: bytes) -> str:
    return said.decode("utf-8", "replace").strip().partition("\n")[0][:100] or "?"


def staging(settings: Settings) -> Iterator[Line]:
    """Room on the staging disk, and who may look into it."""
    folder = settings.staging.directory
    there = next(path for path in (folder, *folder.parents) if path.exists())
    yield room(str(folder), *shutil.disk_usage(there)[::2])
    if folder.exists() and (mode := folder.stat().st_mode) & OTHERS & ~0o011:
        sentence = "Others than its owner may look into {folder} (mode {mode}): chmod 700 {folder}."
        said = notice("doctor.open_staging", sentence, folder=folder, mode=f"{mode & 0o777:o}")
        yield doubtful("permissions", "staging.directory", said)


def room(name: str, total: int, free: int) -> Line:
    """How much room a disk has; bytes."""
    said = notice("doctor.free", "{free} of {total} free", free=human_bytes(free), total=human_bytes(total))
    return good("space", name, said) if free >= total * SCARCE else doubtful("space", name, said)
