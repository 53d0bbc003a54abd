"""A peer that goes away without the alert that ends a TLS connection, at each point of a call: errors in our words."""

from __future__ import annotations

import asyncio
import contextlib
import socket
import ssl
import struct
import threading
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from pybuildkit.golang import context
from pybuildkit.rpc import BlockingChannel, Channel, Code, RpcError
from pybuildkit.rpc._types import Endpoint
from tests.rpc.certificates import certificates
from tests.rpc.frames import SERVER_GREETING
from tests.rpc.peers import UNARY, Text

BLOCK = 1 << 16


def _nothing(sock: socket.socket, secure: Callable[[], socket.socket]) -> None:
    """Gone before the handshake."""
    sock.recv(1)


def _handshake(sock: socket.socket, secure: Callable[[], socket.socket]) -> None:
    """Gone after the handshake."""
    secure()


def _refused(sock: socket.socket, secure: Callable[[], socket.socket]) -> None:
    """Ends the connection with an alert, after the handshake as the client sees it: it wants a certificate."""
    secure()


def _preface(sock: socket.socket, secure: Callable[[], socket.socket]) -> None:
    """Gone after the client's preface was read."""
    secure().recv(BLOCK)


def _settings(sock: socket.socket, secure: Callable[[], socket.socket]) -> None:
    """Gone once there is a connection, and a call on it."""
    wrapped = secure()
    wrapped.sendall(SERVER_GREETING)
    seen = b""
    while b"\x01\x04" not in seen and b"\x01\x05" not in seen:
        piece = wrapped.recv(BLOCK)
        if not piece:
            return
        seen += piece


PREFACE = 'connection error: desc = "error reading server preface: {}"'
STAGES: dict[Callable[..., None], str] = {
    _nothing: 'connection error: desc = "transport: authentication handshake failed: {}"',
    _handshake: PREFACE,
    _preface: PREFACE,
    _settings: "error reading from server: {}",
}
RESET = ["EOF", "connection reset by peer", "broken pipe"]
"""How a reset may look: what was sent before it may still be read first."""


@contextlib.contextmanager
def peer(folder: Path, stage: Callable[..., None], reset: bool = False) -> Iterator[Callable[[float | None], Endpoint]]:
    """A listener whose connections end at a stage; gives a dialer."""
    certs = certificates(folder)
    with socket.create_server(("127.0.0.1", 0)) as listener:

        def serve() -> None:
            with contextlib.suppress(OSError):
                while True:
                    sock, _ = listener.accept()
                    sock.settimeout(20)
                    end(sock)

        def end(sock: socket.socket) -> None:
            kept: list[socket.socket] = []

            def secure() -> socket.socket:
                server = certs.server()
                server.verify_mode = ssl.CERT_REQUIRED if stage is _refused else ssl.CERT_NONE
                server.load_verify_locations(certs.cert)
                wrapped = server.wrap_socket(sock.dup(), server_side=True)
                kept.append(wrapped)
                return wrapped

            with contextlib.suppress(OSError):
                stage(sock, secure)
            if reset:
                sock.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
            else:
                with contextlib.suppress(OSError):
                    sock.shutdown(socket.SHUT_WR)
                    while sock.recv(BLOCK):
                        pass
            for each in kept:
                each.close()
            sock.close()

        def dial(timeout: float | None) -> Endpoint:
            sock = socket.create_connection(listener.getsockname(), timeout=20)
            sock.settimeout(None)
            return Endpoint(sock=sock, tls=certs.client(), server_hostname="localhost")

        thread = threading.Thread(target=serve, daemon=True)
        thread.start()
        try:
            yield dial
        finally:
            listener.shutdown(socket.SHUT_RDWR)
            thread.join(20)


def check(err: RpcError, stage: Callable[..., None], reset: bool) -> None:
    stages = {STAGES[stage], PREFACE} if reset else {STAGES[stage]}
    expected = {text.format(cause) for text in stages for cause in (RESET if reset else ["EOF"])}
    assert (err.code, err.message) in {(Code.UNAVAILABLE, text) for text in expected}


@pytest.mark.parametrize("reset", [False, True])
@pytest.mark.parametrize("stage", STAGES)
async def test_channel(tmp_path: Path, stage: Callable[..., None], reset: bool) -> None:
    with peer(tmp_path, stage, reset) as dial:
        channel = Channel(dial)
        with pytest.raises(RpcError) as caught:
            async with asyncio.timeout(20):
                await channel.unary(context.background(), UNARY, Text(value="x"))
        await channel.close()
    check(caught.value, stage, reset)


@pytest.mark.parametrize("reset", [False, True])
@pytest.mark.parametrize("stage", STAGES)
def test_blocking(tmp_path: Path, stage: Callable[..., None], reset: bool) -> None:
    with peer(tmp_path, stage, reset) as dial:
        channel = BlockingChannel(dial, timeout=20)
        with pytest.raises(RpcError) as caught:
            channel.unary(UNARY, Text(value="x"))
        channel.close()
    check(caught.value, stage, reset)


REFUSED = PREFACE.format("remote error: tls: certificate required")


async def test_channel_without_a_certificate(tmp_path: Path) -> None:
    with peer(tmp_path, _refused) as dial:
        channel = Channel(dial)
        with pytest.raises(RpcError) as caught:
            await channel.unary(context.background(), UNARY, Text(value="x"))
        await channel.close()
    assert caught.value.message == REFUSED


def test_blocking_without_a_certificate(tmp_path: Path) -> None:
    with peer(tmp_path, _refused) as dial:
        channel = BlockingChannel(dial, timeout=20)
        with pytest.raises(RpcError) as caught:
            channel.unary(UNARY, Text(value="x"))
        channel.close()
    assert caught.value.message == REFUSED
