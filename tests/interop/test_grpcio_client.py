"""A grpcio client calls our server through a unix socket: every method of every service, and what can go wrong."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from pathlib import Path
from typing import Any

import grpc
import grpc.aio
import pytest
from google.protobuf import any_pb2, wrappers_pb2
from google.protobuf.message import Message

from pybuildkit.golang.context import Context
from pybuildkit.rpc import Code, Method, RpcError, Server, ServerStream, incoming_metadata
from pybuildkit.rpc.health import add_health
from tests.interop.servicers import STREAMED, Known, methods, sample
from tests.rpc.peers import listening

METHODS = methods()
CALL = Method.raw("/odd.Service/Call", client_streaming=False, server_streaming=False)
ECHO = Method.raw("/odd.Service/Echo")


class Ours:
    """Our server with all services, and what its handlers saw."""

    def __init__(self) -> None:
        self.server = Server()
        self.waiting = asyncio.Event()
        self.ended = asyncio.Event()
        for known in METHODS:
            self._add(known)
        self.server.add_unary(CALL, self.call)
        self.server.add_stream(ECHO, self.echo)
        add_health(self.server)

    def _add(self, known: Known) -> None:
        client_streaming, server_streaming = known.shape
        expected, answer = sample(known.request), sample(known.response)

        async def unary(ctx: Context, request: Message) -> Message:
            if request != expected:
                raise RpcError(Code.INVALID_ARGUMENT, "the request is not the sample")
            return answer

        async def stream(stream: ServerStream[Message, Message]) -> None:
            got = [message async for message in stream]
            if got != [expected] * (STREAMED if client_streaming else 1):
                raise RpcError(Code.INVALID_ARGUMENT, "the request is not the sample")
            await stream.send_many([answer] * (STREAMED if server_streaming else 1))

        if client_streaming or server_streaming:
            self.server.add_stream(known.method(), stream)
        else:
            self.server.add_unary(known.method(), unary)

    async def call(self, ctx: Context, request: object) -> bytes:
        """Do what the request says."""
        assert isinstance(request, bytes)
        if request == b"details":
            detail = any_pb2.Any()
            detail.Pack(wrappers_pb2.StringValue(value="typed"))
            raise RpcError(Code.ABORTED, "nicht ä\n", [detail])
        if request == b"metadata":
            return repr([pair for pair in incoming_metadata(ctx) if pair[0].startswith("x-")]).encode()
        if request == b"wait":
            self.waiting.set()
            try:
                await ctx.done()
            finally:
                self.ended.set()
        return request

    async def echo(self, stream: ServerStream[bytes, object]) -> None:
        """Send back what comes."""
        await stream.send_header([("x-head", "1"), ("x-head-bin", b"\xfd\x00")])
        stream.set_trailer([("x-tail", "2")])
        while messages := await stream.recv_many():
            await stream.send_many(messages)


@pytest.fixture
async def ours() -> Ours:
    return Ours()


@pytest.fixture
async def channel(ours: Ours, tmp_path: Path) -> AsyncIterator[Any]:
    options = [("grpc.max_receive_message_length", 32 << 20), ("grpc.max_send_message_length", 32 << 20)]
    async with (
        listening(ours.server, tmp_path / "s.sock"),
        grpc.aio.insecure_channel(f"unix:{tmp_path}/s.sock", options=options) as made,
    ):
        yield made


@pytest.mark.parametrize("known", METHODS, ids=lambda known: known.path)
async def test_every_method(channel: Any, known: Known) -> None:
    client_streaming, server_streaming = known.shape
    kind = f"{'stream' if client_streaming else 'unary'}_{'stream' if server_streaming else 'unary'}"
    multi = getattr(channel, kind)(
        known.path, request_serializer=known.request.SerializeToString, response_deserializer=known.response.FromString
    )
    request: Any = sample(known.request)
    call = multi(iter([request] * STREAMED) if client_streaming else request, timeout=20)
    answers = [answer async for answer in call] if server_streaming else [await call]
    assert answers == [sample(known.response)] * (STREAMED if server_streaming else 1)


async def test_typed_details(channel: Any) -> None:
    with pytest.raises(grpc.aio.AioRpcError) as caught:
        await channel.unary_unary(CALL.path)(b"details")
    assert caught.value.code() is grpc.StatusCode.ABORTED
    assert caught.value.details() == "nicht ä\n"
    packed = [value for key, value in caught.value.trailing_metadata() if key == "grpc-status-details-bin"]
    assert b"typed" in packed[0]


async def test_metadata_both_ways(channel: Any) -> None:
    pairs = (("x-a", "b"), ("x-b-bin", b"\x00\xff"), ("x-a", "c"))
    answer = await channel.unary_unary(CALL.path)(b"metadata", metadata=pairs)
    assert sorted(eval(answer)) == sorted(pairs)
    call = channel.stream_stream(ECHO.path)(iter([b"x"]))
    assert [message async for message in call] == [b"x"]
    assert {("x-head", "1"), ("x-head-bin", b"\xfd\x00")} <= {tuple(pair) for pair in await call.initial_metadata()}
    assert ("x-tail", "2") in [tuple(pair) for pair in await call.trailing_metadata()]


async def test_large_messages(channel: Any) -> None:
    sizes = [0, 1, 16384, 65536, 3 << 20, 15 << 20]
    call = channel.stream_stream(ECHO.path)(iter([bytes(size) for size in sizes]))
    assert [len(message) async for message in call] == sizes


async def test_a_message_over_the_limit(channel: Any) -> None:
    with pytest.raises(grpc.aio.AioRpcError) as caught:
        await channel.unary_unary(CALL.path)(bytes(17 << 20))
    assert caught.value.code() is grpc.StatusCode.RESOURCE_EXHAUSTED
    assert caught.value.details() == f"grpc: received message larger than max ({17 << 20} vs. {16 << 20})"


async def test_a_deadline(channel: Any, ours: Ours) -> None:
    with pytest.raises(grpc.aio.AioRpcError) as caught:
        await channel.unary_unary(CALL.path)(b"wait", timeout=0.2)
    assert caught.value.code() is grpc.StatusCode.DEADLINE_EXCEEDED
    await asyncio.wait_for(ours.ended.wait(), 10)


async def test_a_cancelled_call(channel: Any, ours: Ours) -> None:
    call = channel.unary_unary(CALL.path)(b"wait")
    await ours.waiting.wait()
    call.cancel()
    await asyncio.wait_for(ours.ended.wait(), 10)


@pytest.mark.parametrize(
    ("path", "text"),
    [
        ("/odd.Service/None", "unknown method None for service odd.Service"),
        ("/none.Service/X", "unknown service none.Service"),
    ],
)
async def test_an_unknown_method(channel: Any, path: str, text: str) -> None:
    with pytest.raises(grpc.aio.AioRpcError) as caught:
        await channel.unary_unary(path)(b"")
    assert caught.value.code() is grpc.StatusCode.UNIMPLEMENTED
    assert caught.value.details() == text


async def test_health(channel: Any) -> None:
    assert await channel.unary_unary("/grpc.health.v1.Health/Check")(b"") == b"\x08\x01"
    watch = channel.unary_stream("/grpc.health.v1.Health/Watch")(b"")
    assert await watch.read() == b"\x08\x01"
    watch.cancel()
    with pytest.raises(grpc.aio.AioRpcError) as caught:
        await channel.unary_unary("/grpc.health.v1.Health/Check")(b"\x0a\x01x")
    assert caught.value.code() is grpc.StatusCode.NOT_FOUND
