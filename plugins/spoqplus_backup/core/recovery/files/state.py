"""How far a component's restore got, beside what was fetched for it: complete or absent, as everything there."""

from datetime import datetime
from pathlib import Path
from typing import Literal

from spoqplus_backup.core.manifest import Model
from spoqplus_backup.core.staging import read_json, write_json

STATE = "state.json"

Step = Literal["unpacking", "unpacked", "swapping", "swapped", "put_back", "verified"]


class State(Model):
    """Where a component stands. `generation` tells a retry (the same) from a task that was cleared (another one).

    `stages` are the folders for each top, `children` the names (as in URLs) below each top that is a mount point, as
    they were before the first rename.
    """

    generation: int
    step: Step
    at: datetime
    stages: dict[str, str]
    children: dict[str, tuple[str, ...]] = {}

    @property
    def is_begun(self) -> bool:
        """Whether something that was there may lie aside."""
        return self.step in ("swapping", "swapped")

    def stage_paths(self) -> dict[str, Path]:
        """The stages as paths."""
        return {top: Path(path) for top, path in self.stages.items()}


def read_state(work: Path) -> State | None:
    """The state of a component; None before anything was unpacked."""
    content = read_json(work / STATE)
    return None if content is None else State.model_validate(content)


def write_state(work: Path, state: State) -> None:
    """Note a state, complete or not at all."""
    write_json(work / STATE, state)
