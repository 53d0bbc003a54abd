"""The daemon's end of the session exporter.

Mirrors what control/control.go and solver/llbsolver do with it, v0.32.2.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING

from pybuildkit.rpc import Code, RpcError
from pybuildkit.session.exporter._methods import FINALIZE_EXPORT, FIND_EXPORTERS
from pybuildkit.session.exporter.exporter_pb2 import ExporterRequest, FinalizeExportRequest, FindExportersRequest

if TYPE_CHECKING:
    from pybuildkit.golang.context import Context
    from pybuildkit.session import Caller


async def find_exporters(
    ctx: Context, caller: Caller, metadata: Mapping[str, bytes], refs: Sequence[str]
) -> list[ExporterRequest]:
    """Ask a session which exporters it wants.

    Args:
        ctx: bounds the call.
        caller: the session.
        metadata: the result's metadata.
        refs: ids of the result's references.

    Returns:
        the exporters; none where the session has no wishes, or does not offer the service.

    Raises:
        RpcError: any other failure.
    """
    request = FindExportersRequest(metadata=metadata, refs=refs)
    try:
        response = await caller.conn().unary(caller.context(ctx), FIND_EXPORTERS, request)
    except RpcError as err:
        if err.code in (Code.UNAVAILABLE, Code.UNIMPLEMENTED):
            return []
        raise
    return list(response.exporters)


async def finalize_export(ctx: Context, caller: Caller, response: Mapping[str, str]) -> None:
    """Tell a session what its exporters answered; one that does not want to know is no error.

    Args:
        ctx: ends the call; the session may have been told by then.
        caller: the session.
        response: the exporters' answers, as in a solve's response.

    Raises:
        RpcError: what the session's callback failed with.
    """
    request = FinalizeExportRequest(exporter_response=response)
    try:
        await caller.conn().unary(caller.context(ctx), FINALIZE_EXPORT, request)
    except RpcError as err:
        if err.code not in (Code.UNAVAILABLE, Code.UNIMPLEMENTED):
            raise
