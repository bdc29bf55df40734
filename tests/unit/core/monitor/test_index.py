"""The catalogue of a site: always at hand, from the cache after a restart, and never from what nobody signed."""

import shutil
import sqlite3
import threading
from datetime import timedelta
from pathlib import Path
from typing import Any

import pytest

from spoqplus_backup.core.errors import BackupError
from spoqplus_backup.core.manifest import MANIFEST, BinlogRange, Coordinates, RecoveryPoint
from spoqplus_backup.core.monitor import looking
from spoqplus_backup.core.monitor.catalogue import Catalogue, thinned
from spoqplus_backup.core.monitor.index import SiteIndex
from spoqplus_backup.core.monitor.looking import Asked
from spoqplus_backup.core.proof.store import store_proof
from spoqplus_backup.core.repository.catalog import Catalog, Proved, SetRef
from spoqplus_backup.core.repository.details import prove_listed
from spoqplus_backup.core.repository.details_cache import DetailsCache
from spoqplus_backup.core.repository.holds import hold, release
from spoqplus_backup.core.repository.local import LocalRepository
from support.history import DAY, HOUR, Past, make_past, now
from support.keys import signing_pair
from support.proofs import proof_of


@pytest.fixture
def past(tmp_path: Path) -> Past:
    """A site with two folders: one here, one elsewhere."""
    away = {"name": "away", "root": f"file://{tmp_path}/away", "medium": "object-storage", "offsite": True}
    (tmp_path / "away").mkdir()
    here = {"name": "local", "root": f"file://{tmp_path}/repository"}
    return make_past(tmp_path, repositories=[here, away])


def publish(past: Past, cadence: str, age: timedelta, *names: str, **fields: Any) -> str:
    """One and the same set in repositories; its name."""
    first, *others = (past.repository(name) for name in names or ("local", "away"))
    name = past.publish(first, cadence, age, **fields)
    for other in others:
        for key in first.list(f"{name}/"):
            other.put_bytes(key, first.read(key))
    return name


def index_of(past: Past, **options: Any) -> SiteIndex:
    return SiteIndex(past.settings, past.connections, **options)


def looked(past: Past, index: SiteIndex | None = None) -> Catalogue:
    """What a look finds."""
    index = index or index_of(past, least_seconds=0)
    index.look()
    return index.catalogue()


@pytest.fixture
def reads(monkeypatch: pytest.MonkeyPatch) -> list[str]:
    """The manifests that are read because they are new."""
    names: list[str] = []

    def noted(catalog: Catalog, ref: SetRef, size: int) -> Proved:
        names.append(f"{catalog.repository.name} {ref.name}")
        return prove_listed(catalog, ref, size)

    monkeypatch.setattr(looking, "prove_listed", noted)
    return names


def test_sets_come_with_all_that_a_list_shows(past: Past) -> None:
    older = publish(past, "daily", DAY * 2)
    newer = publish(past, "daily", DAY)
    publish(past, "weekly", DAY * 3, "local")
    seen = looked(past)
    assert [row.cadence for row in seen.rows] == ["weekly", "daily", "daily"]
    row = seen.by_name[newer]
    assert row.repositories == ("local", "away")
    assert seen.copies_of(row).holds
    assert not seen.copies_of(seen.rows[0]).holds
    assert row.line is not None
    assert row.line.contents == ("database",)
    assert row.line.seconds == 60
    assert row.change == 0
    assert seen.by_name[older].change is None
    assert seen.newest_full == row
    assert seen.is_complete
    assert {name: state.is_up for name, state in seen.repositories.items()} == {"local": True, "away": True}
    assert [found.name for found in seen.made_by("test/run")] == [item.name for item in seen.rows]


def test_only_new_manifests_are_read_also_by_another_process(past: Past, reads: list[str]) -> None:
    publish(past, "daily", DAY * 2)
    index = index_of(past, least_seconds=0)
    looked(past, index)
    assert len(reads) == 2, "one in each repository"
    reads.clear()
    newer = publish(past, "daily", DAY)
    assert len(looked(past, index).rows) == 2
    assert sorted(reads) == [f"away {newer}", f"local {newer}"]
    reads.clear()
    assert looked(past).rows == index.catalogue().rows
    assert reads == []


def test_a_process_that_starts_answers_from_the_cache(past: Past, reads: list[str]) -> None:
    """Whatever the repositories do meanwhile."""
    publish(past, "daily", DAY)
    before = looked(past)
    reads.clear()
    shutil.rmtree(past.folder / "repository")
    seen = index_of(past).catalogue()
    assert (seen.rows, seen.repositories, seen.as_of) == (before.rows, before.repositories, before.as_of)
    assert reads == []


def test_a_process_takes_over_what_another_has_just_found(past: Past, monkeypatch: pytest.MonkeyPatch) -> None:
    first, second = index_of(past), index_of(past)
    second.look()
    publish(past, "daily", DAY)
    first._least_seconds = 0
    first.look()
    monkeypatch.setattr(Catalog, "marked", lambda *_: pytest.fail("it listed again"))
    second.look()
    assert second.catalogue().rows == first.catalogue().rows != ()


def test_a_repository_that_is_down_shows_as_such_and_its_sets_stay(past: Past) -> None:
    name = publish(past, "daily", DAY)
    index = index_of(past, least_seconds=0)
    looked(past, index)
    (past.folder / "away").rename(past.folder / "gone")
    seen = looked(past, index)
    state = seen.repositories["away"]
    assert state.is_up is False
    assert str(past.folder / "away") in str(state.error)
    assert state.as_of is not None
    assert seen.repositories["local"].is_up
    assert seen.by_name[name].repositories == ("local", "away"), "as last seen"
    (past.folder / "gone").rename(past.folder / "away")
    assert looked(past, index).repositories["away"].error is None


def test_one_that_never_answers_holds_up_nobody(past: Past, monkeypatch: pytest.MonkeyPatch) -> None:
    publish(past, "daily", DAY)
    answers, asked = threading.Event(), []
    cadences = Catalog.cadences

    def slow(self: Catalog) -> tuple[str, ...]:
        if self.repository.name == "away":
            asked.append(1)
            answers.wait(60)
        return cadences(self)

    monkeypatch.setattr(Catalog, "cadences", slow)
    index = index_of(past, patience_seconds=0.05, least_seconds=0)
    for _ in range(4):
        seen = looked(past, index)
        assert seen.repositories["away"].is_up is False
        assert "0.05 s" in str(seen.repositories["away"].error)
        assert len(seen.rows) == 1
    assert len(asked) <= 2, "for its sets and for the promises: not again before it has answered"
    answers.set()


def test_an_unforeseen_error_is_the_repositorys(caplog: pytest.LogCaptureFixture) -> None:
    """And its words, which may hold anything, stay in the log."""

    def fail() -> None:
        raise ValueError("the password is 1234")

    with pytest.raises(BackupError, match="ValueError") as caught:
        Asked(fail).answer(10)
    assert "1234" not in str(caught.value)
    assert "1234" in caplog.text


def test_a_forged_manifest_is_a_problem_and_no_set_that_counts(past: Past) -> None:
    good = publish(past, "daily", DAY * 2)
    forged = publish(past, "daily", DAY, "local", keys=signing_pair(past.folder, "forger"))
    seen = looked(past)
    row = seen.by_name[forged]
    assert row.line is None
    assert row.repositories == ()
    assert row.problem is not None
    assert "not signed" in row.problem
    assert seen.newest_full == seen.by_name[good]
    assert seen.last["daily"] == seen.rows[0].line.finished_at if seen.rows[0].line else None
    assert len(seen.good) == 1
    again = index_of(past).catalogue()
    assert again.by_name[forged] == row, "a process that starts knows it too"


def test_a_copy_that_was_replaced_does_not_count(past: Past) -> None:
    name = publish(past, "daily", DAY)
    index = index_of(past, least_seconds=0)
    looked(past, index)
    away = past.repository("away")
    away.put_bytes(f"{name}/{MANIFEST}", away.read(f"{name}/{MANIFEST}").replace(b'"test/run"', b'"evil/run"'))
    row = looked(past, index).by_name[name]
    assert row.repositories == ("local",)
    assert "away" in str(row.problem)
    assert row.line is not None
    assert not index.catalogue().copies_of(row).holds


def test_what_was_deleted_goes(past: Past) -> None:
    name, stays = publish(past, "daily", DAY * 2), publish(past, "daily", DAY)
    index = index_of(past, least_seconds=0)
    looked(past, index)
    for repository in ("local", "away"):
        past.repository(repository).delete(f"{name}/{MANIFEST}")
    assert [row.name for row in looked(past, index).rows] == [stays]
    cache = DetailsCache.of(past.settings)
    assert [details.run_id for details in cache.details()] == ["test/run"]
    cache.close()


@pytest.mark.parametrize("damage", ["garbage", "half", "deleted", "another version"])
def test_a_damaged_cache_is_made_anew(past: Past, damage: str) -> None:
    for days in range(1, 13):
        past.publish(past.repository(), "daily", DAY * days)
    before = looked(past)
    path = DetailsCache.path_of(past.settings)
    content = path.read_bytes()
    if damage == "garbage":
        path.write_bytes(b"no database" * 1000)
    elif damage == "half":
        path.write_bytes(content[: len(content) // 8192 * 4096])
    elif damage == "deleted":
        path.unlink()
    else:
        with sqlite3.connect(path) as database:
            database.execute("PRAGMA user_version = 1")
    for _ in range(2):  # what can't be read is found when it is read
        seen = looked(past)
    assert seen.rows == before.rows
    assert index_of(past).catalogue().rows == before.rows


def test_without_a_place_for_the_cache_it_works_from_memory(past: Past, reads: list[str]) -> None:
    publish(past, "daily", DAY)
    (past.folder / "staging").write_text("a file")
    index = index_of(past, least_seconds=0)
    assert len(looked(past, index).rows) == 1
    reads.clear()
    assert len(looked(past, index).rows) == 1
    assert reads == []
    found = index.whole(index.catalogue().rows[0])
    assert found is not None, "read from a repository"
    assert found[1].server.version == "10.11"


def test_many_processes_at_once_leave_a_whole_cache(past: Past) -> None:
    for days in range(1, 13):
        past.publish(past.repository(), "daily", DAY * days)
    indexes = [index_of(past, least_seconds=0) for _ in range(6)]
    threads = [threading.Thread(target=index.look) for index in indexes]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join(60)
    with sqlite3.connect(DetailsCache.path_of(past.settings)) as database:
        assert database.execute("PRAGMA integrity_check").fetchall() == [("ok",)]
        assert database.execute("SELECT count(*) FROM sets").fetchone() == (12,)
    assert {len(index.catalogue().rows) for index in indexes} == {12}


def test_asking_never_waits_for_a_look(past: Past, monkeypatch: pytest.MonkeyPatch) -> None:
    publish(past, "daily", DAY)
    looked(past)
    goes_on = threading.Event()
    cadences = Catalog.cadences
    monkeypatch.setattr(Catalog, "cadences", lambda self: goes_on.wait(60) and cadences(self))
    publish(past, "daily", HOUR)
    index = index_of(past, least_seconds=0)
    assert len(index.catalogue().rows) == 1
    assert index.is_looking
    goes_on.set()
    thread = index._thread
    assert thread is not None
    thread.join(60)
    assert len(index.catalogue().rows) == 2


def test_holds_and_proofs(past: Past) -> None:
    name, other = publish(past, "daily", DAY * 2), publish(past, "daily", DAY)
    proof = proof_of(site=past.settings.site, backup=name)
    failed = proof_of(1, site=past.settings.site, backup=other, verdict="failed")
    repositories = [past.repository(item) for item in ("local", "away")]
    for item in (proof, failed):
        store_proof(past.settings, repositories, item, "<html></html>")
    index = index_of(past, least_seconds=0)
    seen = looked(past, index)
    assert seen.proved == {name: proof.finished_at}
    assert [test.id for test in seen.tests] == [failed.id, proof.id]
    index.change_holds(lambda found: hold(past.settings, found, name, "audit of 2026", "oncall"))
    held = index.catalogue().holds[name]
    assert held is not None
    assert (held.reason, held.by) == ("audit of 2026", "oncall")
    assert [row.name for row in index.catalogue().select(words="AUDIT")] == [name]
    assert index_of(past).catalogue().holds == index.catalogue().holds
    past.repository("away").put_bytes(f"holds/{name}.json", b"{}")
    assert set(looked(past, index).holds) == {name}, "one that nobody signed holds all the same"
    other_process = index_of(past)
    other_process.look()
    assert set(other_process.catalogue().holds) == {name}
    index.change_holds(lambda found: release(found, name))
    assert index.catalogue().holds == {}
    assert other_process.catalogue().holds == {}, "without another look"


def test_a_hold_that_is_made_during_a_look_stays(past: Past, monkeypatch: pytest.MonkeyPatch) -> None:
    name = publish(past, "daily", DAY)
    index = index_of(past, least_seconds=0)
    looked(past, index)
    gather = looking.gather

    def meanwhile(*words: Any, **more: Any) -> Any:
        if name not in index.catalogue().holds:
            index.change_holds(lambda found: hold(past.settings, found, name, "audit", "me"))
            assert index._seen is not None
            index._seen.holds = {}  # what the look had read before
        return gather(*words, **more)

    monkeypatch.setattr(looking, "gather", meanwhile)
    assert set(looked(past, index).holds) == {name}


def test_holds_stay_while_a_repository_is_down(past: Past) -> None:
    name = publish(past, "daily", DAY)
    hold(past.settings, [past.repository("away")], name, "audit", "me")
    index = index_of(past, least_seconds=0)
    assert set(looked(past, index).holds) == {name}
    (past.folder / "away").rename(past.folder / "gone")
    assert set(looked(past, index).holds) == {name}


def test_what_can_be_reached(past: Past) -> None:
    repository = past.repository()
    at, server = now() - HOUR * 10, Coordinates(file="binlog.000001", position=1)
    component = past.component(repository, f"daily/{past.set_id(HOUR * 10)}", at, "database")
    component = component.model_copy(update={"coordinates": server, "finished_at": at + timedelta(minutes=1)})
    name = past.publish(repository, "daily", HOUR * 10, components=(component,))
    times = {"created_at": at - HOUR, "archived_at": at + HOUR, "closed_at": at + HOUR, "last_at": at + HOUR}
    past.log(repository, 1, HOUR * 9, end=100, **times)
    seen = looked(past)
    assert seen.reach is not None
    (window,) = seen.reach.windows
    assert (window.backup, window.end) == (name, at + HOUR)
    later = {"created_at": at + HOUR, "archived_at": at + HOUR * 2, "closed_at": at + HOUR * 2, "last_at": None}
    past.log(repository, 2, HOUR * 8, **later)
    reach = looked(past).reach
    assert reach is not None
    assert [window.end for window in reach.windows] == [at + HOUR * 2 - timedelta(seconds=1)]


def test_incremental_sets_and_the_measured_rpo(past: Past) -> None:
    point = RecoveryPoint(measured_at=now(), last_event_at=None, complete_until=now() - timedelta(minutes=9))
    reach = BinlogRange(
        after="20250101_000000", after_cadence="daily", start=Coordinates(), end=Coordinates(file="b.2"), timeline="t"
    )
    ref = past.log(past.repository(), 1, HOUR)
    name = publish(past, "incremental", HOUR, "local", binlogs=(ref,), binlog_range=reach, recovery_point=point)
    index = index_of(past, least_seconds=0)
    row = looked(past, index).by_name[name]
    assert row.line is not None
    assert (row.kind, row.is_full, row.line.logs) == ("incremental", False, 1)
    assert row.line.rpo_seconds == pytest.approx(540, abs=5)
    found = index.whole(row)
    assert found is not None
    assert found[1].binlog_range == reach
    assert found[1].server.coordinates.file == "b.2"


def test_sets_are_sorted_searched_and_paged(past: Past) -> None:
    publish(past, "weekly", DAY * 3, faces=["faces/aa/bb"])
    publish(past, "daily", DAY * 2)
    publish(past, "daily", DAY, keys=signing_pair(past.folder, "forger"))
    seen = looked(past)

    def order(*words: Any, **options: Any) -> list[int]:
        return [seen.rows.index(row) for row in seen.select(*words, **options)]

    assert order() == [2, 1, 0]
    assert order(newest=False) == [0, 1, 2]
    assert order("daily") == [2, 1]
    assert order(None, "face_images") == [0]
    assert order(None, "WEEKLY database") == [0]
    assert order(None, "nothing") == []
    assert order(sort="stored_bytes") == [0, 1, 2], "the one without a size comes last"
    assert order(sort="stored_bytes", newest=False) == [1, 0, 2]
    assert order(sort="cadence") == [0, 2, 1]


def test_a_chart_has_a_bounded_number_of_points() -> None:
    assert thinned(range(10), 20) == range(10)
    assert list(thinned(range(10), 3)) == [1, 5, 9]
    assert list(thinned([], 3)) == []


def test_a_folder_that_is_not_there_is_not_an_empty_repository(past: Past) -> None:
    assert isinstance(past.repository(), LocalRepository)
    shutil.rmtree(past.folder / "repository")
    assert looked(past).repositories["local"].is_up is False
