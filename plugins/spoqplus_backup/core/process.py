"""The one way to run a program: exit codes, stderr, stalls and cancellation are never lost.

Programs get secrets through file descriptors (`secret_fd`), never through arguments or the environment. Each child
is told to die with the thread that started it (`setpriv --pdeathsig`), so a killed worker leaves no mysqldump behind.
"""

import contextlib
import fcntl
import os
import select
import shutil
import signal
import subprocess
import threading
from collections.abc import Callable, Iterator, Mapping, Sequence
from pathlib import Path
from typing import IO

from spoqplus_backup.core.errors import BackupError, PermanentError

STDERR_TAIL_BYTES = 8192
PIPE_BYTES = 1 << 20  # the most that an unprivileged process may ask of the kernel
TERMINATE_SECONDS = 10.0
INHERITED = ("PATH", "HOME", "LANG", "TMPDIR", "LD_LIBRARY_PATH")  # a worker's environment may hold secrets


class ProcessError(BackupError):
    """A program ended with a non-zero exit status, by a signal, or stalled. Holds its own last words."""

    def __init__(self, program: str, reason: str, stderr: str) -> None:
        words = stderr.strip() or "it printed nothing on stderr"
        super().__init__(f"{program} {reason}: {words}")
        self.program = program
        self.reason = reason
        self.stderr = stderr


class Cancelled(BackupError):  # noqa: N818 (a state, not a fault)
    """The work was cancelled while a program ran."""


_running: set["Child"] = set()
_running_lock = threading.RLock()  # cancel_all may run in a signal handler, on top of its own thread
_cancelled = threading.Event()


def cancel_all() -> None:
    """End every program that this process runs and refuse new ones; for `on_kill`."""
    _cancelled.set()
    with _running_lock:
        children = list(_running)
    for child in children:
        child.signal_end()
    for child in children:
        child.terminate()


def reset_cancellation() -> None:
    """Forget an earlier `cancel_all`: a new task starts in this process."""
    _cancelled.clear()


def check_cancelled() -> None:
    """Raise `Cancelled` when `cancel_all` was called: for long loops that run no program."""
    if _cancelled.is_set():
        raise Cancelled("The task was cancelled; it goes on from the finished parts when it is retried.")


@contextlib.contextmanager
def secret_fd(content: bytes) -> Iterator[int]:
    """A file descriptor that holds a secret in memory only; name it to a program as `/dev/fd/N` and pass it on."""
    fd = os.memfd_create("spoqplus", os.MFD_CLOEXEC)
    try:
        os.fchmod(fd, 0o600)  # MySQL's programs ignore option files that everybody may write to
        os.write(fd, content)
        os.lseek(fd, 0, os.SEEK_SET)
        yield fd
    finally:
        os.close(fd)


def find_program(name: str, package: str) -> str:
    """The path of a program on PATH; says which Debian package has it when it is missing."""
    path = shutil.which(name)
    if path is None:
        raise PermanentError(f"The program {name} is not installed on this machine: apt-get install {package}.")
    return path


class Child:
    """A running program. `stdout` (and `stdin`, when asked for) are raw, unbuffered pipes.

    The child's environment holds only `INHERITED`, TZ=UTC and what `env` adds.
    """

    def __init__(
        self,
        argv: Sequence[str],
        *,
        stdin: int | IO[bytes] | None = subprocess.DEVNULL,
        stdout: int | IO[bytes] = subprocess.PIPE,
        pass_fds: Sequence[int] = (),
        env: Mapping[str, str] | None = None,
        cwd: Path | None = None,
        name: str | None = None,
        on_stderr: Callable[[bytes], None] | None = None,
        death_signal: str = "KILL",
        patience: float = TERMINATE_SECONDS,
    ) -> None:
        """`on_stderr` gets all that the program says there as it comes, in a thread of its own.

        `death_signal` is what it gets when the thread that started it dies; `patience` the seconds that it may take to
        end when it is asked to.
        """
        check_cancelled()
        self._on_stderr = on_stderr
        self._patience = patience
        self.name = name or os.path.basename(argv[0])  # noqa: PTH119 (a command name)
        prefix = [setpriv, "--pdeathsig", death_signal, "--"] if (setpriv := shutil.which("setpriv")) else []
        try:
            self._popen = subprocess.Popen(  # noqa: S603 (a list of arguments, no shell)
                [*prefix, *argv],
                stdin=stdin,
                stdout=stdout,
                stderr=subprocess.PIPE,
                pass_fds=tuple(pass_fds),
                env={name: os.environ[name] for name in INHERITED if name in os.environ}
                | {"TZ": "UTC"}
                | dict(env or {}),
                cwd=cwd,
                bufsize=0,
            )
        except FileNotFoundError as error:
            raise PermanentError(f"The program {argv[0]} is not installed on this machine.") from error
        self._tail = b""
        for pipe in (self._popen.stdout, self._popen.stdin):
            if pipe is not None:
                _enlarge(pipe.fileno())
        self._stderr_reader = threading.Thread(target=self._read_stderr, daemon=True)
        self._stderr_reader.start()
        with _running_lock:
            _running.add(self)
        if _cancelled.is_set():  # in the moment between the start and the line above
            self.terminate()

    @property
    def pid(self) -> int:
        """The process id."""
        return self._popen.pid

    @property
    def stdout(self) -> IO[bytes]:
        """The program's output, a raw pipe."""
        assert self._popen.stdout is not None  # noqa: S101 (a programming error)
        return self._popen.stdout

    @property
    def stdin(self) -> IO[bytes]:
        """The program's input, a raw pipe."""
        assert self._popen.stdin is not None  # noqa: S101 (a programming error)
        return self._popen.stdin

    def _read_stderr(self) -> None:
        assert self._popen.stderr is not None  # noqa: S101 (opened above)
        while chunk := self._popen.stderr.read(4096):
            self._tail = (self._tail + chunk)[-STDERR_TAIL_BYTES:]
            if self._on_stderr is not None:
                self._on_stderr(chunk)

    def readinto(self, buffer: memoryview, stall_seconds: float | None = None) -> int:
        """Read what is there, at least one byte; 0 at the end. Raises when nothing comes for `stall_seconds`."""
        fd = self.stdout.fileno()
        if stall_seconds is not None and not _readable(fd, stall_seconds):
            self.terminate()
            self.finish(reason=f"gave no byte for {stall_seconds:.0f} s and was ended")
        return os.readv(fd, [buffer])

    def wait_for_output(self, seconds: float) -> bool:
        """Wait until there is output to read, or its end; False when neither came in so many seconds."""
        return _readable(self.stdout.fileno(), seconds)

    def wait_for_end(self, seconds: float) -> bool:
        """Wait for the program's end; False when it did not come in so many seconds."""
        try:
            self._popen.wait(seconds)
        except subprocess.TimeoutExpired:
            return False
        return True

    def signal_end(self) -> None:
        """Ask the program to end, without waiting for it."""
        if self._popen.poll() is None:
            self._popen.terminate()

    def terminate(self) -> None:
        """End the program: TERM, then KILL when its time is over. Its exit status is still `finish`'s to judge."""
        if self._popen.poll() is not None:
            return
        self._popen.terminate()
        try:
            self._popen.wait(self._patience)
        except subprocess.TimeoutExpired:
            self._popen.kill()

    @property
    def stderr(self) -> str:
        """The last 8 KiB of what the program said on stderr; whole only after it has ended."""
        return self._tail.decode("utf-8", "replace")

    def finish(self, reason: str | None = None, allowed: Sequence[int] = (0,)) -> int:
        """Wait for the end and return the exit status; raise `ProcessError` for one that is not allowed (or `reason`),
        `Cancelled` when cancelled."""
        code = self._popen.wait()
        self._stderr_reader.join(TERMINATE_SECONDS)
        self.close()
        if _cancelled.is_set() and code not in allowed:
            raise Cancelled(f"The task was cancelled: {self.name} was ended.")
        if reason is None and code not in allowed:
            reason = (
                f"was killed by signal {signal.Signals(-code).name}" if code < 0 else f"failed with exit status {code}"
            )
        if reason is not None:
            raise ProcessError(self.name, reason, self.stderr)
        return code

    def close(self) -> None:
        """Close the pipes and forget the child; the program has to have ended, or ends by the broken pipe."""
        for pipe in (self._popen.stdin, self._popen.stdout, self._popen.stderr):
            if pipe is not None:
                with contextlib.suppress(BrokenPipeError):
                    pipe.close()
        with _running_lock:
            _running.discard(self)

    def __enter__(self) -> "Child":
        return self

    def __exit__(self, kind: object, error: object, trace: object) -> None:
        self.terminate()
        self._popen.wait()
        self._stderr_reader.join(TERMINATE_SECONDS)
        self.close()


def _readable(fd: int, seconds: float) -> bool:
    poll = select.poll()
    poll.register(fd, select.POLLIN)
    return bool(poll.poll(seconds * 1000))


def _enlarge(fd: int) -> None:
    with contextlib.suppress(OSError):  # a smaller pipe works, only slower
        fcntl.fcntl(fd, fcntl.F_SETPIPE_SZ, PIPE_BYTES)


def output_of(
    argv: Sequence[str],
    *,
    pass_fds: Sequence[int] = (),
    stdin: bytes | None = None,
    env: Mapping[str, str] | None = None,
    cwd: Path | None = None,
    stall_seconds: float | None = None,
    talks: bool = False,
) -> bytes:
    """Run a program to its end and return what it printed; for small outputs only.

    `talks`: it says on stdout what is wrong, so an error holds the end of that, too.

    Raises:
        ProcessError: a non-zero exit status, a signal, or silence for `stall_seconds`.
    """
    with contextlib.ExitStack() as stack:
        source = stack.enter_context(secret_fd(stdin)) if stdin is not None else subprocess.DEVNULL
        child = stack.enter_context(Child(argv, stdin=source, pass_fds=pass_fds, env=env, cwd=cwd))
        out = bytearray()
        buffer = memoryview(bytearray(1 << 16))
        while count := child.readinto(buffer, stall_seconds):
            out += buffer[:count]
        try:
            child.finish()
        except ProcessError as error:
            if not talks:
                raise
            said = out[-STDERR_TAIL_BYTES:].decode("utf-8", "replace")
            raise ProcessError(error.program, error.reason, f"{error.stderr}{said}") from error
        return bytes(out)
