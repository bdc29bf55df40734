"""Progress of long work in the log: bytes, rate, time left."""

import logging
import threading
import time

log = logging.getLogger(__name__)

EVERY_SECONDS = 10.0


def human_bytes(count: float) -> str:
    """1536 -> '1.5 KiB'."""
    for unit in ("B", "KiB", "MiB", "GiB"):
        if abs(count) < 1024:
            return f"{count:.0f} {unit}" if unit == "B" else f"{count:.1f} {unit}"
        count /= 1024
    return f"{count:.1f} TiB"


def human_seconds(seconds: float) -> str:
    """3725 -> '1 h 2 min'."""
    if seconds < 60:
        return f"{seconds:.1f} s"
    minutes, rest = divmod(round(seconds), 60)
    if minutes < 60:
        return f"{minutes} min {rest} s"
    return f"{minutes // 60} h {minutes % 60} min"


class Progress:
    """Counts bytes from any thread and logs at most every ten seconds.

    Args:
        label: what is being done, for the log.
        total: bytes expected; None when nobody knows. An estimate may be passed by.
    """

    def __init__(self, label: str, total: int | None = None) -> None:
        self.label = label
        self.total = total
        self.done = 0
        self._lock = threading.Lock()
        self._start = self._last = time.monotonic()

    def add(self, count: int) -> None:
        """Note `count` more bytes."""
        with self._lock:
            self.done += count
            now = time.monotonic()
            if now - self._last >= EVERY_SECONDS:
                self._last = now
                self._report(now)

    @property
    def seconds(self) -> float:
        """Seconds since the start."""
        return time.monotonic() - self._start

    def _report(self, now: float) -> None:
        rate = self.done / max(now - self._start, 1e-9)
        left = ""
        if self.total and self.total > self.done:
            left = f", about {human_seconds((self.total - self.done) / max(rate, 1))} left of {human_bytes(self.total)}"
        log.info("%s: %s at %s/s%s", self.label, human_bytes(self.done), human_bytes(rate), left)

    def finish(self) -> float:
        """Log the total and return the seconds it took."""
        seconds = self.seconds
        rate = self.done / max(seconds, 1e-9)
        log.info("%s: %s in %s, %s/s", self.label, human_bytes(self.done), human_seconds(seconds), human_bytes(rate))
        return seconds
