"""Runs a program that must be asked to end only once, and be given time then: Terraform. A process of its own:

    python graceful.py SECONDS PROGRAM ARGUMENT...

A second interrupt makes Terraform leave at once, with its state unsaved and locked; and Airflow kills a cancelled task
some seconds after it was told. So this stands between them, in a session of its own: the first TERM or INT (also that
of a parent's death) becomes one INT for the program, more of them nothing, and KILL comes after so many seconds. What
the program prints is passed on as long as somebody reads it, and read to the end all the same.
"""

import contextlib
import ctypes
import os
import signal
import subprocess
import sys
import threading

BLOCK_BYTES = 1 << 16
_SET_DEATH_SIGNAL = 1  # PR_SET_PDEATHSIG


def main() -> int:
    """Run; returns the program's exit status, 128 and the number for a signal."""
    seconds, argv = float(sys.argv[1]), sys.argv[2:]
    with contextlib.suppress(OSError):  # it leads one already
        os.setsid()
    process = subprocess.Popen(  # noqa: S603 (a list of arguments, no shell; the runner of programs started this)
        argv, stdout=subprocess.PIPE, stderr=subprocess.PIPE, close_fds=False, preexec_fn=_die_with_parent
    )
    asked = threading.Event()

    def ask(_number: int, _frame: object) -> None:
        if not asked.is_set():
            asked.set()
            process.send_signal(signal.SIGINT)
            timer = threading.Timer(seconds, process.kill)
            timer.daemon = True
            timer.start()

    for number in (signal.SIGTERM, signal.SIGINT):
        signal.signal(number, ask)
    assert process.stdout is not None  # noqa: S101 (asked for above)
    assert process.stderr is not None  # noqa: S101 (asked for above)
    errors = threading.Thread(target=_pass_on, args=(process.stderr.fileno(), 2))
    errors.start()
    _pass_on(process.stdout.fileno(), 1)
    errors.join()
    code = process.wait()
    return code if code >= 0 else 128 - code


def _die_with_parent() -> None:
    ctypes.CDLL(None).prctl(_SET_DEATH_SIGNAL, signal.SIGKILL)


def _pass_on(source: int, target: int) -> None:
    heard = True
    while block := os.read(source, BLOCK_BYTES):
        while heard and block:
            try:
                block = block[os.write(target, block) :]
            except OSError:  # nobody reads any more
                heard = False


if __name__ == "__main__":
    sys.exit(main())
