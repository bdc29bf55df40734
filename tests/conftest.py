"""Fixtures for every kind of test: real database servers, started when the first test asks for one."""

import os
from collections.abc import Iterator
from typing import Any

import pytest
from xdist.scheduler import LoadFileScheduling

from spoqplus_backup.core import confine, process
from spoqplus_backup.core.mysql.sandbox import SandboxServer
from support import servers, terraform


@pytest.hookimpl(optionalhook=True)
def pytest_xdist_make_scheduler(config: pytest.Config, log: Any) -> LoadFileScheduling:
    """On several workers the tests of a file stay together, and so do all of those that share one Airflow.

    (`--dist=loadgroup`, which is there for this, does nothing with pytest 9.2 and pytest-xdist 3.8: it sets an
    attribute that is no longer read.)
    """

    class OneAirflow(LoadFileScheduling):
        def _split_scope(self, nodeid: str) -> str:
            file = str(super()._split_scope(nodeid))
            return next((folder for folder in ("tests/e2e", "tests/web") if file.startswith(f"{folder}/")), file)

    return OneAirflow(config, log)


@pytest.hookimpl(tryfirst=True)
def pytest_terminal_summary(terminalreporter: Any) -> None:
    """Say plainly what the tests of Terraform ran with."""
    ran = [
        item
        for items in terminalreporter.stats.values()
        for item in items
        if "terraform" in getattr(item, "nodeid", "")
    ]
    if ran:
        terminalreporter.write_line(f"Terraform: {terraform.used()}.")


@pytest.fixture(scope="session")
def mariadb_server(tmp_path_factory: pytest.TempPathFactory) -> Iterator[SandboxServer]:
    """MariaDB for the whole session, to back up from. Use `db_server` to find it empty."""
    yield from servers.running("mariadb", tmp_path_factory.mktemp("mariadb"))


@pytest.fixture(scope="session")
def mysql_server(tmp_path_factory: pytest.TempPathFactory) -> Iterator[SandboxServer]:
    """MySQL for the whole session, to back up from. Use `db_server` to find it empty."""
    yield from servers.running("mysql", tmp_path_factory.mktemp("mysql"))


@pytest.fixture(scope="session")
def mariadb_target(tmp_path_factory: pytest.TempPathFactory) -> Iterator[SandboxServer]:
    """A second MariaDB, to restore to."""
    yield from servers.running("mariadb", tmp_path_factory.mktemp("mariadb-target"))


@pytest.fixture(scope="session")
def mysql_target(tmp_path_factory: pytest.TempPathFactory) -> Iterator[SandboxServer]:
    """A second MySQL, to restore to."""
    yield from servers.running("mysql", tmp_path_factory.mktemp("mysql-target"))


@pytest.fixture(autouse=True)
def own_programs(monkeypatch: pytest.MonkeyPatch) -> Iterator[None]:
    """Cancelling ends the programs that a test started itself, never the servers that many tests share."""
    monkeypatch.setattr(process, "_running", set())
    yield
    process.reset_cancellation()


@pytest.fixture(autouse=True)
def unconfined() -> Iterator[None]:
    """A command line or a task that a test runs in this process confines it: the next test begins as any process."""
    before = os.umask(0o022)
    os.umask(before)
    yield
    os.umask(before)
    confine.set_dumpable(True)


@pytest.fixture(params=["mariadb", "mysql"])
def db_server(request: pytest.FixtureRequest) -> SandboxServer:
    """Each test runs twice, once with each vendor's server, which is empty when the test begins."""
    server: SandboxServer = request.getfixturevalue(f"{request.param}_server")
    servers.empty(server)
    return server


@pytest.fixture
def restore_target(request: pytest.FixtureRequest, db_server: SandboxServer) -> SandboxServer:
    """Another, empty server of the same vendor as `db_server`."""
    server: SandboxServer = request.getfixturevalue(f"{db_server.flavour}_target")
    servers.empty(server)
    return server
