"""Whether what a server has follows what is archived: the rules by which a timeline goes on or a new one is opened.

A restart, a rotation and a crash recovery go on with the next number and the same GTIDs: no new timeline. Everything
else that makes a log not follow is a gap, and gets a reason and words.
"""

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from datetime import datetime

from spoqplus_backup.core.archive.known import Known, KnownLogs
from spoqplus_backup.core.manifest import Gap
from spoqplus_backup.core.mysql.binlog import ServerLog
from spoqplus_backup.core.mysql.gtid import GtidSet, unlogged
from spoqplus_backup.core.repository.binlogs import base_name, log_number

TIMELINE_DIGITS = 6
FIRST = f"{1:0{TIMELINE_DIGITS}d}"


@dataclass(frozen=True)
class Present:
    """What the server has now: `logs` in their order, the last one being written."""

    server_id: int
    uuid: str | None
    logs: Sequence[ServerLog]
    created_at: Callable[[str], datetime]
    """When one of them was begun."""
    gtids_purged: str | None = None
    """MySQL's transactions that are in none of its logs: of logs that it removed, and those that it never logged."""


@dataclass(frozen=True)
class Decision:
    """Which closed logs are to be archived, in which timeline, and what is lost before its first one."""

    timeline: str
    logs: tuple[ServerLog, ...]
    gap: Gap | None


def decide(known: KnownLogs, present: Present, last_event_at: datetime | None, pending: Gap | None = None) -> Decision:
    """Compare what is archived with what is there.

    Args:
        known: the newest archived log of each server of the site.
        present: what the server has.
        last_event_at: the newest archived transaction's time, where the newest log itself has none.
        pending: the gap of a timeline that an earlier run opened and that has no log yet: it stays a gap, though the
            logs that were begun since may look like those before.
    """
    closed = tuple(present.logs[:-1])
    newest, own = known.newest, known.of(present.server_id)
    if newest is None:
        return Decision(FIRST, closed, None)
    broken = _broken(own, present) if own else None
    if broken is None and pending is not None and pending.reason == "reset":
        broken = pending
    jump = _jump(own, present) if own and broken is None else None
    gap = _other_server(newest, present) or broken or jump or pending
    if own is not None and (broken is None or broken.reason == "purged"):
        closed = tuple(log for log in closed if log_number(log.name) > log_number(own.name))
    if own is not None and gap is None:
        return Decision(own.timeline, closed, None)
    timeline = next_timeline(own.timeline) if own else FIRST
    lost_from = newest.last_at or last_event_at
    return Decision(timeline, closed, gap.model_copy(update={"lost_from": lost_from}) if gap else None)


def next_timeline(name: str) -> str:
    """The name of the timeline behind one."""
    return f"{int(name) + 1:0{TIMELINE_DIGITS}d}"


def history_gap(previous: Known, name: str, before: str) -> Gap:
    """The gap in front of a log whose GTIDs don't follow those of the log before it."""
    return Gap(
        reason="history",
        after=previous.name,
        lost_from=previous.last_at,
        words=(
            f"{name} follows {previous.name} by number but not by GTID: {previous.name} ends with "
            f"{previous.gtids_after or 'none'}, {name} begins after {before or 'none'}. Transactions were executed "
            "that are in no archived log."
        ),
    )


def _other_server(newest: Known, present: Present) -> Gap | None:
    if newest.server_id != present.server_id:
        words = f"The server's id is {present.server_id} now; the logs before were of the server {newest.server_id}."
    elif newest.uuid and present.uuid and newest.uuid != present.uuid:
        words = f"The server's UUID is {present.uuid} now; the logs before were of {newest.uuid}."
    else:
        return None
    return Gap(reason="server", after=newest.name, words=words)


def _broken(own: Known, present: Present) -> Gap | None:
    """Why the server's logs don't follow the last archived one; None when they do, as far as names and sizes tell."""
    names = [log.name for log in present.logs]
    if all(base_name(name) != base_name(own.name) for name in names):
        words = f"The server's logs are called {base_name(names[-1])} now; {own.name} was the last archived one."
        return Gap(reason="history", after=own.name, words=words)
    if own.name in names:
        return _replaced(own, present)
    behind = [log_number(name) for name in names if log_number(name) > log_number(own.name)]
    if not behind:
        words = f"The numbers of the server's logs went back, to {names[-1]}; {own.name} was the last archived one."
        return Gap(reason="reset", after=own.name, words=words)
    if behind[0] > log_number(own.name) + 1:
        oldest = next(name for name in names if log_number(name) == behind[0])
        words = f"The server's oldest log is {oldest}; {own.name} was the last archived one: those between were purged."
        return Gap(reason="purged", after=own.name, words=words)
    return None


def _jump(own: Known, present: Present) -> Gap | None:
    """Whether transactions count as executed since that no log holds, as behind SET GLOBAL gtid_purged.

    Where among the logs since that happened can't be told, so none of them follows.
    """
    if present.gtids_purged is None or own.gtids_unlogged is None:
        return None
    found = GtidSet.parse(unlogged(present.gtids_purged, own.gtids_after)).subtract(GtidSet.parse(own.gtids_unlogged))
    if not found:
        return None
    words = (
        f"The server has executed {found} since {own.name}, which neither it nor one of its logs holds: somebody set "
        "gtid_purged, logs were removed behind a reset, or it is a replica that does not log what it applies "
        "(log_replica_updates)."
    )
    return Gap(reason="history", after=own.name, words=words)


def _replaced(own: Known, present: Present) -> Gap | None:
    """Whether the log that was archived last is another one on the server now."""
    there = next(log for log in present.logs if log.name == own.name)
    same_size = there.bytes == own.bytes or (own.cut_off and there.bytes > own.bytes)
    if there.name == present.logs[-1].name:
        what = "is being written again"
    elif not same_size:
        what = f"has {there.bytes} bytes on the server and had {own.bytes}"
    elif (begun := present.created_at(own.name)) != own.created_at.replace(microsecond=0):
        what = f"was begun at {begun:%Y-%m-%d %H:%M:%S} UTC and not at {own.created_at:%Y-%m-%d %H:%M:%S}"
    else:
        return None
    words = f"{own.name}, the last archived log, {what}: the server's logs were reset since."
    return Gap(reason="reset", after=own.name, words=words)
