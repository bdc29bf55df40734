"""The transactions of several binary logs in a row, from one exact place to another."""

import os
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path

from spoqplus_backup.core.errors import IntegrityError, PermanentError
from spoqplus_backup.core.mysql import binlog_events as events
from spoqplus_backup.core.mysql.binlog_events import CHECKSUM_BYTES, HEADER_BYTES, Event, unpack_header
from spoqplus_backup.core.mysql.binlog_transactions import Transaction, Transactions
from spoqplus_backup.core.mysql.gtid import GtidSet, MySqlGtid
from spoqplus_backup.core.process import check_cancelled

MAGIC_BYTES = 4


@dataclass(frozen=True)
class Replay:
    """What is to be replayed. Offsets are in bytes, at the boundary of a transaction.

    The last log of a server that died may end anywhere; what counts are its whole transactions, as in a log before it.
    """

    logs: tuple[Path, ...]
    """Raw logs without a gap between them, in order, each under its own name (`binlog.000012`)."""
    start: int
    """Offset in the first log: where the snapshot ends."""
    stop: int | None = None
    """Offset in the last log, exclusive; None for its end."""

    @property
    def names(self) -> list[str]:
        """The logs' names."""
        return [path.name for path in self.logs]

    @property
    def size(self) -> int:
        """Bytes from start to stop, about."""
        total = sum(path.stat().st_size for path in self.logs) - self.start
        return total if self.stop is None else total - self.logs[-1].stat().st_size + self.stop


@dataclass(frozen=True)
class OpenLog:
    """One of the logs while it is read."""

    name: str
    fd: int
    log: Transactions
    head_end: int
    """Where its first event, the description of its format, ends."""

    def read(self, start: int, end: int) -> bytes:
        """Bytes of the file; for short stretches only."""
        content = os.pread(self.fd, end - start, start)
        if len(content) < end - start:
            raise IntegrityError(f"{self.name} became shorter while it was read.")
        return content

    @property
    def checksums(self) -> bool:
        """Whether its events carry one."""
        return self.log.format.checksums

    def event_at(self, offset: int) -> Event:
        """The event that begins there, its body whole."""
        timestamp, kind, server_id, length, _, flags = unpack_header(self.read(offset, offset + HEADER_BYTES))
        body = self.read(offset + HEADER_BYTES, offset + length - (CHECKSUM_BYTES if self.checksums else 0))
        return Event(kind, timestamp, server_id, offset, offset + length, flags, body)


@dataclass(frozen=True)
class Found:
    """A transaction and the log that it lies in."""

    log: OpenLog
    transaction: Transaction

    def __str__(self) -> str:
        """For people: GTID, place and time."""
        gtid = f"{self.transaction.gtid} " if self.transaction.gtid else ""
        return f"{gtid}at {self.log.name}:{self.transaction.start}, committed {self.transaction.at.isoformat()}"


def check(job: Replay) -> None:
    """Refuse what can't be replayed before anything is applied.

    Raises:
        PermanentError: no log, a missing file, places outside of the logs.
    """
    if not job.logs:
        raise PermanentError("There are no binary logs to replay.")
    for path in job.logs:
        if not path.is_file():
            raise PermanentError(f"The binary log {path} is missing: fetch the logs again.")
    if job.start > job.logs[0].stat().st_size:
        raise PermanentError(f"The replay should start at {job.start}, behind the end of {job.logs[0]}.")
    if len(job.logs) == 1 and job.stop is not None and job.stop < job.start:
        raise PermanentError(f"The replay should stop at {job.stop}, before its start at {job.start}.")


def transactions(job: Replay, log: str, start: int) -> Iterator[Found | OpenLog]:
    """Each log as it is opened, then its transactions, from `start` in the log named `log` up to the stop.

    Raises:
        IntegrityError: a log is damaged, is not the one that follows, or ends before the stop.
        PermanentError: `start` or the stop lies inside of a transaction.
    """
    if log not in job.names:
        raise PermanentError(f"The replay goes on in {log}, which is not among its logs: {', '.join(job.names)}.")
    logs = job.logs[job.names.index(log) :]
    for number, path in enumerate(logs):
        last = number == len(logs) - 1
        with path.open("rb") as file:
            read = Transactions(file.read, str(path))
            opened = OpenLog(path.name, file.fileno(), read, read.end)
            yield opened
            yield from _between(opened, start if number == 0 else 0, job.stop if last else None)
        if not last:
            _check_next(read, path, logs[number + 1])


def _between(opened: OpenLog, start: int, stop: int | None) -> Iterator[Found]:
    for found in opened.log:
        check_cancelled()
        if found.start < start < found.end:
            raise PermanentError(f"{start} in {opened.name} lies inside of the transaction at {found.start}.")
        if stop is not None and found.start >= stop:
            return
        if stop is not None and found.end > stop:
            raise PermanentError(f"{stop} in {opened.name} lies inside of the transaction at {found.start}.")
        if found.start >= start:
            yield Found(opened, found)
    if stop is not None and stop > opened.log.end:
        raise IntegrityError(f"{opened.name} ends at {opened.log.end}, before the place {stop} that was asked for.")


def _check_next(read: Transactions, path: Path, following: Path) -> None:
    if read.next_log is not None and read.next_log != following.name:
        raise IntegrityError(f"{path.name} goes on in {read.next_log}, not in {following.name}: a log is missing.")


def last_transaction(job: Replay) -> Found | None:
    """The last one before the stop, of whose log only places may be asked; reads the last log that has any."""
    for path in reversed(job.logs):
        last: Found | None = None
        for found in transactions(job, path.name, job.start if path == job.logs[0] else 0):
            last = found if isinstance(found, Found) else last
        if last is not None:
            return last
    return None


def mysql_gtids(job: Replay) -> tuple[GtidSet, GtidSet]:
    """The GTIDs before the start and those from start to stop, out of the first and the last log alone.

    The second set is empty when one of these two logs has a transaction without a GTID.
    """
    before, after = GtidSet(), GtidSet()
    for path, found, until in ((job.logs[0], before, job.start), (job.logs[-1], after, job.stop)):
        with path.open("rb") as file:
            read = Transactions(file.read, str(path))
            for transaction in read:
                if until is not None and transaction.end > until:
                    break
                if isinstance(transaction.gtid, MySqlGtid):
                    found.add(transaction.gtid)
                elif found is after and not (path == job.logs[0] and transaction.start < job.start):
                    return before, GtidSet()
            found.update(GtidSet.parse(read.before))
    return before, after.subtract(before)


def whole_statements(found: Found) -> Sequence[str]:
    """The statements of a transaction to their ends."""
    texts, at = [], found.transaction.start
    while at < found.transaction.end:
        _, kind, _, length, _, _ = unpack_header(found.log.read(at, at + HEADER_BYTES))
        if kind in (events.Kind.QUERY, events.Kind.QUERY_COMPRESSED):
            texts.append(events.query(found.log.event_at(at)).text)
        at += length
    return texts
