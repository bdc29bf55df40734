"""Fixtures for every kind of test: real database servers, started when the first test asks for one."""

from collections.abc import Iterator

import pytest

from spoqplus_backup.core.mysql.sandbox import SandboxServer
from support import servers


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    """When tests run on several workers, those of a file stay together, and so do those that share one Airflow."""
    for item in items:
        group = "e2e" if item.get_closest_marker("e2e") else item.path.as_posix()
        item.add_marker(pytest.mark.xdist_group(group))


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
