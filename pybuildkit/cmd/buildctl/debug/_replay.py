"""`debug replay`: play a trace back through a display.

Not in BuildKit. Statuses come at the pace of the newest time in each line; a line that has none, or an older one,
comes at once. The display's clock is the trace's, so durations are those of the build.
"""

from __future__ import annotations

import asyncio
import sys
import time
from collections.abc import Iterator
from typing import TYPE_CHECKING, BinaryIO

from pybuildkit.client._graph import SolveStatus, StatusError
from pybuildkit.golang import context, errgroup
from pybuildkit.golang.errors import BuildkitError, wrap
from pybuildkit.util import bklog

if TYPE_CHECKING:
    from pybuildkit.cmd.buildctl._app import CommandContext
    from pybuildkit.golang.context import Context
    from pybuildkit.util.progress._sink import Output

_SECOND = 1_000_000_000


class ReplayError(BuildkitError):
    """The arguments do not make a replay."""


def replay(c: CommandContext) -> None:
    """Show a trace, from the file of the first argument or from standard input ("-").

    Raises:
        BuildkitError, OSError: the arguments are wrong, or the trace cannot be read.
    """
    from pybuildkit.cmd.buildctl.common._signals import app_context

    path = c.arg(0)
    speed = c.float64("speed")
    if not path:
        raise ReplayError("a trace file is needed, or - for standard input")
    if not 0 <= speed < float("inf"):
        raise ReplayError("--speed cannot be negative")

    async def run() -> None:
        with app_context() as ctx:
            await play(ctx, read_trace(path), c.stderr, c.string("progress"), speed)

    asyncio.run(run())


def read_trace(path: str) -> Iterator[SolveStatus]:
    """The statuses of a trace file, "-" for standard input, as they are asked for.

    A last line that was cut off is warned about and left out.

    Raises:
        OSError: the file cannot be read.
        WrappedError: a line is no status.
    """
    if path == "-":
        yield from _statuses(sys.stdin.buffer, path)
        return
    with open(path, "rb") as file:
        yield from _statuses(file, path)


def _statuses(file: BinaryIO, path: str) -> Iterator[SolveStatus]:
    for number, line in enumerate(file, 1):
        if not line.strip():
            continue
        try:
            yield SolveStatus.from_json(line)
        except StatusError as err:
            if not line.endswith(b"\n"):
                bklog.L.warning(f"the last line of {path} is not whole")
                return
            raise wrap(err, f"{path}: line {number}") from err


class Pace:
    """The trace's clock.

    Args:
        speed: how many times faster than the build; 0 for as fast as possible.
    """

    def __init__(self, speed: float) -> None:
        self._speed = speed
        self._base: int | None = None
        self._newest = 0
        self._began = time.monotonic_ns()

    def __call__(self) -> int:
        """The time in the trace, nanoseconds since the epoch."""
        if self._base is None:
            return time.time_ns()
        if self._speed == 0:
            return self._newest
        return self._base + round((time.monotonic_ns() - self._began) * self._speed)

    def reach(self, status: SolveStatus) -> float:
        """How many seconds to wait before the status is due."""
        newest = _newest_time(status)
        if newest is None:
            return 0.0
        if self._base is None:
            self._base = self._newest = newest
            self._began = time.monotonic_ns()
        self._newest = max(self._newest, newest)
        if self._speed == 0:
            return 0.0
        return max((newest - self()) / _SECOND / self._speed, 0.0)


def _newest_time(status: SolveStatus) -> int | None:
    times = [
        moment for vertex in status.vertexes for moment in (vertex.started, vertex.completed) if moment is not None
    ]
    times += (item.timestamp for item in status.statuses)
    times += (log.timestamp for log in status.logs)
    return max((moment for moment in times if moment > 0), default=None)


async def play(ctx: Context, statuses: Iterator[SolveStatus], out: Output, mode: str, speed: float) -> None:
    """Show statuses on a display.

    Args:
        ctx: ends the replay early.
        statuses: what to show; reading it may block.
        out: the display's output.
        mode: the display's mode.
        speed: how many times faster than the build; 0 for as fast as possible.

    Raises:
        the context's cause, what `statuses` raises, what the display raises.
    """
    from pybuildkit.util.progress.progressui import new_display
    from pybuildkit.util.progress.progresswriter import StatusChan

    pace = Pace(speed)
    display = new_display(out, mode, clock=pace, speed=speed or 1.0)
    channel = StatusChan()
    group, group_ctx = errgroup.with_context(ctx)

    async def send() -> None:
        try:
            for status in statuses:
                delay = pace.reach(status)
                if delay > 0:
                    await context.run(group_ctx, asyncio.sleep(delay))
                await context.run(group_ctx, channel.send(status))
        finally:
            channel.close()

    async def show() -> None:
        await display.update_from(group_ctx, channel)

    await group.go(send)
    await group.go(show)
    await group.wait()
