"""From times to places on a chart, and how times are written."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass

_SECOND = 1_000_000_000
_STEPS = [m * 10**e for e in range(3, 17) for m in (1, 2, 5)]
_MAX_TICKS = 10


@dataclass(frozen=True, slots=True)
class Scale:
    """A chart from `start` to `end`, nanoseconds since the epoch, the end being later."""

    start: int
    end: int

    def percent(self, moment: int) -> float:
        """Where a time lies, 0 to 100."""
        return min(max((moment - self.start) / (self.end - self.start) * 100, 0.0), 100.0)

    def ticks(self) -> Iterator[tuple[float, str]]:
        """Places and texts of at most ten marks."""
        length = self.end - self.start
        step = next((step for step in _STEPS if length / step <= _MAX_TICKS), length)
        for count in range(length // step + 1):
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
