"""The environment of the site: chosen variables of its `.env` and of one running process, as `KEY=value` lines.

They are secrets in plain text, so they go from memory through zstd and encryption to the staging disk: no file ever
holds them readable, and the tasks behind this one find their work done.
"""

import hashlib
import json
import logging
import re
from datetime import datetime, timezone
from pathlib import Path

import zstandard

from spoqplus_backup.core.component import ComponentRecord, make_component
from spoqplus_backup.core.compression import PartRecord
from spoqplus_backup.core.crypto import Scheme
from spoqplus_backup.core.errors import BackupError, PermanentError
from spoqplus_backup.core.manifest import SchemeName
from spoqplus_backup.core.process import ProcessError, find_program, output_of, secret_fd
from spoqplus_backup.core.run import ENVIRONMENT, BackupRun, StageSummary
from spoqplus_backup.core.schemes import gpg_scheme, scheme_named
from spoqplus_backup.core.sealing import seal_source
from spoqplus_backup.core.settings import EnvironmentSettings, Settings

log = logging.getLogger(__name__)

SUFFIX = ".env"
PART = f"000001{SUFFIX}"
INDEX = "index.jsonl"
RESTORED = "spoqplus-environment.env"  # never over the site's own file
SYSTEMD_SECONDS = 20.0

_NAME = re.compile(r"[A-Za-z_][A-Za-z0-9_.]*")
_ASSIGNMENT = re.compile(r"\s*(?:export\s+)?([A-Za-z_][A-Za-z0-9_.]*)\s*=(.*)", re.DOTALL)
_BYTE_ORDER_MARK = "\ufeff"
_CLOSED = {'"': re.compile(r'"(?:[^"\\]|\\.)*"', re.DOTALL), "'": re.compile(r"'[^']*'", re.DOTALL)}


def export_environment(run: BackupRun, generation: int) -> StageSummary:
    """Collect the variables and leave them encrypted in staging.

    Args:
        run: the backup.
        generation: any number that changes when the task was cleared, not when it is retried.

    Raises:
        PermanentError: a file or process is not there or can't be read, or no variable has one of the prefixes.
        ProcessError: the encryption failed.
    """
    return make_component(run, ENVIRONMENT, "export", generation, lambda directory: _export(run, generation, directory))


def _export(run: BackupRun, generation: int, directory: Path) -> ComponentRecord:
    started_at = datetime.now(timezone.utc)
    chosen = configured(run.settings)
    sources = collect(run.settings)
    names = sorted({name for _, variables in sources for name in variables})
    if not names:
        raise PermanentError(
            f"No variable in {', '.join(where for where, _ in sources)} begins with {', '.join(chosen.prefixes)}: "
            "correct `environment`, or set it to null when there are none."
        )
    log.info("%d variables: %s", len(names), ", ".join(names))
    scheme_name: SchemeName | None = "gpg" if gpg_scheme(chosen) is not None else None
    scheme = scheme_named(run.settings, run.connections, scheme_name or run.settings.encryption.scheme)
    content = text(sources).encode("utf-8", "surrogateescape")
    _seal(directory, PART, content, scheme)
    _seal(directory, INDEX, _index(names, content, started_at), scheme)
    return ComponentRecord(
        generation=generation,
        stage="export",
        kind="files",
        content="environment",
        suffix=SUFFIX,
        index=INDEX,
        parts=1,
        raw_bytes=len(content),
        started_at=started_at,
        finished_at=datetime.now(timezone.utc),
        scheme=scheme_name,
    )


def _index(names: list[str], content: bytes, made_at: datetime) -> bytes:
    """As of other components of files: a header, here with the variables' names, and a line for the one file."""
    header = {"format": "spoqplus-environment", "version": 1, "names": names, "entries": 1}
    entry = {
        "part": 1,
        "offset": 0,
        "length": len(content),
        "type": "file",
        "path": RESTORED,
        "size": len(content),
        "mode": 0o600,
        "uid": 0,
        "gid": 0,
        "user": "root",
        "group": "root",
        "mtime": made_at.timestamp(),
        "sha256": hashlib.sha256(content).hexdigest(),
    }
    return "".join(json.dumps(line) + "\n" for line in (header, entry)).encode()


def _seal(directory: Path, name: str, content: bytes, scheme: Scheme) -> None:
    packed = zstandard.ZstdCompressor(write_checksum=True).compress(content)
    record = PartRecord(
        raw_bytes=len(content), raw_sha256=hashlib.sha256(content).hexdigest(), compressed_bytes=len(packed)
    )
    with secret_fd(packed) as fd:
        seal_source(Path(f"/proc/self/fd/{fd}"), directory, name, scheme, record)


Source = tuple[str, dict[str, str]]


def collect(settings: Settings) -> list[Source]:
    """The chosen variables of each source, with the source's name for people.

    Raises:
        PermanentError: a source can't be read.
    """
    chosen = configured(settings)
    found = [(str(path), _chosen(chosen, read_file(_text_of(path)))) for path in chosen.files]
    process = _process_file(chosen)
    if process is not None:
        where, path = process
        found.append((where, _chosen(chosen, read_process(_text_of(path)))))
    return found


def configured(settings: Settings) -> EnvironmentSettings:
    """The settings of this component.

    Raises:
        PermanentError: it is switched off.
    """
    if settings.environment is None:
        raise PermanentError(f"{settings.source}: `environment` is null: there is nothing to keep.")
    return settings.environment


def text(sources: list[Source]) -> str:
    """`KEY=value` lines under a comment for each source; a variable that says the same in two of them stands once."""
    said: dict[str, str] = {}
    lines = []
    for where, variables in sources:
        lines.append(f"# {where}")
        for name, value in sorted(variables.items()):
            if said.get(name) != value:
                lines.append(f"{name}={value}")
            said[name] = value
    return "\n".join(lines) + "\n"


def read_file(content: str) -> dict[str, str]:
    """The assignments of a `.env` file, values as they stand there, quotes included; the last of two counts."""
    found = {}
    # not splitlines(), which knows line ends that a value may have
    lines = content.removeprefix(_BYTE_ORDER_MARK).replace("\r\n", "\n").split("\n")
    at = 0
    while at < len(lines):
        assignment = None if lines[at].lstrip().startswith("#") else _ASSIGNMENT.fullmatch(lines[at])
        at += 1
        if assignment is not None:
            found[assignment[1]], more = _whole(assignment[2].strip(), lines[at:])
            at += more
    return found


def _whole(value: str, following: list[str]) -> tuple[str, int]:
    """A quoted value may go on over several lines; how many. Of one that is never closed only its own line counts."""
    closed = _CLOSED.get(value[:1])
    if closed is None or closed.match(value):
        return value, 0
    longer = value
    for more, line in enumerate(following, 1):
        longer += "\n" + line
        if closed.match(longer):
            return longer, more
    return value, 0


def read_process(content: str) -> dict[str, str]:
    """The variables of `/proc/<pid>/environ`. A value of several lines is quoted, as in a `.env` file."""
    found = {}
    for entry in content.split("\0"):
        name, equals, value = entry.partition("=")
        if equals and _NAME.fullmatch(name):
            found[name] = _quoted(value) if "\n" in value else value
    return found


def _quoted(value: str) -> str:
    escaped = value.replace("\\", "\\\\").replace('"', '\\"').replace("\n", "\\n")
    return f'"{escaped}"'


def _chosen(chosen: EnvironmentSettings, variables: dict[str, str]) -> dict[str, str]:
    return {name: value for name, value in variables.items() if name.startswith(chosen.prefixes)}


def _process_file(chosen: EnvironmentSettings) -> tuple[str, Path] | None:
    """Whose environment is asked for, and its file; None when none is."""
    if chosen.process_file is not None:
        return str(chosen.process_file), chosen.process_file
    if chosen.pid_file is not None:
        pid = _text_of(chosen.pid_file).strip()
        return f"the process of {chosen.pid_file}", _environ(pid, f"in {chosen.pid_file}")
    if chosen.systemd_unit is not None:
        pid = _main_pid(chosen.systemd_unit)
        return f"the process of {chosen.systemd_unit}", _environ(pid, f"of the unit {chosen.systemd_unit}")
    return None


def _main_pid(unit: str) -> str:
    command = [find_program("systemctl", "systemd"), "show", "--property=MainPID", "--value", "--", unit]
    try:
        return output_of(command, stall_seconds=SYSTEMD_SECONDS).decode().strip()
    except ProcessError as error:
        raise BackupError(f"The main process of the unit {unit} can't be told: {error}") from error


def _environ(pid: str, whose: str) -> Path:
    if not pid.isdecimal() or int(pid) == 0:
        raise PermanentError(f"There is no process {whose} (its number is {pid[:20]!r}): start the service.")
    return Path(f"/proc/{pid}/environ")


def _text_of(path: Path) -> str:
    try:
        return path.read_bytes().decode("utf-8", "surrogateescape")
    except OSError as error:
        raise PermanentError(
            f"{path} can't be read ({error.strerror}): correct `environment`, or let the user that Airflow runs as "
            "read it; a process has to be the same user's, or the worker root's."
        ) from error
