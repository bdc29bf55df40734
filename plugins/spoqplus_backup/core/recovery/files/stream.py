"""The raw tar stream of an archive, from its fetched parts: decrypted and decompressed on the way."""

from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path

from spoqplus_backup.core.crypto import Scheme
from spoqplus_backup.core.errors import IntegrityError
from spoqplus_backup.core.manifest import Component, Part
from spoqplus_backup.core.process import check_cancelled
from spoqplus_backup.core.sealed import unsealed

BLOCK_BYTES = 1 << 20


@dataclass(frozen=True)
class Run:
    """Bytes of the raw stream that are wanted: `length` of them from `start`."""

    start: int
    length: int

    @property
    def end(self) -> int:
        """Behind the last one."""
        return self.start + self.length


def part_starts(component: Component) -> list[int]:
    """Where each part begins in the raw stream, and, at the end, how long that is."""
    starts = [0]
    for part in component.parts:
        starts.append(starts[-1] + part.raw_bytes)
    return starts


def merged(runs: Iterable[Run], gap: int = 0) -> Iterator[Run]:
    """Runs in ascending order as fewer, longer ones, where at most `gap` bytes lie between them."""
    last: Run | None = None
    for run in runs:
        if last is not None and run.start <= last.end + gap:
            last = Run(last.start, max(last.end, run.end) - last.start)
            continue
        if last is not None:
            yield last
        last = run
    if last is not None:
        yield last


def parts_of(component: Component, runs: Iterable[Run]) -> list[Part]:
    """The parts that hold any byte of the runs, in order."""
    starts = part_starts(component)
    found: list[Part] = []
    number = 0
    for run in runs:
        while number < len(component.parts) and starts[number] < run.end:
            if starts[number + 1] <= run.start:
                number += 1
                continue
            if not found or found[-1] is not component.parts[number]:
                found.append(component.parts[number])
            if starts[number + 1] > run.end:
                break
            number += 1
    return found


class RawStream:
    """Reads runs of the raw stream.

    Args:
        component: whose archive it is.
        directory: where its fetched parts lie.
        scheme: opens them.
    """

    def __init__(self, component: Component, directory: Path, scheme: Scheme) -> None:
        self._parts = component.parts
        self._starts = part_starts(component)
        self._directory = directory
        self._scheme = scheme

    @property
    def length(self) -> int:
        """Bytes of the whole stream."""
        return self._starts[-1]

    def read(self, runs: Sequence[Run] | None = None) -> Iterator[bytes]:
        """The bytes of runs in ascending order, one after the other; of everything when None.

        Raises:
            IntegrityError: a part is damaged, or not as long as the manifest says.
            WrongKeyError: the key at hand does not open it.
        """
        waiting = iter([Run(0, self.length)] if runs is None else runs)
        run = next(waiting, None)
        for number, part in enumerate(self._parts):
            start, end = self._starts[number], self._starts[number + 1]
            if run is None:
                return
            if run.start >= end:
                continue
            position = start
            for block in self._blocks(part):
                check_cancelled()
                behind = position + len(block)
                while run is not None and run.start < behind:
                    first, last = max(run.start, position), min(run.end, behind)
                    yield block[first - position : last - position]
                    if run.end > behind:
                        break
                    run = next(waiting, None)
                position = behind
                if run is None or run.start >= end:
                    break
            else:
                if position != end:
                    raise IntegrityError(
                        f"{self._directory / part.name} holds {position - start} bytes, not {part.raw_bytes}: take it "
                        "from another repository or restore another set."
                    )

    def _blocks(self, part: Part) -> Iterator[bytes]:
        left = part.raw_bytes + 1  # one more shows that it is too long
        with unsealed(self._directory / part.name, self._scheme) as reader:
            while block := reader.read(min(BLOCK_BYTES, left)):
                left -= len(block)
                yield block
