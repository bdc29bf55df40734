"""Which set a person means, and which manifest is believed."""

import json
from datetime import datetime, timezone
from pathlib import Path
from typing import Any

import pytest

from spoqplus_backup.core.crypto import sign
from spoqplus_backup.core.errors import IntegrityError, PermanentError
from spoqplus_backup.core.manifest import (
    MANIFEST,
    SIGNATURE,
    Component,
    Compression,
    Encryption,
    Manifest,
    Part,
    Server,
)
from spoqplus_backup.core.repository.catalog import Catalog, SetRef
from spoqplus_backup.core.repository.local import LocalRepository
from support.keys import SigningPair, signing_pair

DAILY = [SetRef("daily", name) for name in ("20250103_030000", "20250102_120000", "20250102_030000")]
MOMENT = datetime(2025, 1, 1, tzinfo=timezone.utc)


def manifest(ref: SetRef, *components: str, **fields: Any) -> Manifest:
    part = Part(name="index.json.zst.age", raw_bytes=1, raw_sha256="0" * 64, stored_bytes=1, sha256="0" * 64)
    times = {"started_at": MOMENT, "finished_at": MOMENT}
    values: dict[str, Any] = {
        "site": "spoqplus",
        "cadence": ref.cadence,
        "id": ref.id,
        "run_id": "test/run",
        "server": Server(flavour="mariadb", version="10.11", id=1),
        "tools": {},
        "compression": Compression(level=3),
        "encryption": Encryption(scheme="age"),
        "components": tuple(
            Component(name=name, kind="logical", content="dump", index=part, parts=(), **times)
            for name in components or ("database",)
        ),
        **times,
    }
    return Manifest(**(values | fields))


@pytest.fixture
def keys(tmp_path: Path) -> SigningPair:
    return signing_pair(tmp_path)


@pytest.fixture
def repository(tmp_path: Path) -> LocalRepository:
    (tmp_path / "repository").mkdir()
    return LocalRepository("local", tmp_path / "repository")


@pytest.fixture
def catalog(repository: LocalRepository, keys: SigningPair) -> Catalog:
    """Three daily sets, a newer safety set, a set that is not published, and things that are no sets."""
    for ref in (*DAILY, SetRef("safety", "20250104_090000")):
        publish(repository, keys, manifest(ref))
    repository.put_bytes("daily/20250105_030000/database/000001.sql.zst.age", b"of a run that failed")
    repository.put_bytes("daily/notes/manifest.json", b"{}")
    repository.put_bytes("binlog/1/manifest.json", b"{}")
    return Catalog(repository, [keys.public], "spoqplus")


def publish(repository: LocalRepository, keys: SigningPair, content: Manifest, name: str | None = None) -> None:
    repository.put_bytes(f"{name or content.name}/{SIGNATURE}", sign(content.to_json(), keys.private))
    repository.put_bytes(f"{name or content.name}/{MANIFEST}", content.to_json())


def test_published_sets_newest_first(catalog: Catalog) -> None:
    assert catalog.sets() == [SetRef("safety", "20250104_090000"), *DAILY]
    assert catalog.sets("daily") == DAILY
    assert catalog.sets("weekly") == []
    assert catalog.latest() == DAILY[0]
    assert catalog.latest("safety") == SetRef("safety", "20250104_090000")
    assert catalog.latest("weekly") is None
    assert catalog.newest_before("daily", "20250102_120000") == DAILY[2]
    assert catalog.newest_before("daily", "20250102_030000") is None


@pytest.mark.parametrize(
    ("backup", "name"),
    [
        ("latest", "daily/20250103_030000"),  # not safety, which holds what was damaged
        ("20250102", "daily/20250102_120000"),
        ("20250102_030000", "daily/20250102_030000"),
        ("daily/20250102_030000", "daily/20250102_030000"),
        ("20250104_090000", "safety/20250104_090000"),
        ("safety/20250104_090000", "safety/20250104_090000"),
        ("safety/20250104", "safety/20250104_090000"),
    ],
)
def test_what_a_person_means(catalog: Catalog, backup: str, name: str) -> None:
    assert catalog.resolve(backup).name == name


@pytest.mark.parametrize("backup", ["20250104", "20250105_030000", "weekly/20250102_030000", "20240101"])
def test_what_is_not_there_is_answered_with_what_is(catalog: Catalog, backup: str) -> None:
    with pytest.raises(PermanentError) as caught:
        catalog.resolve(backup)

    assert f"There is no backup {backup} in file://" in str(caught.value)
    assert "the newest there: safety/20250104_090000, daily/20250103_030000" in str(caught.value)


@pytest.mark.parametrize("backup", ["", "yesterday", "daily", "daily/", "2025-01-02", "../20250102_030000x"])
def test_what_names_no_backup(catalog: Catalog, backup: str) -> None:
    with pytest.raises(PermanentError, match=r"names no backup: write latest, a day \(YYYYMMDD\)"):
        catalog.resolve(backup)


def test_an_empty_repository(repository: LocalRepository, keys: SigningPair) -> None:
    with pytest.raises(PermanentError, match="There is no backup latest in .*: none"):
        Catalog(repository, [keys.public]).resolve("latest")


def test_the_newest_set_that_has_a_component(catalog: Catalog, repository: LocalRepository, keys: SigningPair) -> None:
    publish(repository, keys, manifest(SetRef("daily", "20250101_030000"), "database", "face_encodings"))

    assert catalog.resolve("latest", ["face_encodings"]).id == "20250101_030000"
    with pytest.raises(PermanentError, match="daily/20250103_030000 has no uploads: choose another backup"):
        catalog.resolve("latest", ["uploads"])
    with pytest.raises(PermanentError, match="daily/20250102_120000 has no face_encodings"):
        catalog.resolve("20250102_120000", ["face_encodings"])


def test_a_forged_manifest(catalog: Catalog, repository: LocalRepository) -> None:
    content = json.loads(repository.read(f"{DAILY[0].name}/{MANIFEST}"))
    content["tools"] = {"mysqldump": "another"}
    repository.put_bytes(f"{DAILY[0].name}/{MANIFEST}", json.dumps(content).encode())

    with pytest.raises(
        IntegrityError, match=rf"{DAILY[0].name}/manifest\.json is not signed by any key in .*signing\.pub"
    ):
        catalog.resolve("latest")  # never silently the one before


def test_a_manifest_that_another_key_signed(catalog: Catalog, repository: LocalRepository, tmp_path: Path) -> None:
    publish(repository, signing_pair(tmp_path, "thief"), manifest(DAILY[0]))

    with pytest.raises(IntegrityError, match="is not signed by any key"):
        catalog.load(DAILY[0])


def test_a_manifest_without_signature(catalog: Catalog, repository: LocalRepository) -> None:
    repository.delete(f"{DAILY[0].name}/{SIGNATURE}")

    with pytest.raises(IntegrityError, match=rf"{DAILY[0].name}/manifest\.json\.sig is not there"):
        catalog.load(DAILY[0])


def test_an_older_manifest_under_a_newer_name(catalog: Catalog, repository: LocalRepository, keys: SigningPair) -> None:
    publish(repository, keys, manifest(DAILY[2]), name=DAILY[0].name)

    with pytest.raises(IntegrityError, match=rf"{DAILY[0].name}/manifest\.json is the manifest of {DAILY[2].name}"):
        catalog.load(DAILY[0])


def test_the_manifest_of_another_site(catalog: Catalog, repository: LocalRepository, keys: SigningPair) -> None:
    publish(repository, keys, manifest(DAILY[0], site="jamsil"))

    with pytest.raises(IntegrityError, match="is of the site jamsil, not of spoqplus"):
        catalog.load(DAILY[0])


def test_the_chain_shows_a_replaced_set(catalog: Catalog, repository: LocalRepository, keys: SigningPair) -> None:
    before = {"id": DAILY[1].id, "sha256": catalog.manifest_sha256(DAILY[1])}
    publish(repository, keys, manifest(DAILY[0], previous=before))
    newest = catalog.load(DAILY[0])
    assert catalog.check_previous(newest) is None
    assert catalog.check_previous(catalog.load(DAILY[1])) is None

    publish(repository, keys, manifest(DAILY[1], run_id="somebody/else"))
    with pytest.raises(IntegrityError, match=rf"{DAILY[1].name} was replaced after {DAILY[0].name} was written"):
        catalog.check_previous(newest)

    repository.delete(f"{DAILY[1].name}/{MANIFEST}")
    assert catalog.check_previous(newest) == f"{DAILY[1].name}, the set before {DAILY[0].name}, is no longer there"
