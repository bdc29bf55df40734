"""The last binary logs of a lost server: those in its old data directory that nobody archived any more.

They count only when they follow the archived ones, by number and by GTID; the last one as far as it can be read.
"""

import logging
from pathlib import Path

from spoqplus_backup.core.errors import IntegrityError
from spoqplus_backup.core.mysql.binlog_transactions import Transactions
from spoqplus_backup.core.mysql.binlog_write import cut_log
from spoqplus_backup.core.process import check_cancelled
from spoqplus_backup.core.recovery.archived import next_name

log = logging.getLogger(__name__)

BLOCK_BYTES = 1 << 20


def own_logs(folder: Path, first: str, before: str | None, directory: Path) -> list[Path]:
    """Copies of the logs that lead on, in order; none when there are none that can be trusted.

    Args:
        folder: where the server wrote its logs.
        first: the name of the first one that is wanted.
        before: the GTIDs that it has to begin behind; None when nothing was archived.
        directory: gets the copies, each ending with its last whole transaction when its server died.
    """
    found: list[Path] = []
    name = first
    while (path := folder / name).is_file():
        after = _copied(path, directory / name, before)
        if after is None:
            break
        whole, before = after
        found.append(directory / name)
        if not whole:
            break
        name = next_name(name)
    log.info("The old data directory adds %s", ", ".join(path.name for path in found) or "no log")
    return found


def _copied(path: Path, target: Path, before: str | None) -> tuple[bool, str] | None:
    """Copy what can be read of a log: whether that is all of it, and the GTIDs behind it; None when it is no use."""
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
    if before is not None and read.before != before:
        log.warning("%s does not follow the logs before it (%s, not %s): it is left out.", path, read.before, before)
        return None
    target.parent.mkdir(parents=True, exist_ok=True)
    end = path.stat().st_size if whole and not read.truncated else read.end
    cut_log(path, target, end)
    return whole, read.after


def gtids_after(path: Path) -> str:
    """The GTIDs behind a log."""
    with path.open("rb", buffering=BLOCK_BYTES) as file:
        read = Transactions(file.read, str(path))
        for _ in read:
            check_cancelled()
    return read.after
