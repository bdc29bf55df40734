"""### Restore

**Why.** Brings a published backup back: to the test server for a look, or to production after a loss. The promise is
four hours from loss to service; the plan says how long this one should take.

**Where.** On a worker that has the private keys (`restore.queue`).

**When.** By hand: *Trigger*, fill in the form. Without a change it restores the newest backup to the test server. After
a bad statement, look for it first (*Find the bad transaction*: nothing is restored, the log of `plan` lists what
changed the table), then restore to just before it.

**What.** `plan` checks every parameter and writes down what will be overwritten. With *plan only* it ends there.
`approve` shows the plan to a person before production is touched; `safety_backup` then saves what will be replaced.
`fetch` brings the set here and proves it (signature, sizes, checksums, key) before the first statement reaches the
server. `load` goes table by table; with a point in time, `apply_binlogs` then replays the archived binary logs
from the backup's snapshot up to it. `restore_files` unpacks files (uploads, face images, configuration, logs) beside
their place, proves them and renames them into it; what was there is kept aside. `set_ownership` gives them to whom the
configuration says. `verify_restore` compares objects and row counts with the manifest (after a replay those that no log
touched, and the last transaction with the plan) and every file's content with the index, `notify` tells Slack.

**When it fails.** Open the red task before `notify`: its help says what to do. A failed `load` that is retried goes on
with the tables that are missing, `apply_binlogs` behind the last transaction that it applied. Files that can't all be
put in place are put back at once; `after_failure` offers it when a later task fails. To go back with a server, run
this DAG again with the safety backup's name as *backup* (`safety/YYYYMMDD_HHMMSS`). A rejected approval is a failed
run: nothing was changed.
"""

from airflow.sdk import DAG

from spoqplus_backup.flows.restore import restore
from spoqplus_backup.flows.restore_form import restore_params
from spoqplus_backup.flows.tasks import deadline, default_args
from spoqplus_backup.messages import text
from spoqplus_backup.sites import sites

for settings in sites():
    with DAG(
        dag_id=f"{settings.site}_restore",
        dag_display_name=text(settings.language, "restore.dag", site=settings.site),
        description=text(settings.language, "restore.description"),
        doc_md=__doc__,
        schedule=None,
        max_active_runs=1,
        params=restore_params(settings),
        default_args=default_args(settings, settings.restore.queue),
        deadline=deadline(settings, settings.objectives.rto_hours),
        tags=["restore", settings.site],
    ):
        restore(settings)
