"""Global transaction ids: MySQL's sets (`uuid:1-5`) and MariaDB's states (`domain-server-sequence`).

Both are kept as text in manifests and sidecars, in one normal form, so that two of them are equal as text when they
name the same transactions.
"""

import re
from collections.abc import Iterable, Mapping
from dataclasses import dataclass

from spoqplus_backup.core.errors import PermanentError
from spoqplus_backup.core.manifest import Flavour

_UUID = r"[0-9a-f]{8}-[0-9a-f]{4}-[0-9a-f]{4}-[0-9a-f]{4}-[0-9a-f]{12}"
_MYSQL_ONE = re.compile(rf"({_UUID}):(?:([a-z_][a-z0-9_]{{0,31}}):)?(\d+)", re.IGNORECASE)
_MARIADB_ONE = re.compile(r"(\d+)-(\d+)-(\d+)")
_INTERVAL = re.compile(r"(\d+)(?:-(\d+))?")
_TAG = re.compile(r"[a-z_][a-z0-9_]{0,31}")

Source = tuple[str, str]  # a server's UUID and a tag, which is empty for most
Interval = tuple[int, int]  # both ends belong to it


@dataclass(frozen=True)
class MySqlGtid:
    """One transaction of MySQL."""

    source: Source
    number: int

    def __str__(self) -> str:
        return ":".join((*filter(None, self.source), str(self.number)))


@dataclass(frozen=True)
class MariaDbGtid:
    """One transaction of MariaDB."""

    domain: int
    server: int
    sequence: int

    def __str__(self) -> str:
        return f"{self.domain}-{self.server}-{self.sequence}"


Gtid = MySqlGtid | MariaDbGtid


def parse_gtid(text: str, flavour: Flavour) -> Gtid:
    """Read one GTID as a person writes it.

    Raises:
        PermanentError: it is none of this vendor's.
    """
    text = text.strip()
    if flavour == "mariadb" and (match := _MARIADB_ONE.fullmatch(text)):
        return MariaDbGtid(*map(int, match.groups()))
    if flavour == "mysql" and (match := _MYSQL_ONE.fullmatch(text)):
        return MySqlGtid((match[1].lower(), (match[2] or "").lower()), int(match[3]))
    example = "0-1-4711 (domain-server-sequence)" if flavour == "mariadb" else "3e11fa47-71ca-11e1-9e33-c80aa9429562:23"
    raise PermanentError(f"{text!r} is no GTID of {flavour}: write it like {example}.")


class GtidSet:
    """A set of MySQL's GTIDs. It changes by `add` and `update` only."""

    def __init__(self, intervals: Mapping[Source, Iterable[Interval]] | None = None) -> None:
        """`intervals`: for each source the numbers it has, in any order."""
        self._intervals: dict[Source, list[Interval]] = {}
        for source, found in (intervals or {}).items():
            for first, last in found:
                self._include(source, first, last)

    @classmethod
    def parse(cls, text: str) -> "GtidSet":
        """Read a set as MySQL writes it; empty text is the empty set.

        Raises:
            PermanentError: it can't be read.
        """
        made = cls()
        for entry in filter(None, (entry.strip() for entry in text.split(","))):
            uuid, *steps = (step.strip().lower() for step in entry.split(":"))
            tag = ""
            if not re.fullmatch(_UUID, uuid) or not steps:
                raise PermanentError(f"{entry!r} is no GTID set of MySQL.")
            for step in steps:
                if match := _INTERVAL.fullmatch(step):
                    made._include((uuid, tag), int(match[1]), int(match[2] or match[1]))
                elif _TAG.fullmatch(step):
                    tag = step
                else:
                    raise PermanentError(f"{entry!r} is no GTID set of MySQL: {step!r} is no interval.")
        return made

    def add(self, gtid: MySqlGtid) -> None:
        """Take one more transaction in."""
        found = self._intervals.setdefault(gtid.source, [])
        if found and found[-1][1] + 1 == gtid.number:  # nearly always
            found[-1] = (found[-1][0], gtid.number)
        else:
            self._include(gtid.source, gtid.number, gtid.number)

    def update(self, other: "GtidSet") -> None:
        """Take all of another set in."""
        for source, found in other._intervals.items():
            for first, last in found:
                self._include(source, first, last)

    def subtract(self, other: "GtidSet") -> "GtidSet":
        """What is in this set and not in the other."""
        left = GtidSet()
        for source, found in self._intervals.items():
            for first, last in found:
                for start, end in _without(first, last, other._intervals.get(source, ())):
                    left._include(source, start, end)
        return left

    def __contains__(self, gtid: MySqlGtid) -> bool:
        return any(first <= gtid.number <= last for first, last in self._intervals.get(gtid.source, ()))

    def __le__(self, other: "GtidSet") -> bool:
        return not self.subtract(other)

    def __bool__(self) -> bool:
        return any(self._intervals.values())

    def __eq__(self, other: object) -> bool:
        return isinstance(other, GtidSet) and str(self) == str(other)

    def __hash__(self) -> int:
        return hash(str(self))

    def __str__(self) -> str:
        """In MySQL's own form: by UUID, each tag behind its untagged intervals."""
        by_uuid: dict[str, list[str]] = {}
        for (uuid, tag), found in sorted(self._intervals.items()):
            if found:
                texts = [str(first) if first == last else f"{first}-{last}" for first, last in found]
                by_uuid.setdefault(uuid, []).extend(([tag] if tag else []) + texts)
        return ",".join(":".join((uuid, *texts)) for uuid, texts in by_uuid.items())

    def _include(self, source: Source, first: int, last: int) -> None:
        kept, (low, high) = [], (first, last)
        for start, end in self._intervals.get(source, ()):
            if end + 1 < low or high + 1 < start:
                kept.append((start, end))
            else:
                low, high = min(low, start), max(high, end)
        self._intervals[source] = sorted([*kept, (low, high)])


def _without(first: int, last: int, others: Iterable[Interval]) -> list[Interval]:
    left = []
    for start, end in others:  # sorted
        if end < first or start > last:
            continue
        if start > first:
            left.append((first, start - 1))
        first = end + 1
    if first <= last:
        left.append((first, last))
    return left


class GtidState:
    """MariaDB's binary log state: for each domain and server the last sequence number in the logs."""

    def __init__(self, entries: Iterable[MariaDbGtid] = ()) -> None:
        self._last: dict[tuple[int, int], int] = {}
        self._newest: dict[int, MariaDbGtid] = {}  # for each domain the last one that was written
        for gtid in entries:
            self.add(gtid)

    @classmethod
    def parse(cls, text: str) -> "GtidState":
        """Read `0-1-5,1-2-7`; empty text is a server without transactions.

        Raises:
            PermanentError: it can't be read.
        """
        entries = []
        for entry in filter(None, (entry.strip() for entry in text.split(","))):
            match = _MARIADB_ONE.fullmatch(entry)
            if match is None:
                raise PermanentError(f"{entry!r} is no GTID of MariaDB.")
            entries.append(MariaDbGtid(*map(int, match.groups())))
        return cls(entries)

    def add(self, gtid: MariaDbGtid) -> None:
        """One more transaction was written."""
        self._last[gtid.domain, gtid.server] = gtid.sequence
        self._newest[gtid.domain] = gtid

    def position(self) -> str:
        """As a replica's position: the newest of each domain."""
        return ",".join(str(gtid) for _, gtid in sorted(self._newest.items()))

    def newest(self, domain: int) -> MariaDbGtid | None:
        """The newest of a domain; None when it has none."""
        return self._newest.get(domain)

    def last(self, domain: int, server: int) -> int:
        """The last sequence number that a server wrote in a domain; 0 when it wrote none."""
        return self._last.get((domain, server), 0)

    def entries(self) -> list[MariaDbGtid]:
        """For each domain and server the last transaction."""
        return [MariaDbGtid(domain, server, last) for (domain, server), last in sorted(self._last.items())]

    def continues(self, begun: "GtidState", ended: "GtidState") -> bool:
        """Whether a log that begins in this state goes on from one that began and ended in these.

        Domains may have been deleted in between (FLUSH BINARY LOGS DELETE_DOMAIN_ID). A server does so only to those of
        which its logs hold nothing, and never to all.
        """
        if self._last == ended._last:
            return True
        gone = ended._last.keys() - self._last.keys()
        domains = {domain for domain, _ in gone}
        return (
            bool(self._last)
            and all(ended._last.get(key) == last for key, last in self._last.items())
            and all(begun._last.get(key) == ended._last[key] for key in gone)
            and not any(domain in domains for domain, _ in self._last)
        )

    def __str__(self) -> str:
        """All entries, by domain and server: a normal form, which says nothing about which of a domain was last."""
        return ",".join(f"{domain}-{server}-{last}" for (domain, server), last in sorted(self._last.items()))


def goes_on(flavour: Flavour, earlier: tuple[str, str], before: str) -> bool:
    """Whether a log follows another one by its GTIDs.

    Args:
        flavour: whose logs they are.
        earlier: the GTIDs before the other log, and those with its own.
        before: the GTIDs before this log.
    """
    if flavour == "mysql":
        return GtidSet.parse(earlier[1]) == GtidSet.parse(before)
    begun, ended, now = (GtidState.parse(text) for text in (*earlier, before))
    return now.continues(begun, ended)


def unlogged(purged: str, after: str) -> str:
    """What a MySQL server has executed but never had in a log: in `gtid_purged`, and not in the logs up to `after`.

    Logs that were purged hold nothing that the last one does not count as executed before it.
    """
    return str(GtidSet.parse(purged).subtract(GtidSet.parse(after)))
