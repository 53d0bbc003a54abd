"""Output leaves in order, in parts, beside the loop; who reads slowly stops who sends."""

from __future__ import annotations

import asyncio
import errno
import threading

import pytest

from pybuildkit.client._graph import SolveStatus, Vertex, VertexLog
from pybuildkit.golang import context
from pybuildkit.util.progress._sink import PART_BYTES, Sink
from pybuildkit.util.progress.progressui import new_display
from pybuildkit.util.progress.progresswriter import StatusChan

NOW = 1_700_000_000 * 1_000_000_000


class Gate:
    """An output whose writes wait until it is open; `failure` is raised by each."""

    def __init__(self, failure: OSError | None = None) -> None:
        self.open = threading.Event()
        self.began = threading.Event()
        self.writes: list[bytes] = []
        self.failure = failure

    def write(self, data: bytes, /) -> None:
        self.began.set()
        self.open.wait()
        if self.failure is not None:
            raise self.failure
        self.writes.append(data)


async def test_what_is_handed_over_is_written_beside_the_loop() -> None:
    out = Gate()
    sink = Sink(out)
    sink.put(b"one ")
    await sink.hand_over()
    assert out.writes == []
    sink.put(b"two ")
    sink.put(b"three")
    second = asyncio.ensure_future(sink.hand_over())
    await asyncio.sleep(0)
    assert not second.done()
    out.open.set()
    await second
    await sink.flush()
    assert out.writes == [b"one ", b"two three"]


@pytest.mark.parametrize("size", [1000, PART_BYTES // 3, PART_BYTES * 2])
async def test_much_is_written_in_parts(size: int) -> None:
    out = Gate()
    out.open.set()
    sink = Sink(out)
    pieces = [bytes([number % 251]) * size for number in range(3 * PART_BYTES // size + 2)]
    sink.put_pieces(pieces)
    await sink.flush()
    assert b"".join(out.writes) == b"".join(pieces)
    assert sink.pending_bytes == 0
    assert max(map(len, out.writes)) <= PART_BYTES + size
    assert len(out.writes) < 12


@pytest.mark.parametrize("matter", [True, False])
@pytest.mark.parametrize("code", [errno.ENOSPC, errno.EPIPE])
async def test_an_error_is_told_once_by_whoever_waits_next(matter: bool, code: int) -> None:
    out = Gate(OSError(code, "no"))
    out.open.set()
    sink = Sink(out, errors_matter=matter)
    sink.put(b"lost")
    await sink.hand_over()
    if matter or code == errno.EPIPE:
        with pytest.raises(OSError, match="no"):
            await sink.flush()
    await sink.flush()


async def test_cancelling_keeps_the_order() -> None:
    out = Gate()
    sink = Sink(out)
    sink.put(b"first ")
    writing = asyncio.ensure_future(sink.flush())
    await asyncio.to_thread(out.began.wait)
    writing.cancel()
    with pytest.raises(asyncio.CancelledError):
        await writing
    sink.put(b"second")
    rest = asyncio.ensure_future(sink.flush())
    await asyncio.sleep(0)
    out.open.set()
    await rest
    assert b"".join(out.writes) == b"first second"


@pytest.mark.parametrize("mode", ["rawjson", "plain"])
async def test_a_reader_that_sleeps_loses_nothing_and_is_not_run_over(mode: str) -> None:
    out = Gate()
    channel = StatusChan()
    shown = asyncio.ensure_future(new_display(out, mode).update_from(context.background(), channel))
    line = b"x" * 999 + b"\n"
    batch = [SolveStatus(logs=[VertexLog("sha256:a", 1, line, NOW)] * 100)] * 10
    sent = 0

    async def send() -> None:
        nonlocal sent
        await channel.send(SolveStatus([Vertex("sha256:a", name="a", started=NOW)]))
        for _ in range(60):
            await channel.send_many(batch)
            sent += 1
        channel.close()

    sending = asyncio.ensure_future(send())
    await asyncio.to_thread(out.began.wait)
    try:
        for _ in range(1000):
            await asyncio.sleep(0)
        stuck_at = sent
        for _ in range(1000):
            await asyncio.sleep(0)
        assert sent == stuck_at
        if mode == "rawjson":
            assert sent < 60  # MiB: the parts under way, what is made at once, and the channel
    finally:
        out.open.set()
    await sending
    await shown
    written = b"".join(out.writes)
    assert written.count(b"\n") >= 60 * 1000 if mode == "plain" else written.count(b'"stream":1') == 60_000
