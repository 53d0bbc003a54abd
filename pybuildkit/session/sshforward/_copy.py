"""Bytes between a connection and a call, in both directions. Mirrors session/sshforward/copy.go, v0.32.2.

Rules:
- The call's end of input half-closes the connection, whose answer may still be on its way.
- The connection's end half-closes the call (`close_stream`). On the server's side there is nothing to half-close:
  the copy is over when both directions are.
- A failure of either direction ends the other one and closes the connection.

Differs on purpose: on the server's side, a peer that has closed its socket altogether ends the copy, so that the
step of the build sees the end too. Go's client goes on waiting for the step.
"""

from __future__ import annotations

import select
from collections.abc import Awaitable, Callable
from typing import TYPE_CHECKING, Protocol

from pybuildkit.golang import context, errgroup
from pybuildkit.golang.errors import BuildkitError
from pybuildkit.session.sshforward.ssh_pb2 import BytesMessage

if TYPE_CHECKING:
    import asyncio

    from pybuildkit.golang.context import Context

_CHUNK = 32 * 1024


class _PeerGoneError(BuildkitError):
    """The peer of the connection is gone: neither direction leads anywhere."""


class Stream(Protocol):
    """A call that carries BytesMessages both ways: a ClientStream or a ServerStream."""

    async def recv(self) -> BytesMessage | None:
        """The next message, None at the end; raises RpcError. Cancelling loses no message."""

    async def send(self, message: BytesMessage, /) -> None:
        """Send a message, under the back-pressure of the peer; raises RpcError."""


class Conn(Protocol):
    """A connection whose directions close one by one."""

    async def read(self, n: int) -> bytes:
        """At least one byte and at most `n`, or b"" at the end."""

    async def write_all(self, data: bytes) -> None:
        """Write all of the data, under the back-pressure of the peer."""

    async def close_write(self) -> None:
        """Tell the peer that no more comes; reading goes on."""

    def peer_gone(self) -> bool:
        """After the end of reading: whether the peer does not read any more either."""

    async def close(self) -> None:
        """End both directions; a pending read ends. Closing twice is no error."""


class SocketConn:
    """A connected stream socket of asyncio as a Conn."""

    def __init__(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        self._reader = reader
        self._writer = writer

    async def read(self, n: int) -> bytes:
        """At least one byte and at most `n`, or b"" at the end; raises OSError for a broken connection."""
        return await self._reader.read(n)

    async def write_all(self, data: bytes) -> None:
        """Write all of the data; raises OSError for a broken connection."""
        self._writer.write(data)
        await self._writer.drain()

    async def close_write(self) -> None:
        """Half-close the socket."""
        if self._writer.can_write_eof() and not self._writer.is_closing():
            self._writer.write_eof()

    def peer_gone(self) -> bool:
        """Whether the peer has closed both directions, as far as the kernel knows."""
        sock = self._writer.get_extra_info("socket")
        if sock is None or sock.fileno() < 0:
            return True
        poll = select.poll()
        poll.register(sock.fileno(), select.POLLHUP)
        return any(events & select.POLLHUP for _, events in poll.poll(0))

    async def close(self) -> None:
        """Close the socket at once; what was not yet written is dropped."""
        self._writer.transport.abort()
        try:
            await self._writer.wait_closed()
        except OSError:
            pass  # it is closed, however it broke


async def copy(
    ctx: Context, conn: Conn, stream: Stream, close_stream: Callable[[], Awaitable[None]] | None = None
) -> None:
    """Carry bytes both ways until both directions have ended, then close the connection.

    Args:
        ctx: ends the copy.
        conn: the connection; closed in any case.
        stream: the call.
        close_stream: half-closes the call, on the side that opened it.

    Raises:
        the first failure of a direction, or the context's cause.
    """
    group, group_ctx = errgroup.with_context(ctx)

    async def to_conn() -> None:
        while (message := await stream.recv()) is not None:
            await conn.write_all(message.data)
        await conn.close_write()

    async def to_stream() -> None:
        while data := await conn.read(_CHUNK):
            await stream.send(BytesMessage(data=data))
        if close_stream is not None:
            await close_stream()
        elif conn.peer_gone():
            raise _PeerGoneError

    try:
        await group.go(lambda: context.run(group_ctx, to_conn()))
        await group.go(lambda: context.run(group_ctx, to_stream()))
        await group.wait()
    except _PeerGoneError:
        pass  # an end like any other
    finally:
        await conn.close()
