"""The operators of a failover: promote the replica, or restore a snapshot; Terraform; Route 53."""

import logging
import time
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass, replace
from datetime import timedelta
from typing import TYPE_CHECKING, Any, Literal

from airflow.providers.common.compat.sdk import conf

from spoqplus_backup.core.errors import PermanentError
from spoqplus_backup.operators.base import SiteOperator, run_name

if TYPE_CHECKING:
    from airflow.sdk import Context

    from spoqplus_backup.core.dr.rds import Instance, Waiting
    from spoqplus_backup.core.settings import Settings
    from spoqplus_backup.core.settings_dr import DrSettings
    from spoqplus_backup.hooks import AirflowConnections

log = logging.getLogger(__name__)

DEFERRABLE = conf.getboolean("operators", "default_deferrable", fallback=False)
TRIGGERER_SLACK = timedelta(minutes=10)  # beyond the deadline: then there is no triggerer
FAILBACK_FILE = "failback.json"

Action = Literal["all", "init", "plan", "apply"]


class DrOperator(SiteOperator):
    """A step in the DR region.

    :param region: where; the settings' own (`dr.region`) when None.
    """

    template_fields: Sequence[str] = ("region",)
    ui_color = "#fde7d9"

    def __init__(self, *, region: str | None = None, **kwargs: Any) -> None:
        super().__init__(**kwargs)
        self.region = region

    def dr(self, settings: "Settings") -> "DrSettings":
        """The site's section `dr`, with the region that this run is for."""
        from spoqplus_backup.core.dr.server import dr_settings

        found = dr_settings(settings)
        return found.model_copy(update={"region": self.region or found.region})


@dataclass(frozen=True)
class Asked:
    """What RDS was asked for, and when (seconds of `time.time`); JSON, for a trigger to carry."""

    identifier: str
    already: bool
    began: float
    deadline: float
    said: Mapping[str, Any]


class RdsInstanceOperator(DrOperator):
    """Asks RDS for an instance of its own and waits until it is available and takes writes.

    :param deferrable: wait in the triggerer, without a worker.
    """

    def __init__(self, *, deferrable: bool = DEFERRABLE, **kwargs: Any) -> None:
        super().__init__(**kwargs)
        self.deferrable = deferrable

    def ask(self, dr: "DrSettings", rds: Any) -> tuple["Waiting", bool, dict[str, Any]]:
        """Ask for it: what to wait for, whether it was there already, and more for XCom."""
        raise NotImplementedError

    def work(self, context: "Context", settings: "Settings", connections: "AirflowConnections") -> Any:
        """Ask, and wait here or in the triggerer."""
        from spoqplus_backup.core.dr.rds import promoted

        dr = self.dr(settings)
        rds = connections.aws_client(dr.connection, "rds", dr.region)
        began = time.time()
        waiting, already, said = self.ask(dr, rds)
        asked = Asked(waiting.identifier, already, began, began + dr.database.wait_minutes * 60, said)
        if not self.deferrable:
            waiting.wait(rds, asked.deadline, dr.database.poll_seconds)
        elif promoted(rds, waiting.identifier) is None:
            self._defer(dr, waiting, asked)
        return self._settle(dr, rds, connections, asked)

    def _defer(self, dr: "DrSettings", waiting: "Waiting", asked: Asked) -> None:
        from spoqplus_backup.triggers import RdsPromotedTrigger

        trigger = RdsPromotedTrigger(
            connection=dr.connection,
            region=dr.region,
            identifier=waiting.identifier,
            asks=waiting.asks,
            deadline=asked.deadline,
            poll_seconds=dr.database.poll_seconds,
            asked=asdict(asked),
        )
        timeout = timedelta(minutes=dr.database.wait_minutes) + TRIGGERER_SLACK
        self.defer(trigger=trigger, method_name="execute_complete", timeout=timeout)

    def execute_complete(self, context: "Context", event: Mapping[str, Any]) -> Any:
        """The trigger has seen the end of it."""

        def resume(_context: "Context", settings: "Settings", connections: "AirflowConnections") -> Any:
            from spoqplus_backup.core.dr.rds import check_deadline

            asked = Asked(**event["asked"])
            if event["status"] == "failed":
                raise PermanentError(event["message"])
            if event["status"] == "late":
                check_deadline(asked.identifier, 0)
            dr = self.dr(settings)
            return self._settle(dr, connections.aws_client(dr.connection, "rds", dr.region), connections, asked)

        return self.guarded(context, resume)

    def _settle(self, dr: "DrSettings", rds: Any, connections: "AirflowConnections", asked: Asked) -> dict[str, Any]:
        from spoqplus_backup.core.dr.rds import find_instance
        from spoqplus_backup.core.dr.server import wait_until_writable

        instance: Instance = find_instance(rds, asked.identifier)
        login = connections.database(dr.database.connection)
        if not login.host and not login.socket:
            login = replace(login, host=instance.endpoint, port=instance.port)
        found = wait_until_writable(login, asked.deadline, dr.database.poll_seconds)
        return {
            "identifier": instance.identifier,
            "endpoint": instance.endpoint,
            "port": instance.port,
            "already": asked.already,
            "gtids": found.gtids,
            "seconds": round(time.time() - asked.began, 1),
            **asked.said,
        }


class RdsPromoteReadReplicaOperator(RdsInstanceOperator):
    """Promotes the read replica of the DR region; one that was promoted before is a success.

    :param identifier: the replica; the settings' own (`dr.database.replica`) when None.
    """

    template_fields: Sequence[str] = ("region", "identifier")

    def __init__(self, *, identifier: str | None = None, **kwargs: Any) -> None:
        super().__init__(**kwargs)
        self.identifier = identifier

    def ask(self, dr: "DrSettings", rds: Any) -> tuple["Waiting", bool, dict[str, Any]]:
        """Ask for the promotion."""
        from spoqplus_backup.core.dr.rds import Waiting, promote

        how = dr.database
        identifier = self.identifier or how.replica
        asks: dict[str, Any] = {"backup_retention_days": how.backup_retention_days, "backup_window": how.backup_window}
        return Waiting(identifier, asks), promote(rds, identifier, **asks).already, {}


class RdsRestoreSnapshotOperator(RdsInstanceOperator):
    """Restores a snapshot into a new instance, as `dr.database.restore` says; one that is there is taken as it is."""

    def ask(self, dr: "DrSettings", rds: Any) -> tuple["Waiting", bool, dict[str, Any]]:
        """Ask for the new instance."""
        from spoqplus_backup.core.dr.rds import Waiting, find_snapshot, restore_from_snapshot

        how = dr.database.restore
        if how is None:
            raise PermanentError("`dr.database.restore` is null: say there what is to be made of which snapshot.")
        snapshot = find_snapshot(rds, how)
        asked = restore_from_snapshot(rds, how, snapshot)
        said = {"snapshot": snapshot.identifier, "created": snapshot.created.isoformat()}
        return Waiting(how.instance), asked.already, said


class TerraformOperator(DrOperator):
    """Runs the site's Terraform configuration with `region` and `environment=dr`.

    `all` is init, plan, apply and outputs; the others are one step alone, `apply` that of the plan that an earlier
    task of the run kept. Cancelled, Terraform ends what it is doing and saves its state.

    :param action: which.
    :param variables: go over those of `dr.terraform.variables`; nothing secret.
    """

    template_fields: Sequence[str] = ("region", "variables")

    def __init__(self, *, action: Action = "all", variables: Mapping[str, Any] | None = None, **kwargs: Any) -> None:
        super().__init__(**kwargs)
        self.action = action
        self.variables = variables

    def work(self, context: "Context", settings: "Settings", connections: "AirflowConnections") -> Any:
        """Run it."""
        from spoqplus_backup.core.dr.terraform import open_terraform

        began = time.monotonic()
        variables = _plain(self.variables)
        run = open_terraform(settings, connections, run_name(context), region=self.region, variables=variables)
        result: dict[str, Any] = {"action": self.action}
        if self.action in ("all", "init"):
            run.init()
        if self.action in ("all", "plan"):
            planned = run.plan()
            result |= {"add": planned.add, "change": planned.change, "destroy": planned.destroy}
            result |= {"resources": list(planned.resources)}
        if self.action in ("all", "apply"):
            planned = run.kept_plan()
            applied = run.apply(planned)
            result |= {"add": applied.add, "change": applied.change, "destroy": applied.destroy}
            result |= {"resources": list(planned.resources), "outputs": run.outputs()}
        return result | {"seconds": round(time.monotonic() - began, 1)}


class Route53ChangeOperator(DrOperator):
    """Changes the zone as `dr.dns` says, waits until all name servers know it, and asks them.

    What was there before is kept beside the run and in XCom as the change batch that puts it back.

    :param variables: go over those of `dr.dns.variables`, such as outputs of Terraform.
    :param plan_only: only say what would change.
    """

    template_fields: Sequence[str] = ("region", "variables")

    def __init__(self, *, variables: Mapping[str, Any] | None = None, plan_only: bool = False, **kwargs: Any) -> None:
        super().__init__(**kwargs)
        self.variables = variables
        self.plan_only = plan_only

    def work(self, context: "Context", settings: "Settings", connections: "AirflowConnections") -> Any:
        """Change DNS."""
        from spoqplus_backup.core.dr import route53
        from spoqplus_backup.core.dr.folder import run_file
        from spoqplus_backup.core.staging import read_json

        dr = self.dr(settings)
        how = dr.dns
        if how is None:
            raise PermanentError(f"{settings.source}: `dr.dns` is null: there is no zone to change; fill it in.")
        client = connections.aws_client(dr.connection, "route53", dr.region)
        values = {"region": dr.region} | how.variables | _plain(self.variables)
        plan = route53.plan_change(client, how.zone, route53.render(how.template, values))
        for item in plan.changes:
            log.info("%s", item.text)
        result: dict[str, Any] = {"zone": how.zone, "changes": [item.text for item in plan.changes]}
        if self.plan_only:
            return result | {"change_id": None, "resolved": {}, "failback": plan.failback}
        note = run_file(settings, run_name(context), FAILBACK_FILE)
        _keep(note, plan.failback)
        change_id = route53.change(client, plan)
        if change_id is not None:
            route53.wait_in_sync(client, change_id, how.wait_seconds)
        resolved = route53.resolve(plan, how.resolve, how.servers, how.wait_seconds)
        return result | {"change_id": change_id, "resolved": resolved, "failback": read_json(note)}


def _keep(note: Any, failback: Mapping[str, Any] | None) -> None:
    """Keep how it was before the run's first change: a retry would find its own."""
    import json

    from spoqplus_backup.core.staging import write_json

    if failback is not None and not note.exists():
        write_json(note, failback)
        note.chmod(0o600)
        log.info("kept for failback in %s: %s", note, json.dumps(failback))


def _plain(values: Mapping[str, Any] | None) -> dict[str, str]:
    """What can be written into a variable; an output that is sensitive, a list or an object can't."""
    return {
        name: str(value).lower() if isinstance(value, bool) else str(value)
        for name, value in (values or {}).items()
        if isinstance(value, (str, int, float))
    }
