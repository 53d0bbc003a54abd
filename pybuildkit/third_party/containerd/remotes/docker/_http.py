"""Small HTTP requests that may carry credentials; they block.

Mirrors what net/http of Go 1.26 does for them: proxies of the environment, at most ten redirects, the Authorization
header not sent on to another host.

Differs on purpose: a request with credentials goes to TLS or to this machine's loopback only, redirects included;
connecting, sending and each wait for an answer have time limits, and answers a size limit.
"""

from __future__ import annotations

import base64
import ipaddress
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from typing import TYPE_CHECKING
from urllib.parse import urljoin, urlsplit, urlunsplit

from pybuildkit.golang import httpproxy
from pybuildkit.golang.errors import BuildkitError, error_text
from pybuildkit.golang.httpproxy import ProxyError
from pybuildkit.golang.strconv import quote
from pybuildkit.golang.url import URL, URLError, parse, redacted
from pybuildkit.rpc._tls import handshake_text

if TYPE_CHECKING:
    import socket
    import ssl
    from typing import Any, TypeVar

    import urllib3

    Manager = TypeVar("Manager", bound=urllib3.PoolManager)

_MAX_REDIRECTS = 10
_MAX_BODY = 1 << 20
_CONNECT_SECONDS = 15.0
_READ_SECONDS = 30.0
_ALERT_SECONDS = 1.0


class HTTPRequestError(BuildkitError):
    """A request got no answer: 'Get "URL": REASON'."""


class InsecureRealmError(BuildkitError):
    """Credentials were to go to a host without TLS."""


@dataclass(frozen=True, kw_only=True)
class Response:
    """An answer, whole: its status, the reason phrase, the method and URL that it is for, at most 1 MiB of body."""

    status: int
    reason: str
    method: str
    url: str
    body: bytes


def is_loopback(host: str) -> bool:
    """Whether a host (a name or an address) is this machine for certain."""
    if host.lower() == "localhost":
        return True
    try:
        return ipaddress.ip_address(host).is_loopback
    except ValueError:
        return False


def shown_url(url: str) -> str:
    """A URL for a text: without user name and password."""
    parts = urlsplit(url)
    return urlunsplit(parts._replace(netloc=parts.netloc.rpartition("@")[2]))


class HTTPClient:
    """Makes requests.

    Args:
        tls: the TLS settings; default: those of the system.
    """

    def __init__(self, tls: ssl.SSLContext | None = None) -> None:
        self._tls = tls

    def request(
        self, method: str, url: str, *, headers: Mapping[str, str], body: bytes | None = None, secret: bool = False
    ) -> Response:
        """One request and its answer, after redirects.

        Args:
            method: "GET" or "POST".
            url: where to.
            headers: for the request.
            body: for a POST.
            secret: the headers or the body hold credentials.

        Raises:
            InsecureRealmError: credentials would go out in the clear. HTTPRequestError: no answer.
        """
        asked, sent = method, dict(headers)
        for _ in range(_MAX_REDIRECTS):
            here = check_url(asked, url, secret)
            response, location = self._once(method, url, with_login(sent, here), body)
            if not location:
                return response
            there = _target(asked, url, location)
            if response.status in (301, 302, 303) and method != "GET":
                method, body = "GET", None
                sent.pop("Content-Type", None)
            if there.hostname() != here.hostname():
                sent.pop("Authorization", None)
            secret = secret and (body is not None or "Authorization" in sent)
            url = urljoin(url, location)
        raise _failure(asked, location, f"stopped after {_MAX_REDIRECTS} redirects")

    def _once(self, method: str, url: str, headers: Mapping[str, str], body: bytes | None) -> tuple[Response, str]:
        import urllib3

        try:
            manager = connection_pool(url, self._tls)
        except (ProxyError, urllib3.exceptions.HTTPError) as err:
            raise _failure(method, url, failure_reason(err)) from None
        try:
            answer = manager.request(
                method,
                url,
                headers=headers,
                body=body,
                redirect=False,
                retries=False,
                preload_content=False,
                timeout=urllib3.Timeout(connect=_CONNECT_SECONDS, read=_READ_SECONDS),
            )
            data = answer.read(_MAX_BODY, decode_content=True)
            answer.release_conn()
        except (urllib3.exceptions.HTTPError, OSError, ValueError) as err:
            raise _failure(method, url, failure_reason(err)) from None
        finally:
            manager.clear()
        response = Response(
            status=answer.status, reason=answer.reason or "", method=method, url=shown_url(url), body=data
        )
        redirected = answer.status in (301, 302, 303, 307, 308)
        return response, answer.headers.get("location", "") if redirected else ""


def connection_pool(url: str, tls: ssl.SSLContext | None = None) -> urllib3.PoolManager:
    """The library's connections for a URL: by the proxy that the environment names for it, or direct.

    Args:
        tls: the TLS settings; default: those of the system.

    Raises:
        ProxyError: the environment names a proxy that is none, or of a kind that is not supported.
    """
    import ssl

    import urllib3

    secure = urlsplit(url).scheme == "https"
    context = tls or (ssl.create_default_context() if secure else None)
    if secure and context is not None and context.verify_mode == ssl.CERT_NONE:
        _do_not_warn(urlsplit(url).hostname or "")
    proxy = proxy_for(url)
    if proxy is None:
        return _with_alerts(urllib3.PoolManager(ssl_context=context, num_pools=1))
    if proxy.scheme not in ("http", "https"):
        raise ProxyError(f"proxies of the kind {quote(proxy.scheme)} are not supported")
    login = {}
    if proxy.user:
        text = f"{proxy.user}:{proxy.password or ''}".encode("utf-8", "surrogateescape")
        login["Proxy-Authorization"] = f"Basic {base64.b64encode(text).decode()}"
    address = f"{proxy.scheme}://{proxy.host}"
    return _with_alerts(urllib3.ProxyManager(address, proxy_headers=login, ssl_context=context, num_pools=1))


def _with_alerts(manager: Manager) -> Manager:
    """The same, but its errors tell why a server ended a connection while the request was being sent."""
    import urllib3

    class Connection(urllib3.connection.HTTPSConnection):
        def send(self, data: Any) -> None:
            try:
                super().send(data)
            except OSError:
                _raise_alert(self.sock)
                raise

    class Pool(urllib3.HTTPSConnectionPool):
        ConnectionCls = Connection

    manager.pool_classes_by_scheme = {"http": urllib3.HTTPConnectionPool, "https": Pool}
    return manager


def _raise_alert(sock: socket.socket | None) -> None:
    """Raise what a TLS peer said before it closed the connection, which nobody has read yet."""
    import ssl

    if not isinstance(sock, ssl.SSLSocket):
        return
    sock.settimeout(_ALERT_SECONDS)
    try:
        sock.recv(1)
    except (ssl.SSLEOFError, ssl.SSLZeroReturnError):
        return
    except ssl.SSLError:
        raise
    except OSError:
        return


def _do_not_warn(host: str) -> None:
    """Keep the library from warning of a host that is not verified: that is what was asked for."""
    import re
    import warnings

    from urllib3.exceptions import InsecureRequestWarning

    message = f".*Unverified HTTPS request is being made to host '{re.escape(host)}'"
    warnings.filterwarnings("ignore", message, InsecureRequestWarning)


def proxy_for(url: str) -> URL | None:
    """The proxy that the environment names for a URL; raises ProxyError where that is no address."""
    parsed = parse(url)
    return httpproxy.proxy_for(parsed.scheme, parsed.hostname(), parsed.port())


def check_url(method: str, url: str, secret: bool) -> URL:
    """The URL, if a request may go there; raises HTTPRequestError, InsecureRealmError."""
    try:
        parsed = parse(url)
    except URLError as err:
        raise HTTPRequestError(str(err)) from None
    if parsed.scheme not in ("http", "https"):
        raise _failure(method, url, f"unsupported protocol scheme {quote(parsed.scheme)}")
    host, port = parsed.hostname(), parsed.port()
    if not host:
        raise _failure(method, url, "http: no Host in request URL")
    if port and int(port) > 65535:
        raise _failure(method, url, f"dial tcp: address {port}: invalid port")
    if secret and parsed.scheme == "http" and not is_loopback(host):
        raise InsecureRealmError(f"refusing to send credentials without TLS to {parsed.host}")
    return parsed


def _target(method: str, url: str, location: str) -> URL:
    """Where a redirect leads; raises HTTPRequestError."""
    try:
        parse(location)
        return parse(urljoin(url, location))
    except (URLError, ValueError) as err:
        raise _failure(method, url, f"failed to parse Location header {quote(redacted(location))}: {err}") from None


def with_login(headers: Mapping[str, str], url: URL) -> dict[str, str]:
    """The headers, with the login that a URL itself holds where there is no other one."""
    if not url.user or "Authorization" in headers:
        return dict(headers)
    login = base64.b64encode(f"{url.user}:{url.password or ''}".encode("utf-8", "surrogateescape"))
    return {**headers, "Authorization": f"Basic {login.decode()}"}


def _failure(method: str, url: str, reason: str) -> HTTPRequestError:
    return HTTPRequestError(f"{method.capitalize()} {quote(shown_url(url))}: {reason}")


def failure_reason(err: BaseException) -> str:
    """Why a request failed, without the library's own wrapping."""
    import http.client
    import re
    import ssl

    import urllib3

    if isinstance(err, urllib3.exceptions.ProxyError):
        refusal = re.fullmatch(r"Tunnel connection failed: \d+ (.+)", str(err.original_error))
        return refusal[1] if refusal else f"proxyconnect tcp: {failure_reason(err.original_error)}"
    cause = next((layer for layer in _layers(err) if isinstance(layer, OSError | http.client.HTTPException)), None)
    if isinstance(err, urllib3.exceptions.NameResolutionError):
        return f"dial tcp: lookup {getattr(err, '_host', '')}: no such host"
    if isinstance(err, urllib3.exceptions.NewConnectionError) and cause is not None:
        peer = f"{err.conn.host}:{err.conn.port}"
        return f"dial tcp {peer}: connect: {_errno_text(cause)}"
    if isinstance(err, urllib3.exceptions.TimeoutError):
        return "i/o timeout"
    if isinstance(cause, ssl.SSLError):
        return handshake_text(cause)
    if isinstance(cause, http.client.RemoteDisconnected):
        return "EOF"
    if isinstance(cause, http.client.BadStatusLine):
        return f"malformed HTTP response {quote(str(cause).strip())}"
    if cause is not None:
        return _errno_text(cause)
    return str(err.args[-1] if err.args else err)


def _layers(err: BaseException) -> Iterator[BaseException]:
    """An error, and those that it was made of."""
    found: BaseException | None = err
    while found is not None:
        yield found
        inner = [arg for arg in found.args if isinstance(arg, BaseException)]
        found = inner[-1] if inner else found.__cause__


def _errno_text(err: BaseException) -> str:
    return error_text(OSError(err.errno, err.strerror)) if isinstance(err, OSError) and err.errno else str(err)
