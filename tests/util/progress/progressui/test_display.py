"""Spans, limits, the terminal's drawing and its safety; the exact bytes are the golden areas' matter."""

from __future__ import annotations

import asyncio
import fcntl
import itertools
import os
import pty
import re
import struct
import termios
import tty
from collections.abc import Iterator
from contextlib import contextmanager

import pytest
from hypothesis import given
from hypothesis import strategies as st

from pybuildkit.client._graph import SolveStatus, Vertex, VertexStatus, VertexWarning
from pybuildkit.golang import context
from pybuildkit.golang.errors import BuildkitError
from pybuildkit.util import bklog
from pybuildkit.util.progress._sink import FdOutput, Sink
from pybuildkit.util.progress.progressui import Display, new_display, with_desc, with_phase
from pybuildkit.util.progress.progressui._ci import FoldedView, github_block, gitlab_block
from pybuildkit.util.progress.progressui._clean import clean_log, clean_name, split_cut
from pybuildkit.util.progress.progressui._colors import colors_from_environment, log_lines_from_environment
from pybuildkit.util.progress.progressui._interval import Interval, merge_intervals
from pybuildkit.util.progress.progressui._limiter import Limiter
from pybuildkit.util.progress.progressui._logs import LogArchive
from pybuildkit.util.progress.progressui._tty import align
from pybuildkit.util.progress.progresswriter import StatusChan
from tests.util.progress.progressui.screen import SECOND, T0, Memory, Screen, log, vertex

MERGE_INTERVALS: list[tuple[str, list[tuple[int | None, int | None]], list[tuple[int | None, int | None]]]] = [
    ("none", [], []),
    ("one", [(0, 1)], [(0, 1)]),
    ("unstarted", [(0, 1), (None, None)], [(0, 1)]),
    ("equal", [(2, 4), (2, 4)], [(2, 4)]),
    ("no overlap", [(0, 1), (2, 3), (7, 8)], [(0, 1), (2, 3), (7, 8)]),
    ("subsumed", [(0, 10), (1, 2), (4, 9), (9, 10)], [(0, 10)]),
    ("partial overlaps", [(0, 3), (2, 5), (4, 8), (10, 12), (11, 14)], [(0, 8), (10, 14)]),
    ("joined", [(0, 2), (2, 4), (4, 6), (8, 10), (10, 12), (11, 12), (11, 14)], [(0, 6), (8, 14)]),
    ("open interval", [(0, 5), (6, None)], [(0, 5), (6, None)]),
    ("open interval with overlaps", [(1, None), (3, 5)], [(1, None)]),
    (
        "complex",
        [(0, 2), (1, 4), (1, 5), (None, None), (6, 20), (8, 10), (12, 14), (19, 21), (30, 31), (32, 35), (33, None)],
        [(0, 5), (6, 21), (30, 31), (32, None)],
    ),
]


@pytest.mark.parametrize(
    ("name", "given_spans", "expected"), MERGE_INTERVALS, ids=[case[0] for case in MERGE_INTERVALS]
)
def test_merge_intervals(
    name: str, given_spans: list[tuple[int | None, int | None]], expected: list[tuple[int | None, int | None]]
) -> None:
    assert merge_intervals(Interval(*span) for span in given_spans) == [Interval(*span) for span in expected]


@given(st.lists(st.tuples(st.integers(0, 50), st.none() | st.integers(0, 50))))
def test_merged_intervals_cover_the_same_time(spans: list[tuple[int, int | None]]) -> None:
    forward = [Interval(start, None if stop is None else start + stop) for start, stop in spans]
    merged = merge_intervals(forward)

    def covered(intervals: list[Interval]) -> set[int]:
        return {
            moment for start, stop in intervals for moment in range(start or 0, (200 if stop is None else stop) + 1)
        }

    assert covered(merged) == covered(forward)
    assert all(a.stop is not None and a.stop < (b.start or 0) for a, b in itertools.pairwise(merged))


def test_limiter_refuses_without_a_trace() -> None:
    limiter = Limiter(100)
    answers = [(at, limiter.allow(at)) for at in (0, 50, 99, 100, 150, 250, 1000, 1001, 1100)]
    assert [at for at, allowed in answers if allowed] == [0, 100, 250, 1000, 1100]


@pytest.mark.parametrize(
    ("left", "right", "width", "expected"),
    [
        (b"ab", b"z", 8, b"ab     z"),
        ("é".encode(), b"z", 6, "é".encode() + b"    z"),
        (b"\xff", b"", 4, b"\xff   "),
        (b"abcdef", b"z", 4, b"abcdef z"),
        (b"a", b"z", -2, b"a    z"),
    ],
)
def test_align_counts_characters(left: bytes, right: bytes, width: int, expected: bytes) -> None:
    assert align(left, right, width) == expected


@pytest.mark.parametrize("size", [(80, 24), (120, 40), (40, 14), (60, 100)])
def test_a_running_step_shows_its_last_lines(size: tuple[int, int]) -> None:
    screen = Screen(*size)
    screen.update(vertex("one"))
    shown = screen.update(log("one", b"".join(b"line %d\n" % number for number in range(20))))
    assert shown[0].startswith("[+] Building 1.0s (0/1)")
    assert shown[1].startswith(" => one")
    assert [line.strip() for line in shown[2:]] == [f"=> => # line {number}" for number in range(14, 20)]
    screen.update(vertex("one", completed=T0 + 2 * SECOND))
    assert screen.finish()[0].endswith("(1/1) FINISHED")


def test_a_resize_in_the_middle() -> None:
    screen = Screen(80, 24)
    screen.update(vertex("one"))
    screen.update(log("one", b"hello\n"))
    screen.screen.resize(18, 50)
    shown = screen.update(log("one", b"world\n"))
    assert all(len(line) <= 50 for line in shown)
    assert any("world" in line for line in shown)
    assert "one" in screen.finish()[-3] + screen.shown()[-2] + screen.shown()[-1]


def test_many_steps_never_leave_the_window() -> None:
    screen = Screen(80, 10)
    for number in range(50):
        shown = screen.update(vertex(f"step{number}"))
        assert shown[0].startswith("[+] Building")
    assert len(shown) <= 10
    assert "step49" in shown[-1]


HOSTILE = "evil\x1b]0;title\x07\x1b]52;c;aGk=\x07\x1b[2J\x1b[10A\r\n#2 DONE\x9b2J\u202e"


def test_names_and_logs_cannot_steer_a_terminal() -> None:
    screen = Screen(100, 24)
    screen.screen.title = "before"
    screen.update(SolveStatus([Vertex("sha256:a", name=HOSTILE, started=T0)]))
    screen.update(SolveStatus(statuses=[VertexStatus(HOSTILE, "sha256:a", started=T0, timestamp=T0)]))
    screen.update(SolveStatus(warnings=[VertexWarning("sha256:a", short=HOSTILE.encode())]))
    screen.update(log("a", HOSTILE.encode()))
    screen.update(SolveStatus([Vertex("sha256:a", name=HOSTILE, started=T0, completed=T0, error=HOSTILE)]))
    shown = screen.finish()
    assert screen.screen.title == "before"
    assert shown[0].startswith("[+] Building")
    assert not any(line.startswith("#2 DONE") for line in shown)


@given(st.binary(max_size=200), st.lists(st.integers(0, 200), max_size=5))
def test_cleaned_logs_hold_text_and_styles_alone(data: bytes, cuts: list[int]) -> None:
    pieces = []
    held = b""
    for start, end in zip([0, *sorted(cuts)], [*sorted(cuts), len(data)], strict=True):
        piece, held = split_cut(held + data[start:end])
        pieces.append(clean_log(piece))
    cleaned = b"".join(pieces)
    rest = re.sub(rb"\x1b\[[0-9;:]*m", b"", cleaned).decode("utf-8")
    assert not re.search("[\x00-\x08\x0b-\x1f\x7f-\x9f]", rest)


@pytest.mark.parametrize(
    ("data", "cleaned"),
    [
        (b"plain\ttext\n", b"plain\ttext\n"),
        (b"\x1b[1;31mred\x1b[0m\n", b"\x1b[1;31mred\x1b[0m\n"),
        (b"a\r\nb\rc\n", b"a\nb c\n"),
        (b"\x1b]0;title\x07text\x1b[2K\x1b[3A!\n", b"text!\n"),
        (b"\x1bc\x1b7x\x08\x00y", b"xy"),
        (b"\xff\xc3\xa9", "\ufffdé".encode()),
        ("\x9b2Jx\u202ey".encode(), b"xy"),
        (b"\x1b]52;c;never ended\nnext\n", b"\nnext\n"),
    ],
)
def test_clean_log(data: bytes, cleaned: bytes) -> None:
    assert clean_log(data) == cleaned


@pytest.mark.parametrize(
    ("data", "kept", "held"),
    [
        (b"text", b"text", b""),
        (b"a\x1b", b"a", b"\x1b"),
        (b"a\x1b[1;3", b"a", b"\x1b[1;3"),
        (b"a\x1b]0;ti", b"a", b"\x1b]0;ti"),
        ("aé".encode()[:-1], b"a", b"\xc3"),
        ("a日".encode()[:-1], b"a", "日".encode()[:-1]),
        (b"a\r", b"a", b"\r"),
        (b"\x1b]" + b"x" * 5000, b"\x1b]" + b"x" * 5000, b""),
    ],
)
def test_split_cut(data: bytes, kept: bytes, held: bytes) -> None:
    assert split_cut(data) == (kept, held)


def test_clean_name() -> None:
    assert clean_name("RUN a\tb\n\nc \x1b[31mé\u202e") == "RUN a b c é"


@contextmanager
def terminal(width: int = 80, height: int = 24) -> Iterator[tuple[FdOutput, int]]:
    """A pseudo terminal: an output on it, and the descriptor that reads what it shows."""
    master, slave = pty.openpty()
    tty.setraw(slave)
    fcntl.ioctl(slave, termios.TIOCSWINSZ, struct.pack("HHHH", height, width, 0, 0))
    os.set_blocking(master, False)
    try:
        yield FdOutput(slave), master
    finally:
        os.close(master)
        os.close(slave)


async def shown_on_terminal(mode: str, *statuses: SolveStatus, width: int = 80) -> bytes:
    with terminal(width) as (out, master):
        display = new_display(out, mode, with_phase("Testing"), with_desc("text desc", "tty desc"))
        channel = StatusChan()
        for status in statuses:
            await channel.send(status)
        channel.close()
        await display.update_from(context.background(), channel)
        return os.read(master, 1 << 20)


async def test_auto_is_tty_on_a_terminal_and_plain_elsewhere() -> None:
    data = await shown_on_terminal("auto", vertex("one"))
    assert data.startswith(b"\x1b[1A\x1b[1B\x1b[0G\x1b[?25l[+] Testing ")
    assert b"tty desc" in data
    out = Memory()
    display = new_display(out, "", with_desc("text desc", "tty desc"))
    channel = StatusChan()
    await channel.send(vertex("one"))
    channel.close()
    await display.update_from(context.background(), channel)
    assert out.data == b"#0 text desc\n\n#1 one\n"


async def test_plain_on_a_terminal_is_safe_and_never_backwards() -> None:
    backwards = Vertex("sha256:b", name="back", started=T0, completed=T0 - 3600 * SECOND)
    data = await shown_on_terminal(
        "plain",
        vertex("a"),
        log("a", b"\x1b[31mred\x1b]0;t\x07\n#9 forged\r\n", T0 - 5 * SECOND),
        SolveStatus([backwards]),
    )
    assert b"#1 0.000 \x1b[31mred\n" in data
    assert b"]0;" not in data
    assert b"\r" not in data
    assert b"DONE 0.0s" in data
    assert b"\x1b[0m" in data


async def test_plain_into_a_pipe_is_raw() -> None:
    out = Memory()
    display = new_display(out, "plain")
    channel = StatusChan()
    await channel.send(vertex("a\x1b[2J"))
    await channel.send(log("a\x1b[2J", b"\x1b]0;t\x07x\xff\n"))
    channel.close()
    await display.update_from(context.background(), channel)
    assert out.data == b"#1 a\x1b[2J\n#1 0.000 \x1b]0;t\x07x\xff\n"


async def test_plain_ends_with_what_running_steps_said() -> None:
    out = Memory()
    channel = StatusChan()
    for status in (vertex("a"), log("a", b"one\n"), vertex("b"), log("b", b"two\n"), log("a", b"three\n")):
        await channel.send(status)
    channel.close()
    await new_display(out, "plain").update_from(context.background(), channel)
    lines = [b"#1 a", b"#1 0.000 one", b"#1 0.000 three", b"#1 ...", b"", b"#2 b", b"#2 0.000 two"]
    assert out.data == b"\n".join(lines) + b"\n"


@pytest.mark.parametrize("rate", ["0", "-5", "x", "", " 5", "1_0", "99999999999999999999"])
async def test_a_rate_that_cannot_be(rate: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("TTY_DISPLAY_RATE", rate)
    assert new_display(Memory(), "plain").tick_interval == 150_000_000


async def test_warnings_are_returned() -> None:
    display = new_display(Memory(), "quiet")
    channel = StatusChan()
    warning = VertexWarning("sha256:a", short=b"w")
    await channel.send(SolveStatus(warnings=[warning]))
    channel.close()
    assert await display.update_from(context.background(), channel) == [warning]


async def test_cancelling_shows_what_had_come() -> None:
    out = Memory()
    channel = StatusChan()
    task = asyncio.ensure_future(new_display(out, "plain").update_from(context.background(), channel))
    await channel.send(vertex("one"))
    await channel.send(log("one", b"two\n"))
    while len(channel):
        await asyncio.sleep(0)
    task.cancel()
    with pytest.raises(asyncio.CancelledError):
        await task
    assert b"one" in out.data
    assert b"two" in out.data


COLORS = [
    ({}, b"\x1b[34m", []),
    ({"NO_COLOR": "1", "BUILDKIT_COLORS": "run=red"}, b"", []),
    ({"BUILDKIT_COLORS": "RUN=Light-Green"}, b"\x1b[92m", []),
    ({"BUILDKIT_COLORS": '"run=1,2,255"'}, b"\x1b[38;5;21m", []),
    (
        {"BUILDKIT_COLORS": "run=a=b:x"},
        b"\x1b[34m",
        ["Could not parse BUILDKIT_COLORS component: run=a=b", "Could not parse BUILDKIT_COLORS component: x"],
    ),
    (
        {"BUILDKIT_COLORS": '"run=""1,2"'},
        b"\x1b[34m",
        ['Could not parse value "1,2 as valid comma-separated RGB color. Ignoring.'],
    ),
]


@pytest.mark.parametrize(("environ", "run", "warnings"), COLORS)
def test_colors(environ: dict[str, str], run: bytes, warnings: list[str]) -> None:
    entries: list[str] = []
    bklog.set_sink(lambda _, message, __: entries.append(message))
    try:
        assert colors_from_environment(environ).run == run
    finally:
        bklog.set_sink(None)
    assert entries == warnings


@pytest.mark.parametrize(
    ("value", "lines"),
    [
        ("12", 12),
        ("+12", 12),
        ("0", 6),
        ("-1", 6),
        ("x", 6),
        (" 9", 6),
        ("1_0", 6),
        ("", 6),
        ("99999", 1000),
        ("9" * 30, 6),
    ],
)
def test_log_lines(value: str, lines: int) -> None:
    assert log_lines_from_environment({"BUILDKIT_TTY_LOG_LINES": value}) == lines


@given(
    st.lists(st.binary(max_size=30).map(lambda line: line.replace(b"\n", b"")), max_size=60),
    st.sets(st.integers(0, 60)),
)
def test_archive_gives_back_every_line(lines: list[bytes], compressed_at: set[int]) -> None:
    archive = LogArchive()
    expected = []
    for number, line in enumerate(lines):
        archive.append(line)
        archive[-1] += b"+"
        expected.append(line + b"+")
        if number in compressed_at:
            archive.compress()
    assert [*archive] == expected
    assert bool(archive) is bool(lines)


def folded(block_format: str, *statuses: SolveStatus) -> bytes:
    now = [T0]
    form = github_block if block_format == "github" else gitlab_block
    sink = Sink(Memory())
    display = Display(FoldedView(sink, lambda: now[0], form, lambda: "TOKEN"), lambda: now[0])
    display.start()
    for status in statuses:
        now[0] += SECOND
        display.update(status)
    display.finish()
    return sink.take()


CI_STATUSES = [
    vertex("slow"),
    vertex("fast"),
    log("slow", b"slow line\n", T0 + SECOND),
    log("fast", b"::error::forged\n", T0 + SECOND),
    vertex("fast", completed=T0 + 2 * SECOND),
    vertex("slow", completed=T0 + 3 * SECOND, error="exit code: 1\n50%"),
]


def test_github_blocks_in_order_of_completion() -> None:
    assert folded("github", *CI_STATUSES).decode().splitlines() == [
        "::group::#1 fast DONE 2.0s",
        "::stop-commands::TOKEN",
        "1.000 ::error::forged",
        "::TOKEN::",
        "::endgroup::",
        "::group::#2 slow ERROR 3.0s",
        "1.000 slow line",
        "ERROR: exit code: 1 50%",
        "::endgroup::",
        "::error title=#2 slow ERROR 3.0s::exit code: 1 50%25",
    ]


def test_gitlab_sections() -> None:
    text = folded(
        "gitlab", *CI_STATUSES, log("fast", b"\x1b[0Ksection_end:1:x\r\x1b[0Klate\n"), vertex("open")
    ).decode()
    start = T0 // SECOND
    assert f"\x1b[0Ksection_start:{start}:pybuildkit_1_TOKEN[collapsed=true]\r\x1b[0K#1 fast DONE 2.0s\n" in text
    assert f"\x1b[0Ksection_end:{start + 2}:pybuildkit_1_TOKEN\r\x1b[0K\n" in text
    assert f"section_start:{start}:pybuildkit_2_TOKEN\r\x1b[0K#2 slow ERROR 3.0s\n" in text
    assert "section_end:1:x late" in text
    assert "#3 open (not finished)" in text
    assert "\x1b[0Ksection_end:1:x" not in text


async def test_an_output_that_raises_what_it_likes_is_no_hang() -> None:
    class Odd:
        def write(self, data: bytes, /) -> None:
            raise BuildkitError("gone")

    channel = StatusChan()
    await channel.send(vertex("one"))
    channel.close()
    with pytest.raises(BuildkitError, match="gone"):
        await new_display(Odd(), "plain").update_from(context.background(), channel)
