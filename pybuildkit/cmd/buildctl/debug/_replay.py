"""`debug replay`: play a trace back through a display.

Not in BuildKit. Statuses come at the pace of the newest time in each line; a line that has none, or an older one,
comes at once. The display's clock is the trace's, so durations are those of the build. A trace that is still being
written, through a pipe, is shown as it comes; reading it never holds up the display or a signal. The time between
two builds in one trace is left out.
"""

from __future__ import annotations

import asyncio
import time
from collections.abc import Callable, Iterator
from io import BytesIO
from typing import TYPE_CHECKING

from pybuildkit.client._graph import SolveStatus, StatusError
from pybuildkit.golang import context, errgroup, threads
from pybuildkit.golang.errors import BuildkitError, wrap
from pybuildkit.util import bklog
from pybuildkit.util.progress._gaps import Gaps

if TYPE_CHECKING:
    from io import FileIO

    from pybuildkit.cmd.buildctl._app import CommandContext
    from pybuildkit.golang.context import Context
    from pybuildkit.util.progress._sink import Output
    from pybuildkit.util.progress.progresswriter import StatusChan

_SECOND = 1_000_000_000
_CHUNK = 256 * 1024


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
            await play(ctx, read_batches(path), c.stderr, c.string("progress"), speed)

    asyncio.run(run())


def read_trace(path: str) -> Iterator[SolveStatus]:
    """The statuses of a trace; else as `read_batches`."""
    for batch in read_batches(path):
        yield from batch


def read_batches(path: str) -> Iterator[list[SolveStatus]]:
    """The statuses of a trace file, "-" for standard input, as many at a time as can be read without waiting.

    A last line that was cut off is warned about and left out.

    Raises:
        OSError: the file cannot be read.
        WrappedError: a line is no status; what came before it has been given.
    """
    where = 0 if path == "-" else path
    with open(where, "rb", buffering=0, closefd=path != "-") as file:
        yield from _batches(file, path)


def _batches(file: FileIO, path: str) -> Iterator[list[SolveStatus]]:
    number = 0
    for lines in _whole_lines(file):
        batch: list[SolveStatus] = []
        failure: StatusError | None = None
        for line in lines:
            number += 1
            try:
                if line.strip():
                    batch.append(SolveStatus.from_json(line))
            except StatusError as err:
                failure = err
                break
        if batch:
            yield batch
        if failure is not None and not line.endswith(b"\n"):
            bklog.L.warning(f"the last line of {path} is not whole")
        elif failure is not None:
            raise wrap(failure, f"{path}: line {number}") from failure


def _whole_lines(file: FileIO) -> Iterator[list[bytes]]:
    """Lines with their ends, as many at a time as can be read without waiting; the very last one may have no end."""
    pieces: list[bytes] = []
    while data := file.read(_CHUNK):
        if b"\n" not in data:
            pieces.append(data)
            continue
        lines = BytesIO(b"".join([*pieces, data])).readlines()
        pieces = [] if lines[-1].endswith(b"\n") else [lines.pop()]
        yield lines
    if pieces:
        yield [b"".join(pieces)]


class Pace:
    """The trace's clock.

    Args:
        speed: how many times faster than the build; 0 for as fast as possible.
        now: gives the time, in nanoseconds of any steady clock.
    """

    def __init__(self, speed: float, now: Callable[[], int] = time.monotonic_ns) -> None:
        self._speed = speed
        self._now = now
        self._gaps = Gaps()
        self._base: int | None = None
        self._newest = 0
        self._began = self._now()

    def __call__(self) -> int:
        """The time in the trace, nanoseconds since the epoch."""
        if self._base is None:
            return time.time_ns()
        if self._speed == 0:
            return self._newest
        return self._base + round((self._now() - self._began) * self._speed)

    def reach(self, status: SolveStatus) -> float:
        """How many seconds to wait before the status is due."""
        pause = self._gaps.before(status)
        newest = _newest_time(status)
        if newest is None:
            return 0.0
        if self._base is None:
            self._base = self._newest = newest
            self._began = self._now()
        self._base += max(pause - _SECOND, 0)
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


async def play(ctx: Context, batches: Iterator[list[SolveStatus]], out: Output, mode: str, speed: float) -> None:
    """Show statuses on a display.

    Args:
        ctx: ends the replay early.
        batches: what to show, in order; it is asked in a thread, so that it may block.
        out: the display's output.
        mode: the display's mode.
        speed: how many times faster than the build; 0 for as fast as possible.

    Raises:
        the context's cause, what `batches` raises, what the display raises.
    """
    from pybuildkit.util.progress.progressui import new_display
    from pybuildkit.util.progress.progresswriter import StatusChan

    loop = asyncio.get_running_loop()
    pace = Pace(speed, lambda: round(loop.time() * _SECOND))
    display = new_display(out, mode, clock=pace, speed=speed or 1.0)
    channel = StatusChan()
    group, group_ctx = errgroup.with_context(ctx)

    async def send() -> None:
        try:
            while (batch := await threads.call(group_ctx, lambda: next(batches, None))) is not None:
                await context.run(group_ctx, _send_in_time(batch, pace, channel))
        finally:
            channel.close()

    async def show() -> None:
        await display.update_from(group_ctx, channel)

    await group.go(send)
    await group.go(show)
    await group.wait()


async def _send_in_time(batch: list[SolveStatus], pace: Pace, channel: StatusChan) -> None:
    for status in batch:
        delay = pace.reach(status)
        if delay > 0:
            await asyncio.sleep(delay)
        await channel.send_many((status,))
