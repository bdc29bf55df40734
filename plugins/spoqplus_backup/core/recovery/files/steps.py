"""The steps of a restore of files: fetch, unpack and put in place, owners, verify; and the way back.

All components are unpacked and proved before the first of them is put in place.
"""

import contextlib
import itertools
import logging
import os
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass
from datetime import datetime, timezone
from pathlib import Path
from urllib.parse import quote_from_bytes, unquote_to_bytes

from spoqplus_backup.core.connections import Connections
from spoqplus_backup.core.cores import usable_cores
from spoqplus_backup.core.crypto import Scheme
from spoqplus_backup.core.errors import DiskFullError, IntegrityError, PermanentError
from spoqplus_backup.core.manifest import Part
from spoqplus_backup.core.plain import PlainScheme
from spoqplus_backup.core.progress import Progress, human_bytes
from spoqplus_backup.core.recovery.files import places as placing
from spoqplus_backup.core.recovery.files.beneath import Beneath, whole_name
from spoqplus_backup.core.recovery.files.objects import BATCH, Source, write_objects
from spoqplus_backup.core.recovery.files.owners import archived_owner, configured_owner, give
from spoqplus_backup.core.recovery.files.places import Place, place_of, short_name
from spoqplus_backup.core.recovery.files.plan import (
    TREE,
    Archive,
    PlannedFiles,
    archive_folder,
    check_places,
    read_archives,
    scheme_of,
)
from spoqplus_backup.core.recovery.files.state import State, asides, read_state, write_state
from spoqplus_backup.core.recovery.files.swap import Piece, swap, swap_back
from spoqplus_backup.core.recovery.files.tree import FileTree, Node
from spoqplus_backup.core.recovery.files.unpack import WHOLE, check_stage, staged_path, top_of, unpack_archives
from spoqplus_backup.core.recovery.files.verify import Comparison, Verdict, compare
from spoqplus_backup.core.recovery.keeping import keep_sets
from spoqplus_backup.core.recovery.plan import RestorePlan, restore_directory
from spoqplus_backup.core.repository.base import Repository
from spoqplus_backup.core.run import StageSummary
from spoqplus_backup.core.settings import Settings
from spoqplus_backup.core.stages import STORE_THREADS, in_parallel
from spoqplus_backup.core.staging import locked

log = logging.getLogger(__name__)

LOCK_SECONDS = 60.0
VERIFIED = "verify.json"  # of the whole restore
OBJECTS = "objects"
OBJECT_THREADS = 16  # small ones: their number costs, not their size
SPARE_BYTES = 64 << 20  # left free on the disk that is unpacked to
ROOT = "/"
PARENT_MODE = 0o755  # of folders that no archive holds


@dataclass(frozen=True)
class _Component:
    """A component of a restore's plan, and what lies for it on this machine."""

    planned: PlannedFiles
    work: Path
    run: str

    @property
    def whole(self) -> bool:
        """Whether everything is restored, in place of all that is there."""
        return not self.planned.paths

    @property
    def places(self) -> dict[str, Place]:
        """The place of each top."""
        return {top: place_of(Path(self.planned.root), top) for top in self.planned.tops}

    @property
    def state(self) -> State | None:
        """How far it got."""
        return read_state(self.work)

    def tree(self) -> FileTree:
        """What the archives are to give, as the plan worked it out.

        Raises:
            PermanentError: it is gone.
        """
        path = self.work / TREE
        if not path.exists():
            raise PermanentError(f"{path} is gone: clear the task plan with everything downstream.")
        return FileTree(path)

    def object_path(self, key: str) -> Path:
        """Where a fetched object lies."""
        return self.work / OBJECTS / key

    def final_names(self) -> Callable[[Node], bytes]:
        """The name below `/` that something of the tree gets, without links on its way."""
        names = {top: whole_name(place.target) for top, place in self.places.items()}
        return lambda node: names[top := top_of(names, node.path)] + node.path[len(top.encode()) :]

    def asides(self) -> list[Path]:
        """What lies aside of it now."""
        return asides([place.aside(self.run) for place in self.places.values()])


def _components(settings: Settings, plan: RestorePlan) -> list[_Component]:
    directory = restore_directory(settings, plan.run_id)
    return [_Component(planned, directory / planned.name, short_name(plan.run_id)) for planned in plan.files]


def fetch_files(settings: Settings, connections: Connections, plan: RestorePlan, progress: Progress) -> int:
    """Bring everything that the plan needs of files to this machine and prove it; how many objects that were.

    Raises:
        IntegrityError: an object is missing or is not what the signed manifest says.
        WrongKeyError: the key at hand does not open it.
    """
    count = 0
    for component in _components(settings, plan):
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
    settings: Settings, connections: Connections, component: _Component, archive: Archive, progress: Progress
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


def restore_files(settings: Settings, connections: Connections, plan: RestorePlan, generation: int) -> StageSummary:
    """Unpack every component beside its target, prove it, then put all of them in place.

    Started again after a failure it goes on with what is missing; for another `generation` (the task was cleared) it
    puts back what was there and begins anew. When something can't be put in place, what was there comes back.

    Raises:
        IntegrityError: an archive would be written out of its root, or is not what its index says. Nothing is replaced.
        DiskFullError: no room is left. Nothing is replaced.
        PermanentError: the worker may not write there, or what was fetched is gone.
    """
    keep_sets(settings, connections, plan)
    components = _components(settings, plan)
    progress = Progress("restore_files", sum(planned.stream_bytes for planned in plan.files))
    with _alone(settings):
        for component in components:
            check_places(settings, component.planned, plan.request.environment)
            if component.state is not None and component.state.generation != generation:
                _put_back(component)
        for component in components:
            state = component.state
            if state is None or state.generation != generation or state.step in ("unpacking", "put_back"):
                (restore_directory(settings, plan.run_id) / VERIFIED).unlink(missing_ok=True)
                _unpack(settings, connections, component, generation, progress)
        try:
            pieces = sum(_put_in_place(component) for component in components)
        except Exception as error:
            log.warning("%s Putting back what was there.", error)
            for component in reversed(components):
                try:
                    _put_back(component)
                except PermanentError as another:  # the task after_failure offers it once more
                    log.warning("%s: what was there could not be put back: %s", component.planned.name, another)
            raise
    return StageSummary(
        stage="restore_files",
        component="",
        parts=sum(planned.files for planned in plan.files),
        bytes_in=sum(planned.stream_bytes for planned in plan.files),
        bytes_out=sum(planned.bytes for planned in plan.files),
        seconds=progress.finish(),
        detail={
            "files": sum(planned.files for planned in plan.files),
            "pieces": pieces,
            "kept_aside": ", ".join(str(path) for component in components for path in component.asides()) or None,
        },
    )


def _alone(settings: Settings) -> contextlib.AbstractContextManager[None]:
    """One restore of files at a time on a machine: two would put each other's files aside."""
    path = settings.staging.directory / "restore" / settings.site / "files.lock"
    return locked(path, f"a restore of files of {settings.site}", LOCK_SECONDS)


def _unpack(
    settings: Settings, connections: Connections, component: _Component, generation: int, progress: Progress
) -> None:
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
        for stage in dict.fromkeys(stages.values()):
            placing.remove(stage)
        raise
    _write(component, generation, "unpacked", stages)


def _fill_stages(
    settings: Settings,
    connections: Connections,
    component: _Component,
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


def _source(component: _Component, archive: Archive, scheme: Scheme) -> Source:
    """Where the content of a file lies: in an object of its own, or in the part of this component."""
    folder = archive_folder(component.work, archive.manifest.name)

    def of_node(node: Node) -> tuple[Path, Scheme]:
        if node.key is not None:
            return component.object_path(node.key), scheme if node.key.endswith(scheme.suffix) else PlainScheme()
        return folder / archive.component.parts[0].name, scheme

    return of_node


def _write(component: _Component, generation: int, step: str, stages: Mapping[str, Path], **fields: object) -> None:
    content = {
        "generation": generation,
        "step": step,
        "at": datetime.now(timezone.utc),
        "stages": {top: str(path) for top, path in stages.items()},
        **fields,
    }
    write_state(component.work, State.model_validate(content))


def _check_room(component: _Component, stage: Path) -> None:
    status = os.statvfs(stage)
    free = status.f_bavail * status.f_frsize
    needed = component.planned.stream_bytes + SPARE_BYTES
    if free < needed:
        raise DiskFullError(
            f"{component.planned.name} takes {human_bytes(needed)}, and the disk of {stage} has {human_bytes(free)} "
            "free: make room and clear the task, or restore to another root. Nothing was replaced."
        )


def _put_in_place(component: _Component) -> int:
    """Swap; how many pieces there were. A component that is in place already has none."""
    state = component.state
    if state is None or state.step not in ("unpacked", "swapping"):
        return 0
    if state.step == "unpacked":
        children = {top: _children(place, state) for top, place in component.places.items() if place.is_mount}
        state = state.model_copy(update={"step": "swapping", "children": children if component.whole else {}})
        write_state(component.work, state)
    with component.tree() as tree, Beneath(ROOT) as beneath:
        count = swap(beneath, _pieces(component, state, tree, beneath, making=True))
    for stage in dict.fromkeys(state.stage_paths().values()):
        _finish_mounts(component, state, stage)
    write_state(component.work, state.model_copy(update={"step": "swapped", "at": datetime.now(timezone.utc)}))
    return count


def _children(place: Place, state: State) -> tuple[str, ...]:
    """What lies in a mounted place and in what was unpacked for it, by name."""
    staged = state.stage_paths()[place.top] / WHOLE / place.top
    names = {*placing.entries(place.target), *placing.entries(staged)}
    return tuple(sorted(quote_from_bytes(os.fsencode(name)) for name in names))  # JSON has no bytes


def _finish_mounts(component: _Component, state: State, stage: Path) -> None:
    """A mounted folder stays what it is, but gets the mode and owner of the one that was archived."""
    for top in state.children:
        place, staged = component.places[top], stage / WHOLE / top
        if state.stage_paths()[top] != stage or not staged.is_dir():
            continue
        status = staged.stat()
        if os.geteuid() == 0:
            os.chown(place.target, status.st_uid, status.st_gid)
        place.target.chmod(status.st_mode & 0o7777)


def _pieces(component: _Component, state: State, tree: FileTree, beneath: Beneath, *, making: bool) -> Iterator[Piece]:
    """What is swapped: the tops, what lies in those that are mount points, or the chosen names one by one."""
    places, stages = component.places, state.stage_paths()
    if not component.whole:
        yield from _chosen_pieces(component, stages, tree, beneath, making=making)
        return
    for top, place in places.items():
        staged, aside = stages[top] / WHOLE / top, place.aside(component.run)
        if top not in state.children:
            yield Piece(whole_name(staged), whole_name(place.target), whole_name(aside))
            continue
        for name in map(os.fsdecode, map(unquote_to_bytes, state.children[top])):
            is_staged = (staged / name).exists() or (staged / name).is_symlink()
            known = is_staged or tree.node(os.fsencode(f"{top}/{name}")) is not None
            yield Piece(
                whole_name(staged / name) if known else None,
                whole_name(place.target / name),
                whole_name(aside) + b"/" + os.fsencode(name),
            )


def _chosen_pieces(
    component: _Component, stages: Mapping[str, Path], tree: FileTree, beneath: Beneath, *, making: bool
) -> Iterator[Piece]:
    names = component.final_names()
    asides = {top: whole_name(place.aside(component.run)) for top, place in component.places.items()}
    folders = _FolderMaker(tree, component) if making else None
    for node in tree.chosen():
        target, top = names(node), top_of(asides, node.path)
        if folders is not None:
            beneath.folder(target if node.type == "directory" else target.rpartition(b"/")[0], folders.make)
        if node.type == "directory":
            continue
        rest = node.path[len(top.encode()) :]
        yield Piece(whole_name(staged_path(stages, node, whole=False)), target, asides[top] + rest)


class _FolderMaker:
    """Makes folders that chosen files need and that are missing, as they were archived."""

    def __init__(self, tree: FileTree, component: _Component) -> None:
        self._tree = tree
        self._tops = {whole_name(place.target): top.encode() for top, place in component.places.items()}

    def make(self, fd: int, step: bytes, name: bytes) -> None:
        """See `Beneath.folder`."""
        node = self._node(name)
        os.mkdir(step, 0o700, dir_fd=fd)
        if node is None or node.type != "directory":
            os.chmod(step, PARENT_MODE, dir_fd=fd)
            return
        owner = archived_owner(node)
        if os.geteuid() == 0 and owner.uid is not None and owner.gid is not None:
            os.chown(step, owner.uid, owner.gid, dir_fd=fd)
        os.chmod(step, node.mode, dir_fd=fd)

    def _node(self, name: bytes) -> Node | None:
        for target, top in self._tops.items():
            if name == target or name.startswith(target + b"/"):
                return self._tree.node(top + name[len(target) :])
        return None


def set_ownership(settings: Settings, plan: RestorePlan) -> StageSummary:
    """Give what was restored to whom `restore.ownership` says, with its modes; null leaves it as it was archived.

    Raises:
        PermanentError: this machine has no such user, or the worker may not give files away.
    """
    progress = Progress("set_ownership")
    seen = changed = 0
    said = []
    for component in _components(settings, plan):
        owner = configured_owner(settings, component.planned.name)
        state = component.state
        if owner is None or state is None or state.step not in ("swapped", "verified"):
            continue
        if os.geteuid() != 0 and plan.request.environment == "test":  # nobody but root gives files away
            log.warning("The worker is not root: the files of %s stay its own.", component.planned.name)
            owner = owner.modes_only()
        name_of = component.final_names()
        with component.tree() as tree, Beneath(ROOT) as beneath:
            for node in tree.chosen():
                parent, _, step = name_of(node).rpartition(b"/")
                try:
                    changed += give(beneath.folder(parent), step, owner)
                except FileNotFoundError:  # verify says whether that is a fault
                    continue
                seen += 1
        chosen = settings.restore.ownership[component.planned.name]
        assert chosen is not None  # noqa: S101 (there is an owner)
        said.append(f"{component.planned.name} {chosen.owner}:{chosen.group} {chosen.folders}/{chosen.files}")
    return StageSummary(
        stage="set_ownership",
        component="",
        parts=seen,
        bytes_in=0,
        bytes_out=0,
        seconds=progress.finish(),
        detail={"ownership": ", ".join(said) or None, "changed": changed},
    )


def verify_files(
    settings: Settings, plan: RestorePlan, progress: Progress
) -> dict[str, str | int | float | bool | None]:
    """Compare every restored file with the index: type, size, SHA-256, owner, mode. Returns numbers for the summary.

    What does not match is put back to what was there. What others changed since it was put in place is only counted.

    Raises:
        IntegrityError: something differs, by name.
        PermanentError: it was not put in place.
    """
    total = Verdict()
    problems: list[str] = []
    for component in _components(settings, plan):
        verdict = _compare(settings, component, progress)
        problems += [f"{component.planned.name}: /{problem}" for problem in verdict.problems]
        total.files += verdict.files
        total.changed += verdict.changed
        total.changed_names += verdict.changed_names
    if problems:
        put_back_files(settings, plan)
        more = f" and {len(problems) - 10} more" if len(problems) > 10 else ""
        raise IntegrityError(
            f"The restored files are not what the backup holds: {'; '.join(problems[:10])}{more}. What was there "
            "before was put back: clear restore_files, or restore another set."
        )
    if total.changed:
        log.warning("Changed by others since: %s", ", ".join(total.changed_names))
    return {"files": total.files, "changed_since": total.changed or None}


def _compare(settings: Settings, component: _Component, progress: Progress) -> Verdict:
    state = component.state
    if state is None or state.step not in ("swapped", "verified"):
        raise PermanentError(f"{component.planned.name} was not put in place: clear the task restore_files.")
    owner = configured_owner(settings, component.planned.name)
    with component.tree() as tree, Beneath(ROOT) as beneath:
        how = Comparison(beneath, component.final_names(), owner, state.at, os.geteuid() == 0, component.whole)
        return compare(tree, how, progress)


def finish_files(settings: Settings, plan: RestorePlan) -> dict[str, str | None]:
    """After everything was verified: what was replaced goes, unless `restore.keep_replaced` says otherwise."""
    kept: list[str] = []
    for component in _components(settings, plan):
        state = component.state
        if state is None or state.step not in ("swapped", "verified"):
            continue
        for stage in dict.fromkeys(state.stage_paths().values()):
            placing.remove(stage)
        replaced = {place.aside(component.run) for place in component.places.values()}
        for path in component.asides():
            if path in replaced and not settings.restore.keep_replaced:
                placing.remove(path)
            else:
                kept.append(str(path))
        write_state(component.work, state.model_copy(update={"step": "verified"}))
        for planned in component.planned.archives:
            placing.remove(archive_folder(component.work, planned.set))
        placing.remove(component.work / OBJECTS)
    return {"kept_aside": ", ".join(kept) or None}


def put_back_files(settings: Settings, plan: RestorePlan) -> StageSummary:
    """Put back what was there before; what was restored goes. Does nothing where nothing was replaced.

    Raises:
        PermanentError: a rename is refused.
    """
    progress = Progress("put_back")
    with _alone(settings):
        count = sum(_put_back(component) for component in reversed(_components(settings, plan)))
    return StageSummary(
        stage="put_back",
        component="",
        parts=count,
        bytes_in=0,
        bytes_out=0,
        seconds=progress.finish(),
        detail={"files": ", ".join(planned.name for planned in plan.files)},
    )


def _put_back(component: _Component) -> int:
    state = component.state
    if state is None or not state.is_begun:
        return 0
    with component.tree() as tree, Beneath(ROOT) as beneath:
        count = swap_back(beneath, _pieces(component, state, tree, beneath, making=False))
    write_state(component.work, state.model_copy(update={"step": "put_back"}))
    for stage in dict.fromkeys(state.stage_paths().values()):
        placing.remove(stage)
    for path in component.asides():  # empty folders, and what was made anew in the moment of the swap
        if path.is_dir() and not any(entry.is_file() or entry.is_symlink() for entry in path.rglob("*")):
            placing.remove(path)
        else:
            log.warning("%s stays: it was made while the restore put its files in place.", path)
    log.info("%s: what was there before is back (%d pieces)", component.planned.name, count)
    return count


def are_replaced(settings: Settings, plan: RestorePlan) -> bool:
    """Whether files were put in place, and neither verified nor put back."""
    return any(component.state is not None and component.state.is_begun for component in _components(settings, plan))
