"""Airflow's own API server in this process, with our plugin, its users, and a site that has something to show."""

import support.airflow_home  # noqa: F401, I001 (before Airflow is imported)

import json
import math
import os
import secrets
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, ClassVar

import pytest

ROLES = {"boss": "admin", "oncall": "user", "auditor": "viewer"}
# Airflow reads them when its modules are imported
os.environ |= {
    "AIRFLOW__CORE__SIMPLE_AUTH_MANAGER_USERS": ",".join(f"{name}:{role}" for name, role in ROLES.items()),
    "AIRFLOW__API_AUTH__JWT_SECRET": secrets.token_hex(64),
    "AIRFLOW__API__SECRET_KEY": secrets.token_hex(32),
}

from airflow import settings as airflow_settings  # noqa: E402
from airflow.api_fastapi.app import create_app, get_auth_manager  # noqa: E402
from airflow.api_fastapi.auth.managers.simple.user import SimpleAuthManagerUser  # noqa: E402
from airflow.models.revoked_token import RevokedToken  # noqa: E402
from fastapi import FastAPI  # noqa: E402
from fastapi.testclient import TestClient  # noqa: E402
from httpx import Response  # noqa: E402

from spoqplus_backup.core.connections import EnvironmentConnections  # noqa: E402
from spoqplus_backup.core.monitor.index import SiteIndex  # noqa: E402
from spoqplus_backup.core.proof.store import store_proof  # noqa: E402
from spoqplus_backup.sites import sites  # noqa: E402
from spoqplus_backup.web import indexes  # noqa: E402
from support import s3  # noqa: E402
from support.history import DAY, HOUR, Past, make_past  # noqa: E402
from support.keys import age_pair, signing_pair  # noqa: E402
from support.proofs import proof_of  # noqa: E402

HOST = "https://airflow.example"


@pytest.fixture(scope="session")
def airflow_app() -> FastAPI:
    """The application, with what it asks its database at each request."""
    RevokedToken.__table__.create(airflow_settings.engine, checkfirst=True)
    return create_app(apps="core")


@pytest.fixture(scope="session")
def endpoint() -> Iterator[str]:
    with s3.moto() as made:
        yield made


@dataclass
class Server:
    """Asks as one of the users, or as nobody."""

    app: FastAPI

    def ask(self, user: str | None, method: str, path: str, **options: Any) -> Response:
        headers = dict(options.pop("headers", {}))
        client = TestClient(self.app, base_url=HOST, follow_redirects=False)
        if user is not None:
            made = SimpleAuthManagerUser(username=user, role=ROLES[user], teams=None)
            client.cookies.set("_token", get_auth_manager().generate_jwt(made))
        response: Response = client.request(method, path, headers=headers, **options)
        return response

    def get(self, path: str, user: str = "auditor", **options: Any) -> Any:
        """The answer of a route of the API that has to answer."""
        response = self.ask(user, "GET", f"/spoqplus/api/{path}", **options)
        assert response.status_code == 200, response.text
        return response.json()

    def change(self, user: str, method: str, path: str, body: Any = None, **headers: str) -> Response:
        """What our own page sends."""
        sent = {"content-type": "application/json", "sec-fetch-site": "same-origin", "origin": HOST} | {
            name.replace("_", "-"): value for name, value in headers.items()
        }
        content = None if body is None else json.dumps(body)
        return self.ask(user, method, f"/spoqplus/api/{path}", content=content, headers=sent)


@pytest.fixture
def server(airflow_app: FastAPI) -> Server:
    return Server(airflow_app)


@dataclass
class World:
    """A site with a folder and a bucket; `secrets` must never be seen."""

    past: Past
    older: str
    newer: str
    forged: str
    test_id: str
    secrets: dict[str, str] = field(default_factory=dict)

    def look(self) -> None:
        """What the thread behind the API does from time to time, at once."""
        for index in QuietIndex.made:
            index.look()


class QuietIndex(SiteIndex):
    """Looks when it is told to, and only then."""

    made: ClassVar[list["QuietIndex"]] = []

    def __init__(self, *words: Any) -> None:
        super().__init__(*words)
        self._next_look = math.inf
        self.made.append(self)


@pytest.fixture
def world(tmp_path: Path, endpoint: str, monkeypatch: pytest.MonkeyPatch) -> Iterator[World]:
    known = {name: f"{name}-{secrets.token_hex(12)}" for name in ("mysql", "bucket", "webhook", "password", "git")}
    identity = age_pair(tmp_path, "reader")
    connections = {
        "spoqplus_aws": {
            "conn_type": "aws",
            "login": s3.ACCESS_KEY,
            "password": known["bucket"],
            "extra": s3.record(endpoint).extra,
        },
        "spoqplus_mysql": {"conn_type": "mysql", "login": "backup", "password": known["mysql"]},
        "spoqplus_slack": {"conn_type": "slackwebhook", "password": known["webhook"]},
        "spoqplus_backup_password": {"conn_type": "generic", "password": known["password"]},
        "spoqplus_git": {"conn_type": "generic", "login": "git", "password": known["git"]},
    }
    for name, fields in connections.items():
        monkeypatch.setenv(f"AIRFLOW_CONN_{name.upper()}", json.dumps(fields))
    past = make_past(
        tmp_path / "site",
        endpoint,
        tmp_path.name,
        slack={"connection": "spoqplus_slack"},
        encryption={"recipients": [identity.recipient], "identity_files": [str(identity.identity_file)]},
        config_git={"remote": "https://git.example/config.git", "connection": "spoqplus_git"},
    )
    monkeypatch.setenv("SPOQPLUS_BACKUP_CONFIG", str(past.settings.source))
    monkeypatch.setattr(indexes, "SiteIndex", QuietIndex)
    sites.cache_clear()
    key = past.keys.private.read_text().splitlines()[1]
    secret = identity.identity_file.read_text().splitlines()[-1]
    yield _filled(past, known | {"signing key": key, "age identity": secret})
    sites.cache_clear()
    QuietIndex.made.clear()


def _filled(past: Past, known: dict[str, str]) -> World:
    local, bucket = past.repository(), past.repository("s3")
    recipient = past.settings.encryption.recipients
    fields: dict[str, Any] = {
        "encryption": {"scheme": "age", "recipients": recipient},
        "tools": {"mysqldump": "10.11.6"},
        "warnings": ("The disk is 81 % full.",),
        "run_id": "spoqplus_daily_backup/scheduled__2026-01-01T18:00:00+00:00",
    }
    older = past.publish(local, "daily", DAY * 2, **fields)
    newer = past.publish(local, "daily", HOUR, **fields | {"run_id": "spoqplus_daily_backup/manual__1"})
    for name in (older, newer):
        for key in local.list(f"{name}/"):
            bucket.put_bytes(key, local.read(key))
    forged = past.publish(local, "weekly", DAY, keys=signing_pair(past.folder, "forger"))
    proof = proof_of(site="spoqplus", backup=older, run_id="spoqplus_recovery_test/manual__7")
    store_proof(past.settings, [local, bucket], proof, "<html>the report</html>")
    made = World(past, older, newer, forged, proof.id, known)
    SiteIndex(past.settings, EnvironmentConnections()).look()
    return made


@pytest.fixture
def down(world: World, monkeypatch: pytest.MonkeyPatch) -> Callable[[], None]:
    """Makes the bucket unreachable, and has everybody look."""

    def act() -> None:
        extra = dict(s3.record(f"http://127.0.0.1:{s3.free_port()}").extra)
        extra["config_kwargs"] = {"retries": {"mode": "standard", "total_max_attempts": 1}}
        fields = {"conn_type": "aws", "login": s3.ACCESS_KEY, "password": world.secrets["bucket"], "extra": extra}
        monkeypatch.setenv("AIRFLOW_CONN_SPOQPLUS_AWS", json.dumps(fields))
        world.look()

    return act
