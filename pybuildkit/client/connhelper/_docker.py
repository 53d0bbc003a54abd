"""`docker://[/SOCKET]`: the BuildKit inside a Docker Engine.

Ours; BuildKit has no such address. Without a socket the engine is that of `DOCKER_HOST`, else of the current
Docker context (`DOCKER_CONTEXT`, or `currentContext` of Docker's configuration), else `/var/run/docker.sock`.

Protocol: an engine that speaks HTTP/2 on its socket is used as it is. Else the connection is upgraded:
`POST /grpc` with `Upgrade: h2c` over HTTP/1.1, answered by 101, after which the bytes are HTTP/2.
"""

from __future__ import annotations

import hashlib
import json
import os
import socket
from typing import TYPE_CHECKING

from pybuildkit.client._dial import (
    Credentials,
    DialError,
    connect_tcp,
    connect_unix,
    http_exchange,
    load_credentials,
)
from pybuildkit.golang import errors, url
from pybuildkit.golang.errors import BuildkitError
from pybuildkit.golang.strconv import quote

if TYPE_CHECKING:
    import ssl

    from pybuildkit.client._dial import Dialer
    from pybuildkit.rpc import Endpoint

_DEFAULT_HOST = "unix:///var/run/docker.sock"
_PREFACE = b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n" + b"\x00\x00\x00\x04\x00\x00\x00\x00\x00"
_PROBE_SECONDS = 5.0
_UPGRADE = "POST /grpc HTTP/1.1\r\nHost: localhost\r\nConnection: Upgrade\r\nUpgrade: h2c\r\nContent-Length: 0\r\n\r\n"


def engine_host() -> str:
    """The engine's address when none is named: environment, Docker context, default."""
    host = os.environ.get("DOCKER_HOST")
    if host:
        return host
    config_dir = os.environ.get("DOCKER_CONFIG") or os.path.join(os.path.expanduser("~"), ".docker")
    name = os.environ.get("DOCKER_CONTEXT") or _current_context(config_dir)
    if not name or name == "default":
        return _DEFAULT_HOST
    folder = hashlib.sha256(name.encode()).hexdigest()
    meta = os.path.join(config_dir, "contexts", "meta", folder, "meta.json")
    try:
        with open(meta, encoding="utf-8") as file:
            endpoint = json.load(file)["Endpoints"]["docker"]["Host"]
    except OSError as err:
        raise BuildkitError(f"docker context {quote(name)} not found: {errors.error_text(err)}") from err
    except (ValueError, KeyError, TypeError) as err:
        raise BuildkitError(f"docker context {quote(name)} names no docker endpoint ({meta})") from err
    return str(endpoint)


def _current_context(config_dir: str) -> str:
    try:
        with open(os.path.join(config_dir, "config.json"), encoding="utf-8") as file:
            return str(json.load(file).get("currentContext", ""))
    except (OSError, ValueError, AttributeError):
        return ""


def helper(parsed: url.URL) -> Dialer:
    """The dialer of such an address."""
    if parsed.host:
        raise BuildkitError(f"docker:// takes a socket's path (docker:///path/docker.sock), got {quote(parsed.host)}")
    host = url.parse(f"unix://{parsed.path}" if parsed.path else engine_host())
    if host.scheme not in ("unix", "tcp", "http", "https"):
        raise BuildkitError(f"docker engine at {host.scheme}:// is not supported (expected unix:// or tcp://)")
    tls = _engine_tls() if host.scheme in ("tcp", "https") else None

    def connect(timeout: float | None) -> socket.socket:
        if host.scheme == "unix":
            return connect_unix(host.path, timeout)
        return connect_tcp(host.host, timeout)

    def dial(timeout: float | None) -> Endpoint:
        from pybuildkit.rpc import Endpoint

        if tls is not None:
            sock, leftover = _upgrade(_wrap(tls, connect(timeout), host.hostname(), timeout), timeout)
            return Endpoint(sock=sock, leftover=leftover)
        if _speaks_http2(connect(timeout), timeout):
            return Endpoint(sock=connect(timeout))
        sock, leftover = _upgrade(connect(timeout), timeout)
        return Endpoint(sock=sock, leftover=leftover)

    return dial


def _engine_tls() -> ssl.SSLContext | None:
    folder = os.environ.get("DOCKER_CERT_PATH")
    if not folder and not os.environ.get("DOCKER_TLS_VERIFY"):
        return None
    folder = folder or os.path.join(os.path.expanduser("~"), ".docker")
    files = {name: os.path.join(folder, f"{name}.pem") for name in ("ca", "cert", "key")}
    tls = load_credentials(Credentials(ca_cert=files["ca"], cert=files["cert"], key=files["key"]))
    assert tls is not None
    tls.set_alpn_protocols(["http/1.1"])
    return tls


def _wrap(tls: ssl.SSLContext, sock: socket.socket, name: str, timeout: float | None) -> socket.socket:
    try:
        sock.settimeout(timeout)
        return tls.wrap_socket(sock, server_hostname=name)
    except OSError as err:
        sock.close()
        raise DialError(f"tls handshake with the docker engine failed: {errors.error_text(err)}", err) from err


def _speaks_http2(sock: socket.socket, timeout: float | None) -> bool:
    """Whether the peer answers an HTTP/2 preface with a SETTINGS frame; the socket is used up."""
    with sock:
        sock.settimeout(min(timeout or _PROBE_SECONDS, _PROBE_SECONDS))
        answer = b""
        try:
            sock.sendall(_PREFACE)
            while len(answer) < 9:
                data = sock.recv(9 - len(answer))
                if not data:
                    return False
                answer += data
        except OSError:
            return False
        return answer[3] == 4 and answer[5:9] == b"\x00\x00\x00\x00" and not answer.startswith(b"HTTP/")


def _upgrade(sock: socket.socket, timeout: float | None) -> tuple[socket.socket, bytes]:
    try:
        status, leftover = http_exchange(sock, _UPGRADE, timeout)
        if status[:1] != ["101"]:
            raise DialError(f"docker engine has no BuildKit to connect to: POST /grpc answered {' '.join(status)}")
    except BaseException:
        sock.close()
        raise
    return sock, leftover
