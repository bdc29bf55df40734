"""Brings the archives and objects of a plan's files to this machine, and proves them."""

import itertools
from pathlib import Path

from spoqplus_backup.core.connections import Connections
from spoqplus_backup.core.crypto import Scheme
from spoqplus_backup.core.manifest import Part
from spoqplus_backup.core.progress import Progress
from spoqplus_backup.core.recovery.files.component import RestoredComponent, components_of
from spoqplus_backup.core.recovery.files.objects import BATCH
from spoqplus_backup.core.recovery.files.plan import Archive, archive_folder, read_archives, scheme_of
from spoqplus_backup.core.recovery.plan import RestorePlan
from spoqplus_backup.core.repository.base import Repository
from spoqplus_backup.core.settings import Settings
from spoqplus_backup.core.stages import STORE_THREADS, in_parallel

OBJECT_THREADS = 16  # small ones: their number costs, not their size


def fetch_files(settings: Settings, connections: Connections, plan: RestorePlan, progress: Progress) -> int:
    """Bring everything that the plan needs of files to this machine and prove it; how many objects that were.

    Raises:
        IntegrityError: an object is missing or is not what the signed manifest says.
        WrongKeyError: the key at hand does not open it.
    """
    count = 0
    for component in components_of(settings, plan):
        todo: list[tuple[Repository, str, Path, Part, Scheme]] = []
        archives = read_archives(settings, connections, component.planned)
        for archive, planned in zip(archives, component.planned.archives, strict=True):
            scheme = scheme_of(settings, connections, archive)
            folder = archive_folder(component.work, archive.manifest.name)
            prefix = f"{archive.manifest.name}/{component.planned.name}/"
            wanted = [part for part in archive.component.parts if part.name in planned.parts]
            todo += [
                (archive.repository, prefix + part.name, folder / part.name, part, scheme)
                for part in (*wanted, archive.component.index)
            ]

        def one(item: tuple[Repository, str, Path, Part, Scheme]) -> None:
            repository, key, path, part, scheme = item
            repository.get(key, path, part.sha256, part.stored_bytes, progress.add)
            scheme.check_can_open(path)

        in_parallel(one, todo, STORE_THREADS)
        count += len(todo) + _fetch_objects(settings, connections, component, archives[-1], progress)
    return count


def _fetch_objects(
    settings: Settings, connections: Connections, component: RestoredComponent, archive: Archive, progress: Progress
) -> int:
    """Bring what lies in objects of its own; how many they are. That the key opens them, one of them shows."""
    scheme = scheme_of(settings, connections, archive)
    count = 0

    def one(item: tuple[str, int, str]) -> None:
        key, size, sha256 = item
        archive.repository.get(key, component.object_path(key), sha256, size, progress.add)

    with component.tree() as tree:
        objects = tree.objects()
        while batch := list(itertools.islice(objects, BATCH)):
            in_parallel(one, batch, OBJECT_THREADS)
            if not count and batch[0][0].endswith(scheme.suffix):
                scheme.check_can_open(component.object_path(batch[0][0]))
            count += len(batch)
    return count
