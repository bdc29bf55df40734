"""The archive stage: GNU tar's stream of a file component, cut into parts on the staging disk while it is written.

Leaves `raw/000001.tar` ..., `raw/index.jsonl` and, last, its record in the component's staging folder; of a full
archive also the snapshot that incremental ones are held against (`snapshots.py`).
"""

import contextlib
import logging
from collections.abc import Iterator
from dataclasses import dataclass
from datetime import datetime, timezone
from pathlib import Path
from typing import Literal

from spoqplus_backup.core.ahead import working_ahead
from spoqplus_backup.core.component import ComponentRecord, make_component, raw_parts
from spoqplus_backup.core.crypto import scheme_for
from spoqplus_backup.core.errors import PermanentError
from spoqplus_backup.core.files.complaints import Complaints
from spoqplus_backup.core.files.index import INDEX, IndexHeader, IndexWriter
from spoqplus_backup.core.files.measure import measure
from spoqplus_backup.core.files.places import Places, configured_places, selection_of
from spoqplus_backup.core.files.snapshots import SNAPSHOT, Base, choose_base, lend_snapshot, write_note
from spoqplus_backup.core.files.tar_cutter import TarCutter, Totals
from spoqplus_backup.core.files.tar_stream import TarStream, TruncatedError
from spoqplus_backup.core.notice import Notice, notice
from spoqplus_backup.core.part_writer import PartWriter, part_bytes
from spoqplus_backup.core.process import Child, ProcessError, find_program, output_of
from spoqplus_backup.core.progress import Progress
from spoqplus_backup.core.run import BackupRun, StageSummary
from spoqplus_backup.core.settings import FilesSelection

log = logging.getLogger(__name__)

SUFFIX = ".tar"
MEASURE_SECONDS = 5.0
INDEX_BUFFER_BYTES = 256 << 10
CHANGED = 1  # tar's exit status when files changed or vanished while it read them
# Messages in English, to be read here; names in UTF-8, as they are.
_LOCALE = {"LC_ALL": "C.UTF-8"}


@dataclass(frozen=True)
class Level:
    """Level 0 is everything; 1 is what changed since `base`. `reason` says why it is not 1 where that was asked for."""

    number: Literal[0, 1]
    base: Base | None = None
    reason: Notice | None = None


def archive(run: BackupRun, component: str, generation: int) -> StageSummary:
    """Archive a file component into the staging area; a finished archive of the same generation is left as it is.

    Args:
        run: the backup.
        component: its name among the `files` of the configuration.
        generation: any number that changes when the task was cleared, not when it is retried.

    Raises:
        PermanentError: a path is missing, or may not be read.
        ProcessError: tar failed, was killed, or stalled; its own words are in the message.
        IntegrityError: what tar wrote is not whole.
    """
    return make_component(
        run, component, "archive", generation, lambda directory: _archive_into(run, component, generation, directory)
    )


def tar_version(program: str) -> str:
    """`GNU tar 1.34`.

    Raises:
        PermanentError: it is another tar, which has no incremental archives.
    """
    first = output_of([program, "--version"], env=_LOCALE, stall_seconds=20).decode("utf-8", "replace").splitlines()[0]
    if "GNU tar" not in first:
        raise PermanentError(f"{program} is not GNU tar but {first}: install the package tar.")
    return f"GNU tar {first.rpartition(' ')[2]}"


def tar_arguments(selection: FilesSelection, snapshot: Path) -> list[str]:
    """The arguments of tar before the names of members, which are relative to `/`.

    Owners and groups are in there as names and as numbers. Times of reading and of the inode are not: no restore can
    bring them back. Numbers of devices are not looked at: they may change when a machine starts again. The blocking
    factor is the usual one: behind larger records a tar that reads them from a pipe ends before the last zeros came,
    and what writes them dies of SIGPIPE.
    """
    return [
        *("--create", "--file=-", "--directory=/", "--format=posix"),
        *("--pax-option=delete=atime,delete=ctime", "--acls", "--xattrs", "--sparse", "--sparse-version=1.0"),
        *(f"--listed-incremental={snapshot}", "--no-check-device"),
        *("--warning=no-new-directory", "--warning=no-rename-directory"),
        *(f"--exclude={pattern.lstrip('/')}" for pattern in selection.exclude),  # names have no slash in front
    ]


def _archive_into(run: BackupRun, component: str, generation: int, directory: Path) -> ComponentRecord:
    started_at = datetime.now(timezone.utc)
    selection = selection_of(run.settings, component)
    program = find_program("tar", "tar")
    version = tar_version(program)
    places = configured_places(run.settings, selection)
    level = choose_level(run, selection, places)
    snapshot = directory / SNAPSHOT
    moved = lend_snapshot(level.base, snapshot)
    if level.base is not None:
        log.info("%s: what changed since %s; %s folders were moved or removed", component, level.base.set, moved)
    header = IndexHeader(
        component=component,
        level=level.number,
        base=level.base.set if level.base else None,
        paths=tuple(map(str, selection.paths)),
        exclude=selection.exclude,
    )
    complaints = Complaints()
    with raw_parts(directory) as raw:
        command = [program, *tar_arguments(selection, snapshot), "--", *places.names]
        totals, parts = _run_tar(run, selection, places, level, command, header, complaints, raw)
    if level.number == 0 and selection.level == "incremental":
        write_note(run, selection, directory, started_at)
    warnings = [*places.warnings, *([level.reason] if level.reason else []), *complaints.notices(component)]
    if not totals.listed and not totals.files:
        sentence = "{component}: {paths} holds no file: is its volume mounted?"
        paths = ", ".join(map(str, selection.paths))
        warnings.append(notice("files.empty", sentence, component=component, paths=paths))
    for warning in warnings:
        log.warning("%s", warning.words)
    return ComponentRecord(
        generation=generation,
        stage="archive",
        kind="files",
        content="tar",
        suffix=SUFFIX,
        index=INDEX,
        parts=parts,
        raw_bytes=totals.raw_bytes,
        started_at=started_at,
        finished_at=datetime.now(timezone.utc),
        tools={"tar": version},
        level=level.number,
        base=header.base,
        files=totals.files,
        warnings=tuple(warnings),
    )


def choose_level(run: BackupRun, selection: FilesSelection, places: Places) -> Level:
    """Whether this archive is full or incremental.

    Raises:
        BackupError: a repository can't be reached.
    """
    if run.rules.full_files or selection.level == "full":
        return Level(0)
    if not places.folders_only:  # of a file that is named, tar looks at the time alone, which a copy may have kept
        sentence = "{component}: its paths are not all folders, so this archive is full."
        return Level(0, reason=notice("full.single_files", sentence, component=selection.name))
    base = choose_base(run, selection)
    return Level(1, base) if isinstance(base, Base) else Level(0, reason=base)


def _run_tar(
    run: BackupRun,
    selection: FilesSelection,
    places: Places,
    level: Level,
    command: list[str],
    header: IndexHeader,
    complaints: Complaints,
    raw: Path,
) -> tuple[Totals, int]:
    """Run tar and cut what it writes; what went by, and in how many parts."""
    settings = run.settings
    since = level.base.started_at if level.base else None
    expected = measure(places.paths, selection.exclude, MEASURE_SECONDS, since)
    progress = Progress(f"archive {selection.name}", expected.bytes if expected.complete else None)
    with contextlib.ExitStack() as stack:
        ahead = stack.enter_context(
            working_ahead(raw.parent, settings.compression.level, scheme_for(settings, run.connections))
        )
        writer = PartWriter(raw, on_part=ahead.add if ahead else None, suffix=SUFFIX)
        index = IndexWriter(stack.enter_context((raw / INDEX).open("wb", buffering=INDEX_BUFFER_BYTES)), header)
        child = stack.enter_context(_tar(command, complaints))

        def read(buffer: memoryview) -> int:
            count = child.readinto(buffer, selection.stall_seconds)
            progress.add(count)
            return count

        size = part_bytes(selection.part_mib, expected.bytes)
        cutter = TarCutter(TarStream(read), writer, size, index.add)
        try:
            cutter.run()
        except TruncatedError:
            child.finish(allowed=(0, CHANGED))  # tar itself knows better why
            raise
        child.finish(allowed=(0, CHANGED))
    progress.finish()
    return cutter.totals, writer.number


@contextlib.contextmanager
def _tar(command: list[str], complaints: Complaints) -> Iterator[Child]:
    try:
        with Child(command, env=_LOCALE, on_stderr=complaints.feed) as child:
            yield child
    except ProcessError as error:
        if complaints.denied:
            raise PermanentError(
                f"tar may not read everything ({error}): let the worker's user read it, or leave it out with `exclude`."
            ) from error
        raise
