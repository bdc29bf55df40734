"""What Airflow itself costs: a chain of stages that do nothing, of the operators' own base class, in a real Airflow."""

import shutil
from datetime import datetime
from statistics import median

import yaml

from airflow_instance import AirflowInstance
from bench.measure import BenchError
from bench.world import World, say

STAGES = 8
DAG_ID = "chain"
RUN_SECONDS = 180.0

_DAG = f'''"""{STAGES} empty stages in a row."""

from airflow.sdk import DAG, chain
from spoqplus_backup.operators.base import SiteOperator


class EmptyStage(SiteOperator):
    """Does nothing, as our own operators would."""

    def work(self, context, settings, connections):
        return None


with DAG("{DAG_ID}", schedule=None, catchup=False):
    chain(*(EmptyStage(task_id=f"stage_{{number}}", site="bench") for number in range({STAGES})))
'''


def seconds_per_stage(world: World, runs: int) -> float:
    """The time of a whole run, from its trigger to its end, by the number of stages; the median of some runs."""
    home, dags = world.folder / "airflow", world.folder / "airflow-dags"
    for folder in (home, dags):
        shutil.rmtree(folder, ignore_errors=True)
    dags.mkdir()
    (dags / "chain.py").write_text(_DAG)
    config = world.folder / "airflow.yaml"
    config.write_text(yaml.safe_dump(_settings(world)))
    say("starting an Airflow")
    with AirflowInstance(home, {"SPOQPLUS_BACKUP_CONFIG": str(config)}, dags=dags) as airflow:
        airflow.wait_for_dag(DAG_ID)
        _run(airflow)  # warms it
        say(f"a chain of {STAGES} empty stages, {runs} runs")
        return median(_run(airflow) for _ in range(runs)) / STAGES


def _settings(world: World) -> dict[str, object]:
    return {
        "site": "bench",
        "repositories": [{"name": "local", "root": f"file://{world.folder}/airflow-repository"}],
        "encryption": {"recipients": [world.keys.recipient]},
        "signing": {"public_key_files": [str(world.keys.signing_public)]},
        "slack": {"connection": None},
    }


def _run(airflow: AirflowInstance) -> float:
    run_id = airflow.trigger(DAG_ID)
    if (state := airflow.wait(DAG_ID, run_id, RUN_SECONDS)) != "success":
        raise BenchError(f"The chain of empty stages ended as {state}: see {airflow.home}.")
    run = airflow.run(DAG_ID, run_id)
    return (_moment(run["end_date"]) - _moment(run["queued_at"])).total_seconds()


def _moment(text: str) -> datetime:
    return datetime.fromisoformat(text.replace("Z", "+00:00"))
