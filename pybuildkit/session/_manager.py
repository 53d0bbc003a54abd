"""The daemon's side of sessions: who is connected, and calls to them.

Mirrors session/manager.go and the health check of session/grpc.go, v0.32.2.

Health: every 5 s the session's health service is called, with a patience of 15 s (1.5 times the last answer's
time where that is more); two failures in a row end the session. The header
`x-buildkit-session-health-custom-timeout` (milliseconds, at least one second) sets both and allows one failure.
"""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import TYPE_CHECKING

from pybuildkit.golang import context, errors
from pybuildkit.golang.errors import BuildkitError
from pybuildkit.rpc import Channel, RpcError
from pybuildkit.session._session import HEADER_SESSION_ID, HEADER_SESSION_METHOD, HEADER_SESSION_SHARED_KEY

if TYPE_CHECKING:
    from pybuildkit.golang.context import Context
    from pybuildkit.rpc import ByteStream, Metadata

HEADER_HEALTH_CUSTOM_TIMEOUT = "x-buildkit-session-health-custom-timeout"


@dataclass(frozen=True, kw_only=True)
class HealthCheckConfig:
    """How a daemon watches a session: seconds between checks, seconds of patience, failures that end it."""

    interval: float = 5.0
    timeout: float = 15.0
    failure_threshold: int = 2

    @staticmethod
    def from_headers(headers: Mapping[str, list[str]]) -> HealthCheckConfig:
        """The configuration that the session's headers ask for."""
        value = next(iter(headers.get(HEADER_HEALTH_CUSTOM_TIMEOUT, [])), "")
        if value.isdigit() and int(value) > 0:
            seconds = max(int(value) / 1000, 1.0)
            return HealthCheckConfig(interval=seconds, timeout=seconds, failure_threshold=1)
        return HealthCheckConfig()


class Caller:
    """A connected session, as the daemon's code sees it."""

    def __init__(self, ctx: Context, headers: Mapping[str, list[str]], channel: Channel) -> None:
        self._ctx = ctx
        self._headers = headers
        self._channel = channel
        self._supported = {method.lower() for method in headers.get(HEADER_SESSION_METHOD, [])}

    @property
    def id(self) -> str:
        """The session's id."""
        return next(iter(self._headers.get(HEADER_SESSION_ID, [])), "")

    def context(self, ctx: Context) -> Context:
        """A context that ends with `ctx` or with the session, whichever comes first."""
        joined, cancel = context.with_cancel_cause(ctx)
        stop = context.after_func(self._ctx, lambda: cancel(self._ctx.cause()))
        context.after_func(joined, lambda: (stop(), None)[1])
        return joined

    def supports(self, method: str) -> bool:
        """Whether the session offers a method, given its path; upper and lower case are the same."""
        return method.lower() in self._supported

    def conn(self) -> Channel:
        """The channel on which the session's services are called."""
        return self._channel

    def shared_key(self) -> str:
        """What the client shares between its sessions."""
        return next(iter(self._headers.get(HEADER_SESSION_SHARED_KEY, [])), "")

    def closed(self) -> bool:
        """Whether the session has ended."""
        return self._ctx.is_done()


class Manager:
    """All sessions that are connected at the moment."""

    def __init__(self, health: HealthCheckConfig | None = None) -> None:
        self._sessions: dict[str, Caller] = {}
        self._changed: set[asyncio.Future[None]] = set()
        self._health = health

    async def handle_conn(self, ctx: Context, stream: ByteStream, headers: Metadata) -> None:
        """Serve one session until it ends: its stream breaks, its health check fails, or `ctx` is done.

        Args:
            ctx: ends the session.
            stream: the byte stream on which the client serves.
            headers: the request headers that opened the session.
        """
        grouped: dict[str, list[str]] = {}
        for name, value in headers:
            grouped.setdefault(name.lower(), []).append(value if isinstance(value, str) else value.decode())
        ctx, cancel = context.with_cancel_cause(ctx)
        channel = Channel.over(stream)
        caller = Caller(ctx, grouped, channel)
        if caller.id in self._sessions:
            raise BuildkitError(f"session {caller.id} already exists")
        self._sessions[caller.id] = caller
        self._broadcast()
        config = self._health or HealthCheckConfig.from_headers(grouped)
        tasks = [
            asyncio.ensure_future(self._watch_channel(channel, cancel)),
            asyncio.ensure_future(_monitor_health(ctx, channel, cancel, config)),
        ]
        try:
            await ctx.done()
        finally:
            del self._sessions[caller.id]
            cancel(None)
            for task in tasks:
                task.cancel()
            await asyncio.gather(*tasks, return_exceptions=True)
            await channel.close()
            await stream.close()

    @staticmethod
    async def _watch_channel(channel: Channel, cancel: Callable[[BaseException | None], None]) -> None:
        await channel.wait_closed()
        cancel(None)

    async def get(self, ctx: Context, session_id: str, no_wait: bool = False) -> Caller:
        """The session with an id, waited for until it connects or the context is done.

        Args:
            ctx: bounds the wait.
            session_id: the id; a prefix up to a colon is ignored.
            no_wait: raise at once when the session is not there.

        Raises:
            BuildkitError: "no active session for ID: …".
        """
        _, colon, rest = session_id.partition(":")
        session_id = rest if colon and rest else session_id
        while True:
            caller = self._sessions.get(session_id)
            if caller is not None and not caller.closed():
                return caller
            if no_wait:
                raise BuildkitError(f"no active session for {session_id}")
            try:
                await self._wait_change(ctx)
            except BuildkitError as err:
                raise errors.wrap(err, f"no active session for {session_id}") from err

    async def _wait_change(self, ctx: Context) -> None:
        waiter: asyncio.Future[None] = asyncio.get_running_loop().create_future()
        self._changed.add(waiter)
        try:
            await context.run(ctx, waiter)
        finally:
            self._changed.discard(waiter)

    def _broadcast(self) -> None:
        for waiter in self._changed:
            if not waiter.done():
                waiter.set_result(None)


async def _monitor_health(
    ctx: Context, channel: Channel, cancel: Callable[[BaseException | None], None], config: HealthCheckConfig
) -> None:
    from pybuildkit.rpc.health import check

    loop = asyncio.get_running_loop()
    failures = 0
    last = 0.0
    while not ctx.is_done():
        await asyncio.sleep(config.interval)
        started = loop.time()
        timed, stop = context.with_timeout(ctx, max(config.timeout, last * 1.5))
        try:
            await check(channel, timed)
            failures = 0
        except (RpcError, BuildkitError) as err:
            failures += 1
            if failures >= config.failure_threshold and not ctx.is_done():
                cancel(errors.wrap(err, "session healthcheck failed fatally"))
                return
        finally:
            stop()
        last = loop.time() - started
