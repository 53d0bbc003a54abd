"""The client library: talk to a BuildKit daemon, solve build graphs, follow their status.

Mirrors package client of BuildKit, v0.32.2. Names are loaded when they are first used.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from pybuildkit._lazy import attach

if TYPE_CHECKING:
    from pybuildkit.client._build import BuildFunc
    from pybuildkit.client._client import (
        Client,
        ClientOpt,
        new,
        with_context_dialer,
        with_credentials,
        with_dial_timeout,
        with_rpc_creds,
        with_server_config,
        with_server_config_system,
        with_session_dialer,
    )
    from pybuildkit.client._graph import SolveStatus, Vertex, VertexLog, VertexStatus, VertexWarning
    from pybuildkit.client._info import BuildkitVersion, Info
    from pybuildkit.client._solveopt import CacheOptionsEntry, ExportEntry, SolveOpt, SolveResponse
    from pybuildkit.client._workers import WorkerInfo

_EXPORTS = {
    "BuildFunc": "_build",
    "BuildkitVersion": "_info",
    "CacheOptionsEntry": "_solveopt",
    "Client": "_client",
    "ClientOpt": "_client",
    "ExportEntry": "_solveopt",
    "Info": "_info",
    "SolveOpt": "_solveopt",
    "SolveResponse": "_solveopt",
    "SolveStatus": "_graph",
    "Vertex": "_graph",
    "VertexLog": "_graph",
    "VertexStatus": "_graph",
    "VertexWarning": "_graph",
    "WorkerInfo": "_workers",
    "new": "_client",
    "with_context_dialer": "_client",
    "with_credentials": "_client",
    "with_dial_timeout": "_client",
    "with_rpc_creds": "_client",
    "with_server_config": "_client",
    "with_server_config_system": "_client",
    "with_session_dialer": "_client",
}

__all__ = [
    "BuildFunc",
    "BuildkitVersion",
    "CacheOptionsEntry",
    "Client",
    "ClientOpt",
    "ExportEntry",
    "Info",
    "SolveOpt",
    "SolveResponse",
    "SolveStatus",
    "Vertex",
    "VertexLog",
    "VertexStatus",
    "VertexWarning",
    "WorkerInfo",
    "new",
    "with_context_dialer",
    "with_credentials",
    "with_dial_timeout",
    "with_rpc_creds",
    "with_server_config",
    "with_server_config_system",
    "with_session_dialer",
]

__getattr__, _ = attach(__name__, _EXPORTS)
