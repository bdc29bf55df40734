"""docker-compose.yaml, the Dockerfile and `make up`, as far as they can be looked at without an engine.

What runs is shown by `make test-stack` (tests/stack).
"""

import json
import os
import re
import stat
import subprocess
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import pytest
import yaml
from packaging.requirements import Requirement

from spoqplus_backup.core.settings import load_settings

ROOT = Path(__file__).resolve().parents[2]
COMPOSE: Mapping[str, Any] = yaml.safe_load((ROOT / "docker-compose.yaml").read_text("utf-8"))
SERVICES: Mapping[str, Mapping[str, Any]] = COMPOSE["services"]
RECIPIENT = "age1ymxyng7j0w4d88k3ql9rxtjvdf6c9yk7ahlkhftpxheasrr0j4eshggk8g"  # nobody has the private half
ONE_SHOT = {"init", "demo"}
SERVERS = sorted(set(SERVICES) - ONE_SHOT)
WORKERS = sorted(name for name in SERVICES if name.startswith("worker"))


# ---- docker-compose.yaml ----


@pytest.mark.parametrize("name", sorted(SERVICES))
def test_a_service_is_confined(name: str) -> None:
    service = SERVICES[name]
    assert service["read_only"] is True
    assert service["cap_drop"] == ["ALL"]
    assert "no-new-privileges:true" in service["security_opt"]
    assert "mem_limit" in service
    assert service["logging"]["options"].keys() >= {"max-size", "max-file"}
    assert not service.get("privileged")


@pytest.mark.parametrize("name", SERVERS)
def test_a_service_is_watched_and_comes_back(name: str) -> None:
    assert SERVICES[name]["restart"] == "unless-stopped"
    assert SERVICES[name]["healthcheck"]["test"]


@pytest.mark.parametrize("name", sorted(SERVICES))
def test_an_image_is_pinned(name: str) -> None:
    image = re.sub(r"\$\{\w+:-([^}]+)\}", r"\1", SERVICES[name]["image"])  # the default of a setting
    _, _, tag = image.rpartition(":")
    assert re.search(r"\d", tag), f"{image} is whatever is newest on the day"


def test_no_secret_is_an_environment_variable() -> None:
    for name, service in SERVICES.items():
        for variable, value in service.get("environment", {}).items():
            if re.search(r"PASSWORD|SECRET_KEY|JWT|FERNET|_CONN\b|BROKER|RESULT_BACKEND", variable):
                assert variable.endswith(("_FILE", "_CMD")), f"{name}: {variable} holds a secret"
                assert "/run/" in str(value)


def test_secrets_are_files_of_the_deployment() -> None:
    for name, secret in COMPOSE["secrets"].items():
        assert secret == {"file": f"${{SPOQPLUS_HOME:-./deploy}}/secrets/{name}"}


@pytest.mark.parametrize("name", WORKERS)
def test_a_worker_can_not_reach_airflows_database_and_lets_a_dump_end(name: str) -> None:
    service = SERVICES[name]
    assert not {"sql_alchemy_conn", "fernet_key", "postgres_password", "admin_password"} & set(service["secrets"])
    assert service["environment"]["DUMB_INIT_SETSID"] == "0"
    assert "stop_grace_period" in service


def test_only_the_recovery_worker_has_private_keys_and_reaches_the_sandbox() -> None:
    with_keys = [n for n, s in SERVICES.items() if any("worker-recovery:/run" in str(v) for v in s.get("volumes", ()))]
    assert with_keys == ["worker-recovery"]
    reaching = {name for name, service in SERVICES.items() if "sandbox" in service["networks"]}
    assert reaching == {"worker-recovery", "sandbox", "demo"}
    assert COMPOSE["networks"]["sandbox"]["internal"] is True


def test_what_listens_does_so_on_this_machine_only_unless_asked() -> None:
    published = {name: service["ports"] for name, service in SERVICES.items() if "ports" in service}
    assert published.keys() == {"api-server", "prometheus", "alertmanager", "grafana"}
    for name, ports in published.items():
        assert all(port.startswith("${SPOQPLUS_BIND:-127.0.0.1}:") for port in ports), name


def test_every_setting_is_explained_in_the_example() -> None:
    example = (ROOT / ".env.example").read_text("utf-8")
    used = set(re.findall(r"\$\{([A-Z_]+)", (ROOT / "docker-compose.yaml").read_text("utf-8")))
    assert {name for name in used if name not in example} == set()


@pytest.mark.parametrize("name", ["site", "demo"])
def test_a_site_of_the_containers_fits_them(name: str, tmp_path: Path) -> None:
    text = (ROOT / "include" / "compose" / f"{name}.yaml").read_text("utf-8")
    (tmp_path / "site.yaml").write_text(re.sub(r"recipients: \[.*\]", f"recipients: [{RECIPIENT}]", text), "utf-8")
    settings = load_settings(tmp_path / "site.yaml")
    assert (settings.airflow.queue, settings.recovery_test.queue, settings.restore.queue) == (
        "backup",
        "recovery",
        "recovery",
    )
    mounted = {volume.split(":")[1] for volume in SERVICES["worker-backup"]["volumes"]}
    assert {str(settings.staging.directory), settings.repositories[0].root.removeprefix("file://")} <= mounted


# ---- the image ----


def pins(name: str) -> dict[str, str]:
    found = {}
    for line in (ROOT / name).read_text().splitlines():
        if line and not line.startswith((" ", "#")):
            requirement = Requirement(line.removesuffix(" \\"))
            if requirement.marker is None or requirement.marker.evaluate({"python_version": "3.11"}):
                found[requirement.name] = str(requirement.specifier)
    return found


@pytest.mark.parametrize("name", ["requirements", "build"])
def test_the_image_has_the_versions_that_are_tested_each_with_hashes(name: str) -> None:
    tested = pins("requirements.txt")
    text = (ROOT / f"include/docker/{name}.txt").read_text()
    for package, version in pins(f"include/docker/{name}.txt").items():
        assert tested.get(package, version) == version, "run `make requirements`"
        assert re.search(rf"^{package}=={version[2:]} \\\n    --hash=sha256:", text, re.MULTILINE)


def test_the_image_is_airflows_and_does_not_run_as_root() -> None:
    lines = (ROOT / "Dockerfile").read_text().splitlines()
    assert [line for line in lines if line.startswith("ARG AIRFLOW_IMAGE=")] == [
        f"ARG AIRFLOW_IMAGE=apache/airflow:{pins('requirements.txt')['apache-airflow'][2:]}-python3.11"
    ]
    assert [line for line in lines if line.startswith("USER ")][-1] == "USER airflow"


def test_the_context_of_the_image_is_a_list_of_what_goes_in() -> None:
    lines = (ROOT / ".dockerignore").read_text().splitlines()
    assert lines[1] == "*"
    assert {line for line in lines if line.startswith("!")} == {
        "!dags",
        "!include",
        "!plugins",
        "!scripts/get-mysql.sh",
        "!include/config/spoqplus.yaml",
    }


# ---- make up ----

DOCKER = """#!/usr/bin/env bash
# Stands in for docker: notes what it is asked, and makes keys as the image would.
echo "$*" >>"$LOG"
if [ "$1" = run ]; then
    while [ "$1" != --volume ]; do shift; done
    home=${2%:/deploy}
    case $4 in
    spoqplus-backup)
        folder=$home${8#/deploy}
        echo private >"$folder/signing.key"; echo public >"$folder/signing.pub" ;;
    age-keygen) echo "# public key: age1demo" ;;
    esac
fi
"""


class Deployment:
    """A folder in which `scripts/stack.sh` sets up a deployment, with a docker that does nothing."""

    def __init__(self, folder: Path) -> None:
        self.home, self.env_file, self.log = folder / "home", folder / "env", folder / "log"
        (folder / "docker").write_text(DOCKER)
        (folder / "docker").chmod(0o755)
        self._env = {
            "PATH": f"{folder}:{os.environ['PATH']}",
            "LOG": str(self.log),
            "SPOQPLUS_ENV_FILE": str(self.env_file),
            "SPOQPLUS_HOME": str(self.home),
        }

    def run(self, *command: str, **env: str) -> str:
        done = subprocess.run(
            [ROOT / "scripts" / "stack.sh", *command], env=self._env | env, check=True, capture_output=True, text=True
        )
        return done.stdout

    def files(self) -> dict[str, str]:
        return {str(p.relative_to(self.home)): p.read_text() for p in self.home.rglob("*") if p.is_file()}


@pytest.fixture
def deployment(tmp_path: Path) -> Deployment:
    return Deployment(tmp_path)


def test_the_first_start_makes_everything_and_the_second_changes_nothing(deployment: Deployment) -> None:
    said = deployment.run("up")
    made = deployment.files()
    assert set(made) >= {f"secrets/{name}" for name in COMPOSE["secrets"]} - {
        "secrets/mysql_root_password",
        "secrets/s3.json",
    }
    for path in [deployment.env_file, *deployment.home.rglob("*")]:
        mode = stat.S_IMODE(path.stat().st_mode)
        assert not mode & 0o077, f"others may read {path.name}"
    for name, content in made.items():
        if name.startswith("secrets/"):
            assert content.strip() not in said
    assert "log in as admin" in said
    deployment.run("up")
    assert deployment.files() == made


def test_every_deployment_has_passwords_of_its_own(tmp_path: Path) -> None:
    made = []
    for name in ("one", "two"):
        (tmp_path / name).mkdir()
        deployment = Deployment(tmp_path / name)
        deployment.run("setup", DEMO="1")
        made.append(deployment.files())
    for name, content in made[0].items():
        if name.startswith("secrets/") and name != "secrets/slack_webhook":
            assert content != made[1][name], name
            assert len(content) >= 40, name


def test_it_goes_on_with_what_an_earlier_version_made(deployment: Deployment) -> None:
    deployment.run("setup")
    made = deployment.files()
    (deployment.home / "secrets" / "metrics_token").unlink()
    deployment.run("setup")
    again = deployment.files()
    assert {name for name, content in made.items() if again[name] != content} == {
        "secrets/metrics_token",
        "api-server/metrics_token",
    }


def test_what_names_a_password_was_made_with_it(deployment: Deployment) -> None:
    deployment.run("setup")
    made = deployment.files()
    assert f":{made['secrets/postgres_password']}@postgres" in made["secrets/sql_alchemy_conn"]
    password = made["secrets/celery_broker_url"].removeprefix("redis://:").removesuffix("@redis:6379/0")
    assert f"requirepass {password}\n" in made["secrets/redis.conf"]
    assert not any(made[f"secrets/{name}"].endswith("\n") for name in ("sql_alchemy_conn", "celery_broker_url"))


def test_a_real_site_starts_without_keys_that_open_its_backups(deployment: Deployment) -> None:
    deployment.run("setup")
    made = deployment.files()
    assert made["config/spoqplus.yaml"] == (ROOT / "include/compose/site.yaml").read_text("utf-8")
    assert "worker-recovery/identity.txt" not in made
    assert "worker-backup/identity.txt" not in made
    assert made["worker-backup/connections.json"] == "{}\n"


def test_the_demonstration_gets_a_site_and_separate_accounts(deployment: Deployment) -> None:
    deployment.run("up", DEMO="1")
    made = deployment.files()
    assert "recipients: [age1demo]" in made["config/spoqplus.yaml"]
    backup, recovery = (json.loads(made[f"worker-{name}/connections.json"]) for name in ("backup", "recovery"))
    assert backup["spoqplus_mysql"]["login"] == "spoqplus_backup"
    assert recovery["spoqplus_mysql"]["login"] == "spoqplus_restore"
    assert backup["spoqplus_mysql"]["password"] != recovery["spoqplus_mysql"]["password"]
    assert "spoqplus_mysql" not in json.loads(made["api-server/connections.json"])
    assert "COMPOSE_PROFILES=demo\n" in deployment.env_file.read_text()


def test_containers_never_run_as_root(deployment: Deployment) -> None:
    deployment.run("setup")
    (uid,) = re.findall(r"^AIRFLOW_UID=(\d+)$", deployment.env_file.read_text(), re.MULTILINE)
    assert int(uid) == (os.getuid() or 50000)


# ---- other hosts, Kubernetes ----


def test_another_host_gets_what_it_needs_and_no_more(deployment: Deployment) -> None:
    deployment.run("setup")
    deployment.run("host", "busan", "10.0.0.5")
    made = deployment.files()
    mine = {name.removeprefix("hosts/busan/") for name in made if name.startswith("hosts/busan/")}
    assert mine == {
        "env",
        "config/busan.yaml",
        "secrets/celery_broker_url",
        "secrets/celery_result_backend",
        "worker-backup/connections.json",
        "worker-backup/signing.key",
        "worker-backup/signing.pub",
        "worker-backup/busan.pub",
    }
    assert made["hosts/busan/secrets/celery_broker_url"].endswith("@10.0.0.5:6379/0")
    assert "@10.0.0.5:5432/celery" in made["hosts/busan/secrets/celery_result_backend"]
    assert "SPOQPLUS_QUEUE=busan\n" in made["hosts/busan/env"]
    site = yaml.safe_load(made["hosts/busan/config/busan.yaml"])
    assert (site["site"], site["airflow"]["queue"], site["restore"]["queue"]) == ("busan", "busan", "recovery")
    assert [item["root"] for item in site["repositories"]] == [
        "file:///backup/repository/busan",
        "s3://spoqplus-backup-busan",
    ]
    assert {"worker-recovery/busan.pub", "api-server/busan.pub"} <= made.keys()


def test_the_compose_file_of_another_host_is_the_backup_worker_alone() -> None:
    text = (ROOT / "include" / "compose" / "worker.yaml").read_text("utf-8").replace("!reset", "")
    assert yaml.safe_load(text)["services"].keys() == {"worker-backup"}


def test_the_values_of_the_helm_chart_hold_no_secret_and_have_a_set_for_each_queue() -> None:
    values = yaml.safe_load((ROOT / "include" / "helm" / "values.yaml").read_text("utf-8"))
    claims = yaml.safe_load_all((ROOT / "include" / "helm" / "volumes.yaml").read_text("utf-8"))
    known = {claim["metadata"]["name"] for claim in claims}
    assert values["executor"] == "CeleryExecutor"
    assert f"=={values['airflowVersion']}" == pins("requirements.txt")["apache-airflow"]
    assert not {"fernetKey", "apiSecretKey", "jwtSecret"} & values.keys()
    assert values["createUserJob"]["enabled"] is False
    sets = {item["queue"]: item for item in values["workers"]["celery"]["sets"]}
    assert sets.keys() == {"backup", "recovery"}
    for item in sets.values():
        volumes = {volume["name"]: volume for volume in item["extraVolumes"]}
        assert {mount["name"] for mount in item["extraVolumeMounts"]} == volumes.keys()
        used = {v["persistentVolumeClaim"]["claimName"] for v in volumes.values() if "persistentVolumeClaim" in v}
        assert used <= known
        assert item["replicas"] == 1
