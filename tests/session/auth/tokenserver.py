"""A registry's authorization server on loopback, for tests; with TLS where a certificate is given."""

from __future__ import annotations

import json
import ssl
import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from urllib.parse import parse_qs, urlsplit


@dataclass
class Request:
    """What a client asked."""

    method: str
    path: str
    query: dict[str, list[str]]
    form: dict[str, list[str]]
    authorization: str


Answer = tuple[int, dict[str, str], object]
"""Status, headers, and a body: JSON, or bytes as they are."""


@dataclass
class TokenServer:
    """A running server: its URL, the requests so far, and their bodies as they came."""

    url: str
    requests: list[Request] = field(default_factory=list)
    raw: list[str] = field(default_factory=list)


@contextmanager
def token_server(answer: Callable[[Request], Answer], tls: ssl.SSLContext | None = None) -> Iterator[TokenServer]:
    """Serve until the block ends."""
    state = TokenServer("")

    class Handler(BaseHTTPRequestHandler):
        def _serve(self) -> None:
            parts = urlsplit(self.path)
            body = self.rfile.read(int(self.headers.get("Content-Length", "0"))).decode()
            authorization = self.headers.get("Authorization", "")
            query, form = (parse_qs(text, keep_blank_values=True) for text in (parts.query, body))
            request = Request(self.command, parts.path, query, form, authorization)
            state.requests.append(request)
            state.raw.append(body)
            status, headers, content = answer(request)
            data = content if isinstance(content, bytes) else json.dumps(content).encode()
            self.send_response(status)
            for name, value in {"Content-Length": str(len(data)), **headers}.items():
                self.send_header(name, value)
            self.end_headers()
            if self.command != "HEAD":
                self.wfile.write(data)

        do_GET = do_HEAD = do_POST = _serve

        def log_message(self, format: str, *args: object) -> None:
            pass

    server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
    if tls is not None:
        server.socket = tls.wrap_socket(server.socket, server_side=True)
    state.url = f"{'https' if tls else 'http'}://127.0.0.1:{server.server_address[1]}/token"
    thread = threading.Thread(target=server.serve_forever, kwargs={"poll_interval": 0.01})
    thread.start()
    try:
        yield state
    finally:
        server.shutdown()
        thread.join()
        server.server_close()
