"""### Daily backup

**Why.** The newest full copy of the database that everything else stands on: with the binary logs it keeps the promise
of at most one hour of lost data, and it is what a restore and the monthly recovery test read.

**When.** Every night at 03:00 Asia/Seoul (`schedules.daily_backup` in the site's configuration), one run at a time.

**What.** `preflight` checks the server, the paths of files, the keys, the disk and the repositories and claims the
set's name. Each component then goes through `dump → compress → encrypt → upload` by itself; files (uploads, logs,
configuration) begin with `archive`, which takes what changed since the last full archive, face images with `sync`,
which sends only new ones, and the environment with `export`. `verify` looks at every object in every repository;
`publish` signs the manifest and writes it last: before that, the set does not exist. Beside the set, which does not
wait for them, `mirror` keeps a copy of the uploads on this machine and `config_git` commits the configuration. `notify`
tells Slack.
On days with several backups they queue: one at a time reads the server (a pool), and each waits for room to stage in.

**When it fails.** Open the red task before `notify`: its help says what to do, the end of its log says what happened.
Put that right and *clear* the task, with everything downstream: finished work is kept, nothing is dumped twice, and the
set keeps its name. Nothing that was published before is touched by a failed run.
"""

from airflow.sdk import DAG, CronTriggerTimetable

from spoqplus_backup.core.cadence import DAILY
from spoqplus_backup.flows.backup import backup
from spoqplus_backup.flows.tasks import deadline, default_args
from spoqplus_backup.messages import text
from spoqplus_backup.sites import sites

for settings in sites():
    cron = DAILY.schedule(settings)
    with DAG(
        dag_id=f"{settings.site}_daily_backup",
        dag_display_name=text(settings.language, "backup.dag", site=settings.site),
        description=text(settings.language, "backup.description"),
        doc_md=__doc__,
        schedule=CronTriggerTimetable(cron, timezone=settings.timezone) if cron else None,
        max_active_runs=1,
        default_args=default_args(settings),
        deadline=deadline(settings, settings.alerts.late_hours),
        tags=["backup", "daily", settings.site],
    ):
        backup(settings, DAILY)
