"""The last binary logs of a lost server: those in its old data directory that nobody archived any more.

They count only when they follow the archived ones, by number and by GTID; the last one as far as it can be read.
"""

import logging
from contextlib import suppress
from pathlib import Path

from spoqplus_backup.core.errors import IntegrityError, PermanentError
from spoqplus_backup.core.mysql.binlog_events import MAGIC, Kind, LogReader
from spoqplus_backup.core.mysql.binlog_transactions import Transactions
from spoqplus_backup.core.mysql.binlog_write import cut_log
from spoqplus_backup.core.mysql.gtid import goes_on
from spoqplus_backup.core.process import check_cancelled
from spoqplus_backup.core.recovery.archived import next_name

log = logging.getLogger(__name__)

BLOCK_BYTES = 1 << 20
IGNORABLE = 0x80  # flag of an event
ENCRYPTED_MAGIC = b"\xfdbin"  # of a log that MySQL encrypts; MariaDB says so in an event

Gtids = tuple[str, str]  # before a log, and behind it


def own_logs(folder: Path, first: str, earlier: Gtids | None, directory: Path) -> list[Path]:
    """Copies of the logs that lead on, in order; none when there are none that can be trusted.

    Args:
        folder: where the server wrote its logs.
        first: the name of the first one that is wanted.
        earlier: the GTIDs before and behind the log that it has to follow; None when nothing was archived.
        directory: gets the copies, each ending with its last whole transaction when its server died.

    Raises:
        PermanentError: the server encrypts them, and only it can read them.
    """
    found: list[Path] = []
    name = first
    if (folder / name).is_file():
        _refuse_encrypted(folder / name)
    while (path := folder / name).is_file():
        copied = _copied(path, directory / name, earlier)
        if copied is None:
            break
        whole, earlier = copied
        found.append(directory / name)
        if not whole:
            break
        name = next_name(name)
    log.info("The old data directory adds %s", ", ".join(path.name for path in found) or "no log")
    return found


def _refuse_encrypted(path: Path) -> None:
    with path.open("rb", buffering=BLOCK_BYTES) as file:
        encrypted = file.read(len(MAGIC)) == ENCRYPTED_MAGIC
        file.seek(0)
        with suppress(IntegrityError):  # no log at all: said where it is read
            first = next(iter(LogReader(file.read, str(path))), None)
            # in what a server sends the event is still there, marked so that it is passed over
            marked = first is not None and first.kind == Kind.START_ENCRYPTION and not first.flags & IGNORABLE
            encrypted = encrypted or marked
    if encrypted:
        raise PermanentError(
            f"{path} is encrypted by its server, so the lost server's last transactions can't be read from it: restore "
            "to a time that the archived logs reach (to_time), or set `restore.rebuild.<environment>.log_directory` to "
            "an empty folder and clear this task to go on without them."
        )


def _copied(path: Path, target: Path, earlier: Gtids | None) -> tuple[bool, Gtids] | None:
    """Copy what can be read of a log: whether that is all of it, and its GTIDs; None when it is no use."""
    whole = True
    try:
        with path.open("rb", buffering=BLOCK_BYTES) as file:
            read = Transactions(file.read, str(path))
            try:
                for _ in read:
                    check_cancelled()
            except IntegrityError as error:
                whole = False
                log.warning("The server's own log is used up to the damage: %s", error)
    except IntegrityError as error:
        log.warning("The server's own log can't be read: %s", error)
        return None
    if earlier is not None and not goes_on(read.format.flavour, earlier, read.before):
        log.warning("%s does not follow the log before it (%s, not %s): it is left out.", path, read.before, earlier[1])
        return None
    target.parent.mkdir(parents=True, exist_ok=True)
    end = path.stat().st_size if whole and not read.truncated else read.end
    cut_log(path, target, end)
    return whole, (read.before, read.after)


def gtids_of(path: Path) -> Gtids:
    """The GTIDs before and behind a log."""
    with path.open("rb", buffering=BLOCK_BYTES) as file:
        read = Transactions(file.read, str(path))
        for _ in read:
            check_cancelled()
    return read.before, read.after
