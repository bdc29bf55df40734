"""The doctor on a real installation: all that is well, then all that can be wrong, each with what to do."""

import json
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from spoqplus_backup.cli import main
from spoqplus_backup.core.doctor import look
from spoqplus_backup.core.mysql.sandbox import SandboxServer
from support import s3
from support.backups import PRODUCTION, TEST, Site, make_site
from support.servers import empty, rows

pytestmark = pytest.mark.integration

PASSWORD = "p4ssw0rd-of-the-backup"


@pytest.fixture(scope="module")
def endpoint() -> Iterator[str]:
    with s3.moto() as made:
        yield made


@pytest.fixture
def site(mariadb_server: SandboxServer, endpoint: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Site:
    empty(mariadb_server)
    rows(mariadb_server.connect(), "CREATE DATABASE spoqplus")
    monkeypatch.setattr(look, "PATIENCE_SECONDS", 120.0)
    uploads = tmp_path / "uploads"
    uploads.mkdir()
    made = make_site(
        tmp_path / "site",
        mariadb_server,
        mariadb_server,
        language="en",
        files=[{"name": "uploads", "paths": [str(uploads)]}],
        repositories=[
            {"name": "local", "root": f"file://{tmp_path}/repository"},
            {"name": "s3", "root": f"s3://{s3.BUCKET}", "connection": "spoqplus_aws"},
        ],
    )
    made.settings.staging.directory.mkdir(mode=0o700)
    made.connections.records["spoqplus_aws"] = s3.record(endpoint)
    made.export(monkeypatch)
    connect_s3(monkeypatch, endpoint)
    return made


def connect_s3(environment: pytest.MonkeyPatch, endpoint: str, attempts: int = 1) -> None:
    extra = {"endpoint_url": endpoint, "config_kwargs": {"retries": {"total_max_attempts": attempts}}}
    fields = {"conn_type": "aws", "login": s3.ACCESS_KEY, "password": PASSWORD, "extra": extra}
    environment.setenv("AIRFLOW_CONN_SPOQPLUS_AWS", json.dumps(fields))


def looked_at(capsys: pytest.CaptureFixture[str], *options: str) -> tuple[int, dict[tuple[str, str], dict[str, Any]]]:
    """The exit status, and each line by what it is about."""
    status = main(["doctor", "--json", *options])
    said = capsys.readouterr()
    assert PASSWORD not in said.out + said.err
    assert "Traceback" not in said.out + said.err
    checks = json.loads(said.out)["checks"]
    return status, {(check["area"], check["subject"]): check for check in checks}


@pytest.mark.usefixtures("site")
def test_a_good_installation(capsys: pytest.CaptureFixture[str]) -> None:
    status, found = looked_at(capsys)
    failed = [check["detail"] for check in found.values() if check["status"] == "failed"]
    assert (failed, status) == ([], 0)
    for seen in (
        ("connections", PRODUCTION), ("permissions", PRODUCTION), ("clock", PRODUCTION), ("tools", "mysqldump"),
        ("connections", "s3"), ("permissions", "s3"), ("clock", "s3"), ("permissions", "local"), ("space", "local"),
        ("keys", "signing.private_key_file"), ("keys", "signing.public_key_files[0]"), ("tools", "age"),
        ("tools", "tar"), ("permissions", "files[0].paths"), ("permissions", "staging.directory"),
        ("space", "staging.directory"),
    ):  # fmt: skip
        assert found[seen]["ok"] is not False, seen
    assert "mariadb" in found["connections", PRODUCTION]["detail"]
    assert found["tools", "age"]["detail"]

    assert main(["doctor", "--language", "ko"]) == 0
    korean = capsys.readouterr().out
    assert "정상" in korean
    assert "연결 · spoqplus_mysql: " in korean
    assert korean.splitlines()[-1].endswith("실패 0")
    assert main(["--site", "elsewhere", "doctor"]) == 1
    assert "No configuration file describes the site elsewhere" in capsys.readouterr().err
    assert main(["--site", "spoqplus", "doctor", "--restore"]) == 0
    restoring = capsys.readouterr().out
    assert "keys · encryption.identity_files[0]: good" in restoring
    assert f"connections · {TEST}: mariadb" in restoring


def test_everything_that_can_be_wrong_is_said_at_once(
    site: Site, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    connect_s3(monkeypatch, f"http://127.0.0.1:{s3.free_port()}")
    server = {"conn_type": "mysql", "host": "127.0.0.1", "port": s3.free_port(), "login": "b", "password": PASSWORD}
    monkeypatch.setenv("AIRFLOW_CONN_SPOQPLUS_MYSQL", json.dumps(server))
    private = site.settings.signing.private_key_file
    assert private is not None
    private.chmod(0o644)
    site.settings.files[0].paths[0].rmdir()
    site.settings.staging.directory.chmod(0o755)
    monkeypatch.setenv("PATH", "/nonexistent")

    began = time.monotonic()
    status, found = looked_at(capsys)
    assert time.monotonic() - began < 100
    assert status == 1
    for about, words in {
        ("connections", PRODUCTION): "Can't connect to the database server 127.0.0.1",
        ("connections", "s3"): "s3",
        ("keys", "signing.private_key_file"): "chmod 600",
        ("permissions", "files[0].paths"): "is not there",
        ("tools", "age"): "apt-get install age",
    }.items():
        assert found[about]["ok"] is False, about
        assert words in found[about]["detail"]
    assert found["tools", "setpriv"]["status"] == "warning"
    assert "chmod 700" in found["permissions", "staging.directory"]["detail"]
    assert found["connections", "local"]["ok"] is True, "what is well is said, too"


def test_a_login_that_may_not_read_and_a_file_that_is_wrong(
    site: Site, mariadb_server: SandboxServer, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    rows(mariadb_server.connect(), f"CREATE USER poor@'%' IDENTIFIED BY '{PASSWORD}'")
    rows(mariadb_server.connect(), "GRANT SELECT ON *.* TO poor@'%'")
    login = {"conn_type": "mysql", "login": "poor", "password": PASSWORD}
    extra = {"extra": {"unix_socket": str(mariadb_server.socket)}}
    for (host,) in rows(mariadb_server.connect(), "SELECT Host FROM mysql.user WHERE User = ''"):
        rows(mariadb_server.connect(), f"DROP USER ''@'{host}'")
    monkeypatch.setenv("AIRFLOW_CONN_SPOQPLUS_MYSQL", json.dumps(login | extra))
    status, found = looked_at(capsys)
    assert status == 1
    assert "lacks SHOW VIEW" in found["permissions", PRODUCTION]["detail"]

    site.settings.source.write_text("site: [spoqplus]\n")
    status, found = looked_at(capsys)
    assert status == 1
    assert "`site`" in found["configuration", str(site.settings.source)]["detail"]
