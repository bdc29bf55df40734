"""scripts/dag_docs.py: the page says what the DAG files say, and --check notices when it does not."""

import subprocess
import sys
from pathlib import Path

import pytest

SCRIPT = Path(__file__).resolve().parents[2] / "scripts" / "dag_docs.py"
SAMPLE = '''\
"""
##### Sample
Saves the sample.

###### When it fails
Retry it.

```
# a comment, not a heading
```
"""
from airflow.providers.standard.operators.bash import BashOperator
from airflow.sdk import DAG, Asset, CronTriggerTimetable, Param, task, task_group

with DAG(
    "sample_backup",
    schedule=CronTriggerTimetable("0 3 * * *", timezone="Asia/Seoul"),
    doc_md=__doc__,
    max_active_runs=1,
    tags=["spoqplus", "backup"],
    default_args={"owner": "data-platform"},
    params={
        "environment": Param("test", type="string", enum=["test", "production"], description="Where | to"),
        "to_time": Param(None, type=["null", "string"], format="date-time", title="시각"),
    },
):

    @task
    def preflight():
        """Looks first.

        Then leaps.
        """

    @task_group(tooltip="all of it")
    def database():
        BashOperator(task_id="dump", bash_command="true") >> BashOperator(task_id="upload", bash_command="true")

    @task(trigger_rule="all_done")
    def notify():
        pass

    preflight() >> database() >> notify()

with DAG("sample_replication", schedule=[Asset("sample_set")]):
    BashOperator(task_id="copy", bash_command="true")
with DAG("sample_restore", schedule=None, params={"backup": Param(type="string", examples=["latest"])}):
    BashOperator(task_id="load", bash_command="true")
'''


@pytest.fixture
def sample(tmp_path: Path) -> Path:
    (tmp_path / "dags").mkdir()
    (tmp_path / "dags" / "sample.py").write_text(SAMPLE)
    return tmp_path


def dag_docs(folder: Path, *options: str) -> subprocess.CompletedProcess[str]:
    places = ["--dags", folder / "dags", "--output", folder / "DAGS.md"]
    return subprocess.run([sys.executable, SCRIPT, *places, *options], capture_output=True, text=True)


def test_the_page_describes_every_dag(sample: Path) -> None:
    assert dag_docs(sample).returncode == 0
    page = (sample / "DAGS.md").read_text()
    backup, replication, restore = page.split("\n## ")[1:]
    for line in (
        "| `0 3 * * *` (Asia/Seoul) | data-platform | `backup`, `spoqplus` | 1 | `dags/sample.py` |",
        "Saves the sample.",
        "### Sample",
        "#### When it fails",
        "# a comment, not a heading",
        '| `environment` | string | `"test"` | `"test"`, `"production"` | Where \\| to |',
        "| `to_time` | null or string (date-time) | `null` |  | 시각 |",
        "- `preflight` (@task): Looks first.",
        "- **`database`**: all of it",
        "  - `database.dump` (BashOperator; after `preflight`)",
        "  - `database.upload` (BashOperator; after `database.dump`)",
        "- `notify` (@task; after `database.upload`; runs when all_done)",
    ):
        assert line in backup.splitlines()
    assert "| when updated: `sample_set` |" in replication
    assert "| by hand |" in restore
    assert '| `backup` | string | must be given | `"latest"` |  |' in restore


def test_check_passes_after_docs_and_fails_after_a_change(sample: Path) -> None:
    dag_docs(sample)
    assert dag_docs(sample, "--check").returncode == 0
    (sample / "dags" / "sample.py").write_text(SAMPLE.replace("all of it", "all of them"))
    stale = dag_docs(sample, "--check")
    assert stale.returncode == 1
    assert "+- **`database`**: all of them" in stale.stderr
    assert "all of them" not in (sample / "DAGS.md").read_text()


def test_a_dag_file_that_cannot_be_imported_is_an_error(sample: Path) -> None:
    (sample / "dags" / "broken.py").write_text("from airflow.sdk import DAG\nimport no_such_module\n")
    run = dag_docs(sample)
    assert run.returncode == 1
    assert "broken.py can't be imported" in run.stderr
    assert "no_such_module" in run.stderr
    assert not (sample / "DAGS.md").exists()


def test_no_dags_are_an_empty_catalogue(tmp_path: Path) -> None:
    (tmp_path / "dags").mkdir()
    assert dag_docs(tmp_path).returncode == 0
    assert "There are none yet." in (tmp_path / "DAGS.md").read_text()
