"""The key of an ssh server, as it stands in a file of known hosts.

The server shows its key in the answer to the first message of a key exchange, so a greeting, a list of algorithms
and 32 random bytes are enough to see it; nothing secret is agreed on and the server's signature is not checked, for
there is nothing yet to check it against. The algorithms are offered in the order of Go's ssh package, so that a
server with several keys shows the same one.

Mirrors util/sshutil/keyscan.go, v0.32.2. Differs: a server that does not answer within five seconds counts as none.
"""

from __future__ import annotations

import base64
import os
import socket
import struct
from typing import Final

_TIMEOUT: Final = 5.0
_DEFAULT_PORT: Final = 22
_KEX_INIT: Final = 20
_KEX_ECDH_INIT: Final = 30
_KEX_ECDH_REPLY: Final = 31
_MAX_PACKET: Final = 256 * 1024
_HOST_KEYS: Final = (
    "rsa-sha2-256-cert-v01@openssh.com,rsa-sha2-512-cert-v01@openssh.com,ssh-rsa-cert-v01@openssh.com,"
    "ecdsa-sha2-nistp256-cert-v01@openssh.com,ecdsa-sha2-nistp384-cert-v01@openssh.com,"
    "ecdsa-sha2-nistp521-cert-v01@openssh.com,ssh-ed25519-cert-v01@openssh.com,"
    "ecdsa-sha2-nistp256,ecdsa-sha2-nistp384,ecdsa-sha2-nistp521,rsa-sha2-256,rsa-sha2-512,ssh-rsa,ssh-ed25519"
)
_CIPHERS: Final = "aes128-gcm@openssh.com,aes256-gcm@openssh.com,chacha20-poly1305@openssh.com,aes128-ctr,aes256-ctr"
_MACS: Final = "hmac-sha2-256-etm@openssh.com,hmac-sha2-512-etm@openssh.com,hmac-sha2-256,hmac-sha2-512"


def ssh_key_scan(server: str) -> str | None:
    """The line "HOST TYPE KEY" of a server, or None where it cannot be had.

    Args:
        server: "host" or "host:port". Blocks for at most five seconds a read.
    """
    host, port = _split(server)
    try:
        with socket.create_connection((host, port), timeout=_TIMEOUT) as connection:
            key = _host_key(connection)
    except (OSError, ValueError):
        return None
    (size,) = struct.unpack_from(">I", key)
    kind = key[4 : 4 + size].decode("ascii", "replace")
    name = host if port == _DEFAULT_PORT else f"[{host}]:{port}"
    return f"{name} {kind} {base64.b64encode(key).decode()}"


def _split(server: str) -> tuple[str, int]:
    host, colon, port = server.rpartition(":")
    if colon and port.isdigit() and (":" not in host or host.startswith("[")):
        return host.strip("[]"), int(port)
    return server.strip("[]"), _DEFAULT_PORT


def _host_key(connection: socket.socket) -> bytes:
    with connection.makefile("rwb") as stream:
        stream.write(b"SSH-2.0-Go\r\n")
        stream.flush()
        for _ in range(64):
            line = stream.readline(1024)
            if line.startswith(b"SSH-") or not line:
                break
        lists = ("curve25519-sha256,curve25519-sha256@libssh.org", _HOST_KEYS, _CIPHERS, _CIPHERS, _MACS, _MACS)
        body = bytes((_KEX_INIT,)) + os.urandom(16) + b"".join(_string(each.encode()) for each in lists)
        body += _string(b"none") * 2 + _string(b"") * 2 + bytes(5)
        stream.write(_packet(body))
        stream.write(_packet(bytes((_KEX_ECDH_INIT,)) + _string(os.urandom(32))))
        stream.flush()
        for _ in range(16):
            head = stream.read(5)
            if len(head) < 5:
                raise ValueError("the server ended the connection")
            size, padding = struct.unpack(">IB", head)
            if not 1 < size - padding <= _MAX_PACKET:
                raise ValueError("the server sent no packet")
            payload = stream.read(size - 1)[: size - 1 - padding]
            if payload[:1] == bytes((_KEX_ECDH_REPLY,)) and len(payload) > 5:
                (key_size,) = struct.unpack_from(">I", payload, 1)
                return payload[5 : 5 + key_size]
    raise ValueError("the server showed no key")


def _string(data: bytes) -> bytes:
    return struct.pack(">I", len(data)) + data


def _packet(body: bytes) -> bytes:
    padding = 8 - (len(body) + 5) % 8
    padding += 8 if padding < 4 else 0
    return struct.pack(">IB", len(body) + padding + 1, padding) + body + bytes(padding)
