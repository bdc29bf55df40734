"""What a check works with."""

from dataclasses import dataclass
from pathlib import Path

from spoqplus_backup.core.connections import Connections, DatabaseLogin
from spoqplus_backup.core.mysql.fingerprint import Fingerprint
from spoqplus_backup.core.notice import Notice
from spoqplus_backup.core.recovery.plan import RestorePlan
from spoqplus_backup.core.settings import Settings


class CheckFailed(Exception):  # noqa: N818 (it is a verdict, not an error)
    """A check found that something is not as it should be."""

    def __init__(self, *evidence: Notice) -> None:
        super().__init__("; ".join(item.words for item in evidence))
        self.evidence = evidence


@dataclass(frozen=True)
class Scene:
    """The restored server and files of one recovery test.

    Attributes:
        login: the sandbox server, which runs.
        directory: the test's own folder; `fingerprint_directory` lies in it.
        files_root: below it the restored files have their absolute names (`<root>/var/www/...`); None: no files.
        plan: the restore that made all this.
        measured: results of the queries that production answered in the fingerprint's snapshot, by the check's name.
    """

    settings: Settings
    connections: Connections
    login: DatabaseLogin
    directory: Path
    fingerprint: Fingerprint
    fingerprint_directory: Path
    files_root: Path | None
    plan: RestorePlan
    measured: dict[str, object]
