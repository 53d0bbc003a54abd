"""Services, pipes and hostile peers for the tests of the drivers."""

from __future__ import annotations

import asyncio
import contextlib
import os
import socket
import threading
from collections.abc import AsyncIterator, Callable, Iterator
from pathlib import Path

from google.protobuf import wrappers_pb2

from pybuildkit.golang import context
from pybuildkit.golang.context import Context
from pybuildkit.rpc import ByteStream, Channel, Code, Endpoint, Method, RpcError, Server, ServerStream, memory_pipe

Text = wrappers_pb2.StringValue
UNARY = Method.of("/test.Echo/Unary", Text, Text)
UP = Method.of("/test.Echo/Up", Text, Text, client_streaming=True)
DOWN = Method.of("/test.Echo/Down", Text, Text, server_streaming=True)
BOTH = Method.of("/test.Echo/Both", Text, Text, client_streaming=True, server_streaming=True)
RAW = Method.raw("/test.Echo/Raw")
HANG = Method.raw("/test.Echo/Hang")


class Echo:
    """A service that answers with what it is sent, and notes what became of its calls."""

    def __init__(self) -> None:
        self.ended: list[str] = []
        self.entered = asyncio.Event()
        self.left = asyncio.Event()

    def server(self, **options: int) -> Server:
        """A server that offers the service."""
        server = Server(**options)  # type: ignore[arg-type]  # only integer options are used here
        server.add_unary(UNARY, self.unary)
        server.add_stream(UP, self.up)
        server.add_stream(DOWN, self.down)
        server.add_stream(BOTH, self.both)
        server.add_stream(RAW, self.raw)
        server.add_stream(HANG, self.hang)
        return server

    async def unary(self, ctx: Context, request: Text) -> Text:
        if request.value.startswith("fail "):
            raise RpcError(Code.FAILED_PRECONDITION, request.value[5:])
        if request.value == "bug":
            raise ZeroDivisionError("a bug")
        return Text(value=request.value)

    async def up(self, stream: ServerStream[Text, Text]) -> None:
        words = [message.value async for message in stream]
        await stream.send(Text(value=" ".join(words)))

    async def down(self, stream: ServerStream[Text, Text]) -> None:
        request = await stream.recv()
        assert request is not None
        await stream.send_header([("x-head", "1"), ("x-head-bin", b"\0\1")])
        stream.set_trailer([("x-tail", "2")])
        for word in request.value.split():
            await stream.send(Text(value=word))

    async def both(self, stream: ServerStream[Text, Text]) -> None:
        async for message in stream:
            await stream.send(message)

    async def raw(self, stream: ServerStream[bytes, object]) -> None:
        while messages := await stream.recv_many():
            await stream.send_many(messages)

    async def hang(self, stream: ServerStream[bytes, object]) -> None:
        self.entered.set()
        try:
            await stream.recv()
            await stream.ctx.done()
        except RpcError as err:
            self.ended.append(str(err))
            raise
        finally:
            self.ended.append(str(stream.ctx.err()))
            self.left.set()


@contextlib.asynccontextmanager
async def serving(server: Server, ends: tuple[ByteStream, ByteStream] | None = None) -> AsyncIterator[Channel]:
    """A channel to a server, over a memory pipe or the given ends; both are ended and checked at the end."""
    left, right = ends or memory_pipe()
    ctx, cancel = context.with_cancel(context.background())
    task = asyncio.ensure_future(server.serve(left, ctx))
    channel = Channel.over(right)
    try:
        yield channel
    finally:
        await channel.close()
        cancel()
        await asyncio.gather(task, return_exceptions=True)
        others = asyncio.all_tasks() - {asyncio.current_task()}
        assert not others, f"tasks are left: {others}"


@contextlib.asynccontextmanager
async def listening(server: Server, path: Path) -> AsyncIterator[None]:
    """A server on a unix socket."""
    with socket.socket(socket.AF_UNIX) as sock:
        sock.bind(str(path))
        sock.listen()
        ctx, cancel = context.with_cancel(context.background())
        task = asyncio.ensure_future(server.listen(sock, ctx))
        try:
            yield
        finally:
            cancel()
            await task


def unix_dialer(path: Path) -> Callable[[float | None], Endpoint]:
    """Connects to a unix socket, with the texts of Go's net package."""

    def dial(timeout: float | None) -> Endpoint:
        sock = socket.socket(socket.AF_UNIX)
        try:
            sock.settimeout(timeout)
            sock.connect(str(path))
        except OSError as err:
            sock.close()
            reason = str(err.strerror)
            raise OSError(err.errno, f"dial unix {path}: connect: {reason[:1].lower()}{reason[1:]}") from err
        return Endpoint(sock)

    return dial


@contextlib.contextmanager
def hostile(act: Callable[[socket.socket], None]) -> Iterator[Callable[[float | None], Endpoint]]:
    """A dialer to a peer that does what it is told, in a thread, with its end of a socket pair."""
    threads: list[threading.Thread] = []

    def run(sock: socket.socket) -> None:
        with sock, contextlib.suppress(OSError):
            sock.settimeout(10)
            act(sock)

    def dial(timeout: float | None) -> Endpoint:
        ours, theirs = socket.socketpair()
        threads.append(threading.Thread(target=run, args=(theirs,), daemon=True))
        threads[-1].start()
        return Endpoint(ours)

    yield dial
    for thread in threads:
        thread.join(10)
        assert not thread.is_alive()


def read_until(sock: socket.socket, wanted: bytes) -> bytes:
    """Read from a socket until some bytes have come."""
    data = b""
    while wanted not in data:
        piece = sock.recv(65536)
        if not piece:
            return data
        data += piece
    return data


def pipe_pair() -> tuple[Endpoint, Endpoint]:
    """Two endpoints joined by two pipes."""
    read_a, write_b = os.pipe()
    read_b, write_a = os.pipe()
    return Endpoint(pipes=(read_a, write_a)), Endpoint(pipes=(read_b, write_b))
