"""### Monthly backup

**Why.** The full backup that is kept for long: where a repository has `long_term_storage_class`, its objects are in a
cheaper class, and where it has `object_lock`, nobody can delete them for so many days, not even with our credentials.

**When.** On the 1st at 05:00 Asia/Seoul (`schedules.monthly_backup`), one run at a time. It queues behind daily and
weekly backups that still run: one at a time reads the server (a pool), and `preflight` waits for room to stage in.

**What.** As the weekly backup: files in full, every object read back, and what should be locked is. `preflight`
refuses a bucket that has no object lock when it is configured. The sets are in `monthly/`; a restore can begin with
one as with any daily set.

**When it fails.** As with the daily backup: open the red task before `notify`, put right what its log says, and
*clear* it with everything downstream. What was stored and locked by a run that failed stays until its lock ends: that
costs money, and harms nothing.
"""

from airflow.sdk import DAG, CronTriggerTimetable

from spoqplus_backup.core.cadence import MONTHLY
from spoqplus_backup.flows.backup import backup
from spoqplus_backup.flows.tasks import deadline, default_args
from spoqplus_backup.messages import text
from spoqplus_backup.sites import sites

for settings in sites():
    cron = MONTHLY.schedule(settings)
    with DAG(
        dag_id=f"{settings.site}_monthly_backup",
        dag_display_name=text(settings.language, "monthly.dag", site=settings.site),
        description=text(settings.language, "monthly.description"),
        doc_md=__doc__,
        schedule=CronTriggerTimetable(cron, timezone=settings.timezone) if cron else None,
        max_active_runs=1,
        default_args=default_args(settings),
        deadline=deadline(settings, settings.alerts.late_hours),
        tags=["backup", "monthly", settings.site],
    ):
        backup(settings, MONTHLY)
