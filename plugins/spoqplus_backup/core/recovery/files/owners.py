"""Whose restored files are: as the configuration says, or as they were archived."""

import grp
import os
import pwd
import stat
from dataclasses import dataclass

from spoqplus_backup.core.errors import PermanentError
from spoqplus_backup.core.recovery.files.tree import Node
from spoqplus_backup.core.settings import Settings


@dataclass(frozen=True)
class Owner:
    """User and group ids, and the modes of folders and files; None leaves what is there."""

    uid: int | None
    gid: int | None
    folders: int | None = None
    files: int | None = None

    def modes_only(self) -> "Owner":
        """The same, but nothing is given to anybody."""
        return Owner(None, None, self.folders, self.files)

    def mode(self, status_mode: int) -> int | None:
        """The mode for something of this type; links have none."""
        if stat.S_ISDIR(status_mode):
            return self.folders
        return self.files if stat.S_ISREG(status_mode) else None


def configured_owner(settings: Settings, component: str) -> Owner | None:
    """What `restore.ownership` says of a component; None when it stays as it was archived.

    Raises:
        PermanentError: this machine has no such user or group.
    """
    chosen = settings.restore.ownership.get(component)
    if chosen is None:
        return None
    try:
        uid = pwd.getpwnam(chosen.owner).pw_uid
        gid = grp.getgrnam(chosen.group).gr_gid
    except KeyError as error:
        raise PermanentError(
            f"{settings.source}: `restore.ownership.{component}` names {chosen.owner}:{chosen.group}, and this machine "
            f"has no such user or group ({error.args[0]}): correct it, or make them."
        ) from error
    return Owner(uid, gid, int(chosen.folders, 8), int(chosen.files, 8))


def archived_owner(node: Node) -> Owner:
    """Whose it was: by name where this machine has such a user, as tar does, else by number."""
    try:
        uid = pwd.getpwnam(node.user).pw_uid if node.user else node.uid
    except KeyError:
        uid = node.uid
    try:
        gid = grp.getgrnam(node.group).gr_gid if node.group else node.gid
    except KeyError:
        gid = node.gid
    return Owner(uid, gid, node.mode, node.mode)


def give(fd: int, name: bytes, owner: Owner) -> bool:
    """Give what lies in a folder to its owner, a link itself; returns whether anything had to be changed.

    Args:
        fd: the folder.
        name: in it.
        owner: whose it will be.

    Raises:
        PermanentError: that is not permitted.
    """
    status = os.stat(name, dir_fd=fd, follow_symlinks=False)
    wrong = owner.uid not in (None, status.st_uid) or owner.gid not in (None, status.st_gid)
    try:
        if wrong:
            os.chown(
                name,
                -1 if owner.uid is None else owner.uid,
                -1 if owner.gid is None else owner.gid,
                dir_fd=fd,
                follow_symlinks=False,
            )
        mode = owner.mode(status.st_mode)
        if mode is not None and (wrong or stat.S_IMODE(status.st_mode) != mode):
            _set_mode(fd, name, status, mode)
            wrong = True
    except PermissionError as error:
        raise PermanentError(
            f"{os.fsdecode(name)} can't be given to {owner.uid}:{owner.gid} ({error.strerror}): let the worker run as "
            "root, or set `restore.ownership` of the component to null."
        ) from error
    return wrong


def _set_mode(fd: int, name: bytes, status: os.stat_result, mode: int) -> None:
    """Never of what a link leads to: of the very file that was looked at."""
    flags = os.O_PATH | os.O_NOFOLLOW | os.O_CLOEXEC
    file = os.open(name, flags, dir_fd=fd)
    try:
        if os.path.samestat(os.fstat(file), status):
            os.chmod(f"/proc/self/fd/{file}", mode)  # noqa: PTH101 (a link to the open file, whatever its name is now)
    finally:
        os.close(file)
