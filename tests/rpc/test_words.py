"""What a client says of a peer that speaks no HTTP/2, or breaks off: what Go's client was seen to print."""

from __future__ import annotations

import socket
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest

from pybuildkit.golang import context
from pybuildkit.rpc import BlockingChannel, Channel, RpcError
from pybuildkit.rpc import _frames as f
from tests.rpc.peers import UNARY, Text, unix_dialer

SETTINGS = b"\0\0\0\4\0\0\0\0\0"
PREFACE = 'connection error: desc = "error reading server preface: {}"'
TOO_LARGE = "http2: frame too large"
HTTP1 = (
    f"http2: failed reading the frame payload: {TOO_LARGE}, note that the frame header looked like an HTTP/1.1 header"
)

CASES = {
    "nothing": (b"", PREFACE.format("EOF")),
    "part of a header": (b"abc", PREFACE.format("unexpected EOF")),
    "part of the settings": (b"\0\0\6\4\0\0\0\0\0abc", PREFACE.format("unexpected EOF")),
    "a greeting of words": (b"hello there, this is a motd\n", PREFACE.format(TOO_LARGE)),
    "http/1.1": (b"HTTP/1.1 400 Bad Request\r\n\r\n", PREFACE.format(HTTP1)),
    "another frame": (
        b"\0\0\10\6\0\0\0\0\x0012345678",
        'connection error: desc = "initial http2 frame from server is not a settings frame: *http2.PingFrame"',
    ),
    "an unknown frame": (
        b"\0\0\0\x63\0\0\0\0\0",
        'connection error: desc = "initial http2 frame from server is not a settings frame: *http2.UnknownFrame"',
    ),
    "settings, then the end": (SETTINGS, "error reading from server: EOF"),
    "settings, then part of a frame": (SETTINGS + b"\0\0", "error reading from server: unexpected EOF"),
    "settings, then words": (SETTINGS + b"Welcome to the machine\n", f"error reading from server: {TOO_LARGE}"),
    "settings, then http/1.1": (SETTINGS + b"HTTP/1.1 200 OK\r\n", f"error reading from server: {HTTP1}"),
}


@contextmanager
def answering(path: Path, data: bytes) -> Iterator[None]:
    """A listener that sends its bytes to whoever has greeted it, once the whole call is there, and ends."""
    with socket.socket(socket.AF_UNIX) as listener:
        listener.bind(str(path))
        listener.listen()

        def work() -> None:
            while True:
                try:
                    sock, _ = listener.accept()
                except OSError:
                    return
                with sock:
                    seen = b""
                    while not seen.startswith(f.PREFACE):
                        seen += sock.recv(65536)
                    sock.sendall(data[: len(SETTINGS)] if data.startswith(SETTINGS) else data)
                    if data.startswith(SETTINGS):
                        while b"/test.Echo/Unary" not in seen:
                            seen += sock.recv(65536)
                        sock.sendall(data[len(SETTINGS) :])
                    sock.shutdown(socket.SHUT_WR)
                    while sock.recv(65536):
                        pass

        thread = threading.Thread(target=work)
        thread.start()
        try:
            yield
        finally:
            listener.shutdown(socket.SHUT_RDWR)
            thread.join(10)


@pytest.mark.parametrize("case", CASES)
async def test_channel(case: str, tmp_path: Path) -> None:
    data, text = CASES[case]
    with answering(tmp_path / "s", data):
        channel = Channel(unix_dialer(tmp_path / "s"))
        with pytest.raises(RpcError) as caught:
            await channel.unary(context.background(), UNARY, Text())
        await channel.close()
    assert caught.value.message == text


@pytest.mark.parametrize("case", CASES)
def test_blocking_channel(case: str, tmp_path: Path) -> None:
    data, text = CASES[case]
    with answering(tmp_path / "s", data):
        channel = BlockingChannel(unix_dialer(tmp_path / "s"))
        with pytest.raises(RpcError) as caught:
            channel.unary(UNARY, Text())
        channel.close()
    assert caught.value.message == text
