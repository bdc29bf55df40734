"""Tells a replay that takes long from one that hangs: by the bytes that move, else by what the target is doing.

A statement may run for hours (an ALTER of a big table) while no byte moves, so silence alone says nothing. A replay
hangs when for so long neither a byte was taken nor a transaction applied, and the target works on nothing of it or does
not answer. A statement that waits for a lock is ended by the target itself (`lock_wait_timeout`).
"""

import hashlib
import logging
import os
import select
import time
from collections.abc import Callable
from dataclasses import dataclass

from spoqplus_backup.core.connections import DatabaseLogin
from spoqplus_backup.core.errors import BackupError
from spoqplus_backup.core.mysql import replay_marker as markers
from spoqplus_backup.core.mysql import server
from spoqplus_backup.core.process import Child, ProcessError, check_cancelled
from spoqplus_backup.core.progress import human_seconds

log = logging.getLogger(__name__)

POLL_SECONDS = 1.0
END_SECONDS = 10.0  # in which a client whose session is gone has said why, and ended


@dataclass(frozen=True)
class _Doing:
    """What the target says of a replay's session, for people, and how far it has come."""

    words: str
    works: bool
    place: str


class Watch:
    """Follows one replay's programs. `seconds` without progress are a stall."""

    def __init__(self, login: DatabaseLogin, key: str, seconds: float) -> None:
        self._login = login
        self._key = key
        self._seconds = seconds
        self._client: Child | None = None
        self._moved()

    def follow(self, client: Child) -> None:
        """Whose session it is."""
        self._client = client

    def _moved(self) -> None:
        self._moved_at = time.monotonic()
        self._place: str | None = None
        """How far it had come in the middle of a quiet time."""

    @property
    def init_command(self) -> str:
        """Assignments for the session's SET, by which it is found among the target's others, and its locks end."""
        return f"lock_wait_timeout = {max(1, int(self._seconds))}, @spoqplus_replay = GET_LOCK('{self._lock}', 0)"

    @property
    def _lock(self) -> str:
        return f"spoqplus-replay-{hashlib.sha256(self._key.encode()).hexdigest()[:16]}"

    def write(self, child: Child, data: bytes, stalled: Callable[[str], ProcessError]) -> None:
        """Give bytes to a program.

        Raises:
            BrokenPipeError: it has ended.
            ProcessError: nothing moves any more; what `stalled` makes of why.
        """
        fd, left = child.stdin.fileno(), memoryview(data)
        os.set_blocking(fd, False)
        poll = select.poll()
        poll.register(fd, select.POLLOUT)
        while left:
            if poll.poll(POLL_SECONDS * 1000):
                left = left[os.write(fd, left) :]
                self._moved()
            else:
                self._check(stalled)

    def wait(self, child: Child, stalled: Callable[[str], ProcessError]) -> None:
        """Wait for a program's end; whether it ended well is `finish`'s to say."""
        while not child.wait_for_end(POLL_SECONDS):
            self._check(stalled)

    def _check(self, stalled: Callable[[str], ProcessError]) -> None:
        check_cancelled()
        quiet = time.monotonic() - self._moved_at
        if quiet < self._seconds / 2 or (quiet < self._seconds and self._place is not None):
            return
        doing = self._doing()
        if quiet < self._seconds:
            self._place = doing.place
        elif doing.works or doing.place not in (self._place, ""):
            log.info("replay: no byte moved for %s; %s", human_seconds(quiet), doing.words)
            self._moved()
        elif not self._ends_by_itself():
            raise stalled(f"made no progress for {quiet:.0f} s and was ended ({doing.words})")

    def _ends_by_itself(self) -> bool:
        """Whether the client ended just now, well or with the server's error: it knows more than anybody who looks on.
        What waits for it learns that soon; if not, it is a stall the next time.
        """
        client, self._client = self._client, None
        if client is None or not client.wait_for_end(END_SECONDS):
            return False
        self._moved()
        return True

    def _doing(self) -> _Doing:
        try:
            with server.connect(self._login) as connection:
                place = f"{markers.read(self._login, self._key, wait=False)} {connection.variables('gtid_executed')}"
                session = connection.value("SELECT IS_USED_LOCK(%s)", (self._lock,))
                found = [row for row in connection.rows("SHOW PROCESSLIST") if row[0] == session]
        except BackupError as error:
            return _Doing(str(error), works=False, place="")
        if not found:
            return _Doing("its session is gone at the target", works=False, place=place)
        _, _, _, _, command, seconds, state, *_ = found[0]  # not the statement, which may hold a password
        words = f"its session at the target is in {command} for {seconds} s, {state or 'without a state'}"
        return _Doing(words, works=str(command) not in ("Sleep", "Killed"), place=place)
