"""What a terminal shows, whatever the daemon sends and whatever its size is; in an emulator."""

from __future__ import annotations

import asyncio
import contextlib
import os
import unicodedata

import pytest
from hypothesis import Phase, given, settings
from hypothesis import strategies as st
from wcwidth import wcwidth

from pybuildkit.client._graph import SolveStatus, Vertex, VertexLog, VertexStatus, VertexWarning
from pybuildkit.golang import context
from pybuildkit.solver.pb.ops_pb2 import ProgressGroup
from pybuildkit.util.progress.progressui import new_display
from pybuildkit.util.progress.progressui._cells import cell_count, cut_to_cells
from pybuildkit.util.progress.progressui._clean import clean_text
from pybuildkit.util.progress.progresswriter import StatusChan
from tests.util.progress.progressui.screen import SECOND, T0, Screen, log, vertex
from tests.util.progress.progressui.test_display import terminal

PHASES = [Phase.explicit, Phase.generate]  # an emulator is slow, so that shrinking would take minutes
PLAIN = st.text("abcXYZ019 -/=>#[]é日本👍\u0301", max_size=6)
_ENDED = st.sampled_from(["\x07", "\x1b\\", "\x9c"])
SEQUENCES = (
    st.builds(
        "\x1b[{}{}{}".format,
        st.text("0123456789;:?<=>", max_size=5),
        st.sampled_from(["", " ", "!", "$"]),
        st.characters(min_codepoint=64, max_codepoint=126),
    )
    | st.builds("\x9b{}{}".format, st.text("0123456789;", max_size=3), st.sampled_from("ABCDHJKSTfhlnr"))
    | st.builds("{}{}{}".format, st.sampled_from(["\x1b]", "\x9d"]), st.text("0;2ctilehp:/?=", max_size=9), _ENDED)
    | st.builds("{}{}{}".format, st.sampled_from(["\x1bP", "\x1b_", "\x1b^", "\x1bX", "\x90"]), PLAIN, _ENDED)
    | st.sampled_from(["\x1bc", "\x1b7", "\x1b8", "\x1bD", "\x1bE", "\x1bM", "\x1b(0", "\x1b#8", "\x1b=", "\x1b%G"])
    | st.sampled_from("\x00\x05\x07\x08\x0e\x0f\x18\x1a\x1f\x7f\x80\x84\x88\x8d\x8e\u202a\u202e\u2066\u2069\u200e")
)
MIXED = st.lists(PLAIN.map(lambda text: (text, text)) | SEQUENCES.map(lambda text: ("", text)), max_size=6)
"""A text as it should look, and as it was sent."""


def joined(pieces: list[tuple[str, str]], which: int) -> str:
    return "".join(piece[which] for piece in pieces)


def story(texts: list[str], output: bytes, cuts: list[int]) -> list[SolveStatus]:
    """A build with a text in each place that has one, all steps of which end."""
    name, error, part, warning, group_name, other = texts
    group = ProgressGroup(id="g", name=group_name)
    member = Vertex("m", name=other, started=T0, progress_group=group)
    pieces = [output[start:end] for start, end in zip([0, *cuts], [*cuts, len(output)], strict=True)]
    return [
        SolveStatus([Vertex("a", name=name, started=T0), member]),
        SolveStatus(statuses=[VertexStatus(part, "a", started=T0, timestamp=T0, current=5, total=9)]),
        SolveStatus(warnings=[VertexWarning("a", short=warning.encode())]),
        *(SolveStatus(logs=[VertexLog("a", 1, piece, T0)]) for piece in pieces),
        SolveStatus(statuses=[VertexStatus(part, "a", started=T0, timestamp=T0, current=9, total=9, completed=T0)]),
        SolveStatus([Vertex("m", name=other, started=T0, completed=T0, progress_group=group)]),
        SolveStatus([Vertex("a", name=name, started=T0, completed=T0 + SECOND, error="x" + error)]),
    ]


def state(screen: Screen) -> tuple[object, ...]:
    emulator = screen.screen
    cursor = emulator.cursor
    modes = sorted(emulator.mode)
    return (
        emulator.display,
        emulator.title,
        emulator.icon_name,
        cursor.y,
        cursor.x,
        cursor.hidden,
        modes,
        emulator.margins,
    )


@given(st.lists(MIXED, min_size=6, max_size=6), MIXED, st.lists(st.integers(0, 60), max_size=3))
@settings(deadline=None, max_examples=30, phases=PHASES)
def test_what_steers_a_terminal_leaves_no_trace(
    texts: list[list[tuple[str, str]]], output: list[tuple[str, str]], cuts: list[int]
) -> None:
    """A build whose texts hold escape sequences looks as the same build without them."""
    screens = []
    for which in (0, 1):
        screen = Screen(150, 60)
        data = joined(output, which).encode() + b"\n"
        places = sorted(min(cut, len(data)) for cut in cuts)
        for status in story([joined(text, which) for text in texts], data, places):
            screen.update(status)
        screen.finish()
        screens.append(state(screen))
    assert screens[0] == screens[1]


ANY_TEXT = st.text(
    st.characters().filter(lambda char: wcwidth(char) > 0 or unicodedata.combining(char) > 0), max_size=40
) | st.lists(MIXED, max_size=4).map(lambda parts: "".join(joined(p, 1) for p in parts))


def _encoded(text: str) -> bytes:
    return text.encode("utf-8", "replace")


SIZES = st.tuples(st.integers(24, 140), st.integers(4, 30))


@given(
    SIZES,
    st.lists(st.tuples(ANY_TEXT, st.binary(max_size=80) | ANY_TEXT.map(_encoded)), max_size=6),
)
@settings(deadline=None, max_examples=30, phases=PHASES)
def test_every_drawing_is_the_header_and_lines_of_ours(size: tuple[int, int], steps: list[tuple[str, bytes]]) -> None:
    """No line wraps, is forged or is left behind, whatever names and output are, at any size."""
    screen = Screen(*size)
    for number, (name, output) in enumerate(steps):
        digest = f"sha256:{number}"
        screen.update(SolveStatus([Vertex(digest, name=name, started=T0)]))
        header, *rest = screen.update(SolveStatus(logs=[VertexLog(digest, 1, output, T0)]))
        assert header.startswith("[+] Building ")
        assert all(line.startswith(" => ") for line in rest), rest
        assert all(line.startswith(" => => #") or line.endswith("s") for line in rest), rest
        assert len(rest) <= size[1] - 2
        place = next(row for row, line in enumerate(screen.screen.display) if line.startswith("[+]"))
        assert screen.screen.cursor.y == place + len(rest) + 1
        assert not screen.screen.cursor.hidden


@pytest.mark.parametrize("size", [(1, 1), (1, 8), (10, 5), (23, 3), (24, 2), (200, 1), (500, 200)])
def test_odd_sizes(size: tuple[int, int]) -> None:
    screen = Screen(*size)
    screen.update(vertex("one"))
    screen.update(log("one", "wide 日本語 output\n".encode() * 30))
    screen.update(vertex("two", completed=T0 + SECOND, error="boom"))
    width, height = size
    if height > 1:
        assert screen.shown()[0].startswith("[+] Building 2.0s (1/2)"[:width].rstrip())
    screen.finish()


async def test_a_terminal_that_does_not_know_its_size() -> None:
    with terminal(0, 0) as (out, master):
        channel = StatusChan()
        task = asyncio.ensure_future(new_display(out, "tty").update_from(context.background(), channel))
        await channel.send(
            SolveStatus([Vertex(str(number), name=f"step {number}", started=T0) for number in range(30)])
        )
        drawing = b""
        while b"step 29" not in drawing:
            await asyncio.sleep(0.01)
            with contextlib.suppress(BlockingIOError):
                drawing += os.read(master, 1 << 20)
        channel.close()
        await task
    _, *lines, _ = drawing.decode().partition("\x1b[?25h")[0].split("\n")
    assert [line.split()[2] for line in lines] == [str(number) for number in range(22, 30)]
    assert {len(line) for line in lines} == {79}


def test_two_hundred_running_steps() -> None:
    screen = Screen(100, 40)
    for tens in range(20):
        names = [f"step {tens * 10 + ones}" for ones in range(10)]
        screen.update(SolveStatus([Vertex(f"sha256:{name}", name=name, started=T0) for name in names]))
        shown = screen.update(log(names[0], b"output\n"))
    assert len(shown) == 39
    assert shown[0].startswith("[+] Building")
    assert [line.split()[2] for line in shown[1:]] == [str(number) for number in range(162, 200)]


@pytest.mark.parametrize(
    "name",
    ["日本語 " * 30, "e\u0301" * 100, "x" * 5000, "é" * 300, "🇩🇪" * 40],
)
def test_wide_and_long_names_end_at_the_edge(name: str) -> None:
    screen = Screen(60, 20)
    screen.update(SolveStatus([Vertex("sha256:a", name=name, started=T0)]))
    header, line = screen.update(vertex("other"))[:2]
    assert header.startswith("[+] Building")
    assert line.startswith(" => ")
    assert line.endswith("1.0s")
    assert cell_count(line) <= 59
    assert len(screen.shown()) == 3


@pytest.mark.parametrize(("width", "height"), [(40, 10), (140, 50), (24, 30), (80, 4)])
def test_a_resize_between_drawings(width: int, height: int) -> None:
    screen = Screen(80, 24)
    for number in range(6):
        screen.update(vertex(f"step {number}"))
        screen.update(log(f"step {number}", b"output of a step\n" * 10))
    screen.screen.resize(height, width)
    screen.screen.erase_in_display(2)
    screen.screen.cursor_position(height, 1)
    screen.update(vertex("step 6"))
    for line in screen.shown():
        assert len(line) <= width
    for number in range(7):
        screen.update(vertex(f"step {number}", completed=T0 + SECOND))
    shown = screen.finish()
    assert "(7/7)" in shown[0] or height < 8
    assert "step 6" in shown[-1] or width == 24


@pytest.mark.parametrize(
    ("text", "limit", "cut"),
    [
        ("abc", 2, "ab"),
        ("日本", 3, "日"),
        ("e\u0301x", 1, "e\u0301"),
        ("❤️x", 2, "❤️"),
        ("日本", 9, "日本"),
        ("日", 1, ""),
    ],
)
def test_cut_to_cells(text: str, limit: int, cut: str) -> None:
    assert cut_to_cells(text, limit) == cut
    assert cell_count(cut) <= limit


def test_clean_text_keeps_lines() -> None:
    hostile = "error: a\tb\r\n\x1b]0;title\x07c\x9b2Jd\x1b[31me\x1b[0m\x85f\ng\u202e"
    assert clean_text(hostile) == "error: a\tb\ncde f\ng"
