"""A component's record: what the first task of its chain (`dump`, `archive`) left in staging for the stages behind it.

That task leaves `raw/000001<suffix>` ..., `raw/<index>` and, last, `component.json`. Nothing behind it knows whether
the parts are SQL or tar.
"""

import contextlib
import logging
import os
import shutil
from collections.abc import Callable, Iterator
from datetime import datetime
from pathlib import Path
from typing import Literal

from spoqplus_backup.core.errors import disk_full
from spoqplus_backup.core.manifest import (
    ComponentContent,
    ComponentKind,
    Model,
    ObjectCounts,
    SafeName,
    SchemeName,
    Server,
    SetName,
    SharedObjects,
)
from spoqplus_backup.core.notice import Notice
from spoqplus_backup.core.published import published_manifest, published_summary
from spoqplus_backup.core.run import BackupRun, StageSummary
from spoqplus_backup.core.staging import read_json, sync_directory, write_json

log = logging.getLogger(__name__)

RECORD = "component.json"
RAW = "raw"

Detail = dict[str, str | int | float | bool | None]


class ComponentRecord(Model):
    """What was made of a component. `generation` tells a retry (the same) from a task that was cleared (another one).

    `stage` is the task that made it, `suffix` the ending of its parts' names, `server` the one it was read from (None
    for files). `level`, `base`, `files` and `shared` are as in the manifest's `Component`. `plain` are the
    raw files of its lists, which are never encrypted; `scheme` is how the others are, where that is not the set's way.
    """

    generation: int
    stage: str
    kind: ComponentKind
    content: ComponentContent
    suffix: str
    index: SafeName
    parts: int
    raw_bytes: int
    started_at: datetime
    finished_at: datetime
    tools: dict[str, str] = {}
    server: Server | None = None
    counts: ObjectCounts = ObjectCounts()
    rows: int | None = None
    level: Literal[0, 1] | None = None
    base: SetName | None = None
    files: int | None = None
    shared: SharedObjects | None = None
    plain: tuple[SafeName, ...] = ()
    scheme: SchemeName | None = None
    warnings: tuple[Notice, ...] = ()

    @property
    def seconds(self) -> float:
        """How long it took to make."""
        return (self.finished_at - self.started_at).total_seconds()

    @property
    def part_names(self) -> list[str]:
        """The raw files, in order; the index last."""
        return [*self.plain, *(f"{number:06d}{self.suffix}" for number in range(1, self.parts + 1)), self.index]

    def summary(self, component: str) -> StageSummary:
        """The record in numbers for people."""
        return StageSummary(
            stage=self.stage,
            component=component,
            parts=self.parts,
            bytes_in=0,
            bytes_out=self.raw_bytes,
            seconds=self.seconds,
            detail=self._detail(),
        )

    def _detail(self) -> Detail:
        if self.server is None:
            found: Detail = {"files": self.files, "level": self.level, "base": self.base}
            if self.shared is not None:
                found |= {"objects": self.shared.count, "stored_bytes": self.shared.stored_bytes}
            return {**found, "warnings": len(self.warnings)}
        at = self.server.coordinates
        return {
            "server": f"{self.server.flavour} {self.server.version}",
            "tables": self.counts.tables,
            "rows": self.rows,
            "binlog_file": at.file,
            "binlog_position": at.position,
            "gtid": at.gtid,
        }


def read_record(directory: Path) -> ComponentRecord | None:
    """The record in a component's staging folder; None before its first task is complete."""
    content = read_json(directory / RECORD)
    return None if content is None else ComponentRecord.model_validate(content)


def make_component(
    run: BackupRun, component: str, stage: str, generation: int, make: Callable[[Path], ComponentRecord]
) -> StageSummary:
    """The first task of a component's chain: what it made already with the same generation is left as it is.

    Args:
        run: the backup.
        component: its name.
        stage: the task: `dump`, `archive`.
        generation: any number that changes when the task was cleared, not when it is retried.
        make: fills `raw` in the folder that it is given (`raw_parts`) and says what it made.
    """
    if manifest := published_manifest(run):
        return published_summary(manifest, stage, component)
    with run.staging.locked(component) as directory:
        record = read_record(directory)
        if record is not None and record.generation == generation:
            log.info("%s was made already by this task; going on with that", component)
            return record.summary(component)
        _clear(directory)
        try:
            record = make(directory)
        except OSError as error:
            if full := disk_full(error, directory):
                raise full from error
            raise
        write_json(directory / RECORD, record)
        return record.summary(component)


@contextlib.contextmanager
def raw_parts(directory: Path) -> Iterator[Path]:
    """A new folder for a component's raw parts, which appears as `raw` with all its files on disk after the block."""
    raw = directory / f"{RAW}.partial"
    raw.mkdir()
    yield raw
    for part in raw.iterdir():  # those that are not compressed yet
        _sync(part)
    sync_directory(raw)
    raw.rename(directory / RAW)


def _clear(directory: Path) -> None:
    """Take away what an earlier try and the stages after it left; the record first, so that nothing looks whole."""
    (directory / RECORD).unlink(missing_ok=True)
    for entry in directory.iterdir():
        if entry.is_dir():
            shutil.rmtree(entry)
        elif entry.name != "lock":
            entry.unlink()


def _sync(path: Path) -> None:
    fd = os.open(path, os.O_RDONLY)
    try:
        os.fsync(fd)
    finally:
        os.close(fd)
