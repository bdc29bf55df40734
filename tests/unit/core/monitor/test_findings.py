"""What is wrong, by facts that are made up."""

from pathlib import Path
from typing import Any

import pytest

from spoqplus_backup.core.monitor.findings import findings
from spoqplus_backup.core.monitor.model import Deletions, DiskSpace, Expiry, Reach, TestFacts
from spoqplus_backup.core.monitor.promises import promises
from spoqplus_backup.core.monitor.sizes import usual_bytes
from spoqplus_backup.core.repository.set_details import ComponentDetails
from spoqplus_backup.core.settings import Settings
from spoqplus_backup.watchdog_text import finding_words
from support.facts import DAY, GIB, HOUR, NOW, a_set, state, well, window

RECIPIENT = "age1ymxyng7j0w4d88k3ql9rxtjvdf6c9yk7ahlkhftpxheasrr0j4eshggk8g"


@pytest.fixture
def settings(tmp_path: Path) -> Settings:
    return Settings.model_validate(
        {"encryption": {"recipients": [RECIPIENT]}, "signing": {"public_key_files": [str(tmp_path / "signing.pub")]}}
    )


def test_a_site_that_is_well_is_told_nothing_of(settings: Settings) -> None:
    assert findings(well(), settings, NOW) == []
    assert [promise.ok for promise in promises(well(), settings, NOW)] == [True] * 4


def failed(**fields: Any) -> TestFacts:
    return well().tests[0].model_copy(update={"verdict": "failed", "failed_checks": ("payments",)} | fields)


LOST = tuple(Reach(repository=name, windows=(window(2 * HOUR),)) for name in ("local", "s3"))
AFAR = (Reach(repository="local", windows=(window(HOUR / 2),)), Reach(repository="s3", windows=(window(2 * HOUR),)))
EXPIRED = Expiry(kind="gpg_key", name="backup@spoqplus.com", at=NOW - DAY)
ENDS = Expiry(kind="tls_certificate", name="minio:9000", at=NOW + 20 * DAY)
LATER = Expiry(kind="tls_certificate", name="minio:9000", at=NOW + 40 * DAY)
REFUSED = Deletions(
    repository="s3", at=NOW - HOUR, sets=0, logs=0, unfinished=0, uploads=0, faces=0, bytes=0, refused=2
)


@pytest.mark.parametrize(
    ("fields", "keys"),
    [
        ({"daily": (a_set(26 * HOUR),)}, ["backup_failed:"]),
        ({"daily": (a_set(24.5 * HOUR),)}, []),
        ({"daily": (a_set(6 * HOUR, GIB // 2),)}, ["too_small:"]),
        ({"daily": (a_set(6 * HOUR, repositories=("local",)),)}, ["copies:"]),
        ({"daily": (a_set(HOUR, repositories=("local",)),)}, []),  # the replication may be on its way
        ({"daily": (a_set(6 * HOUR), a_set(DAY, problem="forged"))}, [f"unusable:{a_set(DAY).found.name}"]),
        ({"daily": ()}, ["nothing:"]),
        ({"reaches": LOST}, ["rpo_primary:", "rpo_offsite:"]),
        ({"reaches": AFAR}, ["rpo_offsite:"]),
        ({"repositories": (state("local"), state("s3", error="refused"))}, ["repository_down:s3"]),
        ({"due": {"weekly": NOW - 7 * HOUR}}, ["late:weekly"]),
        ({"due": {"weekly": NOW - 5 * HOUR}}, []),
        ({"due": {"recovery_test": NOW - 2 * DAY}}, ["test_overdue:"]),
        ({"due": {"recovery_test": NOW - HOUR}}, []),
        ({"tests": (failed(),)}, ["test_failed:20260302_060000"]),
        ({"staging": DiskSpace(free=5 * GIB, total=9 * GIB)}, ["staging_full:"]),
        ({"staging": None}, []),
        ({"expiries": (EXPIRED, ENDS)}, ["gpg_key:backup@spoqplus.com", "tls_certificate:minio:9000"]),
        ({"expiries": (LATER,)}, []),
        ({"deletions": (REFUSED,)}, ["refused:s3"]),
    ],
)
def test_what_is_told(settings: Settings, fields: dict[str, Any], keys: list[str]) -> None:
    found = findings(well(**fields), settings, NOW)
    assert [item.key for item in found] == keys
    for language in ("ko", "en"):
        for item in found:
            assert item.subject in finding_words(settings.model_copy(update={"language": language}), item)


def test_the_critical_comes_first(settings: Settings) -> None:
    facts = well(deletions=(REFUSED,), daily=(a_set(26 * HOUR),), expiries=(ENDS,))
    assert [item.severity for item in findings(facts, settings, NOW)] == ["critical", "warning", "warning"]


@pytest.mark.parametrize(("size", "code"), [(GIB - 1, "shrunk"), (4 * GIB + 1, "grown"), (GIB, None), (4 * GIB, None)])
def test_a_component_is_compared_with_its_own_history(settings: Settings, size: int, code: str | None) -> None:
    history = [a_set(6 * HOUR + DAY * days, 2 * GIB) for days in (1, 2, 3)]
    facts = well(daily=(a_set(6 * HOUR, size), *history))
    assert usual_bytes(facts, "daily") == {"database": 2 * GIB}
    found = {item.code for item in findings(facts, settings, NOW)} - {"too_small"}
    assert found == ({code} if code else set())


def test_what_changed_since_another_set_has_no_usual_size() -> None:
    uploads = ComponentDetails(
        name="uploads", kind="files", parts=1, stored_bytes=9, raw_bytes=9, level=1, base="weekly/x"
    )
    facts = well(daily=tuple(a_set(DAY * days, components=(uploads,)) for days in range(1, 6)))
    assert set(usual_bytes(facts, "daily")) == {"database"}


def test_a_backup_that_was_just_made_has_no_logs_yet(settings: Settings) -> None:
    new = window(HOUR / 2, start=NOW - HOUR / 2, first_log=None, problem="not archived yet")
    old = new.model_copy(update={"start": NOW - 2 * HOUR})
    for newest, keys in ((new, []), (old, ["chain_broken:local"])):
        facts = well(reaches=(Reach(repository="local", windows=(newest, window(HOUR / 2))),))
        assert [item.key for item in findings(facts, settings, NOW)] == keys


def test_promises_that_are_broken_say_why(settings: Settings) -> None:
    slow = failed(verdict="passed", in_time=False, rto_seconds=5 * 3600.0)
    facts = well(
        reaches=LOST,
        daily=(a_set(6 * HOUR, repositories=("local",)),),
        tests=(slow,),
        due={"recovery_test": NOW - 2 * DAY},
    )
    found = {item.name: (item.ok, item.reason) for item in promises(facts, settings, NOW)}
    assert found == {
        "rpo": (False, "late"),
        "rto": (False, "slow"),
        "copies": (False, "copies"),
        "recovery_test": (False, "overdue"),
    }
    never = {item.name: (item.ok, item.reason) for item in promises(well(tests=()), settings, NOW)}
    assert (never["rto"], never["recovery_test"]) == ((None, "never_tested"), (None, "never_tested"))
