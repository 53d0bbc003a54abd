"""Builds whose frontend is a function of this process, talking to the daemon's gateway.

Mirrors client/build.go, v0.32.2.
"""

from __future__ import annotations

from collections.abc import Awaitable, Callable, Mapping
from dataclasses import replace
from typing import TYPE_CHECKING, TypeVar

from pybuildkit.client import buildid
from pybuildkit.golang import errors
from pybuildkit.golang.errors import BuildkitError

if TYPE_CHECKING:
    from pybuildkit.client._client import Client
    from pybuildkit.client._graph import SolveStatus
    from pybuildkit.client._solveopt import SolveOpt, SolveResponse
    from pybuildkit.frontend.gateway import client as gateway
    from pybuildkit.golang.chan import Chan
    from pybuildkit.golang.context import Context
    from pybuildkit.rpc import ClientStream, Method
    from pybuildkit.session import Session

Req = TypeVar("Req")
Resp = TypeVar("Resp")

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
        workers = await client.list_workers(ctx)
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
