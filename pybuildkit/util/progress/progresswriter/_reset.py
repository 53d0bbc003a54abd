"""Statuses moved onto the local clock.

Mirrors util/progress/progresswriter/reset.go, v0.32.2.
"""

from __future__ import annotations

from dataclasses import replace

from pybuildkit.client._graph import SolveStatus


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
        diff = self._diff
        if diff is None:
            return status
        return SolveStatus(
            vertexes=[
                replace(vertex, started=_back(vertex.started, diff), completed=_back(vertex.completed, diff))
                for vertex in status.vertexes
            ],
            statuses=[
                replace(
                    item,
                    started=_back(item.started, diff),
                    completed=_back(item.completed, diff),
                    timestamp=item.timestamp - diff,
                )
                for item in status.statuses
            ],
            logs=[replace(log, timestamp=log.timestamp - diff) for log in status.logs],
            warnings=status.warnings,
        )


def _back(time: int | None, diff: int) -> int | None:
    return None if time is None else time - diff
