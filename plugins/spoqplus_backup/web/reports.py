"""Serves the reports of recovery tests: `/spoqplus/reports/<site>/<id>`, as they lie signed in the repositories."""

import logging
from collections.abc import Callable, Mapping, Sequence
from typing import Annotated

from airflow.api_fastapi.app import get_auth_manager
from airflow.api_fastapi.auth.managers.models.resource_details import DagDetails
from airflow.api_fastapi.core_api.security import GetUserDep
from fastapi import FastAPI, HTTPException, Path
from fastapi.responses import HTMLResponse

from spoqplus_backup.core.connections import Connections
from spoqplus_backup.core.errors import BackupError
from spoqplus_backup.core.proof.store import page_of, proof_of
from spoqplus_backup.core.repository.opener import open_repository
from spoqplus_backup.core.settings import Settings
from spoqplus_backup.web.metrics import metrics_router

log = logging.getLogger(__name__)

# The page needs nothing from anywhere: its own policy, inside of it, says so too.
HEADERS = {"X-Content-Type-Options": "nosniff", "Cache-Control": "private, no-store", "Referrer-Policy": "no-referrer"}


def make_app(sites: Callable[[], Sequence[Settings]], connections: Connections) -> FastAPI:
    """The application; `sites` are asked at each request."""
    app = FastAPI(title="SPOQ Plus backup", docs_url=None, redoc_url=None, openapi_url=None)
    app.include_router(metrics_router(sites, connections))

    @app.get("/reports/{site}/{test_id}", response_class=HTMLResponse)
    def report(site: str, test_id: Annotated[str, Path(pattern=r"^\d{8}_\d{6}$")], user: GetUserDep) -> HTMLResponse:
        details = DagDetails(id=f"{site}_recovery_test")
        if not get_auth_manager().is_authorized_dag(method="GET", details=details, user=user):
            raise HTTPException(403, "You may not read the recovery tests of this site.")
        known: Mapping[str, Settings] = {settings.site: settings for settings in sites()}
        if site not in known:
            raise HTTPException(404, "There is no such site.")
        return HTMLResponse(_page(known[site], connections, test_id), headers=HEADERS)

    return app


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
