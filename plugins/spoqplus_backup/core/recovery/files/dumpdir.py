"""What a folder held when it was archived, and which folders had been renamed: GNU tar's "dumpdir".

A list of entries, each a letter, a name and a zero byte: `Y` in this archive, `N` in an earlier one, `D` a folder; `R`
and `T` a folder's old and new name, `X` where to make a temporary one, for folders that changed names among each other.
"""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Literal

from spoqplus_backup.core.recovery.files.names import check_name, refused

Flag = Literal["Y", "N", "D"]
_FLAGS: Mapping[bytes, Flag] = {b"Y": "Y", b"N": "N", b"D": "D"}


@dataclass(frozen=True)
class Rename:
    """A folder's old and new name; empty is a temporary name."""

    source: bytes
    target: bytes


@dataclass(frozen=True)
class Dumpdir:
    """The names in a folder with what they were, the renames in their order, and where a temporary name lies."""

    names: Mapping[bytes, Flag]
    renames: tuple[Rename, ...] = ()
    temporary_in: bytes | None = None


def parse_dumpdir(where: str, folder: bytes, content: bytes) -> Dumpdir:
    """Read one; `where` names the archive in errors.

    Raises:
        IntegrityError: it names something outside of the folder, or can't be read.
    """
    names: dict[bytes, Flag] = {}
    renames: list[Rename] = []
    temporary, source = None, None
    for entry in content.rstrip(b"\0").split(b"\0") if content.strip(b"\0") else ():
        letter, name = entry[:1], entry[1:]
        _check_entry(where, folder, letter, name)
        if (letter == b"T") != (source is not None):
            raise refused(where, folder, "a folder with half a rename")
        if letter in _FLAGS:
            names[name] = _FLAGS[letter]
        elif letter == b"R":
            source = name
        elif letter == b"X":
            temporary = name
        elif source is not None:
            renames.append(Rename(source, name))
            source = None
    if source is not None:
        raise refused(where, folder, "a folder with half a rename")
    return Dumpdir(names, tuple(renames), temporary)


def _check_entry(where: str, folder: bytes, letter: bytes, name: bytes) -> None:
    if letter in _FLAGS and b"/" in name:
        raise refused(where, folder, "a folder with something that is not in it")
    if letter not in _FLAGS and letter not in (b"R", b"T", b"X"):
        raise refused(where, folder, "a folder whose contents can't be read")
    if name or letter in _FLAGS:
        check_name(where, name)
