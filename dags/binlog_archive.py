"""### Binary log archive

**Why.** A full backup is a day old at worst; the promise is at most one hour of lost data. The server's binary logs
hold every transaction since, so they leave the server every quarter of an hour.

**When.** Every 15 minutes (`schedules.binlog_archive`), one run at a time. A quiet server costs next to
nothing: without a transaction a log is closed only after half of `objectives.rpo_hours`, as proof that there was none.

**What.** `rotate` closes the current log if something new is in it. `list_logs` finds what is not archived yet and
whether it follows what is. `fetch` brings it and reads it to its end; `compress`, `encrypt` and `upload` put it into
every repository, its signed sidecar last. `verify` looks at every object and measures how much would be lost now.
`check_chain` is red when logs are missing in between, and `full_backup` has then asked for a new full backup. Slack
hears of failures, gaps, new warnings and a recovery point that is later than promised; not of each success.

**When it fails.** Nothing is lost as long as the server keeps its logs: the next run goes on where this one stopped
and archives everything once. Open the red task before `notify` and do what its help says. A red `check_chain` names
the times that can't be restored: see that the daily backup it asked for becomes green. Nothing is ever purged on the
server.
"""

from airflow.sdk import DAG, CronTriggerTimetable

from spoqplus_backup.flows.archive import archive
from spoqplus_backup.flows.tasks import default_args
from spoqplus_backup.messages import text
from spoqplus_backup.sites import sites

for settings in sites():
    cron = settings.schedules.binlog_archive
    with DAG(
        dag_id=f"{settings.site}_binlog_archive",
        dag_display_name=text(settings.language, "archive.dag", site=settings.site),
        description=text(settings.language, "archive.description"),
        doc_md=__doc__,
        schedule=CronTriggerTimetable(cron, timezone=settings.timezone) if cron else None,
        max_active_runs=1,
        default_args=default_args(settings),
        tags=["backup", "binlog", settings.site],
    ):
        archive(settings)
