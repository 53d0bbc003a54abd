"""The typed errors of a build and how a source range is printed.

Mirrors solver/errdefs/{vertex,source,solve,frontend,frontendcap,subrequest,compatibility}.go, v0.32.2.
"""

from __future__ import annotations

from collections.abc import Iterable
from typing import TYPE_CHECKING

from pybuildkit.golang import errors
from pybuildkit.solver.errdefs import errdefs_pb2 as pb
from pybuildkit.util.grpcerrors import TypedError

if TYPE_CHECKING:
    from pybuildkit.solver.pb.ops_pb2 import Range


class VertexError(TypedError):
    """The step that failed: `detail.digest`."""

    detail: pb.Vertex


class SourceError(TypedError):
    """Where in a source file the failure comes from: `detail.info` and `detail.ranges`."""

    detail: pb.Source


class SolveError(TypedError):
    """The op that failed and its inputs."""

    detail: pb.Solve


class FrontendError(TypedError):
    """The frontend that failed: `detail.name`."""

    detail: pb.Frontend

    def __str__(self) -> str:
        return super().__str__() if self.cause is not None else f"frontend {self.detail.name} failed"


class _PrefixedError(TypedError):
    """A typed error with a text of its own in front of the cause's."""

    def _text(self) -> str:
        raise NotImplementedError

    def __str__(self) -> str:
        return f"{self._text()}: {super().__str__()}" if self.cause is not None else self._text()


class UnsupportedFrontendCapError(_PrefixedError):
    """The frontend lacks a capability that the build asks for."""

    detail: pb.FrontendCap

    def _text(self) -> str:
        return f"unsupported frontend capability {self.detail.name}"


class UnsupportedSubrequestError(_PrefixedError):
    """The frontend does not answer the requested kind of sub-request."""

    detail: pb.Subrequest

    def _text(self) -> str:
        return f"unsupported request {self.detail.name}"


class UnsupportedCompatibilityFeatureError(_PrefixedError):
    """The requested compatibility version lacks a feature that the build needs."""

    detail: pb.CompatibilityFeature

    def _text(self) -> str:
        return f"unsupported compatibility-version {self.detail.version} feature {self.detail.feature}"


def wrap_vertex(err: BaseException, digest: str) -> VertexError:
    """The error with the step it belongs to."""
    return VertexError(err, pb.Vertex(digest=digest))


def with_source(err: BaseException, source: pb.Source) -> SourceError:
    """The error with the source lines it comes from."""
    return SourceError(err, source)


def sources(err: BaseException | None) -> list[pb.Source]:
    """The source ranges of an error, the innermost first."""
    return [layer.detail for layer in errors.layers(err) if isinstance(layer, SourceError)][::-1]


def frontends(err: BaseException | None) -> list[pb.Frontend]:
    """The frontends an error passed through, the innermost first."""
    return [layer.detail for layer in errors.layers(err) if isinstance(layer, FrontendError)][::-1]


def print_source(source: pb.Source, *, errors: str = "replace") -> str:
    """The lines around a source range with the failing ones marked; "" where there is nothing to show.

    Args:
        errors: what becomes of bytes that are no UTF-8 in the file as the daemon sent it: "replace", or
            "surrogateescape" for a stream that writes them as they were.
    """
    bounds = _line_bounds(source.ranges)
    if bounds is None or not source.HasField("info"):
        return ""
    lines = source.info.data.decode("utf-8", errors).split("\n")
    start, end = bounds
    if start > len(lines) or start < 1:
        return ""
    end = min(end, len(lines))
    first, last = _padded(start, end, len(lines))
    out = [f"{source.info.filename}:{start}\n--------------------\n"]
    for number in range(first, last + 1):
        mark = ">>>" if _contains(source.ranges, number) else "   "
        out.append(f" {number:3d} | {mark} {lines[number - 1]}\n")
    out.append("--------------------\n")
    return "".join(out)


def _padded(start: int, end: int, count: int) -> tuple[int, int]:
    """The shown lines: up to two around a range, up to four in all around a single line."""
    pad = 4 if start == end else 2
    used = 0
    while used < pad:
        if start > 1:
            start -= 1
            used += 1
        if end != count:
            end += 1
            used += 1
        used += 1
    return start, end


def _line_bounds(ranges: Iterable[Range]) -> tuple[int, int] | None:
    spans = [(r.start.line, max(r.end.line, r.start.line)) for r in ranges]
    if not spans:
        return None
    return min(s for s, _ in spans), max([0, *(e for _, e in spans)])


def _contains(ranges: Iterable[Range], line: int) -> bool:
    return any(r.start.line <= line <= max(r.end.line, r.start.line) for r in ranges)
