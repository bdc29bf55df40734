"""The whole deployment, started as `make up DEMO=1` does, with a second host beside it."""

import os
import re
import shutil
import time
import urllib.error
from http import HTTPStatus
from pathlib import Path
from typing import Any

import yaml

from airflow_instance import ADMIN, AirflowError, AirflowInstance, free_port
from stack.engine import PREFIX, ROOT, Project, docker, image_of, remove

START_SECONDS = 900
PATIENCE_SECONDS = 180  # how long a call of the API is tried while Postgres, or the server itself, is away
HEARTBEAT_SECONDS = 40
SECOND = "busan"  # the other host, its queue and its site
CONFIG = "/opt/spoqplus/config"

# mysqldump that stands still in the middle of its dump while the file `hold` is there
GATE = f"""#!/bin/sh
program=/opt/mysql-9.7/bin/mysqldump
case " $* " in *" --version "*) exec $program "$@" ;; esac
$program "$@" | {{ head -c 2000000; while [ -e {CONFIG}/gate/hold ]; do sleep 0.1; done; cat; }}
"""


class Remote(AirflowInstance):
    """The Airflow of the containers: its API alone, asked again while a part of it is away."""

    def __init__(self, port: int, password: str) -> None:
        super().__init__(Path("/nonexistent"), {}, port=port)
        self.passwords = {ADMIN: password}

    def _http(self, method: str, path: str, body: object = None, *, token: str | None) -> Any:
        deadline = time.monotonic() + PATIENCE_SECONDS
        while True:
            try:
                return super()._http(method, path, body, token=token)
            except urllib.error.HTTPError as error:
                if error.code < HTTPStatus.INTERNAL_SERVER_ERROR or time.monotonic() > deadline:
                    raise
            except OSError:
                if time.monotonic() > deadline:
                    raise
            time.sleep(1)

    def unpause(self, dag_id: str) -> None:
        """Let a DAG's runs begin."""
        self.request("PATCH", f"/dags/{dag_id}", {"is_paused": False})


class Deployment:
    """Containers, the API, and the folder that `make up` made."""

    def __init__(self, folder: Path) -> None:
        name = f"{PREFIX}-{os.getpid()}"
        port = free_port()
        self.home = folder / "deploy"
        self.project = Project(
            name,
            {
                "COMPOSE_PROJECT_NAME": name,
                "COMPOSE_PROFILES": "demo,metrics",
                "PROMETHEUS_PORT": str(free_port()),
                "ALERTMANAGER_PORT": str(free_port()),
                "SPOQPLUS_START_SECONDS": str(START_SECONDS),
                "DEMO": "1",
                "SPOQPLUS_ENV_FILE": str(folder / "env"),
                "SPOQPLUS_HOME": str(self.home),
                "SPOQPLUS_IMAGE": image_of(name),
                "SPOQPLUS_PORT": str(port),
                "SPOQPLUS_URL": f"http://127.0.0.1:{port}",
                "SPOQPLUS_HEARTBEAT_TIMEOUT": str(HEARTBEAT_SECONDS),
                "SPOQPLUS_REMOTE_LOGGING": "true",
                "SPOQPLUS_REMOTE_LOGS": "s3://spoqplus-logs",
            },
        )
        self.second: Project | None = None
        self._port = port

    def start(self) -> None:
        """Build the image, make everything, wait until all is healthy."""
        self.project.stack("setup", seconds=START_SECONDS)
        self._lay_gate()
        self.project.stack("up", seconds=START_SECONDS)
        self.airflow = Remote(self._port, (self.home / "secrets" / "admin_password").read_text().strip())

    def remove(self) -> None:
        """Leave nothing behind."""
        for project in (self.second, self.project):
            if project is not None:
                remove(project.name)

    # ---- sites ----

    @property
    def config(self) -> Path:
        """The folder of the sites' files."""
        return self.home / "config"

    def _lay_gate(self) -> None:
        gate = self.config / "gate"
        gate.mkdir()
        for program in ("mysql", "mysqlbinlog"):
            (gate / program).symlink_to(f"/opt/mysql-9.7/bin/{program}")
        (gate / "mysqldump").write_text(GATE)
        (gate / "mysqldump").chmod(0o755)
        gate.chmod(0o755)
        site = self.config / "spoqplus.yaml"
        text = site.read_text("utf-8").replace("/opt/mysql-9.7/bin\n", f"{CONFIG}/gate\n", 1)
        assert f"{CONFIG}/gate" in text
        _write_over(site, text)

    def hold_dumps(self) -> None:
        """Let dumps stand still in their middle."""
        (self.config / "gate" / "hold").touch()

    def let_dumps_go(self) -> None:
        """And let them go on."""
        (self.config / "gate" / "hold").unlink(missing_ok=True)

    def wait_for_held_dump(self, seconds: float = 180) -> None:
        """Wait until the dump of everything wrote its first megabytes and stands still."""

        def held() -> bool:
            found = self.project.execute("worker-backup", "find", "/backup/staging", "-name", "0*.sql", "-size", "+0")
            running = self.project.execute("worker-backup", "ps", "-eo", "args")
            return bool(found.strip()) and f"{CONFIG}/gate/mysqldump" in running

        self.airflow.until("a dump stands still in its middle", held, seconds)

    # ---- the second host ----

    def add_host(self) -> None:
        """A worker of another compose project, with volumes and credentials of its own; its site beside the first."""
        self.project.stack("host", SECOND, "unused.example", seconds=120)
        folder = self.home / "hosts" / SECOND
        # here the other host is in the same networks, so that Redis and Postgres are where they are
        for name in ("celery_broker_url", "celery_result_backend"):
            shutil.copyfile(self.home / "secrets" / name, folder / "secrets" / name)
        shutil.copyfile(self.home / "worker-backup" / "connections.json", folder / "worker-backup" / "connections.json")
        site = yaml.safe_load((folder / "config" / f"{SECOND}.yaml").read_text("utf-8"))
        demo = yaml.safe_load((self.config / "spoqplus.yaml").read_text("utf-8"))
        site["encryption"]["recipients"] = demo["encryption"]["recipients"]
        site["repositories"][1]["root"] = "s3://spoqplus-backup/busan"
        site |= {key: demo[key] for key in ("schedules", "slack", "alerts")}
        site |= {"files": [], "faces": None, "mirror": None, "environment": None}  # no web server there
        text = yaml.safe_dump(site, allow_unicode=True)
        _write_over(folder / "config" / f"{SECOND}.yaml", text)
        (self.config / f"{SECOND}.yaml").write_text(text, "utf-8")
        self.restart("dag-processor")  # reads the sites, and makes the pool of the new one
        networks = folder / "networks.yaml"
        networks.write_text(
            yaml.safe_dump(
                {
                    "networks": {
                        name: {"name": f"{self.project.name}_{name}", "external": True} for name in ("control", "data")
                    }
                }
            )
        )
        env = self.project.env | {
            "COMPOSE_PROJECT_NAME": f"{self.project.name}-{SECOND}",
            "COMPOSE_PROFILES": "",
            "SPOQPLUS_ENV_FILE": str(folder / "env"),
            "SPOQPLUS_HOME": str(folder),
            "SPOQPLUS_QUEUE": SECOND,
            "SPOQPLUS_API_URL": "http://api-server:8080/execution/",
        }
        files = (ROOT / "include" / "compose" / "worker.yaml", networks)
        self.second = Project(env["COMPOSE_PROJECT_NAME"], env, files)
        self.second.compose("up", "--detach", "--no-build", "--wait", seconds=300)

    # ---- runs ----

    def begin(self, dag_id: str, conf: dict[str, Any] | None = None) -> str:
        """Start a run; returns its id."""
        self.airflow.wait_for_dag(dag_id, 300)
        self.airflow.unpause(dag_id)
        return self.airflow.trigger(dag_id, conf)

    def end(self, dag_id: str, run_id: str, seconds: float = 600) -> dict[str, dict[str, Any]]:
        """Wait for a run's success; returns its tasks."""
        state = self.airflow.wait(dag_id, run_id, seconds)
        tasks = self.airflow.tasks(dag_id, run_id)
        if state != "success":
            failed = [name for name, task in tasks.items() if task["state"] == "failed"]
            logs = "\n".join(
                self.airflow.log(dag_id, run_id, name, tasks[name]["try_number"])[-3000:] for name in failed
            )
            raise AirflowError(f"{run_id} of {dag_id} is {state}: {failed}\n{logs}")
        return tasks

    def published(self, service: str = "worker-backup", project: Project | None = None) -> set[str]:
        """The sets in the repository of a host, as their manifests tell."""
        found = (project or self.project).execute(service, "find", "/backup/repository", "-name", "manifest.json")
        return set(re.findall(r"/daily/(\d{8}_\d{6})/manifest", found))

    # ---- accidents ----

    def kill(self, service: str) -> None:
        """What a power cut does to one service: all its processes are gone at once; then it starts again."""
        container = self.project.container(service)
        docker("kill", "--signal=KILL", container["Id"])
        docker("start", container["Id"])
        self.until_new(service, container["State"]["StartedAt"])

    def ask_to_end(self, worker: str) -> None:
        """What `docker stop` does first; returns when Celery has heard it."""
        docker("kill", "--signal=TERM", self.project.container(worker)["Id"])
        said = "Warm shutdown"
        self.airflow.until("Celery heard it", lambda: said in self.project.compose("logs", "--tail=200", worker), 60)

    def start_again(self, worker: str, seconds: float = 300) -> None:
        """Wait until a worker that was asked to has ended by itself, and start it."""
        container = self.project.container(worker)
        self.airflow.until(
            f"{worker} ended", lambda: self.project.container(worker)["State"]["Status"] == "exited", seconds
        )
        docker("start", container["Id"])
        self.until_new(worker, container["State"]["StartedAt"])

    def restart(self, service: str) -> None:
        """Restart it, and wait until it is healthy again."""
        before = self.project.container(service)["State"]["StartedAt"]
        self.project.compose("restart", service)
        self.until_new(service, before)

    def until_new(self, service: str, before: str) -> None:
        """Wait until a service was started again and is healthy."""

        def healthy() -> bool:
            state = self.project.container(service)["State"]
            return state["StartedAt"] != before and state["Health"]["Status"] == "healthy"

        self.airflow.until(f"{service} is back", healthy, 240)


def _write_over(file: Path, text: str) -> None:
    """Of whoever it is, it stays."""
    with file.open("r+", encoding="utf-8") as opened:
        opened.truncate()
        opened.write(text)


def processes(project: Project, service: str) -> str:
    """Every command line and environment in a container."""
    script = "for p in /proc/[0-9]*; do tr '\\0' '\\n' <$p/cmdline; tr '\\0' '\\n' <$p/environ; done 2>/dev/null; true"
    return project.execute(service, "sh", "-c", script)
