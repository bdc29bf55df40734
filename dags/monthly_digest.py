"""### Monthly digest

**Why.** A promise that nobody counts is a hope: four hours to restore, one hour of lost data, three copies, a test each
month. And a disk that is full next month is cheaper to enlarge this month.

**When.** On the 3rd of each month at 09:00 Asia/Seoul (`schedules.monthly_digest`), the day after the recovery test; by
hand at any time. It is about the calendar month before.

**What.** `collect_month` reads the repositories' manifests, the binary logs' sidecars and the reports of recovery tests
and retention: of each cadence how many backups there should have been, are, failed or are missing; the loss of data at
its worst and the share of the time that it was within the promise; the restore times that were measured; whether the
3-2-1 rule holds now; how backups grew; and when the staging disk and each local repository's are full at this rate.
`notify` sends it to Slack as one message.

**When it fails.** No backup is affected. A repository that is down does not fail it but is named in the message. Open
the red task before `notify`: its help says what to do.
"""

from airflow.sdk import DAG, CronTriggerTimetable

from spoqplus_backup.flows.digest import digest
from spoqplus_backup.flows.tasks import default_args
from spoqplus_backup.messages import text
from spoqplus_backup.sites import sites

for settings in sites():
    cron = settings.schedules.monthly_digest
    with DAG(
        dag_id=f"{settings.site}_monthly_digest",
        dag_display_name=text(settings.language, "monthly_digest.dag", site=settings.site),
        description=text(settings.language, "monthly_digest.description"),
        doc_md=__doc__,
        schedule=CronTriggerTimetable(cron, timezone=settings.timezone) if cron else None,
        max_active_runs=1,
        default_args=default_args(settings),
        tags=["digest", settings.site],
    ):
        digest(settings)
