"""Both ends of the session tunnel: messages of bytes in one call, taken as one byte stream.

Mirrors session/grpchijack/{dial,hijack}.go, v0.32.2.

Wire: every message is `BytesMessage{bytes data = 1}`. It is encoded here by hand (a tag, a length, the bytes as
they are), because each byte of a build context passes through it.

Differs on purpose: `close` on the client's side waits for the daemon's end of the call for a bounded time.
"""

from __future__ import annotations

import asyncio
from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING

from pybuildkit.golang.errors import BuildkitError
from pybuildkit.rpc import Code, Method, RpcError

if TYPE_CHECKING:
    from pybuildkit.golang.context import Context
    from pybuildkit.rpc import Buffer, ByteStream, Channel, ClientStream, Metadata, ServerStream
    from pybuildkit.session import Dialer

SESSION = Method.raw("/moby.buildkit.v1.Control/Session")

_MAX_MESSAGE = 1 << 20
_DRAIN_SECONDS = 2.0


def _varint(value: int) -> bytes:
    out = bytearray()
    while value > 0x7F:
        out.append(value & 0x7F | 0x80)
        value >>= 7
    out.append(value)
    return bytes(out)


def encode_bytes_message(buffers: Sequence[Buffer], size: int) -> list[Buffer]:
    """One BytesMessage with the given pieces as its data; `size` is their total in bytes."""
    return [b"\x0a" + _varint(size), *buffers]


def decode_bytes_message(payload: bytes) -> bytes | memoryview:
    """The data of a marshalled BytesMessage.

    Raises:
        RpcError: Internal, when the bytes are no such message.
    """
    data: bytes | memoryview = b""
    position = 0
    while position < len(payload):
        tag, position = _read_varint(payload, position)
        kind = tag & 7
        if kind == 2:
            size, position = _read_varint(payload, position)
            end = position + size
            if end > len(payload):
                raise RpcError(Code.INTERNAL, "session message is cut short")
            if tag >> 3 == 1:
                data = memoryview(payload)[position:end]
            position = end
        elif kind == 0:
            _, position = _read_varint(payload, position)
        elif kind in (1, 5):
            position += 8 if kind == 1 else 4
        else:
            raise RpcError(Code.INTERNAL, f"session message has a field of unknown kind {kind}")
    return data


def _read_varint(payload: bytes, position: int) -> tuple[int, int]:
    value = shift = 0
    while position < len(payload) and shift < 64:
        byte = payload[position]
        position += 1
        value |= (byte & 0x7F) << shift
        if byte < 0x80:
            return value, position
        shift += 7
    raise RpcError(Code.INTERNAL, "session message is cut short")


class HijackedStream:
    """A ByteStream over the messages of a Session call; works on the client's and on the daemon's end.

    Args:
        stream: the call, as a raw client stream or server stream.
    """

    def __init__(self, stream: ClientStream[object, bytes] | ServerStream[bytes, object]) -> None:
        self._stream = stream
        self._left: bytes | memoryview = b""
        self._reading = asyncio.Lock()
        self._eof = False
        self._closed = False
        self.closed = asyncio.Event()
        """Set once `close` was called on this end."""

    @property
    def at_end(self) -> bool:
        """Whether the other end has half-closed the call, and all of it was received."""
        return self._eof

    async def read(self, n: int) -> bytes:
        """Up to `n` bytes; b"" when the other end has half-closed the call."""
        async with self._reading:
            while not self._left:
                if self._eof:
                    return b""
                messages = await self._stream.recv_many()
                self._eof = not messages
                self._left = b"".join([decode_bytes_message(message) for message in messages])
            data, self._left = self._left, b""
            if len(data) > n:
                self._left = memoryview(data)[n:]
                data = data[:n]
            return bytes(data)

    async def write_buffers(self, buffers: list[Buffer]) -> None:
        """Send the buffers, joined into as few messages as the size limit of old daemons allows."""
        if self._closed:
            raise RpcError(Code.UNAVAILABLE, "session stream is closed")
        messages: list[list[Buffer]] = []
        batch: list[Buffer] = []
        size = 0
        for buffer in buffers:
            if size and size + len(buffer) > _MAX_MESSAGE:
                messages.append(encode_bytes_message(batch, size))
                batch, size = [], 0
            batch.append(buffer)
            size += len(buffer)
        if size:
            messages.append(encode_bytes_message(batch, size))
        if messages:
            await self._stream.send_many(messages)

    async def close(self) -> None:
        """Half-close the call and, on the client's end, take what the daemon still sends for at most 2 s."""
        if self._closed:
            return
        self._closed = True
        self.closed.set()
        close_send = getattr(self._stream, "close_send", None)
        if close_send is None:
            return
        try:
            await close_send()
            await asyncio.wait_for(self._drain(), _DRAIN_SECONDS)
        except (BuildkitError, OSError):
            return  # the call is over already: nothing is left to close
        except TimeoutError:
            cancel = getattr(self._stream, "cancel", None)
            if cancel is not None:
                cancel()

    async def _drain(self) -> None:
        while not self._eof:
            async with self._reading:
                if not self._eof:
                    self._eof = not await self._stream.recv_many()


def dialer(channel: Channel) -> Dialer:
    """Opens sessions over Control.Session of the daemon behind `channel`."""

    async def dial(ctx: Context, proto: str, meta: Mapping[str, Sequence[str]]) -> ByteStream:
        metadata = [(name.lower(), value) for name, values in meta.items() for value in values]
        return HijackedStream(await channel.stream(ctx, SESSION, metadata=metadata))

    return dial


def hijack(stream: ServerStream[bytes, object]) -> tuple[HijackedStream, Metadata]:
    """The daemon's end of a session: the byte stream inside the call, and the headers that opened it."""
    return HijackedStream(stream), stream.metadata
