"""Other sets that a recovery test restores, each as it was taken: the oldest monthly one, and one of the DR region."""

import time
from collections.abc import Sequence
from datetime import datetime, timezone

from spoqplus_backup.core.connections import Connections
from spoqplus_backup.core.errors import BackupError
from spoqplus_backup.core.notice import Notice, notice
from spoqplus_backup.core.proof.model import CheckResult, Proof
from spoqplus_backup.core.proof.steps import OLDEST, REPLICA, forget
from spoqplus_backup.core.recovery import restore
from spoqplus_backup.core.recovery.plan import RestorePlan
from spoqplus_backup.core.recovery.planning import make_plan
from spoqplus_backup.core.recovery.request import RestoreRequest
from spoqplus_backup.core.repository.catalog import Catalog
from spoqplus_backup.core.repository.opener import open_repository
from spoqplus_backup.core.run import DATABASE, StageSummary
from spoqplus_backup.core.settings import Settings

MONTHLY = "monthly"
SET_CHECKS: dict[str, dict[str, str]] = {
    OLDEST: {"ko": "가장 오래된 월간 백업의 복원", "en": "The oldest monthly set restores"},
    REPLICA: {"ko": "재해 복구 지역의 백업 복원", "en": "A set of the DR region restores"},
}


def due(settings: Settings, connections: Connections, past: Sequence[Proof]) -> dict[str, tuple[str, str]]:
    """The checks that this test has to make, with repository and set.

    Args:
        settings: the site.
        connections: where its credentials are.
        past: earlier tests, newest first.

    Raises:
        BackupError: a repository can't be reached.
    """
    found = {}
    if not _was_made(past[: settings.recovery_test.oldest_every - 1], OLDEST) and (
        oldest := _oldest_monthly(settings, connections)
    ):
        found[OLDEST] = oldest
    for item in settings.replicas[:1]:
        repository = open_repository(settings, item.name, connections)
        catalog = Catalog(repository, settings.signing.public_key_files, settings.site)
        found[REPLICA] = (item.name, catalog.resolve("latest", (DATABASE,)).name)
    return found


def _was_made(past: Sequence[Proof], name: str) -> bool:
    return any(check.name == name and check.verdict != "not_run" for proof in past for check in proof.checks)


def _oldest_monthly(settings: Settings, connections: Connections) -> tuple[str, str] | None:
    """The oldest one that any repository keeps."""
    kept: list[tuple[str, str]] = []
    for item in settings.repositories:
        repository = open_repository(settings, item.name, connections)
        catalog = Catalog(repository, settings.signing.public_key_files, settings.site)
        kept += [(ref.name, item.name) for ref in catalog.sets(MONTHLY)]
    if not kept:
        return None
    backup, name = min(kept)
    return name, backup


def prove_set(
    settings: Settings, connections: Connections, run_id: str, name: str, repository: str, backup: str
) -> CheckResult:
    """Restore the database of a set into a private server and count everything; nothing of it stays."""
    started = time.monotonic()
    try:
        plan, counted = _restore(settings, connections, f"{run_id}/{name}", repository, backup)
    except BackupError as error:
        evidence = notice(
            "check.set_failed",
            "{backup} of {repository} can't be restored: {words}",
            backup=backup,
            repository=repository,
            words=error,
        )
        return _result(name, started, [evidence], passed=False)
    finally:
        forget(settings, connections, f"{run_id}/{name}")
    evidence = notice(
        "check.set_restored",
        "{backup} of {repository}: {tables} tables, {rows} rows.",
        backup=plan.backup,
        repository=plan.repository,
        tables=counted.detail["tables"],
        rows=counted.detail["rows"],
    )
    return _result(name, started, [evidence], passed=True)


def _restore(
    settings: Settings, connections: Connections, run_id: str, repository: str, backup: str
) -> tuple[RestorePlan, StageSummary]:
    request = RestoreRequest(environment="sandbox", private=True, backup=backup, repository=repository)
    plan = make_plan(settings, connections, request, run_id)
    restore.fetch(settings, connections, plan)
    restore.load_set(settings, connections, plan, 1)
    return plan, restore.verify_restored(settings, connections, plan)


def _result(name: str, started: float, evidence: Sequence[Notice], *, passed: bool) -> CheckResult:
    return CheckResult(
        name=name,
        title=SET_CHECKS[name],
        verdict="passed" if passed else "failed",
        evidence=tuple(evidence),
        seconds=time.monotonic() - started,
        finished_at=datetime.now(timezone.utc),
    )
