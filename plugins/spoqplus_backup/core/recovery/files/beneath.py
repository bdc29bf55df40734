"""Works below a folder without ever following a link: what lies there may change under our hands, by anybody's.

Each step of a path is opened by itself, from the folder before it, and refused when it is no folder.
"""

import errno
import os
import stat
from collections.abc import Callable
from pathlib import Path

from spoqplus_backup.core.errors import PermanentError
from spoqplus_backup.core.recovery.files.names import shown

_FOLDER = os.O_PATH | os.O_DIRECTORY | os.O_NOFOLLOW | os.O_CLOEXEC  # needs no permission to list it


MakeFolder = Callable[[int, bytes, bytes], None]
"""Makes a folder that is missing: given its parent's file descriptor, its last step, and its whole name."""


class Beneath:
    """The folders below one, by names relative to it; the last one that was asked for is kept open.

    Args:
        root: the folder; it may be reached through links.
    """

    def __init__(self, root: str) -> None:
        self.root = root
        self._root_fd = os.open(root, _FOLDER & ~os.O_NOFOLLOW)
        self._name = b""
        self._fd = self._root_fd

    def __enter__(self) -> "Beneath":
        return self

    def __exit__(self, kind: object, error: object, trace: object) -> None:
        self._forget()
        os.close(self._root_fd)

    def folder(self, name: bytes, make: MakeFolder | None = None) -> int:
        """The file descriptor of a folder, good until the next call; the root's for an empty name.

        Args:
            name: relative to the root, in its plain form.
            make: makes a folder that is missing.

        Raises:
            FileNotFoundError: it is not there, and is not to be made.
            PermanentError: a step of it is no folder.
        """
        if name == self._name:
            return self._fd
        self._forget()
        fd = os.dup(self._root_fd)
        try:
            so_far: list[bytes] = []
            for step in name.split(b"/") if name else ():
                so_far.append(step)
                deeper = self._step(fd, step, b"/".join(so_far), make)
                os.close(fd)
                fd = deeper
        except BaseException:
            os.close(fd)
            raise
        self._name, self._fd = name, fd
        return fd

    def _step(self, fd: int, step: bytes, name: bytes, make: MakeFolder | None) -> int:
        try:
            return os.open(step, _FOLDER, dir_fd=fd)
        except FileNotFoundError:
            if make is None:
                raise
            make(fd, step, name)
            return os.open(step, _FOLDER, dir_fd=fd)
        except OSError as error:
            if error.errno in (errno.ENOTDIR, errno.ELOOP):
                path = f"{self.root.rstrip('/')}/{shown(name)}"
                raise PermanentError(
                    f"{path} is no folder but a file or a link, which is not followed: move it away."
                ) from error
            raise

    def status(self, name: bytes) -> os.stat_result | None:
        """What is there, a link itself; None when nothing is."""
        parent, _, step = name.rpartition(b"/")
        try:
            return os.stat(step, dir_fd=self.folder(parent), follow_symlinks=False)
        except FileNotFoundError:
            return None

    def _forget(self) -> None:
        if self._fd != self._root_fd:
            os.close(self._fd)
        self._name, self._fd = b"", self._root_fd


def whole_name(path: Path) -> bytes:
    """A path's name below `/`, without any link in it but the last step, which may be one."""
    return os.fsencode(path.parent.resolve() / path.name).lstrip(b"/")


def is_folder(status: os.stat_result | None) -> bool:
    """Whether something is there and is a folder."""
    return status is not None and stat.S_ISDIR(status.st_mode)
