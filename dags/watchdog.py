"""### Watchdog

**Why.** A backup that fails says so. One that never ran says nothing: a DAG that is paused, a scheduler that was down,
a disk that was not mounted. Somebody has to look at what is really there.

**When.** Every hour (`schedules.watchdog`), one run at a time.

**What.** `look` asks the repositories alone, never Airflow and never the server: is there a full backup of today, a
set of each cadence at its time, how much would be lost now, do the logs lead on, are there three copies, did the last
recovery test pass and is the next one due, is there room, does a key end soon, does each repository answer. `notify`
tells Slack: the same things once, and again after `slack.repeat_hours` (four times that for what can wait), and when
all is well again. The alerts of Prometheus say the same from the same facts; neither needs the other.

**When it fails.** A red `notify` under a green `look` is no accident of this DAG: the message, and the end of the log,
say what is wrong with the backups, and the runbook's *Alerts* what to do. A red `look` could not look at all: open its
log. Runs with nothing but warnings are green.
"""

from airflow.sdk import DAG, CronTriggerTimetable

from spoqplus_backup.flows.tasks import default_args
from spoqplus_backup.flows.watchdog import watchdog
from spoqplus_backup.messages import text
from spoqplus_backup.sites import sites

for settings in sites():
    cron = settings.schedules.watchdog
    with DAG(
        dag_id=f"{settings.site}_watchdog",
        dag_display_name=text(settings.language, "watchdog.dag", site=settings.site),
        description=text(settings.language, "watchdog.description"),
        doc_md=__doc__,
        schedule=CronTriggerTimetable(cron, timezone=settings.timezone) if cron else None,
        max_active_runs=1,
        default_args=default_args(settings),
        tags=["monitoring", "watchdog", settings.site],
    ):
        watchdog(settings)
