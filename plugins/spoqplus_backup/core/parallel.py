"""The same work on many items, some at a time."""

from collections.abc import Callable, Sequence
from concurrent.futures import ThreadPoolExecutor, as_completed
from typing import TypeVar

T = TypeVar("T")
Item = TypeVar("Item")


def in_parallel(work: Callable[[Item], T], items: Sequence[Item], threads: int) -> list[T]:
    """Do `work` on each item on some threads; the first failure stops what has not begun and is raised."""
    with ThreadPoolExecutor(max_workers=max(1, threads)) as pool:
        futures = [pool.submit(work, item) for item in items]
        try:
            for future in as_completed(futures):
                future.result()
        except BaseException:
            pool.shutdown(wait=True, cancel_futures=True)
            raise
        return [future.result() for future in futures]
