"""Tokens that are fetched through a proxy of the environment; its login is for it alone and shown to nobody."""

from __future__ import annotations

import base64
import socket
import threading
from collections.abc import Iterator
from contextlib import contextmanager

import pytest

from pybuildkit.golang import context
from pybuildkit.golang.errors import BuildkitError, error_text
from pybuildkit.third_party.docker_config import ConfigFile
from tests.session.auth.test_authprovider import SECRET, provider, token_request

BG = context.background()
TOKEN = b'{"token": "T"}'
GIVEN = b"HTTP/1.1 200 OK\r\nContent-Length: %d\r\n\r\n%s" % (len(TOKEN), TOKEN)
PASSWORD = "planted password"
LOGIN = f"Basic {base64.b64encode(f'user:{PASSWORD}'.encode()).decode()}"


@pytest.fixture(autouse=True)
def _clean(monkeypatch: pytest.MonkeyPatch) -> None:
    for name in ("http_proxy", "https_proxy", "no_proxy"):
        monkeypatch.delenv(name, raising=False)
        monkeypatch.delenv(name.upper(), raising=False)


@contextmanager
def proxy(answer: bytes) -> Iterator[tuple[int, list[str]]]:
    """A proxy that gives each request one answer: its port, and the heads of the requests."""
    heads: list[str] = []
    with socket.create_server(("127.0.0.1", 0)) as listener:

        def serve() -> None:
            while True:
                try:
                    connection, _ = listener.accept()
                except OSError:
                    return
                with connection:
                    head = b""
                    while b"\r\n\r\n" not in head and (data := connection.recv(4096)):
                        head += data
                    heads.append(head.decode())
                    connection.sendall(answer)

        thread = threading.Thread(target=serve)
        thread.start()
        try:
            yield listener.getsockname()[1], heads
        finally:
            listener.shutdown(socket.SHUT_RDWR)
            thread.join()


def fields(head: str) -> dict[str, str]:
    """The head's fields by name."""
    return dict(line.split(": ", 1) for line in head.split("\r\n")[1:] if line)


@pytest.mark.parametrize(
    ("login", "sent"),
    [("user:planted%20password@", LOGIN), ("user@", f"Basic {base64.b64encode(b'user:').decode()}"), ("", None)],
)
async def test_anonymous(login: str, sent: str | None, monkeypatch: pytest.MonkeyPatch) -> None:
    with proxy(GIVEN) as (port, heads):
        monkeypatch.setenv("HTTP_PROXY", f"http://{login}127.0.0.1:{port}")
        found = await provider(ConfigFile()).fetch_token(BG, token_request("http://token.example/token", "s"))
    assert found.Token == "T"
    assert [head.split("\r\n")[0] for head in heads] == ["GET http://token.example/token?scope=s&service=svc HTTP/1.1"]
    assert fields(heads[0]).get("Proxy-Authorization") == sent
    assert "Authorization" not in fields(heads[0])


@pytest.mark.parametrize(
    ("answer", "text"),
    [
        (b"HTTP/1.1 407 Proxy Authentication Required\r\nContent-Length: 0\r\n\r\n", "Proxy Authentication Required"),
        (b"HTTP/1.1 502 Bad Gateway\r\n\r\n", "Bad Gateway"),
        (b"junk\r\n\r\n", 'malformed HTTP response "junk"'),
        (b"", "EOF"),
        (b"HTTP/1.1 200 OK\r\n\r\n", "EOF"),
    ],
)
async def test_tunnel_that_is_refused(answer: bytes, text: str, monkeypatch: pytest.MonkeyPatch) -> None:
    """The registry's login stays here; the proxy gets its own."""
    with proxy(answer) as (port, heads):
        monkeypatch.setenv("HTTPS_PROXY", f"http://user:planted%20password@127.0.0.1:{port}")
        with pytest.raises(BuildkitError) as caught:
            await provider().fetch_token(BG, token_request("https://token.example/token"))
    assert error_text(caught.value) == f'failed to fetch oauth token: Post "https://token.example/token": {text}'
    assert [head.split(" HTTP/")[0] for head in heads] == ["CONNECT token.example:443"]
    assert fields(heads[0])["Proxy-Authorization"] == LOGIN
    assert SECRET not in heads[0]


@pytest.mark.parametrize(
    ("value", "text"),
    [
        ("http://user:planted@127.0.0.1:1", "proxyconnect tcp: dial tcp 127.0.0.1:1: connect: connection refused"),
        ("socks5://user:planted@127.0.0.1:1", 'proxies of the kind "socks5" are not supported'),
        ("http://user:planted@%zz", 'invalid proxy address "http://user:xxxxx@%zz": parse '),
    ],
)
async def test_proxy_that_cannot_be_used(value: str, text: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("HTTPS_PROXY", value)
    with pytest.raises(BuildkitError) as caught:
        await provider().fetch_token(BG, token_request("https://token.example/token"))
    head = 'failed to fetch oauth token: Post "https://token.example/token": '
    assert error_text(caught.value).startswith(head + text)
    assert "planted" not in error_text(caught.value)
