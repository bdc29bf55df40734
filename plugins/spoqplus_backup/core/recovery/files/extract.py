"""Unpacks archives with GNU tar, which is given a member only after its header was found to be what the index says.

The index was checked before, as a whole (`tree.py`). As the stream has to have at each place what the index says,
nothing reaches tar that was not checked, whatever the stream says.
"""

import contextlib
import hashlib
import os
import subprocess
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path

from spoqplus_backup.core.errors import DiskFullError, IntegrityError, PermanentError
from spoqplus_backup.core.process import Child, ProcessError, find_program
from spoqplus_backup.core.progress import Progress
from spoqplus_backup.core.recovery.files.names import refused, shown
from spoqplus_backup.core.recovery.files.tar_reader import Member, TarReader
from spoqplus_backup.core.staging import write_all

_END = bytes(1024)
_LOCALE = {"LC_ALL": "C.UTF-8"}  # messages in English, to be read here; names in UTF-8, as they are
_REFUSALS = ("Permission denied", "Operation not permitted", "Read-only file system")


@dataclass(frozen=True)
class Expected:
    """What the index says of a member."""

    type: str
    name: bytes
    link: bytes | None
    size: int
    length: int
    sha256: str | None


class Unpacker:
    """Feeds chosen members of one archive to the tar programs, one for each file system that it goes to.

    tar is not told that the archive is incremental: it only makes what it is given, and takes away or renames nothing.

    Args:
        where: the archive's name in errors.
        stages: the folder that each top of the archive is unpacked into.
        progress: told of the bytes of the stream.
    """

    def __init__(self, where: str, stages: Mapping[bytes, Path], progress: Progress) -> None:
        self._where = where
        self._stages = stages
        self._progress = progress
        self._children: dict[Path, Child] = {}

    def unpack(self, reader: TarReader, expected: Iterator[Expected]) -> int:
        """Unpack what is expected and nothing else; returns how many members that were.

        Args:
            reader: the runs of the stream that hold the members, one after the other.
            expected: what the index says of each, in the order of the stream.

        Raises:
            IntegrityError: the stream is not what the index says.
            DiskFullError: no room is left.
            ProcessError: tar failed.
        """
        count = 0
        with contextlib.ExitStack() as stack:
            for stage in dict.fromkeys(self._stages.values()):
                self._children[stage] = stack.enter_context(self._tar(stage))
            try:
                for wanted in expected:
                    self._pass_on(reader, self._checked(reader.next_member(), wanted), wanted)
                    count += 1
            except BrokenPipeError:
                pass  # tar ended: `finish` knows why
            else:
                self._end()
            for stage, child in self._children.items():
                self._finish(child, stage)
        return count

    def _checked(self, member: Member | None, wanted: Expected) -> Member:
        """The member, which is the one that is wanted."""
        if member is None:
            raise IntegrityError(f"{self._where} lacks '{shown(wanted.name)}', which its index names.")
        found = (member.type, member.name, member.link, member.size, member.length)
        if found != (wanted.type, wanted.name, wanted.link, wanted.size, wanted.length):
            raise refused(
                self._where, member.name, f"where its index says that '{shown(wanted.name)}' ({wanted.type}) stands"
            )
        return member

    def _pass_on(self, reader: TarReader, member: Member, wanted: Expected) -> None:
        target = self._child_for(member.name).stdin
        write_all(target, member.raw)
        self._progress.add(len(member.raw))
        digest = hashlib.sha256() if wanted.sha256 is not None and not member.is_sparse else None
        left = member.stored
        for block in reader.content():
            if digest is not None:
                digest.update(block[:left])
                left -= min(left, len(block))
            write_all(target, block)
            self._progress.add(len(block))
        if digest is not None and digest.hexdigest() != wanted.sha256:
            raise refused(self._where, member.name, "with another content than its index says")

    def _child_for(self, name: bytes) -> Child:
        for top, stage in self._stages.items():
            if name == top or name.startswith(top + b"/"):
                return self._children[stage]
        raise refused(self._where, name, "which lies in none of the places that were archived")

    @contextlib.contextmanager
    def _tar(self, stage: Path) -> Iterator[Child]:
        argv = [find_program("tar", "tar"), *tar_arguments(stage)]
        with Child(argv, stdin=subprocess.PIPE, stdout=subprocess.DEVNULL, env=_LOCALE, name="tar") as child:
            yield child

    def _end(self) -> None:
        for child in self._children.values():
            with contextlib.suppress(BrokenPipeError):
                write_all(child.stdin, _END)
            child.stdin.close()

    def _finish(self, child: Child, stage: Path) -> None:
        with contextlib.suppress(BrokenPipeError):
            child.stdin.close()
        try:
            child.finish()
        except ProcessError as error:
            if "No space left" in error.stderr or "Disk quota exceeded" in error.stderr:
                raise DiskFullError(
                    f"No space left on the disk of {stage}: free some and clear the task, or restore to another root."
                ) from error
            if any(words in error.stderr for words in _REFUSALS):
                raise PermanentError(
                    f"{error}: let the worker run as root, or as who may write there and own all of it."
                ) from error
            raise


def tar_arguments(stage: Path) -> list[str]:
    """The arguments to unpack a stream from standard input into a folder.

    Only root can give files to others and set attributes of the system; anybody else gets what is his.
    """
    is_root = os.geteuid() == 0
    return [
        *("--extract", "--file=-", f"--directory={stage}", "--blocking-factor=128", "--delay-directory-restore"),
        *("--preserve-permissions", "--acls", "--xattrs"),
        *(["--same-owner", "--xattrs-include=*"] if is_root else ["--no-same-owner"]),
        "--warning=no-timestamp",
    ]
