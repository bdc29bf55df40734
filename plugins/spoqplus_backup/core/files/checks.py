"""Before a backup: can the files be archived, and how much will that be?"""

from collections.abc import Callable
from dataclasses import dataclass, field
from functools import partial

from spoqplus_backup.core.errors import PermanentError
from spoqplus_backup.core.files.archive import choose_level, tar_version
from spoqplus_backup.core.files.measure import measure
from spoqplus_backup.core.files.places import configured_places
from spoqplus_backup.core.notice import Notice, notice
from spoqplus_backup.core.process import find_program
from spoqplus_backup.core.progress import human_bytes
from spoqplus_backup.core.repository.catalog import Catalog
from spoqplus_backup.core.repository.opener import open_repositories
from spoqplus_backup.core.run import BackupRun
from spoqplus_backup.core.settings import FilesSelection

MEASURE_SECONDS = 30.0
GROWTH = 1.2  # against the set before, where the walk did not come to its end


@dataclass
class FilesReport:
    """What was found. `bytes` is what the raw parts of all components may take."""

    bytes: int = 0
    tools: dict[str, str] = field(default_factory=dict)
    warnings: list[Notice] = field(default_factory=list)
    problems: list[str] = field(default_factory=list)


def check_files(run: BackupRun, components: tuple[str, ...]) -> FilesReport:
    """Look at the paths of these components; `run` needs no set id yet.

    Raises:
        BackupError: a repository can't be reached.
    """
    report = FilesReport()
    chosen = [selection for selection in run.settings.files if selection.name in components]
    if not chosen:
        return report
    steps: list[Callable[[], None]] = [partial(_check_tar, report)]
    steps += [partial(_check, run, selection, report) for selection in chosen]
    for step in steps:
        try:
            step()
        except PermanentError as error:
            report.problems.append(str(error))
    return report


def _check_tar(report: FilesReport) -> None:
    report.tools["tar"] = tar_version(find_program("tar", "tar"))


def _check(run: BackupRun, selection: FilesSelection, report: FilesReport) -> None:
    places = configured_places(run.settings, selection)
    level = choose_level(run, selection, places)
    since = level.base.started_at if level.base else None
    found = measure(places.paths, selection.exclude, MEASURE_SECONDS, since)
    report.bytes += found.bytes if found.complete else max(found.bytes, _before(run, selection, level.number))
    if found.unreadable:
        report.problems.append(
            f"{selection.name}: {', '.join(found.unreadable)} can't be read: let the worker's user read it, or leave "
            "it out with `exclude`."
        )
    if not found.complete:
        report.warnings.append(
            notice(
                "files.too_large",
                "{component} is too large to be measured in {seconds} s ({size} and more): whether the staging disk "
                "has room for it is not known.",
                component=selection.name,
                seconds=f"{MEASURE_SECONDS:.0f}",
                size=human_bytes(found.bytes),
            )
        )


def _before(run: BackupRun, selection: FilesSelection, level: int) -> int:
    """What the newest set of the same cadence may tell of the size."""
    catalog = Catalog(open_repositories(run.settings, run.connections)[0], run.settings.signing.public_key_files)
    newest = catalog.latest(run.cadence)
    if newest is None:
        return 0
    try:
        component = catalog.load(newest).component(selection.name)
    except PermanentError:  # it had no such component, or is damaged: then it tells nothing
        return 0
    return int(component.raw_bytes * GROWTH) if component.level == level else 0
