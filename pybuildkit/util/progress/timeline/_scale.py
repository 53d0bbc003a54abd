"""From times to places on a chart, and how times are written. Not in BuildKit."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass

_SECOND = 1_000_000_000
_MINUTE = 60 * _SECOND
_HOUR = 60 * _MINUTE
_MAX_TICKS = 10

TICK_STEPS = [
    *(m * 10**e for e in range(3, 10) for m in (1, 2, 5)),
    *(seconds * _SECOND for seconds in (10, 20, 30)),
    *(minutes * _MINUTE for minutes in (1, 2, 5, 10, 20, 30)),
    *(hours * _HOUR for hours in (1, 2, 5, 10, 20, 50, 100, 200, 500, 1000)),
]
"""The distances that marks may have, in nanoseconds."""


@dataclass(frozen=True, slots=True)
class Scale:
    """A chart from `start` to `end`, nanoseconds since the epoch, the end being later."""

    start: int
    end: int

    @property
    def length(self) -> int:
        """Nanoseconds from one end to the other."""
        return self.end - self.start

    def percent(self, moment: int) -> float:
        """Where a time lies, 0 to 100."""
        return min(max((moment - self.start) / self.length * 100, 0.0), 100.0)

    def ticks(self) -> Iterator[tuple[float, str]]:
        """Places and texts of at most eleven marks."""
        step = next((step for step in TICK_STEPS if self.length / step <= _MAX_TICKS), self.length)
        for count in range(self.length // step + 1):
            yield self.percent(self.start + count * step), duration_text(count * step)


def duration_text(nanos: int) -> str:
    """A span of time for people: `850µs`, `12ms`, `1.25s`, `3m05s`."""
    if nanos < 1_000_000 and nanos > 0:
        return f"{nanos // 1000}µs"
    if nanos < _SECOND:
        return f"{nanos // 1_000_000}ms" if nanos else "0s"
    if nanos < 60 * _SECOND:
        return f"{nanos / _SECOND:.2f}".rstrip("0").rstrip(".") + "s"
    seconds = nanos // _SECOND
    if seconds < 3600:
        return f"{seconds // 60}m{seconds % 60:02}s"
    return f"{seconds // 3600}h{seconds % 3600 // 60:02}m{seconds % 60:02}s"
