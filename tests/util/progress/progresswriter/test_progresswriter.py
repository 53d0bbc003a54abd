"""The writers: a display behind channels that double, prefix and move what goes through."""

from __future__ import annotations

import asyncio
import os
import threading

import pytest

from pybuildkit.client._graph import SolveStatus, Vertex, VertexLog, VertexStatus
from pybuildkit.golang import chan, context
from pybuildkit.util import bklog
from pybuildkit.util.progress.progressui import ProgressModeError
from pybuildkit.util.progress.progresswriter import (
    MultiWriter,
    StatusChan,
    SubLogger,
    TraceWriter,
    Writer,
    logger,
    new_printer,
    reset_time,
    tee,
    wrap,
    write,
)
from pybuildkit.util.progress.progresswriter._multiwriter import add_prefix


class Memory:
    """An output that keeps what is written, or fails."""

    def __init__(self, error: OSError | None = None) -> None:
        self.data = b""
        self.error = error

    def write(self, data: bytes, /) -> None:
        if self.error is not None:
            raise self.error
        self.data += data


def vertex(name: str, started: int | None = None, completed: int | None = None) -> SolveStatus:
    return SolveStatus(vertexes=[Vertex(digest="sha256:" + name, name=name, started=started, completed=completed)])


async def test_printer_shows_what_is_sent() -> None:
    out = Memory()
    printer = new_printer(context.background(), out, "rawjson")
    await printer.status().send(vertex("a"))
    assert not printer.is_done()
    printer.status().close()
    await printer.wait()
    assert printer.is_done()
    assert printer.err() is None
    assert out.data == (vertex("a").to_json() + "\n").encode()


@pytest.mark.parametrize("mode", ["bogus", "Plain", " tty"])
async def test_unknown_mode(mode: str) -> None:
    with pytest.raises(ProgressModeError) as caught:
        new_printer(context.background(), Memory(), mode)
    assert str(caught.value) == f"invalid progress value : {mode}"


async def test_tty_without_a_terminal(tmp_path: os.PathLike[str]) -> None:
    with pytest.raises(Exception, match=r"^failed to get console: output is not a file$"):
        new_printer(context.background(), Memory(), "tty")
    with (
        open(os.path.join(tmp_path, "x"), "wb") as file,  # noqa: ASYNC230  # a test's small file
        pytest.raises(Exception, match=r"^failed to get console: provided file is not a console$"),
    ):
        new_printer(context.background(), file, "tty")


async def test_environment_decides_for_auto(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("BUILDKIT_PROGRESS", "quiet")
    for mode, shown in (("auto", False), ("plain", True)):
        out = Memory()
        printer = new_printer(context.background(), out, mode)
        await printer.status().send(vertex("a", 1, 2))
        printer.status().close()
        await printer.wait()
        assert bool(out.data) is shown


async def test_context_ends_the_display() -> None:
    ctx, cancel = context.with_cancel(context.background())
    out = Memory()
    printer = new_printer(ctx, out, "plain")
    await printer.status().send(vertex("a", 1))
    while not out.data:
        await asyncio.sleep(0)
    cancel()
    await printer.wait()
    assert str(printer.err()) == "context canceled"
    for _ in range(1000):
        await printer.status().send(vertex("b"))


@pytest.mark.parametrize(("error", "is_raised"), [(BrokenPipeError(), True), (OSError(28, "full"), False)])
async def test_output_that_fails(error: OSError, is_raised: bool) -> None:
    printer = new_printer(context.background(), Memory(error), "rawjson")
    for _ in range(1000):
        await printer.status().send(vertex("a"))
    printer.status().close()
    await printer.wait()
    assert (printer.err() is error) is is_raised


async def test_tee_and_prefixes_and_close() -> None:
    out = Memory()
    second = StatusChan(16)
    multi = MultiWriter(tee(new_printer(context.background(), out, "rawjson"), second))
    one = multi.with_prefix("p", True)
    two = multi.with_prefix("p", False)
    given = vertex("[a] b")
    await one.status().send(given)
    await two.status().send(given)
    assert given.vertexes[0].name == "[a] b"
    one.status().close()
    assert not second.closed
    two.status().close()
    assert second.closed
    await multi.wait()
    assert [status.vertexes[0].name async for status in second] == ["[p a] b", "[a] b"]
    assert out.data.count(b"\n") == 2
    with pytest.raises(chan.ChanError):
        await one.status().send(given)


def test_add_prefix() -> None:
    assert add_prefix("p", "[a] b") == "[p a] b"
    assert add_prefix("p", "a") == "[p] a"


async def test_reset_time_moves_everything() -> None:
    target = StatusChan(16)
    printer = new_printer(context.background(), Memory(), "quiet")
    shifted = reset_time(tee(printer, target))
    log = VertexLog("sha256:a", 1, b"x", 130)
    item = VertexStatus("id", "sha256:a", timestamp=125, started=115)
    await shifted.status().send(vertex("early"))
    await shifted.status().send(SolveStatus([Vertex("sha256:a", started=100, completed=150)], [item], [log]))
    shifted.status().close()
    await printer.wait()
    early, late = [status async for status in target]
    assert early == vertex("early")
    base = late.vertexes[0].started
    assert base is not None
    assert late.vertexes[0].completed == base + 50
    assert (late.statuses[0].started, late.statuses[0].timestamp) == (base + 15, base + 25)
    assert late.logs[0].timestamp == base + 30
    assert log.timestamp == 130


async def collect(writer: Writer, channel: StatusChan) -> list[SolveStatus]:
    writer.status().close()
    await writer.wait()
    return [status async for status in channel]


async def test_write_reports_the_error() -> None:
    channel = StatusChan(16)
    writer = tee(new_printer(context.background(), Memory(), "quiet"), channel)

    async def fail() -> None:
        raise ValueError("no luck")

    await write(writer, "work", fail)
    first, last = await collect(writer, channel)
    assert first.vertexes[0].digest == last.vertexes[0].digest
    assert first.vertexes[0].completed is None
    assert last.vertexes[0].completed is not None
    assert last.vertexes[0].error == "no luck"


async def test_wrap_and_its_parts() -> None:
    channel = StatusChan(1)
    writer = tee(new_printer(context.background(), Memory(), "quiet"), channel)

    async def part() -> int:
        return 3

    async def work(inner: SubLogger) -> None:
        assert await inner.wrap("part", part) == 3
        inner.log(1, b"hi\n")
        raise ValueError("bad")

    with pytest.raises(ValueError, match="bad"):
        await wrap("work", logger(writer), work)
    await wrap("nothing", None, work)
    await asyncio.sleep(0)
    statuses = await collect(writer, channel)
    assert len(statuses) == 5
    assert statuses[2].statuses[0].completed is not None
    assert statuses[3].logs[0].data == b"hi\n"
    assert statuses[4].vertexes[0].error == "bad"


async def test_logger_from_a_thread() -> None:
    channel = StatusChan(16)
    writer = tee(new_printer(context.background(), Memory(), "quiet"), channel)
    log = logger(writer)
    thread = threading.Thread(target=log, args=(vertex("a"),))
    thread.start()
    got, _ = await channel.recv()
    thread.join()
    assert got == vertex("a")
    assert await collect(writer, channel) == []


async def test_trace_is_gos_json() -> None:
    out = Memory()
    trace = TraceWriter(out)
    task = asyncio.ensure_future(trace.run())
    for name in "abc":
        await trace.channel.send(vertex(name, 0))
    trace.channel.close()
    await task
    assert out.data == b"".join(vertex(name, 0).to_json().encode() + b"\n" for name in "abc")


async def test_trace_on_a_full_disk_logs_once_and_goes_on() -> None:
    entries: list[tuple[int, str]] = []
    bklog.set_sink(lambda level, message, _: entries.append((level, message)))
    try:
        trace = TraceWriter(Memory(OSError(28, "No space left on device")), "trace file t")
        task = asyncio.ensure_future(trace.run())
        for _ in range(1000):
            await trace.channel.send(vertex("a"))
        trace.channel.close()
        await task
    finally:
        bklog.set_sink(None)
    assert entries == [(bklog.ERROR, "failed to write trace file t: no space left on device")]


async def test_a_reader_that_sleeps_does_not_hold_the_loop() -> None:
    reader, writer = os.pipe()
    with open(writer, "wb", buffering=0) as out:  # noqa: ASYNC230  # a pipe
        printer = new_printer(context.background(), out, "rawjson")
        big = SolveStatus(logs=[VertexLog("sha256:a", 1, b"x" * 1_000_000, 0)])
        await printer.status().send(big)
        for _ in range(100):
            await asyncio.sleep(0)
        assert not printer.is_done()
        got = 0
        printer.status().close()
        expected = len(big.to_json()) + 1
        while got < expected:
            got += len(await asyncio.to_thread(os.read, reader, 65536))
        await printer.wait()
    os.close(reader)


@pytest.mark.parametrize("error", [None, BrokenPipeError()])
async def test_writers_in_a_row_tell_how_the_display_ended(error: OSError | None) -> None:
    printer = new_printer(context.background(), Memory(error), "rawjson")
    multi = MultiWriter(tee(printer, StatusChan(16)))
    source = reset_time(multi.with_prefix("p", True))
    await source.status().send(vertex("a", 1))
    assert [writer.is_done() for writer in (printer, multi, source)] == [False] * 3
    source.status().close()
    await source.wait()
    assert [writer.is_done() for writer in (printer, multi, source)] == [True] * 3
    assert [writer.err() for writer in (printer, multi, source)] == [error] * 3


async def test_write_of_nothing_is_a_step_that_ends_at_once() -> None:
    channel = StatusChan(16)
    writer = tee(new_printer(context.background(), Memory(), "quiet"), channel)
    await write(writer, "a note")
    first, last = await collect(writer, channel)
    assert (first.vertexes[0].name, first.vertexes[0].completed) == ("a note", None)
    assert last.vertexes[0].completed is not None
    assert last.vertexes[0].error == ""


async def test_the_context_does_not_take_away_what_a_failing_build_said() -> None:
    """The display has a context of its own: its last words come though the build's is done."""
    out = Memory()
    ctx, cancel = context.with_cancel(context.background())
    printer = new_printer(context.without_cancel(ctx), out, "plain")
    await printer.status().send(vertex("a", 1))
    cancel()
    failed = SolveStatus([Vertex("sha256:a", name="a", started=1, completed=2, error="boom")])
    await printer.status().send(failed)
    printer.status().close()
    await printer.wait()
    assert b"ERROR: boom" in out.data
