"""All sets of a site as they were last seen: small enough to be held in memory, whole enough to answer from.

Only what a signed manifest says counts. A set whose manifest can't be believed is there, with its problem, and no
number is taken from it.
"""

import sys
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from datetime import datetime
from functools import cached_property
from typing import TypeVar

from spoqplus_backup.core.manifest import Model
from spoqplus_backup.core.monitor.model import SiteFacts, TestFacts
from spoqplus_backup.core.recovery.windows import Unreachable, Window
from spoqplus_backup.core.repository.catalog import INCREMENTAL, SAFETY
from spoqplus_backup.core.repository.details import another_set
from spoqplus_backup.core.repository.details_cache import Known
from spoqplus_backup.core.repository.holds import Hold
from spoqplus_backup.core.repository.set_details import SetDetails
from spoqplus_backup.core.repository.survey import Copy, SetCopies
from spoqplus_backup.core.run import DATABASE
from spoqplus_backup.core.settings import Settings

Item = TypeVar("Item")


@dataclass(frozen=True, slots=True)
class Line:
    """What a manifest says, as small as possible: there are thousands. Sizes in bytes, durations in seconds."""

    sha256: str
    run_id: str
    started_at: datetime
    finished_at: datetime
    stored_bytes: int
    raw_bytes: int
    contents: tuple[str, ...]
    stages: tuple[tuple[str, float], ...]
    logs: int
    depends_on: tuple[str, ...]
    measured_at: datetime | None
    rpo_seconds: float | None

    @property
    def seconds(self) -> float:
        """How long the backup took."""
        return (self.finished_at - self.started_at).total_seconds()


def line_of(details: SetDetails) -> Line:
    """The same in less memory: names that come again are kept once."""
    return Line(
        sha256=details.sha256,
        run_id=details.run_id,
        started_at=details.started_at,
        finished_at=details.finished_at,
        stored_bytes=details.stored_bytes,
        raw_bytes=details.raw_bytes,
        contents=tuple(sys.intern(name) for name in details.contents),
        stages=tuple((sys.intern(stage), seconds) for stage, seconds in details.stages.items()),
        logs=details.logs,
        depends_on=details.depends_on,
        measured_at=details.measured_at,
        rpo_seconds=details.rpo_seconds,
    )


@dataclass(frozen=True, slots=True)
class Row:
    """A set. `line` is None when its manifest was not read yet, or can't be believed (`problem`).

    `repositories` are those whose copy is this very set; `change` is how its stored bytes differ from those of the set
    of its cadence before it, as a share.
    """

    cadence: str
    id: str
    line: Line | None
    repositories: tuple[str, ...]
    problem: str | None = None
    change: float | None = None

    @property
    def name(self) -> str:
        """`<cadence>/<id>`."""
        return f"{self.cadence}/{self.id}"

    @property
    def kind(self) -> str:
        """What it is to a restore: `full`, `incremental` or `safety`."""
        return self.cadence if self.cadence in (INCREMENTAL, SAFETY) else "full"

    @property
    def is_full(self) -> bool:
        """Whether a restore can begin with it: a good set with a whole database."""
        return self.kind == "full" and self.line is not None and DATABASE in self.line.contents


class Answered(Model):
    """How a repository answered. `as_of` is when it was last listed whole, `place` what is lost with it as one.

    `region` is AWS's, None elsewhere; `is_up` is None until it was looked at.
    """

    url: str
    place: str = ""
    region: str | None = None
    is_up: bool | None = None
    error: str | None = None
    as_of: datetime | None = None


class Reachable(Model):
    """The points in time that a restore can reach. Each window leads from a full backup to the end of its logs."""

    as_of: datetime | None = None
    server: str | None = None
    windows: tuple[Window, ...] = ()
    gaps: tuple[Unreachable, ...] = ()


@dataclass(frozen=True)
class Catalogue:
    """A site at one moment; nothing in it changes. `rows` are the oldest set first, `tests` the newest first.

    `is_complete` is whether every manifest was read. `holds` are by set; of one that can't be believed None. By `facts`
    the promises are measured.
    """

    settings: Settings
    rows: tuple[Row, ...] = ()
    repositories: Mapping[str, Answered] = field(default_factory=dict)
    holds: Mapping[str, Hold | None] = field(default_factory=dict)
    tests: tuple[TestFacts, ...] = ()
    reach: Reachable | None = None
    facts: SiteFacts | None = None
    as_of: datetime | None = None
    is_complete: bool = False

    @cached_property
    def by_name(self) -> Mapping[str, Row]:
        """Each set by its name."""
        return {row.name: row for row in self.rows}

    @cached_property
    def proved(self) -> Mapping[str, datetime]:
        """When each set was last proved."""
        passed = [test for test in self.tests if test.verdict == "passed" and test.backup is not None]
        return {str(test.backup): test.finished_at for test in reversed(passed)}

    @cached_property
    def good(self) -> Sequence[tuple[Row, Line]]:
        """The sets whose manifests are believed, oldest first."""
        return [(row, row.line) for row in self.rows if row.line is not None]

    @cached_property
    def newest_full(self) -> Row | None:
        """What a restore of `latest` takes."""
        return next((row for row in reversed(self.rows) if row.is_full), None)

    @cached_property
    def cadences(self) -> tuple[str, ...]:
        """Those that have sets."""
        return tuple(sorted({row.cadence for row in self.rows}))

    @cached_property
    def last(self) -> Mapping[str, datetime]:
        """When the newest good set of each cadence was finished."""
        return {row.cadence: line.finished_at for row, line in self.good}

    @cached_property
    def stored_bytes(self) -> int:
        """Of one copy of each good set."""
        return sum(line.stored_bytes for _, line in self.good)

    def copies_of(self, row: Row) -> SetCopies:
        """Where a set is, for the 3-2-1 rule."""
        copies = []
        for name in row.repositories:
            chosen = self.settings.repository(name)
            state = self.repositories.get(name)
            place = state.place if state and state.place else chosen.root
            offsite, medium = chosen.is_offsite, chosen.kept_on
            copies.append(Copy(repository=name, place=place, medium=medium, offsite=offsite, bytes=0, tag=""))
        return SetCopies(cadence=row.cadence, id=row.id, copies=tuple(copies))

    def select(
        self, cadence: str | None = None, words: str = "", sort: str = "id", *, newest: bool = True
    ) -> list[Row]:
        """Sets that have all of these words in their name, their contents or why they are held, in an order.

        What has no number for the order comes last.
        """
        wanted = words.lower().split()
        found = [
            row
            for row in self.rows
            if cadence in (None, row.cadence) and (not wanted or all(word in self._words(row) for word in wanted))
        ]
        if newest:
            found.reverse()
        if sort == "cadence":
            return sorted(found, key=lambda row: row.cadence, reverse=newest)
        if sort == "id":
            return found
        lacking = [row for row in found if row.line is None]
        return sorted((row for row in found if row.line), key=lambda row: _number(row, sort), reverse=newest) + lacking

    def _words(self, row: Row) -> str:
        held = self.holds.get(row.name)
        contents = row.line.contents if row.line else ()
        return " ".join((row.name, *contents, *row.repositories, held.words if held else "")).lower()

    def made_by(self, run_id: str) -> list[Row]:
        """The good sets that a run (`<dag id>/<run id>`) made."""
        return [row for row, line in self.good if line.run_id == run_id]


def _number(row: Row, sort: str) -> float:
    if row.line is None:
        return 0
    return row.line.seconds if sort == "duration" else float(getattr(row.line, sort))


def rows_of(
    listings: Mapping[str, Mapping[str, Known]],
    lines: Mapping[str, Line],
    problems: Mapping[tuple[str, str], str],
    urls: Mapping[str, str],
) -> tuple[Row, ...]:
    """Put together what the repositories have, oldest first.

    Args:
        listings: by repository, in the configuration's order, and by the set's name.
        lines: by the manifest's checksum.
        problems: why a manifest can't be believed, by repository and set.
        urls: of the repositories, for what is said of a set that differs.
    """
    same: dict[tuple[str, ...], tuple[str, ...]] = {}
    before: dict[str, Line] = {}
    rows = []
    for name in sorted(set().union(*listings.values()), key=lambda name: name.partition("/")[::-2]):
        cadence, _, set_id = name.partition("/")
        having = [repository for repository, listing in listings.items() if name in listing]
        wrong = [problems[repository, name] for repository in having if (repository, name) in problems]
        digests = {repository: listings[repository][name].sha256 for repository in having}
        digest = next((found for found in digests.values() if found is not None), None)
        line = lines.get(digest) if digest else None
        wrong += [another_set(urls[item], name) for item, found in digests.items() if found not in (None, digest)]
        good = tuple(
            repository
            for repository, found in digests.items()
            if found == digest and (repository, name) not in problems
        )
        change = _change(before.get(cadence), line)
        problem = " ".join(wrong) or None
        rows.append(Row(sys.intern(cadence), set_id, line, same.setdefault(good, good), problem, change))
        if line is not None:
            before[cadence] = line
    return tuple(rows)


def _change(before: Line | None, line: Line | None) -> float | None:
    if before is None or line is None or not before.stored_bytes:
        return None
    return line.stored_bytes / before.stored_bytes - 1


def thinned(items: Sequence[Item], most: int) -> Sequence[Item]:
    """No more than so many, evenly; the last is always among them."""
    step = -(-len(items) // most) or 1
    return items[::-1][::step][::-1]


def joined(windows: Iterable[Window]) -> list[tuple[datetime, datetime]]:
    """Stretches of time that windows cover together, oldest first; a snapshot without logs is none."""
    found: list[tuple[datetime, datetime]] = []
    for window in sorted(windows, key=lambda window: window.start):
        if found and window.start <= found[-1][1]:
            found[-1] = (found[-1][0], max(found[-1][1], window.end))
        elif window.end > window.start:
            found.append((window.start, window.end))
    return found
