"""What a peer can make us hold: descriptors, bytes and packets are counted while it does its worst."""

from __future__ import annotations

import asyncio
import os
from collections.abc import Callable, Sequence
from pathlib import Path

import pytest

from pybuildkit.golang.context import background
from pybuildkit.third_party.fsutil import (
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
from pybuildkit.third_party.fsutil._diskwriter import _FLUSH_ALL, MAX_OPEN_FILES
from pybuildkit.third_party.fsutil._packet import END_OF_LIST, data_header, request_packet, stat_packet
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
    assert 0 < most["bytes"] <= _FLUSH_ALL + PIECE
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


def test_a_list_that_has_no_end_costs_little(tmp_path: Path) -> None:
    """What is held of each file that was listed is small: its name, its STAT and the request."""
    import tracemalloc

    core = Receiver(str(tmp_path), ReceiveOpt(merge=True))
    batches = listed(20_000, 1)
    tracemalloc.start()
    for batch in batches:
        assert len(core.feed(batch)) == len(batch)
    held, _ = tracemalloc.get_traced_memory()
    tracemalloc.stop()
    assert held < 20_000 * 1500
    with pytest.raises(ProtocolError):
        core.feed([END_OF_LIST, END_OF_LIST])
    core.close()
    assert os.listdir(tmp_path) == []
