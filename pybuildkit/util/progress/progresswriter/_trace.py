"""Statuses as lines of JSON in a file or a descriptor, beside a display.

Mirrors what the `--trace` part of cmd/buildctl/build.go, v0.32.2, does. Differs on purpose: a line that cannot be
written (a full disk) is logged once as an error, and the build goes on; v0.32.2 stops reading and hangs.
"""

from __future__ import annotations

from pybuildkit.client._graph import SolveStatus, StatusError
from pybuildkit.golang.errors import error_text
from pybuildkit.util import bklog
from pybuildkit.util.progress._sink import Output, Sink
from pybuildkit.util.progress.progresswriter._channel import StatusChan


class TraceWriter:
    """Writes what comes through its `channel`; give that to `tee` and run `run` in a task.

    Args:
        out: where to, opened for appending by whoever calls; it is not closed.
        name: what the log calls it.
    """

    def __init__(self, out: Output, name: str = "trace") -> None:
        self.channel = StatusChan()
        self._sink = Sink(out, errors_matter=True)
        self._name = name
        self._has_failed = False

    async def run(self) -> None:
        """Write until the channel is closed; raises nothing. Cancelling may lose the last lines."""
        async for status in self.channel:
            self._put([status, *self.channel.take_all()])
            await self._flush()

    def _put(self, statuses: list[SolveStatus]) -> None:
        parts: list[bytes] = []
        for status in statuses:
            try:
                status.put_json_line(parts)
            except StatusError as err:
                self._fail(err)
        self._sink.put(b"".join(parts))

    async def _flush(self) -> None:
        try:
            await self._sink.flush()
        except OSError as err:
            self._fail(err)

    def _fail(self, err: Exception) -> None:
        if not self._has_failed:
            self._has_failed = True
            bklog.L.error(f"failed to write {self._name}: {error_text(err)}")
