"""The Docker engine: images that are there or can be pulled, and a compose project that goes whatever happens."""

import json
import os
import subprocess
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

ROOT = Path(__file__).resolve().parents[2]
PREFIX = "spoqtest"  # <prefix>-<process id>
# The official images, and for some the setting of .env that names one; else docker-compose.yaml's own.
IMAGES = {
    "apache/airflow:3.3.2-python3.11": None,
    "postgres:17": None,
    "redis:7.2-bookworm": None,
    "mysql:9.7": None,
    "chrislusf/seaweedfs": "SEAWEEDFS_IMAGE",
    "prom/prometheus": "PROMETHEUS_IMAGE",
    "prom/alertmanager": "ALERTMANAGER_IMAGE",
}
PULL_SECONDS = 600


class EngineError(Exception):
    """Docker can't do what the tests need; says what and why."""


@dataclass(frozen=True)
class Image:
    """An image that the tests use."""

    name: str
    id: str
    created: str
    pulled: bool

    def __str__(self) -> str:
        """A line for a person."""
        return f"{self.name}  {self.id[7:19]}  created {self.created[:19]}  {'pulled' if self.pulled else 'present'}"


def docker(*arguments: str, seconds: float = 120, **options: Any) -> str:
    """Run docker and return what it printed.

    Raises:
        EngineError: it failed; with its own last words.
    """
    try:
        done = subprocess.run(["docker", *arguments], capture_output=True, text=True, timeout=seconds, **options)
    except FileNotFoundError as error:
        raise EngineError("There is no docker: install Docker Engine with its compose and buildx plugins.") from error
    except subprocess.TimeoutExpired as error:
        raise EngineError(f"docker {' '.join(arguments)} did not end within {seconds:.0f} s.") from error
    if done.returncode:
        raise EngineError(f"docker {' '.join(arguments)}: {done.stderr.strip()[-3000:]}")
    return done.stdout


def find_image(name: str) -> Image:
    """An image that is present, else is pulled.

    Raises:
        EngineError: neither.
    """
    pulled = False
    try:
        text = docker("image", "inspect", name)
    except EngineError:
        docker("pull", "--quiet", name, seconds=PULL_SECONDS)
        text, pulled = docker("image", "inspect", name), True
    (about,) = json.loads(text)
    return Image(name, about["Id"], about["Created"], pulled)


def projects() -> list[str]:
    """The compose projects of these tests that something is left of."""
    label = "com.docker.compose.project"
    found: set[str] = set()
    for kind in (["ps", "--all"], ["volume", "ls"], ["network", "ls"]):
        listed = docker(*kind, "--filter", f"label={label}", "--format", f'{{{{.Label "{label}"}}}}')
        found.update(line for line in listed.splitlines() if line.startswith(f"{PREFIX}-"))
    return sorted(found)


def remove(project: str) -> None:
    """Everything of a compose project: containers, networks, volumes; its image, too."""
    mine = ["--filter", f"label=com.docker.compose.project={project}", "--quiet"]
    for kind, delete in (
        (["ps", "--all"], ["rm", "--force", "--volumes"]),
        (["volume", "ls"], ["volume", "rm", "--force"]),
        (["network", "ls"], ["network", "rm"]),
    ):
        if names := docker(*kind, *mine).split():
            docker(*delete, *names)
    if docker("image", "ls", "--quiet", image_of(project)):
        docker("image", "rm", image_of(project))


def image_of(project: str) -> str:
    """The image that is built for a project."""
    return f"spoqplus-backup:{project}"


def remove_leftovers() -> None:
    """What earlier runs left that were killed."""
    for project in projects():
        owner = project.removeprefix(f"{PREFIX}-").split("-")[0]
        if not Path(f"/proc/{owner}").exists():
            remove(project)


@dataclass(frozen=True)
class Project:
    """A compose project, as scripts/stack.sh starts it."""

    name: str
    env: dict[str, str]
    files: Sequence[Path] = (ROOT / "docker-compose.yaml",)

    def compose(self, *arguments: str, seconds: float = 300) -> str:
        """`docker compose` in this project."""
        files = [part for file in self.files for part in ("--file", str(file))]
        command = ["compose", "--env-file", self.env["SPOQPLUS_ENV_FILE"], *files, "--profile", "*", *arguments]
        return docker(*command, seconds=seconds, cwd=ROOT, env=os.environ | self.env)

    def stack(self, *arguments: str, seconds: float) -> None:
        """`scripts/stack.sh`, whose output goes where the tests' goes."""
        subprocess.run(
            [ROOT / "scripts" / "stack.sh", *arguments], check=True, timeout=seconds, env=os.environ | self.env
        )

    def containers(self) -> Iterator[dict[str, Any]]:
        """What docker says of each container."""
        label = f"label=com.docker.compose.project={self.name}"
        yield from json.loads(docker("inspect", *docker("ps", "--all", "--quiet", "--filter", label).split()))

    def container(self, service: str) -> dict[str, Any]:
        """What docker says of the container of a service."""
        (found,) = (item for item in self.containers() if service_of(item) == service)
        return found

    def execute(self, service: str, *command: str) -> str:
        """Run something in a service's container."""
        return docker("exec", self.container(service)["Id"], *command)

    def keep_logs(self, folder: Path) -> None:
        """What all services said, for whoever looks into a failure."""
        folder.mkdir(parents=True, exist_ok=True)
        for item in self.containers():
            with (folder / f"{self.name}-{service_of(item)}.log").open("w") as log:
                subprocess.run(["docker", "logs", item["Id"]], stdout=log, stderr=subprocess.STDOUT, check=False)


def service_of(container: dict[str, Any]) -> str:
    """The service that a container is of."""
    return str(container["Config"]["Labels"]["com.docker.compose.service"])
