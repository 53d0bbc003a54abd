"""Requests to one repository of a registry.

Mirrors the requests of core/remotes/docker (resolver.go, fetcher.go, pusher.go) of github.com/containerd/containerd.

Registries on this machine's loopback are asked over plain HTTP, others over TLS unless told otherwise. Every request
has time limits for connecting and for each wait; names are looked up for a few seconds only, so that a machine
without network says so soon. The Authorization header goes to the registry's own host only.
"""

from __future__ import annotations

import socket
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, TypeVar
from urllib.parse import urljoin, urlsplit

from fake_buildkitd.registry._auth import Authorizer
from pybuildkit.golang import context, threads
from pybuildkit.golang.context import Context
from pybuildkit.golang.errors import BuildkitError, wrap
from pybuildkit.golang.strconv import quote
from pybuildkit.third_party.containerd.remotes.docker._http import (
    connection_pool,
    failure_reason,
    is_loopback,
    proxy_for,
    shown_url,
)
from pybuildkit.third_party.distribution.reference import DEFAULT_DOMAIN, Reference

if TYPE_CHECKING:
    import urllib3

T = TypeVar("T")

_DOCKER_HOST = "registry-1.docker.io"
_CONNECT_SECONDS = 15.0
_READ_SECONDS = 60.0
_LOOKUP_SECONDS = 10.0
_MAX_REDIRECTS = 10
_ATTEMPTS = 4
_CHUNK = 1 << 20

Body = Callable[[], object]
"""Opens what a request sends: bytes, or a file open for reading."""


class RequestError(BuildkitError):
    """A request got no answer: `failed to do request: METHOD "URL": REASON`."""


class StatusError(BuildkitError):
    """A registry's answer that was not wanted: `unexpected status from METHOD request to URL: STATUS`."""

    def __init__(self, method: str, url: str, status: int, reason: str) -> None:
        text = f"{status} {reason}".strip()
        super().__init__(f"unexpected status from {method} request to {shown_url(url)}: {text}")
        self.status = status


class ImageNotFoundError(BuildkitError):
    """The registry has no such thing: `REF: not found`."""


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


class Repository:
    """A repository and how to speak to its registry.

    Args:
        ref: names it.
        authorizer: logs in.
        insecure: plain HTTP also off loopback.
        push: whether tokens shall be good for pushing.
    """

    def __init__(self, ref: Reference, authorizer: Authorizer, *, insecure: bool = False, push: bool = False) -> None:
        self.ref = ref
        self._authorizer = authorizer
        self.host = _DOCKER_HOST if ref.domain == DEFAULT_DOMAIN else ref.domain
        plain = insecure or is_loopback(urlsplit(f"//{self.host}").hostname or "")
        self._root = f"{'http' if plain else 'https'}://{self.host}/v2/{ref.path}/"
        self._scopes = [f"repository:{ref.path}:{'pull,push' if push else 'pull'}"]

    def url(self, *parts: str) -> str:
        """The URL of something in the repository."""
        return self._root + "/".join(parts)

    async def request(
        self,
        ctx: Context,
        method: str,
        url: str,
        *,
        headers: Mapping[str, str] | None = None,
        body: Body | None = None,
        sink: Callable[[bytes], None] | None = None,
        limit: int = _CHUNK,
    ) -> Answer:
        """One request and its answer, after logging in and redirects.

        Args:
            url: in the registry, or where it said to go on.
            body: what is sent; opened anew for every attempt.
            sink: takes the body of an answer 200, in pieces and in another thread; without it the body is in the
                answer.
            limit: of bytes of a body in the answer.

        Raises:
            RequestError: no answer. BuildkitError: no token was given, as "failed to authorize: …".
        """
        ours = urlsplit(url).netloc == self.host
        sent = dict(headers or {})
        await self._look_up(ctx, method, url)
        for _ in range(_ATTEMPTS):
            authorization = await self._authorize(ctx) if ours else ""
            if authorization:
                sent["Authorization"] = authorization
            attempt = _Attempt(method, url, sent, body, sink, limit)
            answer = await threads.call(ctx, attempt.run, interrupt=attempt.interrupt)
            if answer.status != 401 or not ours:
                return answer
            if not await self._challenged(ctx, answer, bool(authorization)):
                return answer
        return answer

    async def _authorize(self, ctx: Context) -> str:
        try:
            return await self._authorizer.header(ctx, self.host, self._scopes)
        except BuildkitError as err:
            raise wrap(err, "failed to authorize") from err

    async def _challenged(self, ctx: Context, answer: Answer, again: bool) -> bool:
        try:
            return await self._authorizer.challenged(ctx, self.host, answer.challenges, again)
        except BuildkitError as err:
            raise wrap(err, "failed to authorize") from err

    async def _look_up(self, ctx: Context, method: str, url: str) -> None:
        """Fail soon where there is no name service."""
        host = urlsplit(url).hostname or ""
        if is_loopback(host) or proxy_for(url):
            return
        timed, stop = context.with_timeout(ctx, _LOOKUP_SECONDS)
        try:
            await threads.call(timed, lambda: socket.getaddrinfo(host, None))
        except OSError as err:
            reason = "no such host" if isinstance(err, socket.gaierror) else str(err.strerror)
            raise _failed(method, url, f"dial tcp: lookup {host}: {reason}") from err
        except BuildkitError as err:
            if ctx.is_done():
                raise
            raise _failed(method, url, f"dial tcp: lookup {host}: i/o timeout") from err
        finally:
            stop()


def _failed(method: str, url: str, reason: str) -> RequestError:
    return RequestError(f"failed to do request: {method.capitalize()} {quote(shown_url(url))}: {reason}")


class _Attempt:
    """One request in a thread."""

    def __init__(
        self,
        method: str,
        url: str,
        headers: Mapping[str, str],
        body: Body | None,
        sink: Callable[[bytes], None] | None,
        limit: int,
    ) -> None:
        self._method = method
        self._url = url
        self._headers = dict(headers)
        self._body = body
        self._sink = sink
        self._limit = limit
        self._given_up = False

    def interrupt(self) -> None:
        """Stop at the next piece."""
        self._given_up = True

    def run(self) -> Answer:
        url, headers = self._url, self._headers
        for _ in range(_MAX_REDIRECTS):
            answer, location = self._once(url, headers)
            if not location:
                return answer
            target = urljoin(url, location)
            if urlsplit(target).netloc != urlsplit(url).netloc:
                headers = {name: value for name, value in headers.items() if name != "Authorization"}
            url = target
        raise _failed(self._method, self._url, f"stopped after {_MAX_REDIRECTS} redirects")

    def _once(self, url: str, headers: Mapping[str, str]) -> tuple[Answer, str]:
        import urllib3

        pool = connection_pool(url)
        body = self._body() if self._body is not None else None
        try:
            response = pool.request(
                self._method,
                url,
                headers=headers,
                body=body,  # type: ignore[arg-type]  # bytes or a file
                redirect=False,
                retries=False,
                preload_content=False,
                timeout=urllib3.Timeout(connect=_CONNECT_SECONDS, read=_READ_SECONDS),
            )
            data = self._take(response)
        except (urllib3.exceptions.HTTPError, OSError, ValueError) as err:
            raise _failed(self._method, url, _reason(url, err)) from None
        finally:
            pool.clear()
            if body is not None and not isinstance(body, bytes):
                body.close()  # type: ignore[attr-defined]  # a file
        return self._answer(url, response, data)

    def _answer(self, url: str, response: urllib3.BaseHTTPResponse, data: bytes) -> tuple[Answer, str]:
        named = {name.lower(): value for name, value in response.headers.items()}
        challenges = response.headers.getlist("www-authenticate")
        reason = response.reason or ""
        answer = Answer(self._method, url, response.status, reason, named, challenges, data)
        redirected = self._method in ("GET", "HEAD") and response.status in (301, 302, 303, 307, 308)
        return answer, named.get("location", "") if redirected else ""

    def _take(self, response: urllib3.BaseHTTPResponse) -> bytes:
        if self._sink is None or response.status not in (200, 206):
            data = response.read(self._limit + 1, decode_content=False)
            if len(data) > self._limit:
                raise BuildkitError(f"an answer of more than {self._limit} bytes")
            response.release_conn()
            return bytes(data)
        for piece in response.stream(_CHUNK, decode_content=False):
            if self._given_up:
                break
            self._sink(piece)
        response.release_conn()
        return b""


def _reason(url: str, err: BaseException) -> str:
    cause = err.__cause__ if isinstance(err.__cause__, OSError) else err.__context__
    if isinstance(cause, OSError) and cause.errno is not None and cause.strerror:
        host = urlsplit(url)
        port = host.port or (443 if host.scheme == "https" else 80)
        return f"dial tcp {host.hostname}:{port}: connect: {cause.strerror[:1].lower()}{cause.strerror[1:]}"
    return failure_reason(err)
