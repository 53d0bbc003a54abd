"""Whatever a daemon says, every display goes on, and a terminal is only ever drawn on."""

from __future__ import annotations

import re

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from pybuildkit.client._graph import SolveStatus, Vertex, VertexLog, VertexStatus, VertexWarning
from pybuildkit.solver.pb.ops_pb2 import ProgressGroup
from pybuildkit.util.progress._sink import Sink
from pybuildkit.util.progress.progressui._ci import FoldedView, github_block, gitlab_block
from pybuildkit.util.progress.progressui._display import Display, PlainView, QuietView, RawJsonView, View, console_view
from pybuildkit.util.progress.progressui._printer import TextMux
from pybuildkit.util.progress.progressui._trace import MAX_STATUSES, Clock, Trace

DIGESTS = st.sampled_from(["a", "b", "c", "g", ""])
TEXTS = st.text(max_size=8) | st.sampled_from(["\x1b[2J", "x\n#1 DONE", "日本\udc80", "context canceled"])
TIMES = st.integers(-5, 20).map(lambda second: second * 1_000_000_000) | st.integers(-(2**80), 2**80)
MAYBE = st.none() | TIMES
NUMBERS = st.integers(-(2**63), 2**63 - 1) | st.integers(0, 2000)
GROUPS = st.none() | st.builds(ProgressGroup, id=st.sampled_from(["g", "h"]), name=st.just("group"), weak=st.booleans())
DATA = st.binary(max_size=40) | st.sampled_from([b"\n", b"\x1b[", b"\x1b]0;t\x07", b"x\n" * 20])

STATUSES = st.builds(
    SolveStatus,
    vertexes=st.lists(
        st.builds(Vertex, DIGESTS, st.just([]), TEXTS, MAYBE, MAYBE, st.booleans(), TEXTS, GROUPS), max_size=3
    ),
    statuses=st.lists(
        st.builds(VertexStatus, TEXTS, DIGESTS, TEXTS, NUMBERS, NUMBERS, TIMES, MAYBE, MAYBE), max_size=2
    ),
    logs=st.lists(st.builds(VertexLog, DIGESTS, st.integers(0, 3), DATA, TIMES), max_size=3),
    warnings=st.lists(st.builds(VertexWarning, DIGESTS, st.integers(), DATA), max_size=2),
)
STEPS = st.lists(st.tuples(STATUSES, st.integers(0, 12_000)), max_size=8)
SIZES = st.tuples(st.integers(0, 130), st.integers(0, 50))


class Nowhere:
    """An output that the test never writes to: it takes the bytes from the sink."""

    def write(self, data: bytes, /) -> object:
        raise AssertionError("the bytes are taken from the sink")


def view_of(mode: str, clock: Clock, size: tuple[int, int], clean: bool) -> View:
    sink = Sink(Nowhere())
    if mode == "tty":
        return console_view(sink, clock, lambda: size, clean=clean)
    if mode == "plain":
        return PlainView(sink, Trace(clock, clean=clean), TextMux("desc"))
    if mode == "rawjson":
        return RawJsonView(sink, clean=clean)
    if mode == "quiet":
        return QuietView(sink)
    return FoldedView(sink, clock, github_block if mode == "github" else gitlab_block)


def played(mode: str, steps: list[tuple[SolveStatus, int]], size: tuple[int, int], *, clean: bool) -> bytes:
    now = [0]
    display = Display(view_of(mode, lambda: now[0], size, clean), lambda: now[0])
    display.start()
    for status, milliseconds in steps:
        now[0] += milliseconds * 1_000_000
        if milliseconds % 2:
            display.tick()
        display.update(status)
    display.finish()
    return display.sink.take()


@pytest.mark.parametrize("mode", ["tty", "plain", "rawjson", "quiet", "github", "gitlab"])
@given(steps=STEPS, size=SIZES)
@settings(deadline=None, max_examples=60)
def test_any_status_can_be_shown(mode: str, steps: list[tuple[SolveStatus, int]], size: tuple[int, int]) -> None:
    for clean in (True, False):
        played(mode, steps, size, clean=clean)


DRAWING = re.compile(rb"\x1b\[(?:\d+A|1B|0G|\?25[lh]|[0-9;:]*m)")


@pytest.mark.parametrize("mode", ["tty", "plain"])
@given(steps=STEPS, size=SIZES)
@settings(deadline=None, max_examples=60)
def test_a_terminal_gets_no_other_sequences(
    mode: str, steps: list[tuple[SolveStatus, int]], size: tuple[int, int]
) -> None:
    rest = DRAWING.sub(b"", played(mode, steps, size, clean=True)).decode("utf-8", "replace")
    assert not re.search("[\x00-\x08\x0b-\x1f\x7f-\x9f]", rest)


def test_a_flood_of_names_is_bounded() -> None:
    trace = Trace(lambda: 0)
    trace.update(SolveStatus([Vertex("a", name="a", started=0)]), 80)
    for number in range(MAX_STATUSES + 100):
        trace.update(SolveStatus(statuses=[VertexStatus(str(number), "a", started=0)]), 80)
    assert len(trace.by_digest["a"].by_id) == MAX_STATUSES
    assert len(trace.by_digest["a"].statuses) == MAX_STATUSES
