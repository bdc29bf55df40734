"""The paths of a file component as this machine has them, and the names under which tar archives them."""

import os
from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from pathlib import Path

from spoqplus_backup.core.errors import PermanentError, SettingsError
from spoqplus_backup.core.notice import Notice, notice
from spoqplus_backup.core.settings import FilesSelection, Settings


@dataclass(frozen=True)
class Places:
    """Where a component's files are. `names` are relative to `/`; `folders_only` says that no path is a file."""

    paths: tuple[Path, ...]
    names: tuple[str, ...]
    folders_only: bool
    warnings: tuple[Notice, ...]


def selection_of(settings: Settings, component: str) -> FilesSelection:
    """The configuration of a file component.

    Raises:
        PermanentError: there is none of that name.
    """
    for selection in settings.files:
        if selection.name == component:
            return selection
    known = ", ".join(selection.name for selection in settings.files) or "none"
    raise PermanentError(f"{settings.source}: `files` has no component {component}; it has {known}.")


def find_places(selection: FilesSelection) -> Places:
    """Look at every path. A symbolic link is archived with the place that it leads to.

    Raises:
        SettingsError: a path is missing (where that is no mere warning), or all are.
    """
    found, warnings = [], list[Notice]()
    for path in selection.paths:
        if path.exists():
            found += [path, path.resolve()] if path.is_symlink() else [path]
            continue
        if selection.missing == "error":
            raise SettingsError(
                f"{_missing(path)}: correct the path, mount it, or set `missing: warn` if it may be missing."
            )
        warnings.append(_left_out(selection, path))
    if not found:
        named = ", ".join(map(str, selection.paths))
        raise SettingsError(f"none of {named} is there: correct the paths, or mount them.")
    roots = tuple(_outermost(found))
    return Places(
        paths=roots,
        names=tuple(os.fspath(path).lstrip("/") for path in roots),
        folders_only=all(path.is_dir() for path in roots),
        warnings=tuple(warnings),
    )


def configured_places(settings: Settings, selection: FilesSelection) -> Places:
    """`find_places`, whose error names the file and the field."""
    try:
        return find_places(selection)
    except SettingsError as error:
        raise SettingsError(f"{settings.source}: `{paths_field(settings, selection)}`: {error}") from error


def paths_field(settings: Settings, selection: FilesSelection) -> str:
    """`files[0].paths`."""
    return f"files[{settings.files.index(selection)}].paths"


def _missing(path: Path) -> str:
    return f"{path} leads nowhere (it is a symbolic link)" if path.is_symlink() else f"{path} is not there"


def _left_out(selection: FilesSelection, path: Path) -> Notice:
    if path.is_symlink():
        sentence = "{component}: {path} leads nowhere (it is a symbolic link), so it is not in the backup."
        return notice("files.dangling", sentence, component=selection.name, path=path)
    sentence = "{component}: {path} is not there, so it is not in the backup."
    return notice("files.missing", sentence, component=selection.name, path=path)


def _outermost(paths: Iterable[Path]) -> Iterator[Path]:
    """Each path once, without those that lie below another one."""
    chosen = list(dict.fromkeys(paths))
    for path in chosen:
        above = (other for other in chosen if other != path and not other.is_symlink())
        if not any(path.is_relative_to(other) for other in above):
            yield path
