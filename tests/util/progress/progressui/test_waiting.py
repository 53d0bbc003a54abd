"""Output that waits for its turn: packed or not, the same bytes are printed; and it stays small."""

from __future__ import annotations

from collections.abc import Iterator

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from pybuildkit.client._graph import SolveStatus, Vertex, VertexLog
from pybuildkit.util.progress._sink import Sink
from pybuildkit.util.progress.progressui import _trace
from pybuildkit.util.progress.progressui._display import Display, PlainView
from pybuildkit.util.progress.progressui._logs import MAX_WAITING, PACKED_LINES
from pybuildkit.util.progress.progressui._printer import TextMux
from pybuildkit.util.progress.progressui._trace import Trace

SECOND = 1_000_000_000
T0 = 1_700_000_000 * SECOND
STEPS = ["sha256:a", "sha256:b", "sha256:c"]
TEXTS = st.sampled_from([b"a\n", b"part", b"", b"\n", b"one\ntwo\n", b"three\nfo", b"\xff\r\n", b"x" * 300 + b"\n"])
LOGS = st.lists(st.tuples(st.sampled_from(STEPS), TEXTS), max_size=30)
ENDS = st.sampled_from([None, "", "failed", "context canceled"])
EVENTS = st.lists(st.tuples(LOGS, st.integers(0, 4 * SECOND), ENDS), max_size=6)


class Nowhere:
    def write(self, data: bytes, /) -> None:
        raise AssertionError("the bytes are taken from the sink")


def statuses(events: list[tuple[list[tuple[str, bytes]], int, str | None]]) -> Iterator[tuple[SolveStatus, int]]:
    """What a daemon sends, and when: all steps start, each batch of logs may be followed by the end of one step."""
    yield SolveStatus([Vertex(step, name=step, started=T0) for step in STEPS]), T0
    now = T0
    for number, (logs, pause, end) in enumerate(events):
        now += pause
        yield SolveStatus(logs=[VertexLog(step, 1, data, now) for step, data in logs]), now
        if end is not None:
            step = STEPS[number % 3]
            yield SolveStatus([Vertex(step, name=step, started=T0, completed=now, error=end)]), now


def printed(events: list[tuple[list[tuple[str, bytes]], int, str | None]], *, clean: bool) -> bytes:
    clock = [T0]
    display = Display(PlainView(Sink(Nowhere()), Trace(lambda: clock[0], clean=clean), TextMux()), lambda: clock[0])
    display.start()
    out = []
    for status, now in statuses(events):
        clock[0] = now
        display.update(status)
        size = display.sink.pending_bytes
        out.append(display.sink.take())
        assert len(out[-1]) == size
    display.finish()
    return b"".join(out) + display.sink.take()


@given(EVENTS, st.booleans(), st.sampled_from([0, 10, 1000]))
@settings(deadline=None, max_examples=150)
def test_packing_changes_no_byte(
    events: list[tuple[list[tuple[str, bytes]], int, str | None]], clean: bool, room: int
) -> None:
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(_trace, "PACKED_LINES", 1 << 30)
        expected = printed(events, clean=clean)
        patch.setattr(_trace, "PACKED_LINES", 1)
        patch.setattr(_trace, "MAX_WAITING", room)
        assert printed(events, clean=clean) == expected


def test_what_waits_is_small() -> None:
    """A step that floods while another one has the floor: beyond the room its lines are compressed, none is lost."""
    clock = [T0]
    trace = Trace(lambda: clock[0])
    display = Display(PlainView(Sink(Nowhere()), trace, TextMux()), lambda: clock[0])
    display.start()
    display.update(SolveStatus([Vertex(step, name=step, started=T0) for step in STEPS[:2]]))
    display.update(SolveStatus(logs=[VertexLog(STEPS[0], 1, b"mine\n", T0)]))
    line = b"y" * 99 + b"\n"
    rounds, lines = 20, MAX_WAITING // 100 // 8
    for _ in range(rounds):
        clock[0] += 110_000_000
        display.update(SolveStatus(logs=[VertexLog(STEPS[1], 1, line, T0)] * lines))
        assert len(trace.by_digest[STEPS[1]].logs) <= PACKED_LINES
    held = sum(len(packed._data) for packed in trace.by_digest[STEPS[1]].waiting)
    assert rounds * lines * 100 > 2 * MAX_WAITING
    assert held < MAX_WAITING * 1.1
    display.sink.take()
    display.finish()
    assert display.sink.pending_bytes > rounds * lines * 100
    assert display.sink.take().count(line) == rounds * lines
