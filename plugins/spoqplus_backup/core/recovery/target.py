"""From a wished point in time to the logs and the exact offsets that lead there.

The point is a prefix of the log: everything before the first transaction, in the log's order from the full backup's
snapshot on, that is stamped later than `to_time`; up to and with `to_gtid`; up to but without `before_gtid`. Where a
GTID is asked for, a place `binlog.000012:4711` (the start of a transaction) does as well. `to_time: latest` is the end
of all logs that there are.
"""

import logging
import re
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from datetime import datetime, timedelta, timezone
from pathlib import Path
from typing import Literal
from zoneinfo import ZoneInfo

from spoqplus_backup.core.errors import IntegrityError, PermanentError, SettingsError
from spoqplus_backup.core.manifest import BinlogSegment, Manifest, Model, Part, SchemeName, Sha256, binlog_folder
from spoqplus_backup.core.mysql.binlog_transactions import Transaction, Transactions
from spoqplus_backup.core.mysql.gtid import Gtid, GtidSet, GtidState, MariaDbGtid, MySqlGtid, parse_gtid
from spoqplus_backup.core.process import check_cancelled
from spoqplus_backup.core.recovery.archived import ArchivedLogs, fetch_log, opened
from spoqplus_backup.core.recovery.windows import (
    NoLogsError,
    Run,
    Window,
    fulls,
    is_full,
    run_of,
    snapshot_at,
    unreachable,
    window_of,
    window_or_problem,
    windows,
)
from spoqplus_backup.core.repository.catalog import LATEST, Catalog
from spoqplus_backup.core.run import DATABASE

log = logging.getLogger(__name__)

REPLAY_BYTES_PER_SECOND = 1e6  # of raw logs, mysqlbinlog piped into a client on two cores; rough

Parameter = Literal["to_time", "to_gtid", "before_gtid", "to_place"]
PARAMETERS: tuple[Parameter, ...] = ("to_time", "to_gtid", "before_gtid", "to_place")
END = "latest"  # of `to_time`

_TIME = re.compile(
    r"(\d{4}-\d{2}-\d{2})(?:[T ](\d{2}:\d{2})(?::(\d{2})(?:[.,](\d{1,6}))?)?)? ?(Z|[+-]\d{2}(?::?\d{2})?)?",
    re.IGNORECASE,
)
_PLACE = re.compile(r"([^:/]+\.\d+):(\d+)")
_GTID = re.compile(r"\d+-\d+-\d+|[0-9a-f-]{36}:(?:[a-z_][a-z0-9_]*:)?\d+", re.IGNORECASE)


class Target(Model):
    """What a person asked for. `time` is UTC; `zone` is the site's when the text named none."""

    parameter: Parameter
    text: str
    time: datetime | None = None
    zone: str | None = None

    @property
    def is_end(self) -> bool:
        """Whether it is the end of all logs."""
        return self.parameter == "to_time" and self.time is None


TO_THE_END = Target(parameter="to_time", text=END)


class PlannedLog(Model):
    """An archived log that will be replayed. `end` is where its last whole transaction ends in the raw log."""

    name: str
    sidecar_sha256: Sha256
    log: Part
    end: int
    truncated: bool
    scheme: SchemeName

    @property
    def end_of_file(self) -> int:
        """Up to where it is replayed: without what a server that died left unfinished."""
        return self.end if self.truncated else self.log.raw_bytes


class PlannedReplay(Model):
    """Which logs are replayed: from `start` of the first to `stop` of the last (None: to its end).

    `transactions` and `last_at` are what will have been replayed; `bytes` of raw logs; `back_seconds` is how far times
    in the range go back at most (0: they ascend).
    """

    target: Target
    server_id: int
    timeline: str
    logs: tuple[PlannedLog, ...]
    start: int
    stop: int | None
    transactions: int
    last_at: datetime | None
    last_gtid: str | None = None
    bytes: int
    seconds: float
    back_seconds: float = 0.0

    @property
    def folder(self) -> str:
        """Where the logs lie in the repository."""
        return binlog_folder(self.server_id, self.timeline)

    @property
    def stored_bytes(self) -> int:
        """What is downloaded."""
        return sum(log.log.stored_bytes for log in self.logs)


class OutsideError(PermanentError):
    """A full backup's window does not hold the target."""


def read_target(parameter: Parameter, text: str, zone: str) -> Target:
    """Read a parameter as a person writes it.

    Args:
        parameter: which.
        text: a time (ISO 8601), a GTID, or a place.
        zone: the site's, for a time that names none.

    Raises:
        SettingsError: it can't be read.
    """
    text = text.strip()
    if parameter == "to_time":
        return _read_time(text, zone)
    if parameter == "to_place":
        if not _PLACE.fullmatch(text):
            raise SettingsError(f"The parameter to_place is {text!r}: write a log and an offset, binlog.000012:4711.")
        return Target(parameter=parameter, text=text)
    if not _PLACE.fullmatch(text) and not _GTID.fullmatch(text):
        raise SettingsError(
            f"The parameter {parameter} is {text!r}: write a GTID (MariaDB 0-1-4711, MySQL "
            "3e11fa47-71ca-11e1-9e33-c80aa9429562:23) or a place such as binlog.000012:4711."
        )
    return Target(parameter=parameter, text=text)


def _read_time(text: str, zone: str) -> Target:
    if text.lower() == END:
        return TO_THE_END
    wrong = f"The parameter to_time is {text!r}: write a time such as 2026-01-31T14:05:09+09:00, or {END}"
    match = _TIME.fullmatch(text)
    if match is None:
        raise SettingsError(f"{wrong}.")
    day, minute, second, fraction, offset = match.groups()
    if minute is None:
        raise SettingsError(f"{wrong}, with hour and minute.")
    try:
        local = datetime.strptime(f"{day} {minute}:{second or '00'}", "%Y-%m-%d %H:%M:%S").replace(  # noqa: DTZ007
            microsecond=int((fraction or "").ljust(6, "0"))
        )
        if offset is not None:
            given = "+00:00" if offset in "Zz" else offset
            time = datetime.strptime(f"{local.isoformat()} {_minutes(given)}", f"{_iso(local)} %z")
            return Target(parameter="to_time", text=text, time=time.astimezone(timezone.utc))
    except ValueError as error:
        raise SettingsError(f"{wrong} ({error}).") from None
    return Target(parameter="to_time", text=text, time=_in_zone(local, zone, wrong), zone=zone)


def _minutes(offset: str) -> str:
    return offset if len(offset) > 3 else f"{offset}:00"


def _iso(local: datetime) -> str:
    return "%Y-%m-%dT%H:%M:%S.%f" if local.microsecond else "%Y-%m-%dT%H:%M:%S"


def _in_zone(local: datetime, zone: str, wrong: str) -> datetime:
    """A time of the site's clock, which shows some times twice a year, and never shows some others."""
    first, second = (local.replace(tzinfo=ZoneInfo(zone), fold=fold).astimezone(timezone.utc) for fold in (0, 1))
    if first != second:
        shown = first.astimezone(ZoneInfo(zone)).replace(tzinfo=None) == local
        reason = "comes twice" if shown else "does not come"
        raise SettingsError(f"{wrong}: with its offset, for in {zone} this time {reason} when the clocks are changed.")
    return first


def choose(
    catalog: Catalog, logs: ArchivedLogs, backup: str, target: Target, directory: Path
) -> tuple[Manifest, PlannedReplay | None, list[Window]]:
    """The newest full backup whose window holds the target (or the one that is asked for), and the way there.

    There is none for a backup that no log follows yet and that is the newest state there is.

    Args:
        catalog: of the repository.
        logs: of the same one.
        backup: `latest`, or what `Catalog.resolve` knows.
        target: where to.
        directory: gets the logs that have to be read, as they lie in the repository.

    Raises:
        PermanentError: no window holds it; the message has all windows, and what lies between them.
        IntegrityError: a manifest, a sidecar or a log can't be trusted.
    """
    candidates = every = list(fulls(catalog))
    if backup != LATEST:
        chosen = catalog.resolve(backup, (DATABASE,))
        if not is_full(chosen):
            raise PermanentError(f"{chosen.name} is no full backup, so logs can't be replayed on it: choose another.")
        candidates = [chosen]
    if target.is_end and candidates:
        manifest, replay = _furthest(logs, candidates, directory)
        return manifest, replay, windows(logs, every)
    reasons = []
    for manifest in candidates:
        try:
            replay = resolve(logs, run_of(logs, manifest), target, directory)
        except (OutsideError, NoLogsError) as error:
            reasons.append(str(error))
            continue
        return manifest, replay, windows(logs, every)
    raise OutsideError(_refusal(windows(logs, every), target, logs, reasons))


def _furthest(logs: ArchivedLogs, candidates: list[Manifest], directory: Path) -> tuple[Manifest, PlannedReplay | None]:
    """The newest full backup with all logs behind it.

    One that no log follows yet is passed over only for an older one whose logs lead further.
    """
    newest = candidates[0]
    found = ((manifest, window_or_problem(logs, manifest)) for manifest in candidates)
    chosen = next((pair for pair in found if pair[1].has_logs), None)
    if chosen is None or chosen[1].end <= snapshot_at(newest) and chosen[0] is not newest:
        log.warning("No archived log follows the snapshot of %s: it is restored as it was taken.", newest.name)
        return newest, None
    return chosen[0], resolve(logs, run_of(logs, chosen[0]), TO_THE_END, directory)


def _refusal(found: list[Window], target: Target, logs: ArchivedLogs, reasons: list[str]) -> str:
    zone = ZoneInfo(logs.settings.timezone)

    def at(time: datetime) -> str:
        return time.astimezone(zone).isoformat()

    where = logs.repository.name
    wished = f"{target.text} ({at(target.time)})" if target.time else target.text
    reached = "; ".join(f"{window.backup} from {at(window.start)} to {at(window.end)}" for window in found)
    gaps = "; ".join(f"between {at(gap.start)} and {at(gap.end)}: {gap.reason}" for gap in unreachable(found))
    words = [
        f"{target.parameter} {wished} can't be reached from the repository {where}.",
        f"Reachable: {reached or 'nothing, there is no full backup'}.",
        f"Can't be reached: {gaps}." if gaps else "",
        reasons[0] if reasons else "",
        *(window.problem for window in found[:1] if window.problem and window.problem not in reasons),
    ]
    return " ".join(filter(None, words))


def resolve(logs: ArchivedLogs, run: Run, target: Target, directory: Path) -> PlannedReplay:
    """The way from one full backup to the target. The backup's first log and the target's are read, no others.

    Raises:
        OutsideError: the target is not in this backup's window.
        IntegrityError: a sidecar or a log can't be trusted, or one is missing on the way.
    """
    window = window_of(logs, run)
    if target.time is not None and not window.start <= target.time <= window.end:
        raise OutsideError(f"The window of {run.manifest.name} does not hold this time.")
    chain = logs.chain(run.timeline, _names(run, target))
    segments = [segment for segment, _ in chain]
    goal = _goal(run, segments, target)
    stop_in_first = goal.is_in(segments[0])
    first = _scan(logs, run, segments[0], directory, goal if stop_in_first else None)
    newest_held = first.latest_before or segments[0].created_at  # those of the logs before that one are older
    if target.time is not None and newest_held > target.time:
        raise OutsideError(f"{run.manifest.name} may hold what was committed at {newest_held.isoformat()} already.")
    scans, count = [first], 1
    if not (stop_in_first and first.reached):
        for count, segment in enumerate(segments[1:], 2):  # noqa: B007 (it is looked at behind the loop)
            if goal.is_in(segment):
                scans.append(_scan(logs, run, segment, directory, goal))
                if scans[-1].reached:
                    break
        else:
            count = len(segments)
            goal.not_found(scans)
    used = segments[:count]
    read = {scan.segment.name: scan for scan in scans}
    found = _sums(used, read)
    logs_planned = tuple(
        PlannedLog(
            name=segment.name,
            sidecar_sha256=digest,
            log=segment.log,
            end=segment.end,
            truncated=segment.truncated,
            scheme=segment.encryption.scheme,
        )
        for segment, digest in chain[:count]
    )
    stop = scans[-1].stop
    end = stop if stop is not None else used[-1].end
    size = sum(segment.end for segment in used[:-1]) + end - run.position
    return PlannedReplay(
        target=target,
        server_id=run.timeline.server_id,
        timeline=run.timeline.name,
        logs=logs_planned,
        start=run.position,
        stop=stop,
        transactions=found.transactions,
        last_at=found.last_at,
        last_gtid=found.last_gtid,
        bytes=max(size, 0),
        seconds=round(max(size, 0) / REPLAY_BYTES_PER_SECOND, 1),
        back_seconds=found.back_seconds,
    )


def _names(run: Run, target: Target) -> Sequence[str]:
    """The logs that may be needed: behind a place none."""
    place = _PLACE.fullmatch(target.text)
    if target.parameter != "to_place" or place is None:
        return run.names
    name, offset = place[1], int(place[2])
    if name not in run.names or (name == run.names[0] and offset < run.position):
        raise OutsideError(f"The window of {run.manifest.name} does not hold {target.text}.")
    return run.names[: run.names.index(name) + 1]


@dataclass
class _Scan:
    """What reading one log gave: only transactions from the snapshot on and up to the goal are counted."""

    segment: BinlogSegment
    transactions: int = 0
    last: Transaction | None = None
    latest_at: datetime | None = None
    latest_before: datetime | None = None
    back: timedelta = timedelta()
    stop: int | None = None
    reached: bool = False


@dataclass(frozen=True)
class _Goal:
    """Where to stop: `is_in` says whether a log may hold it, `ends` whether a transaction is it."""

    is_in: Callable[[BinlogSegment], bool]
    ends: Callable[[Transaction], bool]
    inclusive: bool
    missing: str | None
    """What is wrong when it is in none of the logs; None when the end of the logs will do."""

    def not_found(self, scans: list[_Scan]) -> None:
        """Nothing was found: raise where that matters."""
        if self.missing is None:
            return
        near = f" The transaction before it is at {scans[-1].last.start}." if scans[-1].last else ""
        raise OutsideError(self.missing + near)


def _goal(run: Run, segments: list[BinlogSegment], target: Target) -> _Goal:
    if (time := target.time) is not None:
        return _Goal(
            is_in=lambda segment: segment.latest_at is not None and segment.latest_at > time,
            ends=lambda transaction: transaction.at > time,
            inclusive=False,
            missing=None,
        )
    if target.is_end:
        return _Goal(is_in=lambda _: False, ends=lambda _: False, inclusive=False, missing=None)
    inclusive = target.parameter == "to_gtid"
    outside = f"The window of {run.manifest.name} does not hold {target.text}."
    if place := _PLACE.fullmatch(target.text):
        name, offset = place[1], int(place[2])
        if target.parameter == "to_place":
            return _Goal(
                is_in=lambda segment: segment.name == name,
                ends=lambda transaction: transaction.start >= offset,
                inclusive=False,
                missing=None,
            )
        if name not in run.names:
            raise OutsideError(outside)
        return _Goal(
            is_in=lambda segment: segment.name == name,
            ends=lambda transaction: transaction.start == offset,
            inclusive=inclusive,
            missing=f"{outside[:-1]}: no transaction behind the snapshot begins there.",
        )
    gtid = parse_gtid(target.text, run.manifest.server.flavour)
    return _Goal(
        is_in=lambda segment: _has(segment, gtid),
        ends=lambda transaction: transaction.gtid == gtid,
        inclusive=inclusive,
        missing=outside,
    )


def _has(segment: BinlogSegment, gtid: Gtid) -> bool:
    if isinstance(gtid, MySqlGtid):
        return gtid in GtidSet.parse(segment.gtids_after) and gtid not in GtidSet.parse(segment.gtids_before)
    before, after = (GtidState.parse(text) for text in (segment.gtids_before, segment.gtids_after))
    return before.last(gtid.domain, gtid.server) < gtid.sequence <= after.last(gtid.domain, gtid.server)


def _scan(logs: ArchivedLogs, run: Run, segment: BinlogSegment, directory: Path, goal: _Goal | None) -> _Scan:
    """Read a log, from the snapshot on when it is the first one, up to the goal when it has one."""
    start = run.position if segment is run.first or segment.name == run.first.name else 0
    path = fetch_log(logs.repository, segment, directory)
    scan = _Scan(segment)
    before: Transaction | None = None
    with opened(path, logs.scheme(segment)) as file:
        for transaction in Transactions(file.read, f"{logs.repository.url}/{segment.key}"):
            check_cancelled()
            if transaction.start < start:
                before = transaction
                scan.latest_before = max(scan.latest_before or before.at, before.at)
                if goal and goal.inclusive and goal.ends(transaction) and transaction.end == start:
                    scan.stop, scan.reached = start, True  # the backup itself is the target
                    break
                continue
            if scan.last is None and start:
                _check_snapshot(run, before, transaction)
            if goal is not None and goal.ends(transaction):
                if goal.inclusive:
                    _take(scan, transaction)
                scan.stop, scan.reached = transaction.end if goal.inclusive else transaction.start, True
                break
            _take(scan, transaction)
        else:
            if scan.last is None and start:
                _check_snapshot(run, before, None)
    return scan


def _take(scan: _Scan, transaction: Transaction) -> None:
    scan.transactions += 1
    if scan.latest_at is not None:
        scan.back = max(scan.back, scan.latest_at - transaction.at)
    scan.latest_at = max(scan.latest_at or transaction.at, transaction.at)
    scan.last = transaction


def _check_snapshot(run: Run, before: Transaction | None, behind: Transaction | None) -> None:
    """See that the snapshot stands between two transactions, and between these.

    Raises:
        IntegrityError: the log is not the one that the backup was taken beside.
    """
    good = before is None or before.end <= run.position
    wanted = run.component.coordinates.gtid
    if wanted:
        good = good and (before is None or has_gtid(wanted, before.gtid))
        good = good and (behind is None or not has_gtid(wanted, behind.gtid))
    if not good:
        raise IntegrityError(
            f"{run.first.key} is not the log that {run.manifest.name} was taken beside: at its coordinates "
            f"({run.position}, {wanted or 'no GTID'}) no transaction ends; choose another backup."
        )


def has_gtid(wanted: str, gtid: Gtid | None) -> bool:
    """Whether a snapshot's coordinates hold a transaction: of MariaDB's as its last one."""
    if isinstance(gtid, MySqlGtid):
        return gtid in GtidSet.parse(wanted)
    if isinstance(gtid, MariaDbGtid):
        return gtid in GtidState.parse(wanted).entries()
    return False


@dataclass
class _Sums:
    transactions: int = 0
    last_at: datetime | None = None
    last_gtid: str | None = None
    back_seconds: float = 0.0


def _sums(used: list[BinlogSegment], read: dict[str, _Scan]) -> _Sums:
    """Add up what was read, and for the logs between what their sidecars say."""
    sums = _Sums()
    latest: datetime | None = None
    for segment in used:
        scan = read.get(segment.name)
        if scan is not None:
            count, top, back = scan.transactions, scan.latest_at, scan.back
            last = scan.last.at if scan.last else None
            low = top - back if top else None
            gtid = str(scan.last.gtid) if scan.last and scan.last.gtid else None
        else:
            count, last, top, low, gtid = (
                segment.transactions,
                segment.last_at,
                segment.latest_at,
                segment.earliest_at,
                None,
            )
            back = _back(segment)
        if not count:
            continue
        sums.transactions += count
        sums.last_at, sums.last_gtid = last, gtid
        if latest is not None and low is not None:
            back = max(back, latest - low)
        sums.back_seconds = max(sums.back_seconds, back.total_seconds())
        latest = max(latest or top, top) if top else latest
    return sums


def _back(segment: BinlogSegment) -> timedelta:
    """How far times go back inside of a log, as far as its sidecar shows."""
    if segment.first_at is None or segment.last_at is None or segment.earliest_at is None or segment.latest_at is None:
        return timedelta()
    return max(segment.first_at - segment.earliest_at, segment.latest_at - segment.last_at, timedelta())
