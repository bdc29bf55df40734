"""### Retention

**Why.** Disks and buckets are finite, and personal data may not be kept for ever. What goes has to be the right
thing: a backup that was deleted can't be had back.

**When.** Whenever a backup was published (`schedules.retention`: `after_backup`, a cron expression, or null). While a
run waits for an approval, later ones go on in the other repositories and don't ask again.

**What.** Each repository by itself: `plan` looks at every set and every log and writes a table of what stays and what
goes, each with its reason. By default a disk keeps 7 days; S3 keeps 30 daily, 12 weekly and 12 monthly sets, and the
binary logs of 30 days (`repositories[].keep`). When more than a share of a repository would go, `approve` waits for a
person, and Slack says so. `delete` looks once more and deletes what is still to go, the manifest of a set first.
`report` proves that each repository still has its newest backup; `notify` tells Slack what went. Unfinished sets,
broken uploads and the staging of failed runs go after 48 hours.

Never deleted: the newest good set of each kind, what is younger than a day, what something that stays depends on, a
set under a hold (`spoqplus-backup hold`), one that is being restored or copied, and what can't be read or trusted, or
is of a wrong clock: the plan names it. While full backups fail, no good set goes.

**When it fails.** Nothing that should stay is gone. Open the red task before `notify`: its help says what to do, and
the other repositories went on. A rejected approval is a failed run: nothing of that repository was deleted.
"""

from airflow.sdk import DAG

from spoqplus_backup.flows.retention import active_runs, retention, retention_params, retention_schedule
from spoqplus_backup.flows.tasks import default_args
from spoqplus_backup.messages import text
from spoqplus_backup.sites import sites

for settings in sites():
    with DAG(
        dag_id=f"{settings.site}_retention",
        dag_display_name=text(settings.language, "retention.dag", site=settings.site),
        description=text(settings.language, "retention.description"),
        doc_md=__doc__,
        schedule=retention_schedule(settings),
        max_active_runs=active_runs(settings),
        params=retention_params(settings),
        default_args=default_args(settings),
        tags=["retention", settings.site],
    ):
        retention(settings)
