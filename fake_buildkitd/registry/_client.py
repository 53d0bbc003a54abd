"""Requests to one repository of a registry.

Mirrors the requests of core/remotes/docker (resolver.go, fetcher.go, pusher.go) of github.com/containerd/containerd.

Registries on this machine's loopback are asked over plain HTTP, others over TLS unless told otherwise. The
Authorization header goes to the registry's own host only.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from urllib.parse import urlsplit

from fake_buildkitd.registry._auth import Authorizer
from fake_buildkitd.registry._request import CHUNK, Answer, Attempt, Body, failed, look_up
from pybuildkit.golang import threads
from pybuildkit.golang.context import Context
from pybuildkit.golang.errors import BuildkitError, wrap
from pybuildkit.third_party.containerd.remotes.docker._http import is_loopback
from pybuildkit.third_party.distribution.reference import DEFAULT_DOMAIN, Reference

_DOCKER_HOST = "registry-1.docker.io"
_ATTEMPTS = 4


class ImageNotFoundError(BuildkitError):
    """The registry has no such thing: `REF: not found`."""


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
        limit: int = CHUNK,
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
        await look_up(ctx, url, lambda reason: failed(method, url, reason))
        for _ in range(_ATTEMPTS):
            authorization = await self._authorize(ctx) if ours else ""
            if authorization:
                sent["Authorization"] = authorization
            attempt = Attempt(method, url, sent, body=body, sink=sink, limit=limit)
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
