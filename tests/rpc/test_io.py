"""Reading from sockets: small pieces are gathered where that pays, and nothing is lost."""

from __future__ import annotations

import asyncio
import socket

import pytest

from pybuildkit.rpc._io import PollStream, _SocketDevice


class Counting(_SocketDevice):
    """Counts the reads that gave something."""

    def __init__(self, sock: socket.socket) -> None:
        super().__init__(sock)
        self.reads = 0

    def recv(self, n: int) -> bytes:
        data = super().recv(n)
        self.reads += 1
        return data


def _pair() -> tuple[PollStream, Counting, socket.socket]:
    ours, theirs = socket.socketpair()
    theirs.setblocking(False)
    device = Counting(ours)
    return PollStream(device), device, theirs


async def test_many_small_pieces_are_read_together() -> None:
    stream, device, peer = _pair()
    pieces = [b"%015d\n" % number for number in range(2000)]

    async def send() -> None:
        for piece in pieces:
            await asyncio.get_running_loop().sock_sendall(peer, piece)
            await asyncio.sleep(0)
        peer.close()

    sending = asyncio.create_task(send())
    got = []
    while data := await stream.read(4096):
        got.append(data)
    await sending
    await stream.close()
    assert b"".join(got) == b"".join(pieces)
    assert device.reads < len(pieces) / 2


async def test_answers_are_not_waited_for(monkeypatch: pytest.MonkeyPatch) -> None:
    """Where the peer sends only what we asked for, a pause brings nothing, and is hardly ever made."""
    stream, _, peer = _pair()
    loop = asyncio.get_running_loop()
    pauses = []
    sleep = asyncio.sleep

    async def note(seconds: float) -> None:
        pauses.append(seconds)
        await sleep(0)

    monkeypatch.setattr(asyncio, "sleep", note)
    for _ in range(3000):
        await loop.sock_sendall(peer, b"answer")
        assert await stream.read(4096) == b"answer"
        await stream.write_buffers([b"question"])
        assert await loop.sock_recv(peer, 100) == b"question"
    await stream.close()
    peer.close()
    assert len(pauses) < 30


async def test_no_pause_while_much_is_sent(monkeypatch: pytest.MonkeyPatch) -> None:
    """Small pieces that answer bulk are windows and pings: whoever delays them slows the transfer down."""
    stream, _, peer = _pair()
    loop = asyncio.get_running_loop()
    pauses = []
    sleep = asyncio.sleep

    async def note(seconds: float) -> None:
        pauses.append(seconds)
        peer.send(b"window" * 3)  # a pause would pay
        await sleep(0)

    async def write(size: int) -> None:
        writing = asyncio.create_task(stream.write_buffers([bytes(size)]))
        while size:
            size -= len(await loop.sock_recv(peer, size))
        await writing

    monkeypatch.setattr(asyncio, "sleep", note)
    for _ in range(200):
        peer.send(b"window")
        assert await stream.read(4096)
        await write(100_000)
    assert pauses == []
    for _ in range(200):
        peer.send(b"request")
        assert await stream.read(4096)
        await write(100)
    assert pauses != []
    await stream.close()
    peer.close()


async def test_no_pause_while_much_is_received(monkeypatch: pytest.MonkeyPatch) -> None:
    """A pause is for small pieces: where it brings as much as the socket holds, it held the peer up."""
    stream, _, peer = _pair()
    pauses = []
    sleep = asyncio.sleep

    async def bulk(seconds: float) -> None:
        pauses.append(seconds)
        peer.send(bytes(100_000))
        await sleep(0)

    monkeypatch.setattr(asyncio, "sleep", bulk)
    stream._quick = 10**6
    for _ in range(100):
        assert len(await stream.read(256 * 1024)) == 100_000
        peer.send(bytes(100_000))
    assert len(pauses) == 1
    await stream.close()
    peer.close()


@pytest.mark.parametrize("ending", ["close", "peer"])
async def test_end_during_the_pause(ending: str) -> None:
    stream, _, peer = _pair()
    stream._quick = 10**6
    reading = asyncio.create_task(stream.read(10))
    await asyncio.sleep(0)
    if ending == "close":
        await stream.close()
    peer.close()
    assert await reading == b""
    await stream.close()


async def test_cancelled_pause_loses_nothing() -> None:
    stream, _, peer = _pair()
    stream._quick = 10**6
    peer.send(b"kept")
    reading = asyncio.create_task(stream.read(10))
    await asyncio.sleep(0)
    reading.cancel()
    with pytest.raises(asyncio.CancelledError):
        await reading
    assert await stream.read(10) == b"kept"
    await stream.close()
    peer.close()
