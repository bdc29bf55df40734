"""The Backups page's API, asked in Airflow's own API server by its own users."""

import re
from collections.abc import Callable, Iterator
from datetime import datetime, timezone
from pathlib import Path
from typing import Any
from urllib.parse import quote

import pytest
from airflow.api_fastapi.auth.managers.simple.simple_auth_manager import SimpleAuthManager
from fastapi import FastAPI
from fastapi.routing import APIRoute
from starlette.routing import BaseRoute, Mount

from spoqplus_backup.core.connections import EnvironmentConnections
from spoqplus_backup.core.manifest import BinlogRange, Coordinates
from spoqplus_backup.core.repository.console import console_url
from spoqplus_backup.core.repository.details_cache import DetailsCache
from spoqplus_backup.core.repository.holds import held
from spoqplus_backup.sites import sites
from spoqplus_backup.web import metrics
from spoqplus_backup.web.app import METHODS, routes
from support.airflow_api import Server, World
from support.history import HOUR

SAMPLES = {"site": "spoqplus", "cadence": "daily", "dag_id": "spoqplus_daily_backup", "run_id": "manual__1"}


def addresses(app: FastAPI) -> Iterator[tuple[BaseRoute, str]]:
    """Every route of ours, and below each mount something; `{set_id}` and the like are left for the caller."""
    for route in app.routes:
        yield route, f"/spoqplus{route.path}" + ("/index.html" if isinstance(route, Mount) else "")  # type: ignore[attr-defined]


def filled(address: str, **values: str) -> str:
    known = SAMPLES | {"set_id": "20260101_030000", "test_id": "20260101_060000", "path": "nothing/here"} | values
    return re.sub(r"\{(\w+)(:\w+)?\}", lambda match: quote(known[match[1]], safe="/"), address)


@pytest.fixture
def ours() -> FastAPI:
    return routes(sites, EnvironmentConnections())


def test_nobody_gets_401_everywhere(server: Server, ours: FastAPI) -> None:
    """Also a route that somebody adds tomorrow, a method that it does not have, and what does not exist."""
    found = {filled(address) for _, address in addresses(ours)} | {"/spoqplus/", "/spoqplus/static/../index.html"}
    assert len(found) >= 12
    for address in sorted(found):
        for method in METHODS:
            response = server.ask(None, method, address)
            if (method, address) == ("GET", f"/spoqplus{metrics.PATH}"):
                assert response.status_code in (401, 503), "it has a lock of its own"
                continue
            assert response.status_code == 401, f"{method} {address}: {response.status_code} {response.text}"
    broken = server.ask(
        None,
        "PUT",
        "/spoqplus/api/spoqplus/sets/daily/20260101_030000/hold",
        content="{",
        headers={"content-type": "application/json"},
    )
    assert broken.status_code == 401, "before anything of the request is looked at"
    assert server.ask(None, "GET", "/spoqplus/", headers={"authorization": "Bearer nonsense"}).status_code in (401, 403)


def test_the_gate_says_how_its_pages_may_be_used(server: Server, world: World) -> None:
    for user, path in ((None, "/"), ("auditor", "/api/sites"), ("auditor", "/nothing")):
        headers = server.ask(user, "GET", f"/spoqplus{path}").headers
        assert "default-src 'self'" in headers["content-security-policy"]
        assert "unsafe" not in headers["content-security-policy"]
        assert headers["x-content-type-options"] == "nosniff"
        assert "private" in headers["cache-control"]


def test_who_may_not_read_the_dag_sees_nothing_of_the_site(
    server: Server, world: World, ours: FastAPI, monkeypatch: pytest.MonkeyPatch
) -> None:
    allowed = SimpleAuthManager.is_authorized_dag

    def refuse(self: Any, **words: Any) -> bool:
        details = words.get("details")
        return not (details and str(details.id).startswith("spoqplus_")) and allowed(self, **words)

    monkeypatch.setattr(SimpleAuthManager, "is_authorized_dag", refuse)
    assert server.get("sites") == {"sites": []}
    of_a_site = [(route, path) for route, path in addresses(ours) if "{site}" in path or "{dag_id}" in path]
    assert len(of_a_site) >= 9
    for route, address in of_a_site:
        assert isinstance(route, APIRoute)
        cadence, _, set_id = world.newer.partition("/")
        path = filled(address, cadence=cadence, set_id=set_id, test_id=world.test_id)
        for method in route.methods:
            response = server.change("oncall", method, path.removeprefix("/spoqplus/api/"), {"reason": "x"})
            if "/reports/" in path:
                response = server.ask("oncall", method, path)
            assert response.status_code == 403, f"{method} {path}: {response.text}"


def test_sites(server: Server, world: World) -> None:
    (seen,) = server.get("sites")["sites"]
    assert (seen["site"], seen["timezone"], seen["language"]) == ("spoqplus", "Asia/Seoul", "en")
    assert seen["dags"]["restore"] == "spoqplus_restore"
    for user, may in (("auditor", False), ("oncall", True), ("boss", True)):
        (seen,) = server.get("sites", user)["sites"]
        assert (seen["may_restore"], seen["may_hold"]) == (may, may)


def test_overview(server: Server, world: World) -> None:
    seen = server.get("spoqplus/overview")
    assert seen["catalogue"]["complete"] is True
    assert seen["catalogue"]["stale"] is False
    assert 0 <= seen["catalogue"]["age_seconds"] < 600
    assert [(item["name"], item["up"], item["error"]) for item in seen["repositories"]] == [
        ("local", True, None),
        ("s3", True, None),
    ]
    assert [item["offsite"] for item in seen["repositories"]] == [False, True]
    promises = {item["name"]: item for item in seen["promises"]}
    assert set(promises) == {"rpo", "rto", "copies", "recovery_test"}
    assert promises["copies"]["ok"] is True
    assert (promises["copies"]["value"], promises["copies"]["set"]) == (3, world.newer)
    assert promises["rto"]["value"] == 2450.0
    assert set(seen["last"]) == {"daily"}, "a set that nobody signed is no backup"
    assert datetime.fromisoformat(seen["next"]["daily"]) > datetime.now(timezone.utc)
    assert seen["totals"]["sets"] == 2


def test_before_anybody_has_looked_nothing_is_said_to_be_well(server: Server, world: World) -> None:
    DetailsCache.path_of(world.past.settings).unlink()
    seen = server.get("spoqplus/overview")
    assert seen["catalogue"] | {"refreshing": False} == {
        **{"as_of": None, "age_seconds": None, "stale": True, "refreshing": False, "complete": False}
    }
    assert [(item["name"], item["ok"]) for item in seen["promises"]] == [
        *(("rpo", None), ("rto", None), ("copies", None), ("recovery_test", None))
    ]
    assert [item["up"] for item in seen["repositories"]] == [None, None]
    assert server.get("spoqplus/sets")["items"] == []


def test_sets(server: Server, world: World) -> None:
    seen = server.get("spoqplus/sets")
    assert (seen["total"], seen["offset"], seen["limit"]) == (3, 0, 50)
    assert seen["cadences"] == ["daily", "weekly"]
    newest, forged, oldest = seen["items"]
    assert [newest["name"], forged["name"], oldest["name"]] == [world.newer, world.forged, world.older]
    assert newest["copies"] == ["local", "s3"]
    assert newest["offsite"] == ["s3"]
    assert newest["holds_3_2_1"] is True
    assert newest["duration_seconds"] == 60
    assert newest["stored_bytes"] > 0
    assert newest["change"] == 0
    assert oldest["proved_at"] is not None
    assert forged["problem"]
    assert (forged["stored_bytes"], forged["copies"], forged["holds_3_2_1"]) == (None, [], False)
    assert server.get("spoqplus/sets?limit=1&offset=1")["items"] == [forged]
    assert [item["name"] for item in server.get("spoqplus/sets?cadence=daily&order=asc")["items"]] == [
        world.older,
        world.newer,
    ]
    assert server.get(f"spoqplus/sets?q={world.older}")["total"] == 1
    assert server.get("spoqplus/sets?sort=stored_bytes")["items"][-1] == forged
    for wrong in ("limit=0", "limit=501", "offset=-1", "sort=name", "order=up"):
        assert server.ask("auditor", "GET", f"/spoqplus/api/spoqplus/sets?{wrong}").status_code == 422


def test_a_set(server: Server, world: World) -> None:
    seen = server.get(f"spoqplus/sets/{world.newer}", "oncall")
    assert seen["server"]["flavour"] == "mariadb"
    assert seen["tools"] == {"mysqldump": "10.11.6"}
    assert seen["warnings"] == ["The disk is 81 % full."]
    (component,) = seen["components"]
    assert (component["name"], component["parts"], component["content"]) == ("database", 1, "dump")
    assert component["stages"] == {}
    assert seen["encryption"]["recipients"] == list(world.past.settings.encryption.recipients)
    assert seen["run"] == {
        "dag_id": "spoqplus_daily_backup",
        "run_id": "manual__1",
        "url": "/dags/spoqplus_daily_backup/runs/manual__1",
    }
    assert seen["restore"]["conf"] == {"backup": world.newer, "components": ["database"]}
    assert seen["restore"]["trigger_url"] == "/api/v2/dags/spoqplus_restore/dagRuns"
    assert seen["restore_url"] == "/dags/spoqplus_restore"
    assert seen["console_urls"] == [], "of AWS's own buckets alone"
    viewed = server.get(f"spoqplus/sets/{world.newer}", "auditor")
    assert viewed["restore"] is None
    assert viewed["restore_url"] is None
    forged = server.get(f"spoqplus/sets/{world.forged}", "oncall")
    assert (forged["server"], forged["restore"], forged["run"]) == (None, None, None)
    for missing, status in (("daily/20000101_000000", 404), ("daily/latest", 422), (".hidden/20260101_030000", 422)):
        assert server.ask("auditor", "GET", f"/spoqplus/api/spoqplus/sets/{missing}").status_code == status


def test_an_incremental_set_is_restored_from_the_full_one_before_it(server: Server, world: World) -> None:
    end = Coordinates(file="binlog.000007", position=4711)
    reach = BinlogRange(after="x", after_cadence="daily", start=Coordinates(), end=end, timeline="t")
    server.get("spoqplus/sets")
    name = world.past.publish(world.past.repository(), "incremental", HOUR / 2, binlog_range=reach)
    world.look()
    conf = server.get(f"spoqplus/sets/{name}", "oncall")["restore"]["conf"]
    assert conf == {"backup": world.newer, "components": ["database"], "to_gtid": "binlog.000007:4711"}


def test_timeline_history_and_tests(server: Server, world: World) -> None:
    line = server.get("spoqplus/timeline")
    assert [(item["name"], item["kind"]) for item in line["sets"]] == [(world.older, "full"), (world.newer, "full")]
    assert line["windows"] == []
    (gap,) = line["gaps"]
    assert gap["reason"]
    assert gap["from"] < line["sets"][1]["at"]
    later = server.get(f"spoqplus/timeline?from={quote(line['sets'][1]['at'])}")
    assert [item["name"] for item in later["sets"]] == [world.newer]
    past = server.get("spoqplus/history")
    assert [point["set"] for point in past["points"]] == [world.older, world.newer]
    assert past["points"][0]["throughput_bytes_per_second"] > 0
    assert [point["set"] for point in server.get("spoqplus/history?days=1")["points"]] == [world.newer]
    (test,) = server.get("spoqplus/tests")["tests"]
    assert (test["id"], test["verdict"], test["backup"]) == (world.test_id, "passed", world.older)
    report = server.ask("auditor", "GET", test["report_url"])
    assert (report.status_code, report.text) == (200, "<html>the report</html>")
    assert "default-src 'none'" in report.headers["content-security-policy"]


def test_what_a_run_made(server: Server, world: World) -> None:
    run = quote("scheduled__2026-01-01T18:00:00+00:00", safe="")
    made = server.get(f"runs/spoqplus_daily_backup/{run}")
    assert made == {"site": "spoqplus", "sets": [world.older], "report_url": None}
    proved = server.get("runs/spoqplus_recovery_test/manual__7")
    assert proved["report_url"] == f"/spoqplus/reports/spoqplus/{world.test_id}"
    for run in ("spoqplus_daily_backup/manual__2", "another_dag/manual__1"):
        assert server.get(f"runs/{run}") == {"site": None, "sets": [], "report_url": None}


def test_below_a_path_of_airflows_own(server: Server, world: World) -> None:
    seen = server.app
    before, seen.root_path = seen.root_path, "/airflow"
    try:
        found = server.ask("oncall", "GET", f"/airflow/spoqplus/api/spoqplus/sets/{world.newer}").json()
    finally:
        seen.root_path = before
    assert found["restore"]["dag_url"] == "/airflow/dags/spoqplus_restore"


# ---- holds


def holds_of(world: World) -> list[dict[str, Any]]:
    """What each repository says."""
    keys = [world.past.keys.public]
    return [
        {set_name: made.model_dump(include={"reason", "by"}) if made else None for set_name, made in found.items()}
        for found in (held(item, keys) for item in (world.past.repository(), world.past.repository("s3")))
    ]


def test_a_set_is_held_and_released(server: Server, world: World) -> None:
    path = f"spoqplus/sets/{world.older}/hold"
    assert server.change("oncall", "PUT", path, {"reason": " audit 2026 "}).status_code == 204
    said = {"reason": "audit 2026", "by": "oncall"}
    assert holds_of(world) == [{world.older: said}] * 2
    hold = server.get(f"spoqplus/sets/{world.older}")["hold"]
    assert (hold["reason"], hold["by"]) == ("audit 2026", "oncall")
    assert server.change("boss", "DELETE", path).status_code == 204
    assert holds_of(world) == [{}] * 2
    assert server.get(f"spoqplus/sets/{world.older}")["hold"] is None


@pytest.mark.parametrize("method", ["PUT", "DELETE"])
def test_a_hold_is_refused(server: Server, world: World, method: str) -> None:
    path, why = f"spoqplus/sets/{world.older}/hold", {"reason": "x"}
    assert server.change("auditor", method, path, why).status_code == 403, "who may not restore"
    assert server.change("oncall", method, path, why, content_type="text/plain").status_code == 415
    assert server.change("oncall", method, path, why, sec_fetch_site="cross-site").status_code == 403
    assert server.change("oncall", method, path, why, sec_fetch_site="same-site").status_code == 403
    plain = {"content-type": "application/json", "origin": "https://evil.example"}
    answer = server.ask("oncall", method, f"/spoqplus/api/{path}", json=why, headers=plain)
    assert answer.status_code == 403, "a browser that tells where from, but not how"
    assert holds_of(world) == [{}] * 2


def test_a_hold_that_can_not_be_made_says_why(
    server: Server, world: World, down: Callable[[], None], monkeypatch: pytest.MonkeyPatch
) -> None:
    path = f"spoqplus/sets/{world.older}/hold"
    for body in ({}, {"reason": ""}, {"reason": "  "}, {"reason": "x" * 501}):
        assert server.change("oncall", "PUT", path, body).status_code == 422
    missing = server.change("oncall", "PUT", "spoqplus/sets/daily/20000101_000000/hold", {"reason": "x"})
    assert missing.status_code == 404
    down()
    half = server.change("oncall", "PUT", path, {"reason": "audit"})
    assert half.status_code == 502
    assert "spoqplus-backup" in half.json()["detail"], "which repository"
    assert server.get(f"spoqplus/sets/{world.older}")["hold"]["reason"] == "audit", "the other one holds it"
    content = world.past.settings.source.read_text()
    world.past.settings.source.write_text(re.sub(r"\n  private_key_file: .*", "", content))
    sites.cache_clear()
    refused = server.change("oncall", "PUT", path, {"reason": "x"})
    assert refused.status_code == 409
    assert "private_key_file" in refused.json()["detail"]
    assert server.get("sites", "oncall")["sites"][0]["may_hold"] is False


# ---- when something is wrong


def test_a_repository_that_is_down_shows_and_everything_still_works(
    server: Server, world: World, down: Callable[[], None], ours: FastAPI
) -> None:
    before = server.get("spoqplus/sets")
    down()
    state = server.get("spoqplus/overview")["repositories"][1]
    assert state["up"] is False
    assert state["error"]
    assert state["as_of"] is not None
    assert server.get("spoqplus/sets") == before
    assert server.get(f"spoqplus/sets/{world.newer}")["components"]
    for path in ("timeline", "history", "tests"):
        assert server.get(f"spoqplus/{path}")


def test_a_wrong_configuration_is_said(server: Server, world: World) -> None:
    world.past.settings.source.write_text("site: [")
    sites.cache_clear()
    response = server.ask("auditor", "GET", "/spoqplus/api/sites")
    assert response.status_code == 503
    assert str(world.past.settings.source) in response.json()["detail"]


def test_no_secret_is_ever_in_an_answer(server: Server, world: World, ours: FastAPI, down: Callable[[], None]) -> None:
    """Of every route, whatever happens."""

    def everything() -> Iterator[str]:
        for route, address in addresses(ours):
            cadence, _, set_id = world.newer.partition("/")
            path = filled(address, cadence=cadence, set_id=set_id, test_id=world.test_id)
            for method in getattr(route, "methods", None) or {"GET"}:
                response = server.change("boss", method, path.removeprefix("/spoqplus/api/"), {"reason": "why"})
                if not path.startswith("/spoqplus/api/"):
                    response = server.ask("boss", method, path)
                yield f"{response.headers}{response.text}"

    answers = list(everything())
    down()
    answers += everything()
    assert len(answers) > 30
    assert any("mysqldump" in answer for answer in answers)
    for name, secret in world.secrets.items():
        assert not [answer for answer in answers if secret in answer], name
    assert not [answer for answer in answers if re.search("X-Amz-Signature|AWSAccessKeyId|PRIVATE KEY", answer)]


# ---- the page


def test_the_page_and_its_files(server: Server, tmp_path: Path) -> None:
    icon = server.ask("auditor", "GET", "/spoqplus/static/icon.svg")
    assert icon.status_code == 200
    assert icon.headers["content-type"].startswith("image/svg+xml")
    assert icon.headers["cache-control"] == "private, no-cache"
    again = server.ask("auditor", "GET", "/spoqplus/static/icon.svg", headers={"if-none-match": icon.headers["etag"]})
    assert again.status_code == 304
    for outside in ("..%2Fapi.py", "%2e%2e/api.py", "nothing.js", "..%2f..%2fsites.py"):
        assert server.ask("auditor", "GET", f"/spoqplus/static/{outside}").status_code == 404
    assert server.ask("auditor", "GET", "/spoqplus/nothing").json() == {"detail": "There is nothing here."}


def test_airflow_shows_it(server: Server) -> None:
    plugins = server.ask("boss", "GET", "/api/v2/plugins").json()["plugins"]
    (ours,) = [plugin for plugin in plugins if plugin["name"] == "spoqplus_backup"]
    views = {view["destination"]: view for view in ours["external_views"]}
    assert views["nav"]["href"] == "spoqplus/"
    assert views["nav"]["nav_top_level"] is True
    assert "{RUN_ID}" in views["dag_run"]["href"]
    assert set(views) == {"nav", "dag_run", "task_instance"}
    assert len({view["url_route"] for view in views.values()}) == 3
    for view in views.values():
        for icon in (view["icon"], view["icon_dark_mode"]):
            assert server.ask("auditor", "GET", f"/{icon}").status_code == 200


@pytest.mark.parametrize(
    ("root", "region", "url"),
    [
        (
            "s3://bucket/seoul",
            "ap-northeast-2",
            "https://console.aws.amazon.com/s3/buckets/bucket?region=ap-northeast-2&prefix=seoul%2Fdaily%2F1%2F",
        ),
        (
            "s3://bucket",
            "cn-north-1",
            "https://console.amazonaws.cn/s3/buckets/bucket?region=cn-north-1&prefix=daily%2F1%2F",
        ),
        ("s3://bucket", None, None),
        ("file:///backup", None, None),
    ],
)
def test_the_console(root: str, region: str | None, url: str | None) -> None:
    assert console_url(root, region, "daily/1") == url


def test_doctor(server: Server, world: World) -> None:
    seen = server.get("spoqplus/doctor")
    assert seen["machine"]
    by_name = {check["name"]: check for check in seen["checks"]}
    assert by_name["connections · local"]["ok"] is True
    assert by_name["connections · s3"]["ok"] is True
    assert by_name["clock · s3"]["ok"] is True
    server_line = by_name["connections · spoqplus_mysql"]
    assert server_line["ok"] is False, "there is none"
    assert "Can't connect to the database server" in server_line["detail"]
    assert not any(secret in str(seen) for secret in world.secrets.values())
    assert server.get("spoqplus/doctor") == seen, "it is not looked again at once"
    assert list(world.past.repository().list(".probe/")) == [], "nothing is written for it"
