"""One writer for several sources.

Mirrors util/progress/progresswriter/multiwriter.go, v0.32.2.
"""

from __future__ import annotations

from dataclasses import replace

from pybuildkit.client._graph import SolveStatus
from pybuildkit.util.progress.progresswriter._channel import MappedChan
from pybuildkit.util.progress.progresswriter._writer import Derived, Writer


class MultiWriter:
    """Hands out writers, and closes the one behind them when all of these are closed.

    Args:
        writer: where everything goes.
    """

    def __init__(self, writer: Writer) -> None:
        self._writer = writer
        self._open = 0

    def with_prefix(self, prefix: str, force: bool) -> Writer:
        """A writer for one source.

        Args:
            prefix: what to put in front of the names of steps.
            force: whether to do so.
        """

        def change(status: SolveStatus) -> SolveStatus:
            return _prefixed(status, prefix) if force else status

        self._open += 1
        return Derived(self._writer, MappedChan(self._writer.status(), change, self._close_one))

    def _close_one(self) -> None:
        self._open -= 1
        if self._open == 0:
            self._writer.status().close()

    def is_done(self) -> bool:
        """Whether the writer behind is done."""
        return self._writer.is_done()

    def err(self) -> BaseException | None:
        """The error of the writer behind."""
        return self._writer.err()

    async def wait(self) -> None:
        """Return when the writer behind is done."""
        await self._writer.wait()


def _prefixed(status: SolveStatus, prefix: str) -> SolveStatus:
    if not status.vertexes:
        return status
    return replace(status, vertexes=[replace(v, name=add_prefix(prefix, v.name)) for v in status.vertexes])


def add_prefix(prefix: str, name: str) -> str:
    """The prefix in brackets in front of a name, or in front of what is in the name's own brackets."""
    if name.startswith("["):
        return f"[{prefix} {name[1:]}"
    return f"[{prefix}] {name}"
