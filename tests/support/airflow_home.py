"""Import this before Airflow: gives the test process an AIRFLOW_HOME of its own, so that it touches nobody's."""

import atexit
import os
import shutil
import sys
import tempfile
from pathlib import Path

PROJECT = Path(__file__).resolve().parents[2]

if "airflow" in sys.modules:
    raise AssertionError("support.airflow_home was imported after Airflow: import it in the folder's conftest.py.")

HOME = Path(tempfile.mkdtemp(prefix="spoqplus-airflow-"))
atexit.register(shutil.rmtree, HOME, ignore_errors=True)
os.environ |= {
    "AIRFLOW_HOME": str(HOME),
    "AIRFLOW__CORE__LOAD_EXAMPLES": "False",
    "AIRFLOW__CORE__DAGS_FOLDER": str(PROJECT / "dags"),
    "AIRFLOW__CORE__PLUGINS_FOLDER": str(PROJECT / "plugins"),
}
