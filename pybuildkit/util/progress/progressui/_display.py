"""Displays: one interface for every way to show a solve, and the loop that feeds them.

Mirrors the exported part of util/progress/progressui/display.go, v0.32.2.

A display takes statuses and the time, and puts bytes into a sink:

    start → (update | tick)* → finish

`Display.update_from` drives it on an event loop; `start`, `update`, `tick` and `finish` are for drivers that have a
clock of their own. A tick is due `Display.tick_interval` after the last status or tick.

Differs on purpose: the modes github and gitlab exist; an unknown mode is "invalid progress value : X" (v0.7.0's
text); a TTY_DISPLAY_RATE of 0 or less is not used (Go panics); on a terminal names and logs are cleaned (see
`_clean`); the reader of the output going away ends `update_from` with BrokenPipeError.
"""

from __future__ import annotations

import asyncio
import os
import re
import time
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass
from enum import StrEnum
from typing import TYPE_CHECKING, Protocol

from pybuildkit.client._graph import SolveStatus, StatusError, VertexWarning
from pybuildkit.golang import chan
from pybuildkit.golang.errors import BuildkitError, wrap
from pybuildkit.util.progress._sink import Output, Sink, descriptor, is_terminal
from pybuildkit.util.progress.progressui._colors import colors_from_environment, log_lines_from_environment, parse_int
from pybuildkit.util.progress.progressui._limiter import Limiter
from pybuildkit.util.progress.progressui._printer import TextMux
from pybuildkit.util.progress.progressui._trace import Clock, TermHeight, Trace
from pybuildkit.util.progress.progressui._tty import (
    DEFAULT_HEIGHT,
    DEFAULT_WIDTH,
    TtyDisplay,
    display_info,
    terminal_size,
)

if TYPE_CHECKING:
    from pybuildkit.golang.context import Context

_MILLISECOND = 1_000_000
_TICK = 150 * _MILLISECOND
_DRAW = 100 * _MILLISECOND
_PLAIN_WIDTH = 80
_FLUSH_BYTES = 2 * 1024 * 1024
_AT_ONCE = 256
_HOLD_SECONDS = 0.005
_MAX_WARNINGS = 100_000


class DisplayMode(StrEnum):
    """The values of `--progress`; "" is AUTO."""

    AUTO = "auto"
    QUIET = "quiet"
    TTY = "tty"
    PLAIN = "plain"
    RAWJSON = "rawjson"
    GITHUB = "github"
    GITLAB = "gitlab"


class ProgressModeError(BuildkitError):
    """An unknown mode, or `tty` without a terminal."""


@dataclass(slots=True)
class _Options:
    phase: str = ""
    text_desc: str = ""
    console_desc: str = ""


DisplayOpt = Callable[[_Options], None]
"""An option of `new_display`."""


def with_phase(phase: str) -> DisplayOpt:
    """The first word of a terminal's display, "Building" without it."""

    def apply(options: _Options) -> None:
        options.phase = phase

    return apply


def with_desc(text: str, console: str) -> DisplayOpt:
    """A description: the first line of the plain display, the right end of a terminal's first line."""

    def apply(options: _Options) -> None:
        options.text_desc = text
        options.console_desc = console

    return apply


class View(Protocol):
    """One way to show a solve; what it has to say goes into its sink."""

    sink: Sink

    def init(self, limiter: Limiter) -> None:
        """Called once, before everything else."""

    def update(self, statuses: Sequence[SolveStatus]) -> Sequence[SolveStatus]:
        """Take in statuses that came together; a view with a buffer draws only as often as the limiter lets it.

        Returns:
            Those that may hold more than logs.
        """

    def refresh(self) -> None:
        """Draw what the buffer holds."""

    def done(self) -> None:
        """Called once, at the end: draw everything."""


class QuietView:
    """Shows nothing."""

    def __init__(self, sink: Sink) -> None:
        self.sink = sink

    def init(self, limiter: Limiter) -> None:
        """Nothing to prepare."""

    def update(self, statuses: Sequence[SolveStatus]) -> Sequence[SolveStatus]:
        """Drop the statuses."""
        return statuses

    def refresh(self) -> None:
        """Nothing to draw."""

    def done(self) -> None:
        """Nothing to draw."""


class RawJsonView(QuietView):
    """Each status as a line of JSON, at once; one that has no JSON form is left out, as in Go."""

    _STEERING = re.compile("[\x7f-\x9f]")

    def __init__(self, sink: Sink, *, clean: bool = False) -> None:
        super().__init__(sink)
        self._clean = clean

    def update(self, statuses: Sequence[SolveStatus]) -> Sequence[SolveStatus]:
        """Put a line for each."""
        parts: list[bytes] = []
        for status in statuses:
            try:
                status.put_json_line(parts)
            except StatusError:
                continue
        text = b"".join(parts)
        if self._clean:
            escaped = self._STEERING.sub(lambda match: f"\\u{ord(match.group()):04x}", text.decode("utf-8"))
            text = escaped.encode("utf-8")
        self.sink.put(text)
        return statuses


class _TraceView:
    """A view of what is known about every step."""

    def __init__(self, sink: Sink, trace: Trace) -> None:
        self.sink = sink
        self._trace = trace
        self._limiter: Limiter | None = None

    def init(self, limiter: Limiter) -> None:
        """Keep the limiter."""
        self._limiter = limiter

    def refresh(self) -> None:
        """Draw."""
        raise NotImplementedError

    def _take_in(self, statuses: Sequence[SolveStatus], width: int) -> Sequence[SolveStatus]:
        """Take in statuses of one moment, and draw after each for which the limiter lets it.

        Once it refuses it would refuse until the next moment, so that the rest needs no drawing in between.
        """
        now = self._trace.clock()
        for count, status in enumerate(statuses, 1):
            self._trace.update(status, width)
            if self._limiter is not None and not self._limiter.allow(now):
                has_only_logs = self._trace.update_many(statuses[count:], width)
                return statuses[:count] if has_only_logs else statuses
            self.refresh()
        return statuses


class PlainView(_TraceView):
    """Numbered lines, see `_printer`."""

    def __init__(self, sink: Sink, trace: Trace, printer: TextMux) -> None:
        super().__init__(sink, trace)
        self._printer = printer

    def update(self, statuses: Sequence[SolveStatus]) -> Sequence[SolveStatus]:
        """Take in statuses, and print as often as the limiter lets it."""
        return self._take_in(statuses, _PLAIN_WIDTH)

    def refresh(self) -> None:
        """Print what is new."""
        self.sink.put_pieces(self._printer.print(self._trace))

    def done(self) -> None:
        """Print what is new, with what was held back, and the logs of failed steps."""
        self.refresh()
        self.sink.put_pieces(self._printer.print_rest(self._trace))
        self.sink.put(self._trace.error_logs())


class ConsoleView(_TraceView):
    """A terminal, see `_tty`.

    Args:
        size: gives the terminal's columns and lines, (0, 0) where they are not known. It is asked when statuses come
            and at the end; ticks draw with the last answer.
    """

    def __init__(self, sink: Sink, trace: Trace, display: TtyDisplay, size: Callable[[], tuple[int, int]]) -> None:
        super().__init__(sink, trace)
        self._display = display
        self._size = size
        self._width = 0
        self._height = 0

    def update(self, statuses: Sequence[SolveStatus]) -> Sequence[SolveStatus]:
        """Take in statuses, and draw as often as the limiter lets it."""
        self._measure()
        return self._take_in(statuses, self._width)

    def refresh(self) -> None:
        """Draw."""
        self._draw(is_last=False)

    def done(self) -> None:
        """Draw every job, then the logs of failed steps."""
        self._measure()
        self._draw(is_last=True)
        self.sink.put(self._trace.error_logs())

    def _measure(self) -> None:
        width, height = self._size()
        self._width, self._height = (width, height) if width > 0 and height > 0 else (DEFAULT_WIDTH, DEFAULT_HEIGHT)

    def _draw(self, *, is_last: bool) -> None:
        info = display_info(self._trace)
        now = self._trace.clock()
        self.sink.put(self._display.draw(info, now, self._width, self._height, is_last=is_last))


class Display:
    """A display of one solve.

    Args:
        view: how it is shown.
        clock: the clock of the view.
        speed: how fast that clock runs against the time of day.
    """

    def __init__(self, view: View, clock: Clock, *, speed: float = 1.0) -> None:
        rate = _rate_from_environment()
        self._view = view
        self._clock = clock
        self.tick_interval = _TICK if rate is None else rate
        self._draw_interval = max(round((_DRAW if rate is None else rate) * speed), 1)
        self.warnings: list[VertexWarning] = []

    @property
    def sink(self) -> Sink:
        """Where the display puts its bytes; a driver flushes it."""
        return self._view.sink

    def start(self) -> None:
        """Begin; call it once."""
        self._view.init(Limiter(self._draw_interval))

    def update(self, status: SolveStatus) -> None:
        """Take in a status."""
        self.update_many((status,))

    def update_many(self, statuses: Sequence[SolveStatus]) -> None:
        """Take in statuses that came together."""
        for status in self._view.update(statuses):
            if status.has_warnings() and len(self.warnings) < _MAX_WARNINGS:
                self.warnings += status.warnings

    def tick(self) -> None:
        """Draw what was held back, and the running times."""
        self._view.refresh()

    def finish(self) -> None:
        """End; call it once."""
        self._view.done()

    async def update_from(self, ctx: Context, ch: chan.Chan[SolveStatus]) -> list[VertexWarning]:
        """Show what comes from a channel until it is closed.

        Args:
            ctx: ends the display early.
            ch: the statuses.

        Returns:
            The warnings among them, in order.

        Raises:
            the context's cause: it ended first; what had come is shown all the same.
            BrokenPipeError: the reader of the output went away.

        Cancelling shows what had come.
        """
        self.start()
        try:
            await self._follow(ctx, ch)
        finally:
            self.finish()
            await self.sink.flush()
        return self.warnings

    async def _follow(self, ctx: Context, ch: chan.Chan[SolveStatus]) -> None:
        loop = asyncio.get_running_loop()
        interval = self.tick_interval / 1e9
        due = loop.time() + interval
        while True:
            statuses = ch.take_all()
            if statuses:
                await self._take_in(statuses)
                due = loop.time() + interval
                ctx.raise_if_done()
                continue
            got = await self._wait(ctx, ch, due)
            if got is None:
                self.tick()
                due = loop.time() + interval
                continue
            status_or_end, ok = got
            if not ok:
                return
            if status_or_end is not None:
                self.update(status_or_end)
            due = loop.time() + interval

    async def _take_in(self, statuses: list[SolveStatus]) -> None:
        """Take in many statuses, without holding up the loop for long; cancelling takes in all of them.

        While one part of the output is written, the next is made.
        """
        first = 0
        try:
            while first < len(statuses):
                part = statuses[first : first + _AT_ONCE]
                first += _AT_ONCE
                self.update_many(part)
                await asyncio.sleep(0)
                while self.sink.pending_bytes > _FLUSH_BYTES:
                    await self.sink.hand_over()
        finally:
            self.update_many(statuses[first:])

    async def _wait(
        self, ctx: Context, ch: chan.Chan[SolveStatus], due: float
    ) -> tuple[SolveStatus | None, bool] | None:
        """What comes by `due`; what has been put is written, once nothing has come for a few milliseconds."""
        if self.sink.pending_bytes:
            got = await _receive(ctx, ch, min(due, asyncio.get_running_loop().time() + _HOLD_SECONDS))
            if got is not None:
                return got
            await self.sink.flush()
        return await _receive(ctx, ch, due)


async def _receive(ctx: Context, ch: chan.Chan[SolveStatus], due: float) -> tuple[SolveStatus | None, bool] | None:
    """What the channel gives next, or None at `due`, of the loop's clock; raises the context's cause."""
    received = ch.recv_case()
    try:
        async with asyncio.timeout_at(due):
            if await chan.select(received, chan.done(ctx)) is received:
                return received.value, received.ok
    except TimeoutError:
        return None
    ctx.raise_if_done()
    raise AssertionError("select returned without a case")


def _rate_from_environment() -> int | None:
    """TTY_DISPLAY_RATE, a number of milliseconds, in nanoseconds; None where it says nothing usable."""
    rate = parse_int(os.environ.get("TTY_DISPLAY_RATE", ""))
    return rate * _MILLISECOND if rate is not None and 0 < rate < 1 << 40 else None


def steady_clock() -> Clock:
    """A clock that shows the time of day now, and then runs steadily whatever is done to the system's clock."""
    base = time.time_ns() - time.monotonic_ns()
    return lambda: base + time.monotonic_ns()


def new_display(out: Output, mode: str, *opts: DisplayOpt, clock: Clock | None = None, speed: float = 1.0) -> Display:
    """A display that writes to `out`.

    Args:
        out: where to; a terminal is recognised by its descriptor.
        mode: a `DisplayMode`; "" and "auto" are tty on a terminal and plain elsewhere.
        opts: `with_phase`, `with_desc`.
        clock: another clock than the system's.
        speed: how fast that clock runs against the time of day.

    Raises:
        ProgressModeError: the mode is unknown.
        WrappedError: the mode is tty and `out` is no terminal.
    """
    clock = clock or steady_clock()
    terminal = is_terminal(out)
    if mode in ("", DisplayMode.AUTO):
        mode = DisplayMode.TTY if terminal else DisplayMode.PLAIN
    return Display(_view(out, mode, opts, clock, is_on_terminal=terminal), clock, speed=speed)


def _view(out: Output, mode: str, opts: Iterable[DisplayOpt], clock: Clock, *, is_on_terminal: bool) -> View:
    sink = Sink(out)
    if mode == DisplayMode.TTY:
        if not is_on_terminal:
            reason = "output is not a file" if descriptor(out) is None else "provided file is not a console"
            raise wrap(ProgressModeError(reason), "failed to get console")
        fd = descriptor(out) or 0
        return console_view(sink, clock, lambda: terminal_size(fd), *opts)
    if mode == DisplayMode.PLAIN:
        return PlainView(sink, Trace(clock, clean=is_on_terminal), TextMux(_options(opts).text_desc))
    if mode == DisplayMode.RAWJSON:
        return RawJsonView(sink, clean=is_on_terminal)
    if mode == DisplayMode.QUIET:
        return QuietView(sink)
    if mode in (DisplayMode.GITHUB, DisplayMode.GITLAB):
        from pybuildkit.util.progress.progressui._ci import FoldedView, github_block, gitlab_block

        return FoldedView(sink, clock, github_block if mode == DisplayMode.GITHUB else gitlab_block)
    raise ProgressModeError(f"invalid progress value : {mode}")


def console_view(
    sink: Sink, clock: Clock, size: Callable[[], tuple[int, int]], *opts: DisplayOpt, clean: bool = True
) -> ConsoleView:
    """A terminal's view; colours and log lines as the environment says.

    Args:
        size: gives the terminal's columns and lines.
        clean: False lets everything through that the daemon sends, as Go does.
    """
    options = _options(opts)
    colors = colors_from_environment()
    term_height = TermHeight(log_lines_from_environment())
    trace = Trace(clock, console=True, clean=clean, term_height=term_height)
    display = TtyDisplay(options.phase or "Building", options.console_desc, colors, term_height)
    return ConsoleView(sink, trace, display, size)


def _options(opts: Iterable[DisplayOpt]) -> _Options:
    options = _Options()
    for opt in opts:
        opt(options)
    return options
