"""A server inside a call: the session's tunnel. Back-pressure of all layers together, and calls beside a busy one."""

from __future__ import annotations

import asyncio
import contextlib
import socket
from collections.abc import AsyncIterator

from pybuildkit.golang import context
from pybuildkit.rpc import Buffer, Channel, Method, Server, ServerStream
from pybuildkit.rpc._io import socket_stream
from pybuildkit.rpc.health import add_health, check
from tests.rpc.peers import serving

BG = context.background()
TUNNEL = Method.raw("/test.Tunnel/Open")
POUR = Method.raw("/test.Inner/Pour")
BLOCK = 256 << 10


class CallStream:
    """A byte stream over the messages of a call."""

    def __init__(self, call: object) -> None:
        self._call = call
        self._rest = b""

    async def read(self, n: int) -> bytes:
        """Up to n bytes."""
        if not self._rest:
            self._rest = b"".join(await self._call.recv_many())  # type: ignore[attr-defined]  # either end of a call
        data, self._rest = self._rest[:n], self._rest[n:]
        return data

    async def write_buffers(self, buffers: list[Buffer]) -> None:
        """One message with all buffers."""
        await self._call.send(buffers)  # type: ignore[attr-defined]  # either end of a call

    async def close(self) -> None:
        """End the sending side of a client's call."""
        if hasattr(self._call, "close_send"):
            await self._call.close_send()


class Tunnel:
    """The inner server on the client's side of a call, and a channel to it on the server's side."""

    def __init__(self) -> None:
        self.sent = 0
        self.opened: asyncio.Future[Channel] = asyncio.get_running_loop().create_future()
        self.closing = asyncio.Event()
        self.inner = Server()
        self.inner.add_stream(POUR, self.pour)
        add_health(self.inner)
        self.outer = Server()
        self.outer.add_stream(TUNNEL, self.accept)

    async def pour(self, stream: ServerStream[bytes, object]) -> None:
        """Send without end."""
        block = memoryview(bytes(BLOCK))
        while True:
            await stream.send_many([[b"head", block], [b"head", block]])
            self.sent += 2 * BLOCK

    async def accept(self, stream: ServerStream[bytes, object]) -> None:
        """The daemon's end."""
        channel = Channel.over(CallStream(stream))
        self.opened.set_result(channel)
        await self.closing.wait()
        await channel.close()

    @contextlib.asynccontextmanager
    async def open(self) -> AsyncIterator[Channel]:
        """The channel to the inner server."""
        left, right = socket.socketpair()
        async with serving(self.outer, (socket_stream(left), socket_stream(right))) as outer:
            call = await outer.stream(BG, TUNNEL)
            ctx, cancel = context.with_cancel(BG)
            task = asyncio.ensure_future(self.inner.serve(CallStream(call), ctx))
            yield await self.opened
            self.closing.set()
            cancel()
            await task
            call.cancel()


async def test_a_stalled_reader_bounds_all_layers_together() -> None:
    tunnel = Tunnel()
    async with tunnel.open() as channel:
        stream = await channel.stream(BG, POUR)
        await stream.header()
        before = -1
        while tunnel.sent != before:
            before = tunnel.sent
            await check(channel, BG)
            await asyncio.sleep(0.02)
        assert tunnel.sent <= (16 << 20) + (6 << 20), "one window and a few batches"
        got = 0
        while got < 64 << 20:
            got += sum(map(len, await stream.recv_many()))
        stream.cancel()


async def test_streams_share_the_tunnel() -> None:
    tunnel = Tunnel()
    async with tunnel.open() as channel:
        streams = [await channel.stream(BG, POUR) for _ in range(4)]
        got = [0] * 4

        async def read(index: int) -> None:
            while min(got) < 8 << 20:
                got[index] += sum(map(len, await streams[index].recv_many()))

        await asyncio.gather(*(read(index) for index in range(4)))
        assert max(got) <= 4 * min(got)
        for stream in streams:
            stream.cancel()
        await check(channel, BG)
