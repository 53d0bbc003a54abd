"""Errors across gRPC: typed details become exceptions, exceptions become statuses.

Mirrors package util/grpcerrors of BuildKit, v0.32.2.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from pybuildkit._lazy import attach

if TYPE_CHECKING:
    from pybuildkit.util.grpcerrors._grpcerrors import (
        CodeError,
        StatusError,
        TypedError,
        as_grpc_status,
        code,
        from_grpc,
        register,
        to_grpc,
        wrap_code,
    )

__all__ = [
    "CodeError",
    "StatusError",
    "TypedError",
    "as_grpc_status",
    "code",
    "from_grpc",
    "register",
    "to_grpc",
    "wrap_code",
]

__getattr__, _ = attach(__name__, dict.fromkeys(__all__, "_grpcerrors"))
