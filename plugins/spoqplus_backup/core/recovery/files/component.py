"""A component of a restore's plan, and what lies for it on this machine."""

import os
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

from spoqplus_backup.core.errors import PermanentError
from spoqplus_backup.core.recovery.files.beneath import whole_name
from spoqplus_backup.core.recovery.files.places import Place, place_of, short_name
from spoqplus_backup.core.recovery.files.plan import TREE, PlannedFiles
from spoqplus_backup.core.recovery.files.state import State, Step, read_state, write_state
from spoqplus_backup.core.recovery.files.tree import FileTree, Node
from spoqplus_backup.core.recovery.files.unpack import top_of
from spoqplus_backup.core.recovery.plan import RestorePlan, restore_directory
from spoqplus_backup.core.settings import Settings

OBJECTS = "objects"


@dataclass(frozen=True)
class RestoredComponent:
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

    @property
    def is_in_place(self) -> bool:
        """Whether what was restored is where it belongs."""
        return self.state is not None and self.state.step in ("swapped", "verified")

    def note(self, step: Step) -> None:
        """Note that a component whose state is known came to another step."""
        state = self.state
        assert state is not None  # noqa: S101 (a programming error)
        if state.step != step:
            write_state(self.work, state.model_copy(update={"step": step}))

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

    def replaced(self, generation: int) -> list[Path]:
        """What a generation put aside, as far as it is there."""
        paths = (place.aside(self.run, generation) for place in self.places.values())
        return [path for path in paths if os.path.lexists(path)]

    def kept(self) -> list[Path]:
        """All that lies aside of it: what every generation replaced, and, with a number behind it, what the application
        made anew in the moment of the swap.
        """
        return [path for place in self.places.values() for path in place.beside(f"{place.kept_name}{self.run}-")]


def components_of(settings: Settings, plan: RestorePlan) -> list[RestoredComponent]:
    """Those of a plan, in the order of their priority."""
    directory = restore_directory(settings, plan.run_id)
    return [RestoredComponent(planned, directory / planned.name, short_name(plan.run_id)) for planned in plan.files]
