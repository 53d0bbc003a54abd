"""Spans of time in which a step ran, and how they are added up.

Mirrors the interval type and mergeIntervals of util/progress/progressui/display.go, v0.32.2. Times are nanoseconds.
"""

from __future__ import annotations

from collections.abc import Iterable
from typing import NamedTuple

_MAX_DURATION = (1 << 63) - 1


class Interval(NamedTuple):
    """From `start` to `stop`; a stop of None means that it goes on, a start of None that it has not begun."""

    start: int | None
    stop: int | None

    def duration(self, now: int) -> int:
        """How long it is, or has been until now."""
        if self.start is None:
            return 0
        return subtract(now if self.stop is None else self.stop, self.start)


def subtract(later: int, earlier: int) -> int:
    """The time between, held within what 64 bits of nanoseconds can say, as Go's Time.Sub does."""
    return min(max(later - earlier, -_MAX_DURATION - 1), _MAX_DURATION)


def seconds(nanos: int) -> float:
    """Go's Duration.Seconds: whole seconds and the rest are converted apart and added."""
    whole, rest = divmod(abs(nanos), 1_000_000_000)
    value = float(whole) + rest / 1e9
    return -value if nanos < 0 else value


def merge_intervals(intervals: Iterable[Interval]) -> list[Interval]:
    """The same time in as few spans as possible, by start; what has not begun is left out.

    A span that goes on swallows all that start after it.
    """
    begun = sorted((ival for ival in intervals if ival.start is not None), key=_start)
    merged: list[Interval] = []
    for following in begun:
        if not merged:
            merged.append(following)
            continue
        current = merged[-1]
        if current.stop is None:
            break
        if current.stop < _start(following):
            merged.append(following)
        elif following.stop is None or following.stop > current.stop:
            merged[-1] = Interval(current.start, following.stop)
    return merged


def _start(interval: Interval) -> int:
    return interval.start if interval.start is not None else 0
