"""BuildKit's client side: the names that most programs need. Everything else is in the packages below.

    from pybuildkit import Client, SolveOpt, llb

The packages mirror BuildKit's Go packages, v0.32.2: `pybuildkit.client` is `github.com/moby/buildkit/client`. Names
are loaded when they are first used.
"""

from __future__ import annotations

from pybuildkit._lazy import attach

TYPE_CHECKING = False  # typing is not loaded: every command passes here
if TYPE_CHECKING:
    from pybuildkit.client import Client, ExportEntry, SolveOpt, SolveStatus, llb
    from pybuildkit.golang.errors import BuildkitError

__all__ = ["BuildkitError", "Client", "ExportEntry", "SolveOpt", "SolveStatus", "llb"]

_EXPORTS = {
    "BuildkitError": "/pybuildkit.golang.errors",
    "Client": "/pybuildkit.client",
    "ExportEntry": "/pybuildkit.client",
    "SolveOpt": "/pybuildkit.client",
    "SolveStatus": "/pybuildkit.client",
}

_load, _ = attach(__name__, _EXPORTS)


def __getattr__(name: str) -> object:
    if name == "llb":
        from importlib import import_module

        return import_module("pybuildkit.client.llb")
    return _load(name)
