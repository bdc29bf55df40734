"""The mirror of the uploads: rsync to a folder of this machine, but never from or to a folder that is not itself.

A dry run tells first how much would be deleted; the real run may not delete more than that allows. The target carries a
marker, so that the empty mount point of its disk is not taken for a new target.

    <target>/.spoqplus-mirror           the marker; rsync neither copies nor deletes it
    <staging>/<site>/mirror.json        which target was mirrored to, and when
"""

import logging
import re
from collections.abc import Callable, Sequence
from datetime import datetime, timezone

from spoqplus_backup.core.errors import BackupError, PermanentError
from spoqplus_backup.core.files.guard import (
    GuardError,
    allowed_deletions,
    check_deletions,
    check_mounted,
    check_source,
)
from spoqplus_backup.core.manifest import Model
from spoqplus_backup.core.process import Child, find_program
from spoqplus_backup.core.progress import Progress
from spoqplus_backup.core.run import StageSummary
from spoqplus_backup.core.settings import MirrorSettings, Settings
from spoqplus_backup.core.staging import locked, read_json, write_all, write_json, written_aside

log = logging.getLogger(__name__)

MARKER = ".spoqplus-mirror"
STATE = "mirror.json"
WAIT_SECONDS = 3600.0  # for the mirror of another cadence's run
PARTIAL_FILES = 23  # rsync's exit statuses
VANISHED_FILES = 24
TOO_MANY_DELETIONS = 25

_NUMBER = re.compile(rb"^(Number of [a-z ]+|Total [a-z ]+): (\d+)", re.MULTILINE)
_PROGRESS = re.compile(rb"^\s*(\d+)\s+\d+%")
_TAIL_BYTES = 16384


class MirrorState(Model):
    """What is known of the mirror from its last whole run."""

    target: str
    mirrored_at: datetime
    files: int


class Totals(Model):
    """What a run of rsync counted; folders and links are files, too. `changed` were copied, sizes are bytes."""

    files: int
    created: int
    deleted: int
    changed: int
    bytes: int
    sent_bytes: int

    @property
    def known(self) -> int:
        """How many the target had before."""
        return self.files - self.created + self.deleted


def mirror(settings: Settings) -> StageSummary:
    """Make the target what the source is.

    Raises:
        GuardError: the source or the target is not what it should be, or too much would be deleted; nothing was.
        ProcessError: rsync failed; its own words are in the message.
        BackupError: some files could not be copied, or another process mirrors.
    """
    if settings.mirror is None:
        raise PermanentError(f"{settings.source}: `mirror` is null: there is nothing to mirror.")
    state_file = settings.staging.directory / settings.site / STATE
    with locked(state_file.with_suffix(".lock"), f"the mirror {settings.mirror.target}", WAIT_SECONDS):
        content = read_json(state_file)
        state = None if content is None else MirrorState.model_validate(content)
        check_source(settings.mirror.source, settings.mirror, "mirror")
        _prepare_target(settings.mirror, state if state and state.target == str(settings.mirror.target) else None)
        planned = _planned(settings.mirror)
        check_deletions(settings.mirror.source, planned.deleted, planned.known, settings.mirror, "mirror")
        with written_aside(settings.mirror.target / MARKER) as marker:
            write_all(marker, b"spoqplus-backup mirrors the uploads to this folder\n")
        done, seconds, vanished = _carried_out(settings.mirror, planned)
        write_json(
            state_file,
            MirrorState(target=str(settings.mirror.target), mirrored_at=datetime.now(timezone.utc), files=done.files),
        )
    return StageSummary(
        stage="mirror",
        component="uploads",
        parts=done.changed,
        bytes_in=done.bytes,
        bytes_out=done.sent_bytes,
        seconds=seconds,
        detail={"files": done.files, "created": done.created, "deleted": done.deleted, "vanished": vanished},
    )


def _prepare_target(chosen: MirrorSettings, state: MirrorState | None) -> None:
    target = chosen.target
    if chosen.target_mount_point is not None:
        check_mounted(chosen.target_mount_point, "mirror.target_mount_point")
    if state is not None and not (target / MARKER).is_file():
        raise GuardError(
            f"The folder {target} is not the mirror that was made at {state.mirrored_at:%Y-%m-%d %H:%M} UTC with "
            f"{state.files} files, it lacks {MARKER}: mount its disk. If the mirror is to begin anew, make that file. "
            "Nothing was changed."
        )
    try:
        target.mkdir(exist_ok=True)  # not its parents: a disk that is not mounted should be noticed
    except OSError as error:
        raise PermanentError(
            f"The mirror can't have the folder {target} ({error.strerror}): mount its disk, or make the folder, "
            "writable for the user that Airflow runs as."
        ) from error


def _planned(chosen: MirrorSettings) -> Totals:
    totals, _, _ = _rsync(chosen, ["--dry-run"], lambda _: None)
    log.info(
        "The mirror has %d files; %d would be made, %d deleted, %d changed",
        totals.known,
        totals.created,
        totals.deleted,
        totals.changed,
    )
    return totals


def _carried_out(chosen: MirrorSettings, planned: Totals) -> tuple[Totals, float, bool]:
    progress = Progress("mirror", planned.sent_bytes)

    def at(sent: int) -> None:
        progress.add(max(0, sent - progress.done))

    # the source may lose its files between the two runs
    limit = f"--max-delete={allowed_deletions(planned.known, chosen)}"
    totals, status, words = _rsync(chosen, [limit, "--info=progress2"], at)
    if status == TOO_MANY_DELETIONS:
        raise GuardError(
            f"{chosen.source} lost files while it was mirrored, more than {chosen.maximum_deletions:.0%} "
            f"(`mirror.maximum_deletions`): rsync stopped deleting after {totals.deleted}. Look what happened there."
        )
    if status == PARTIAL_FILES:
        raise BackupError(
            f"The mirror {chosen.target} is not whole, rsync could not copy everything: {words.strip()}: correct the "
            "permissions, or look after the disk; the rest was copied."
        )
    if status == VANISHED_FILES:
        log.warning("Files vanished from %s while they were mirrored: %s", chosen.source, words.strip())
    return totals, progress.finish(), status == VANISHED_FILES


def _rsync(chosen: MirrorSettings, options: Sequence[str], at: Callable[[int], None]) -> tuple[Totals, int, str]:
    """Run rsync: what it counted, its exit status, and its last words."""
    arguments = [
        find_program("rsync", "rsync"),
        "--archive",
        "--hard-links",
        "--sparse",
        "--acls",
        "--xattrs",
        "--delete-delay",  # at the end: a run that breaks off has deleted nothing
        "--stats",
        "--no-human-readable",  # plain digits
        f"--exclude=/{MARKER}",
        *(f"--exclude={pattern}" for pattern in chosen.exclude),
        *options,
        "--",
        f"{chosen.source}/",
        f"{chosen.target}/",
    ]
    tail, line = b"", b""
    buffer = memoryview(bytearray(1 << 16))
    with Child(arguments, env={"LC_ALL": "C.UTF-8"}) as child:
        while count := child.readinto(buffer, chosen.stall_seconds):
            *lines, line = (line + bytes(buffer[:count])).replace(b"\r", b"\n").split(b"\n")
            tail = (tail + b"".join(text + b"\n" for text in lines))[-_TAIL_BYTES:]
            for text in lines:
                if found := _PROGRESS.match(text):
                    at(int(found[1]))
        status = child.finish(allowed=(0, PARTIAL_FILES, VANISHED_FILES, TOO_MANY_DELETIONS))
        return _totals(tail + line), status, child.stderr


def _totals(output: bytes) -> Totals:
    found = {name.decode(): int(number) for name, number in _NUMBER.findall(output)}
    try:
        return Totals(
            files=found["Number of files"],
            created=found["Number of created files"],
            deleted=found["Number of deleted files"],
            changed=found["Number of regular files transferred"],
            bytes=found["Total file size"],
            sent_bytes=found["Total transferred file size"],
        )
    except KeyError as error:
        raise PermanentError(
            f"rsync did not say its {error}: it is older than 3.1 or another program of that name; install rsync."
        ) from error
