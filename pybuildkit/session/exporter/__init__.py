"""The session exporter: the client decides which exporters a build's result goes to.

Mirrors package session/exporter of BuildKit, v0.32.2. `find_exporters` and `finalize_export` are the daemon's end;
the client's end is `exporterprovider`.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from pybuildkit._lazy import attach

if TYPE_CHECKING:
    from pybuildkit.session.exporter._exporter import finalize_export, find_exporters
    from pybuildkit.session.exporter._methods import FINALIZE_EXPORT, FIND_EXPORTERS

_EXPORTS = {
    "FINALIZE_EXPORT": "_methods",
    "FIND_EXPORTERS": "_methods",
    "finalize_export": "_exporter",
    "find_exporters": "_exporter",
}

__all__ = ["FINALIZE_EXPORT", "FIND_EXPORTERS", "finalize_export", "find_exporters"]

__getattr__, _ = attach(__name__, _EXPORTS)
