"""What the checks of a running test found, each in a file of its own, and the verdict over all of it.

<test>/checks/<name>.json       a `CheckResult`, written when the check has ended
"""

from collections.abc import Mapping, Sequence
from datetime import datetime, timezone
from pathlib import Path
from typing import Any

from spoqplus_backup.core.connections import Connections
from spoqplus_backup.core.errors import PermanentError
from spoqplus_backup.core.proof import steps
from spoqplus_backup.core.proof.definitions import check_names
from spoqplus_backup.core.proof.model import CheckResult, Proof, ProofStage
from spoqplus_backup.core.proof.run import run_check
from spoqplus_backup.core.proof.scene import Scene
from spoqplus_backup.core.proof.sets import SET_CHECKS
from spoqplus_backup.core.recovery.plan import load_plan
from spoqplus_backup.core.settings import Settings
from spoqplus_backup.core.staging import read_json, write_json

CHECKS = "checks"
# What grows with the data; the start of a server and the waiting between tasks do not.
GROWING = ("fetch", "load", "apply_binlogs", "restore_files")
TEN = 10


def perform(settings: Settings, connections: Connections, run_id: str, name: str) -> CheckResult:
    """Run one check on the restored server and keep its result.

    Raises:
        PermanentError: nothing is restored.
    """
    plan, directory = load_plan(settings, run_id), steps.directory(settings, run_id)
    known = steps.fingerprint(settings, run_id)
    with steps.sandbox(settings, connections, plan) as login:
        scene = Scene(
            settings=settings,
            connections=connections,
            login=login,
            directory=directory,
            fingerprint=known,
            fingerprint_directory=directory / steps.FINGERPRINT,
            files_root=directory / steps.FILES if plan.files else None,
            plan=plan,
            measured=known.measured,
        )
        return keep(settings, run_id, run_check(name, scene))


def keep(settings: Settings, run_id: str, result: CheckResult) -> CheckResult:
    """Write a result down; an earlier one of the same check goes."""
    folder = steps.directory(settings, run_id) / CHECKS
    folder.mkdir(exist_ok=True)
    write_json(folder / f"{result.name}.json", result)
    return result


def _results(settings: Settings, directory: Path) -> tuple[CheckResult, ...]:
    """Of every check of the site, in order; what did not run says so."""
    titles = {check.name: check.title for check in check_names(settings)} | SET_CHECKS
    found = []
    for name, title in titles.items():
        content = read_json(directory / CHECKS / f"{name}.json")
        if content is not None:
            found.append(CheckResult.model_validate(content))
        elif name not in SET_CHECKS:
            moment = datetime.now(timezone.utc)
            found.append(
                CheckResult(name=name, title=title, verdict="not_run", evidence=(), seconds=0, finished_at=moment)
            )
    return tuple(found)


def conclude(settings: Settings, run_id: str, stages: Mapping[str, Mapping[str, Any]], failure: str | None) -> Proof:
    """Put together what a test found.

    Args:
        settings: the site.
        run_id: the test.
        stages: summaries of the restore's stages that ended, by name, in order.
        failure: the first line of what failed outside of the checks; None: nothing did.

    Raises:
        PermanentError: the test did not begin.
    """
    record, directory = steps.record(settings, run_id), steps.directory(settings, run_id)
    facts: dict[str, Any] = {}
    try:
        known = steps.fingerprint(settings, run_id)
        facts |= {"place": known.place, "tables": len(known.tables), "rows": known.rows}
        facts |= {"server": f"{known.flavour} {known.version}"}
    except PermanentError as error:  # it did not get that far
        failure = failure or str(error)
    if record.tested is not None:
        facts |= record.tested.model_dump()
    else:
        failure = failure or "Nothing was restored: look at the first task of the run that failed."
    checks = _results(settings, directory)
    measured = tuple(
        ProofStage(name=name, seconds=summary["seconds"], bytes=summary["bytes_in"]) for name, summary in stages.items()
    )
    limits = settings.objectives.rto_hours * 3600, settings.objectives.rpo_hours * 3600
    proof = Proof(
        site=settings.site,
        id=record.id,
        run_id=run_id,
        started_at=record.started_at,
        finished_at=datetime.now(timezone.utc),
        verdict="failed",
        failure=failure,
        stages=measured,
        rto_seconds=record.rto_seconds,
        rto_limit_seconds=limits[0],
        rpo_seconds=record.rpo_seconds,
        rpo_limit_seconds=limits[1],
        ten_times_seconds=_ten_times(record.rto_seconds, measured),
        checks=checks,
        **facts,
    )
    good = failure is None and all(check.verdict == "passed" for check in checks) and proof.in_time
    return proof.model_copy(update={"verdict": "passed" if good and proof.little_lost else "failed"})


def _ten_times(rto_seconds: float | None, stages: Sequence[ProofStage]) -> float | None:
    """The same restore with ten times the data: what grows takes ten times as long, the rest as long as it did."""
    if rto_seconds is None:
        return None
    return rto_seconds + (TEN - 1) * sum(stage.seconds for stage in stages if stage.name in GROWING)
