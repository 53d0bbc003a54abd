"""The blocking channel against our own server, run by a loop in a thread, and against hostile peers."""

from __future__ import annotations

import asyncio
import ctypes
import itertools
import operator
import os
import select
import signal
import socket
import subprocess
import sys
import threading
from collections.abc import Iterator
from pathlib import Path

import pytest

from pybuildkit.golang import context
from pybuildkit.rpc import BlockingChannel, Code, Endpoint, RpcError
from pybuildkit.rpc import _frames as f
from tests.rpc.certificates import certificates
from tests.rpc.frames import SERVER_GREETING
from tests.rpc.peers import DOWN, HANG, UNARY, Echo, Text, hostile, listening, read_until, unix_dialer
from tests.rpc.test_channel import LOSSES, RESPONSES


@pytest.fixture
def path(tmp_path: Path) -> Iterator[Path]:
    """A unix socket that is served while the test runs."""
    made = tmp_path / "x.sock"
    ready = threading.Event()
    finish: list[object] = []

    async def serve() -> None:
        done = asyncio.Event()
        loop = asyncio.get_running_loop()
        finish.append(lambda: loop.call_soon_threadsafe(done.set))
        async with listening(Echo().server(), made):
            ready.set()
            await done.wait()

    thread = threading.Thread(target=lambda: asyncio.run(serve()))
    thread.start()
    assert ready.wait(10)
    yield made
    stop = finish[0]
    assert callable(stop)
    stop()
    thread.join(10)


def test_unary_and_streams(path: Path) -> None:
    channel = BlockingChannel(unix_dialer(path), timeout=5)
    assert channel.unary(UNARY, Text(value="hi")).value == "hi"
    assert channel.unary(UNARY, Text(value="x" * 3_000_000), timeout=10).value == "x" * 3_000_000
    words = " ".join(str(i) for i in range(2000))
    assert [message.value for message in channel.server_stream(DOWN, Text(value=words))] == words.split()
    with pytest.raises(RpcError, match="code = FailedPrecondition desc = because"):
        channel.unary(UNARY, Text(value="fail because"))
    channel.close()
    with pytest.raises(RpcError, match="grpc: the client connection is closing"):
        channel.unary(UNARY, Text())


def test_a_stream_that_is_left_early_is_cancelled(path: Path) -> None:
    channel = BlockingChannel(unix_dialer(path))
    stream = channel.server_stream(DOWN, Text(value="a b c"))
    assert next(stream).value == "a"
    stream.close()  # type: ignore[attr-defined]  # it is a generator
    assert channel.unary(UNARY, Text(value="on")).value == "on"
    channel.close()


def test_a_deadline(path: Path) -> None:
    channel = BlockingChannel(unix_dialer(path))
    assert channel.unary(UNARY, Text(value="connected")).value == "connected"
    with pytest.raises(RpcError, match="code = DeadlineExceeded desc = context deadline exceeded"):
        channel.unary(HANG, b"", timeout=0.05)
    assert channel.unary(UNARY, Text(value="on")).value == "on"
    channel.close()


def test_a_message_over_the_limit(path: Path) -> None:
    channel = BlockingChannel(unix_dialer(path), max_recv_size=10)
    with pytest.raises(RpcError) as caught:
        channel.unary(UNARY, Text(value="x" * 20))
    assert str(caught.value) == (
        "rpc error: code = ResourceExhausted desc = grpc: received message larger than max (22 vs. 10)"
    )
    channel.close()


def test_no_socket(tmp_path: Path) -> None:
    channel = BlockingChannel(unix_dialer(tmp_path / "none.sock"))
    with pytest.raises(RpcError) as caught:
        channel.unary(UNARY, Text())
    text = f"transport: Error while dialing: dial unix {tmp_path}/none.sock: connect: no such file or directory"
    assert str(caught.value) == f'rpc error: code = Unavailable desc = connection error: desc = "{text}"'
    with pytest.raises(RpcError, match="code = DeadlineExceeded desc = latest balancer error: connection error"):
        channel.unary(UNARY, Text(), timeout=0.3, wait_for_ready=True)


def test_waiting_for_a_peer(path: Path) -> None:
    tries: list[int] = []
    dial = unix_dialer(path)

    def late(timeout: float | None) -> Endpoint:
        tries.append(1)
        if len(tries) < 3:
            raise OSError("not yet")
        return dial(timeout)

    channel = BlockingChannel(late)
    assert channel.unary(UNARY, Text(value="late"), wait_for_ready=True, timeout=10).value == "late"
    assert len(tries) == 3
    channel.close()


@pytest.mark.parametrize("case", LOSSES)
def test_a_connection_that_is_lost(case: str) -> None:
    pieces, text = LOSSES[case]

    def act(sock: socket.socket) -> None:
        read_until(sock, b"/test.Echo/Unary")
        sock.sendall(b"".join(pieces))
        sock.shutdown(socket.SHUT_WR)
        read_until(sock, b"never")

    with hostile(act) as dial:
        channel = BlockingChannel(dial, timeout=5)
        with pytest.raises(RpcError) as caught:
            channel.unary(UNARY, Text())
        assert (caught.value.code, caught.value.message) == (Code.UNAVAILABLE, text)
        channel.close()


@pytest.mark.parametrize("case", RESPONSES)
def test_a_response_that_is_not_ok(case: str) -> None:
    raw, code, text = RESPONSES[case]

    def act(sock: socket.socket) -> None:
        read_until(sock, b"/test.Echo/Unary")
        sock.sendall(SERVER_GREETING + raw)
        read_until(sock, b"never")

    with hostile(act) as dial:
        channel = BlockingChannel(dial, timeout=5)
        with pytest.raises(RpcError) as caught:
            channel.unary(UNARY, Text())
        assert (caught.value.code, caught.value.message) == (code, text)
        channel.close()


def test_a_silent_peer_is_given_up_after_the_timeout() -> None:
    def act(sock: socket.socket) -> None:
        read_until(sock, b"never")

    with hostile(act) as dial:
        channel = BlockingChannel(dial, timeout=0.1)
        with pytest.raises(RpcError) as caught:
            channel.unary(UNARY, Text())
        text = 'connection error: desc = "error reading server preface: context deadline exceeded"'
        assert (caught.value.code, caught.value.message) == (Code.UNAVAILABLE, text)


def test_a_silent_peer_after_its_settings_is_given_up_only_by_the_call_s_own_timeout() -> None:
    def act(sock: socket.socket) -> None:
        read_until(sock, f.PREFACE)
        sock.sendall(SERVER_GREETING)
        read_until(sock, b"never")

    with hostile(act) as dial:
        channel = BlockingChannel(dial, timeout=0.1)
        with pytest.raises(RpcError, match="code = DeadlineExceeded"):
            channel.unary(UNARY, Text(), timeout=0.4)
        channel.close()


def test_through_pipes_of_a_child(path: Path) -> None:
    bridge = (
        "import os,socket,sys,threading\n"
        "s=socket.socket(socket.AF_UNIX); s.connect(sys.argv[1])\n"
        "def up():\n"
        "    while d:=os.read(0,65536): s.sendall(d)\n"
        "    s.shutdown(1)\n"
        "threading.Thread(target=up,daemon=True).start()\n"
        "while d:=s.recv(65536): os.write(1,d)\n"
    )
    children: list[subprocess.Popen[bytes]] = []

    def dial(timeout: float | None) -> Endpoint:
        child = subprocess.Popen(
            [sys.executable, "-c", bridge, str(path)], stdin=subprocess.PIPE, stdout=subprocess.PIPE
        )
        children.append(child)
        assert child.stdin is not None
        assert child.stdout is not None
        fds = os.dup(child.stdout.fileno()), os.dup(child.stdin.fileno())
        child.stdin.close()
        child.stdout.close()
        return Endpoint(pipes=fds)

    channel = BlockingChannel(dial, timeout=10)
    assert channel.unary(UNARY, Text(value="y" * 500_000)).value == "y" * 500_000
    channel.close()
    assert children[0].wait(10) is not None


def test_tls(tmp_path: Path) -> None:
    certs = certificates(tmp_path)
    made = tmp_path / "tls.sock"
    ready = threading.Event()
    stops: list[object] = []

    async def serve() -> None:
        with socket.socket(socket.AF_UNIX) as sock:
            sock.bind(str(made))
            sock.listen()
            ctx, cancel = context.with_cancel(context.background())
            loop = asyncio.get_running_loop()
            stops.append(lambda: loop.call_soon_threadsafe(cancel))
            ready.set()
            await Echo().server().listen(sock, ctx, tls=certs.server())

    thread = threading.Thread(target=lambda: asyncio.run(serve()))
    thread.start()
    assert ready.wait(10)
    plain = unix_dialer(made)

    def dial(timeout: float | None) -> Endpoint:
        endpoint = plain(timeout)
        endpoint.tls, endpoint.server_hostname = certs.client(), "localhost"
        return endpoint

    def distrust(timeout: float | None) -> Endpoint:
        import ssl

        endpoint = plain(timeout)
        endpoint.tls, endpoint.server_hostname = ssl.create_default_context(), "localhost"
        return endpoint

    channel = BlockingChannel(dial, timeout=5)
    assert channel.unary(UNARY, Text(value="z" * 500_000)).value == "z" * 500_000
    channel.close()
    with pytest.raises(RpcError, match="certificate signed by unknown authority"):
        BlockingChannel(distrust, timeout=5).unary(UNARY, Text())
    stop = stops[0]
    assert callable(stop)
    stop()
    thread.join(10)


def test_short_calls_import_neither_asyncio_nor_logging() -> None:
    script = (
        "import sys\n"
        "from pybuildkit.rpc import BlockingChannel, Endpoint, Method\n"
        "BlockingChannel(lambda t: Endpoint())\n"
        "assert 'asyncio' not in sys.modules and 'logging' not in sys.modules and 'dataclasses' not in sys.modules\n"
    )
    subprocess.run([sys.executable, "-c", script], check=True)


class _Signalled:
    """A poll object to which a signal comes after the program's last step and before a wait for a silent peer."""

    signals = 1
    results: list[object] = []  # noqa: RUF012  # the test gives its own
    """What the two system calls gave."""

    def __init__(self) -> None:
        self._real = _POLL()
        self.register = self._real.register

    def poll(self, timeout: float | None) -> object:
        if not self.signals or self._real.poll(200):
            return self._real.poll(timeout)
        type(self).signals -= 1
        calls = [(ctypes.CDLL(None).kill, os.getpid(), int(signal.SIGUSR1)), (self._real.poll, timeout)]
        self.results.extend(itertools.starmap(operator.call, calls))  # no step of the program lies between the two
        return self.results[-1]


_POLL = select.poll


@pytest.mark.parametrize("ends", [True, False])
def test_a_signal_just_before_a_wait(path: Path, monkeypatch: pytest.MonkeyPatch, ends: bool) -> None:
    """It ends the wait where its handler raises; where not, the wait goes on."""
    handled: list[int] = []

    def handle(number: int, frame: object) -> None:
        handled.append(number)
        if ends:
            raise RpcError(Code.CANCELLED, "context canceled")

    monkeypatch.setattr(_Signalled, "signals", 1)
    results: list[object] = []
    monkeypatch.setattr(_Signalled, "results", results)
    monkeypatch.setattr(select, "poll", _Signalled)
    before = signal.signal(signal.SIGUSR1, handle)
    channel = BlockingChannel(unix_dialer(path), timeout=20)
    channel.connect()
    assert channel._wire is not None
    woken_by = channel._wire._wakeup.fd
    try:
        if ends:
            with pytest.raises(RpcError, match="code = Canceled desc = context canceled"):
                channel.unary(HANG, b"", timeout=20)
        else:
            with pytest.raises(RpcError, match="code = DeadlineExceeded"):
                channel.unary(HANG, b"", timeout=1)
    finally:
        signal.signal(signal.SIGUSR1, before)
        channel.close()
    assert handled == [signal.SIGUSR1]
    assert results[0] == 0
    assert results[1] == [(woken_by, select.POLLIN)]
    assert signal.set_wakeup_fd(-1) == -1, "signals are left alone again"
