"""Works ahead of compress and encrypt while parts are still written, on a core that mysqldump or tar leaves idle.

It only takes work off those stages: what it has not done when the last part is written is left to them, and they leave
alone what is done (`docs/decisions/0007-work-ahead.md`).
"""

import contextlib
import logging
import os
import queue
import threading
from collections.abc import Iterator
from pathlib import Path

from spoqplus_backup.core.compression import PartRecord, compress_part, compressed_path
from spoqplus_backup.core.cores import usable_cores
from spoqplus_backup.core.crypto import Scheme
from spoqplus_backup.core.errors import BackupError
from spoqplus_backup.core.sealing import seal_part

log = logging.getLogger(__name__)

NICENESS = 10


class WorkAhead:
    """Compresses and encrypts parts in the order in which they are added, in a thread of low priority.

    What can't be compressed fails the dump (or archive): memory or disk is faulty, or full. What can't be encrypted
    does not: the parts are good, and the encrypt task will say the same where it can be retried.
    """

    def __init__(self, directory: Path, level: int, scheme: Scheme) -> None:
        self._directory = directory
        self._level = level
        self._scheme: Scheme | None = scheme
        self._waiting: queue.SimpleQueue[Path | None] = queue.SimpleQueue()
        self._stopped = threading.Event()
        self._failure: BackupError | OSError | None = None
        self._thread = threading.Thread(target=self._work, name="ahead", daemon=True)
        self._thread.start()

    def add(self, raw: Path) -> None:
        """A part is whole.

        Raises:
            BackupError, OSError: an earlier part could not be compressed.
        """
        if self._failure is not None:
            raise self._failure
        self._waiting.put(raw)

    def stop(self) -> None:
        """Finish the part at hand and end."""
        self._stopped.set()
        self._waiting.put(None)
        self._thread.join()

    def _work(self) -> None:
        thread = threading.get_native_id()
        os.setpriority(os.PRIO_PROCESS, thread, NICENESS)  # of this thread and its programs alone, on Linux
        while (raw := self._waiting.get()) is not None and not self._stopped.is_set():
            try:
                record = compress_part(raw, self._directory, self._level)
                raw.unlink()
            except (BackupError, OSError) as error:
                self._failure = error
                return
            if self._scheme is not None:
                self._seal(self._scheme, raw.name, record)

    def _seal(self, scheme: Scheme, name: str, record: PartRecord) -> None:
        try:
            seal_part(self._directory, name, scheme, record)
            compressed_path(self._directory, name).unlink()
        except (BackupError, OSError) as error:
            log.warning("Parts can't be encrypted yet, which is left to the encrypt task: %s", error)
            self._scheme = None


@contextlib.contextmanager
def working_ahead(directory: Path, level: int, scheme: Scheme) -> Iterator[WorkAhead | None]:
    """Work ahead for the length of a block; None where there is no second core."""
    if usable_cores() < 2:
        yield None
        return
    ahead = WorkAhead(directory, level, scheme)
    try:
        yield ahead
    finally:
        ahead.stop()
