"""Work of the client's own, shown as a step with parts and output.

Mirrors util/progress/progresswriter/progress.go, v0.32.2.
"""

from __future__ import annotations

import time
from collections.abc import Awaitable, Callable
from typing import TypeVar

from pybuildkit.client._graph import SolveStatus, Vertex, VertexLog, VertexStatus
from pybuildkit.golang.errors import error_text
from pybuildkit.util.progress.progresswriter._writer import new_digest

T = TypeVar("T")

Logger = Callable[[SolveStatus], None]
"""Takes a status; see `progresswriter.logger`."""


class SubLogger:
    """The inside of a step."""

    def __init__(self, digest: str, logger: Logger) -> None:
        self._digest = digest
        self._logger = logger

    async def wrap(self, name: str, func: Callable[[], Awaitable[T]]) -> T:
        """Run a part of the step, and show when it starts and ends; its error is raised."""
        started = time.time_ns()
        self._send(name, started, None)
        try:
            return await func()
        finally:
            self._send(name, started, time.time_ns())

    def log(self, stream: int, data: bytes) -> None:
        """Show output; the stream is 1 or 2."""
        self._logger(SolveStatus(logs=[VertexLog(self._digest, stream, data, time.time_ns())]))

    def _send(self, name: str, started: int, completed: int | None) -> None:
        status = VertexStatus(
            id=name, vertex=self._digest, timestamp=time.time_ns(), started=started, completed=completed
        )
        self._logger(SolveStatus(statuses=[status]))


async def wrap(name: str, logger: Logger | None, func: Callable[[SubLogger], Awaitable[None]]) -> None:
    """Run something as a step of its own; its error becomes the step's and is raised.

    Without a logger nothing is run.
    """
    if logger is None:
        return
    digest = new_digest()
    started = time.time_ns()
    logger(SolveStatus(vertexes=[Vertex(digest, name=name, started=started)]))
    error = ""
    try:
        await func(SubLogger(digest, logger))
    except BaseException as err:
        error = error_text(err)
        raise
    finally:
        ended = Vertex(digest, name=name, started=started, completed=time.time_ns(), error=error)
        logger(SolveStatus(vertexes=[ended]))
