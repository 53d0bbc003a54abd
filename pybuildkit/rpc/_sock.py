"""What the asyncio and the blocking driver both need of sockets. Not a port."""

from __future__ import annotations

import socket

from pybuildkit.rpc._types import Buffer

IOV_MAX = 1024


def advance(buffers: list[Buffer], start: int, sent: int) -> int:
    """Step over `sent` bytes from `buffers[start]` on; gives the new start, a half-sent buffer is cut."""
    while sent:
        size = len(buffers[start])
        if sent < size:
            buffers[start] = memoryview(buffers[start])[sent:]
            break
        sent -= size
        start += 1
    return start


def socket_label(sock: socket.socket) -> str:
    """A connection as Go's net package names it: "unix @->/run/x.sock", "tcp 127.0.0.1:1->127.0.0.1:2"."""
    try:
        local, remote = sock.getsockname(), sock.getpeername()
    except OSError:
        return "unix" if sock.family == socket.AF_UNIX else "tcp"
    if sock.family == socket.AF_UNIX:
        return f"unix {_unix_name(local)}->{_unix_name(remote)}"
    return f"tcp {_tcp_name(local)}->{_tcp_name(remote)}"


def _unix_name(name: str | bytes) -> str:
    text = name.decode("utf-8", "replace") if isinstance(name, bytes) else name
    return text.replace("\0", "@", 1) or "@"


def _tcp_name(name: tuple[str, int]) -> str:
    host, port = name[0], name[1]
    return f"[{host}]:{port}" if ":" in host else f"{host}:{port}"
