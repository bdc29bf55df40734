"""The pool that dumps stand in line for is there when the scheduler has started."""

import support.airflow_home  # noqa: F401, I001 (before Airflow is imported)

import contextlib
from collections.abc import Iterator
from pathlib import Path

import pytest
import sqlalchemy
from airflow.models.pool import Pool
from sqlalchemy.orm import Session

from spoqplus_backup import pools
from spoqplus_backup.sites import sites

RECIPIENT = "age1ymxyng7j0w4d88k3ql9rxtjvdf6c9yk7ahlkhftpxheasrr0j4eshggk8g"
SITE = f"encryption: {{recipients: [{RECIPIENT}]}}\nsigning: {{public_key_files: [signing.pub]}}\n"


class Job:
    """What Airflow's scheduler calls itself with."""


class TaskRunnerMarker:
    """What a task's process does."""


@pytest.fixture
def engine(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[sqlalchemy.Engine]:
    """A database with Airflow's table of pools; two sites are configured."""
    made = sqlalchemy.create_engine(f"sqlite:///{tmp_path}/airflow.db")
    Pool.__table__.create(made)

    @contextlib.contextmanager
    def create_session() -> Iterator[Session]:
        with Session(made) as session, session.begin():
            yield session

    monkeypatch.setattr("airflow.utils.session.create_session", create_session)
    folder = tmp_path / "sites"
    folder.mkdir()
    (folder / "seoul.yaml").write_text(SITE)
    (folder / "busan.yaml").write_text(
        f"{SITE}site: busan\nairflow: {{pool: the_server}}\nrepositories: [{{name: local, root: 'file:///busan'}}]\n"
    )
    monkeypatch.setenv("SPOQPLUS_BACKUP_CONFIG", str(folder))
    sites.cache_clear()
    yield made
    sites.cache_clear()
    made.dispose()


def slots(engine: sqlalchemy.Engine) -> dict[str, int]:
    with Session(engine) as session:
        return {pool.pool: pool.slots for pool in session.scalars(sqlalchemy.select(Pool))}


def test_the_scheduler_makes_what_is_missing(engine: sqlalchemy.Engine) -> None:
    pools.on_starting(Job())
    assert slots(engine) == {"spoqplus_database": 1, "the_server": 1}


def test_a_pool_that_is_there_stays_as_it_is(engine: sqlalchemy.Engine) -> None:
    with Session(engine) as session, session.begin():
        session.add(Pool(pool="the_server", slots=4, description="", include_deferred=False))
    for _ in range(2):
        pools.on_starting(Job())
    assert slots(engine) == {"spoqplus_database": 1, "the_server": 4}


def test_a_task_makes_none(engine: sqlalchemy.Engine) -> None:
    pools.on_starting(TaskRunnerMarker())
    assert slots(engine) == {}


def test_a_wrong_configuration_does_not_stop_the_scheduler(
    engine: sqlalchemy.Engine, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    monkeypatch.setenv("SPOQPLUS_BACKUP_CONFIG", "/nowhere.yaml")
    sites.cache_clear()
    pools.on_starting(Job())
    assert slots(engine) == {}
    assert "No pools are made: /nowhere.yaml can't be read" in caplog.text


def test_the_plugin_listens() -> None:
    from spoqplus_plugin import SpoqplusPlugin

    assert SpoqplusPlugin.listeners == [pools]
