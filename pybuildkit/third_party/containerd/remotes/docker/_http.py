"""Small HTTP requests that may carry credentials; they block.

Mirrors what Go's net/http does for them: proxies of the environment, at most ten redirects, the Authorization header
not sent on to another host.

Differs on purpose: a request with credentials goes to TLS or to this machine's loopback only, redirects included;
connecting, sending and each wait for an answer have time limits, and answers a size limit.
"""

from __future__ import annotations

import ipaddress
from collections.abc import Mapping
from dataclasses import dataclass
from typing import TYPE_CHECKING
from urllib.parse import urljoin, urlsplit, urlunsplit

from pybuildkit.golang.errors import BuildkitError
from pybuildkit.golang.strconv import quote

if TYPE_CHECKING:
    import ssl

    import urllib3

_MAX_REDIRECTS = 10
_MAX_BODY = 1 << 20
_CONNECT_SECONDS = 15.0
_READ_SECONDS = 30.0


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
        sent = dict(headers)
        for _ in range(_MAX_REDIRECTS):
            _check_url(method, url, secret)
            response, location = self._once(method, url, sent, body)
            if not location:
                return response
            target = urljoin(url, location)
            if response.status in (301, 302, 303) and method != "GET":
                method, body = "GET", None
                sent.pop("Content-Type", None)
            if urlsplit(target).hostname != urlsplit(url).hostname:
                sent.pop("Authorization", None)
            secret = secret and (body is not None or "Authorization" in sent)
            url = target
        raise _failure(method, url, f"stopped after {_MAX_REDIRECTS} redirects")

    def _once(self, method: str, url: str, headers: Mapping[str, str], body: bytes | None) -> tuple[Response, str]:
        import urllib3

        manager = connection_pool(url, self._tls)
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
    """
    import ssl

    import urllib3

    secure = urlsplit(url).scheme == "https"
    context = tls or (ssl.create_default_context() if secure else None)
    proxy = proxy_for(url)
    if proxy:
        return urllib3.ProxyManager(proxy, ssl_context=context, num_pools=1)
    return urllib3.PoolManager(ssl_context=context, num_pools=1)


def proxy_for(url: str) -> str:
    """The proxy that the environment names for a URL; "" where there is none."""
    import urllib.request

    parts = urlsplit(url)
    proxy: str = urllib.request.getproxies_environment().get(parts.scheme, "")
    bypass = urllib.request.proxy_bypass_environment(parts.netloc)  # type: ignore[attr-defined]  # not in typeshed
    return "" if bypass or is_loopback(parts.hostname or "") else proxy


def _check_url(method: str, url: str, secret: bool) -> None:
    try:
        parts = urlsplit(url)
        host, _ = parts.hostname or "", parts.port
    except ValueError as err:
        raise HTTPRequestError(f"parse {quote(url)}: {err}") from None
    if parts.scheme not in ("http", "https"):
        raise _failure(method, url, f"unsupported protocol scheme {quote(parts.scheme)}")
    if not host:
        raise _failure(method, url, "http: no Host in request URL")
    if secret and parts.scheme == "http" and not is_loopback(host):
        raise InsecureRealmError(f"refusing to send credentials without TLS to {parts.netloc.rpartition('@')[2]}")


def _failure(method: str, url: str, reason: str) -> HTTPRequestError:
    return HTTPRequestError(f"{method.capitalize()} {quote(shown_url(url))}: {reason}")


def failure_reason(err: BaseException) -> str:
    """Why a request failed, without the library's own wrapping."""
    import urllib3

    is_refused = isinstance(err, urllib3.exceptions.NewConnectionError)  # counted among the timeouts there
    if isinstance(err, urllib3.exceptions.TimeoutError) and not is_refused:
        return "i/o timeout"
    if isinstance(err, urllib3.exceptions.ProxyError):
        return f"proxy: {failure_reason(err.original_error)}"
    text = str(err.args[-1] if err.args else err)
    return text.partition("Failed to establish a new connection: ")[2] or text
