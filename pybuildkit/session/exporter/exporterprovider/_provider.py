"""The session exporter's service over callbacks. Mirrors session/exporter/exporterprovider/provider.go, v0.32.2."""

from __future__ import annotations

from collections.abc import Awaitable, Callable, Sequence

from pybuildkit.golang.context import Context
from pybuildkit.rpc import Code, RpcError, Server
from pybuildkit.session.exporter._methods import FINALIZE_EXPORT, FIND_EXPORTERS
from pybuildkit.session.exporter.exporter_pb2 import (
    ExporterRequest,
    FinalizeExportRequest,
    FinalizeExportResponse,
    FindExportersRequest,
    FindExportersResponse,
)

Callback = Callable[[Context, dict[str, bytes], list[str]], Awaitable[Sequence[ExporterRequest]]]
"""Chooses the exporters, given the result's metadata and the ids of its references."""

FinalizeCallback = Callable[[Context, dict[str, str]], Awaitable[None]]
"""Learns what the exporters answered."""


class Exporter:
    """The session exporter's service; an Attachable.

    Args:
        callback: chooses the exporters; None: the session offers the service but chooses none.
    """

    def __init__(self, callback: Callback | None) -> None:
        self._callback = callback
        self.finalize: FinalizeCallback | None = None

    def register(self, server: Server) -> None:
        """Offer the service on a server."""
        server.add_unary(FIND_EXPORTERS, self.find_exporters)
        server.add_unary(FINALIZE_EXPORT, self.finalize_export)

    async def find_exporters(self, ctx: Context, request: FindExportersRequest) -> FindExportersResponse:
        """Answer a daemon that asks which exporters to use.

        Args:
            ctx: ends when the daemon gives up or the session ends; given to the callback.
            request: the result's metadata and the names of its references.

        Raises:
            RpcError: Unavailable, without a callback; else whatever the callback raises.
        """
        if self._callback is None:
            raise RpcError(Code.UNAVAILABLE, "no exporter callback registered")
        chosen = await self._callback(ctx, dict(request.metadata), list(request.refs))
        return FindExportersResponse(exporters=chosen)

    async def finalize_export(self, ctx: Context, request: FinalizeExportRequest) -> FinalizeExportResponse:
        """Take what the exporters answered.

        Args:
            ctx: ends when the daemon gives up or the session ends; given to the callback.
            request: the exporters' answers.

        Raises:
            RpcError: Unimplemented, without a callback; else whatever the callback raises.
        """
        if self.finalize is None:
            raise RpcError(Code.UNIMPLEMENTED, "no exporter finalize callback registered")
        await self.finalize(ctx, dict(request.exporter_response))
        return FinalizeExportResponse()


Option = Callable[[Exporter], None]


def with_finalize_callback(callback: FinalizeCallback) -> Option:
    """Learn what the exporters answered.

    Args:
        callback: called once the exports are done; what it raises fails the build.
    """

    def apply(exporter: Exporter) -> None:
        exporter.finalize = callback

    return apply


def new(callback: Callback | None, *options: Option) -> Exporter:
    """The session exporter's service over a callback.

    Args:
        callback: chooses the exporters; None: the session offers the service but chooses none.
        options: applied in order.
    """
    exporter = Exporter(callback)
    for option in options:
        option(exporter)
    return exporter
