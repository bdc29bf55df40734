"""All that Airflow's API server serves for us, behind one gate."""

import logging

from airflow.api_fastapi.core_api.security import GetUserDep
from fastapi import FastAPI, HTTPException, Request
from fastapi.responses import JSONResponse

from spoqplus_backup.core.connections import Connections
from spoqplus_backup.core.errors import BackupError
from spoqplus_backup.web import Application, metrics
from spoqplus_backup.web.api import api_router
from spoqplus_backup.web.checkups import Checkups
from spoqplus_backup.web.gate import Gate
from spoqplus_backup.web.indexes import Indexes
from spoqplus_backup.web.pages import add_page
from spoqplus_backup.web.reports import report_router
from spoqplus_backup.web.rights import Sites

log = logging.getLogger(__name__)

METHODS = ["GET", "HEAD", "POST", "PUT", "PATCH", "DELETE", "OPTIONS"]


def make_app(sites: Sites, connections: Connections) -> Application:
    """The application; `sites` are asked at each request."""
    return Gate(routes(sites, connections), {metrics.PATH})


def routes(sites: Sites, connections: Connections) -> FastAPI:
    """What is behind the gate."""
    app = FastAPI(title="SPOQ Plus backup", docs_url=None, redoc_url=None, openapi_url=None)
    app.add_exception_handler(BackupError, _out_of_order)
    app.include_router(metrics.metrics_router(sites, connections))  # behind a token of its own
    app.include_router(report_router(sites, connections))
    app.include_router(api_router(sites, Indexes(connections), Checkups(connections)), prefix="/api")
    add_page(app)

    @app.api_route("/{path:path}", methods=METHODS)
    def nothing(path: str, user: GetUserDep) -> None:
        raise HTTPException(404, "There is nothing here.")

    return app


async def _out_of_order(request: Request, error: Exception) -> JSONResponse:
    """A configuration that can't be read, as a rule: its sentence says what to do."""
    log.warning("%s can't be answered: %s", request.url.path, error)
    return JSONResponse({"detail": str(error)}, 503)
