"""A private Airflow: API server, scheduler and DAG processor with LocalExecutor and SQLite, on a free loopback port.

For the demonstration, the benchmark and the end-to-end tests; a real deployment is made of the same parts, on a real
database. Everything it writes is under `home`. Talks to its own REST API with the standard library only.
"""

import contextlib
import hashlib
import json
import os
import secrets
import shutil
import signal
import socket
import subprocess
import sys
import time
import urllib.error
import urllib.parse
import urllib.request
from collections.abc import Callable, Collection, Mapping, Sequence
from http import HTTPStatus
from pathlib import Path
from typing import Any, TypeVar

PROJECT = Path(__file__).resolve().parents[1]
POLL_SECONDS = 0.25
READING_SECONDS = 3.0  # Airflow 3.3.2 fails a task that is answered within a second of its asking
STOP_SECONDS = 15.0
REQUEST_TRIES = 5
START_SECONDS = 120.0
TEMPLATES = PROJECT / "build" / "airflow-db"  # empty databases: to migrate one takes as long as the rest of a start
ADMIN = "admin"
PARTS = ("api-server", "scheduler", "dag-processor")
RUN_ENDED = frozenset({"success", "failed"})

T = TypeVar("T")


class AirflowError(Exception):
    """The instance did not do what was asked; the message says what, and where its logs are."""


def free_port() -> int:
    """A TCP port of the loopback interface that nobody listens on now."""
    with socket.socket() as listener:
        listener.bind(("127.0.0.1", 0))
        return int(listener.getsockname()[1])


class AirflowInstance:
    """A running Airflow of our own.

    Args:
        home: its AIRFLOW_HOME: database, logs, passwords. Kept after `stop`, so that a second start is quick.
        env: added to the environment of all its processes: connections (`AIRFLOW_CONN_*`), settings, where the
            configuration is (`SPOQPLUS_BACKUP_CONFIG`).
        dags: the folder of DAG files.
        users: name and role of those who may log in; each gets a password.
        parts: of `PARTS`: without a scheduler nothing runs, and without the DAG processor no DAG is known.
        triggerer: whether tasks may wait in one (`deferrable`).
        preloaded: modules that scheduler and DAG processor import, so that the tasks and files, for which they fork,
            need not each do it: half a second less for each. No deployment has that, so it is not for measuring.
    """

    def __init__(
        self,
        home: Path,
        env: Mapping[str, str],
        *,
        dags: Path = PROJECT / "dags",
        plugins: Path = PROJECT / "plugins",
        users: Mapping[str, str] | None = None,
        port: int | None = None,
        parts: Sequence[str] = PARTS,
        triggerer: bool = False,
        preloaded: Sequence[str] = (),
    ) -> None:
        self.home = home
        self._names = (*parts, *(("triggerer",) if triggerer else ()))
        self._preloaded = preloaded
        self.port = port or free_port()
        self.users = dict(users or {ADMIN: "admin"})
        self.passwords = {name: secrets.token_urlsafe(12) for name in self.users}
        self._env = self._environment(dags, plugins) | dict(env)
        self._processes: dict[str, subprocess.Popen[bytes]] = {}
        self._tokens: dict[str, str] = {}

    def _environment(self, dags: Path, plugins: Path) -> dict[str, str]:
        settings = {
            "CORE__DAGS_FOLDER": dags,
            "CORE__PLUGINS_FOLDER": plugins,
            "CORE__LOAD_EXAMPLES": False,
            "CORE__EXECUTOR": "LocalExecutor",
            "CORE__PARALLELISM": 8,
            "CORE__DAGS_ARE_PAUSED_AT_CREATION": False,
            "CORE__EXECUTION_API_SERVER_URL": f"{self.url}/execution/",
            "CORE__SIMPLE_AUTH_MANAGER_USERS": ",".join(f"{name}:{role}" for name, role in self.users.items()),
            "CORE__SIMPLE_AUTH_MANAGER_PASSWORDS_FILE": self.home / "passwords.json",
            "API__HOST": "127.0.0.1",
            "API__PORT": self.port,
            "API__BASE_URL": self.url,
            "API__WORKERS": 1,
            "API__SECRET_KEY": secrets.token_hex(32),
            "API_AUTH__JWT_SECRET": secrets.token_hex(64),
            "SCHEDULER__SCHEDULER_IDLE_SLEEP_TIME": 0.1,  # a hop takes 0.9 s instead of 1.6 s
            "DAG_PROCESSOR__REFRESH_INTERVAL": 5,
            "DAG_PROCESSOR__MIN_FILE_PROCESS_INTERVAL": 5,
            "LOGGING__BASE_LOG_FOLDER": self.home / "logs",
            "USAGE_DATA_COLLECTION__ENABLED": False,
        }
        inherited = {name: value for name, value in os.environ.items() if not name.startswith(("AIRFLOW", "SPOQPLUS"))}
        programs = f"{Path(sys.executable).parent}{os.pathsep}{inherited.get('PATH', os.defpath)}"
        return (
            inherited
            | {"AIRFLOW_HOME": str(self.home), "PATH": programs, "PYTHONUNBUFFERED": "1"}
            | {f"AIRFLOW__{name}": str(value) for name, value in settings.items()}
        )

    @property
    def url(self) -> str:
        """Where the UI and the API are."""
        return f"http://127.0.0.1:{self.port}"

    # ---- life ----

    def start(self) -> None:
        """Make the database if there is none, start everything and wait until all of it is healthy."""
        self.launch()
        self.wait_until_healthy()

    def launch(self) -> None:
        """The first half of `start`, for whoever has something to do meanwhile."""
        self.home.mkdir(parents=True, exist_ok=True)
        (self.home / "passwords.json").write_text(json.dumps(self.passwords))
        (self.home / "passwords.json").chmod(0o600)
        self._make_database()
        if self._preloaded:
            self._preload()
        try:
            for name in self._names:
                self._processes[name] = self._launch(name)
        except BaseException:
            self.stop()
            raise

    def wait_until_healthy(self) -> None:
        """The second half; ends everything when it fails."""
        try:
            self.until("Airflow is healthy", self._healthy, START_SECONDS)
        except BaseException:
            self.stop()
            raise

    def _preload(self) -> None:
        condition = 'if sys.argv[-1] in ("scheduler", "dag-processor"):'
        lines = ["import sys", condition, *(f"    import {name}" for name in self._preloaded)]
        settings = self.home / "config" / "airflow_local_settings.py"
        settings.parent.mkdir(exist_ok=True)
        settings.write_text("\n".join([*lines, ""]))

    def _make_database(self) -> None:
        database = self.home / "airflow.db"
        made_from = hashlib.sha256((PROJECT / "requirements.txt").read_bytes()).hexdigest()[:16]
        template = TEMPLATES / f"{made_from}.db"
        if not database.exists() and template.exists():
            shutil.copyfile(template, database)
            return
        is_new = not database.exists()
        self._migrate()
        if is_new:
            TEMPLATES.mkdir(parents=True, exist_ok=True)
            aside = template.with_suffix(f".{os.getpid()}")
            shutil.copyfile(database, aside)
            aside.rename(template)

    def _migrate(self) -> None:
        with (self.home / "migrate.log").open("wb") as output:
            code = subprocess.run(
                [sys.executable, "-m", "airflow", "db", "migrate"],
                env=self._env,
                stdout=output,
                stderr=subprocess.STDOUT,
                check=False,
            ).returncode
        if code:
            raise AirflowError(f"`airflow db migrate` failed with status {code}: see {self.home}/migrate.log.")

    def _launch(self, name: str) -> subprocess.Popen[bytes]:
        with self.output(name).open("ab") as output:
            return subprocess.Popen(
                # it ends with the thread that started it, even when that was killed
                ["setpriv", "--pdeathsig", "TERM", "--", sys.executable, "-m", "airflow", name],
                env=self._env,
                cwd=self.home,
                stdin=subprocess.DEVNULL,
                stdout=output,
                stderr=subprocess.STDOUT,
                start_new_session=True,  # so that its children end with it
            )

    def output(self, name: str) -> Path:
        """The file with what one of the processes printed."""
        return self.home / f"{name}.log"

    def _healthy(self) -> bool:
        for name, process in self._processes.items():
            if process.poll() is not None:
                raise AirflowError(f"`airflow {name}` ended with status {process.returncode}: see {self.output(name)}.")
        with contextlib.suppress(OSError):
            health = self._http("GET", "/api/v2/monitor/health", token=None)
            told = ("metadatabase", *(name.replace("-", "_") for name in self._names if name != "api-server"))
            return all(health[part]["status"] == "healthy" for part in told)
        return False

    def stop(self, patience: float = STOP_SECONDS) -> None:
        """End everything that was started; by force what does not end in so many seconds."""
        for process in reversed(self._processes.values()):
            if process.poll() is None:
                process.terminate()
        for process in self._processes.values():
            with contextlib.suppress(subprocess.TimeoutExpired):
                process.wait(patience)
            with contextlib.suppress(ProcessLookupError):
                os.killpg(process.pid, signal.SIGKILL)
            process.wait()
        self._processes.clear()

    def __enter__(self) -> "AirflowInstance":
        self.start()
        return self

    def __exit__(self, *_: object) -> None:
        self.stop()

    @property
    def processes(self) -> Mapping[str, int]:
        """The process ids of what runs, by name."""
        return {name: process.pid for name, process in self._processes.items()}

    def until(self, what: str, ready: Callable[[], T | None], seconds: float) -> T:
        """Ask until the answer is true, and return it."""
        deadline = time.monotonic() + seconds
        while not (answer := ready()):
            if time.monotonic() > deadline:
                raise AirflowError(f"Not within {seconds:.0f} s: {what}. Its logs are in {self.home}.")
            time.sleep(POLL_SECONDS)
        return answer

    # ---- the REST API ----

    def _http(self, method: str, path: str, body: object = None, *, token: str | None) -> Any:
        headers = {"Content-Type": "application/json", "Accept": "application/json"}
        if token:
            headers["Authorization"] = f"Bearer {token}"
        data = None if body is None else json.dumps(body).encode()
        request = urllib.request.Request(self.url + path, data=data, headers=headers, method=method)  # noqa: S310
        with urllib.request.urlopen(request, timeout=30) as response:  # noqa: S310 (our own http://127.0.0.1)
            content = response.read()
        return json.loads(content) if content else None

    def token(self, user: str = ADMIN) -> str:
        """A bearer token for the API."""
        body = {"username": user, "password": self.passwords[user]}
        return str(self._http("POST", "/auth/token", body, token=None)["access_token"])

    def request(self, method: str, path: str, body: object = None, *, user: str = ADMIN) -> Any:
        """Call the API as a user; `path` starts after `/api/v2`. Returns the decoded answer.

        An HTTP 500 is tried again: on SQLite, which lets one writer in at a time, the API server sometimes waits for
        itself (the entry in the audit log against the change that it notes) and then takes all of the request back.

        Raises:
            AirflowError: an HTTP error, with the server's explanation.
        """
        if user not in self._tokens:
            self._tokens[user] = self.token(user)
        for left in reversed(range(REQUEST_TRIES)):
            try:
                return self._http(method, f"/api/v2{path}", body, token=self._tokens[user])
            except urllib.error.HTTPError as error:
                explanation = error.read().decode("utf-8", "replace")
                if error.code != HTTPStatus.INTERNAL_SERVER_ERROR or not left:
                    raise AirflowError(f"{method} {path}: HTTP {error.code}: {explanation}") from error
        raise AssertionError("the last try has returned or raised")

    @staticmethod
    def _run_path(dag_id: str, run_id: str) -> str:
        return f"/dags/{dag_id}/dagRuns/{urllib.parse.quote(run_id, safe='')}"

    def wait_for_dag(self, dag_id: str, seconds: float = 120) -> None:
        """Wait until the DAG processor knows a DAG; an import error ends the wait."""

        def known() -> bool:
            if errors := self.import_errors():
                raise AirflowError(f"DAG import errors: {errors}")
            with contextlib.suppress(AirflowError):
                return not self.request("GET", f"/dags/{dag_id}")["is_stale"]
            return False

        self.until(f"the DAG {dag_id} is known", known, seconds)

    def import_errors(self) -> dict[str, str]:
        """What could not be imported: file and message."""
        found = self.request("GET", "/importErrors")["import_errors"]
        return {error["filename"]: error["stack_trace"] for error in found}

    def trigger(self, dag_id: str, conf: Mapping[str, Any] | None = None) -> str:
        """Start a run by hand; returns its id."""
        run = self.request("POST", f"/dags/{dag_id}/dagRuns", {"logical_date": None, "conf": dict(conf or {})})
        return str(run["dag_run_id"])

    def run(self, dag_id: str, run_id: str) -> dict[str, Any]:
        """A run, as the API tells it."""
        answer: dict[str, Any] = self.request("GET", self._run_path(dag_id, run_id))
        return answer

    def wait(self, dag_id: str, run_id: str, seconds: float = 240) -> str:
        """Wait for a run's end; returns `success` or `failed`."""

        def ended() -> str | None:
            state = str(self.run(dag_id, run_id)["state"])
            return state if state in RUN_ENDED else None

        try:
            return self.until(f"the run {run_id} of {dag_id} ended", ended, seconds)
        except AirflowError as error:
            raise AirflowError(f"{error} Its tasks: {self.task_states(dag_id, run_id)}") from None

    def tasks(self, dag_id: str, run_id: str) -> dict[str, dict[str, Any]]:
        """Every task instance of a run by its task id."""
        answer = self.request("GET", f"{self._run_path(dag_id, run_id)}/taskInstances?limit=1000")
        return {task["task_id"]: task for task in answer["task_instances"]}

    def task_states(self, dag_id: str, run_id: str) -> dict[str, str | None]:
        """The state of every task of a run."""
        return {task_id: task["state"] for task_id, task in self.tasks(dag_id, run_id).items()}

    def wait_for_task(
        self, dag_id: str, run_id: str, task_id: str, states: Collection[str], seconds: float = 120
    ) -> dict[str, Any]:
        """Wait until a task is in one of the states; returns the task instance. Fails early when the run has ended."""

        def reached() -> dict[str, Any] | None:
            task = self.tasks(dag_id, run_id)[task_id]
            if task["state"] in states:
                return task
            if self.run(dag_id, run_id)["state"] in RUN_ENDED:
                raise AirflowError(f"{task_id} became {task['state']}, not {sorted(states)}, and the run ended.")
            return None

        return self.until(f"{task_id} of {run_id} is {' or '.join(sorted(states))}", reached, seconds)

    def clear(self, dag_id: str, run_id: str, task_ids: Sequence[str], *, downstream: bool = True) -> None:
        """Clear tasks, as a person does in the UI."""
        body = {
            "dag_run_id": run_id,
            "task_ids": list(task_ids),
            "dry_run": False,
            "only_failed": False,
            "include_downstream": downstream,
            "reset_dag_runs": True,
        }
        self.request("POST", f"/dags/{dag_id}/clearTaskInstances", body)

    def mark(self, dag_id: str, run_id: str, task_id: str, state: str) -> None:
        """Mark a task as `success`, `failed` or `skipped`, as a person does in the UI."""
        self.request("PATCH", f"{self._run_path(dag_id, run_id)}/taskInstances/{task_id}", {"new_state": state})

    def answer(
        self, dag_id: str, run_id: str, task_id: str, option: str, *, user: str = ADMIN, seconds: float = 120
    ) -> None:
        """Wait until something is asked, and answer with one of its options (`Approve`, `Reject`) as a user."""
        self.wait_for_task(dag_id, run_id, task_id, {"awaiting_input"}, seconds)
        time.sleep(READING_SECONDS)
        path = f"{self._run_path(dag_id, run_id)}/taskInstances/{task_id}/-1/hitlDetails"
        self.request("PATCH", path, {"chosen_options": [option], "params_input": {}}, user=user)

    def approval(self, dag_id: str, run_id: str, task_id: str) -> dict[str, Any]:
        """What a person who has to approve is shown: `subject`, `body`."""
        path = f"{self._run_path(dag_id, run_id)}/taskInstances/{task_id}/-1/hitlDetails"
        answer: dict[str, Any] = self.request("GET", path)
        return answer

    def xcom(self, dag_id: str, run_id: str, task_id: str, key: str = "return_value") -> Any:
        """The value that a task left."""
        path = f"{self._run_path(dag_id, run_id)}/taskInstances/{task_id}/xcomEntries/{key}?deserialize=true"
        return self.request("GET", path)["value"]

    def log(self, dag_id: str, run_id: str, task_id: str, try_number: int = 1) -> str:
        """The log of one try of a task."""
        path = f"{self._run_path(dag_id, run_id)}/taskInstances/{task_id}/logs/{try_number}?full_content=true"
        content = self.request("GET", path)["content"]
        return "\n".join(line if isinstance(line, str) else json.dumps(line, ensure_ascii=False) for line in content)
