"""What a program and everything it starts costs: time, processor, memory, disk."""

import os
import subprocess
import threading
import time
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

SAMPLE_SECONDS = 0.2  # a look takes some milliseconds of a core, which the client lacks then
LOG_TAIL_BYTES = 4000

_TICKS = os.sysconf("SC_CLK_TCK")
_PAGE = os.sysconf("SC_PAGE_SIZE")


class BenchError(Exception):
    """Something did not run or gave a wrong result: there is no number to print."""


@dataclass(frozen=True)
class Usage:
    """What one run cost. The client is the program with all that it starts; the servers are counted apart.

    `memory_bytes` is the most that all processes of the client had resident at one time, `largest_process_bytes` the
    most that a single one had. `staging_bytes` is the most that lay in the staging folder, as the disk counts it.
    `other_cpu_seconds` is what the rest of the machine did meanwhile: more than a few percent, and the time is no good.
    """

    seconds: float
    cpu_seconds: float
    database_cpu_seconds: float
    store_cpu_seconds: float
    other_cpu_seconds: float
    memory_bytes: int
    largest_process_bytes: int
    staging_bytes: int


def measure(
    argv: Sequence[str], *, env: Mapping[str, str], log: Path, staging: Path, database_pid: int | None, store_pid: int
) -> Usage:
    """Run a program to its end.

    Args:
        argv: the program; it leads a session of its own, by which its descendants are known.
        env: all of its environment.
        log: gets what it prints.
        staging: whose size is watched.
        database_pid: the database server's process, whose processor time is read; None when none has a part in it.
        store_pid: the object store's.

    Raises:
        BenchError: it failed; with the end of what it printed.
    """
    before = cpu_seconds(database_pid), cpu_seconds(store_pid), _machine_cpu_seconds()
    with log.open("wb") as output:
        started = time.monotonic()
        process = subprocess.Popen(
            argv, env=dict(env), stdin=subprocess.DEVNULL, stdout=output, stderr=output, start_new_session=True
        )
        sampler = _Sampler(process.pid, staging)
        sampler.start()
        _, status, usage = os.wait4(process.pid, 0)
        seconds = time.monotonic() - started
        process.returncode = os.waitstatus_to_exitcode(status)
        sampler.stop()
    if process.returncode:
        tail = log.read_bytes()[-LOG_TAIL_BYTES:].decode("utf-8", "replace")
        raise BenchError(f"{' '.join(argv)} ended with status {process.returncode}. The end of {log}:\n{tail}")
    client = usage.ru_utime + usage.ru_stime
    database, store = cpu_seconds(database_pid) - before[0], cpu_seconds(store_pid) - before[1]
    return Usage(
        seconds=seconds,
        cpu_seconds=client,
        database_cpu_seconds=database,
        store_cpu_seconds=store,
        other_cpu_seconds=max(_machine_cpu_seconds() - before[2] - client - database - store, 0.0),
        memory_bytes=sampler.memory_bytes,
        largest_process_bytes=sampler.largest_process_bytes,
        staging_bytes=sampler.staging_bytes,
    )


def cpu_seconds(pid: int | None) -> float:
    """The processor time that a process has used so far, in user and kernel mode; none of no process."""
    if pid is None:
        return 0.0
    fields = _stat(pid)
    return (int(fields[11]) + int(fields[12])) / _TICKS


def _machine_cpu_seconds() -> float:
    """The processor time of everything on this machine, without what it waited or was idle."""
    user, nice, system, _, _, irq, softirq = map(int, Path("/proc/stat").read_text().split(maxsplit=8)[1:8])
    return (user + nice + system + irq + softirq) / _TICKS


def disk_bytes(path: Path) -> int:
    """What a folder takes on disk; files may come and go meanwhile."""
    return sum(_file_bytes(path))


def _file_bytes(path: Path) -> Iterator[int]:
    try:
        with os.scandir(path) as entries:
            for entry in entries:
                if entry.is_dir(follow_symlinks=False):
                    yield from _file_bytes(Path(entry.path))
                else:
                    yield entry.stat(follow_symlinks=False).st_blocks * 512
    except FileNotFoundError:
        return


def _stat(pid: int) -> list[str]:
    """The fields of /proc/PID/stat behind the name, beginning with the state (field 3 in proc(5))."""
    return Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()


class _Sampler(threading.Thread):
    """Looks at a session's processes and at a folder, again and again."""

    def __init__(self, session: int, staging: Path) -> None:
        super().__init__(daemon=True)
        self.memory_bytes = self.largest_process_bytes = self.staging_bytes = 0
        self._session = session
        self._staging = staging
        self._ended = threading.Event()

    def run(self) -> None:
        while True:  # one look at least, also at what ends at once
            resident = list(self._resident())
            self.memory_bytes = max(self.memory_bytes, sum(resident))
            self.largest_process_bytes = max(self.largest_process_bytes, *resident, 0)
            self.staging_bytes = max(self.staging_bytes, disk_bytes(self._staging))
            if self._ended.wait(SAMPLE_SECONDS):
                return

    def stop(self) -> None:
        """End the sampling."""
        self._ended.set()
        self.join()

    def _resident(self) -> Iterator[int]:
        for name in os.listdir("/proc"):  # noqa: PTH208 (names are all that is wanted, many times a second)
            if name.isdigit():
                try:
                    fields = _stat(int(name))
                except (FileNotFoundError, ProcessLookupError):  # it has ended
                    continue
                if int(fields[3]) == self._session:
                    yield int(fields[21]) * _PAGE
