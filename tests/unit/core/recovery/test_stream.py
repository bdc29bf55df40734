"""Which parts hold which bytes of the raw stream."""

from datetime import datetime, timezone

import pytest

from spoqplus_backup.core.manifest import Component, Part
from spoqplus_backup.core.recovery.files.stream import Run, merged, parts_of


def component(*sizes: int) -> Component:
    now = datetime.now(timezone.utc)
    parts = [
        Part(name=f"{number:06d}.tar", raw_bytes=size, raw_sha256="0" * 64, stored_bytes=1, sha256="0" * 64)
        for number, size in enumerate(sizes, 1)
    ]
    return Component(
        name="uploads", kind="files", content="tar", index=parts[0], parts=tuple(parts), started_at=now, finished_at=now
    )


@pytest.mark.parametrize(
    ("runs", "numbers"),
    [
        ([], []),
        ([Run(0, 10)], [1]),
        ([Run(0, 11)], [1, 2]),
        ([Run(9, 1)], [1]),
        ([Run(10, 1)], [2]),
        ([Run(29, 1)], [3]),
        ([Run(0, 30)], [1, 2, 3]),
        ([Run(0, 1), Run(2, 1), Run(25, 2)], [1, 3]),
        ([Run(5, 10), Run(16, 2)], [1, 2]),
    ],
)
def test_parts_of(runs: list[Run], numbers: list[int]) -> None:
    assert [int(part.name[:6]) for part in parts_of(component(10, 10, 10), runs)] == numbers


def test_runs_that_touch_are_one() -> None:
    assert list(merged([Run(0, 5), Run(5, 5), Run(11, 1), Run(11, 3)])) == [Run(0, 10), Run(11, 3)]
    assert list(merged([])) == []
