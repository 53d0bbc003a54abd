"""One contract for every byte stream: in memory, over sockets, over pipes, over TLS, inside a gRPC call."""

from __future__ import annotations

import asyncio
import contextlib
import socket
import ssl
from collections.abc import AsyncIterator, Callable
from contextlib import AbstractAsyncContextManager
from pathlib import Path

import pytest

from pybuildkit.rpc import ByteStream, Endpoint, memory_pipe
from pybuildkit.rpc._io import accept_tls, open_endpoint, socket_stream
from tests.rpc.certificates import Certificates, certificates
from tests.rpc.peers import pipe_pair

Ends = tuple[ByteStream, ByteStream]
Make = Callable[[], AbstractAsyncContextManager[Ends]]


@contextlib.asynccontextmanager
async def _memory() -> AsyncIterator[Ends]:
    yield memory_pipe()


@contextlib.asynccontextmanager
async def _sockets() -> AsyncIterator[Ends]:
    left, right = socket.socketpair()
    yield socket_stream(left), await open_endpoint(Endpoint(right))


@contextlib.asynccontextmanager
async def _pipes() -> AsyncIterator[Ends]:
    left, right = pipe_pair()
    yield await open_endpoint(left), await open_endpoint(right)


@pytest.fixture(scope="module")
def certs(tmp_path_factory: pytest.TempPathFactory) -> Certificates:
    return certificates(Path(tmp_path_factory.mktemp("certs")))


@pytest.fixture(params=["memory", "sockets", "pipes", "tls"])
def make(request: pytest.FixtureRequest, certs: Certificates) -> Make:
    @contextlib.asynccontextmanager
    async def tls() -> AsyncIterator[Ends]:
        left, right = socket.socketpair()
        endpoint = Endpoint(right, tls=certs.client(), server_hostname="localhost")
        ends = await asyncio.gather(accept_tls(left, certs.server()), open_endpoint(endpoint))
        yield ends[0], ends[1]

    return {"memory": _memory, "sockets": _sockets, "pipes": _pipes, "tls": tls}[request.param]


async def read_exactly(stream: ByteStream, size: int, step: int = 65536) -> bytes:
    data = bytearray()
    while len(data) < size:
        piece = await stream.read(step)
        assert piece, "the stream ended early"
        assert len(piece) <= step
        data += piece
    return bytes(data)


async def write_on(stream: ByteStream) -> None:
    for _ in range(100):
        await stream.write_buffers([bytes(100_000)])


async def test_bytes_arrive_in_order(make: Make) -> None:
    async with make() as (left, right):
        await left.write_buffers([b"one ", bytearray(b"two "), memoryview(b"three")])
        assert await read_exactly(right, 13, 5) == b"one two three"
        await right.write_buffers([b"back"])
        assert await read_exactly(left, 4) == b"back"
        await left.close()
        await right.close()


async def test_many_and_large_buffers(make: Make) -> None:
    async with make() as (left, right):
        block = bytes(range(256)) * 4096
        buffers = [memoryview(block)[i * 1000 : i * 1000 + 999] for i in range(1000)] + [b"x"] * 3000
        expected = b"".join(buffers)
        reader = asyncio.ensure_future(read_exactly(right, len(expected) + 2_000_000))
        await left.write_buffers(list(buffers))
        await left.write_buffers([bytes(2_000_000)])
        assert await reader == expected + bytes(2_000_000)
        await left.close()
        await right.close()


async def test_a_writer_waits_for_the_reader(make: Make) -> None:
    async with make() as (left, right):
        written = 0

        async def write() -> None:
            nonlocal written
            while written < 24 << 20:
                await left.write_buffers([bytes(1 << 20)])
                written += 1 << 20

        writer = asyncio.ensure_future(write())
        before = -1
        while written != before:
            before = written
            await asyncio.wait({writer}, timeout=0.05)
        assert written <= 8 << 20
        assert not writer.done()
        assert len(await read_exactly(right, 24 << 20, 1 << 20)) == 24 << 20
        await writer
        await left.close()
        await right.close()


async def test_a_closed_end_is_the_end_of_the_other(make: Make) -> None:
    async with make() as (left, right):
        await left.write_buffers([b"last"])
        assert await read_exactly(right, 4) == b"last"
        await left.close()
        assert await right.read(10) == b""
        with pytest.raises(ConnectionError):
            await write_on(right)
        await right.close()
        await right.close()


async def test_close_ends_a_pending_read(make: Make) -> None:
    async with make() as (left, right):
        reader = asyncio.ensure_future(left.read(10))
        await asyncio.sleep(0)
        await left.close()
        assert await reader == b""
        await right.close()


async def test_a_cancelled_read_loses_nothing(make: Make) -> None:
    async with make() as (left, right):
        for _ in range(20):
            reader = asyncio.ensure_future(right.read(10))
            await asyncio.sleep(0)
            await left.write_buffers([b"0123456789"])
            await asyncio.sleep(0)
            reader.cancel()
            try:
                got = await reader
            except asyncio.CancelledError:
                got = b""
            assert got + (await read_exactly(right, 10 - len(got)) if len(got) < 10 else b"") == b"0123456789"
        await left.close()
        await right.close()


async def test_leftover_bytes_come_first() -> None:
    left, right = socket.socketpair()
    stream = await open_endpoint(Endpoint(right, leftover=b"early "))
    left.sendall(b"late")
    assert await read_exactly(stream, 10, 4) == b"early late"
    await stream.close()
    left.close()


async def test_on_close_is_called_once() -> None:
    calls: list[str] = []
    left, right = socket.socketpair()
    stream = await open_endpoint(Endpoint(right, on_close=lambda: calls.append("closed")))
    await stream.close()
    await stream.close()
    assert calls == ["closed"]
    left.close()


async def test_a_failed_handshake_closes_the_endpoint(certs: Certificates) -> None:
    calls: list[str] = []
    left, right = socket.socketpair()
    context = ssl.create_default_context()
    endpoint = Endpoint(right, tls=context, server_hostname="localhost", on_close=lambda: calls.append("closed"))
    accepted, opened = await asyncio.gather(
        accept_tls(left, certs.server()), open_endpoint(endpoint), return_exceptions=True
    )
    assert isinstance(opened, ssl.SSLCertVerificationError)
    assert calls == ["closed"]
    if not isinstance(accepted, BaseException):
        await accepted.close()
