"""A virtual clock and a driver that gives a display its statuses and ticks at exact times."""

from __future__ import annotations

from pybuildkit.client._graph import SolveStatus
from pybuildkit.util.progress.progressui import Display

EPOCH = 946_684_800 * 1_000_000_000
"""Where the virtual clock starts, 2000-01-01T00:00:00Z."""


class VirtualClock:
    """A clock that moves when it is told to."""

    def __init__(self) -> None:
        self.elapsed = 0

    def __call__(self) -> int:
        return EPOCH + self.elapsed


class Tape:
    """An output that nobody writes to directly: the driver takes the bytes from the sink."""

    def write(self, data: bytes, /) -> object:
        raise AssertionError("the driver takes the bytes")


def to_nanos(milliseconds: float) -> int:
    """Milliseconds of an event as nanoseconds, cut as the recording program cut them."""
    return int(milliseconds * 1_000_000)


def to_micros(milliseconds: float) -> int:
    """Milliseconds of a result as microseconds, the precision they were recorded with."""
    return round(milliseconds * 1_000)


def in_micros(chunks: list[tuple[int, bytes]]) -> list[tuple[int, bytes]]:
    """What `play` gave, with microseconds in place of nanoseconds."""
    return [(at // 1_000, data) for at, data in chunks]


def play(
    display: Display, clock: VirtualClock, events: list[tuple[int, SolveStatus]], end: int
) -> list[tuple[int, bytes]]:
    """What a display writes at each instant, in nanoseconds from the start.

    Args:
        events: the statuses by time; a tick that falls on the same instant comes first.
        end: when the stream is closed.
    """
    chunks: list[tuple[int, bytes]] = []

    def collect() -> None:
        data = display.sink.take()
        if data and chunks and chunks[-1][0] == clock.elapsed:
            chunks[-1] = (clock.elapsed, chunks[-1][1] + data)
        elif data:
            chunks.append((clock.elapsed, data))

    def advance(until: int, last: int) -> None:
        while last + display.tick_interval <= until:
            last += display.tick_interval
            clock.elapsed = last
            display.tick()
            collect()
        clock.elapsed = until

    display.start()
    last = 0
    for at, status in events:
        advance(at, last)
        display.update(status)
        collect()
        last = at
    advance(end, last)
    display.finish()
    collect()
    return chunks
