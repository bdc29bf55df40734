"""Unpacks a component beside its place, and proves that what lies there is what it should be."""

import os
from collections.abc import Mapping
from datetime import datetime, timezone
from pathlib import Path

from spoqplus_backup.core.connections import Connections
from spoqplus_backup.core.cores import usable_cores
from spoqplus_backup.core.crypto import Scheme
from spoqplus_backup.core.errors import DiskFullError
from spoqplus_backup.core.plain import PlainScheme
from spoqplus_backup.core.progress import Progress, human_bytes
from spoqplus_backup.core.recovery.files import places as placing
from spoqplus_backup.core.recovery.files.component import RestoredComponent
from spoqplus_backup.core.recovery.files.objects import Source, write_objects
from spoqplus_backup.core.recovery.files.plan import Archive, archive_folder, read_archives, scheme_of
from spoqplus_backup.core.recovery.files.state import State, Step, write_state
from spoqplus_backup.core.recovery.files.tree import Node
from spoqplus_backup.core.recovery.files.unpack import check_stage, unpack_archives
from spoqplus_backup.core.settings import Settings

SPARE_BYTES = 64 << 20  # left free on the disk that is unpacked to


def prepare(
    settings: Settings, connections: Connections, component: RestoredComponent, generation: int, progress: Progress
) -> None:
    """Unpack everything that is wanted of a component into new folders beside its place; an earlier try's go.

    Raises:
        IntegrityError: an archive is not what its index says.
        DiskFullError: no room is left.
        PermanentError: the worker may not write there.
    """
    if (before := component.state) is not None:
        _remove(before.stage_paths())
    places = list(component.places.values())
    for place in places:
        placing.make_parents(place)
        placing.check_within(place, is_link=place.top in component.planned.linked)
    stages = placing.stages_for(places, f"{component.run}-{component.planned.name}")
    _write(component, generation, "unpacking", stages)
    try:
        for stage in dict.fromkeys(stages.values()):
            placing.make_stage(stage)
            _check_room(component, stage)
        _fill_stages(settings, connections, component, stages, progress)
    except BaseException:
        _remove(stages)
        raise
    _write(component, generation, "unpacked", stages)


def _remove(stages: Mapping[str, Path]) -> None:
    for stage in dict.fromkeys(stages.values()):
        placing.remove(stage)


def _fill_stages(
    settings: Settings,
    connections: Connections,
    component: RestoredComponent,
    stages: Mapping[str, Path],
    progress: Progress,
) -> None:
    """Unpack, and prove that it is what it should be."""
    archives = [
        (archive, scheme_of(settings, connections, archive))
        for archive in read_archives(settings, connections, component.planned)
    ]
    with component.tree() as tree:
        if component.planned.content == "tar":
            unpack_archives(archives, tree, stages, component.work, progress, whole=component.whole)
        else:
            source = _source(component, *archives[-1])
            write_objects(tree, stages, source, usable_cores(), progress, whole=component.whole)
        check_stage(tree, stages, whole=component.whole)


def _source(component: RestoredComponent, archive: Archive, scheme: Scheme) -> Source:
    """Where the content of a file lies: in an object of its own, or in the part of this component."""
    folder = archive_folder(component.work, archive.manifest.name)

    def of_node(node: Node) -> tuple[Path, Scheme]:
        if node.key is not None:
            return component.object_path(node.key), scheme if node.key.endswith(scheme.suffix) else PlainScheme()
        return folder / archive.component.parts[0].name, scheme

    return of_node


def _write(component: RestoredComponent, generation: int, step: Step, stages: Mapping[str, Path]) -> None:
    paths = {top: str(path) for top, path in stages.items()}
    write_state(component.work, State(generation=generation, step=step, at=datetime.now(timezone.utc), stages=paths))


def _check_room(component: RestoredComponent, stage: Path) -> None:
    status = os.statvfs(stage)
    free = status.f_bavail * status.f_frsize
    needed = component.planned.stream_bytes + SPARE_BYTES
    if free < needed:
        raise DiskFullError(
            f"{component.planned.name} takes {human_bytes(needed)}, and the disk of {stage} has {human_bytes(free)} "
            "free: make room and clear the task, or restore to another root. Nothing was replaced."
        )
