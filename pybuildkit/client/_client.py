"""The client of a BuildKit daemon.

Mirrors client/client.go, v0.32.2.

Differs on purpose: `new` takes one dataclass of TLS files per option as Go does, but the dial timeout bounds
connecting up to the daemon's HTTP/2 SETTINGS (Go's bounds only what blocks in its constructor, which is nothing).
"""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, TypeVar

from pybuildkit.api.services.control import _methods as control
from pybuildkit.api.services.control import control_pb2
from pybuildkit.client._dial import Credentials, resolve
from pybuildkit.golang import context
from pybuildkit.golang.errors import BuildkitError
from pybuildkit.rpc import Channel, Code, Method, RpcError
from pybuildkit.session import grpchijack
from pybuildkit.util import grpcerrors

if TYPE_CHECKING:
    from pybuildkit import session
    from pybuildkit.client._build import BuildFunc, GatewayConn
    from pybuildkit.client._dial import Dialer
    from pybuildkit.client._graph import SolveStatus
    from pybuildkit.client._info import Info
    from pybuildkit.client._solveopt import SolveOpt, SolveResponse
    from pybuildkit.client._workers import WorkerInfo
    from pybuildkit.client.llb import Definition
    from pybuildkit.golang.chan import Chan
    from pybuildkit.golang.context import Context
    from pybuildkit.rpc import ClientStream, Metadata

Req = TypeVar("Req")
Resp = TypeVar("Resp")

MAX_MESSAGE_SIZE = 16 << 20
_WAIT_SECONDS = 1.0

RPCCreds = Callable[[], Sequence[tuple[str, str | bytes]]]
"""Gives the metadata that authenticates one call, such as `[("authorization", "Bearer …")]`."""


@dataclass(kw_only=True)
class _Options:
    credentials: Credentials | None = None
    dialer: Dialer | None = None
    session_dialer: session.Dialer | None = None
    rpc_creds: RPCCreds | None = None
    dial_timeout: float | None = None


ClientOpt = Callable[[_Options], None]
"""Changes how a client connects; made by the `with_…` functions, applied in order."""


def _merge_credentials(options: _Options, given: Credentials) -> None:
    options.credentials = (options.credentials or Credentials()).merge(given)


def with_credentials(cert: str, key: str) -> ClientOpt:
    """Authenticate with a client certificate: paths of the PEM files."""
    return lambda options: _merge_credentials(options, Credentials(cert=cert, key=key))


def with_server_config(server_name: str, ca_cert: str) -> ClientOpt:
    """Verify the daemon's certificate: the name on it and the path of the CA's PEM file."""
    return lambda options: _merge_credentials(options, Credentials(server_name=server_name, ca_cert=ca_cert))


def with_server_config_system(server_name: str) -> ClientOpt:
    """Verify the daemon's certificate with the system's CA certificates."""
    return lambda options: _merge_credentials(options, Credentials(server_name=server_name, ca_cert_system=True))


def with_context_dialer(dialer: Dialer) -> ClientOpt:
    """Connect with a function of your own; the address then only names the authority."""

    def apply(options: _Options) -> None:
        options.dialer = dialer

    return apply


def with_session_dialer(dialer: session.Dialer) -> ClientOpt:
    """Open sessions with a function of your own, instead of Control.Session."""

    def apply(options: _Options) -> None:
        options.session_dialer = dialer

    return apply


def with_rpc_creds(creds: RPCCreds) -> ClientOpt:
    """Send metadata with every call; `creds` is asked for each one."""

    def apply(options: _Options) -> None:
        options.rpc_creds = creds

    return apply


def with_dial_timeout(seconds: float) -> ClientOpt:
    """Give up connecting after so many seconds; a connection once made is not bounded."""

    def apply(options: _Options) -> None:
        options.dial_timeout = seconds

    return apply


class Client:
    """A connection to a daemon; made by `new`. Any number of calls and solves may run on it at once.

    Use it as an asynchronous context manager, or `close` it.
    """

    def __init__(self, channel: Channel, options: _Options) -> None:
        self._channel = channel
        self._options = options
        self.probing = asyncio.Lock()
        """Held by the solve that asks a silent daemon for a sign of life."""

    async def __aenter__(self) -> Client:
        return self

    async def __aexit__(self, *exc: object) -> None:
        await self.close()

    @property
    def channel(self) -> Channel:
        """The gRPC channel below."""
        return self._channel

    def session_dialer(self) -> session.Dialer:
        """Opens the byte streams of sessions with this daemon."""
        return self._options.session_dialer or grpchijack.dialer(self._channel)

    def _metadata(self, metadata: Metadata) -> Metadata:
        if self._options.rpc_creds is None:
            return metadata
        return [*metadata, *self._options.rpc_creds()]

    async def unary(self, ctx: Context, method: Method[Req, Resp], request: Req, metadata: Metadata = ()) -> Resp:
        """Make one call.

        Raises:
            StatusError: the daemon's answer where it is not OK, with typed layers around it
                (`pybuildkit.util.grpcerrors`); "Canceled: context canceled" when the context ended first.
        """
        try:
            return await self._channel.unary(ctx, method, request, metadata=self._metadata(metadata))
        except RpcError as err:
            failure = grpcerrors.from_grpc(err)
        # Outside the handler: "from" would cut the layers that the error has been given.
        raise failure

    async def stream(self, ctx: Context, method: Method[Req, Resp], metadata: Metadata = ()) -> ClientStream[Req, Resp]:
        """Open a streaming call; its messages raise plain RpcErrors, as in Go."""
        return await self._channel.stream(ctx, method, metadata=self._metadata(metadata))

    async def wait(self, ctx: Context) -> None:
        """Return once the daemon answers; asks again every second while it cannot be reached.

        Raises:
            BuildkitError: the context's cause, or an answer that says more than "unavailable". A daemon without
                the Info call has answered.
        """
        while True:
            try:
                await self.unary(ctx, control.INFO, control_pb2.InfoRequest())
                return
            except BuildkitError as err:
                ctx.raise_if_done()
                code = grpcerrors.code(err)
                if code == Code.UNIMPLEMENTED:
                    return
                if code != Code.UNAVAILABLE:
                    raise
            await context.run(ctx, asyncio.sleep(_WAIT_SECONDS))

    async def list_workers(self, ctx: Context, filter: Sequence[str] = ()) -> list[WorkerInfo]:
        """The daemon's workers; see `pybuildkit.client._workers.list_workers`."""
        from pybuildkit.client._workers import list_workers

        return await list_workers(self, ctx, filter)

    async def info(self, ctx: Context) -> Info:
        """The daemon's version; see `pybuildkit.client._info.info`."""
        from pybuildkit.client._info import info

        return await info(self, ctx)

    async def solve(
        self, ctx: Context, definition: Definition | None, opt: SolveOpt, status: Chan[SolveStatus] | None = None
    ) -> SolveResponse:
        """Solve a build graph, or let a frontend make one; see `pybuildkit.client._solve`.

        Args:
            ctx: ends the solve, here and at the daemon; an export of this side is then given up, with nothing left
                under a file's name. This returns a moment later, when everything it started has ended.
            definition: the marshalled graph; None if and only if `opt.frontend` is set.
            opt: what to do.
            status: receives the build's status messages; always closed when this returns. It must be read: the
                solve waits for its reader as long as `ctx` lives.

        Raises:
            BuildkitError: "failed to solve: …" and the like.
        """
        from pybuildkit.client._solve import check_definition, solve

        try:
            check_definition(definition, opt)
            return await solve(self, ctx, definition.to_pb() if definition is not None else None, None, opt, status)
        finally:
            if status is not None:
                status.close()

    async def build(
        self,
        ctx: Context,
        opt: SolveOpt,
        product: str,
        build_func: BuildFunc,
        status: Chan[SolveStatus] | None = None,
    ) -> SolveResponse:
        """Run a function of this process as the build's frontend; see `pybuildkit.client._build`.

        Args:
            ctx: ends the build as in `solve`; the function sees it through its own context.
            opt: what to do; its `frontend` is ignored.
            product: the product's name in errors about missing capabilities; "" for the default.
            build_func: makes the build's result with the gateway client it is given.
            status: receives the build's status messages; always closed when this returns.

        Raises:
            BuildkitError: the function's error, else the daemon's.
        """
        from pybuildkit.client._build import build

        try:
            return await build(self, ctx, opt, product, build_func, status)
        finally:
            if status is not None:
                status.close()

    def gateway_client_for_build(self, build_id: str) -> GatewayConn:
        """The gateway of a build that runs on this connection, for who has its id (`SolveOpt.ref`).

        Its methods are those of `pybuildkit.frontend.gateway.pb._methods`, for instance from a session exporter that
        looks at the build's references. Mirrors Client.GatewayClientForBuild of client/build.go.
        """
        from pybuildkit.client._build import GatewayConn

        return GatewayConn(self, build_id)

    async def close(self) -> None:
        """Close the connection; calls that are under way end with an error."""
        await self._channel.close()


async def new(ctx: Context, address: str = "", *opts: ClientOpt) -> Client:
    """A client of the daemon at an address; nothing is dialled before the first call.

    Args:
        ctx: not kept; Go's signature.
        address: where the daemon is (`pybuildkit.client._dial.resolve`); "" for the default.
        opts: how to connect.

    Raises:
        BuildkitError: when the address or a TLS file cannot be read.
    """
    options = _Options()
    for opt in opts:
        opt(options)
    ctx.raise_if_done()
    target = resolve(address, options.credentials)
    channel = Channel(
        options.dialer or target.dial,
        authority=target.authority,
        max_recv_size=MAX_MESSAGE_SIZE,
        dial_timeout=options.dial_timeout,
    )
    return Client(channel, options)
