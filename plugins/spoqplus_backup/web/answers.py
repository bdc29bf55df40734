"""What the API answers: a catalogue as JSON. Times are ISO 8601 and UTC, sizes bytes, durations seconds."""

from datetime import datetime, timedelta, timezone
from typing import Any

from spoqplus_backup.core.monitor.catalogue import Catalogue, Line, Reachable, Row, joined, thinned
from spoqplus_backup.core.monitor.promises import promises
from spoqplus_backup.core.monitor.schedule import after, schedules
from spoqplus_backup.core.recovery.windows import Unreachable
from spoqplus_backup.core.repository.set_details import ComponentDetails, SetContents, SetDetails
from spoqplus_backup.core.settings import Settings

POINTS = 2000  # of a chart
PROMISES = {"rpo": "seconds", "rto": "seconds", "copies": "count", "recovery_test": "seconds"}
Answer = dict[str, Any]


def iso(moment: datetime | None) -> str | None:
    """A time; None stays None."""
    return None if moment is None else moment.astimezone(timezone.utc).isoformat()


def item(catalogue: Catalogue, row: Row) -> Answer:
    """One set of a list."""
    line, copies, hold = row.line, catalogue.copies_of(row), catalogue.holds.get(row.name)
    held = {"reason": "?", "by": "?", "at": None} if row.name in catalogue.holds else None
    if hold is not None:
        held = {"reason": hold.reason, "by": hold.by, "at": iso(hold.since)}
    return {
        "name": row.name,
        "cadence": row.cadence,
        "id": row.id,
        "started_at": iso(line.started_at) if line else None,
        "finished_at": iso(line.finished_at) if line else None,
        "stored_bytes": line.stored_bytes if line else None,
        "raw_bytes": line.raw_bytes if line else None,
        "change": row.change,
        "duration_seconds": line.seconds if line else None,
        "stages": dict(line.stages) if line else {},
        "contents": list(line.contents) if line else [],
        "logs": line.logs if line else 0,
        "copies": list(row.repositories),
        "media": list(copies.media),
        "offsite": list(copies.offsite),
        "holds_3_2_1": copies.holds,
        "proved_at": iso(catalogue.proved.get(row.name)),
        "hold": held,
        "problem": row.problem,
    }


def whole(found: tuple[SetDetails, SetContents] | None) -> Answer:
    """What a set's own page shows besides."""
    if found is None:
        return {"server": None, "tools": {}, "components": [], "encryption": None, "warnings": []}
    details, contents = found
    return {
        "server": contents.server.model_dump(include={"flavour", "version", "coordinates"}),
        "tools": contents.tools,
        "components": [_component(component) for component in details.components],
        "encryption": contents.encryption.model_dump(mode="json"),
        "warnings": list(contents.warnings),
    }


def _component(component: ComponentDetails) -> Answer:
    return component.model_dump(mode="json", exclude={"seconds"}) | {"stages": component.seconds}


def overview(catalogue: Catalogue, now: datetime, *, stale: bool, refreshing: bool) -> Answer:
    """What stands at the top of the page."""
    settings, as_of = catalogue.settings, catalogue.as_of
    return {
        "now": iso(now),
        "catalogue": {
            "as_of": iso(as_of),
            "age_seconds": None if as_of is None else (now - as_of).total_seconds(),
            "stale": stale,
            "refreshing": refreshing,
            "complete": catalogue.is_complete,
        },
        "repositories": [_repository(catalogue, item.name) for item in settings.repositories],
        "promises": _promises(catalogue, now),
        "last": {cadence: iso(moment) for cadence, moment in catalogue.last.items()},
        "next": {name: iso(moment) for name, moment in _next(settings, now).items()},
        "totals": {"sets": len(catalogue.good), "stored_bytes": catalogue.stored_bytes},
    }


def _repository(catalogue: Catalogue, name: str) -> Answer:
    chosen, state = catalogue.settings.repository(name), catalogue.repositories.get(name)
    return {
        "name": name,
        "role": chosen.role,
        "medium": chosen.kept_on,
        "offsite": chosen.is_offsite,
        "up": state.is_up if state else None,
        "error": state.error if state else None,
        "as_of": iso(state.as_of) if state else None,
    }


def _promises(catalogue: Catalogue, now: datetime) -> list[Answer]:
    if catalogue.facts is None:  # nobody has looked yet
        nothing = dict.fromkeys(("ok", "value", "limit", "at", "set", "reason"))
        return [{"name": name, "unit": unit} | nothing for name, unit in PROMISES.items()]
    return [promise.model_dump(mode="json") for promise in promises(catalogue.facts, catalogue.settings, now)]


def _next(settings: Settings, now: datetime) -> dict[str, datetime | None]:
    return {name.removesuffix("_backup"): after(settings, cron, now) for name, cron in schedules(settings).items()}


def timeline(catalogue: Catalogue, since: datetime | None, until: datetime | None) -> Answer:
    """Restore points, what the logs between them lead to, and what nothing leads to."""

    def within(start: datetime, end: datetime) -> bool:
        return (since is None or end >= since) and (until is None or start <= until)

    reach = catalogue.reach or Reachable()
    return {
        "sets": [
            {"name": row.name, "kind": row.kind, "at": iso(line.started_at)}
            for row, line in catalogue.good
            if within(line.started_at, line.started_at)
        ],
        "windows": [
            {"from": iso(start), "to": iso(end), "server": reach.server}
            for start, end in joined(reach.windows)
            if within(start, end)
        ],
        "gaps": [
            {"from": iso(gap.start), "to": iso(gap.end), "reason": gap.reason}
            for gap in reach.gaps
            if within(gap.start, gap.end) and not _comes_yet(catalogue, gap)
        ],
        "as_of": iso(reach.as_of),
    }


def _comes_yet(catalogue: Catalogue, gap: Unreachable) -> bool:
    """Whether it ends at the newest backup, and the log between is not late: it is archived within minutes."""
    reach = catalogue.reach
    if reach is None or reach.as_of is None:
        return False
    newest = max((window.start for window in reach.windows), default=gap.end)
    return gap.end >= newest and reach.as_of - gap.start <= timedelta(hours=catalogue.settings.objectives.rpo_hours)


def history(catalogue: Catalogue, since: datetime) -> Answer:
    """Numbers of the sets since a time, oldest first."""
    found = [(row, line) for row, line in catalogue.good if line.finished_at >= since]
    measured = [(line.measured_at, line.rpo_seconds) for _, line in found if line.measured_at is not None]
    return {
        "points": [_point(row, line) for row, line in thinned(found, POINTS)],
        "rpo": [{"at": iso(moment), "seconds": seconds} for moment, seconds in thinned(measured, POINTS)],
    }


def _point(row: Row, line: Line) -> Answer:
    return {
        "at": iso(line.finished_at),
        "set": row.name,
        "cadence": row.cadence,
        "stored_bytes": line.stored_bytes,
        "raw_bytes": line.raw_bytes,
        "duration_seconds": line.seconds,
        "throughput_bytes_per_second": line.raw_bytes / line.seconds if line.seconds > 0 else None,
    }
