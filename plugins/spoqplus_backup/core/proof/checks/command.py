"""A program that says by its exit status whether all is well."""

import contextlib
import os
import tempfile
import time
from collections.abc import Iterator, Sequence
from pathlib import Path

from spoqplus_backup.core.mysql import client
from spoqplus_backup.core.notice import Notice, notice
from spoqplus_backup.core.process import STDERR_TAIL_BYTES, TERMINATE_SECONDS, Child, find_program
from spoqplus_backup.core.proof.definitions import CommandCheck
from spoqplus_backup.core.proof.scene import CheckFailed, Scene

LAST_LINES = 5
LINE_CHARACTERS = 300
_TIMED_OUT = (124, 137)  # of coreutils' timeout: ended, and killed
_NOT_FOUND = (126, 127)


def check(scene: Scene, definition: CommandCheck) -> Sequence[Notice]:
    """Run it; what it started and left behind is ended with it.

    Raises:
        CheckFailed: its exit status is not 0, or it took too long; with the last lines that it said.
    """
    name = definition.command[0]
    if not definition.cwd.is_dir():
        raise CheckFailed(notice("check.command.no_folder", "The folder {folder} is not there.", folder=definition.cwd))
    started = time.monotonic()
    with _surroundings(scene) as environment:
        code, said = _run(definition, environment)
    seconds = time.monotonic() - started
    lines = [notice("check.command.said", "It said: {line}", line=line.strip()[:LINE_CHARACTERS]) for line in said]
    if code in _TIMED_OUT and seconds >= definition.timeout_seconds:
        fault = notice(
            "check.command.timed_out",
            "{command} was ended after {seconds} s.",
            command=name,
            seconds=f"{definition.timeout_seconds:g}",
        )
    elif code in _NOT_FOUND:
        fault = notice(
            "check.command.not_run", "{command} can't be run in {folder}.", command=name, folder=definition.cwd
        )
    elif code:
        fault = notice("check.command.failed", "{command} ended with exit status {status}.", command=name, status=code)
    else:
        return [
            notice(
                "check.command.passed", "{command} ended well in {seconds} s.", command=name, seconds=f"{seconds:.1f}"
            )
        ]
    raise CheckFailed(fault, *lines)


@contextlib.contextmanager
def _surroundings(scene: Scene) -> Iterator[dict[str, str]]:
    """What the program finds the sandbox by; the option file is gone afterwards."""
    with tempfile.TemporaryDirectory(prefix="command-", dir=scene.directory) as folder:  # of mode 700
        path = Path(folder, "sandbox.cnf")
        descriptor = os.open(path, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600)
        with os.fdopen(descriptor, "wb") as file:
            file.write(client.option_file(scene.login, scene.plan.flavour))
        found = {"SPOQPLUS_SANDBOX_DEFAULTS": str(path)}
        if scene.login.socket:
            found["SPOQPLUS_SANDBOX_SOCKET"] = scene.login.socket
        if scene.files_root is not None:
            found["SPOQPLUS_FILES_ROOT"] = str(scene.files_root)
        yield found


def _run(definition: CommandCheck, environment: dict[str, str]) -> tuple[int, list[str]]:
    """Exit status, negative for a signal, and the last lines of either stream; `timeout` ends its children, too."""
    limit = [f"--kill-after={TERMINATE_SECONDS:g}", f"{definition.timeout_seconds:g}"]
    argv = [find_program("timeout", "coreutils"), *limit, *definition.command]
    deadline = time.monotonic() + definition.timeout_seconds + 2 * TERMINATE_SECONDS
    tail, buffer = b"", memoryview(bytearray(1 << 16))
    with Child(argv, env=environment, cwd=definition.cwd, name=definition.command[0]) as child:
        # something that has left its process group may hold the pipe for longer
        while child.wait_for_output(max(0.0, deadline - time.monotonic())):
            count = child.readinto(buffer)
            if not count:
                break
            tail = (tail + bytes(buffer[:count]))[-STDERR_TAIL_BYTES:]
        child.terminate()
        code = child.finish(allowed=range(-64, 256))
        streams = (tail.decode("utf-8", "replace"), child.stderr)
        return code, [line for text in streams for line in text.strip().splitlines()[-LAST_LINES:]]
