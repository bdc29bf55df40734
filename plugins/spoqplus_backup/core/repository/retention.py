"""What a repository keeps and what goes, and why: from facts alone, so that it can be shown, tested and done again.

A set stays when a rule of `KeepSettings` keeps it (grandfather, father, son), when something that stays needs it, or
when one of the rules holds that no setting changes: the newest good ones, what is young, held, in use, locked by its
bucket, or can't be judged. What is planned from what is left after a deletion deletes nothing.

A set that a wrong clock dated into the future stays and counts for nothing: it is no newest set, takes no day's place,
and no window is measured from it.

Rules count backups, never days up to today, and windows are measured from the newest good full backup: while backups
fail, nothing goes, whatever else is still made. Without a good full backup no log and no incremental set goes.

Sets depend on others (`depends_on`: an incremental archive on its base), and binary logs lead on from full backups.
Logs stay from the oldest full backup in the point-in-time window on; of a timeline only its oldest logs go, so that
what stays has no hole, which the archive would fill up again from another repository.
"""

from collections import defaultdict
from collections.abc import Callable, Iterable, Mapping, Sequence
from datetime import date, datetime, timedelta, timezone

from spoqplus_backup.core.repository.catalog import INCREMENTAL, SAFETY
from spoqplus_backup.core.repository.retention_model import (
    Decision,
    LogFacts,
    Reason,
    RepositoryFacts,
    RepositoryPlan,
    SetFacts,
    UnfinishedFacts,
    UploadFacts,
)
from spoqplus_backup.core.settings import KeepSettings, RetentionSettings

# A log is archived after it was closed, so one that was archived before a full backup began is behind it. Two hosts may
# do the two, and their clocks differ.
CLOCKS_DIFFER = timedelta(hours=1)

_EVER = datetime.min.replace(tzinfo=timezone.utc)


class _Kept:
    """The sets that stay, with the first reason that was found for each."""

    def __init__(self, sets: Iterable[SetFacts], now: datetime) -> None:
        self.sets = {item.name: item for item in sets}
        self.counted = [item for item in self.sets.values() if not _is_ahead(item, now)]
        self.why: dict[str, tuple[Reason, str]] = {}

    def add(self, name: str, reason: Reason, detail: str = "") -> None:
        if name in self.sets:
            self.why.setdefault(name, (reason, detail))

    def everything_needed(self) -> None:
        """What kept sets depend on stays, and what those depend on."""
        waiting = list(self.why)
        while waiting:
            item = self.sets[waiting.pop()]
            for needed in item.depends_on:
                if needed in self.sets and needed not in self.why:
                    self.add(needed, "needed", item.name)
                    waiting.append(needed)

    @property
    def good_fulls(self) -> list[SetFacts]:
        """The full backups that can be restored, newest first."""
        return _newest_first(item for item in self.counted if item.is_full and item.is_good)


def plan_retention(
    facts: RepositoryFacts, keep: KeepSettings, limits: RetentionSettings, now: datetime
) -> RepositoryPlan:
    """Decide about everything in a repository.

    Args:
        facts: what there is.
        keep: the repository's rules.
        limits: what holds whatever they say.
        now: for the age of things.
    """
    kept = _Kept(facts.sets, now)
    _always(kept, facts, limits, now)
    newest = _newest(kept)
    _rules(kept, keep)
    _bases_of_untrusted(kept)
    kept.everything_needed()
    horizon = _horizon(kept, facts, keep)
    _incrementals(kept, horizon)
    kept.everything_needed()
    decisions = [
        *_about_sets(kept),
        *_about_logs(facts, kept, horizon, limits, now),
        *(_about_unfinished(item, facts, limits, now) for item in facts.unfinished),
        *(_about_upload(item, limits, now) for item in facts.uploads),
    ]
    if keep.forever:
        decisions = [_forever(decision) for decision in decisions]
    return RepositoryPlan(made_at=now, newest=newest, decisions=tuple(decisions), maximum_share=limits.maximum_share)


def _always(kept: _Kept, facts: RepositoryFacts, limits: RetentionSettings, now: datetime) -> None:
    """What no rule can delete."""
    young = now - timedelta(hours=limits.minimum_age_hours)
    counted = {item.name for item in kept.counted}
    for item in facts.sets:
        if item.is_trusted and item.name not in counted:
            kept.add(item.name, "future", f"{item.dated_at:%Y-%m-%d %H:%M} UTC")
        if item.name in facts.holds:
            kept.add(item.name, "hold", facts.holds[item.name])
        if item.name in facts.leases:
            kept.add(item.name, "lease", facts.leases[item.name])
        if item.problem is not None:
            kept.add(item.name, "untrusted", item.problem)
        if item.locked_until is not None and item.locked_until > now:
            kept.add(item.name, "locked", day(item.locked_until))
        if max(item.dated_at, item.stored_at or item.dated_at) > young:
            kept.add(item.name, "young")


def _is_ahead(item: SetFacts, now: datetime) -> bool:
    """Whether a wrong clock dated it: later than now, or than it was stored."""
    return item.dated_at > min(now, item.stored_at or now) + CLOCKS_DIFFER


def _newest(kept: _Kept) -> str | None:
    """The newest good set of each cadence, and the newest that holds a database; returns the last one's name."""
    good = _newest_first(item for item in kept.counted if item.is_good)
    seen: set[str] = set()
    for item in good:
        if item.cadence not in seen:
            kept.add(item.name, "newest", item.cadence)
            seen.add(item.cadence)
    full = next((item for item in good if item.is_full), None)
    if full is not None:
        kept.add(full.name, "newest_full")
    best = full or next(iter(good), None)
    return best.name if best else None


def _rules(kept: _Kept, keep: KeepSettings) -> None:
    """What the repository's settings keep, of all but incremental sets."""
    trusted = [item for item in kept.counted if item.is_trusted]
    fulls = kept.good_fulls
    counted: dict[str, tuple[Reason, int, Callable[[str], str]]] = {
        "daily": ("daily", keep.daily, _day_of),
        "weekly": ("weekly", keep.weekly, _week_of),
        "monthly": ("monthly", keep.monthly, _month_of),
    }
    for cadence, items in _by_cadence(trusted).items():
        if cadence == SAFETY:
            since = fulls[0].started_at - timedelta(days=keep.safety_days) if fulls else _EVER
            _since(kept, items, since, "safety", keep.safety_days)
        elif cadence in counted:
            reason, count, period = counted[cadence]
            all_taken = _of_each(kept, items, reason, count, period) == count
            if keep.days is not None:
                since = _first_of_days(fulls, keep.days)
                _since(kept, items, since, "days", keep.days)
                all_taken = all_taken and since != _EVER
            _damaged_among_kept(kept, items, all_taken=all_taken)
        elif cadence != INCREMENTAL:
            for item in items:
                kept.add(item.name, "no_rule", cadence)


def _first_of_days(fulls: Sequence[SetFacts], days: int) -> datetime:
    """The beginning of the oldest good full backup of the newest days that have one; of all time when these are fewer.

    Days are those of the sets' names: the site's.
    """
    oldest: dict[str, datetime] = {}
    for item in fulls:  # newest first
        if _day_of(item.id) not in oldest and len(oldest) == days:
            return min(oldest.values())
        oldest[_day_of(item.id)] = item.started_at
    return _EVER


def _since(kept: _Kept, items: Iterable[SetFacts], since: datetime, reason: Reason, days: int) -> None:
    for item in items:
        if item.started_at >= since:
            kept.add(item.name, reason, str(days))


def _of_each(kept: _Kept, items: Sequence[SetFacts], reason: Reason, count: int, period: Callable[[str], str]) -> int:
    """The newest good set of each of the newest `count` periods that have one; how many there are."""
    seen: list[str] = []
    for item in _newest_first(item for item in items if item.is_good):
        if len(seen) == count:
            break
        if (name := period(item.id)) not in seen:
            seen.append(name)
            kept.add(item.name, reason, f"{len(seen)}/{count}")
    return len(seen)


def _damaged_among_kept(kept: _Kept, items: Sequence[SetFacts], *, all_taken: bool) -> None:
    """A damaged set takes no good one's place, and goes when all places are taken by newer good ones."""
    stay = [item.started_at for item in items if item.is_good and item.name in kept.why]
    for item in items:
        if item.damaged is not None and (not all_taken or not stay or item.started_at >= min(stay)):
            kept.add(item.name, "damaged", item.damaged)


def _bases_of_untrusted(kept: _Kept) -> None:
    """A set whose manifest can't be believed may stand on another: the newest before it of each cadence stays."""
    for doubtful in [item for item in kept.sets.values() if not item.is_trusted]:
        for items in _by_cadence(kept.counted).values():
            before = next((item for item in _newest_first(items) if item.started_at < doubtful.started_at), None)
            if before is not None:
                kept.add(before.name, "may_be_needed", doubtful.name)


def _horizon(kept: _Kept, facts: RepositoryFacts, keep: KeepSettings) -> SetFacts | None:
    """The oldest full backup from which logs lead to every later moment; None when there is no good one."""
    if not (good := kept.good_fulls):
        return None
    since = good[0].started_at - timedelta(days=keep.point_in_time_days)
    fulls = [item for item in kept.counted if item.name in kept.why and item.is_full]
    rollable = [item for item in fulls if item.started_at >= since or item.name in facts.leases]
    return min(rollable, key=lambda item: item.started_at)


def _incrementals(kept: _Kept, horizon: SetFacts | None) -> None:
    """Incremental sets stay as long as their logs do."""
    for item in kept.sets.values():
        if item.cadence == INCREMENTAL and (horizon is None or item.finished_at > horizon.finished_at):
            kept.add(item.name, "point_in_time", horizon.name if horizon else "")


def _about_sets(kept: _Kept) -> Iterable[Decision]:
    for item in _newest_first(kept.sets.values()):
        reason, detail = kept.why.get(item.name, ("expired", ""))
        yield Decision(
            kind="set",
            name=item.name,
            keep=item.name in kept.why,
            reason=reason,
            detail=detail,
            bytes=item.bytes,
            at=item.started_at,
        )


def _about_logs(
    facts: RepositoryFacts, kept: _Kept, horizon: SetFacts | None, limits: RetentionSettings, now: datetime
) -> Iterable[Decision]:
    """Each timeline from its oldest log on: what is before the first that has to stay goes."""
    timelines: dict[str, list[LogFacts]] = defaultdict(list)
    for item in facts.logs:
        timelines[item.timeline].append(item)
    needed = {key: name for name in kept.why for key in kept.sets[name].logs}
    newest = {_server(timeline): timeline for timeline in sorted(timelines)}
    for timeline, logs in sorted(timelines.items()):
        last = max(logs, key=lambda item: item.number) if newest[_server(timeline)] == timeline else None
        first: tuple[Reason, str] | None = None
        for item in sorted(logs, key=lambda item: item.number):
            own = _why_log(item, horizon, needed, limits, now)
            if own is None and item is last:
                own = ("newest_log", "")
            decided = own or (("behind", first[1]) if first else None)
            if own and first is None:
                first = (own[0], item.key.rpartition("/")[2])
            reason, detail = decided or ("not_needed", horizon.name if horizon else "")
            yield Decision(
                kind="log",
                name=item.key,
                keep=decided is not None,
                reason=reason,
                detail=detail,
                bytes=item.bytes,
                at=item.at,
            )


def _why_log(
    item: LogFacts, horizon: SetFacts | None, needed: Mapping[str, str], limits: RetentionSettings, now: datetime
) -> tuple[Reason, str] | None:
    if item.problem is not None:
        return "untrusted", item.problem
    if horizon is None:
        return "no_full", ""
    if item.at >= horizon.started_at - CLOCKS_DIFFER:
        return "point_in_time", horizon.name
    if item.key in needed:
        return "needed", needed[item.key]
    if item.locked_until is not None and item.locked_until > now:
        return "locked", day(item.locked_until)
    if item.at > now - timedelta(hours=limits.minimum_age_hours):
        return "young", ""
    return None


def _about_unfinished(
    item: UnfinishedFacts, facts: RepositoryFacts, limits: RetentionSettings, now: datetime
) -> Decision:
    reason: Reason = "abandoned"
    detail = ""
    if item.name in facts.holds:
        reason, detail = "hold", facts.holds[item.name]
    elif item.name in facts.leases:
        reason, detail = "lease", facts.leases[item.name]
    elif item.under_way or item.touched_at > now - timedelta(hours=limits.unfinished_hours):
        reason = "under_way"
    elif item.locked_until is not None and item.locked_until > now:
        reason, detail = "locked", day(item.locked_until)
    return Decision(
        kind="unfinished",
        name=item.name,
        keep=reason != "abandoned",
        reason=reason,
        detail=detail,
        bytes=item.bytes,
        at=item.touched_at,
    )


def _about_upload(item: UploadFacts, limits: RetentionSettings, now: datetime) -> Decision:
    young = item.since > now - timedelta(hours=limits.unfinished_hours)
    return Decision(
        kind="upload",
        name=item.key,
        keep=young,
        reason="under_way" if young else "abandoned",
        detail=item.id,
        bytes=item.bytes,
        at=item.since,
    )


def _forever(decision: Decision) -> Decision:
    return decision if decision.keep else decision.model_copy(update={"keep": True, "reason": "forever", "detail": ""})


def _newest_first(items: Iterable[SetFacts]) -> list[SetFacts]:
    return sorted(items, key=lambda item: (item.started_at, item.id, item.cadence), reverse=True)


def _by_cadence(items: Iterable[SetFacts]) -> dict[str, list[SetFacts]]:
    found: dict[str, list[SetFacts]] = defaultdict(list)
    for item in items:
        found[item.cadence].append(item)
    return found


def _server(timeline: str) -> str:
    return timeline.rpartition("/")[0]


def day(moment: datetime) -> str:
    """A date as it stands in a reason."""
    return "∞" if moment.year == date.max.year else f"{moment:%Y-%m-%d}"


def _day_of(set_id: str) -> str:
    return set_id[:8]


def _month_of(set_id: str) -> str:
    return set_id[:6]


def _week_of(set_id: str) -> str:
    try:
        year, week, _ = date(int(set_id[:4]), int(set_id[4:6]), int(set_id[6:8])).isocalendar()
    except ValueError:  # no day of the calendar: a period of its own
        return set_id
    return f"{year}-W{week:02d}"
