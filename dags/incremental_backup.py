"""### Incremental backup

**Why.** Proves, four times a day, that the binary logs since the last full backup are all there and follow each other
in every repository, and publishes them as a set of their own: with the full backup it can bring back any moment in
between.

**When.** Every six hours (`schedules.incremental_backup`), one run at a time.

**What.** The tasks in `archive` bring everything up to now into the repositories, as the DAG of the binary log
archive does. `check_chain` is red when logs are missing in between. `publish_incremental` checks numbers, GTIDs,
hashes and signatures from the full or incremental set before up to now, and signs the manifest of the new set. On a
server that closed no log since there is no new set. `notify` tells Slack what it covers.

**When it fails.** Open the red task before `notify`: its help says what to do. A gap in the chain can't be mended,
only followed by a new full backup, which `full_backup` has asked for; incremental sets go on after that.
"""

from airflow.sdk import DAG, CronTriggerTimetable

from spoqplus_backup.flows.archive import incremental
from spoqplus_backup.flows.tasks import default_args
from spoqplus_backup.messages import text
from spoqplus_backup.sites import sites

for settings in sites():
    cron = settings.schedules.incremental_backup
    with DAG(
        dag_id=f"{settings.site}_incremental_backup",
        dag_display_name=text(settings.language, "incremental.dag", site=settings.site),
        description=text(settings.language, "incremental.description"),
        doc_md=__doc__,
        schedule=CronTriggerTimetable(cron, timezone=settings.timezone) if cron else None,
        max_active_runs=1,
        default_args=default_args(settings),
        tags=["backup", "incremental", settings.site],
    ):
        incremental(settings)
