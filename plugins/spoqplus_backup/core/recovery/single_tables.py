"""Single tables of an earlier moment, beside those of now: out of the sandbox into another schema, and what differs."""

from spoqplus_backup.core.connections import Connections
from spoqplus_backup.core.errors import PermanentError
from spoqplus_backup.core.manifest import Model
from spoqplus_backup.core.mysql import server
from spoqplus_backup.core.mysql.copy import copy_tables
from spoqplus_backup.core.mysql.difference import TableDifference, differences
from spoqplus_backup.core.progress import Progress
from spoqplus_backup.core.recovery.place import working_server
from spoqplus_backup.core.recovery.plan import RestorePlan, restore_directory
from spoqplus_backup.core.recovery.reach import target_login
from spoqplus_backup.core.run import StageSummary
from spoqplus_backup.core.settings import Settings
from spoqplus_backup.core.staging import locked, read_json, write_json

COPIED = "copied.json"
DIFFERENCES = "differences.json"


class Differences(Model):
    """What verify found, table by table."""

    tables: tuple[TableDifference, ...]


def copy_out(settings: Settings, connections: Connections, plan: RestorePlan) -> StageSummary:
    """Copy the wanted tables from the sandbox into the schema; the target's other tables stay as they are.

    Raises:
        ProcessError: the server refused it; called again it begins anew.
    """
    directory = restore_directory(settings, plan.run_id)
    with locked(directory / "lock", f"the restore {plan.run_id}"):
        loaded = read_json(directory / "load.json")
        if loaded is None:
            raise PermanentError("The backup is not loaded, so no table can be copied: clear the task load.")
        done = read_json(directory / COPIED)
        if done is not None and done["generation"] == loaded["generation"]:
            return StageSummary.model_validate(done["summary"])
        _, target = target_login(settings, connections, plan.request.environment)
        progress = Progress("copy_tables")
        with working_server(settings, connections, plan) as source:
            progress.add(
                copy_tables(
                    source,
                    plan.copied[0][0],
                    [table for _, table in plan.copied],
                    target,
                    str(plan.request.into_schema),
                    flavour=plan.flavour,
                    client_directory=settings.database.client_directory,
                    binary_log=settings.restore.binary_log,
                )
            )
        summary = StageSummary(
            stage="copy_tables",
            component="",
            parts=len(plan.copied),
            bytes_in=progress.done,
            bytes_out=progress.done,
            seconds=progress.finish(),
            detail={"into_schema": plan.request.into_schema},
        )
        content = {"generation": loaded["generation"], "summary": summary.model_dump(mode="json")}
        write_json(directory / COPIED, content)
    return summary


def compare_with_now(settings: Settings, connections: Connections, plan: RestorePlan) -> tuple[TableDifference, ...]:
    """What differs between the copied tables and those of now; asked once, for those of now change.

    Raises:
        PermanentError: they were not copied.
    """
    if not plan.copied:
        return ()
    directory = restore_directory(settings, plan.run_id)
    if (found := read_json(directory / DIFFERENCES)) is not None:
        return Differences.model_validate(found).tables
    if read_json(directory / COPIED) is None:
        raise PermanentError("The tables were not copied: clear the task copy_tables.")
    _, login = target_login(settings, connections, plan.request.environment)
    with server.connect(login) as connection:
        tables = differences(connection, str(plan.request.into_schema), plan.copied)
    write_json(directory / DIFFERENCES, Differences(tables=tables))
    return tables
