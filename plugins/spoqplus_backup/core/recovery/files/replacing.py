"""Puts a component in place of what is there, which goes aside; and brings that back."""

import logging
import os
from collections.abc import Iterator
from datetime import datetime, timezone
from pathlib import Path
from urllib.parse import quote_from_bytes, unquote_to_bytes

from spoqplus_backup.core.recovery.files import places as placing
from spoqplus_backup.core.recovery.files.beneath import Beneath, whole_name
from spoqplus_backup.core.recovery.files.component import RestoredComponent
from spoqplus_backup.core.recovery.files.owners import archived_owner
from spoqplus_backup.core.recovery.files.places import Place
from spoqplus_backup.core.recovery.files.state import State, write_state
from spoqplus_backup.core.recovery.files.swap import Piece, swap, swap_back
from spoqplus_backup.core.recovery.files.tree import FileTree, Node
from spoqplus_backup.core.recovery.files.unpack import WHOLE, staged_path, top_of

log = logging.getLogger(__name__)

ROOT = "/"
PARENT_MODE = 0o755  # of folders that no archive holds


def put_in_place(component: RestoredComponent) -> int:
    """Swap; how many pieces there were. A component that is in place already has none.

    Raises:
        PermanentError: a rename is refused.
    """
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


def _finish_mounts(component: RestoredComponent, state: State, stage: Path) -> None:
    """A mounted folder stays what it is, but gets the mode and owner of the one that was archived."""
    for top in state.children:
        place, staged = component.places[top], stage / WHOLE / top
        if state.stage_paths()[top] != stage or not staged.is_dir():
            continue
        status = staged.stat()
        if os.geteuid() == 0:
            os.chown(place.target, status.st_uid, status.st_gid)
        place.target.chmod(status.st_mode & 0o7777)


def _pieces(
    component: RestoredComponent, state: State, tree: FileTree, beneath: Beneath, *, making: bool
) -> Iterator[Piece]:
    """What is swapped: the tops, what lies in those that are mount points, or the chosen names one by one."""
    places, stages = component.places, state.stage_paths()
    if not component.whole:
        yield from _chosen_pieces(component, state, tree, beneath, making=making)
        return
    for top, place in places.items():
        staged, aside = stages[top] / WHOLE / top, place.aside(component.run, state.generation)
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
    component: RestoredComponent, state: State, tree: FileTree, beneath: Beneath, *, making: bool
) -> Iterator[Piece]:
    names, stages = component.final_names(), state.stage_paths()
    asides = {top: whole_name(place.aside(component.run, state.generation)) for top, place in component.places.items()}
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

    def __init__(self, tree: FileTree, component: RestoredComponent) -> None:
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


def put_back(component: RestoredComponent) -> int:
    """Bring back what was there, and take away what was restored; how many pieces that were.

    Raises:
        PermanentError: a rename is refused.
    """
    state = component.state
    if state is None or not (state.is_begun or state.step == "put_back"):
        return 0
    count = 0
    if state.is_begun:
        with component.tree() as tree, Beneath(ROOT) as beneath:
            count = swap_back(beneath, _pieces(component, state, tree, beneath, making=False))
        component.note("put_back")  # before the stage goes: without it nobody could tell which pieces are back
    for stage in dict.fromkeys(state.stage_paths().values()):
        placing.remove(stage)
    for path in component.replaced(state.generation):
        if path.is_dir() and not any(entry.is_file() or entry.is_symlink() for entry in path.rglob("*")):
            placing.remove(path)  # folders that held what is back
    if kept := component.kept():
        log.warning("These stay, and hold what others made meanwhile: %s", ", ".join(map(str, kept)))
    log.info("%s: what was there before is back (%d pieces)", component.planned.name, count)
    return count
