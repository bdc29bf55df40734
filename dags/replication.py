"""### Replication

**Why.** One region, or one building, can be lost with everything in it. What was published is copied to repositories
elsewhere (`role: replica`, such as the bucket of the DR region), from copy to copy: the database server is not asked
again.

**When.** Whenever a backup was published or binary logs were archived, one run at a time; by hand with `sets` to copy
certain ones. Without a replica in the configuration it never starts by itself.

**What.** `list_sets` names what each replica lacks: the sets that were announced, all others that its own retention
would keep, newest first and twenty a run, and those that they depend on. `copy_sets` takes one after the other: the
objects, each looked at when it has arrived, then signature and manifest. `copy_logs` brings the binary logs. What is
there is not sent again. `notify` tells Slack when a set was copied, or something failed.

**When it fails.** The other replicas and sets are not held up. Open the red task before `notify`: its log names the
damaged object, or the replica that could not be reached. Put that right and *clear* the task: it goes on where it was.
Left alone, the next run tries again; a set that is damaged in every repository is tried again after a day. A replica
that holds *another* set under a name is never overwritten.
"""

from airflow.sdk import DAG

from spoqplus_backup.flows.replication import replication, replication_params, replication_schedule
from spoqplus_backup.flows.tasks import default_args
from spoqplus_backup.messages import text
from spoqplus_backup.sites import sites

for settings in sites():
    with DAG(
        dag_id=f"{settings.site}_replication",
        dag_display_name=text(settings.language, "replication.dag", site=settings.site),
        description=text(settings.language, "replication.description"),
        doc_md=__doc__,
        schedule=replication_schedule(settings),
        max_active_runs=1,
        params=replication_params(settings),
        default_args=default_args(settings),
        tags=["replication", settings.site],
    ):
        replication(settings)
