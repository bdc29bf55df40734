"""### Weekly backup

**Why.** The full backup that is looked at hardest: archives of files are full, and every object is read back from
every repository and compared, so that a disk or a server that lies about what it keeps is found while other copies are
good.

**When.** Sundays at 04:00 Asia/Seoul (`schedules.weekly_backup`), one run at a time. It queues behind a daily backup
that still runs: one at a time reads the server (a pool), and `preflight` waits until the staging disk has room for
both.

**What.** As the daily backup, but uploads and logs in full, and `verify` reads everything back. The sets are in
`weekly/`. A restore can begin with one as with any daily set, and binary logs lead on from it.

**When it fails.** As with the daily backup: open the red task before `notify`, put right what its log says, and
*clear* it with everything downstream. A red `verify` names the damaged object and its repository: clear that
component's `upload`, and look after the disk or server that kept it so.
"""

from airflow.sdk import DAG, CronTriggerTimetable

from spoqplus_backup.core.cadence import WEEKLY
from spoqplus_backup.flows.backup import backup
from spoqplus_backup.flows.tasks import deadline, default_args
from spoqplus_backup.messages import text
from spoqplus_backup.sites import sites

for settings in sites():
    cron = WEEKLY.schedule(settings)
    with DAG(
        dag_id=f"{settings.site}_weekly_backup",
        dag_display_name=text(settings.language, "weekly.dag", site=settings.site),
        description=text(settings.language, "weekly.description"),
        doc_md=__doc__,
        schedule=CronTriggerTimetable(cron, timezone=settings.timezone) if cron else None,
        max_active_runs=1,
        default_args=default_args(settings),
        deadline=deadline(settings, settings.alerts.late_hours),
        tags=["backup", "weekly", settings.site],
    ):
        backup(settings, WEEKLY)
