"""Builds whose frontend is a function of this process, talking to the daemon's gateway.

Mirrors client/build.go, v0.32.2.

Differs on purpose: a connection that is silent while the workers are listed is probed as during a solve, but twice
at most: a daemon refuses pings that come often on a connection without a session.
"""

from __future__ import annotations

from collections.abc import Awaitable, Callable, Mapping
from dataclasses import replace
from typing import TYPE_CHECKING, TypeVar

from pybuildkit.client import buildid
from pybuildkit.golang import context, errgroup, errors
from pybuildkit.golang.errors import BuildkitError
from pybuildkit.rpc import Code, RpcError
from pybuildkit.util import grpcerrors

if TYPE_CHECKING:
    from pybuildkit.client._client import Client
    from pybuildkit.client._graph import SolveStatus
    from pybuildkit.client._solveopt import SolveOpt, SolveResponse
    from pybuildkit.client._workers import WorkerInfo
    from pybuildkit.frontend.gateway import client as gateway
    from pybuildkit.golang.chan import Chan
    from pybuildkit.golang.context import Context
    from pybuildkit.rpc import ClientStream, Method
    from pybuildkit.session import Session

Req = TypeVar("Req")
Resp = TypeVar("Resp")

_PROBES = 2

BuildFunc = Callable[["Context", "gateway.Client"], Awaitable["gateway.Result | None"]]
"""A frontend in this process: makes a result with the gateway client."""


class GatewayConn:
    """The gateway calls of one build: every call carries the build's id."""

    def __init__(self, client: Client, build_id: str) -> None:
        self._client = client
        self._metadata = buildid.outgoing(build_id)

    async def unary(self, ctx: Context, method: Method[Req, Resp], request: Req) -> Resp:
        """Make one call; errors as `Client.unary`."""
        return await self._client.unary(ctx, method, request, self._metadata)

    async def stream(self, ctx: Context, method: Method[Req, Resp]) -> ClientStream[Req, Resp]:
        """Open a streaming call."""
        return await self._client.stream(ctx, method, self._metadata)


async def build(
    client: Client,
    ctx: Context,
    opt: SolveOpt,
    product: str,
    build_func: BuildFunc,
    status: Chan[SolveStatus] | None,
) -> SolveResponse:
    """Solve with `build_func` as the frontend.

    Order: list the workers; Control.Solve without frontend and definition, and beside it the gateway's Ping, then
    what `build_func` calls, then Return with its result or error.

    Raises:
        BuildkitError: "listing workers for Build: …", "failed to solve: …", "failed to run Build function: …".
    """
    from pybuildkit.client._solve import solve
    from pybuildkit.frontend.gateway import grpcclient

    try:
        workers = await _list_workers(client, ctx)
    except BuildkitError as err:
        raise errors.wrap(err, "listing workers for Build") from err
    given_attrs = dict(opt.frontend_attrs)

    async def run_gateway(ctx: Context, ref: str, session: Session, attrs: Mapping[str, str]) -> None:
        conn = GatewayConn(client, ref)
        gateway_client = await grpcclient.new(
            ctx, {**given_attrs, **attrs}, session.id(), product or "buildkit", conn, workers
        )
        try:
            await gateway_client.run(ctx, build_func)
        except BuildkitError as err:
            raise errors.wrap(err, "failed to run Build function") from err

    return await solve(client, ctx, None, run_gateway, replace(opt, frontend=""), status)


async def _list_workers(client: Client, ctx: Context) -> list[WorkerInfo]:
    """The daemon's workers.

    Raises:
        BuildkitError: "failed to list workers: …", also where the daemon is silent for too long.
    """
    group, asking = errgroup.with_context(ctx)
    listed, end = context.with_cancel(asking)
    workers: list[WorkerInfo] = []

    async def ask() -> None:
        try:
            workers.extend(await client.list_workers(asking))
        finally:
            end()

    await group.go(ask)
    await group.go(lambda: _probe_while_silent(client, listed))
    await group.wait()
    return workers


async def _probe_while_silent(client: Client, listed: Context) -> None:
    """Ask a silent daemon for a sign of life, until the context ends; raises BuildkitError where there is none."""
    from pybuildkit.client._solve import IDLE_SECONDS, PING_SECONDS, wait_at_most

    for _ in range(_PROBES):
        if await wait_at_most(listed, IDLE_SECONDS):
            return
        if not client.channel.connected:
            continue  # connecting has a limit of its own
        ping_ctx, stop = context.with_timeout(listed, PING_SECONDS)
        try:
            await client.channel.ping(ping_ctx)
        except BuildkitError as err:
            if listed.is_done() or client.channel.closed:
                return
            silence = f"the daemon has been silent for {IDLE_SECONDS + PING_SECONDS:.0f}s"
            text = f"keepalive ping failed to receive ACK within timeout: {silence}"
            lost = grpcerrors.from_grpc(RpcError(Code.UNAVAILABLE, text))
            raise errors.wrap(lost, "failed to list workers") from err
        finally:
            stop()
