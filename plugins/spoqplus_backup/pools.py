"""The pools that our tasks stand in line for: made when a part of Airflow starts that may write its database.

A task whose pool does not exist waits for ever, and the only word of it is a warning in the scheduler's log. Neither a
DAG file nor a task can make or see a pool, so the scheduler does it at its start. A pool that is there is left as it
is: somebody may have given it more slots.
"""

import logging

from airflow.listeners import hookimpl

log = logging.getLogger(__name__)

SLOTS = 1  # one task at a time reads a server


@hookimpl
def on_starting(component: object) -> None:
    """Airflow's listener: called by the scheduler, the DAG processor and the triggerer, and in each task."""
    if type(component).__name__ == "Job":  # the others, such as the runner of a task, have no database
        make_pools()


def make_pools() -> None:
    """Make the pools of every configured site that don't exist yet."""
    from airflow.models.pool import Pool
    from airflow.utils.session import create_session
    from sqlalchemy.exc import IntegrityError

    from spoqplus_backup.core.errors import SettingsError
    from spoqplus_backup.sites import sites

    try:
        names = {settings.database_pool: settings.site for settings in sites()}
    except SettingsError as error:  # the DAGs' import error says so too
        log.warning("No pools are made: %s", error)
        return
    for name, site in names.items():
        try:
            with create_session() as session:
                if Pool.get_pool(name, session=session) is None:
                    session.add(Pool(pool=name, slots=SLOTS, description=f"Dumps of {site}", include_deferred=False))
                    log.info("Made the pool %s", name)
        except IntegrityError:  # another part of Airflow made it just now
            log.info("The pool %s is there", name)
