import support.airflow_home  # noqa: F401, I001 (before Airflow is imported)

from collections.abc import Iterator
from dataclasses import dataclass, field
from datetime import datetime, timezone
from pathlib import Path
from typing import Any

import pytest

from spoqplus_backup.sites import sites

RECIPIENT = "age1ymxyng7j0w4d88k3ql9rxtjvdf6c9yk7ahlkhftpxheasrr0j4eshggk8g"  # nobody has the private half
SITE = f"language: en\nencryption: {{recipients: [{RECIPIENT}]}}\nsigning: {{public_key_files: [signing.pub]}}\n"


@dataclass
class Run:
    """The run and the task instance that an operator sees, without an Airflow around: it keeps what is pushed."""

    states: dict[str, str] = field(default_factory=dict)
    others: dict[str, dict[str, str | None]] = field(default_factory=dict)
    xcoms: dict[tuple[str, str], Any] = field(default_factory=dict)
    dag_id: str = "spoqplus_daily_backup"
    run_id: str = "manual__2026-01-02T03:00:00+00:00"
    task_id: str = "the_task"
    max_tries: int = 2
    try_number: int = 1
    start_date: datetime = datetime(2026, 1, 2, 3, 0, tzinfo=timezone.utc)
    run_after: datetime = datetime(2026, 1, 2, 3, 0, tzinfo=timezone.utc)

    @property
    def context(self) -> Any:
        return {"ti": self, "dag_run": self}

    def xcom_push(self, key: str, value: Any) -> None:
        self.xcoms[self.task_id, key] = value

    def xcom_pull(self, task_ids: str, key: str = "return_value") -> Any:
        return self.xcoms.get((task_ids, key))

    def get_task_states(self, dag_id: str, run_ids: list[str]) -> dict[str, Any]:
        assert dag_id == self.dag_id
        known = self.others | {self.run_id: self.states}
        return {run_id: known[run_id] for run_id in run_ids if run_id in known}


@pytest.fixture
def run() -> Run:
    return Run()


@pytest.fixture(autouse=True)
def site_file(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Path]:
    path = tmp_path / "site.yaml"
    path.write_text(SITE)
    monkeypatch.setenv("SPOQPLUS_BACKUP_CONFIG", str(path))
    sites.cache_clear()
    yield path
    sites.cache_clear()
