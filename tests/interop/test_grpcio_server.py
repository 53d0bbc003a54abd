"""Our channels call a grpcio server: every method of every service, and what can go wrong."""

from __future__ import annotations

import asyncio
import threading
from collections.abc import Iterator
from concurrent import futures
from pathlib import Path
from typing import Any

import grpc
import pytest
from google.protobuf import any_pb2, wrappers_pb2
from google.rpc import status_pb2

from pybuildkit.golang import context
from pybuildkit.rpc import BlockingChannel, Channel, Code, Method, RpcError
from tests.interop.servicers import STREAMED, Known, generic_handlers, methods, sample
from tests.rpc.peers import unix_dialer

METHODS = methods()
BG = context.background()
ODD = Method.raw("/odd.Service/Call", client_streaming=False, server_streaming=False)
ECHO = Method.raw("/odd.Service/Echo")
FOREVER = Method.raw("/odd.Service/Forever", client_streaming=False)


class Odd:
    """A service of raw bytes for what the samples do not show."""

    def __init__(self) -> None:
        self.cancelled = threading.Event()

    def handler(self) -> grpc.GenericRpcHandler:
        """For a grpcio server."""
        return grpc.method_handlers_generic_handler(
            "odd.Service",
            {
                "Call": grpc.unary_unary_rpc_method_handler(self.call),
                "Echo": grpc.stream_stream_rpc_method_handler(lambda requests, _: requests),
                "Forever": grpc.unary_stream_rpc_method_handler(self.forever),
            },
        )

    def call(self, request: bytes, context: Any) -> bytes:
        """Do what the request says."""
        if request == b"details":
            detail = any_pb2.Any()
            detail.Pack(wrappers_pb2.StringValue(value="typed"))
            status = status_pb2.Status(code=9, message="not näw\n", details=[detail])
            context.set_trailing_metadata((("grpc-status-details-bin", status.SerializeToString()),))
            context.abort(grpc.StatusCode.FAILED_PRECONDITION, "not näw\n")
        if request == b"metadata":
            pairs = [pair for pair in context.invocation_metadata() if pair[0].startswith("x-")]
            context.send_initial_metadata((("x-head", "h"), ("x-head-bin", b"\x00\xfe")))
            context.set_trailing_metadata((("x-tail", "t"),))
            return repr([tuple(pair) for pair in pairs]).encode()
        if request == b"deadline":
            return str(context.time_remaining()).encode()
        if request == b"large":
            return bytes(17 << 20)
        return request

    def forever(self, request: bytes, context: Any) -> Iterator[bytes]:
        """Send until the call is cancelled."""
        context.add_callback(self.cancelled.set)
        while context.is_active():
            yield bytes(100_000)


@pytest.fixture(scope="module")
def odd() -> Odd:
    return Odd()


@pytest.fixture(scope="module")
def path(odd: Odd, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Path]:
    made = Path(tmp_path_factory.mktemp("grpcio")) / "s.sock"
    options = [("grpc.max_receive_message_length", 32 << 20), ("grpc.max_send_message_length", 32 << 20)]
    server = grpc.server(futures.ThreadPoolExecutor(8), options=options)
    server.add_generic_rpc_handlers((*generic_handlers(), odd.handler()))
    server.add_insecure_port(f"unix:{made}")
    server.start()
    yield made
    server.stop(None).wait()


@pytest.mark.parametrize("known", METHODS, ids=lambda known: known.path)
async def test_every_method_over_the_channel(path: Path, known: Known) -> None:
    channel = Channel(unix_dialer(path))
    method = known.method()
    client_streaming, server_streaming = known.shape
    if client_streaming or server_streaming:
        stream = await channel.stream(BG, method)
        await stream.send_many([sample(known.request)] * (STREAMED if client_streaming else 1))
        await stream.close_send()
        answers = [message async for message in stream]
    else:
        answers = [await channel.unary(BG, method, sample(known.request))]
    assert answers == [sample(known.response)] * (STREAMED if server_streaming else 1)
    await channel.close()


@pytest.mark.parametrize("known", [k for k in METHODS if not k.shape[0]], ids=lambda known: known.path)
def test_every_method_over_the_blocking_channel(path: Path, known: Known) -> None:
    channel = BlockingChannel(unix_dialer(path), timeout=10)
    method = known.method()
    if known.shape[1]:
        answers = list(channel.server_stream(method, sample(known.request), timeout=10))
        assert answers == [sample(known.response)] * STREAMED
    else:
        assert channel.unary(method, sample(known.request), timeout=10) == sample(known.response)
    channel.close()


async def test_typed_details(path: Path) -> None:
    channel = Channel(unix_dialer(path))
    blocking = BlockingChannel(unix_dialer(path))
    errors = []
    with pytest.raises(RpcError) as caught:
        await channel.unary(BG, ODD, b"details")
    errors.append(caught.value)
    with pytest.raises(RpcError) as caught:
        blocking.unary(ODD, b"details")
    errors.append(caught.value)
    for error in errors:
        assert (error.code, error.message) == (Code.FAILED_PRECONDITION, "not näw\n")
        value = wrappers_pb2.StringValue()
        assert error.details[0].Unpack(value)
        assert value.value == "typed"
    blocking.close()
    await channel.close()


async def test_metadata_both_ways(path: Path) -> None:
    channel = Channel(unix_dialer(path), metadata=[("x-always", "1")])
    stream = await channel.stream(BG, ODD, metadata=[("x-a", "b"), ("x-b-bin", b"\x00\xff"), ("x-a", "c")])
    await stream.send(b"metadata")
    await stream.close_send()
    answer = await stream.recv()
    sent = [("x-always", "1"), ("x-a", "b"), ("x-b-bin", b"\x00\xff"), ("x-a", "c")]
    assert answer is not None
    assert sorted(eval(answer)) == sorted(sent)
    assert {("x-head", "h"), ("x-head-bin", b"\x00\xfe")} <= set(await stream.header())
    assert await stream.recv() is None
    assert ("x-tail", "t") in stream.trailer()
    await channel.close()


async def test_deadlines_are_sent(path: Path) -> None:
    channel = Channel(unix_dialer(path))
    ctx, cancel = context.with_timeout(BG, 100)
    answer = await channel.unary(ctx, ODD, b"deadline")
    assert 90 < float(answer) <= 100
    cancel()
    blocking = BlockingChannel(unix_dialer(path))
    assert 40 < float(blocking.unary(ODD, b"deadline", timeout=50)) <= 50
    blocking.close()
    await channel.close()


async def test_a_message_over_the_limit(path: Path) -> None:
    channel = Channel(unix_dialer(path))
    with pytest.raises(RpcError) as caught:
        await channel.unary(BG, ODD, b"large")
    assert (caught.value.code, caught.value.message) == (
        Code.RESOURCE_EXHAUSTED,
        f"grpc: received message larger than max ({17 << 20} vs. {16 << 20})",
    )
    assert await channel.unary(BG, ODD, b"small") == b"small"
    await channel.close()


async def test_large_messages_both_ways(path: Path) -> None:
    channel = Channel(unix_dialer(path))
    stream = await channel.stream(BG, ECHO)
    sizes = [1, 0, 65535, 65536, 1 << 20, 12 << 20, 5]
    for size in sizes:
        await stream.send(memoryview(bytes(size)))
    await stream.close_send()
    assert [len(message) async for message in stream] == sizes
    await channel.close()


async def test_many_small_messages_in_one_write(path: Path) -> None:
    channel = Channel(unix_dialer(path))
    stream = await channel.stream(BG, ECHO)
    await stream.send_many([b"%d" % number for number in range(5000)])
    await stream.close_send()
    assert [int(message) async for message in stream] == list(range(5000))
    await channel.close()


async def test_a_cancelled_call_is_reset(path: Path, odd: Odd) -> None:
    odd.cancelled.clear()
    channel = Channel(unix_dialer(path))
    stream = await channel.stream(BG, FOREVER)
    await stream.send(b"")
    await stream.close_send()
    assert await stream.recv() is not None
    stream.cancel()
    assert await asyncio.to_thread(odd.cancelled.wait, 10)
    await channel.ping(BG)
    await channel.close()


async def test_an_unknown_method(path: Path) -> None:
    channel = Channel(unix_dialer(path))
    with pytest.raises(RpcError) as caught:
        await channel.unary(BG, Method.raw("/odd.Service/None"), b"")
    assert caught.value.code == Code.UNIMPLEMENTED
    await channel.close()
