"""How many copies of each set there are, and where: by listing alone, whatever is remembered."""

import shutil
from collections.abc import Callable
from pathlib import Path
from typing import Any, NamedTuple

import pytest

from spoqplus_backup.core.errors import BackupError
from spoqplus_backup.core.manifest import MANIFEST
from spoqplus_backup.core.repository.catalog import Catalog
from spoqplus_backup.core.repository.details import Described, described
from spoqplus_backup.core.repository.details_cache import DetailsCache
from spoqplus_backup.core.repository.local import LocalRepository
from spoqplus_backup.core.repository.s3 import S3Repository
from spoqplus_backup.core.repository.survey import Copy, SetCopies, Survey
from spoqplus_backup.core.settings import Settings
from support import s3
from support.keys import SigningPair, signing_pair
from support.published import manifest_of, publish_in

RECIPIENT = "age1ymxyng7j0w4d88k3ql9rxtjvdf6c9yk7ahlkhftpxheasrr0j4eshggk8g"
DAILY, WEEKLY, MONTHLY = "daily/20250301_030000", "weekly/20250302_040000", "monthly/20250301_050000"


class World(NamedTuple):
    """A site with three folders: one here, one elsewhere on object storage, one on tape."""

    settings: Settings
    repositories: dict[str, LocalRepository]
    keys: SigningPair

    @property
    def catalogs(self) -> dict[str, Catalog]:
        return {name: Catalog(item, [self.keys.public], "spoqplus") for name, item in self.repositories.items()}

    def publish(self, name: str, *repositories: str, **fields: Any) -> None:
        publish_in([self.repositories[item] for item in repositories], self.keys.private, manifest_of(name, **fields))

    def survey(self) -> Survey:
        return Survey(self.settings, list(self.catalogs.values()))

    def describe(self, *, read: bool) -> list[Described]:
        cache = DetailsCache.of(self.settings)
        found = list(described(self.catalogs, cache, self.survey().sets(), read=read))
        cache.close()
        return found


@pytest.fixture
def world(tmp_path: Path) -> World:
    settings = Settings.model_validate(
        {
            "staging": {"directory": str(tmp_path / "staging")},
            "encryption": {"recipients": [RECIPIENT]},
            "signing": {"public_key_files": [str(tmp_path / "signing.pub")]},
            "repositories": [
                {"name": "local", "root": f"file://{tmp_path}/local"},
                {"name": "cloud", "root": f"file://{tmp_path}/cloud", "medium": "object-storage", "offsite": True},
                {"name": "tape", "root": f"file://{tmp_path}/tape", "medium": "tape", "role": "replica"},
            ],
        }
    )
    repositories = {name: LocalRepository(name, tmp_path / name) for name in ("local", "cloud", "tape")}
    for repository in repositories.values():
        repository.root.mkdir()
    return World(settings, repositories, signing_pair(tmp_path))


@pytest.mark.parametrize(
    ("where", "count", "media", "offsite", "holds"),
    [
        (("local", "cloud"), 3, ("disk", "object-storage"), ("cloud",), True),  # the strategy's
        (("local", "cloud", "tape"), 4, ("disk", "object-storage", "tape"), ("cloud",), True),
        (("local",), 2, ("disk",), (), False),
        (("cloud",), 2, ("disk", "object-storage"), ("cloud",), False),  # one copy and the live one
        (("local", "tape"), 3, ("disk", "tape"), (), False),  # all of it in one place
        (("tape", "cloud"), 3, ("disk", "object-storage", "tape"), ("cloud",), True),
    ],
)
def test_the_rule(
    world: World, where: tuple[str, ...], count: int, media: tuple[str, ...], offsite: tuple[str, ...], holds: bool
) -> None:
    world.publish(DAILY, *where)
    (found,) = world.survey().sets()
    assert found.name == DAILY
    assert sorted(copy.repository for copy in found.copies) == sorted(where)
    assert (found.count, found.media, found.offsite, found.holds) == (count, media, offsite, holds)


@pytest.mark.parametrize(
    ("endpoints", "count", "media", "holds"),
    [
        (("https://s3.eu-west-1.amazonaws.com", "https://s3.us-east-1.amazonaws.com"), 2, ("disk", "tape"), False),
        (("http://127.0.0.1:9000", "http://127.0.0.1:9001"), 3, ("cloud", "disk", "tape"), True),
    ],
)
def test_one_bucket_twice_is_one_copy_on_one_medium(
    endpoints: tuple[str, str], count: int, media: tuple[str, ...], holds: bool
) -> None:
    """By two connections and two prefixes; on two servers of one's own a bucket's name says nothing."""
    places = [
        S3Repository("s3", lambda url=url: s3.s3_client(s3.record(url)), "backup", prefix).place
        for url, prefix in zip(endpoints, ("seoul", "dr"), strict=True)
    ]
    found = SetCopies(
        cadence="daily",
        id="20250301_030000",
        copies=tuple(
            Copy(repository=name, place=place, medium=name, offsite=True, bytes=1, tag="")
            for name, place in zip(("tape", "cloud"), places, strict=True)
        ),
    )
    assert (found.count, found.media, found.holds) == (count, media, holds)


def test_sets_come_oldest_first_and_what_is_not_published_does_not_exist(world: World) -> None:
    world.publish(WEEKLY, "local", "cloud")
    world.publish(MONTHLY, "cloud")
    world.publish(DAILY, "local")
    world.repositories["local"].put_bytes("daily/20250303_030000/database/000001.sql.zst.age", b"of a run that failed")
    world.repositories["local"].put_bytes("binlog/1/000001/20250303_030000/manifest.json", b"no set")

    assert [found.name for found in world.survey().sets()] == [DAILY, MONTHLY, WEEKLY]
    assert [found.name for found in world.survey().sets("weekly")] == [WEEKLY]
    assert list(world.survey().sets("yearly")) == []


def test_a_repository_that_can_not_be_listed_is_named_and_the_others_are_told(
    world: World, monkeypatch: pytest.MonkeyPatch
) -> None:
    world.publish(DAILY, "local", "cloud")

    def fail(*_: object) -> None:
        raise BackupError("cloud can't be reached")

    monkeypatch.setattr(world.repositories["cloud"], "list_marked", fail)
    survey = world.survey()
    (found,) = survey.sets()
    assert [copy.repository for copy in found.copies] == ["local"]
    assert str(survey.failures["cloud"]) == "cloud can't be reached"


def test_details_are_read_once(world: World, monkeypatch: pytest.MonkeyPatch) -> None:
    world.publish(DAILY, "local", "cloud")
    assert [item.details for item in world.describe(read=False)] == [None]

    (read,) = world.describe(read=True)
    assert read.details is not None
    assert read.details.contents == ("database",)
    (database,) = read.details.components
    assert (database.name, database.parts, database.raw_bytes) == ("database", 2, 18000)
    assert read.details.seconds == 180
    assert read.details.stored_bytes > 0

    for repository in world.repositories.values():
        monkeypatch.setattr(repository, "read", None)
    assert world.describe(read=True) == [read]
    assert world.describe(read=False) == [read]


def removed(cache: Path) -> None:
    shutil.rmtree(cache)


def damaged(cache: Path) -> None:
    for path in cache.iterdir():
        path.write_bytes(b"no database " * 1000)


@pytest.mark.parametrize("end", [removed, damaged])
def test_without_what_was_remembered_the_answer_is_the_same(world: World, end: Callable[[Path], None]) -> None:
    for number in range(1, 9):
        world.publish(f"daily/2025030{number}_030000", *("local", "cloud", "tape")[: 1 + number % 3])
    world.publish(WEEKLY, "local", "cloud")
    remembered = [world.describe(read=True), world.describe(read=True)]

    end(world.settings.staging.directory / ".cache")

    assert [world.describe(read=True), world.describe(read=True)] == remembered


def test_a_cache_that_can_not_be_written_is_done_without(world: World) -> None:
    world.publish(DAILY, "local")
    (world.settings.staging.directory).parent.mkdir(exist_ok=True)
    world.settings.staging.directory.write_text("not a folder")
    (item,) = world.describe(read=True)
    assert item.details is not None
    assert item.problem is None


def test_a_manifest_that_was_replaced_is_read_again(world: World) -> None:
    world.publish(DAILY, "local", "cloud")
    world.describe(read=True)
    world.repositories["cloud"].put_bytes(f"{DAILY}/{MANIFEST}", b"{}")

    (item,) = world.describe(read=True)

    assert item.problem is not None
    assert f"{DAILY}/manifest.json is not signed by any key" in item.problem
    assert item.found.differs


def test_two_sets_of_one_name(world: World) -> None:
    world.publish(DAILY, "local", run_id="test/one")
    world.publish(DAILY, "cloud", run_id="test/two")

    (item,) = world.describe(read=True)

    assert not item.found.differs  # the listing can't tell: they are as large
    assert (
        item.problem
        == f"file://{world.repositories['cloud'].root}/{DAILY}/manifest.json is another set's than in the others."
    )
