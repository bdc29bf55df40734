"""Registers this project with Airflow, and nothing else: Airflow runs this file as a module of its own name."""

from typing import Any

from airflow.plugins_manager import AirflowPlugin

from spoqplus_backup import pools
from spoqplus_backup.deadlines import RunAfter
from spoqplus_backup.web import PAGE_ROUTE, PREFIX, Lazy
from spoqplus_backup.web.links import ConsoleLink, ReportLink, SetLink


def _served() -> Any:
    from spoqplus_backup.hooks import AirflowConnections
    from spoqplus_backup.sites import sites
    from spoqplus_backup.web.app import make_app

    return make_app(sites, AirflowConnections())


def _view(name: str, destination: str, route: str, rest: str = "", **fields: Any) -> dict[str, Any]:
    """A page of ours in the UI. Its addresses begin where Airflow does, also behind `/airflow/`: hence no slash."""
    here = PREFIX.removeprefix("/")
    icons = {"icon": f"{here}/static/icon.svg", "icon_dark_mode": f"{here}/static/icon-dark.svg"}
    made = {"name": name, "href": f"{here}/{rest}", "destination": destination, "url_route": route}
    return made | icons | fields


class SpoqplusPlugin(AirflowPlugin):
    """Shows in the UI's list of plugins that the folder was found; makes our pools when the scheduler starts.

    The API server serves the Backups page, its API and the reports of recovery tests. The names of pages can't follow
    the language of the UI, so they are in both.
    """

    name = "spoqplus_backup"
    listeners = [pools]
    deadline_references = [RunAfter]
    operator_extra_links = [ReportLink(), SetLink(), ConsoleLink()]
    fastapi_apps = [{"app": Lazy(_served), "url_prefix": PREFIX, "name": "spoqplus_backup"}]
    external_views = [
        _view("백업 · Backups", "nav", PAGE_ROUTE, nav_top_level=True),
        _view("백업 세트 · Backup set", "dag_run", "backup-set", "#/run/{DAG_ID}/{RUN_ID}"),
        _view("백업 세트 · Backup set", "task_instance", "backup-set-of-task", "#/run/{DAG_ID}/{RUN_ID}"),
    ]
