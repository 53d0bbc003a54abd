"""`debug replay` and `debug timeline`: a trace file in, a display or a report out."""

from __future__ import annotations

import asyncio
import os
import subprocess
import sys
import time
from collections.abc import Sequence
from pathlib import Path

import pytest

from pybuildkit.client._graph import SolveStatus, StatusError, Vertex, VertexLog
from pybuildkit.cmd.buildctl._app import Command, run
from pybuildkit.cmd.buildctl.debug._replay import Pace, _batches, play, read_trace
from pybuildkit.golang import context
from pybuildkit.golang.errors import BuildkitError, find
from pybuildkit.golang.flag import Float64Flag, StringFlag
from pybuildkit.rpc import Buffer
from pybuildkit.util import bklog
from pybuildkit.util.progress.timeline import Timeline, render_html
from tests import virtual_clock
from tests.cmd.buildctl.streams import ROOT, Recorder

SECOND = 1_000_000_000
T0 = 1_700_000_000 * SECOND

STATUSES = [
    SolveStatus([Vertex("sha256:a", name="a", started=T0)]),
    SolveStatus(logs=[VertexLog("sha256:a", 1, b"hello\n", T0 + SECOND)]),
    SolveStatus([Vertex("sha256:a", name="a", started=T0, completed=T0 + 3600 * SECOND)]),
]
PLAIN = "#1 a\n#1 1.000 hello\n#1 DONE 3600.0s\n"


def command() -> Command:
    package = "pybuildkit.cmd.buildctl.debug"
    progress = [StringFlag("progress", "", "auto"), Float64Flag("speed", "", 1.0)]
    output = [StringFlag("output", "", aliases=("o",))]
    return Command(
        "test",
        commands=[
            Command("replay", "", f"{package}._replay:replay", flags=progress),
            Command("timeline", "", f"{package}._timeline:timeline", flags=output),
        ],
    )


def run_command(*argv: str) -> tuple[str, str]:
    stdout, stderr = Recorder(1), Recorder(2)
    run(command(), argv, stdout=stdout, stderr=stderr)
    return str(stdout), str(stderr)


@pytest.fixture
def trace(tmp_path: Path) -> Path:
    path = tmp_path / "trace.json"
    path.write_text("".join(status.to_json() + "\n" for status in STATUSES))
    return path


def test_replay_at_once_shows_the_builds_own_times(trace: Path) -> None:
    assert run_command("replay", "--speed", "0", str(trace)) == ("", PLAIN)
    assert run_command("replay", "--speed", "0", "--progress", "rawjson", str(trace)) == ("", trace.read_text())


def test_a_fast_replay_keeps_the_pace(trace: Path) -> None:
    began = time.monotonic()
    assert run_command("replay", "--speed", "7200", "--progress", "plain", str(trace))[1] == PLAIN
    assert time.monotonic() - began >= 0.5


@pytest.mark.parametrize(
    ("argv", "text"),
    [
        (["replay"], "a trace file is needed, or - for standard input"),
        (["replay", "--speed=-1", "x"], "--speed cannot be negative"),
        (["replay", "--speed=nan", "x"], "--speed cannot be negative"),
        (["timeline"], "a trace file is needed, or - for standard input"),
        (["timeline", "x"], "--output is needed: a name that ends in .html or .svg, or - for standard output"),
        (["timeline", "-o", "x.png", "x"], "cannot tell what x.png is to be"),
    ],
)
def test_wrong_arguments(argv: list[str], text: str) -> None:
    with pytest.raises(BuildkitError) as caught:
        run_command(*argv)
    assert str(caught.value).startswith(text)


def test_unknown_display(trace: Path) -> None:
    with pytest.raises(BuildkitError, match=r"^invalid progress value : x$"):
        run_command("replay", "--progress", "x", str(trace))


def test_a_bad_line_is_named(trace: Path) -> None:
    trace.write_text(trace.read_text() + "\nnot json\n")
    with pytest.raises(BuildkitError) as caught:
        list(read_trace(str(trace)))
    assert str(caught.value).startswith(f"{trace}: line 5: invalid status: ")
    assert find(caught.value, StatusError) is not None


def test_a_last_line_cut_off_is_left_out(trace: Path) -> None:
    trace.write_text(trace.read_text() + '{"vertexes":[')
    entries: list[str] = []
    bklog.set_sink(lambda _, message, __: entries.append(message))
    try:
        assert list(read_trace(str(trace))) == STATUSES
    finally:
        bklog.set_sink(None)
    assert entries == [f"the last line of {trace} is not whole"]


def test_pace_never_goes_back() -> None:
    pace = Pace(0)
    assert pace.reach(STATUSES[2]) == 0
    assert pace.reach(STATUSES[0]) == 0
    assert pace() == T0 + 3600 * SECOND
    slow = Pace(1)
    slow.reach(STATUSES[0])
    assert 3599 < slow.reach(STATUSES[2]) <= 3600
    assert slow.reach(SolveStatus()) == 0


async def test_the_context_ends_a_replay(tmp_path: Path) -> None:
    ctx, cancel = context.with_cancel(context.background())
    asyncio.get_running_loop().call_later(0.05, cancel)
    with pytest.raises(context.CanceledError):
        await play(ctx, iter([STATUSES]), Recorder(2), "plain", 1.0)


class Diary(Recorder):
    """A standard stream that notes when each line was written, in seconds of the loop's clock."""

    def __init__(self) -> None:
        super().__init__(2)
        self.lines: list[tuple[float, str]] = []

    def write(self, data: str | Buffer) -> None:
        when = round(self.loop.time() - virtual_clock.START, 1)
        self.lines += ((when, line) for line in bytes(memoryview(data)).decode().splitlines())  # type: ignore[arg-type]  # never text

    async def play(self, speed: float, batch: Sequence[SolveStatus] = STATUSES) -> float:
        self.loop = asyncio.get_running_loop()
        await play(context.background(), iter([[*batch[:1]], [*batch[1:]]]), self, "plain", speed)
        return self.loop.time() - virtual_clock.START


@pytest.mark.parametrize(
    ("speed", "hello", "end"), [(1, 1.0, 3600.0), (0.5, 2.0, 7200.0), (60, 0.0, 60.0), (0, 0.0, 0.0)]
)
def test_a_replay_takes_as_long_as_its_speed_says(speed: float, hello: float, end: float) -> None:
    out = Diary()
    took = virtual_clock.run(out.play(speed))
    assert took == pytest.approx(end, abs=0.2)
    assert [line for _, line in out.lines] == PLAIN.splitlines()
    times = [when for when, _ in out.lines]
    assert times == pytest.approx([0.0, hello, end], abs=0.2)


def test_the_time_between_two_builds_is_left_out() -> None:
    """A trace that two builds were appended to, a day apart; the first was killed while a step ran."""
    day = T0 + 86_400 * SECOND
    killed = SolveStatus([Vertex("sha256:k", name="killed", started=T0)])
    second = [
        SolveStatus([Vertex("sha256:b", name="b", started=day)]),
        SolveStatus([Vertex("sha256:b", name="b", started=day, completed=day + 2 * SECOND)]),
    ]
    out = Diary()
    took = virtual_clock.run(out.play(1, batch=[*STATUSES[:2], killed, *second]))
    assert took == pytest.approx(4, abs=0.2)
    assert any(line.endswith(" DONE 2.0s") for _, line in out.lines)
    model = Timeline([*STATUSES[:2], killed, *second])
    assert model.earlier_builds == 1
    assert [step.name for steps in model.groups().values() for step in steps] == ["b"]
    assert "The last build of 2 in this trace." in render_html(model)


def test_a_trace_that_is_still_written_is_shown_as_it_comes() -> None:
    """Through a pipe: a line that has come is shown before the next one is there, and a signal's context ends it."""
    reader, writer = os.pipe()

    async def main() -> None:
        ctx, cancel = context.with_cancel(context.background())
        out = Recorder(2)
        with os.fdopen(reader, "rb", buffering=0) as file:
            playing = asyncio.ensure_future(play(ctx, _batches(file, "-"), out, "plain", 0))
            os.write(writer, STATUSES[0].to_json().encode() + b'\n{"vert')
            while out.data != b"#1 a\n":
                await asyncio.sleep(0.001)
            cancel()
            with pytest.raises(context.CanceledError):
                await playing
            os.close(writer)

    asyncio.run(main())


def test_a_trace_from_standard_input(trace: Path) -> None:
    done = subprocess.run(
        [
            sys.executable,
            "-m",
            "pybuildkit.cmd.buildctl",
            "debug",
            "replay",
            "--speed",
            "0",
            "--progress",
            "plain",
            "-",
        ],
        input=trace.read_bytes() + b'{"logs":[{"vertex":"sha256:a","da',
        capture_output=True,
        check=True,
        cwd=ROOT,
    )
    warning, *lines = done.stderr.decode().splitlines()
    assert "the last line of - is not whole" in warning
    assert lines == PLAIN.splitlines()


def test_lines_of_any_length(tmp_path: Path) -> None:
    lengths = [1, 65_535, 65_536, 65_537, 200_000, 0, 3]
    statuses = [SolveStatus(logs=[VertexLog("sha256:a", 1, b"x" * length, T0)]) for length in lengths]
    path = tmp_path / "trace"
    path.write_bytes("\n".join(status.to_json() for status in statuses).encode() + b"\r\n")
    assert list(read_trace(str(path))) == statuses
    path.write_bytes(b"")
    assert list(read_trace(str(path))) == []


def test_what_came_before_a_bad_line_is_shown(trace: Path) -> None:
    trace.write_text(trace.read_text() + "nonsense\n")
    shown = Recorder(2)
    with pytest.raises(BuildkitError, match=r"line 4: invalid status"):
        run(command(), ["replay", "--speed", "0", "--progress", "plain", str(trace)], stdout=Recorder(), stderr=shown)
    assert str(shown) == PLAIN


def test_timeline_files(trace: Path, tmp_path: Path) -> None:
    page, picture = tmp_path / "r.html", tmp_path / "r.SVG"
    assert run_command("timeline", "-o", str(page), str(trace)) == ("", "")
    assert run_command("timeline", "--output", str(picture), str(trace)) == ("", "")
    assert page.read_text().startswith("<!doctype html>")
    assert "Build timeline: trace.json" in page.read_text()
    assert picture.read_text().startswith("<svg ")
    assert run_command("timeline", "-o", "-", str(trace))[0] == page.read_text()
    assert sorted(os.listdir(tmp_path)) == ["r.SVG", "r.html", "trace.json"]


def test_a_report_that_fails_leaves_nothing(trace: Path, tmp_path: Path) -> None:
    trace.write_text("nonsense\n")
    page = tmp_path / "r.html"
    with pytest.raises(BuildkitError):
        run_command("timeline", "-o", str(page), str(trace))
    assert not page.exists()
    with pytest.raises(OSError, match="No such file"):
        run_command("timeline", "-o", str(page), str(tmp_path / "none"))
