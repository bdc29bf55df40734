"""GNU tar's snapshot files: what an incremental archive is held against.

    <staging>/<site>/files/<component>/<cadence>_<set id>.snar     the state of the tree that the full archive holds
                                       <cadence>_<set id>.json     what it was made of

One is kept (mode 600: it names every file) when the set of a full archive is published, and lent as a copy to tar,
which writes into it: so each daily archive is what changed since the full one, never since another daily one.
"""

import os
from dataclasses import dataclass
from datetime import datetime, timedelta, timezone
from pathlib import Path

from spoqplus_backup.core.errors import IntegrityError
from spoqplus_backup.core.files.snapshot_file import copy_without_moved, is_snapshot
from spoqplus_backup.core.manifest import MANIFEST, Model, SetName
from spoqplus_backup.core.notice import Notice, notice
from spoqplus_backup.core.repository.catalog import Catalog, SetRef
from spoqplus_backup.core.repository.opener import open_repositories
from spoqplus_backup.core.run import BackupRun
from spoqplus_backup.core.settings import FilesSelection, Settings
from spoqplus_backup.core.staging import read_json, write_all, write_json, written_aside

DAILY = "daily"
WEEKLY = "weekly"
# A monthly set may lie where it first has to be thawed: nothing that is restored every day may stand on it.
BASE_CADENCES = (DAILY, WEEKLY)
KEPT = 3
SNAPSHOT = "snapshot.snar"  # in the component's staging folder: what tar wrote
NOTE = "snapshot.json"  # beside it, of a full archive: a SnapshotNote
OWNER_ONLY = 0o600
COPY_BYTES = 1 << 20


class SnapshotNote(Model):
    """What a snapshot is of: a change of it makes the snapshot useless."""

    set: SetName
    started_at: datetime
    paths: tuple[str, ...]
    exclude: tuple[str, ...]


@dataclass(frozen=True)
class Base:
    """A full archive that an incremental one may stand on, and its snapshot."""

    set: str
    started_at: datetime
    snapshot: Path


def folder(settings: Settings, component: str) -> Path:
    """Where the snapshots of a component lie."""
    return settings.staging.directory / settings.site / "files" / component


def choose_base(run: BackupRun, selection: FilesSelection) -> Base | Notice:
    """The newest full archive that every repository still has; a sentence that says why when there is none.

    Raises:
        BackupError: a repository can't be reached.
    """
    reasons = []
    for note, snapshot in _kept(run.settings, selection.name):
        reason = _unfit(run, selection, note, snapshot)
        if reason is None:
            return Base(note.set, note.started_at, snapshot)
        reasons.append(reason)
    if reasons:
        return reasons[0]
    sentence = "{component}: this archive is full and not incremental: there is no full archive of it yet."
    return notice("full.first", sentence, component=selection.name)


def _unfit(run: BackupRun, selection: FilesSelection, note: SnapshotNote, snapshot: Path) -> Notice | None:
    if (note.paths, note.exclude) != (tuple(map(str, selection.paths)), selection.exclude):
        sentence = (
            "{component}: this archive is full and not incremental: its paths or exclusions are no longer those of "
            "{base}."
        )
        return notice("full.paths", sentence, component=selection.name, base=note.set)
    with snapshot.open("rb") as file:
        if not is_snapshot(file):
            sentence = (
                "{component}: this archive is full and not incremental: {path} is no snapshot of a GNU tar that is "
                "known here."
            )
            return notice("full.snapshot", sentence, component=selection.name, path=snapshot)
    age = datetime.now(timezone.utc) - note.started_at
    if age > timedelta(days=selection.base_days):
        return notice(
            "full.old",
            "{component}: this archive is full and not incremental: the full archive in {base} is {days} days old, "
            "older than base_days ({limit}).",
            component=selection.name,
            base=note.set,
            days=age.days,
            limit=selection.base_days,
        )
    for repository in open_repositories(run.settings, run.connections):
        if repository.stat(f"{note.set}/{MANIFEST}") is None:
            return notice(
                "full.gone",
                "{component}: this archive is full and not incremental: the repository {repository} no longer has "
                "{base}.",
                component=selection.name,
                repository=repository.name,
                base=note.set,
            )
        try:
            catalog = Catalog(repository, run.settings.signing.public_key_files, run.settings.site)
            level = catalog.load(SetRef(*note.set.split("/"))).component(selection.name).level
        except IntegrityError as error:
            sentence = "{component}: this archive is full and not incremental: {problem}"
            return notice("full.untrusted", sentence, component=selection.name, problem=error)
        if level != 0:
            sentence = "{component}: this archive is full and not incremental: {base} holds no full archive of it."
            return notice("full.none", sentence, component=selection.name, base=note.set)
    return None


def write_note(run: BackupRun, selection: FilesSelection, directory: Path, started_at: datetime) -> None:
    """Say in a component's staging folder what its snapshot is of."""
    note = SnapshotNote(
        set=run.name, started_at=started_at, paths=tuple(map(str, selection.paths)), exclude=selection.exclude
    )
    write_json(directory / NOTE, note)


def keep_snapshots(run: BackupRun) -> None:
    """Keep what the full archives of a published set left, for the incremental ones to come; a retry does it again."""
    if run.cadence not in BASE_CADENCES:
        return
    for component in run.staging.components():
        source = run.staging.component(component)
        content = read_json(source / NOTE)
        if content is None:
            continue
        target = folder(run.settings, component) / f"{run.cadence}_{run.set_id}.snar"
        write_json(target.with_suffix(".json"), content)
        with (source / SNAPSHOT).open("rb") as made, written_aside(target) as copy:
            os.fchmod(copy.fileno(), OWNER_ONLY)
            while block := made.read(COPY_BYTES):
                write_all(copy, block)
        for _, old in _kept(run.settings, component)[KEPT:]:
            old.unlink()
            old.with_suffix(".json").unlink()


def lend_snapshot(base: Base | None, target: Path) -> int:
    """Make the snapshot that tar gets, readable for its owner alone: a base's without folders that were moved since.

    Without a base it is empty, which tar takes for a full archive. Returns how many folders were left out.

    Raises:
        PermanentError: the base's is damaged.
    """
    descriptor = os.open(target, os.O_WRONLY | os.O_CREAT | os.O_TRUNC, OWNER_ONLY)
    with os.fdopen(descriptor, "wb") as new:
        if base is None:
            return 0
        with base.snapshot.open("rb") as old:
            return copy_without_moved(old, new)


def _kept(settings: Settings, component: str) -> list[tuple[SnapshotNote, Path]]:
    """The newest first."""
    found = []
    for snapshot in folder(settings, component).glob("*.snar"):
        content = read_json(snapshot.with_suffix(".json"))
        if content is not None:
            found.append((SnapshotNote.model_validate(content), snapshot))
    return sorted(found, key=lambda kept: kept[0].started_at, reverse=True)
