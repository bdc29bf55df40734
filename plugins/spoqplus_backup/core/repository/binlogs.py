"""Which binary logs a repository holds: found by listing, believed only with their signature and under their own name.

binlog/<server id>/<timeline>/<name>.json  .json.sig        the sidecar, written last
                              <name>.zst.age                the log
                              <name>.tables.json.zst.age    which tables it is about
"""

import hashlib
import re
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

from spoqplus_backup.core.crypto import verify_signature
from spoqplus_backup.core.errors import IntegrityError
from spoqplus_backup.core.manifest import BinlogSegment, binlog_folder
from spoqplus_backup.core.repository.base import Repository

ROOT = "binlog"
SIDECAR = ".json"
SIGNATURE = ".json.sig"

_NUMBER = re.compile(r"(.+)\.(\d+)")


@dataclass(frozen=True)
class Timeline:
    """A run of logs without a gap, of one server."""

    server_id: int
    name: str

    @property
    def folder(self) -> str:
        """Where its logs lie."""
        return binlog_folder(self.server_id, self.name)


def log_number(name: str) -> int:
    """The number in a log's name: `binlog.000012` is 12.

    Raises:
        IntegrityError: it has none.
    """
    match = _NUMBER.fullmatch(name)
    if match is None:
        raise IntegrityError(f"{name} is no name of a binary log: it ends in no number.")
    return int(match[2])


def base_name(name: str) -> str:
    """A log's name without its number."""
    return name.rpartition(".")[0]


class BinlogCatalog:
    """The archived logs of one repository.

    Args:
        repository: where they lie.
        public_key_files: whose signatures count.
        site: whose logs count.
    """

    def __init__(self, repository: Repository, public_key_files: Sequence[Path], site: str) -> None:
        self.repository = repository
        self.public_key_files = public_key_files
        self.site = site

    def timelines(self, server_id: int | None = None) -> list[Timeline]:
        """The timelines, of one server or of all, each server's oldest first."""
        servers = [int(name) for name in self.repository.list_folders(f"{ROOT}/") if name.isdigit()]
        return [
            Timeline(server, name)
            for server in sorted(servers)
            if server_id is None or server == server_id
            for name in self.repository.list_folders(f"{ROOT}/{server}/")
        ]

    def names(self, timeline: Timeline) -> list[str]:
        """The names of the logs that a timeline has, in their order: those with a sidecar."""
        folder = f"{timeline.folder}/"
        keys = (key.removeprefix(folder) for key in self.repository.list(folder))
        found = [key.removesuffix(SIDECAR) for key in keys if key.endswith(SIDECAR)]
        return sorted(found, key=log_number)

    def load(self, timeline: Timeline, name: str) -> BinlogSegment:
        """One sidecar, checked.

        Raises:
            IntegrityError: it is missing, damaged, not signed by a known key, or lies under another log's name.
        """
        return self.load_with_digest(timeline, name)[0]

    def load_with_digest(self, timeline: Timeline, name: str) -> tuple[BinlogSegment, str]:
        """One sidecar, checked, and its SHA-256; see `load`."""
        key = f"{timeline.folder}/{name}"
        where = f"{self.repository.url}/{key}{SIDECAR}"
        content = self.repository.read(key + SIDECAR)
        verify_signature(content, self.repository.read(key + SIGNATURE), self.public_key_files, where)
        segment = BinlogSegment.from_json(content, where)
        if segment.key != key:
            raise IntegrityError(f"{where} is the sidecar of {segment.key}: somebody moved it; use another repository.")
        if segment.site != self.site:
            raise IntegrityError(f"{where} is of the site {segment.site}, not of {self.site}.")
        return segment, hashlib.sha256(content).hexdigest()
