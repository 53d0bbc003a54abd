"""One HTTP request and its answer, after redirects; it blocks, and runs in a thread.

Mirrors what Go's net/http does for a daemon: proxies of the environment, at most ten redirects, the Authorization
header not sent on to another host.

Every request has time limits for connecting and for each wait; names are looked up for a few seconds only, so that a
machine without network says so soon. Redirects lead to web addresses only.
"""

from __future__ import annotations

import errno
import http.client
import socket
import ssl
import threading
import zlib
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from typing import TYPE_CHECKING
from urllib.parse import urljoin, urlsplit

from pybuildkit.golang import context, threads
from pybuildkit.golang.context import Context
from pybuildkit.golang.errors import BuildkitError
from pybuildkit.golang.httpproxy import ProxyError
from pybuildkit.golang.strconv import quote
from pybuildkit.golang.url import URLError, parse, redacted
from pybuildkit.third_party.containerd.remotes.docker._http import (
    connection_pool,
    failure_reason,
    is_loopback,
    proxy_for,
    shown_url,
)

if TYPE_CHECKING:
    import urllib3

_CONNECT_SECONDS = 15.0
_READ_SECONDS = 60.0
_LOOKUP_SECONDS = 10.0
_MAX_REDIRECTS = 10
_BROKEN = "net/http: HTTP/1.x transport connection broken: "
CHUNK = 1 << 20

Body = Callable[[], object]
"""Opens what a request sends: bytes, or a file open for reading."""


class RequestError(BuildkitError):
    """A request got no answer: `failed to do request: METHOD "URL": REASON`."""


class StatusError(BuildkitError):
    """An answer that was not wanted: `unexpected status from METHOD request to URL: STATUS`."""

    def __init__(self, method: str, url: str, status: int, reason: str) -> None:
        text = f"{status} {reason}".strip()
        super().__init__(f"unexpected status from {method} request to {shown_url(url)}: {text}")
        self.status = status


@dataclass(frozen=True)
class Answer:
    """An answer: its status, headers by lower-case name, and as much of its body as was asked for."""

    method: str
    url: str
    status: int
    reason: str
    headers: Mapping[str, str] = field(default_factory=dict)
    challenges: Sequence[str] = ()
    body: bytes = b""

    def error(self) -> StatusError:
        """The answer as an error."""
        return StatusError(self.method, self.url, self.status, self.reason)


def request_text(method: str, url: str, reason: str) -> str:
    """How a request's failure reads, `Get "URL": REASON`; the URL without user name and password."""
    return f"{method.capitalize()} {quote(shown_url(url))}: {reason}"


def failed(method: str, url: str, reason: str) -> BuildkitError:
    """A request that got no answer."""
    return RequestError(f"failed to do request: {request_text(method, url, reason)}")


async def look_up(ctx: Context, url: str, failure: Callable[[str], BuildkitError]) -> None:
    """Fail soon where there is no name service.

    Args:
        failure: makes the error of a reason.
    """
    host = urlsplit(url).hostname or ""
    try:
        if is_loopback(host) or proxy_for(url) is not None:
            return
    except ProxyError as err:
        raise failure(str(err)) from None
    timed, stop = context.with_timeout(ctx, _LOOKUP_SECONDS)
    try:
        await threads.call(timed, lambda: socket.getaddrinfo(host, None))
    except (OSError, UnicodeError) as err:
        reason = str(err.strerror) if isinstance(err, OSError) and not isinstance(err, socket.gaierror) else ""
        raise failure(f"dial tcp: lookup {host}: {reason or 'no such host'}") from err
    except BuildkitError as err:
        if ctx.is_done():
            raise
        raise failure(f"dial tcp: lookup {host}: i/o timeout") from err
    finally:
        stop()


class Attempt:
    """One request in a thread.

    Args:
        body: what is sent; opened anew for every redirect.
        sink: takes the body of an answer that `takes` agrees to, in pieces; other bodies are in the answer.
        limit: of bytes of a body in the answer.
        decode: a body that was compressed for the way (gzip) is given as it was before.
    """

    def __init__(
        self,
        method: str,
        url: str,
        headers: Mapping[str, str],
        *,
        body: Body | None = None,
        sink: Callable[[bytes], None] | None = None,
        limit: int = CHUNK,
        decode: bool = False,
    ) -> None:
        self._method = method
        self._url = url
        self._headers = dict(headers)
        self._body = body
        self._sink = sink
        self._limit = limit
        self._decode = decode
        self._lock = threading.Lock()
        self._given_up = False
        self._response: urllib3.BaseHTTPResponse | None = None

    def interrupt(self) -> None:
        """Stop: nothing more is given to the sink."""
        with self._lock:
            self._given_up = True
        shutdown = getattr(self._response, "shutdown", None)  # of urllib3 2.3 and later
        if shutdown is not None:
            try:
                shutdown()
            except (OSError, RuntimeError, ValueError):
                pass  # it has just ended

    def takes(self, status: int) -> bool:
        """Whether the body of an answer goes to the sink."""
        return status in (200, 206)

    def failure(self, url: str, reason: str) -> BuildkitError:
        """The error of a request that got no answer."""
        return failed(self._method, url, reason)

    def body_failure(self, url: str, reason: str) -> BuildkitError:
        """The error of an answer whose body broke off."""
        return self.failure(url, reason)

    def refusal(self, target: str) -> str:
        """Why a redirect is not followed; "" where it is."""
        scheme = urlsplit(target).scheme
        return "" if scheme in ("http", "https") else f"unsupported protocol scheme {quote(scheme)}"

    def run(self) -> Answer:
        """Make the request.

        Raises:
            BuildkitError: no whole answer.
        """
        url, headers = self._url, self._headers
        for _ in range(_MAX_REDIRECTS):
            answer, location = self._once(url, headers)
            if not location:
                return answer
            target = self._target(url, location)
            if urlsplit(target).netloc != urlsplit(url).netloc:
                headers = {name: value for name, value in headers.items() if name != "Authorization"}
            url = target
        raise self.failure(location, f"stopped after {_MAX_REDIRECTS} redirects")

    def _target(self, url: str, location: str) -> str:
        """Where a redirect leads."""
        try:
            parse(location)
            target = urljoin(url, location)
            parsed = parse(target)
        except (URLError, ValueError) as err:
            reason = f"failed to parse Location header {quote(redacted(location))}: {err}"
            raise self.failure(url, reason) from None
        refused = self.refusal(target)
        if refused:
            raise self.failure(target, refused)
        if not parsed.hostname():
            raise self.failure(target, "http: no Host in request URL")
        if parsed.port() and int(parsed.port()) > 65535:
            raise self.failure(target, f"dial tcp: address {parsed.port()}: invalid port")
        return target

    def _once(self, url: str, headers: Mapping[str, str]) -> tuple[Answer, str]:
        import urllib3

        try:
            pool = connection_pool(url)
        except (ProxyError, urllib3.exceptions.HTTPError) as err:
            raise self.failure(url, failure_reason(err)) from None
        body = self._body() if self._body is not None else None
        failure = self.failure
        try:
            response = self._response = pool.request(
                self._method,
                url,
                headers=headers,
                body=body,  # type: ignore[arg-type]  # bytes or a file
                redirect=False,
                retries=False,
                preload_content=False,
                timeout=urllib3.Timeout(connect=_CONNECT_SECONDS, read=_READ_SECONDS),
            )
            self._check_length(url, response)
            failure = self.body_failure
            location = self._location(response)
            data = self._take(response, bool(location))
        except (urllib3.exceptions.HTTPError, OSError, EOFError, ValueError) as err:
            raise failure(url, _reason(url, err)) from None
        finally:
            self._close()
            pool.clear()
            if body is not None and not isinstance(body, bytes):
                body.close()  # type: ignore[attr-defined]  # a file
        named = {name.lower(): value for name, value in response.headers.items()}
        challenges = response.headers.getlist("www-authenticate")
        reason = response.reason or ""
        return Answer(self._method, url, response.status, reason, named, challenges, data), location

    def _close(self) -> None:
        """Let go of the connection; what still holds on to the answer would keep it open."""
        response, self._response = self._response, None
        if response is not None:
            response.close()

    def _check_length(self, url: str, response: urllib3.BaseHTTPResponse) -> None:
        said = {text.strip() for text in response.headers.get("content-length", "0").split(",")}
        if "transfer-encoding" in response.headers:
            return
        if len(said) > 1 or not all(text.isascii() and text.isdigit() for text in said):
            reason = f"{_BROKEN}bad Content-Length {quote(', '.join(sorted(said)))}"
            raise self.failure(url, reason)

    def _location(self, response: urllib3.BaseHTTPResponse) -> str:
        if self._method not in ("GET", "HEAD") or response.status not in (301, 302, 303, 307, 308):
            return ""
        return response.headers.get("location", "")

    def _take(self, response: urllib3.BaseHTTPResponse, redirected: bool) -> bytes:
        if self._sink is None or redirected or not self.takes(response.status):
            data = response.read(self._limit + 1, decode_content=False)
            if len(data) > self._limit and not redirected:
                raise BuildkitError(f"an answer of more than {self._limit} bytes")
            return bytes(data)
        packed = self._decode and response.headers.get("content-encoding", "").lower() == "gzip"
        raw = response.stream(CHUNK, decode_content=False)
        for piece in _unpacked(raw) if packed else raw:
            with self._lock:
                if self._given_up:
                    break
                self._sink(piece)
        return b""


def _unpacked(pieces: Iterator[bytes]) -> Iterator[bytes]:
    """What gzip has packed, in pieces of bounded size.

    Raises:
        EOFError: it ends too early. ValueError: it is broken.
    """
    unpacker = None
    for piece in pieces:
        rest = piece
        while rest:
            if unpacker is None:
                unpacker = zlib.decompressobj(31)
            yield from _pump(unpacker, rest)
            rest = b""
            if unpacker.eof:
                rest, unpacker = unpacker.unused_data, None
    if unpacker is not None:
        raise EOFError("unexpected EOF")


def _pump(unpacker: zlib._Decompress, data: bytes) -> Iterator[bytes]:
    """All that can be had so far; a full piece may have more behind it although nothing is left to put in."""
    out = b" " * CHUNK
    while not unpacker.eof and (data or len(out) == CHUNK):
        try:
            out = unpacker.decompress(data, CHUNK)
        except zlib.error as err:
            raise ValueError(f"gzip: {err}") from err
        yield out
        data = unpacker.unconsumed_tail


def _reason(url: str, err: BaseException) -> str:
    """Why a request failed, as Go says it."""
    import urllib3

    if isinstance(err, EOFError | ValueError) and not isinstance(err, urllib3.exceptions.HTTPError | OSError):
        return str(err)
    cause = err.__cause__ if isinstance(err.__cause__, OSError) else err.__context__
    named = isinstance(cause, ssl.SSLError | socket.gaierror)
    if isinstance(cause, OSError) and not named and cause.errno is not None and cause.strerror:
        host = urlsplit(url)
        port = host.port or (443 if host.scheme == "https" else 80)
        reason = cause.strerror[:1].lower() + cause.strerror[1:]
        if cause.errno in (errno.ECONNRESET, errno.EPIPE):
            return f"read tcp {host.hostname}:{port}: read: {reason}"
        return f"dial tcp {host.hostname}:{port}: connect: {reason}"
    broken = [each for each in (err, cause, *err.args) if isinstance(each, http.client.BadStatusLine)]
    if broken and not isinstance(broken[0], http.client.RemoteDisconnected):
        return f"{_BROKEN}malformed HTTP response {quote(str(broken[0]).strip())}"
    if any(isinstance(each, http.client.IncompleteRead) for each in (err, cause, *err.args)):
        return "unexpected EOF"
    return failure_reason(err)
