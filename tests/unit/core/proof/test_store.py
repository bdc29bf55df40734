"""Which reports of recovery tests are believed, and what they prove."""

import logging
from datetime import timedelta
from pathlib import Path
from typing import Any

import pytest

from spoqplus_backup.core.crypto import sign, verify_signature
from spoqplus_backup.core.errors import IntegrityError, PermanentError
from spoqplus_backup.core.proof.model import Proof
from spoqplus_backup.core.proof.store import last_proof, page_of, past_proofs, proved_sets, store_proof
from spoqplus_backup.core.repository.local import LocalRepository
from spoqplus_backup.core.settings import Settings
from support.keys import SigningPair, age_pair, signing_pair
from support.proofs import proof_of

PAGE = "<!doctype html><p>통과"


@pytest.fixture
def keys(tmp_path: Path) -> SigningPair:
    return signing_pair(tmp_path)


@pytest.fixture
def repository(tmp_path: Path) -> LocalRepository:
    (tmp_path / "repository").mkdir()
    return LocalRepository("local", tmp_path / "repository")


@pytest.fixture
def settings(tmp_path: Path, keys: SigningPair) -> Settings:
    return Settings.model_validate(
        {
            "repositories": [{"name": "local", "root": f"file://{tmp_path}/repository"}],
            "encryption": {"recipients": [age_pair(tmp_path).recipient]},
            "signing": {"private_key_file": str(keys.private), "public_key_files": [str(keys.public)]},
        }
    )


def put(repository: LocalRepository, keys: SigningPair, proof: Proof, folder: str | None = None) -> str:
    """A signed report without a page; returns its folder."""
    where = f"recovery_tests/{folder or proof.id}"
    content = proof.model_dump_json().encode()
    repository.put_bytes(f"{where}/report.json.sig", sign(content, keys.private))
    repository.put_bytes(f"{where}/report.json", content)
    return where


def test_a_report_comes_back_from_every_repository(
    settings: Settings, repository: LocalRepository, keys: SigningPair, tmp_path: Path
) -> None:
    (tmp_path / "second").mkdir()
    second = LocalRepository("second", tmp_path / "second")

    stored = store_proof(settings, [repository, second], proof_of(), PAGE)

    for place in (repository, second):
        assert past_proofs(place, [keys.public]) == [stored]
        assert page_of(place, stored) == PAGE
        folder = f"recovery_tests/{stored.id}"
        content, signature = (place.read(f"{folder}/{name}") for name in ("report.json", "report.json.sig"))
        verify_signature(content, signature, [keys.public], folder)
    assert stored == proof_of(page_sha256=stored.page_sha256)


def test_the_json_is_written_last(settings: Settings, repository: LocalRepository) -> None:
    written: list[str] = []

    class Watched(LocalRepository):
        def put_bytes(self, key: str, content: bytes) -> None:
            written.append(key.rpartition("/")[2])
            super().put_bytes(key, content)

    store_proof(settings, [Watched("local", repository.root)], proof_of(), PAGE)
    assert written == ["report.html", "report.json.sig", "report.json"]


def test_without_a_key_nothing_is_written(settings: Settings, repository: LocalRepository) -> None:
    without = settings.model_copy(update={"signing": settings.signing.model_copy(update={"private_key_file": None})})
    without._source = tmp = Path("spoqplus.yaml")
    with pytest.raises(PermanentError, match=rf"{tmp}: signing.private_key_file is not set"):
        store_proof(without, [repository], proof_of(), PAGE)
    assert list(repository.list()) == []


def test_a_page_that_was_changed_is_refused(settings: Settings, repository: LocalRepository) -> None:
    stored = store_proof(settings, [repository], proof_of(), PAGE)
    repository.put_bytes(f"recovery_tests/{stored.id}/report.html", b"all is well")
    with pytest.raises(IntegrityError, match="report.html has the SHA-256"):
        page_of(repository, stored)


def test_the_newest_come_first_and_no_more_than_asked_for(repository: LocalRepository, keys: SigningPair) -> None:
    for number in (2, 0, 3, 1):
        put(repository, keys, proof_of(number))
    found = past_proofs(repository, [keys.public], 3)
    assert [item.id for item in found] == [proof_of(number).id for number in (3, 2, 1)]
    assert last_proof(repository, [keys.public]) == found[0]


def test_an_empty_repository_has_none(repository: LocalRepository, keys: SigningPair) -> None:
    assert past_proofs(repository, [keys.public]) == []
    assert last_proof(repository, [keys.public]) is None


@pytest.mark.parametrize(
    ("spoil", "words"),
    [
        ("another key", "is not signed by any key"),
        ("changed", "is not signed by any key"),
        ("no signature", "report.json.sig is not there"),
        ("half the signature", "is not signed by any key"),
        ("empty", "is not signed by any key"),
        ("another format", "can't be read: nonsense"),
        ("moved", "somebody moved it"),
        ("another site", "is of the site jamsil, not of spoqplus"),
    ],
)
def test_what_is_forged_or_half_written_counts_for_nothing(
    repository: LocalRepository,
    keys: SigningPair,
    tmp_path: Path,
    caplog: pytest.LogCaptureFixture,
    spoil: str,
    words: str,
) -> None:
    """However many of them are newer, the good one is found."""
    good = proof_of(0)
    put(repository, keys, good)
    for number in (1, 2, 3):
        spoiled(repository, keys, tmp_path, proof_of(number), spoil)

    with caplog.at_level(logging.WARNING):
        assert past_proofs(repository, [keys.public], 2, "spoqplus") == [good]
    assert sum(words in record.getMessage() for record in caplog.records) == 3


def spoiled(repository: LocalRepository, keys: SigningPair, tmp_path: Path, proof: Proof, spoil: str) -> None:
    """A newer report that something is wrong with."""
    if spoil == "another key":
        put(repository, signing_pair(tmp_path, proof.id), proof)
        return
    if spoil == "another site":
        put(repository, keys, proof.model_copy(update={"site": "jamsil"}))
        return
    if spoil == "moved":
        put(repository, keys, proof, folder=f"{proof.id[:-1]}9")
        return
    folder = put(repository, keys, proof)
    if spoil == "no signature":
        repository.delete(f"{folder}/report.json.sig")
    elif spoil == "half the signature":
        repository.put_bytes(f"{folder}/report.json.sig", repository.read(f"{folder}/report.json.sig")[:32])
    elif spoil == "another format":
        content = b'{"nonsense": 1,' + proof.model_dump_json().encode()[1:]
        repository.put_bytes(f"{folder}/report.json", content)
        repository.put_bytes(f"{folder}/report.json.sig", sign(content, keys.private))
    else:
        content = repository.read(f"{folder}/report.json")
        changed = b"" if spoil == "empty" else content.replace(b'"passed"', b'"failed"')
        repository.put_bytes(f"{folder}/report.json", changed)


def test_a_page_without_its_json_is_no_report(
    repository: LocalRepository, keys: SigningPair, caplog: pytest.LogCaptureFixture
) -> None:
    repository.put_bytes("recovery_tests/20260102_060000/report.html", b"half")
    with caplog.at_level(logging.WARNING):
        assert past_proofs(repository, [keys.public]) == []
    assert not caplog.records, "an interrupted test is no forgery"


def test_a_set_is_proved_by_the_newest_test_that_passed() -> None:
    later = proof_of(2, backup="daily/20260101_030000")
    tests = [
        proof_of(3, backup="daily/20260101_030000", verdict="failed"),
        later,
        proof_of(1, backup="daily/20260101_030000"),
        proof_of(0, backup="monthly/20250101_050000"),
        proof_of(4, backup=None),
        proof_of(5, backup="daily/20260301_030000", verdict="failed"),
    ]
    expected: dict[str, Any] = {
        "daily/20260101_030000": later.finished_at,
        "monthly/20250101_050000": proof_of(0).finished_at,
    }
    assert proved_sets(tests) == expected
    assert later.finished_at - later.started_at == timedelta(minutes=58)
