"""Statuses moved onto the local clock.

Mirrors util/progress/progresswriter/reset.go, v0.32.2.
"""

from __future__ import annotations

import time

from pybuildkit.client._graph import SolveStatus
from pybuildkit.util.progress.progresswriter._channel import MappedChan
from pybuildkit.util.progress.progresswriter._writer import Derived, Writer


class TimeShift:
    """Moves all times so that the first step to start seems to have started at `base`.

    Args:
        base: nanoseconds since the epoch.
    """

    def __init__(self, base: int) -> None:
        self._base = base
        self._diff: int | None = None

    def apply(self, status: SolveStatus) -> SolveStatus:
        """The status with its times moved, itself where no step has started yet; the given one is not changed."""
        if self._diff is None:
            for vertex in status.vertexes:
                if vertex.started is not None:
                    self._diff = vertex.started - self._base
        return status if self._diff is None else status.shifted(self._diff)


def reset_time(writer: Writer) -> Writer:
    """A writer that moves times onto the local clock, where now is when the first step starts."""
    shift = TimeShift(time.time_ns())
    return Derived(writer, MappedChan(writer.status(), shift.apply))
