"""### DR failover

**Why.** The region of production is lost, or may be. This brings the site up in the DR region within the promised time
(RTO), in steps that a person understands and can retry; and it rehearses that each quarter, so that it works then.

**Where.** On a worker that has the private keys (`restore.queue`), outside of the region that may be lost.

**When.** By hand: *Trigger* with `mode` = `failover` and the `reason`. Left as it is it rehearses, as it does on the
5th of each quarter's first month at 07:00 Asia/Seoul (`schedules.dr_failover`). One run at a time.

**What.** `assess` changes nothing and writes one page: is production really unreachable, how far behind are the replica
and the backups (what would be lost, in minutes), what would Terraform and the DNS change, what would fail. In a
rehearsal `rehearsal` is red when something would. In a failover two different people read the page and approve it. Then
`fence` keeps the old primary from taking writes, `promote_replica` makes the replica the primary, `apply_terraform`
starts the application, `health` asks it, and only then `switch_dns` leads people there: when there is something to lead
them to. `verify` asks everything once more, through the new DNS. When the replica is lost, too, `assess` chooses what
loses least in the time that is left: `restore_snapshot` (of RDS), or `restore` (our backups and every archived log).
Slack hears of each step, with the time used.

**When it fails.** Refused, or not answered in time: nothing was changed. A red step: its help says what to do; *clear*
it and the run goes on from there. What is done stays done, and is not done twice. A run that can't go on may be left: a
new one finds what is done already, and its page lists it. Back to Seoul: *Failback* in the runbook.
"""

from airflow.sdk import DAG

from spoqplus_backup.flows.dr_failover import failover, failover_params, failover_schedule
from spoqplus_backup.flows.tasks import default_args
from spoqplus_backup.messages import text
from spoqplus_backup.sites import sites

for settings in sites():
    with DAG(
        dag_id=f"{settings.site}_dr_failover",
        dag_display_name=text(settings.language, "dr.dag", site=settings.site),
        description=text(settings.language, "dr.description"),
        doc_md=__doc__,
        schedule=failover_schedule(settings),
        max_active_runs=1,
        params=failover_params(settings),
        default_args=default_args(settings) | {"queue": settings.restore.queue or settings.airflow.queue},
        tags=["dr", "failover", settings.site],
    ):
        failover(settings)
