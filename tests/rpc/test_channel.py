"""The asyncio channel and server together: all shapes, limits, cancellation, deadlines, loss, back-pressure."""

from __future__ import annotations

import asyncio
import socket
from collections.abc import AsyncIterator
from pathlib import Path

import pytest

from pybuildkit.golang import context
from pybuildkit.rpc import (
    Buffer,
    ByteStream,
    Channel,
    Code,
    Endpoint,
    Metadata,
    Method,
    RpcError,
    Server,
    ServerStream,
    StreamEndedError,
    incoming_metadata,
    memory_pipe,
)
from pybuildkit.rpc import _frames as f
from pybuildkit.rpc._connection import Connection
from pybuildkit.rpc._io import open_endpoint, socket_stream
from pybuildkit.rpc.health import add_health, check
from tests.rpc.certificates import certificates
from tests.rpc.frames import REQUEST, RESPONSE, SERVER_GREETING, data, frame, headers
from tests.rpc.peers import (
    BOTH,
    DOWN,
    HANG,
    RAW,
    UNARY,
    UP,
    Echo,
    Text,
    hostile,
    listening,
    pipe_pair,
    read_until,
    serving,
    unix_dialer,
)

BG = context.background()


async def socket_ends() -> tuple[ByteStream, ByteStream]:
    left, right = socket.socketpair()
    return socket_stream(left), socket_stream(right)


async def pipe_ends() -> tuple[ByteStream, ByteStream]:
    left, right = pipe_pair()
    return await open_endpoint(left), await open_endpoint(right)


@pytest.fixture(params=["memory", "sockets", "pipes"])
async def channel(request: pytest.FixtureRequest) -> AsyncIterator[Channel]:
    ends = {"memory": None, "sockets": socket_ends, "pipes": pipe_ends}[request.param]
    async with serving(Echo().server(), await ends() if ends is not None else None) as made:
        yield made


async def test_unary(channel: Channel) -> None:
    assert (await channel.unary(BG, UNARY, Text(value="hi"))).value == "hi"
    answers = await asyncio.gather(*(channel.unary(BG, UNARY, Text(value=str(i))) for i in range(100)))
    assert [answer.value for answer in answers] == [str(i) for i in range(100)]


async def test_all_shapes(channel: Channel) -> None:
    up = await channel.stream(BG, UP)
    await up.send_many([Text(value="a"), Text(value="b")])
    await up.close_send()
    answer = await up.recv()
    assert answer is not None
    assert answer.value == "a b"
    assert await up.recv() is None

    down = await channel.stream(BG, DOWN)
    await down.send(Text(value="x y z"))
    await down.close_send()
    assert [message.value async for message in down] == ["x", "y", "z"]
    assert ("x-head", "1") in await down.header()
    assert ("x-head-bin", b"\0\1") in await down.header()
    assert ("x-tail", "2") in down.trailer()

    both = await channel.stream(BG, BOTH)
    for word in ("one", "two"):
        await both.send(Text(value=word))
        echoed = await both.recv()
        assert echoed is not None
        assert echoed.value == word
    await both.close_send()
    assert await both.recv_many() == []


async def test_messages_of_any_size(channel: Channel) -> None:
    stream = await channel.stream(BG, RAW)
    sizes = [0, 1, 16379, 16384, 300_000, 5_000_000, 0, 16 << 20]

    async def send() -> None:
        for size in sizes:
            await stream.send([b"", memoryview(bytes(size))])
        await stream.send_many([b"a"] * 1000)
        await stream.close_send()

    sender = asyncio.ensure_future(send())
    got: list[bytes] = []
    while messages := await stream.recv_many():
        got += messages
    await sender
    assert [len(message) for message in got] == sizes + [1] * 1000


ERRORS = [
    (UNARY, "fail because", Code.FAILED_PRECONDITION, "because"),
    (UNARY, "bug", Code.UNKNOWN, "a bug"),
    (Method.of("/test.Echo/None", Text, Text), "", Code.UNIMPLEMENTED, "unknown method None for service test.Echo"),
    (Method.of("/test.None/X", Text, Text), "", Code.UNIMPLEMENTED, "unknown service test.None"),
    (Method.of("nonsense", Text, Text), "", Code.UNIMPLEMENTED, 'malformed method name: "nonsense"'),
]


@pytest.mark.parametrize(("method", "word", "code", "text"), ERRORS)
async def test_errors(channel: Channel, method: Method[Text, Text], word: str, code: Code, text: str) -> None:
    with pytest.raises(RpcError) as caught:
        await channel.unary(BG, method, Text(value=word))
    assert (caught.value.code, caught.value.message) == (code, text)


async def test_cardinality() -> None:
    server = Echo().server()

    async def none(stream: ServerStream[bytes, object]) -> None:
        return

    async def two(stream: ServerStream[bytes, object]) -> None:
        await stream.send_many([b"", b""])

    server.add_stream(Method.raw("/test.Echo/Zero"), none)
    server.add_stream(Method.raw("/test.Echo/Two"), two)
    async with serving(server) as channel:
        for path, text in (("Zero", "received no response message"), ("Two", "expected <EOF>")):
            with pytest.raises(RpcError, match=text):
                await channel.unary(BG, Method.of(f"/test.Echo/{path}", Text, Text), Text())
        for count, text in ((0, "received no request message"), (2, "received multiple request messages")):
            stream = await channel.stream(BG, Method.raw(UNARY.path))
            await stream.send_many([b""] * count)
            await stream.close_send()
            with pytest.raises(RpcError, match=text):
                await stream.recv()


async def test_metadata_goes_along() -> None:
    server = Server()
    seen: list[Metadata] = []

    async def note(ctx: context.Context, request: Text) -> Text:
        seen.append(incoming_metadata(ctx))
        return request

    server.add_unary(UNARY, note)
    async with serving(server) as channel:
        await channel.unary(BG, UNARY, Text(), metadata=[("k", "v"), ("k", "w"), ("b-bin", b"\xff")])
    assert [pair for pair in seen[0] if pair[0] in ("k", "b-bin")] == [("k", "v"), ("k", "w"), ("b-bin", b"\xff")]
    assert incoming_metadata(BG) == ()


async def test_a_message_over_the_limit() -> None:
    async with serving(Echo().server(max_recv_size=1000)) as channel:
        with pytest.raises(RpcError) as caught:
            await channel.unary(BG, UNARY, Text(value="x" * 2000))
        assert caught.value.code == Code.RESOURCE_EXHAUSTED
        assert caught.value.message == "grpc: received message larger than max (2003 vs. 1000)"
        assert (await channel.unary(BG, UNARY, Text(value="small"))).value == "small"
    async with serving(Echo().server()) as channel:
        channel._max_recv_size = 10
        with pytest.raises(RpcError, match="ResourceExhausted"):
            await channel.unary(BG, UNARY, Text(value="x" * 20))


@pytest.mark.parametrize("how", ["context", "cancel", "deadline", "task"])
async def test_the_server_learns_that_a_call_is_over(how: str) -> None:
    echo = Echo()
    async with serving(echo.server()) as channel:
        ctx, cancel = context.with_cancel(BG)
        if how == "deadline":
            ctx, cancel = context.with_timeout(BG, 0.05)
        stream = await channel.stream(ctx, HANG)
        await stream.send(b"x")
        reading = asyncio.ensure_future(stream.recv())
        await echo.entered.wait()
        if how == "context":
            cancel()
        elif how in ("cancel", "task"):
            reading.cancel() if how == "task" else None
            stream.cancel()
        with pytest.raises((RpcError, asyncio.CancelledError)) as caught:
            await reading
        if how == "deadline":
            assert str(caught.value) == "rpc error: code = DeadlineExceeded desc = context deadline exceeded"
        elif how != "task":
            assert str(caught.value) == "rpc error: code = Canceled desc = context canceled"
        await echo.left.wait()
        assert echo.ended[-1] in ("context canceled", "context deadline exceeded")
        assert (await channel.unary(BG, UNARY, Text(value="on"))).value == "on"
        cancel()


async def test_a_unary_call_that_is_cancelled_is_reset() -> None:
    echo = Echo()
    server = echo.server()

    async def hang(ctx: context.Context, request: Text) -> Text:
        echo.entered.set()
        await ctx.done()
        echo.left.set()
        return request

    server.add_unary(UNARY, hang)
    async with serving(server) as channel:
        task = asyncio.ensure_future(channel.unary(BG, UNARY, Text()))
        await echo.entered.wait()
        task.cancel()
        with pytest.raises(asyncio.CancelledError):
            await task
        await echo.left.wait()


async def test_a_done_context_opens_nothing(channel: Channel) -> None:
    ctx, cancel = context.with_cancel(BG)
    cancel()
    with pytest.raises(RpcError, match="code = Canceled desc = context canceled"):
        await channel.unary(ctx, UNARY, Text())


async def test_a_handler_that_ignores_its_context_is_cancelled_in_the_end() -> None:
    server = Server()
    ended = asyncio.Event()
    entered = asyncio.Event()

    async def stubborn(stream: ServerStream[bytes, object]) -> None:
        entered.set()
        try:
            await asyncio.get_running_loop().create_future()
        finally:
            ended.set()

    server.add_stream(RAW, stubborn)
    async with serving(server) as channel:
        stream = await channel.stream(BG, RAW)
        await entered.wait()
        stream.cancel()
        await ended.wait()


async def test_a_stalled_reader_stalls_only_its_own_call() -> None:
    server = Server()
    sent = 0

    async def pour(stream: ServerStream[bytes, object]) -> None:
        nonlocal sent
        block = bytes(1 << 18)
        while True:
            await stream.send(block)
            sent += len(block)

    server.add_stream(RAW, pour)
    add_health(server)
    async with serving(server, await socket_ends()) as channel:
        stalled = await channel.stream(BG, RAW)
        await stalled.header()
        before = -1
        while sent != before:
            before = sent
            await check(channel, BG)
            await asyncio.sleep(0.02)
        assert 3 << 20 <= sent <= 24 << 20
        read = 0
        while read < 40 << 20:
            read += sum(map(len, await stalled.recv_many()))
        await check(channel, BG)
        stalled.cancel()


async def test_a_stalled_server_stops_the_sender() -> None:
    echo = Echo()
    async with serving(echo.server(), await socket_ends()) as channel:
        stream = await channel.stream(BG, HANG)
        sent = 0

        async def pour() -> None:
            nonlocal sent
            while True:
                await stream.send(bytes(1 << 18))
                sent += 1 << 18

        pouring = asyncio.ensure_future(pour())
        before = -1
        while sent != before:
            before = sent
            assert (await channel.unary(BG, UNARY, Text(value="on"))).value == "on"
            await asyncio.sleep(0.02)
        assert sent <= 24 << 20
        stream.cancel()
        with pytest.raises(RpcError):
            await pouring


async def test_sending_after_the_end() -> None:
    server = Echo().server()

    async def ends(stream: ServerStream[bytes, object]) -> None:
        return

    server.add_stream(Method.raw("/test.Echo/Ends"), ends)
    async with serving(server) as channel:
        stream = await channel.stream(BG, Method.raw("/test.Echo/Ends"))
        assert await stream.recv() is None
        with pytest.raises(StreamEndedError, match="EOF"):
            await stream.send(b"x")
        stream = await channel.stream(BG, RAW)
        await stream.close_send()
        with pytest.raises(RpcError, match="SendMsg called after CloseSend"):
            await stream.send(b"x")
        assert await stream.recv() is None


async def test_ping_and_activity(channel: Channel) -> None:
    await channel.ping(BG)
    assert channel.last_activity > 0
    assert not channel.closed


async def test_health() -> None:
    server = Server()
    add_health(server)
    assert server.methods() == [f"/grpc.health.v1.Health/{name}" for name in ("Check", "Watch", "List")]
    async with serving(server) as channel:
        await check(channel, BG)
        with pytest.raises(RpcError, match="unknown service"):
            await check(channel, BG, "some.Service")


async def test_many_streams_of_an_old_limit() -> None:
    """More calls than the server allows at once wait for their turn."""
    from pybuildkit.rpc._limits import Limits

    server = Server(limits=Limits(streams=3))
    running = most = 0

    async def count(ctx: context.Context, request: Text) -> Text:
        nonlocal running, most
        running += 1
        most = max(most, running)
        await asyncio.sleep(0)
        running -= 1
        return request

    server.add_unary(UNARY, count)
    async with serving(server) as channel:
        await asyncio.gather(*(channel.unary(BG, UNARY, Text()) for _ in range(30)))
    assert most <= 3


# Connecting and losing.


async def test_no_socket(tmp_path: Path) -> None:
    channel = Channel(unix_dialer(tmp_path / "none.sock"))
    with pytest.raises(RpcError) as caught:
        await channel.unary(BG, UNARY, Text())
    text = f"transport: Error while dialing: dial unix {tmp_path}/none.sock: connect: no such file or directory"
    assert str(caught.value) == f'rpc error: code = Unavailable desc = connection error: desc = "{text}"'
    await channel.close()


async def test_dials_again_after_a_loss(tmp_path: Path) -> None:
    path = tmp_path / "x.sock"
    channel = Channel(unix_dialer(path))
    async with listening(Echo().server(), path):
        assert (await channel.unary(BG, UNARY, Text(value="1"))).value == "1"
    await channel.wait_closed()
    assert channel.closed
    path.unlink()
    async with listening(Echo().server(), path):
        assert (await channel.unary(BG, UNARY, Text(value="2"))).value == "2"
        assert not channel.closed
    await channel.close()
    with pytest.raises(RpcError, match="grpc: the client connection is closing"):
        await channel.unary(BG, UNARY, Text())


async def test_waits_until_the_peer_is_there(tmp_path: Path) -> None:
    path = tmp_path / "x.sock"
    channel = Channel(unix_dialer(path))
    ctx, cancel = context.with_timeout(BG, 0.3)
    with pytest.raises(RpcError, match="code = DeadlineExceeded desc = latest balancer error: connection error"):
        await channel.unary(ctx, UNARY, Text(), wait_for_ready=True)
    cancel()
    call = asyncio.ensure_future(channel.unary(BG, UNARY, Text(value="late"), wait_for_ready=True))
    await asyncio.sleep(0)
    async with listening(Echo().server(), path):
        assert (await call).value == "late"
        await channel.close()


async def test_tls(tmp_path: Path) -> None:
    certs = certificates(tmp_path)
    path = tmp_path / "x.sock"
    plain = unix_dialer(path)

    def dial(timeout: float | None) -> Endpoint:
        endpoint = plain(timeout)
        endpoint.tls, endpoint.server_hostname = certs.client(), "localhost"
        return endpoint

    with socket.socket(socket.AF_UNIX) as sock:
        sock.bind(str(path))
        sock.listen()
        ctx, cancel = context.with_cancel(BG)
        task = asyncio.ensure_future(Echo().server().listen(sock, ctx, tls=certs.server()))
        channel = Channel(dial)
        assert (await channel.unary(BG, UNARY, Text(value="x" * 500_000))).value == "x" * 500_000
        await channel.close()
        other = Channel(plain)
        with pytest.raises(RpcError, match="error reading server preface"):
            await other.unary(BG, UNARY, Text())
        await other.close()
        cancel()
        await task


CUT = "error reading from server: EOF"
GARBAGE = (
    "http2: failed reading the frame payload: http2: frame too large, "
    "note that the frame header looked like an HTTP/1.1 header"
)
LOSSES = {
    "closed at once": ([b""], 'connection error: desc = "error reading server preface: EOF"'),
    "http/1.1": (
        [b"HTTP/1.1 400 Bad Request\r\n\r\n"],
        f'connection error: desc = "error reading server preface: {GARBAGE}"',
    ),
    "closed after settings": ([SERVER_GREETING], CUT),
    "closed within the response": ([SERVER_GREETING, headers(1, RESPONSE), data(1, b"\0\0\0\0\5ab")], CUT),
    "garbage after settings": ([SERVER_GREETING, b"HTTP/1.1 400"], f"error reading from server: {GARBAGE}"),
    "goaway, then closed": (
        [SERVER_GREETING, headers(1, RESPONSE), frame(f.GOAWAY, 0, 0, f.GOAWAY_HEAD.pack(1, 0) + b"graceful_stop")],
        'closing transport due to: connection error: desc = "error reading from server: EOF", '
        'received prior goaway: code: NO_ERROR, debug data: "graceful_stop"',
    ),
}


@pytest.mark.parametrize("case", LOSSES)
async def test_a_connection_that_is_lost(case: str) -> None:
    pieces, text = LOSSES[case]

    def act(sock: socket.socket) -> None:
        read_until(sock, f.PREFACE)
        sock.sendall(pieces[0])
        if len(pieces) > 1 or pieces[0] == SERVER_GREETING:
            read_until(sock, b"/test.Echo/Unary")
        sock.sendall(b"".join(pieces[1:]))
        sock.shutdown(socket.SHUT_WR)
        read_until(sock, b"never")

    with hostile(act) as dial:
        channel = Channel(dial)
        with pytest.raises(RpcError) as caught:
            await channel.unary(BG, UNARY, Text())
        assert (caught.value.code, caught.value.message) == (Code.UNAVAILABLE, text)
        await channel.close()


RESPONSES = {
    "no trailers": (
        headers(1, RESPONSE) + data(1, b"\0\0\0\0\0", end=True),
        Code.INTERNAL,
        "server closed the stream without sending trailers",
    ),
    "reset": (
        frame(f.RST_STREAM, 0, 1, f.UINT32.pack(2)),
        Code.INTERNAL,
        "stream terminated by RST_STREAM with error code: INTERNAL_ERROR",
    ),
    "cancelled": (
        frame(f.RST_STREAM, 0, 1, f.UINT32.pack(8)),
        Code.CANCELLED,
        "stream terminated by RST_STREAM with error code: CANCEL",
    ),
    "cut message": (
        headers(1, RESPONSE) + data(1, b"\0\0\0\0\5ab") + headers(1, [(b"grpc-status", b"0")], end=True),
        Code.INTERNAL,
        "unexpected EOF",
    ),
    "not gRPC": (
        headers(1, [(b":status", b"404"), (b"content-type", b"text/html")]) + data(1, b"<no>", end=True),
        Code.UNIMPLEMENTED,
        "unexpected HTTP status code received from server: 404 (Not Found); "
        'transport: received unexpected content-type "text/html"\ndata: "<no>"',
    ),
    "not gRPC, no body": (
        headers(1, [(b":status", b"503")], end=True),
        Code.UNAVAILABLE,
        "unexpected HTTP status code received from server: 503 (Service Unavailable); "
        "malformed header: missing HTTP content-type",
    ),
    "two heads": (
        headers(1, RESPONSE) + headers(1, [(b"x", b"y")]),
        Code.INTERNAL,
        "a HEADERS frame cannot appear in the middle of a stream",
    ),
    "error with trailers only": (
        headers(1, [*RESPONSE, (b"grpc-status", b"5"), (b"grpc-message", b"no %C3%BC")], end=True),
        Code.NOT_FOUND,
        "no ü",
    ),
}


@pytest.mark.parametrize("case", RESPONSES)
async def test_a_response_that_is_not_ok(case: str) -> None:
    raw, code, text = RESPONSES[case]

    def act(sock: socket.socket) -> None:
        read_until(sock, f.PREFACE)
        sock.sendall(SERVER_GREETING)
        read_until(sock, b"/test.Echo/Unary")
        sock.sendall(raw)
        read_until(sock, b"never")

    with hostile(act) as dial:
        channel = Channel(dial)
        with pytest.raises(RpcError) as caught:
            await channel.unary(BG, UNARY, Text())
        assert (caught.value.code, caught.value.message) == (code, text)
        await channel.close()


async def test_messages_before_an_error_are_read() -> None:
    async def speak_and_fail(stream: ServerStream[Text, Text]) -> None:
        await stream.send_many([Text(value="first"), Text(value="last words")])
        raise RpcError(Code.ABORTED, "no more")

    server = Server()
    server.add_stream(BOTH, speak_and_fail)
    ours, theirs = memory_pipe()
    answering = asyncio.ensure_future(server.serve(theirs, BG))
    channel = Channel.over(ours)
    stream = await channel.stream(BG, BOTH)
    await stream.send(Text(value="go"))
    while not stream._response.ended:  # all has come in one piece, before any of it is read
        await asyncio.sleep(0)
    assert [message.value for message in await stream.recv_many()] == ["first", "last words"]
    with pytest.raises(RpcError, match="no more") as caught:
        await stream.recv()
    assert caught.value.code == Code.ABORTED
    with pytest.raises(RpcError, match="no more"):
        await stream.send(Text(value="too late"))
    await channel.close()
    await answering


async def test_what_was_not_read_of_a_cancelled_call_is_gone() -> None:
    ours, theirs = memory_pipe()
    answering = asyncio.ensure_future(Echo().server().serve(theirs, BG))
    channel = Channel.over(ours)
    stream = await channel.stream(BG, BOTH)
    await stream.send(Text(value="a"))
    while not stream._deframer.messages:
        await asyncio.sleep(0)
    stream.cancel()
    with pytest.raises(RpcError, match="context canceled"):
        await stream.recv()
    await channel.close()
    await answering


class _Leaving:
    """A peer that greets and goes away so many turns of the loop later."""

    def __init__(self, turns: int) -> None:
        self._turns = turns
        self._greeting = SERVER_GREETING

    async def read(self, n: int) -> bytes:
        """The greeting, then the end."""
        if self._greeting:
            greeting, self._greeting = self._greeting, b""
            return greeting
        for _ in range(self._turns):
            await asyncio.sleep(0)
        return b""

    async def write_buffers(self, buffers: list[Buffer]) -> None:
        """Nobody reads it."""

    async def close(self) -> None:
        """Nothing is open."""


@pytest.mark.parametrize("turns", range(16))
async def test_a_peer_that_leaves_before_the_call_is_under_way(turns: int) -> None:
    channel = Channel.over(_Leaving(turns))
    with pytest.raises(RpcError) as caught:
        await asyncio.wait_for(channel.unary(context.with_cancel(BG)[0], UNARY, Text()), 10)
    assert caught.value.code == Code.UNAVAILABLE
    await channel.close()


async def test_a_silent_peer_is_given_up_after_the_dial_timeout() -> None:
    def act(sock: socket.socket) -> None:
        read_until(sock, b"never")

    with hostile(act) as dial:
        channel = Channel(dial, dial_timeout=0.1)
        with pytest.raises(RpcError) as caught:
            await channel.unary(BG, UNARY, Text())
        text = 'connection error: desc = "error reading server preface: context deadline exceeded"'
        assert (caught.value.code, caught.value.message) == (Code.UNAVAILABLE, text)
        await channel.close()


async def test_a_dialer_that_hangs_is_given_up() -> None:
    import threading

    release = threading.Event()

    def dial(timeout: float | None) -> Endpoint:
        release.wait(10)
        raise OSError("late")

    channel = Channel(dial, dial_timeout=0.05)
    with pytest.raises(RpcError, match="Error while dialing: context deadline exceeded"):
        await channel.unary(BG, UNARY, Text())
    release.set()
    await channel.close()


async def test_a_refused_call_is_made_again() -> None:
    calls = 0

    def act(sock: socket.socket) -> None:
        nonlocal calls
        calls += 1
        read_until(sock, f.PREFACE)
        sock.sendall(SERVER_GREETING)
        read_until(sock, b"/test.Echo/Unary")
        if calls == 1:
            sock.sendall(frame(f.GOAWAY, 0, 0, f.GOAWAY_HEAD.pack(0, 0)))
        else:
            sock.sendall(headers(1, RESPONSE) + data(1, b"\0\0\0\0\0") + headers(1, [(b"grpc-status", b"0")], end=True))
        read_until(sock, b"never")

    with hostile(act) as dial:
        channel = Channel(dial)
        assert await channel.unary(BG, UNARY, Text()) == Text()
        await channel.close()
    assert calls == 2


async def test_the_reason_of_a_child_process_replaces_eof() -> None:
    left, right = socket.socketpair()
    left.close()
    endpoint = Endpoint(right, explain=lambda: "command [ssh] has exited with exit status 255")
    channel = Channel(lambda timeout: endpoint)
    with pytest.raises(RpcError, match=r"error reading server preface: command \[ssh\] has exited"):
        await channel.unary(BG, UNARY, Text())
    await channel.close()


async def test_serve_raises_for_garbage_and_not_for_the_end() -> None:
    for raw, fails in ((b"", False), (b"GET / HTTP/1.1\r\n\r\n", True)):
        left, right = socket.socketpair()
        right.sendall(raw)
        right.shutdown(socket.SHUT_WR)
        serve = Server().serve(socket_stream(left), BG)
        if fails:
            with pytest.raises(f.ProtocolFault):
                await serve
        else:
            await serve
        right.close()


async def test_a_lost_connection_ends_the_handlers() -> None:
    echo = Echo()
    left, right = socket.socketpair()
    task = asyncio.ensure_future(echo.server().serve(socket_stream(left), BG))
    conn = Connection(client=True)
    stream = conn.open_stream([*REQUEST[:2], (b":path", HANG.path.encode()), *REQUEST[3:]])
    conn.send_data(stream, [b"\0\0\0\0\0"], 5)
    right.sendall(b"".join(conn.take(1000)))
    await echo.entered.wait()
    right.shutdown(socket.SHUT_WR)
    await task
    right.close()
    assert echo.ended == ["context canceled"]
