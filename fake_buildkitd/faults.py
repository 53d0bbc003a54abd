"""Connections that break, at a chosen frame and in a chosen way.

`FaultStream` stands between a server and its byte stream. It counts HTTP/2 frames in one direction and, when the
chosen one comes, does one of

    RESET        both directions fail as if the peer had reset the connection
    EOF          both directions end, before the frame
    SILENCE      nothing passes any more, and nothing ends
    TRUNCATE     half of the frame passes, then both directions end
    GARBAGE      bytes that are no HTTP/2 take the frame's place

The first frame has the number 0. A connection with fewer frames is not disturbed.
"""

from __future__ import annotations

import asyncio
import enum
import random
import socket
import struct
from collections.abc import Callable
from dataclasses import dataclass, field

from pybuildkit.rpc import Buffer, ByteStream

_PREFACE = b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n"
_HEAD = 9


class FaultKind(enum.Enum):
    """What happens to the connection."""

    RESET = "reset"
    EOF = "eof"
    SILENCE = "silence"
    TRUNCATE = "truncate"
    GARBAGE = "garbage"


class Direction(enum.Enum):
    """Whose frames count: those that the server sends or those that it receives."""

    SENT = "sent"
    RECEIVED = "received"


@dataclass
class Fault:
    """One fault.

    Args:
        kind: what happens.
        frame: the number of the frame at which it happens.
        direction: whose frames count.
        seed: makes the bytes of GARBAGE.

    Attributes:
        hit: whether it has happened.
    """

    kind: FaultKind
    frame: int
    direction: Direction = Direction.SENT
    seed: int = 0
    hit: bool = field(default=False, init=False)


class FrameCounter:
    """Finds where frames begin in a stream of bytes that comes in pieces.

    Args:
        preface: whether the client's preface comes first.
    """

    def __init__(self, preface: bool) -> None:
        self._skip = len(_PREFACE) if preface else 0
        self._head = bytearray()
        self.frames = 0

    def feed(self, data: bytes, stop_at: int) -> int | None:
        """Take a piece; the offset in it at which frame number `stop_at` begins, or None where it does not.

        After an offset was given, the counter is of no more use.
        """
        position = 0
        while position < len(data):
            if self._skip:
                step = min(self._skip, len(data) - position)
                self._skip -= step
                position += step
                continue
            if not self._head and self.frames == stop_at:
                return position
            step = min(_HEAD - len(self._head), len(data) - position)
            self._head += data[position : position + step]
            position += step
            if len(self._head) == _HEAD:
                self._skip = int.from_bytes(self._head[:3], "big")
                self._head.clear()
                self.frames += 1
        return None


class FaultStream:
    """A ByteStream, seen from the server, with a fault in it.

    Args:
        inner: the stream that the server would have.
        fault: what happens, and when.
        reset: makes the peer see a reset, not an end, when `inner` is closed next.
    """

    def __init__(self, inner: ByteStream, fault: Fault, reset: Callable[[], None] | None = None) -> None:
        self._inner = inner
        self._fault = fault
        self._reset = reset
        self._sent = FrameCounter(preface=False)
        self._received = FrameCounter(preface=True)
        self._closed = asyncio.Event()

    async def read(self, n: int) -> bytes:
        """Bytes from the client, as long as the fault lets them through."""
        while True:
            await self._raise_if_over()
            data = await self._inner.read(n)
            if self._fault.hit or self._fault.direction is not Direction.RECEIVED:
                if self._fault.hit:
                    continue
                return data
            offset = self._received.feed(data, self._fault.frame)
            if offset is None:
                return data
            kept = await self._strike(data, offset)
            if kept:
                return kept

    async def write_buffers(self, buffers: list[Buffer]) -> None:
        """Bytes to the client, as long as the fault lets them through."""
        await self._raise_if_over()
        if self._fault.hit or self._fault.direction is not Direction.SENT:
            if not self._fault.hit:
                await self._inner.write_buffers(buffers)
            return
        data = b"".join(buffers)
        offset = self._sent.feed(data, self._fault.frame)
        if offset is None:
            await self._inner.write_buffers([data])
            return
        kept = await self._strike(data, offset)
        if kept:
            await self._inner.write_buffers([kept])
        if self._fault.kind is not FaultKind.SILENCE:
            await self._inner.close()

    async def _strike(self, data: bytes, offset: int) -> bytes:
        """The fault happens; what of the piece still passes."""
        fault = self._fault
        fault.hit = True
        if fault.kind is FaultKind.RESET and self._reset is not None:
            self._reset()
        before, frame = data[:offset], data[offset:]
        if fault.kind is FaultKind.TRUNCATE:
            before += frame[: max(1, len(frame) // 2)]
        elif fault.kind is FaultKind.GARBAGE:
            before += random.Random(fault.seed).randbytes(max(64, len(frame)))
        if fault.direction is Direction.RECEIVED and fault.kind is not FaultKind.SILENCE:
            await self._inner.close()
        return before

    async def _raise_if_over(self) -> None:
        if not self._fault.hit:
            return
        if self._fault.kind is FaultKind.RESET:
            raise ConnectionResetError(104, "Connection reset by peer")
        if self._fault.kind is FaultKind.SILENCE:
            await self._closed.wait()
        raise BrokenPipeError(32, "Broken pipe")

    async def close(self) -> None:
        """End the stream below."""
        self._closed.set()
        await self._inner.close()


def reset_on_close(sock: socket.socket) -> None:
    """Make the peer of a TCP connection see a reset when the socket is closed."""
    sock.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))


def tcp_pair() -> tuple[socket.socket, socket.socket]:
    """Two sockets with a TCP connection between them, which, unlike socketpair's, can be reset."""
    with socket.create_server(("127.0.0.1", 0)) as listener:
        ours = socket.create_connection(listener.getsockname())
        theirs, _ = listener.accept()
    return ours, theirs
