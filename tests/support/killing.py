"""Work that is killed before its n-th change of a file system."""

import os
import signal
from collections.abc import Callable

CHANGES = ("rename", "mkdir", "unlink", "rmdir")  # also behind shutil's and pathlib's functions


def killed_at(moment: int, work: Callable[[], object], changes: tuple[str, ...] = CHANGES) -> bool:
    """Do it in a process that is killed before its n-th change; False when it came to its end before."""
    child = os.fork()
    if child:
        _, status = os.waitpid(child, 0)
        assert os.WIFSIGNALED(status) or status == 0, "the work failed"
        return os.WIFSIGNALED(status)
    count = 0

    def dying(real: Callable[..., object]) -> Callable[..., object]:
        def change(*arguments: object, **options: object) -> object:
            nonlocal count
            count += 1
            if count == moment:
                os.kill(os.getpid(), signal.SIGKILL)
            return real(*arguments, **options)

        return change

    for name in changes:
        setattr(os, name, dying(getattr(os, name)))
    status = 1
    try:
        work()
        status = 0
    finally:
        os._exit(status)
