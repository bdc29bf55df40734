"""Which sets a repository holds: found by listing, so there is no index file that could be wrong or overwritten.

A set without a manifest does not exist. A manifest is believed only with its signature, and only under its own name.
"""

import hashlib
import re
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path

from spoqplus_backup.core.crypto import verify_signature
from spoqplus_backup.core.errors import AbsentError, IntegrityError, PermanentError
from spoqplus_backup.core.manifest import MANIFEST, SIGNATURE, Manifest
from spoqplus_backup.core.repository.base import PROBE_FOLDER, Marked, Repository

LATEST = "latest"
SAFETY = "safety"  # cadence of what restores replaced
INCREMENTAL = "incremental"  # cadence of binary logs, which nobody restores alone
# What lies beside the cadences' folders: nothing in there is a set, and some of it is large.
OTHER_FOLDERS = frozenset(
    {PROBE_FOLDER, "binlog", "faces", "failovers", "holds", "leases", "recovery_tests", "reports", "staging"}
)
NAMED_ONLY = frozenset({SAFETY, INCREMENTAL})  # never meant by "latest" or by a day

_ID = re.compile(r"\d{8}_\d{6}")
_DAY = re.compile(r"\d{8}")
_LISTED = 10  # sets that an error names


@dataclass(frozen=True)
class SetRef:
    """A set's place; its id is the local time of its run (`YYYYMMDD_HHMMSS`)."""

    cadence: str
    id: str

    @property
    def name(self) -> str:
        """`<cadence>/<id>`."""
        return f"{self.cadence}/{self.id}"


@dataclass(frozen=True)
class Proved:
    """A manifest that can be trusted, as it lies in a repository: what was signed, to the byte, and the signature."""

    manifest: Manifest
    content: bytes
    signature: bytes

    @property
    def sha256(self) -> str:
        """The checksum of what was signed."""
        return hashlib.sha256(self.content).hexdigest()


class Catalog:
    """The sets of one repository.

    Args:
        repository: where they lie.
        public_key_files: whose signatures count.
        site: whose sets count; any site's when None.
    """

    def __init__(self, repository: Repository, public_key_files: Sequence[Path], site: str | None = None) -> None:
        self.repository = repository
        self.public_key_files = public_key_files
        self.site = site

    def sets(self, cadence: str | None = None) -> list[SetRef]:
        """The published sets, newest first; found by listing alone, so that thousands of them take a second."""
        cadences = self.cadences() if cadence is None else (cadence,)
        found = [SetRef(name, marked.folder) for name in cadences for marked in self.marked(name)]
        return sorted(found, key=lambda ref: (ref.id, ref.cadence), reverse=True)

    def cadences(self) -> tuple[str, ...]:
        """The folders that may hold sets."""
        return tuple(name for name in self.repository.list_folders() if name not in OTHER_FOLDERS)

    def marked(self, cadence: str) -> Iterator[Marked]:
        """The published sets of a cadence, oldest first: their ids, and size and tag of their manifests."""
        return (found for found in self.repository.list_marked(f"{cadence}/", MANIFEST) if _ID.fullmatch(found.folder))

    def latest(self, cadence: str | None = None) -> SetRef | None:
        """The newest set; without a cadence, of all but `safety` and `incremental`."""
        return next(self._published(self._ordinary(cadence)), None)

    def newest_before(self, cadence: str, set_id: str) -> SetRef | None:
        """The newest set of a cadence that is older than an id."""
        return next(self._published(ref for ref in self._folders(cadence) if ref.id < set_id), None)

    def load(self, ref: SetRef) -> Manifest:
        """The manifest of a set, checked.

        Raises:
            IntegrityError: it is missing, damaged, not signed by a known key, or lies under another set's name.
        """
        return self.prove(ref).manifest

    def prove(self, ref: SetRef) -> Proved:
        """The manifest of a set, checked, with the bytes that were signed and the signature; see `load`."""
        where = f"{self.repository.url}/{ref.name}/{MANIFEST}"
        content = self.repository.read(f"{ref.name}/{MANIFEST}")
        signature = self.repository.read(f"{ref.name}/{SIGNATURE}")
        verify_signature(content, signature, self.public_key_files, where)
        manifest = Manifest.from_json(content, where)
        if manifest.name != ref.name:
            raise IntegrityError(f"{where} is the manifest of {manifest.name}: somebody moved it; restore another set.")
        if self.site is not None and manifest.site != self.site:
            raise IntegrityError(
                f"{where} is of the site {manifest.site}, not of {self.site}: choose its own repository."
            )
        return Proved(manifest, content, signature)

    def resolve(self, backup: str, components: Sequence[str] = ()) -> Manifest:
        """The manifest of the set that a person means.

        Args:
            backup: `latest`, a day (`YYYYMMDD`: its newest set), an id, or `cadence/id`.
            components: what it has to hold; of several sets the newest that does is taken.

        Raises:
            AbsentError: there is none; the message lists what there is.
            PermanentError: it names no backup, or none that there is has all of the components.
            IntegrityError: the manifest can't be trusted.
        """
        lacking = []
        for ref in self._published(self._meant(backup)):
            manifest = self.load(ref)
            missing = set(components) - {component.name for component in manifest.components}
            if not missing:
                return manifest
            lacking.append(f"{ref.name} has no {', '.join(sorted(missing))}")
        if lacking:
            raise PermanentError(f"{lacking[0]}: choose another backup, or only components that it has.")
        there = ", ".join(ref.name for ref in self.sets()[:_LISTED]) or "none"
        raise AbsentError(f"There is no backup {backup} in {self.repository.url}; the newest there: {there}.")

    def manifest_sha256(self, ref: SetRef) -> str:
        """The checksum of a manifest as it is stored: the link that the next manifest holds on to."""
        return hashlib.sha256(self.repository.read(f"{ref.name}/{MANIFEST}")).hexdigest()

    def check_previous(self, manifest: Manifest) -> str | None:
        """Follow the link to the set before; returns a remark when that one is gone, as after its retention.

        Raises:
            IntegrityError: it is there but is not the one that this manifest was written after.
        """
        if manifest.previous is None:
            return None
        before = SetRef(manifest.cadence, manifest.previous.id)
        if self.repository.stat(f"{before.name}/{MANIFEST}") is None:
            return f"{before.name}, the set before {manifest.name}, is no longer there"
        if self.manifest_sha256(before) != manifest.previous.sha256:
            raise IntegrityError(f"{self.repository.url}/{before.name} was replaced after {manifest.name} was written.")
        return None

    def _meant(self, backup: str) -> Iterator[SetRef]:
        cadence, _, set_id = backup.rpartition("/")
        if backup == LATEST:
            yield from self._ordinary(None)
        elif _DAY.fullmatch(set_id):
            yield from (ref for ref in self._ordinary(cadence or None) if ref.id.startswith(set_id))
        elif _ID.fullmatch(set_id):
            yield from (ref for ref in self._folders(cadence or None) if ref.id == set_id)
        else:
            raise PermanentError(
                f"{backup!r} names no backup: write latest, a day (YYYYMMDD), or a set such as daily/20250101_030000."
            )

    def _ordinary(self, cadence: str | None) -> Iterator[SetRef]:
        return (ref for ref in self._folders(cadence) if cadence is not None or ref.cadence not in NAMED_ONLY)

    def _folders(self, cadence: str | None) -> list[SetRef]:
        cadences = self.cadences() if cadence is None else (cadence,)
        found = [SetRef(name, set_id) for name in cadences for set_id in self.repository.list_folders(f"{name}/")]
        return sorted(
            (ref for ref in found if _ID.fullmatch(ref.id)), key=lambda ref: (ref.id, ref.cadence), reverse=True
        )

    def _published(self, refs: Iterator[SetRef] | Sequence[SetRef]) -> Iterator[SetRef]:
        return (ref for ref in refs if self.repository.stat(f"{ref.name}/{MANIFEST}") is not None)
