"""Runs one check: whatever happens in it becomes a result with its evidence and time."""

import importlib
import logging
import time
import traceback
from collections.abc import Callable, Sequence
from datetime import datetime, timezone
from functools import partial
from pathlib import Path

from spoqplus_backup.core.errors import BackupError, PermanentError
from spoqplus_backup.core.notice import Notice, notice
from spoqplus_backup.core.process import Cancelled
from spoqplus_backup.core.proof.checks import command, http, sql
from spoqplus_backup.core.proof.definitions import (
    BUILT_IN,
    Check,
    CommandCheck,
    HttpCheck,
    load_checks,
)
from spoqplus_backup.core.proof.evidence import Evidence
from spoqplus_backup.core.proof.model import CheckResult, Verdict
from spoqplus_backup.core.proof.scene import CheckFailed, Scene

log = logging.getLogger(__name__)


def run_check(name: str, scene: Scene) -> CheckResult:
    """Run the check of that name; see `definitions.check_names`.

    Raises:
        PermanentError: there is no such check.
        SettingsError: a file of checks is wrong.
        Cancelled: the task was ended.
    """
    title, check = _named(name, scene)
    started = time.monotonic()
    verdict: Verdict = "failed"
    try:
        evidence = Evidence(check(scene))
        verdict = "passed"
    except CheckFailed as failed:
        evidence = Evidence(failed.evidence)
    except Cancelled:
        raise
    except BackupError as error:
        log.warning("%s", error)
        evidence = Evidence([notice("check.error", "It could not be looked at: {words}", words=error)])
    except Exception as error:  # noqa: BLE001 (a check that breaks is a check that failed)
        evidence = Evidence([_unexpected(error)])
    return CheckResult(
        name=name,
        title=title,
        verdict=verdict,
        evidence=evidence.notices,
        seconds=time.monotonic() - started,
        finished_at=datetime.now(timezone.utc),
    )


def _unexpected(error: Exception) -> Notice:
    """The error's type and place: its words may hold what was in a row."""
    last = traceback.extract_tb(error.__traceback__)[-1]
    log.warning("%s in %s, line %s", type(error).__name__, last.filename, last.lineno)
    return notice(
        "check.broke",
        "The check itself broke: {kind} in {place}.",
        kind=type(error).__name__,
        place=f"{Path(last.filename).name}:{last.lineno}",
    )


def _named(name: str, scene: Scene) -> tuple[dict[str, str], Callable[[Scene], Sequence[Notice]]]:
    if name in BUILT_IN:
        return BUILT_IN[name], partial(_built_in, name)
    definition = next((check for check in load_checks(scene.settings) if check.name == name), None)
    if definition is None:
        raise PermanentError(f"There is no check {name} any more: its file was changed. Run the test anew.")
    return definition.title.model_dump(), partial(_of_file, definition)


def _built_in(name: str, scene: Scene) -> Sequence[Notice]:
    module = importlib.import_module(f"spoqplus_backup.core.proof.checks.{name}")
    found: Sequence[Notice] = module.check(scene)
    return found


def _of_file(definition: Check, scene: Scene) -> Sequence[Notice]:
    if isinstance(definition, HttpCheck):
        return http.check(scene, definition)
    if isinstance(definition, CommandCheck):
        return command.check(scene, definition)
    return sql.check(scene, definition)
