"""What was seen of a site's repositories, kept in memory and in the `DetailsCache`, and made into a catalogue."""

import contextlib
from dataclasses import dataclass, field
from datetime import datetime

from pydantic import TypeAdapter, ValidationError

from spoqplus_backup.core.manifest import Model
from spoqplus_backup.core.monitor.catalogue import (
    Answered,
    Catalogue,
    Line,
    Reachable,
    line_of,
    rows_of,
)
from spoqplus_backup.core.monitor.model import SiteFacts, TestFacts
from spoqplus_backup.core.repository.details_cache import DetailsCache, Known
from spoqplus_backup.core.repository.holds import Hold
from spoqplus_backup.core.settings import Settings

FACTS, HOLDS = "catalogue", "holds"
_HOLDS: TypeAdapter[dict[str, Hold | None]] = TypeAdapter(dict[str, Hold | None])


class Facts(Model):
    """What the cache keeps of a catalogue besides manifests and listings; `problems` are (repository, set, why)."""

    as_of: datetime
    repositories: dict[str, Answered]
    problems: tuple[tuple[str, str, str], ...] = ()
    tests: tuple[TestFacts, ...] = ()
    reach: Reachable | None = None
    facts: SiteFacts | None = None


def facts_in(cache: DetailsCache) -> Facts | None:
    """What the cache keeps; None when it has nothing, or nothing that can be read."""
    content = cache.fact(FACTS)
    with contextlib.suppress(ValidationError):
        return Facts.model_validate_json(content) if content else None
    return None


def holds_in(cache: DetailsCache) -> dict[str, Hold | None]:
    """The holds that the cache keeps: apart, for they change when a person wants it, and are to be seen at once."""
    content = cache.fact(HOLDS)
    with contextlib.suppress(ValidationError):
        return _HOLDS.validate_json(content) if content else {}
    return {}


def keep_holds(cache: DetailsCache, holds: dict[str, Hold | None]) -> None:
    """Put them there."""
    cache.keep_fact(HOLDS, _HOLDS.dump_json(holds).decode())


@dataclass
class Seen:
    """What was seen, by repository and by set."""

    settings: Settings
    states: dict[str, Answered] = field(default_factory=dict)
    listings: dict[str, dict[str, Known]] = field(default_factory=dict)
    lines: dict[str, Line] = field(default_factory=dict)
    problems: dict[tuple[str, str], str] = field(default_factory=dict)
    holds: dict[str, Hold | None] = field(default_factory=dict)
    tests: tuple[TestFacts, ...] = ()
    reach: Reachable | None = None
    facts: SiteFacts | None = None
    as_of: datetime | None = None

    @classmethod
    def remembered(cls, settings: Settings, cache: DetailsCache) -> "Seen":
        """What the cache has; nothing when it has nothing."""
        facts = facts_in(cache)
        if facts is None:
            return cls(settings)
        copies = cache.copies()
        names = [item.name for item in settings.repositories if item.name in facts.repositories]
        return cls(
            settings,
            states={name: facts.repositories[name] for name in names},
            listings={name: copies.get(facts.repositories[name].url, {}) for name in names},
            lines={found.sha256: line_of(found) for found in cache.details()},
            problems={(repository, name): words for repository, name, words in facts.problems},
            holds=holds_in(cache),
            tests=facts.tests,
            reach=facts.reach,
            facts=facts.facts,
            as_of=facts.as_of,
        )

    def keep(self, cache: DetailsCache) -> None:
        """Put into the cache what is not there yet: all but manifests and listings."""
        if self.as_of is not None:
            facts = Facts(
                as_of=self.as_of,
                repositories=self.states,
                problems=tuple((*place, words) for place, words in self.problems.items()),
                tests=self.tests,
                reach=self.reach,
                facts=self.facts,
            )
            cache.keep_fact(FACTS, facts.model_dump_json())
            keep_holds(cache, self.holds)

    def forget(self) -> None:
        """Let go of what no listing has any more."""
        digests = {known.sha256 for listing in self.listings.values() for known in listing.values()}
        self.lines = {digest: line for digest, line in self.lines.items() if digest in digests}
        self.problems = {
            (repository, name): words
            for (repository, name), words in self.problems.items()
            if name in self.listings.get(repository, {})
        }

    def unread(self, repository: str) -> list[str]:
        """The sets of a repository whose manifests were not read yet, or could not be believed; newest first."""
        listing = self.listings.get(repository, {})
        found = [name for name, known in listing.items() if known.sha256 is None or known.sha256 not in self.lines]
        return sorted(found, key=lambda name: name.partition("/")[2], reverse=True)

    def catalogue(self) -> Catalogue:
        """As one picture that stays as it is."""
        names = [item.name for item in self.settings.repositories]
        listings = {name: self.listings[name] for name in names if name in self.listings}
        unread = any((name, item) not in self.problems for name in listings for item in self.unread(name))
        urls = {name: state.url for name, state in list(self.states.items())}
        return Catalogue(
            settings=self.settings,
            rows=rows_of(listings, self.lines, self.problems, urls),
            repositories=dict(self.states),
            holds=dict(self.holds),
            tests=self.tests,
            reach=self.reach,
            facts=self.facts,
            as_of=self.as_of,
            is_complete=bool(listings) and not unread,
        )
