"""What a peer can make us hold: descriptors, bytes and packets are counted while it does its worst."""

from __future__ import annotations

import asyncio
import itertools
import os
import threading
from collections.abc import Callable, Iterator, Sequence
from pathlib import Path

import pytest

from pybuildkit.golang.context import background
from pybuildkit.third_party.fsutil import (
    MODE_DIR,
    DiskWriter,
    ProtocolError,
    ReceiveOpt,
    Receiver,
    Sender,
    Stat,
    new_fs,
    receive,
    send,
)
from pybuildkit.third_party.fsutil._diskwriter import _FLUSH_ALL, _PIECE, MAX_OPEN_FILES
from pybuildkit.third_party.fsutil._packet import END_OF_LIST, data_end, data_header, request_packet, stat_packet
from pybuildkit.third_party.fsutil._tasks import Payload
from tests.third_party.fsutil.transfer import names, open_descriptors

FILES = 100_000
PIECES = 400
PIECE = 20_000


class Daemon:
    """Sends what it is told to, then waits for ever; nothing that it gets is looked at.

    Args:
        packets: batches.
        look: called before each batch.
        deaf: whether it takes no packet at all.
    """

    def __init__(self, packets: Sequence[list[bytes]], look: Callable[[], None], deaf: bool = False) -> None:
        self.got = 0
        self.idle = asyncio.Event()
        self._packets = list(packets)[::-1]
        self._look = look
        self._deaf = deaf

    async def send_many(self, payloads: Sequence[Payload], /) -> None:
        if self._deaf:
            await asyncio.Event().wait()
        self.got += len(payloads)

    async def recv_many(self) -> list[bytes]:
        self._look()
        if not self._packets:
            self.idle.set()
            await asyncio.Event().wait()
        return self._packets.pop()


def listed(count: int, size: int) -> list[list[bytes]]:
    """A list of files in batches, without its end."""
    packets = [stat_packet(Stat(b"f%07d" % number, 0o644, size=size)) for number in range(count)]
    return [packets[start : start + 5000] for start in range(0, count, 5000)]


@pytest.mark.parametrize("deaf", [False, True])
async def test_files_without_end(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, deaf: bool) -> None:
    """A hundred thousand files, of hundreds of which pieces come, and none ever ends."""
    writers: list[DiskWriter] = []
    most = {"files": 0, "bytes": 0}
    before = len(open_descriptors())
    real = DiskWriter.__init__

    def remember(self: DiskWriter, *args: object, **kwargs: object) -> None:
        real(self, *args, **kwargs)  # type: ignore[arg-type]  # passed on as they are
        writers.append(self)

    def look() -> None:
        most["files"] = max(most["files"], len(open_descriptors()) - before)
        most["bytes"] = max([most["bytes"], *(writer._buffered for writer in writers)])

    monkeypatch.setattr(DiskWriter, "__init__", remember)
    pieces = [data_header(number % PIECES, PIECE) + bytes([1]) * PIECE for number in range(8 * PIECES)]
    batches = [*listed(FILES, 20 * PIECE), *(pieces[start : start + 10] for start in range(0, len(pieces), 10))]
    daemon = Daemon(batches, look, deaf)
    task = asyncio.ensure_future(receive(background(), daemon, str(tmp_path), ReceiveOpt()))
    async with asyncio.timeout(60):
        await daemon.idle.wait()
    look()
    task.cancel()
    with pytest.raises(asyncio.CancelledError):
        await task
    assert most["files"] <= MAX_OPEN_FILES + 8 + 2, "open files, directories, and what opens for a moment"
    assert 0 < most["bytes"] <= _FLUSH_ALL + PIECE + _PIECE
    assert len(open_descriptors()) == before
    assert names(tmp_path) == []


async def test_requests_that_nobody_wants_answered(tmp_path: Path) -> None:
    """All files are asked for at once, and no content is taken: few files are open, few bytes are read ahead."""
    size, count = 100_000, 300
    for number in range(count):
        with (tmp_path / f"f{number:03d}").open("wb") as file:
            file.truncate(size)
    before, most = len(open_descriptors()), [0]

    def look() -> None:
        most[0] = max(most[0], len(open_descriptors()) - before)

    core = Sender(new_fs(str(tmp_path)))
    while not core.listed:
        core.list_more()
    core.receive_many([request_packet(number) for number in range(count)])
    batch = core.read_more()
    look()
    assert len(batch) <= 8
    assert len(core.requested) >= count - 8
    core.close()

    listing = asyncio.Event()
    stuck = asyncio.Event()

    class Slow(Daemon):
        """Takes the list and one batch of content, and no more."""

        async def send_many(self, payloads: Sequence[Payload], /) -> None:
            if listing.is_set():
                stuck.set()
                await asyncio.Event().wait()
            self.got += len(payloads)
            if self.got > count:
                listing.set()

        async def recv_many(self) -> list[bytes]:
            await listing.wait()
            return await super().recv_many()

    daemon = Slow([[request_packet(number)] for number in range(count)], look)
    task = asyncio.ensure_future(send(background(), daemon, new_fs(str(tmp_path))))
    async with asyncio.timeout(30):
        await daemon.idle.wait()
        await stuck.wait()
        for _ in range(100):
            await asyncio.sleep(0.001)
            look()
    look()
    task.cancel()
    with pytest.raises(asyncio.CancelledError):
        await task
    assert most[0] <= 16 + 12, "directories on the way, and the files of two batches"
    assert len(open_descriptors()) == before


def test_the_same_request_again_and_again(tmp_path: Path) -> None:
    """A file is sent once: the second request ends the transfer, before anything is queued."""
    (tmp_path / "f").write_bytes(b"x")
    core = Sender(new_fs(str(tmp_path)))
    core.list_more()
    with pytest.raises(ProtocolError, match="invalid file id 0"):
        core.receive_many([request_packet(0)] * FILES)
    assert len(core.requested) == 1
    core.close()


def test_a_list_costs_little(tmp_path: Path) -> None:
    """What is held of each file that was listed, and not yet sent: its name and a few numbers."""
    import tracemalloc

    core = Receiver(str(tmp_path), ReceiveOpt(merge=True))
    batches = listed(20_000, 1)
    tracemalloc.start()
    for batch in batches:
        core.feed(batch)
    held, _ = tracemalloc.get_traced_memory()
    tracemalloc.stop()
    assert held < 20_000 * 160
    asked: list[bytes] = []
    while packets := core.outgoing(3000):
        assert len(packets) <= 3000
        asked += packets
    assert asked == [request_packet(number) for number in range(20_000)]
    with pytest.raises(ProtocolError):
        core.feed([END_OF_LIST, END_OF_LIST])
    core.close()
    assert os.listdir(tmp_path) == []


def endless(what: str) -> Iterator[Stat]:
    """A list that never ends."""
    if what == "depth":
        for number in itertools.count(1):
            yield Stat(b"/".join([b"d"] * number), MODE_DIR | 0o755)
    yield Stat(b"0", 0o644, size=1)
    for number in itertools.count():
        name = b"f%09d" % number
        if what == "attributes":
            yield Stat(name, 0o644, size=1, xattrs={"user.a": b"x" * 500})
        elif what == "modes":
            yield Stat(name, 0o644, uid=number, size=1)
        elif what == "links":
            yield Stat(name, 0o644, linkname=b"0")
        elif what == "directories":
            yield Stat(name, MODE_DIR | 0o755)
        else:
            yield Stat(name, 0o644, size=1)


def feed_all(core: Receiver, what: str) -> None:
    """Give a receiver a list that never ends, with contents where they are asked for."""
    for id, stat in enumerate(endless(what)):
        core.feed([stat_packet(stat)])
        if what in ("begun", "answered"):
            core.feed([data_header(id, 1) + b"x"])
        if what == "answered":
            core.feed([data_end(id)])


@pytest.mark.parametrize("what", ["files", "answered", "begun", "attributes", "modes", "links", "directories", "depth"])
def test_a_list_without_end(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, what: str) -> None:
    """Whatever it is made of, it ends in an error before much memory is taken; the limit is lower here than it is."""
    import tracemalloc

    limit = 1 << (18 if what == "answered" else 20)
    monkeypatch.setattr("pybuildkit.third_party.fsutil._pending.MOST_HELD", limit)
    core = Receiver(str(tmp_path), ReceiveOpt(merge=True))
    before = len(open_descriptors())
    tracemalloc.start()
    try:
        with pytest.raises(
            ProtocolError, match=rf"^the sender's list is too long: it needs more than {limit >> 20} MiB$"
        ):
            feed_all(core, what)
        held, _ = tracemalloc.get_traced_memory()
    finally:
        tracemalloc.stop()
    assert held < 1.5 * limit
    core.close()
    assert len(open_descriptors()) <= before
    if what == "depth":  # pytest's own way of removing it would go too deep
        writer = DiskWriter(str(tmp_path))
        writer.delete(b"d")
        writer.close()


def test_content_in_tiny_pieces_costs_little(tmp_path: Path) -> None:
    """A piece costs more than its bytes; many of them are not gathered up to the size of a large one."""
    import tracemalloc

    core = Receiver(str(tmp_path), ReceiveOpt(merge=True))
    core.feed([stat_packet(Stat(b"f", 0o644, size=1 << 20))])
    pieces = [data_header(0, 2) + bytes([1, 1 + number % 250]) for number in range(1000)]
    tracemalloc.start()
    for _ in range(100):
        core.feed(pieces)
    _, most = tracemalloc.get_traced_memory()
    tracemalloc.stop()
    core.close()
    assert most < 1 << 20


async def test_packets_without_bytes_are_counted(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """The end of a list has no bytes at all; while the disk stalls, a stream of such packets is not read for ever."""
    stalled, release = threading.Event(), threading.Event()

    def stall(self: Receiver, packets: list[bytes]) -> None:
        stalled.set()
        release.wait(30)

    read = 0

    class Flood(Daemon):
        async def recv_many(self) -> list[bytes]:
            nonlocal read
            await asyncio.sleep(0)
            read += 1000
            return [END_OF_LIST] * 1000

    monkeypatch.setattr(Receiver, "feed", stall)
    task = asyncio.ensure_future(receive(background(), Flood([], lambda: None), str(tmp_path), ReceiveOpt()))
    while not stalled.is_set():
        await asyncio.sleep(0)
    for _ in range(2000):
        await asyncio.sleep(0)
    assert read < 200_000
    release.set()
    task.cancel()
    with pytest.raises(asyncio.CancelledError):
        await task
