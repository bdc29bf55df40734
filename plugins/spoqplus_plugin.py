"""Registers this project with Airflow, and nothing else: Airflow runs this file as a module of its own name."""

from typing import Any

from airflow.plugins_manager import AirflowPlugin

from spoqplus_backup import pools
from spoqplus_backup.deadlines import RunAfter
from spoqplus_backup.web import PREFIX, Lazy
from spoqplus_backup.web.links import ReportLink


def _reports() -> Any:
    from spoqplus_backup.hooks import AirflowConnections
    from spoqplus_backup.sites import sites
    from spoqplus_backup.web.reports import make_app

    return make_app(sites, AirflowConnections())


class SpoqplusPlugin(AirflowPlugin):
    """Shows in the UI's list of plugins that the folder was found; makes our pools when the scheduler starts.

    The API server serves the reports of recovery tests.
    """

    name = "spoqplus_backup"
    listeners = [pools]
    deadline_references = [RunAfter]
    operator_extra_links = [ReportLink()]
    fastapi_apps = [{"app": Lazy(_reports), "url_prefix": PREFIX, "name": "spoqplus_backup"}]
