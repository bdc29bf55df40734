"""Where the bars of the page's charts go, in the units of their drawings."""

from collections.abc import Sequence
from dataclasses import dataclass

WIDTH, HEIGHT = 320, 132
LEFT, TOP, BASE = 2, 22, 112
EDGE = 40
WIDEST_STEP, WIDEST_BAR = 40.0, 22.0
BAR_SHARE = 0.74
NEAR = 3  # a limit that is more than so many times the highest bar would flatten them: it is told in words
TRACK = 100.0


@dataclass(frozen=True)
class Bar:
    """A bar of a chart; `height` is None where there is nothing to show."""

    x: float
    y: float
    width: float
    height: float | None
    passed: bool
    current: bool
    title: str

    @property
    def middle(self) -> float:
        """Where its mark goes."""
        return round(self.x + self.width / 2, 2)


@dataclass(frozen=True)
class Bars:
    """A chart of bars over a base line; `limit_y` is None where the limit is not in the picture."""

    bars: tuple[Bar, ...]
    limit_y: float | None

    @property
    def highest(self) -> Bar:
        """The bar whose value is written above it."""
        return max(self.bars, key=lambda bar: bar.height or 0)

    @property
    def anchor(self) -> str:
        """How that value is aligned, so that it stays in the picture."""
        middle = self.highest.middle
        return "start" if middle < EDGE else "end" if middle > WIDTH - EDGE else "middle"


@dataclass(frozen=True)
class Point:
    """A value of a test, None when it was not measured, and what to say of it."""

    value: float | None
    passed: bool
    current: bool
    title: str


def bars(points: Sequence[Point], limit: float | None = None) -> Bars:
    """A bar for each point, from the left; the axis begins at zero."""
    most = max((point.value for point in points if point.value is not None), default=0)
    shown = limit if limit is not None and limit <= NEAR * most else None
    top = max(most, shown or 0) or 1
    step = min(WIDEST_STEP, (WIDTH - 2 * LEFT) / len(points))
    width = min(WIDEST_BAR, step * BAR_SHARE)

    def height(value: float) -> float:
        return round(value / top * (BASE - TOP), 2)

    drawn = []
    for position, point in enumerate(points):
        tall = None if point.value is None else max(1.0, height(point.value))
        drawn.append(
            Bar(
                x=round(LEFT + position * step + (step - width) / 2, 2),
                y=round(BASE - (tall or 0), 2),
                width=round(width, 2),
                height=tall,
                passed=point.passed,
                current=point.current,
                title=point.title,
            )
        )
    return Bars(tuple(drawn), None if shown is None else round(BASE - height(shown), 2))


@dataclass(frozen=True)
class Track:
    """A bar along a line that is `TRACK` long: its pieces one after the other, and where the limit is on it."""

    pieces: tuple[tuple[float, float], ...]
    limit_x: float


def track(values: Sequence[float], limit: float) -> Track:
    """Pieces of these sizes; the line ends at the limit, or where they end beyond it."""
    whole = max(sum(values), limit) or 1
    pieces, x = [], 0.0
    for value in values:
        length = value / whole * TRACK
        pieces.append((round(x, 3), round(length, 3)))
        x += length
    return Track(tuple(pieces), round(limit / whole * TRACK, 3))
