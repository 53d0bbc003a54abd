"""The client's side of a session: a gRPC server on the byte stream of Control.Session.

Mirrors session/session.go and session/grpc.go, v0.32.2.

Differs on purpose: a session whose stream ends before `close` was called is an error (`SessionClosedError`), so
that a build does not wait for a daemon that can no longer reach its client. A shared key that no header can carry is
refused at once, instead of when the daemon has waited for the session.
"""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable, Mapping, Sequence
from typing import TYPE_CHECKING, Protocol

from pybuildkit import identity
from pybuildkit.golang import context, errors
from pybuildkit.golang.errors import BuildkitError
from pybuildkit.golang.strconv import quote
from pybuildkit.rpc import Server
from pybuildkit.util import grpcerrors

if TYPE_CHECKING:
    from pybuildkit.golang.context import Context
    from pybuildkit.rpc import ByteStream

HEADER_SESSION_ID = "x-docker-expose-session-uuid"
HEADER_SESSION_SHARED_KEY = "x-docker-expose-session-sharedkey"
HEADER_SESSION_METHOD = "x-docker-expose-session-grpc-method"

_CLOSE_SECONDS = 2.0

Dialer = Callable[["Context", str, Mapping[str, Sequence[str]]], Awaitable["ByteStream"]]
"""Opens the byte stream of a session: called with a context, the protocol ("h2c") and the headers."""


class SessionClosedError(BuildkitError):
    """The session's stream ended while the build still needed it."""


class Attachable(Protocol):
    """A service that can be offered over a session."""

    def register(self, server: Server) -> None:
        """Add the service's methods to the session's server."""


def method_url(service: str, method: str) -> str:
    """The path of a gRPC method."""
    return f"/{service}/{method}"


class Session:
    """One session; `allow` services, `run` it beside the solve, `close` it when the solve has answered.

    Args:
        shared_key: tells the daemon which earlier sessions' local sources it may update in place.

    Raises:
        BuildkitError: a shared key that no request header can carry.
    """

    def __init__(self, shared_key: str = "") -> None:
        from pybuildkit.rpc.health import add_health

        if not (shared_key.isascii() and shared_key.isprintable()):
            raise BuildkitError(f"invalid shared key {quote(shared_key)}: it may hold printable ASCII only")
        self._id = identity.new_id()
        self._shared_key = shared_key
        self._server = Server(to_status=grpcerrors.to_grpc)
        self._cancel: Callable[[BaseException | None], None] | None = None
        self._stream: ByteStream | None = None
        self._finished: asyncio.Event | None = None
        self._closing = False
        add_health(self._server)

    def id(self) -> str:
        """The session's identifier, as the daemon knows it."""
        return self._id

    def shared_key(self) -> str:
        """The shared key that the session was made with."""
        return self._shared_key

    def allow(self, attachable: Attachable) -> None:
        """Offer a service; before `run`, since the daemon learns the methods when the session opens."""
        attachable.register(self._server)

    def headers(self) -> dict[str, list[str]]:
        """The request headers that open the session."""
        return {
            HEADER_SESSION_ID: [self._id],
            HEADER_SESSION_SHARED_KEY: [self._shared_key],
            HEADER_SESSION_METHOD: sorted(self._server.methods()),
        }

    async def run(self, ctx: Context, dialer: Dialer) -> None:
        """Serve the session until `close`, the end of its stream or of the context.

        Raises:
            SessionClosedError: when the stream ended although neither `close` was called nor the context is done.
            BuildkitError: "failed to dial gRPC: …" when the stream cannot be opened.

        Cancellation closes the stream; nothing is left running.
        """
        if self._closing:
            return
        ctx, self._cancel = context.with_cancel_cause(ctx)
        self._finished = asyncio.Event()
        try:
            await self._serve(ctx, dialer)
        finally:
            self._cancel(None)
            self._finished.set()

    async def _serve(self, ctx: Context, dialer: Dialer) -> None:
        try:
            self._stream = await dialer(ctx, "h2c", self.headers())
        except BuildkitError as err:
            if self._closing or ctx.is_done():
                return
            raise errors.wrap(err, "failed to dial gRPC") from err
        failure: BaseException | None = None
        try:
            await self._server.serve(self._stream, ctx)
        except (BuildkitError, OSError) as err:
            failure = err
        finally:
            await self._stream.close()
        if self._closing or ctx.is_done():
            return
        reason = f": {errors.error_text(failure)}" if failure is not None else ""
        raise SessionClosedError(f"session closed by the daemon while the build was running{reason}") from failure

    async def close(self) -> None:
        """End the session: its stream is half-closed, and the daemon's end of it awaited for at most 2 s."""
        self._closing = True
        if self._finished is None or self._finished.is_set():
            return
        try:
            async with asyncio.timeout(_CLOSE_SECONDS):
                if self._stream is not None:
                    await self._stream.close()
                await self._finished.wait()
        except TimeoutError:
            pass  # cut below: a daemon that never ends its side is not waited for
        if self._cancel is not None:
            self._cancel(None)


def new_session(shared_key: str = "") -> Session:
    """A session that offers only the health service so far."""
    return Session(shared_key)
