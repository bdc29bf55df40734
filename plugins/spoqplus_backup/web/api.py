"""The API of the Backups page: read by whoever may read the site's daily backup, holds by whoever may restore."""

import os
from collections.abc import Callable, Sequence
from datetime import datetime, timedelta, timezone
from typing import Annotated, Literal
from urllib.parse import quote, urlsplit

from airflow.api_fastapi.auth.managers.models.base_user import BaseUser
from airflow.api_fastapi.core_api.security import GetUserDep
from fastapi import APIRouter, Depends, HTTPException, Path, Query, Request, Response
from pydantic import BaseModel, Field

from spoqplus_backup.core.errors import BackupError, PermanentError
from spoqplus_backup.core.monitor.catalogue import Catalogue, Row
from spoqplus_backup.core.monitor.model import TestFacts
from spoqplus_backup.core.repository.base import Repository
from spoqplus_backup.core.repository.console import console_url
from spoqplus_backup.core.repository.holds import hold, release
from spoqplus_backup.core.repository.set_details import SetContents
from spoqplus_backup.core.run import component_names
from spoqplus_backup.core.settings import Settings
from spoqplus_backup.doctor_text import as_json
from spoqplus_backup.web import PREFIX, answers
from spoqplus_backup.web.answers import Answer
from spoqplus_backup.web.checkups import Checkups
from spoqplus_backup.web.indexes import Indexes
from spoqplus_backup.web.rights import Sites, may_restore, may_see, may_see_dag, site_for

MOST = 500  # sets of one answer
YEARS = 3660  # days of a chart
DAGS = ("daily_backup", "weekly_backup", "monthly_backup", "incremental_backup", "binlog_archive") + (
    *("replication", "retention", "recovery_test", "restore"),
)

Cadence = Annotated[str, Path(pattern=r"^[A-Za-z0-9][A-Za-z0-9._-]*$", max_length=64)]
SetId = Annotated[str, Path(pattern=r"^\d{8}_\d{6}$")]


class HoldBody(BaseModel):
    """Why a set is to stay."""

    reason: str = Field(min_length=1, max_length=500, pattern=r"\S")


def from_our_page(request: Request) -> None:
    """See that a request that changes something comes from our own page, not from another one in the same browser.

    Raises:
        HTTPException: 415 no JSON, which a foreign form can't send; 403 sent by a page of another server.
    """
    if request.headers.get("content-type", "").partition(";")[0].strip().lower() != "application/json":
        raise HTTPException(415, "Send it as application/json.")
    site, origin = request.headers.get("sec-fetch-site"), request.headers.get("origin")
    if site is not None:
        same = site == "same-origin"
    else:  # no browser of today
        same = origin is None or urlsplit(origin).netloc == request.headers.get("host")
    if not same:
        raise HTTPException(403, "Another page asked for this: open the Backups page and do it there.")


def base_of(request: Request) -> str:
    """Where Airflow itself is, `/airflow` or nothing: what its own addresses begin with."""
    return str(request.scope.get("root_path", "")).removesuffix(PREFIX)


def api_router(sites: Sites, indexes: Indexes, checkups: Checkups) -> APIRouter:  # noqa: C901 (a list of routes)
    """The routes below `/api`; `sites` are asked at each request."""
    router = APIRouter()

    def catalogue_for(user: BaseUser, site: str) -> Catalogue:
        return indexes.of(site_for(user, site, sites)).catalogue()

    def row_for(catalogue: Catalogue, cadence: str, set_id: str) -> Row:
        row = catalogue.by_name.get(f"{cadence}/{set_id}")
        if row is None:
            raise HTTPException(404, f"There is no set {cadence}/{set_id}.")
        return row

    @router.get("/sites")
    def get_sites(user: GetUserDep) -> Answer:
        return {"sites": [_site(settings, user) for settings in sites() if may_see(user, settings.site)]}

    @router.get("/runs/{dag_id}/{run_id:path}")
    def get_run(dag_id: str, run_id: str, user: GetUserDep, request: Request) -> Answer:
        if not may_see_dag(user, dag_id):
            raise HTTPException(403, f"You may not read the DAG {dag_id}.")
        return _run(sites, indexes, user, f"{dag_id}/{run_id}", base_of(request))

    @router.get("/{site}/overview")
    def get_overview(site: str, user: GetUserDep) -> Answer:
        index = indexes.of(site_for(user, site, sites))
        catalogue, now = index.catalogue(), datetime.now(timezone.utc)
        return answers.overview(catalogue, now, stale=index.is_stale(now), refreshing=index.is_looking)

    @router.get("/{site}/sets")
    def get_sets(
        site: str,
        user: GetUserDep,
        offset: Annotated[int, Query(ge=0)] = 0,
        limit: Annotated[int, Query(ge=1, le=MOST)] = 50,
        sort: Literal["id", "cadence", "stored_bytes", "raw_bytes", "duration"] = "id",
        order: Literal["asc", "desc"] = "desc",
        cadence: Annotated[str, Query(max_length=64)] = "",
        q: Annotated[str, Query(max_length=200)] = "",
    ) -> Answer:
        catalogue = catalogue_for(user, site)
        found = catalogue.select(cadence or None, q, sort, newest=order == "desc")
        return {
            "total": len(found),
            "offset": offset,
            "limit": limit,
            "cadences": list(catalogue.cadences),
            "items": [answers.item(catalogue, row) for row in found[offset : offset + limit]],
        }

    @router.get("/{site}/sets/{cadence}/{set_id}")
    def get_set(site: str, cadence: Cadence, set_id: SetId, user: GetUserDep, request: Request) -> Answer:
        index = indexes.of(site_for(user, site, sites))
        catalogue, base = index.catalogue(), base_of(request)
        row = row_for(catalogue, cadence, set_id)
        found = index.whole(row)
        restore = _restore(catalogue, row, found[1] if found else None, base) if may_restore(user, site) else None
        return (
            answers.item(catalogue, row)
            | answers.whole(found)
            | {
                "run": _made_by(row, base),
                "depends_on": list(row.line.depends_on) if row.line else [],
                "restore_url": restore and restore["dag_url"],
                "restore": restore,
                "console_urls": _consoles(catalogue, row),
            }
        )

    @router.get("/{site}/timeline")
    def get_timeline(
        site: str,
        user: GetUserDep,
        since: Annotated[datetime | None, Query(alias="from")] = None,
        until: Annotated[datetime | None, Query(alias="to")] = None,
    ) -> Answer:
        return answers.timeline(catalogue_for(user, site), _utc(since), _utc(until))

    @router.get("/{site}/history")
    def get_history(site: str, user: GetUserDep, days: Annotated[int, Query(ge=1, le=YEARS)] = 90) -> Answer:
        return answers.history(catalogue_for(user, site), datetime.now(timezone.utc) - timedelta(days=days))

    @router.get("/{site}/tests")
    def get_tests(site: str, user: GetUserDep, request: Request) -> Answer:
        base = base_of(request)
        return {"tests": [_test(test, site, base) for test in catalogue_for(user, site).tests]}

    @router.get("/{site}/doctor")
    def get_doctor(site: str, user: GetUserDep) -> Answer:
        settings = site_for(user, site, sites)
        return as_json(settings.language, checkups.of(settings))

    @router.put("/{site}/sets/{cadence}/{set_id}/hold", status_code=204, dependencies=[Depends(from_our_page)])
    def put_hold(site: str, cadence: Cadence, set_id: SetId, body: HoldBody, user: GetUserDep) -> Response:
        settings = _to_hold(user, site, sites)
        index = indexes.of(settings)
        name = row_for(index.catalogue(), cadence, set_id).name
        who = user.get_name()
        _change(index.change_holds, lambda repositories: hold(settings, repositories, name, body.reason, who))
        return Response(status_code=204)

    @router.delete("/{site}/sets/{cadence}/{set_id}/hold", status_code=204, dependencies=[Depends(from_our_page)])
    def delete_hold(site: str, cadence: Cadence, set_id: SetId, user: GetUserDep) -> Response:
        index = indexes.of(_to_hold(user, site, sites))
        _change(index.change_holds, lambda repositories: release(repositories, f"{cadence}/{set_id}"))
        return Response(status_code=204)

    return router


def _site(settings: Settings, user: BaseUser) -> Answer:
    restores = may_restore(user, settings.site)
    key = settings.signing.private_key_file
    return {
        "site": settings.site,
        "timezone": settings.timezone,
        "language": settings.language,
        "may_restore": restores,
        "may_hold": restores and key is not None and os.access(key, os.R_OK),
        "dags": {name: f"{settings.site}_{name}" for name in DAGS},
    }


def _run(sites: Sites, indexes: Indexes, user: BaseUser, run: str, base: str) -> Answer:
    """What a run made, of whatever site."""
    for settings in sites():
        if not run.startswith(f"{settings.site}_") or not may_see(user, settings.site):
            continue
        catalogue = indexes.of(settings).catalogue()
        made = [row.name for row in catalogue.made_by(run)]
        report = next((test.id for test in catalogue.tests if test.run_id == run), None)
        if made or report:
            url = report and f"{base}{PREFIX}/reports/{settings.site}/{report}"
            return {"site": settings.site, "sets": made, "report_url": url}
    return {"site": None, "sets": [], "report_url": None}


def _made_by(row: Row, base: str) -> Answer | None:
    if row.line is None:
        return None
    dag_id, _, run_id = row.line.run_id.partition("/")
    url = f"{base}/dags/{quote(dag_id, safe='')}/runs/{quote(run_id, safe='')}"
    return {"dag_id": dag_id, "run_id": run_id, "url": url}


def _restore(catalogue: Catalogue, row: Row, contents: SetContents | None, base: str) -> Answer | None:
    """Where the restore DAG is started, and what its form is filled with; None for a set that can't be restored."""
    chosen = _chosen(catalogue, row, contents)
    if chosen is None:
        return None
    dag_id = f"{catalogue.settings.site}_restore"
    api = f"{base}/api/v2/dags/{dag_id}"
    return {
        "dag_id": dag_id,
        "dag_url": f"{base}/dags/{dag_id}",
        "params_url": f"{api}/details",
        "trigger_url": f"{api}/dagRuns",
        "run_url": f"{base}/dags/{dag_id}/runs/",
        "conf": chosen,
    }


def _chosen(catalogue: Catalogue, row: Row, contents: SetContents | None) -> Answer | None:
    """A full set by its name; an incremental one by the full set that it leads on from, up to its own end."""
    if row.line is None or row.problem and not row.repositories:
        return None
    if contents is None or contents.binlog_range is None:
        known = component_names(catalogue.settings)
        first = [name for name in known if name in row.line.contents][:1]
        return {"backup": row.name, "components": first or list(row.line.contents[:1])}
    end = contents.binlog_range.end
    before = [found for found in catalogue.rows if found.is_full and found.id <= row.id]
    if not before or end.file is None or end.position is None:
        return None
    return {"backup": before[-1].name, "components": ["database"], "to_gtid": f"{end.file}:{end.position}"}


def _consoles(catalogue: Catalogue, row: Row) -> list[Answer]:
    found = []
    for name in row.repositories:
        state = catalogue.repositories.get(name)
        root = catalogue.settings.repository(name).root
        if url := console_url(root, state.region if state else None, row.name):
            found.append({"repository": name, "url": url})
    return found


def _test(test: TestFacts, site: str, base: str) -> Answer:
    fields = {"id", "verdict", "backup", "rto_seconds", "rpo_seconds", "failed_checks"}
    found: Answer = test.model_dump(include=fields, mode="json")
    times = {"finished_at": answers.iso(test.finished_at)}
    return found | times | {"report_url": f"{base}{PREFIX}/reports/{site}/{test.id}"}


def _to_hold(user: BaseUser, site: str, sites: Sites) -> Settings:
    settings = site_for(user, site, sites)
    if not may_restore(user, site):
        raise HTTPException(403, f"You may not trigger the DAG {site}_restore, so you may not hold its backups.")
    return settings


def _change(
    change: Callable[[Callable[[Sequence[Repository]], object]], object], act: Callable[[Sequence[Repository]], object]
) -> None:
    try:
        change(act)
    except PermanentError as error:
        raise HTTPException(409, str(error)) from error
    except BackupError as error:
        raise HTTPException(502, str(error)) from error


def _utc(moment: datetime | None) -> datetime | None:
    return moment.replace(tzinfo=timezone.utc) if moment is not None and moment.tzinfo is None else moment
