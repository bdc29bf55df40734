"""A production server of each vendor that the tests of a file may restart, kill and reset."""

from collections.abc import Iterator

import pytest

from support.production import ProductionServer, production


@pytest.fixture(scope="module", params=["mariadb", "mysql"])
def running(request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory) -> Iterator[ProductionServer]:
    yield from production(tmp_path_factory.mktemp(request.param), request.param)


@pytest.fixture
def db(running: ProductionServer) -> ProductionServer:
    """As it was first: an empty ledger, and logs that begin here."""
    running.renew()
    return running
