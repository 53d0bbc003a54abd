"""A display on a terminal emulator, and short ways to say what happened in a build."""

from __future__ import annotations

import pyte

from pybuildkit.client._graph import SolveStatus, Vertex, VertexLog
from pybuildkit.util.progress._sink import Sink
from pybuildkit.util.progress.progressui import Display
from pybuildkit.util.progress.progressui._display import console_view

SECOND = 1_000_000_000
T0 = 1_000_000 * SECOND


class Memory:
    """An output that keeps what is written."""

    def __init__(self) -> None:
        self.data = b""

    def write(self, data: bytes, /) -> None:
        self.data += data


def vertex(name: str, *, started: int | None = T0, completed: int | None = None, error: str = "") -> SolveStatus:
    return SolveStatus([Vertex("sha256:" + name, name=name, started=started, completed=completed, error=error)])


def log(name: str, data: bytes, at: int = T0) -> SolveStatus:
    return SolveStatus(logs=[VertexLog("sha256:" + name, 1, data, at)])


class Screen:
    """A display on a terminal emulator, with a clock that is set by hand."""

    def __init__(self, width: int, height: int) -> None:
        self.screen = pyte.Screen(width, height)
        self.screen.set_mode(pyte.modes.LNM)
        self.stream = pyte.ByteStream(self.screen)
        self.now = T0
        self.display = Display(console_view(Sink(Memory()), lambda: self.now, self.size), lambda: self.now)
        self.display.start()

    def size(self) -> tuple[int, int]:
        return self.screen.columns, self.screen.lines

    def update(self, status: SolveStatus) -> list[str]:
        self.now += SECOND
        self.display.update(status)
        return self.shown()

    def finish(self) -> list[str]:
        self.display.finish()
        return self.shown()

    def shown(self) -> list[str]:
        self.stream.feed(self.display.sink.take())
        return [line.rstrip() for line in self.screen.display if line.strip()]
