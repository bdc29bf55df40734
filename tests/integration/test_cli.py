"""A restore from a shell, without Airflow: to a test server, and over production."""

import io
from pathlib import Path

import pytest

from compare import differences, snapshot
from spoqplus_backup.cli import main
from spoqplus_backup.core.mysql.sandbox import SandboxServer
from support.backups import Site, make_site
from support.servers import databases, empty, rows

pytestmark = pytest.mark.integration


def build(server: SandboxServer) -> None:
    connection = server.connect()
    for statement in (
        "CREATE DATABASE spoqplus",
        "CREATE TABLE spoqplus.members (id INT PRIMARY KEY, name VARCHAR(50) CHARACTER SET utf8mb4)",
        "INSERT INTO spoqplus.members VALUES (1, '김철수 🏸'), (2, 'O''Brien')",
        "CREATE VIEW spoqplus.names AS SELECT name FROM spoqplus.members",
    ):
        rows(connection, statement)
    connection.commit()


@pytest.fixture
def site(
    mariadb_server: SandboxServer,
    mariadb_target: SandboxServer,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
) -> Site:
    """A site that was backed up, its connections as the command line finds them."""
    for server in (mariadb_server, mariadb_target):
        empty(server)
    build(mariadb_server)
    made = make_site(tmp_path, mariadb_server, mariadb_target)
    made.back_up()
    made.export(monkeypatch)
    return made


@pytest.mark.usefixtures("site")
def test_to_the_test_server(
    mariadb_server: SandboxServer, mariadb_target: SandboxServer, capsys: pytest.CaptureFixture[str]
) -> None:
    assert main(["check-config", "--restore"]) == 0
    assert main(["restore", "--dry-run"]) == 0
    assert databases(mariadb_target.connect()) == []

    assert main(["restore"]) == 0

    before = snapshot(mariadb_server.connect(), ["spoqplus"], accounts=False)
    assert differences(before, snapshot(mariadb_target.connect(), ["spoqplus"], accounts=False)) == []
    shown = capsys.readouterr().out
    assert "verify_restore: " in shown
    assert "tables 1, rows 2" in shown


@pytest.mark.usefixtures("site")
def test_over_production_it_asks_and_saves_what_is_there(
    mariadb_server: SandboxServer,
    capsys: pytest.CaptureFixture[str],
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    production = mariadb_server.connect()
    before = snapshot(production, ["spoqplus"], accounts=False)
    rows(production, "UPDATE spoqplus.members SET name = 'garbled'")
    production.commit()
    garbled = snapshot(production, ["spoqplus"], accounts=False)

    for answer in ("", "yes\n"):
        monkeypatch.setattr("sys.stdin", io.StringIO(answer))
        assert main(["restore", "--environment", "production"]) == 1
    assert "Nothing was changed." in capsys.readouterr().out
    assert differences(garbled, snapshot(mariadb_server.connect(), ["spoqplus"], accounts=False)) == []

    monkeypatch.setattr("sys.stdin", io.StringIO("spoqplus\n"))
    assert main(["restore", "--environment", "production"]) == 0
    assert differences(before, snapshot(mariadb_server.connect(), ["spoqplus"], accounts=False)) == []

    shown = capsys.readouterr().out
    saved = shown.partition("was saved as ")[2].partition(".")[0]
    assert saved.startswith("safety/")
    assert main(["restore", "--environment", "production", "--backup", saved, "--yes", "--no-safety-backup"]) == 0
    assert differences(garbled, snapshot(mariadb_server.connect(), ["spoqplus"], accounts=False)) == []


@pytest.mark.usefixtures("site")
def test_it_goes_on_after_a_failure(
    mariadb_target: SandboxServer, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    def interrupt(*_: object, **__: object) -> None:
        raise KeyboardInterrupt

    with monkeypatch.context() as patch:
        patch.setattr("spoqplus_backup.cli.load_set", interrupt)
        assert main(["restore"]) == 130
    run = capsys.readouterr().out.partition("--resume ")[2].split()[0]

    assert main(["restore", "--resume", run]) == 0

    assert databases(mariadb_target.connect()) == ["spoqplus"]


@pytest.mark.usefixtures("site")
def test_a_wrong_request_is_refused(capsys: pytest.CaptureFixture[str]) -> None:
    for arguments, words in (
        (["--components", "uploads"], "The parameter components has uploads"),
        (["--tables", "members"], "write database.table"),
        (["--backup", "20200101"], "There is no backup 20200101"),
        (["--resume", "cli/none"], "There is no plan of cli/none"),
    ):
        assert main(["restore", *arguments]) == 1
        assert words in capsys.readouterr().err
