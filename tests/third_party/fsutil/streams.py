"""Two ends of a packet stream in memory, bounded as a real one is."""

from __future__ import annotations

import asyncio
from collections import deque
from collections.abc import Sequence

from pybuildkit.third_party.fsutil import PacketStream
from pybuildkit.third_party.fsutil._tasks import Payload

LIMIT = 4 << 20


class Closed(OSError):
    """The other end has gone away."""


class _Pipe:
    """One direction."""

    def __init__(self) -> None:
        self.packets: deque[bytes] = deque()
        self.waiting = 0
        self.closed = False
        self.changed = asyncio.Condition()


class MemoryStream:
    """One end; a PacketStream."""

    def __init__(self, incoming: _Pipe, outgoing: _Pipe) -> None:
        self._incoming = incoming
        self._outgoing = outgoing

    async def send_many(self, payloads: Sequence[Payload], /) -> None:
        pipe = self._outgoing
        async with pipe.changed:
            await pipe.changed.wait_for(lambda: pipe.waiting < LIMIT or pipe.closed)
            if pipe.closed:
                raise Closed("stream is closed")
            for payload in payloads:
                raw = bytes(payload) if isinstance(payload, bytes | bytearray | memoryview) else b"".join(payload)
                pipe.packets.append(raw)
                pipe.waiting += len(raw)
            pipe.changed.notify_all()

    async def recv_many(self) -> list[bytes]:
        pipe = self._incoming
        async with pipe.changed:
            await pipe.changed.wait_for(lambda: pipe.packets or pipe.closed)
            packets = list(pipe.packets)
            pipe.packets.clear()
            pipe.waiting = 0
            pipe.changed.notify_all()
        return packets

    async def close_send(self) -> None:
        """End what goes out."""
        async with self._outgoing.changed:
            self._outgoing.closed = True
            self._outgoing.changed.notify_all()


def pair() -> tuple[MemoryStream, MemoryStream]:
    """The two ends of a stream."""
    a, b = _Pipe(), _Pipe()
    return MemoryStream(a, b), MemoryStream(b, a)


class Recorder:
    """A stream that remembers what was sent."""

    def __init__(self, stream: PacketStream) -> None:
        self.sent: list[bytes] = []
        self._stream = stream

    async def send_many(self, payloads: Sequence[Payload], /) -> None:
        for payload in payloads:
            joined = isinstance(payload, bytes | bytearray | memoryview)
            self.sent.append(bytes(payload) if joined else b"".join(payload))  # type: ignore[arg-type]  # a Buffer then
        await self._stream.send_many(payloads)

    async def recv_many(self) -> list[bytes]:
        return await self._stream.recv_many()


class Ended:
    """A stream that is over for who sends, and still has what came before; a PacketStream."""

    def __init__(self, *arrived: list[bytes]) -> None:
        self._arrived = deque(arrived)

    async def send_many(self, payloads: Sequence[Payload], /) -> None:
        """Fail, as on a stream that the other side has ended."""
        raise Closed("stream is closed")

    async def recv_many(self) -> list[bytes]:
        """What came before the end, then the end's error."""
        if not self._arrived:
            raise Closed("stream is closed")
        return self._arrived.popleft()
