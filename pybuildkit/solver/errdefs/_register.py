"""Makes the build errors known to grpcerrors; imported when the first `errdefs.` detail arrives.

Mirrors what init functions of solver/errdefs do, v0.32.2.
"""

from __future__ import annotations

from pybuildkit.golang.errors import BuildkitError
from pybuildkit.solver.errdefs import _errdefs as errdefs
from pybuildkit.solver.errdefs import errdefs_pb2 as pb
from pybuildkit.util.grpcerrors import TypedError, register

_CLASSES: dict[str, tuple[type, type[TypedError]]] = {
    "Vertex": (pb.Vertex, errdefs.VertexError),
    "Source": (pb.Source, errdefs.SourceError),
    "Solve": (pb.Solve, errdefs.SolveError),
    "Frontend": (pb.Frontend, errdefs.FrontendError),
    "FrontendCap": (pb.FrontendCap, errdefs.UnsupportedFrontendCapError),
    "Subrequest": (pb.Subrequest, errdefs.UnsupportedSubrequestError),
    "CompatibilityFeature": (pb.CompatibilityFeature, errdefs.UnsupportedCompatibilityFeatureError),
}


def _add(name: str, message: type, error: type[BuildkitError]) -> None:
    register(f"errdefs.{name}+json", lambda: (message, error))


for _name, (_message, _error) in _CLASSES.items():
    _add(_name, _message, _error)
