"""What a recovery test found: its checks, its measures, its verdict. The report's JSON is a `Proof`."""

from datetime import datetime
from typing import Literal

from spoqplus_backup.core.manifest import Model, Sha256
from spoqplus_backup.core.mysql.fingerprint import Place
from spoqplus_backup.core.notice import Notice

FORMAT = 1
FOLDER = "recovery_tests"  # in a repository: <FOLDER>/<id>/report.json, report.json.sig, report.html
MOST_EVIDENCE = 20  # sentences of a check

Verdict = Literal["passed", "failed", "not_run"]


class CheckResult(Model):
    """One check. `title` is by language (`ko`, `en`); `evidence` are sentences with the numbers."""

    name: str
    title: dict[str, str]
    verdict: Verdict
    evidence: tuple[Notice, ...]
    seconds: float
    finished_at: datetime


class ProofStage(Model):
    """A stage of the restore that was measured; `bytes` are what it worked through, 0 where that says nothing."""

    name: str
    seconds: float
    bytes: int = 0


class Proof(Model):
    """A recovery test. Sizes in bytes, durations in seconds, times UTC.

    `failure` is the first line of what failed outside of the checks; `rto_seconds` runs from the start of the sandbox
    to the end of the last file; `rpo_seconds` is what would have been lost had the server died when the test began;
    `ten_times_seconds` is the same restore with ten times the data, by the measured rates. `page_sha256` is that of the
    report's HTML, which lies beside.
    """

    format: int = FORMAT
    site: str
    id: str
    run_id: str
    started_at: datetime
    finished_at: datetime
    verdict: Literal["passed", "failed"]
    failure: str | None = None
    backup: str | None = None
    repository: str | None = None
    backup_finished_at: datetime | None = None
    server: str | None = None
    place: Place | None = None
    sandbox: str = "private"
    tables: int = 0
    rows: int = 0
    files: int = 0
    bytes: int = 0
    stages: tuple[ProofStage, ...] = ()
    rto_seconds: float | None = None
    rto_limit_seconds: float
    rpo_seconds: float | None = None
    rpo_limit_seconds: float
    ten_times_seconds: float | None = None
    checks: tuple[CheckResult, ...] = ()
    page_sha256: Sha256 | None = None

    @property
    def in_time(self) -> bool:
        """Whether the restore was as quick as promised."""
        return self.rto_seconds is not None and self.rto_seconds <= self.rto_limit_seconds

    @property
    def little_lost(self) -> bool:
        """Whether no more than promised would have been lost."""
        return self.rpo_seconds is not None and self.rpo_seconds <= self.rpo_limit_seconds
