"""Where a daemon is and how to reach it: addresses, TLS, proxies.

Mirrors the dialling half of client/client.go, v0.32.2, and what grpc-go does with an address: `unix:` and
`unix-abstract:` name a socket; `dns:///HOST:PORT`, `dns://SERVER/HOST:PORT` (which asks that name server) and
`passthrough:///HOST:PORT` a TCP address, as `tcp://HOST:PORT` and everything else does; connection helpers
(`docker-container://`, …) come first. Dialers are plain functions that block; the asyncio driver calls them in a
thread.

Differs on purpose: beyond loopback a server name without a CA certificate is refused, because the connection would not
be encrypted; a name that is not found is said to be so without the name server that said it; an IPv6 zone is taken in
`tcp://`; `docker://` and `embedded://` are addresses of ours.
"""

from __future__ import annotations

import os
import socket

from pybuildkit.golang import errors, url
from pybuildkit.golang.errors import BuildkitError
from pybuildkit.golang.strconv import quote

TYPE_CHECKING = False
if TYPE_CHECKING:
    import ssl
    from collections.abc import Callable

    from pybuildkit.rpc import Endpoint

    Dialer = Callable[[float | None], Endpoint]

DEFAULT_ADDRESS = "unix:///run/buildkit/buildkitd.sock"


class DialError(BuildkitError):
    """The daemon's address could not be reached; the text is that of Go's dialler."""

    def __init__(self, text: str, cause: BaseException | None = None) -> None:
        super().__init__(text)
        self.__cause__ = cause


class Credentials:
    """TLS files and names.

    Args:
        server_name: the name to verify on the daemon's certificate.
        ca_cert: path of the CA certificates; "" for none.
        ca_cert_system: whether the system's CA certificates count too.
        cert, key: paths of the client's certificate and key; "" for none.
    """

    __slots__ = ("ca_cert", "ca_cert_system", "cert", "key", "server_name")

    def __init__(
        self, *, server_name: str = "", ca_cert: str = "", ca_cert_system: bool = False, cert: str = "", key: str = ""
    ) -> None:
        self.server_name = server_name
        self.ca_cert = ca_cert
        self.ca_cert_system = ca_cert_system
        self.cert = cert
        self.key = key

    def merge(self, other: Credentials) -> Credentials:
        """These, with what `other` names in their place."""
        return Credentials(
            server_name=other.server_name or self.server_name,
            ca_cert=other.ca_cert or self.ca_cert,
            ca_cert_system=other.ca_cert_system or self.ca_cert_system,
            cert=other.cert or self.cert,
            key=other.key or self.key,
        )


class Target:
    """A daemon's address, resolved: how to dial it, and the authority to name in requests."""

    __slots__ = ("address", "authority", "dial")

    def __init__(self, *, dial: Dialer, authority: str, address: str) -> None:
        self.dial = dial
        self.authority = authority
        self.address = address


def resolve(address: str, credentials: Credentials | None = None) -> Target:
    """Read an address.

    Args:
        address: `unix:///path`, `tcp://host:port`, a connection helper's URL; "" for the default address.
        credentials: the TLS files; None for a connection without TLS.

    Raises:
        BuildkitError: when the address or a TLS file cannot be read. Nothing is dialled yet.
    """
    from pybuildkit.client.connhelper import get_connection_helper

    tls = load_credentials(credentials) if credentials is not None else None
    helper = get_connection_helper(address)
    address = address or DEFAULT_ADDRESS
    parsed = url.parse(address)
    server_name = credentials.server_name if credentials is not None else ""
    authority = server_name or parsed.host
    if helper is not None:
        return Target(dial=helper, authority=authority or "localhost", address=address)
    if parsed.scheme in ("unix", "unix-abstract"):
        return Target(
            dial=_unix_dialer(_unix_path(address, parsed), tls, server_name),
            authority=authority or "localhost",
            address=address,
        )
    host, path = tcp_address(address, parsed), ""
    if parsed.scheme == "passthrough":
        path, host = _pass_through(host)
        if not host:
            return Target(
                dial=_unix_dialer(path, tls, server_name), authority=authority or "localhost", address=address
            )
    if parsed.scheme in _TCP_SCHEMES:
        check_plain_text(host, credentials)
        authority = authority or (f"localhost{host}" if host.startswith(":") else host)
    dial = _tcp_dialer(host, tls, server_name)
    if parsed.scheme == "dns":
        dial = _dns_dialer(host, _name_server(address, host, parsed.host), tls, server_name)
    return Target(dial=dial, authority=authority or "localhost", address=address)


_TCP_SCHEMES = ("tcp", "dns", "passthrough")


def _unresolved(address: str, reason: str) -> BuildkitError:
    return BuildkitError(
        f"failed to dial {quote(url.redacted(address))} . make sure buildkitd is running: failed to exit idle mode: "
        f"failed to start resolver: {reason}"
    )


def _unix_path(address: str, parsed: url.URL) -> str:
    """The socket's path, or its name after an @."""
    if parsed.host:
        raise _unresolved(address, f"invalid (non-empty) authority: {parsed.host}")
    path = parsed.opaque or parsed.path
    return f"@{path}" if parsed.scheme == "unix-abstract" else path


def tcp_address(address: str, parsed: url.URL) -> str:
    """HOST:PORT as an address of TCP names it; the address itself for a scheme that is not known.

    Raises:
        BuildkitError: nothing is named, or what `dns:` cannot read.
    """
    endpoint = (parsed.path or parsed.opaque).removeprefix("/")
    if parsed.scheme == "dns":
        return _dns_address(address, endpoint, _DNS_PORT)
    if parsed.scheme not in _TCP_SCHEMES:
        return address
    host = parsed.host if parsed.scheme == "tcp" else endpoint
    if not host:
        shown = "" if parsed.scheme == "tcp" else address
        raise _unresolved(shown, "passthrough: received empty target in Build()")
    return host


def _dns_address(address: str, endpoint: str, default_port: str) -> str:
    """HOST:PORT of a `dns:` address or of its name server, whose port may be left out."""
    if not endpoint:
        raise _unresolved(address, "dns resolver: missing address")
    if _is_ip(endpoint):
        return join_host_port(endpoint, default_port)
    try:
        host, port = split_host_port(endpoint)
    except DialError:
        try:
            host, port = split_host_port(f"{endpoint}:{default_port}")
        except DialError as err:
            reason = str(err).removeprefix("dial tcp: ")
            raise _unresolved(address, f"invalid target address {endpoint}, error info: {reason}") from err
    if not port:
        raise _unresolved(address, "dns resolver: missing port after port-separator colon")
    return join_host_port(host or "localhost", port)


def _name_server(address: str, target: str, server: str) -> str:
    """HOST:PORT of the name server that a `dns:` address names; "" for the system's, and where none is needed."""
    if not server or _is_ip(split_host_port(target)[0]):
        return ""
    return _dns_address(address, server, "53")


_DNS_PORT = "443"


def _is_ip(text: str) -> bool:
    return _is_ipv6(text) or _reads_as(socket.AF_INET, text)


def _is_ipv6(text: str) -> bool:
    return ":" in text and _reads_as(socket.AF_INET6, text.partition("%")[0])


def _reads_as(family: socket.AddressFamily, text: str) -> bool:
    try:
        socket.inet_pton(family, text)
    except (OSError, ValueError):
        return False
    return True


def join_host_port(host: str, port: str | int) -> str:
    """HOST:PORT, with brackets around an IPv6 address."""
    return f"[{host}]:{port}" if ":" in host else f"{host}:{port}"


def _pass_through(endpoint: str) -> tuple[str, str]:
    """Path of a Unix socket and "", or "" and HOST:PORT."""
    scheme, colon, rest = endpoint.partition(":")
    if scheme != "unix" or not colon:
        return "", endpoint
    if ":/" not in endpoint:
        return rest, ""
    parsed = url.parse(endpoint)
    return parsed.path or parsed.host, ""


def is_loopback(host: str) -> bool:
    """Whether a host name or IP address stays on this machine by its name alone; no name is this machine too."""
    host = host.partition("%")[0]
    if host.startswith("127."):
        return host.replace(".", "").isdecimal()  # and no name such as 127.example.com
    return host in ("", "localhost", "::1") or host.endswith(".localhost")


def check_plain_text(address: str, credentials: Credentials | None) -> None:
    """Refuse a server name to verify on a connection to HOST:PORT that will not be encrypted."""
    if credentials is None or is_loopback(hostname(address)):
        return
    if credentials.server_name and not (credentials.ca_cert or credentials.ca_cert_system or credentials.cert):
        raise BuildkitError(
            f"--tlsservername {credentials.server_name} needs --tlscacert: without it the connection to "
            f"{address} would not be encrypted"
        )


def hostname(address: str) -> str:
    """The host of HOST:PORT, or all of it where it has no port."""
    try:
        return split_host_port(address)[0]
    except DialError:
        return address.removeprefix("[").removesuffix("]")


def load_credentials(credentials: Credentials) -> ssl.SSLContext | None:
    """The TLS context of the given files; None where only a server name is given.

    Raises:
        BuildkitError: "could not read ca certificate: …", "failed to append ca certs", "could not read
            certificate/key: …".
    """
    if not (credentials.ca_cert or credentials.ca_cert_system or credentials.cert or credentials.key):
        return None
    import ssl

    from pybuildkit.golang.os import read_file

    tls = ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT)
    tls.set_alpn_protocols(["h2"])
    if credentials.ca_cert_system:
        tls.load_default_certs()
    if credentials.ca_cert:
        try:
            text = read_file(credentials.ca_cert).decode("utf-8", "surrogateescape")
        except OSError as err:
            raise errors.wrap(err, "could not read ca certificate") from err
        try:
            tls.load_verify_locations(cadata=text)
        except (ssl.SSLError, ValueError) as err:
            raise BuildkitError("failed to append ca certs") from err
    if credentials.cert or credentials.key:
        _load_key_pair(tls, credentials)
    return tls


def _load_key_pair(tls: ssl.SSLContext, credentials: Credentials) -> None:
    from pybuildkit.rpc._tls import KeyPairError, load_key_pair

    try:
        load_key_pair(tls, credentials.cert, credentials.key)
    except (OSError, KeyPairError) as err:
        raise errors.wrap(err, "could not read certificate/key") from err


def unix_name(path: str) -> str:
    """A Unix socket's name for the system: one that begins with @ is not in the file system."""
    return "\0" + path[1:] if path.startswith("@") else path


def connect_unix(path: str, timeout: float | None) -> socket.socket:
    """A connected Unix socket.

    Raises:
        DialError: with Go's text, such as "dial unix PATH: connect: no such file or directory"; for a `timeout` below 0
            the time is over at once.
    """
    if not path:
        raise DialError("dial unix: missing address")
    if timeout is not None and timeout < 0:
        raise DialError(f"dial unix {path}: i/o timeout")
    sock = socket.socket(socket.AF_UNIX, socket.SOCK_STREAM)
    try:
        sock.settimeout(timeout)
        sock.connect(unix_name(path))
        sock.settimeout(None)
    except TimeoutError as err:
        sock.close()
        raise DialError(f"dial unix {path}: i/o timeout", err) from err
    except OSError as err:
        sock.close()
        if err.errno is None:
            raise DialError(f"dial unix {path}: connect: invalid argument", err) from err
        raise DialError(f"dial unix {path}: connect: {os.strerror(err.errno).lower()}", err) from err
    return sock


def _unix_dialer(path: str, tls: ssl.SSLContext | None, server_name: str) -> Dialer:
    def dial(timeout: float | None) -> Endpoint:
        from pybuildkit.rpc import Endpoint

        return Endpoint(sock=connect_unix(path, timeout), tls=tls, server_hostname=server_name or "localhost")

    return dial


def split_host_port(address: str) -> tuple[str, str]:
    """Host and port of a TCP address.

    Raises:
        DialError: with Go's text for a missing port, too many colons or brackets in the wrong place.
    """

    def wrong(reason: str) -> DialError:
        return DialError(f"dial tcp: address {url.redacted(address)}: {reason}")

    host, colon, port = address.rpartition(":")
    if not colon:
        raise wrong("missing port in address")
    inside = host
    if address.startswith("["):
        inside, bracket, rest = address[1:].partition("]")
        if not bracket:
            raise wrong("missing ']' in address")
        if rest != f":{port}":
            raise wrong("too many colons in address" if rest.startswith(":") else "missing port in address")
    elif ":" in host:
        raise wrong("too many colons in address")
    for bracket in "[]":
        if bracket in f"{inside}{port}":
            raise wrong(f"unexpected '{bracket}' in address")
    return inside, port


def _port_number(port: str) -> int:
    if not port:
        return 0
    if port.isascii() and port.isdigit():
        if int(port) > 65535:
            raise DialError(f"dial tcp: address {port}: invalid port")
        return int(port)
    try:
        return socket.getservbyname(port, "tcp")
    except (OSError, ValueError) as err:
        raise DialError(f"dial tcp: lookup tcp/{port}: unknown port", err) from err


def check_host_port(address: str) -> None:
    """Raise DialError where a TCP address will never do, whatever names mean: no port, or none that there is."""
    _port_number(split_host_port(address)[1])


def connect_tcp(address: str, timeout: float | None) -> socket.socket:
    """A connected TCP socket, without Nagle's delay.

    Raises:
        DialError: with Go's text, such as "dial tcp 127.0.0.1:1: connect: connection refused".
    """
    host, port = split_host_port(address)
    number = _port_number(port)
    try:
        found = (
            [] if _reads_as_number(host) else socket.getaddrinfo(host or "localhost", number, type=socket.SOCK_STREAM)
        )
    except (OSError, ValueError) as err:
        raise DialError(f"dial tcp: lookup {host}: no such host", err) from err
    failure: DialError | None = None
    for family, kind, protocol, _, peer in found:
        sock = socket.socket(family, kind, protocol)
        try:
            sock.settimeout(timeout)
            sock.connect(peer)
            sock.settimeout(None)
            sock.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
            return sock
        except OSError as err:
            sock.close()
            shown = join_host_port(str(peer[0]), number) if host else f":{number}"
            timed_out = isinstance(err, TimeoutError) or err.errno is None
            reason = "i/o timeout" if timed_out else f"connect: {os.strerror(err.errno or 0).lower()}"
            failure = failure or DialError(f"dial tcp {shown}: {reason}", err)
    raise failure or DialError(f"dial tcp: lookup {host}: no such host")


def _reads_as_number(host: str) -> bool:
    """Whether the system takes a text for an IPv4 address that Go does not, such as 127.1."""
    try:
        socket.inet_aton(host)
    except (OSError, ValueError):
        return False
    return not _reads_as(socket.AF_INET, host)


def _dns_dialer(address: str, server: str, tls: ssl.SSLContext | None, server_name: str) -> Dialer:
    """Dials the addresses of a name one after the other; the name is the proxy's to resolve where there is one."""
    through_proxy = _tcp_dialer(address, tls, server_name)

    def dial(timeout: float | None) -> Endpoint:
        from pybuildkit.rpc import Code, Endpoint, RpcError

        host, port = split_host_port(address)
        if proxy_for(host, port) is not None:
            return through_proxy(timeout)
        try:
            found = _addresses_of(host, server, timeout)
        except DialError as err:
            raise RpcError(Code.UNAVAILABLE, f"dns: A record lookup error: {err}") from err
        failure: BuildkitError = RpcError(Code.UNAVAILABLE, "name resolver error: produced zero addresses")
        for found_host in found:
            try:
                sock = connect_tcp(join_host_port(found_host, port), timeout)
                return Endpoint(sock=sock, tls=tls, server_hostname=server_name or host)
            except DialError as err:
                failure = err
        raise failure

    return dial


def _addresses_of(host: str, server: str, timeout: float | None) -> list[str]:
    """The addresses of a host by the name server, or by the system where that is ""; none for an unknown name."""
    if _is_ip(host):
        return [host]
    if _reads_as_number(host):
        return []
    if server:
        from pybuildkit.client import _nameserver

        return _nameserver.lookup(host, server, timeout)
    try:
        found = socket.getaddrinfo(host, None, type=socket.SOCK_STREAM)
    except UnicodeError:
        return []
    except socket.gaierror as err:
        if err.errno == socket.EAI_AGAIN:
            raise DialError(f"lookup {host}: server misbehaving", err) from err
        return []
    return [str(peer[0]) for *_, peer in found]


def _tcp_dialer(address: str, tls: ssl.SSLContext | None, server_name: str) -> Dialer:
    def dial(timeout: float | None) -> Endpoint:
        from pybuildkit.rpc import Endpoint

        host, port = split_host_port(address)
        proxy = proxy_for(host, port)
        if proxy is None:
            return Endpoint(sock=connect_tcp(address, timeout), tls=tls, server_hostname=server_name or host)
        sock = connect_tcp(f"{proxy.hostname()}:{proxy.port() or '80'}", timeout)
        try:
            leftover = _http_connect(sock, address, proxy, timeout)
        except BaseException:
            sock.close()
            raise
        return Endpoint(sock=sock, tls=tls, server_hostname=server_name or host, leftover=leftover)

    return dial


def proxy_for(host: str, port: str) -> url.URL | None:
    """The proxy that the environment names for a host (`HTTPS_PROXY`, less `NO_PROXY`), or None."""
    from pybuildkit.golang import httpproxy

    if is_loopback(host):
        return None
    try:
        return httpproxy.proxy_for("https", host, port)
    except httpproxy.ProxyError as err:
        raise DialError(str(err), err) from err


def _http_connect(sock: socket.socket, address: str, proxy: url.URL, timeout: float | None) -> bytes:
    headers = f"CONNECT {address} HTTP/1.1\r\nHost: {address}\r\nUser-Agent: pybuildkit\r\n"
    if proxy.user:
        import base64

        token = base64.b64encode(f"{proxy.user}:{proxy.password or ''}".encode()).decode()
        headers += f"Proxy-Authorization: Basic {token}\r\n"
    status, leftover = http_exchange(sock, headers + "\r\n", timeout)
    if status[:1] != ["200"]:
        raise DialError(f"failed to do connect handshake, response: {' '.join(status)}")
    return leftover


def http_exchange(sock: socket.socket, request: str, timeout: float | None) -> tuple[list[str], bytes]:
    """Send an HTTP/1.1 request head and read the answer's head.

    Returns:
        the words of the status line after the version, and what was read beyond the head.

    Raises:
        DialError: when the peer closes, is silent for `timeout` seconds or does not speak HTTP.
    """
    received = b""
    try:
        sock.settimeout(timeout)
        sock.sendall(request.encode())
        while b"\r\n\r\n" not in received:
            data = sock.recv(4096)
            if not data:
                raise DialError("unexpected EOF while reading the answer's headers")
            received += data
            if len(received) > 65536:
                raise DialError("the answer's headers are too large")
        sock.settimeout(None)
    except OSError as err:
        raise DialError(f"no answer to the HTTP request: {errors.error_text(err)}", err) from err
    head, _, leftover = received.partition(b"\r\n\r\n")
    words = head.split(b"\r\n")[0].decode("latin-1").split(" ")
    if not words[0].startswith("HTTP/1."):
        raise DialError(f"malformed HTTP response {quote(head[:40].decode('latin-1'))}")
    return words[1:], leftover
