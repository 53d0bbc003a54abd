"""Other ways to a daemon: sockets, TLS ends and HTTP proxies of the test, each joined to a daemon's own address."""

from __future__ import annotations

import contextlib
import datetime
import ipaddress
import socket
import ssl
import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

from cryptography import x509
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.x509.oid import ExtendedKeyUsageOID, NameOID

from pybuildkit.client._dial import resolve

_SIZE = 256 * 1024
_HANDSHAKE_SECONDS = 10.0

Welcome = Callable[[socket.socket], "socket.socket | None"]
"""Makes a connection ready (a TLS handshake, a proxy's CONNECT); None where it is refused."""


class Bridge:
    """Joins every connection to a listener with a connection of its own to a daemon."""

    def __init__(self, listener: socket.socket, addr: str, welcome: Welcome) -> None:
        self._listener = listener
        self._addr = addr
        self._welcome = welcome
        self._threads = [threading.Thread(target=self._accept)]
        self._open: list[socket.socket] = []
        self._threads[0].start()

    def _accept(self) -> None:
        while True:
            try:
                connection, _ = self._listener.accept()
            except OSError:
                return
            thread = threading.Thread(target=self._join, args=(connection,))
            self._threads.append(thread)
            thread.start()

    def _join(self, connection: socket.socket) -> None:
        self._open.append(connection)
        try:
            connection.settimeout(_HANDSHAKE_SECONDS)
            ready = self._welcome(connection)
        except OSError:
            ready = None  # the client broke the handshake off: the test sees why in the client's error
        if ready is None:
            connection.close()
            return
        ready.settimeout(None)
        self._open.append(ready)
        endpoint = resolve(self._addr).dial(_HANDSHAKE_SECONDS)
        assert endpoint.sock is not None
        with ready, endpoint.sock as daemon:
            self._open.append(daemon)
            back = threading.Thread(target=_copy, args=(daemon, ready, endpoint.leftover))
            back.start()
            _copy(ready, daemon)
            back.join()
        if endpoint.on_close is not None:
            endpoint.on_close()

    def close(self) -> None:
        """Cut all connections and wait for the threads."""
        with contextlib.suppress(OSError):
            self._listener.shutdown(socket.SHUT_RDWR)
        self._threads[0].join()
        self._listener.close()
        for sock in self._open:
            with contextlib.suppress(OSError):
                sock.shutdown(socket.SHUT_RDWR)
        for thread in self._threads[1:]:
            thread.join()


def _copy(source: socket.socket, target: socket.socket, first: bytes = b"") -> None:
    """Copy until either side ends, then end both."""
    try:
        data = first or source.recv(_SIZE)
        while data:
            target.sendall(data)
            data = source.recv(_SIZE)
    except OSError:
        pass  # cut by the other direction, or by close
    for sock in (source, target):
        with contextlib.suppress(OSError):
            sock.shutdown(socket.SHUT_RDWR)


@contextmanager
def unix_bridge(path: Path, addr: str) -> Iterator[str]:
    """A unix socket that leads to a daemon, however that is reached; its address."""
    listener = socket.socket(socket.AF_UNIX)
    listener.bind(str(path))
    listener.listen()
    bridge = Bridge(listener, addr, lambda connection: connection)
    try:
        yield f"unix://{path}"
    finally:
        bridge.close()


def _handshake(connection: socket.socket, tls: ssl.SSLContext) -> socket.socket | None:
    """The connection's TLS end; None where the handshake fails, after the client has had the alert."""
    secured = tls.wrap_socket(connection, server_side=True, do_handshake_on_connect=False)
    try:
        secured.do_handshake()
    except OSError:
        with contextlib.suppress(OSError), socket.socket(fileno=secured.detach()) as plain:
            # closed with something unread, the connection would be reset and the alert lost
            plain.shutdown(socket.SHUT_WR)
            while plain.recv(_SIZE):
                continue
        return None
    return secured


@contextmanager
def tcp_bridge(addr: str, tls: ssl.SSLContext | None = None) -> Iterator[str]:
    """A port of 127.0.0.1 that leads to a daemon, behind TLS where given; its address."""

    def welcome(connection: socket.socket) -> socket.socket | None:
        return connection if tls is None else _handshake(connection, tls)

    listener = socket.create_server(("127.0.0.1", 0))
    bridge = Bridge(listener, addr, welcome)
    try:
        yield f"tcp://127.0.0.1:{listener.getsockname()[1]}"
    finally:
        bridge.close()


@dataclass
class Proxy:
    """A running proxy: its URL's host and port, and the heads of the requests it had."""

    host: str
    heads: list[str]


@contextmanager
def http_proxy(addr: str, answer: str = "200 Connection established") -> Iterator[Proxy]:
    """An HTTP proxy that takes every CONNECT for the daemon at `addr`, or answers with a refusal."""
    heads: list[str] = []

    def welcome(connection: socket.socket) -> socket.socket | None:
        head = b""
        while not head.endswith(b"\r\n\r\n"):
            head += connection.recv(1)
        heads.append(head.decode())
        connection.sendall(f"HTTP/1.1 {answer}\r\n\r\n".encode())
        return connection if answer.startswith("200") else None

    listener = socket.create_server(("127.0.0.1", 0))
    bridge = Bridge(listener, addr, welcome)
    try:
        yield Proxy(f"127.0.0.1:{listener.getsockname()[1]}", heads)
    finally:
        bridge.close()


class Authority:
    """A certificate authority of the test; `ca` is its certificate's file."""

    def __init__(self, folder: Path) -> None:
        folder.mkdir(parents=True, exist_ok=True)
        self._folder = folder
        self._key = ec.generate_private_key(ec.SECP256R1())
        self._name = x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, f"authority {folder.name}")])
        self.ca = folder / "ca.pem"
        certificate = self._sign(self._name, self._key, [], ca=True)
        self.ca.write_bytes(certificate.public_bytes(serialization.Encoding.PEM))

    def _sign(
        self, name: x509.Name, key: ec.EllipticCurvePrivateKey, names: list[x509.GeneralName], *, ca: bool
    ) -> x509.Certificate:
        now = datetime.datetime.now(datetime.UTC)
        builder = (
            x509.CertificateBuilder(self._name, name, key.public_key(), x509.random_serial_number())
            .not_valid_before(now - datetime.timedelta(hours=1))
            .not_valid_after(now + datetime.timedelta(hours=1))
            .add_extension(x509.BasicConstraints(ca=ca, path_length=None), critical=True)
        )
        if not ca:
            usages = [ExtendedKeyUsageOID.SERVER_AUTH, ExtendedKeyUsageOID.CLIENT_AUTH]
            builder = builder.add_extension(x509.ExtendedKeyUsage(usages), critical=False)
        if names:
            builder = builder.add_extension(x509.SubjectAlternativeName(names), critical=False)
        return builder.sign(self._key, hashes.SHA256())

    def issue(self, stem: str, *, dns: str = "", ip: str = "") -> tuple[Path, Path]:
        """Files of a certificate for a name and an address, and of its key."""
        key = ec.generate_private_key(ec.SECP256R1())
        names: list[x509.GeneralName] = [x509.DNSName(dns)] if dns else []
        names += [x509.IPAddress(ipaddress.ip_address(ip))] if ip else []
        certificate = self._sign(x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, stem)]), key, names, ca=False)
        paths = self._folder / f"{stem}.pem", self._folder / f"{stem}-key.pem"
        paths[0].write_bytes(certificate.public_bytes(serialization.Encoding.PEM))
        form, plain = serialization.PrivateFormat.PKCS8, serialization.NoEncryption()
        paths[1].write_bytes(key.private_bytes(serialization.Encoding.PEM, form, plain))
        return paths

    def server(self, certificate: Path, key: Path) -> ssl.SSLContext:
        """A server's TLS context that wants a client certificate of this authority."""
        context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
        context.load_cert_chain(certificate, key)
        context.load_verify_locations(self.ca)
        context.verify_mode = ssl.CERT_REQUIRED
        context.set_alpn_protocols(["h2"])
        return context
