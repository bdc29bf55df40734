"""Serves the reports of recovery tests: `/spoqplus/reports/<site>/<id>`, as they lie signed in the repositories."""

import logging
from collections.abc import Mapping
from typing import Annotated

from airflow.api_fastapi.core_api.security import GetUserDep
from fastapi import APIRouter, HTTPException, Path
from fastapi.responses import HTMLResponse

from spoqplus_backup.core.connections import Connections
from spoqplus_backup.core.errors import BackupError
from spoqplus_backup.core.proof.store import page_of, proof_of
from spoqplus_backup.core.repository.opener import open_repository
from spoqplus_backup.core.settings import Settings
from spoqplus_backup.web.rights import Sites, may_see_dag

log = logging.getLogger(__name__)

# The page needs nothing from anywhere: its own policy, inside of it, says more; what it is styled with lies in it.
HEADERS = {
    "Content-Security-Policy": "default-src 'none'; style-src 'unsafe-inline'; img-src data:; frame-ancestors 'self'",
    "Referrer-Policy": "no-referrer",
}


def report_router(sites: Sites, connections: Connections) -> APIRouter:
    """Its one route; `sites` are asked at each request."""
    router = APIRouter()

    @router.get("/reports/{site}/{test_id}", response_class=HTMLResponse)
    def report(site: str, test_id: Annotated[str, Path(pattern=r"^\d{8}_\d{6}$")], user: GetUserDep) -> HTMLResponse:
        if not may_see_dag(user, f"{site}_recovery_test"):
            raise HTTPException(403, "You may not read the recovery tests of this site.")
        known: Mapping[str, Settings] = {settings.site: settings for settings in sites()}
        if site not in known:
            raise HTTPException(404, "There is no such site.")
        return HTMLResponse(_page(known[site], connections, test_id), headers=HEADERS)

    return router


def _page(settings: Settings, connections: Connections, test_id: str) -> str:
    """Of the first repository that has it."""
    complaints = []
    for item in settings.primaries:
        try:
            repository = open_repository(settings, item.name, connections)
            proof = proof_of(repository, settings.signing.public_key_files, test_id, settings.site)
            return page_of(repository, proof)
        except BackupError as error:
            log.warning("The report %s can't be read from %s: %s", test_id, item.name, error)
            complaints.append(item.name)
    raise HTTPException(404, f"The report {test_id} can't be read from any repository ({', '.join(complaints)}).")
