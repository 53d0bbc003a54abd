"""What a failed build tells about itself: vertex, source lines, op, frontend.

Mirrors package solver/errdefs of BuildKit, v0.32.2. Every class is a layer around the daemon's status; find one
with `pybuildkit.golang.errors.find(err, SourceError)`.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from pybuildkit._lazy import attach

if TYPE_CHECKING:
    from pybuildkit.solver.errdefs._errdefs import (
        FrontendError,
        SolveError,
        SourceError,
        UnsupportedCompatibilityFeatureError,
        UnsupportedFrontendCapError,
        UnsupportedSubrequestError,
        VertexError,
        frontends,
        print_source,
        sources,
        with_source,
        wrap_vertex,
    )

__all__ = [
    "FrontendError",
    "SolveError",
    "SourceError",
    "UnsupportedCompatibilityFeatureError",
    "UnsupportedFrontendCapError",
    "UnsupportedSubrequestError",
    "VertexError",
    "frontends",
    "print_source",
    "sources",
    "with_source",
    "wrap_vertex",
]

__getattr__, _ = attach(__name__, dict.fromkeys(__all__, "_errdefs"))
