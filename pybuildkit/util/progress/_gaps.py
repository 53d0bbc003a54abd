"""Where one build ends and the next one begins in a trace that several builds were appended to.

Not in BuildKit. Nothing in a trace says so; but a build does not pause: after a minute in which nothing ran, what
starts belongs to another one. Where steps never ended, as in a build that was killed, it takes half an hour.
"""

from __future__ import annotations

from pybuildkit.client._graph import SolveStatus

_SECOND = 1_000_000_000
PAUSE = 60 * _SECOND
PAUSE_WHILE_RUNNING = 30 * PAUSE


class Gaps:
    """Finds the pauses between builds."""

    def __init__(self) -> None:
        self._running: set[str] = set()
        self._newest: int | None = None

    def before(self, status: SolveStatus) -> int:
        """The nanoseconds between the build before and the one that the status begins; 0 where it begins none."""
        first = min((vertex.started for vertex in status.vertexes if vertex.started is not None), default=None)
        pause = 0 if first is None or self._newest is None else first - self._newest
        if pause <= (PAUSE_WHILE_RUNNING if self._running else PAUSE):
            pause = 0
        else:
            self._running.clear()
        self._see(status)
        return pause

    def _see(self, status: SolveStatus) -> None:
        times = [item.timestamp for item in status.statuses]
        times += (log.timestamp for log in status.logs)
        for vertex in status.vertexes:
            if vertex.started is None:
                continue
            times.append(vertex.started)
            if vertex.completed is None:
                self._running.add(vertex.digest)
            else:
                self._running.discard(vertex.digest)
                times.append(vertex.completed)
        if times:
            newest = max(times)
            self._newest = newest if self._newest is None else max(self._newest, newest)
