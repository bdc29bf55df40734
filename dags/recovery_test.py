"""### Recovery test

**Why.** A backup that was never restored is a hope. This proves each month, or whenever somebody starts it, that the
backups bring everything back, row for row, within the promised time (RTO) and with no more lost than promised (RPO).

**Where.** On a worker that has the private keys (`recovery_test.queue`).

**When.** On the 2nd of each month at 06:00 Asia/Seoul (`schedules.recovery_test`), and by hand; one run at a time.

**What.** `fingerprint` reads every row and definition of production in one snapshot, whose place in the binary log is
known; `archive` brings the logs up to there. `start_sandbox` makes an empty server that nobody else reaches; `fetch`,
`load`, `apply_binlogs` and `restore_files` do what a real restore does, exactly up to that place. Each of the `checks`
is a box of its own: all rows and definitions are production's, the database is whole, uploads open, faces match,
keys decrypt, and what the files in `include/checks/` ask. `other_sets` restores a set of the DR region and now and then
the oldest monthly one. Whatever happened, `stop_sandbox` removes the server and all personal data; then `report` keeps
the signed report in the repositories, and `notify` tells Slack. Production is only read.

**When it fails.** A red check is no accident of this run: the backups don't bring back what they should. Open the
report (the end of `report`'s log), do what the red task's help says, and start the test again.
"""

from airflow.sdk import DAG, CronTriggerTimetable

from spoqplus_backup.flows.recovery_test import recovery_test
from spoqplus_backup.flows.tasks import default_args
from spoqplus_backup.messages import text
from spoqplus_backup.sites import sites

for settings in sites():
    cron = settings.schedules.recovery_test
    with DAG(
        dag_id=f"{settings.site}_recovery_test",
        dag_display_name=text(settings.language, "recovery_test.dag", site=settings.site),
        description=text(settings.language, "recovery_test.description"),
        doc_md=__doc__,
        schedule=CronTriggerTimetable(cron, timezone=settings.timezone) if cron else None,
        max_active_runs=1,
        default_args=default_args(settings, settings.recovery_test.queue),
        tags=["recovery", "test", settings.site],
    ):
        recovery_test(settings)
