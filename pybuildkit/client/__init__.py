"""The client library: talk to a BuildKit daemon, solve build graphs, follow their status.

Mirrors package client of BuildKit, v0.32.2. Names are loaded when they are first used.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from pybuildkit.client._solveopt import CacheOptionsEntry, ExportEntry, SolveOpt, SolveResponse

_EXPORTS = {
    "CacheOptionsEntry": "_solveopt",
    "ExportEntry": "_solveopt",
    "SolveOpt": "_solveopt",
    "SolveResponse": "_solveopt",
}

__all__ = ["CacheOptionsEntry", "ExportEntry", "SolveOpt", "SolveResponse"]


def __getattr__(name: str) -> object:
    module = _EXPORTS.get(name)
    if module is None:
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    from importlib import import_module

    return getattr(import_module(f"{__name__}.{module}"), name)
