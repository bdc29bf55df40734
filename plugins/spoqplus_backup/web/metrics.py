"""Serves `/spoqplus/metrics` to whoever has the token of a site: no login of Airflow's is asked for, nor counts.

With a token of several sites a scrape gets all of them; with one of its own each site is told by itself.
"""

import hmac
import logging
import threading
from collections.abc import Sequence
from datetime import datetime, timezone

from airflow.models.taskinstance import TaskInstance
from airflow.utils.session import create_session
from fastapi import APIRouter, HTTPException, Request, Response
from prometheus_client.exposition import CONTENT_TYPE_LATEST
from sqlalchemy import func, select

from spoqplus_backup.core.connections import Connections
from spoqplus_backup.core.errors import SettingsError
from spoqplus_backup.core.monitor.latest import LatestFacts
from spoqplus_backup.core.settings import Settings
from spoqplus_backup.web.exposition import Observed, exposition
from spoqplus_backup.web.rights import Sites

log = logging.getLogger(__name__)

PATH = "/metrics"
LEAST_CHARACTERS = 16  # of a token
PATIENCE_SECONDS = 8.0  # of the first scrape behind a start: Prometheus itself waits ten
WATCHDOG, LOOK = "watchdog", "look"  # DAG (behind the site's name) and task


def metrics_router(sites: Sites, connections: Connections) -> APIRouter:
    """The route; `sites` are asked at each request."""
    router = APIRouter()
    latest: dict[str, LatestFacts] = {}
    once = threading.Lock()

    def facts_of(settings: Settings) -> LatestFacts:
        with once:
            found = latest.get(settings.site)
            if found is None or found.settings is not settings:
                found = latest[settings.site] = LatestFacts(settings, connections)
            return found

    @router.get(PATH)
    def metrics(request: Request) -> Response:
        chosen = _allowed(request, sites(), connections)
        known = [(settings, facts_of(settings)) for settings in chosen]
        for _, found in known:
            found.facts()  # all begin to look before one is waited for
        observed = [
            Observed(settings, found.facts(PATIENCE_SECONDS / len(known)), watchdog_at(settings.site))
            for settings, found in known
        ]
        return Response(exposition(observed, datetime.now(timezone.utc)), media_type=CONTENT_TYPE_LATEST)

    return router


def _allowed(request: Request, sites: Sequence[Settings], connections: Connections) -> list[Settings]:
    """The sites whose token was sent.

    Raises:
        HTTPException: 401 no token, or no site's; 503 no site has one.
    """
    tokens = [(settings, token) for settings in sites if (token := _token(settings, connections)) is not None]
    if not tokens:
        raise HTTPException(
            503,
            "No site has a token for its metrics: add the connection that `metrics.connection` names, with the token "
            f"({LEAST_CHARACTERS} characters or more) as its password, or name a file in `metrics.token_file`.",
        )
    scheme, _, sent = request.headers.get("authorization", "").partition(" ")
    sent = sent if scheme.lower() == "bearer" else ""
    chosen = [settings for settings, token in tokens if hmac.compare_digest(token.encode(), sent.encode())]
    if not chosen:
        raise HTTPException(401, "Send the token of the metrics as a bearer token.", {"WWW-Authenticate": "Bearer"})
    return chosen


def _token(settings: Settings, connections: Connections) -> str | None:
    """A site's token; None when it has none that counts."""
    chosen = settings.metrics
    try:
        if chosen.token_file is not None:
            token = chosen.token_file.read_text().strip()
        elif chosen.connection is not None:
            token = connections.secret(chosen.connection)
        else:
            return None
    except SettingsError as error:
        log.info("%s has no token for its metrics: %s", settings.site, error)
        return None
    except OSError as error:
        log.warning("The token file of %s can't be read: %s", settings.site, error)
        return None
    if len(token) < LEAST_CHARACTERS:
        log.warning("The token of %s is too short: it has to have %d characters", settings.site, LEAST_CHARACTERS)
        return None
    return token


def watchdog_at(site: str) -> datetime | None:
    """When the site's watchdog last looked, by Airflow's own records."""
    ended = select(func.max(TaskInstance.end_date)).where(
        TaskInstance.dag_id == f"{site}_{WATCHDOG}", TaskInstance.task_id == LOOK, TaskInstance.state == "success"
    )
    with create_session() as session:
        found: datetime | None = session.scalar(ended)
    return found
