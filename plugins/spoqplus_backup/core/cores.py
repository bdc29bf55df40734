"""How many cores this process may use."""

import os


def usable_cores() -> int:
    """The cores of the machine that the scheduler lets this process run on."""
    return len(os.sched_getaffinity(0))
