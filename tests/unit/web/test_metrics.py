"""What a scrape gets, and who gets it."""

import support.airflow_home  # noqa: F401, I001 (before Airflow is imported)

from collections.abc import Sequence
from datetime import timedelta
from pathlib import Path
from typing import Any

import pytest
from fastapi import FastAPI
from fastapi.testclient import TestClient
from prometheus_client.parser import text_string_to_metric_families

from spoqplus_backup.core.connections import ConnectionRecord
from spoqplus_backup.core.monitor.model import Deletions, DiskSpace, Expiry
from spoqplus_backup.core.recovery.windows import Unreachable
from spoqplus_backup.core.repository.set_details import ComponentDetails
from spoqplus_backup.core.settings import Settings
from spoqplus_backup.web import metrics
from spoqplus_backup.web.exposition import GAUGES, Observed, exposition
from support.connections import FixedConnections
from support.facts import DAY, GIB, HOUR, NOW, a_set, state, well
from support.history import make_past
from support.monitoring import check

TOKEN = "a-token-of-twenty-characters"
Samples = dict[tuple[str, ...], float]


@pytest.fixture
def settings(tmp_path: Path) -> Settings:
    return make_past(tmp_path).settings


def samples(text: str) -> Samples:
    """Values by name and labels' values, sorted by the labels' names."""
    return {
        (sample.name, *(value for _, value in sorted(sample.labels.items()))): sample.value
        for family in text_string_to_metric_families(text)
        for sample in family.samples
    }


def test_every_metric_is_told_and_promtool_is_content(settings: Settings) -> None:
    stages = {"dump": 30.0, "upload": 9.0}
    uploads = ComponentDetails(name="uploads", kind="files", parts=1, stored_bytes=9, raw_bytes=9, seconds=stages)
    sets = tuple(a_set(6 * HOUR + DAY * days, components=(uploads,)) for days in range(5))
    facts = well(
        daily=sets,
        repositories=(state("local", disk=DiskSpace(free=GIB, total=2 * GIB), sets=5), state("s3")),
        gaps=(Unreachable(start=NOW - 3 * HOUR, end=NOW - 2 * HOUR, reason="a log is missing"),),
        deletions=(
            Deletions(repository="s3", at=NOW, sets=3, logs=1, unfinished=0, uploads=0, faces=2, bytes=7, refused=1),
        ),
        next={"daily_backup": NOW + DAY, "weekly_backup": None},
        expiries=(Expiry(kind="gpg_key", name='backup "key"', at=NOW + DAY),),
    )

    text = exposition([Observed(settings, facts, NOW - HOUR)], NOW + timedelta(minutes=1))

    check("promtool", "check", "metrics", sent=text)
    found = samples(text.decode())
    assert {key[0] for key in found} == set(GAUGES)
    assert found["backup_last_success_timestamp", "spoqplus"] == (NOW - 6 * HOUR).timestamp()
    assert found["backup_size_bytes", "spoqplus"] == 2 * GIB
    assert found["spoqplus_backup_stage_duration_seconds", "daily", "uploads", "spoqplus", "dump"] == 30
    assert found["spoqplus_backup_usual_stored_bytes", "daily", "database", "spoqplus"] == 2 * GIB
    assert found["spoqplus_rpo_seconds", "spoqplus", "primary"] == 1860
    assert found["spoqplus_binlog_gap_seconds", "spoqplus"] == 3600
    assert found["spoqplus_retention_deleted", "sets", "s3", "spoqplus"] == 3
    assert found["spoqplus_expiry_timestamp_seconds", "gpg_key", 'backup "key"', "spoqplus"] == (NOW + DAY).timestamp()
    assert found["spoqplus_facts_age_seconds", "spoqplus"] == 60
    assert found["spoqplus_watchdog_last_run_timestamp_seconds", "spoqplus"] == (NOW - HOUR).timestamp()


def test_what_is_not_known_has_no_series(settings: Settings) -> None:
    down = (state("local", error="gone"), state("s3", error="gone"))
    blind = well(daily=(), repositories=down, reaches=(), tests=(), staging=None, due={})
    found = samples(exposition([Observed(settings, blind, None)], NOW).decode())
    assert found["spoqplus_repository_up", "s3", "spoqplus"] == 0
    absent = {"backup_last_success_timestamp", "spoqplus_rpo_seconds", "spoqplus_recovery_test_passed"}
    assert not absent & {key[0] for key in found}

    nothing = well(daily=(), reaches=())
    found = samples(exposition([Observed(settings, nothing, None)], NOW).decode())
    assert found["backup_last_success_timestamp", "spoqplus"] == 0  # the strategy's alert fires


def client(sites: Sequence[Settings], *tokens: tuple[str, str]) -> TestClient:
    records = [ConnectionRecord(id=name, password=token) for name, token in tokens]
    app = FastAPI()
    app.include_router(metrics.metrics_router(lambda: sites, FixedConnections(*records)))
    return TestClient(app)


def asked(client: TestClient, token: str | None, scheme: str = "Bearer") -> Any:
    return client.get("/metrics", headers={"Authorization": f"{scheme} {token}"} if token is not None else {})


def test_a_scrape_needs_the_token_and_nothing_else(settings: Settings, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(metrics, "watchdog_at", lambda _: NOW)
    scraped = client([settings], ("spoqplus_metrics", TOKEN))

    for wrong in (asked(scraped, None), asked(scraped, "wrong"), asked(scraped, ""), asked(scraped, TOKEN, "Basic")):
        assert wrong.status_code == 401
        assert wrong.headers["www-authenticate"] == "Bearer"
        assert "spoqplus_" not in wrong.text
    answer = asked(scraped, TOKEN)
    assert answer.status_code == 200
    assert answer.headers["content-type"].startswith("text/plain; version=")
    check("promtool", "check", "metrics", sent=answer.content)
    found = samples(answer.text)
    assert found["spoqplus_repository_up", "local", "spoqplus"] == 1
    assert found["backup_last_success_timestamp", "spoqplus"] == 0
    assert TOKEN not in answer.text


def test_without_a_token_that_counts_it_says_what_to_do(settings: Settings) -> None:
    for scraped in (client([settings]), client([settings], ("spoqplus_metrics", "short"))):
        answer = asked(scraped, "short")
        assert answer.status_code == 503
        assert "metrics.connection" in answer.json()["detail"]


def test_a_site_may_have_a_token_of_its_own(
    settings: Settings, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(metrics, "watchdog_at", lambda _: None)
    file = tmp_path / "token"
    file.write_text("another-token-of-enough-characters\n")
    chosen = settings.metrics.model_copy(update={"token_file": file})
    other = settings.model_copy(update={"site": "busan", "metrics": chosen})
    scraped = client([settings, other], ("spoqplus_metrics", TOKEN))
    for token, site in ((TOKEN, "spoqplus"), ("another-token-of-enough-characters", "busan")):
        names = {key for key in samples(asked(scraped, token).text) if key[0] == "spoqplus_facts_age_seconds"}
        assert names == {("spoqplus_facts_age_seconds", site)}
