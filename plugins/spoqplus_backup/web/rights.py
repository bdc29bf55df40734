"""Who may see a site's backups, and who may hold and restore them: Airflow's own rights on the site's DAGs."""

from collections.abc import Callable, Sequence

from airflow.api_fastapi.app import get_auth_manager
from airflow.api_fastapi.auth.managers.models.base_user import BaseUser
from airflow.api_fastapi.auth.managers.models.resource_details import DagAccessEntity, DagDetails
from airflow.configuration import conf
from fastapi import HTTPException

from spoqplus_backup.core.settings import Settings

Sites = Callable[[], Sequence[Settings]]


def may_see_dag(user: BaseUser, dag_id: str) -> bool:
    """Whether a user may read a DAG."""
    return get_auth_manager().is_authorized_dag(method="GET", details=_details(dag_id), user=user)


def may_see(user: BaseUser, site: str) -> bool:
    """Whether a user may see a site's backups: who may read its daily backup."""
    return may_see_dag(user, f"{site}_daily_backup")


def may_restore(user: BaseUser, site: str) -> bool:
    """Whether a user may start a site's restore."""
    return get_auth_manager().is_authorized_dag(
        method="POST", access_entity=DagAccessEntity.RUN, details=_details(f"{site}_restore"), user=user
    )


def site_for(user: BaseUser, site: str, sites: Sites) -> Settings:
    """The settings of a site that a user may see.

    Raises:
        HTTPException: 403, also when there is no such site: who may not see it need not know.
    """
    found = next((settings for settings in sites() if settings.site == site), None)
    if not may_see(user, site):
        raise HTTPException(403, f"You may not read the DAG {site}_daily_backup.")
    if found is None:
        raise HTTPException(404, f"There is no site {site}.")
    return found


def _details(dag_id: str) -> DagDetails:
    from airflow.models.dag import DagModel

    team = DagModel.get_team_name(dag_id) if conf.getboolean("core", "multi_team") else None
    return DagDetails(id=dag_id, team_name=team)
