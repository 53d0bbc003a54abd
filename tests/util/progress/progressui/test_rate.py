"""How often a display draws, and what a drawing may cost; in virtual time and in counts, never by the clock."""

from __future__ import annotations

import asyncio
from collections.abc import Iterator

import pytest

from pybuildkit.client._graph import SolveStatus, Vertex, VertexLog, VertexStatus
from pybuildkit.golang import context
from pybuildkit.util.progress._sink import Sink
from pybuildkit.util.progress.progressui import _tty
from pybuildkit.util.progress.progressui._display import ConsoleView, Display, PlainView, View, console_view
from pybuildkit.util.progress.progressui._job import Job
from pybuildkit.util.progress.progressui._printer import TextMux
from pybuildkit.util.progress.progressui._trace import Trace, TraceVertex
from pybuildkit.util.progress.progressui._tty import TtyDisplay
from pybuildkit.util.progress.progresswriter import StatusChan
from tests import virtual_clock

from .screen import T0, Memory

WIDTH, HEIGHT = 120, 40
_MODES = ("tty", "plain")
# Milliseconds between statuses, how many come at once, how many times.
_ARRIVALS = [(7, 1, 300), (7, 40, 100), (33, 1, 60), (130, 2, 20), (370, 1, 12), (2030, 3, 4)]


class Counted:
    """A view that notes when it is drawn; all else is the real one's."""

    def __init__(self, view: PlainView | ConsoleView) -> None:
        self.drawn: list[float] = []
        refresh = view.refresh

        def counted() -> None:
            self.drawn.append(asyncio.get_running_loop().time())
            refresh()

        view.refresh = counted  # type: ignore[method-assign]  # the counter of this test
        self.view: View = view


def go_draws(gap: float, times: int, draw: float, tick: float) -> list[float]:
    """When Go draws: at a status if a token is there, one coming each `draw` seconds; at each `tick` without one."""
    drawn = []
    token_at = 0.0
    for number in range(times):
        now = number * gap
        if now >= token_at:
            drawn.append(now)
            token_at = now + draw
        ticks = 1
        while number + 1 < times and ticks * tick < gap:
            drawn.append(now + ticks * tick)
            ticks += 1
    return drawn


@pytest.mark.parametrize("mode", _MODES)
@pytest.mark.parametrize("rate", ["", "40", "300"])
@pytest.mark.parametrize(("gap", "at_once", "times"), _ARRIVALS)
def test_never_more_often_than_go(
    mode: str, rate: str, gap: int, at_once: int, times: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("TTY_DISPLAY_RATE", rate)

    async def scenario() -> list[float]:
        loop = asyncio.get_running_loop()
        began = loop.time()

        def clock() -> int:
            return T0 + round((loop.time() - began) * 1e9)

        if mode == "tty":
            counted = Counted(console_view(Sink(Memory()), clock, lambda: (WIDTH, HEIGHT)))
        else:
            counted = Counted(PlainView(Sink(Memory()), Trace(clock), TextMux()))
        channel = StatusChan()
        shown = loop.create_task(Display(counted.view, clock).update_from(context.background(), channel))
        for number in range(times):
            await asyncio.sleep(began + number * gap / 1000 - loop.time())
            vertexes = [Vertex(f"sha256:{number}-{extra}", name="step", started=T0) for extra in range(at_once)]
            await channel.send_many([SolveStatus([vertex]) for vertex in vertexes])
        channel.close()
        await shown
        return [moment - began for moment in counted.drawn]

    drawn = virtual_clock.run(scenario())
    last = (times - 1) * gap / 1000 - 0.001  # the end is drawn whatever the rate is
    steady = [moment for moment in drawn if moment < last]
    draw, tick = (0.1, 0.15) if not rate else (int(rate) / 1000, int(rate) / 1000)
    expected = [moment for moment in go_draws(gap / 1000, times, draw, tick) if moment < last]
    assert len(steady) <= len(expected)
    assert steady == pytest.approx(expected, abs=0.001)


def running(count: int) -> Iterator[SolveStatus]:
    """Steps that have ended, and `count` that run, each with output and a progress bar."""
    done = [Vertex(f"sha256:done{n}", name=f"done {n}", started=T0, completed=T0 + 1) for n in range(count * 9)]
    yield SolveStatus(done)
    steps = [f"sha256:{number}" for number in range(count)]
    yield SolveStatus([Vertex(step, name=f"[{step}] RUN make", started=T0) for step in steps])
    yield SolveStatus(statuses=[VertexStatus("layer", step, "layer", 100, 50, T0, T0) for step in steps])
    yield SolveStatus(logs=[VertexLog(step, 1, b"x" * 99 + b"\n", T0) for step in steps for _ in range(20)])


@pytest.mark.parametrize("count", [10, 100, 300])
def test_what_a_drawing_costs(count: int, monkeypatch: pytest.MonkeyPatch) -> None:
    """Only steps with news are looked at anew, and only what fits is drawn, however many steps there are."""
    made: list[object] = []
    lines: list[object] = []
    jobs_of, draw_job = _tty._jobs_of, TtyDisplay._draw_job

    def counted_jobs_of(trace: Trace, vertex: TraceVertex) -> list[Job]:
        made.append(vertex)
        return jobs_of(trace, vertex)

    def counted_draw_job(self: TtyDisplay, job: Job, now: int, width: int) -> int:
        lines.append(job)
        return draw_job(self, job, now, width)

    monkeypatch.setattr(_tty, "_jobs_of", counted_jobs_of)
    monkeypatch.setattr(TtyDisplay, "_draw_job", counted_draw_job)
    now = [T0]
    sink = Sink(Memory())
    display = Display(console_view(sink, lambda: now[0], lambda: (WIDTH, HEIGHT)), lambda: now[0])
    display.start()
    for status in running(count):
        display.update(status)
    display.tick()
    for changed in (0, 1, 5):
        logs = [VertexLog(f"sha256:{number}", 1, b"more\n", T0) for number in range(changed)]
        display.update(SolveStatus(logs=logs))
        sink.take()
        made.clear()
        lines.clear()
        display.tick()
        assert len(made) == changed
        assert 0 < len(lines) <= HEIGHT
        drawing = sink.take()
        assert drawing.count(b"\n") <= HEIGHT
        assert len(drawing) <= HEIGHT * (WIDTH + 40)
