"""The way back from a restore that failed: what it moved aside is put back, a server's data directory and files."""

from spoqplus_backup.core.connections import Connections
from spoqplus_backup.core.errors import PermanentError
from spoqplus_backup.core.recovery.files.steps import are_replaced, put_back_files, were_put_back
from spoqplus_backup.core.recovery.keeping import release_sets
from spoqplus_backup.core.recovery.place import is_rebuilding, put_back
from spoqplus_backup.core.recovery.plan import RestorePlan, load_plan
from spoqplus_backup.core.run import StageSummary
from spoqplus_backup.core.settings import Settings


def can_be_undone(settings: Settings, connections: Connections, run_id: str) -> bool:
    """Whether a run has moved something aside that is neither verified nor put back."""
    try:
        plan = load_plan(settings, run_id)
    except PermanentError:  # it failed before there was one
        return False
    return is_rebuilding(settings, connections, run_id) or are_replaced(settings, plan)


def undo(settings: Settings, connections: Connections, plan: RestorePlan) -> StageSummary:
    """Put back what a restore moved aside, and let go of its sets; a step that is cleared later takes them again.

    Raises:
        PermanentError: it can't be moved, or there is nothing to put back.
    """
    summary: StageSummary | None = None
    if are_replaced(settings, plan) or were_put_back(settings, plan):
        summary = put_back_files(settings, plan)
    if plan.place == "rebuild":
        of_server = put_back(settings, connections, plan)
        detail = of_server.detail | (summary.detail if summary else {})
        summary = of_server.model_copy(update={"detail": detail})
    if summary is None:
        raise PermanentError(f"The restore {plan.run_id} has nothing aside that could be put back.")
    release_sets(settings, connections, plan)
    return summary
