"""Work that a user without any rights does, as a worker that is not root."""

import os
from collections.abc import Callable
from pathlib import Path

NOBODY = 65534


def give_to_nobody(top: Path) -> None:
    """Everything below a folder, and the folder."""
    for path in (top, *top.rglob("*")):
        os.chown(path, NOBODY, NOBODY, follow_symlinks=False)


def as_nobody(work: Callable[[], str]) -> str:
    """Do it in a process of that user; returns what it returns, or what it raised."""
    reading, writing = os.pipe()
    child = os.fork()
    if not child:
        try:
            os.setgroups([])
            os.setresgid(NOBODY, NOBODY, NOBODY)
            os.setresuid(NOBODY, NOBODY, NOBODY)
            said = work()
        except BaseException as error:  # noqa: BLE001 (whatever it is, the parent says it)
            said = f"{type(error).__name__}: {error}"
        os.write(writing, said.encode())
        os._exit(0)
    os.close(writing)
    with os.fdopen(reading, "rb") as answer:
        said = answer.read().decode()
    os.waitpid(child, 0)
    return said
