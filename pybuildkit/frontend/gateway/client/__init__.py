"""What a frontend sees of the daemon: solve, read files of results, ask for images, run containers.

Mirrors package frontend/gateway/client of BuildKit, v0.32.2.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from pybuildkit._lazy import attach

if TYPE_CHECKING:
    from pybuildkit.frontend.gateway.client._client import (
        Attestation,
        BuildFunc,
        BuildOpts,
        CacheOptionsEntry,
        Client,
        Container,
        ContainerProcess,
        FileRange,
        InTotoSubject,
        Mount,
        NewContainerRequest,
        Reference,
        Result,
        SolveRequest,
        StartRequest,
        WarnOpts,
        WinSize,
        WorkerInfo,
    )

__all__ = [
    "Attestation",
    "BuildFunc",
    "BuildOpts",
    "CacheOptionsEntry",
    "Client",
    "Container",
    "ContainerProcess",
    "FileRange",
    "InTotoSubject",
    "Mount",
    "NewContainerRequest",
    "Reference",
    "Result",
    "SolveRequest",
    "StartRequest",
    "WarnOpts",
    "WinSize",
    "WorkerInfo",
]

__getattr__, _ = attach(__name__, dict.fromkeys(__all__, "_client"))
