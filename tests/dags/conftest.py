import support.airflow_home  # noqa: F401, I001 (before Airflow is imported)

from collections.abc import Callable, Iterator
from pathlib import Path

import pytest
from airflow.dag_processing.dagbag import DagBag

from spoqplus_backup.sites import sites
from support.airflow_home import PROJECT

# The public half of a key pair that was thrown away.
RECIPIENT = "age1ymxyng7j0w4d88k3ql9rxtjvdf6c9yk7ahlkhftpxheasrr0j4eshggk8g"
SITE = f"encryption: {{recipients: [{RECIPIENT}]}}\nsigning: {{public_key_files: [signing.pub]}}\n"

ReadDags = Callable[..., DagBag]


@pytest.fixture
def read_dags(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[ReadDags]:
    """Writes a configuration file for each argument (its text, after what every site needs) and imports all DAGs."""

    def read(*texts: str) -> DagBag:
        for number, text in enumerate(texts):
            (tmp_path / f"site{number}.yaml").write_text(SITE + text)
        monkeypatch.setenv("SPOQPLUS_BACKUP_CONFIG", str(tmp_path))
        sites.cache_clear()
        return DagBag(PROJECT / "dags", load_op_links=False)

    yield read
    sites.cache_clear()
