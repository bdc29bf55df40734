"""Where restored files go: beside what they replace, on the same file system, so that a rename puts them in place.

    <parent>/.spoqplus-restoring-<run>-<component>/     what is unpacked, until it is put in place
    <parent>/<name>.replaced-<run>-<generation>         what was there before, until the restore is verified

A place that is a mount point can't be renamed: there both lie in it, and what is in it is renamed piece by piece.
"""

import contextlib
import hashlib
import os
import shutil
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path

from spoqplus_backup.core.errors import PermanentError

STAGE = ".spoqplus-restoring-"
ASIDE = ".replaced-"
NOT_OURS = frozenset({"lost+found"})  # of a mounted file system


@dataclass(frozen=True)
class Place:
    """Where a top of an archive goes. `top` is its name relative to `root`."""

    root: Path
    top: str

    @property
    def target(self) -> Path:
        """The path that it gets."""
        return self.root / self.top

    @property
    def is_mount(self) -> bool:
        """Whether a file system of its own is mounted there."""
        return self.target.is_mount() and not self.target.is_symlink()

    @property
    def base(self) -> Path:
        """The folder that stage and what is put aside lie in."""
        return self.target if self.is_mount else self.target.parent

    @property
    def kept_name(self) -> str:
        """How what is kept aside of it begins; of a mount point, of a folder for what was in it."""
        return f".spoqplus{ASIDE}" if self.is_mount else f"{self.target.name}{ASIDE}"

    def aside(self, run: str, generation: int) -> Path:
        """Where what was there before is kept. Each generation has its own: what an earlier one keeps is not in the way
        of putting back what a later one replaced.
        """
        return self.base / f"{self.kept_name}{run}-{generation}"

    def beside(self, beginning: str) -> list[Path]:
        """What lies there under names that begin so."""
        try:
            names = [entry.name for entry in os.scandir(self.base) if entry.name.startswith(beginning)]
        except (FileNotFoundError, NotADirectoryError):
            return []
        return [self.base / name for name in sorted(names)]


def place_of(root: Path, top: str) -> Place:
    """Where a top goes."""
    return Place(root, top)


def short_name(run_id: str) -> str:
    """What tells one restore's folders from another's."""
    return hashlib.sha256(run_id.encode()).hexdigest()[:8]


def check_within(place: Place, *, is_link: bool) -> None:
    """See that no link on the way to a place leads out of the root.

    Args:
        place: where something goes.
        is_link: what goes there is a link itself.

    Raises:
        PermanentError: one does, or the place is a link, and what goes there is none.
    """
    root, parent = place.root.resolve(), place.target.parent.resolve()
    if not parent.is_relative_to(root):
        raise PermanentError(
            f"{place.target.parent} leads to {parent}, out of {place.root}: remove the link, or choose another root."
        )
    if place.target.is_symlink() and not is_link:
        raise PermanentError(
            f"{place.target} is a link to {place.target.readlink()}, which would be replaced: restore to another root, "
            "and copy it from there."
        )


def check_apart(place: Place, production: Sequence[Path]) -> None:
    """See that a place is none of production's, lies in none, and holds none.

    Raises:
        PermanentError: it is.
    """
    target = place.target.resolve()
    for path in production:
        theirs = path.resolve()
        if target == theirs or target.is_relative_to(theirs) or theirs.is_relative_to(target):
            raise PermanentError(
                f"The environment test would write to {place.target}, where production has {path}: choose another "
                "target_root (or `restore.files_root`), or the environment production."
            )


def make_parents(place: Place) -> None:
    """Make the folders that a place lies in, where they are missing.

    Raises:
        PermanentError: they can't be made.
    """
    try:
        place.target.parent.mkdir(parents=True, exist_ok=True)
    except OSError as error:
        raise PermanentError(
            f"{place.target.parent} can't be made ({error.strerror}): let the worker run as root, or as who may write "
            "there."
        ) from error


def stages_for(places: Sequence[Place], name: str) -> dict[str, Path]:
    """The folder that each top is unpacked into, one for each file system, by the top's name; `name` tells it from
    those of other restores and components.
    """
    found: dict[str, Path] = {}
    by_device: dict[int, Path] = {}
    for place in places:
        device = place.base.stat().st_dev
        stage = by_device.setdefault(device, place.base / f"{STAGE}{name}")
        found[place.top] = stage
    return found


def make_stage(stage: Path) -> None:
    """Make a stage anew, for nobody else to look into.

    Raises:
        PermanentError: it can't be made.
    """
    remove(stage)
    try:
        stage.mkdir(mode=0o700)
    except OSError as error:
        raise PermanentError(
            f"{stage} can't be made ({error.strerror}): let the worker run as root, or as who may write there."
        ) from error


def remove(path: Path) -> None:
    """Remove a folder or file with all that is in it; nothing when it is not there."""
    with contextlib.suppress(FileNotFoundError):
        if path.is_dir() and not path.is_symlink():
            shutil.rmtree(path)
        else:
            path.unlink()


def entries(folder: Path) -> Iterator[str]:
    """The names in the folder that may be replaced: all but ours and the file system's own."""
    for name in sorted(path.name for path in folder.iterdir()):
        if name not in NOT_OURS and not name.startswith((STAGE, f".spoqplus{ASIDE}")):
            yield name
