"""The gateway client over gRPC. Mirrors package frontend/gateway/grpcclient of BuildKit, v0.32.2."""

from __future__ import annotations

from typing import TYPE_CHECKING

from pybuildkit._lazy import attach

if TYPE_CHECKING:
    from pybuildkit.frontend.gateway.grpcclient._client import Conn, GrpcClient, new
    from pybuildkit.frontend.gateway.grpcclient._reference import GrpcReference

__all__ = ["Conn", "GrpcClient", "GrpcReference", "new"]

__getattr__, _ = attach(
    __name__, {"Conn": "_client", "GrpcClient": "_client", "GrpcReference": "_reference", "new": "_client"}
)
