"""A server rebuilt from nothing: stopped, moved aside, made anew, and put back when that fails."""

from collections.abc import Iterator
from pathlib import Path

import pytest

from spoqplus_backup.core.connections import DatabaseLogin, database_login
from spoqplus_backup.core.errors import PermanentError
from spoqplus_backup.core.mysql import server
from spoqplus_backup.core.process import ProcessError
from spoqplus_backup.core.recovery import rebuild as rebuilding
from spoqplus_backup.core.recovery.rebuild import Rebuild
from spoqplus_backup.core.settings import RebuildSettings
from support import servers
from support.service import Service, make_service

pytestmark = pytest.mark.integration


@pytest.fixture(scope="module", params=["mariadb", "mysql"])
def service(request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Service]:
    """A running service whose server holds one table."""
    folder = tmp_path_factory.mktemp(f"rebuild-{request.param}")
    vendor = servers.programs(request.param)
    with servers.start(folder / "first", request.param, tcp=False) as first:
        connection = first.connect()
        servers.rows(connection, "CREATE DATABASE club")
        servers.rows(connection, "CREATE TABLE club.members (id INT PRIMARY KEY) SELECT 1 AS id")
        connection.close()
    made = make_service(folder / f"service-{request.param}", vendor, folder / "first" / "data")
    yield made
    made.kill()
    made.socket.unlink(missing_ok=True)


@pytest.fixture
def job(service: Service, tmp_path: Path, request: pytest.FixtureRequest) -> Iterator[Rebuild]:
    """A rebuild of the running service; whatever a test leaves is brought back to the service as it was."""
    flavour = "mariadb" if "mariadb" in service.folder.name else "mysql"
    vendor = servers.programs(flavour)  # type: ignore[arg-type]
    settings = RebuildSettings(
        data_directory=service.data,
        stop=service.stop,
        start=service.start,
        defaults_file=service.folder / "my.cnf",
        server_directory=vendor.bin_dir,
        memory_mib=64,
        answer_seconds=60,
        keep_old=True,
    )
    login = database_login(service.record("any"))
    made = Rebuild(settings, login, tmp_path / "restore", tmp_path.name, flavour)  # type: ignore[arg-type]
    (tmp_path / "restore").mkdir()
    if not answers(login):
        rebuilding.start_service(made)
    yield made
    if made.record is not None and made.record.state != "put_back":
        rebuilding.put_back(made)


def answers(login: DatabaseLogin) -> bool:
    return rebuilding._answers(login)


def members(login: DatabaseLogin) -> list[int]:
    with server.connect(login) as connection:
        return [number for (number,) in connection.rows("SELECT id FROM club.members ORDER BY id")]


def fill(job: Rebuild, number: int) -> None:
    """What a restore would do."""
    with rebuilding.private_server(job) as running:
        connection = running.connect()
        servers.rows(connection, "CREATE DATABASE club")
        servers.rows(connection, f"CREATE TABLE club.members (id INT PRIMARY KEY) SELECT {number} AS id")
        connection.close()


def test_a_server_is_rebuilt_and_put_back(job: Rebuild) -> None:
    rebuilding.rebuild(job)
    assert not answers(job.login)
    fill(job, 2)
    assert not answers(job.login), "nobody else reaches the new server before it is whole"
    rebuilding.finish(job)
    assert members(job.login) == [2]
    rebuilding.put_back(job)
    assert members(job.login) == [1]
    record = job.record
    assert record is not None
    assert record.failed.is_dir(), "what was made is not thrown away"


def test_a_rebuild_that_is_started_again_goes_on(job: Rebuild) -> None:
    rebuilding.rebuild(job)
    fill(job, 3)
    rebuilding.rebuild(job)
    with rebuilding.private_server(job) as running:
        assert members(rebuilding.private_login(running)) == [3]


def test_a_rebuild_that_died_while_it_made_the_new_server_begins_that_again(job: Rebuild) -> None:
    job.note("stopping")
    rebuilding.stop_service(job)
    record = job.note("moving")
    job.path.rename(record.old)
    job.path.mkdir()
    (job.path / "half").write_text("initialised")
    rebuilding.rebuild(job)
    assert not (job.path / "half").exists()
    fill(job, 4)


def test_the_old_directory_goes_once_the_service_answers_unless_it_is_to_be_kept(job: Rebuild) -> None:
    rebuilding.rebuild(job)
    fill(job, 5)
    record = job.record
    assert record is not None
    copy = record.old.with_name("copy")
    record.old.rename(copy)  # the other tests need it
    record.old.mkdir()
    (record.old / "file").touch()
    gone = Rebuild(job.settings.model_copy(update={"keep_old": False}), job.login, job.directory, job.name, job.flavour)
    rebuilding.finish(gone)
    assert not record.old.exists()
    with pytest.raises(PermanentError, match="nothing to put back"):
        rebuilding.put_back(gone)
    copy.rename(record.old)


def test_the_old_directory_stays_while_the_service_does_not_start(job: Rebuild) -> None:
    rebuilding.rebuild(job)
    fill(job, 6)
    broken = job.settings.model_copy(update={"start": ("false",), "keep_old": False})
    with pytest.raises(ProcessError, match="false failed"):
        rebuilding.finish(Rebuild(broken, job.login, job.directory, job.name, job.flavour))
    record = job.record
    assert record is not None
    assert record.old.exists()
    rebuilding.put_back(job)
    assert members(job.login) == [1]


def test_putting_back_goes_on_where_it_died(job: Rebuild) -> None:
    rebuilding.rebuild(job)
    record = job.note("putting_back")
    job.path.rename(record.failed)
    rebuilding.put_back(job)
    assert members(job.login) == [1]
    rebuilding.put_back(job)
    assert members(job.login) == [1]


def test_a_private_server_is_never_started_on_the_service_s_own_data(job: Rebuild) -> None:
    with pytest.raises(PermanentError, match="clear the task rebuild"), rebuilding.private_server(job):
        pass
    assert members(job.login) == [1]


@pytest.mark.parametrize("wrong", ["missing", "link", "no data"])
def test_nothing_is_stopped_when_the_directory_can_t_be_moved(job: Rebuild, tmp_path: Path, wrong: str) -> None:
    path = tmp_path / "elsewhere"
    if wrong == "link":
        path.symlink_to(job.path)
    elif wrong == "no data":
        path.mkdir()
    settings = job.settings.model_copy(update={"data_directory": path})
    with pytest.raises(PermanentError, match="data directory|no folder mysql"):
        rebuilding.rebuild(Rebuild(settings, job.login, job.directory, job.name, job.flavour))
    assert members(job.login) == [1]
    assert job.record is None


def test_a_service_that_goes_on_answering_is_told(job: Rebuild, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(rebuilding, "STOP_SECONDS", 0.5)
    deaf = Rebuild(job.settings.model_copy(update={"stop": ("true",)}), job.login, job.directory, job.name, job.flavour)
    with pytest.raises(Exception, match="still answers"):
        rebuilding.rebuild(deaf)
    assert members(job.login) == [1]
    assert job.path.exists()


def test_without_settings_it_says_what_to_set(tmp_path: Path) -> None:
    with pytest.raises(PermanentError, match=r"restore\.rebuild"):
        rebuilding.rebuild_for(None, None, "spoqplus_mysql", tmp_path, "mariadb")  # type: ignore[arg-type]
