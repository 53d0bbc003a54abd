"""A marshalled definition as part of a new graph.

Each op of the definition becomes a vertex that hands out the bytes it was read with, so that its digest is what it
was, whatever wrote it.

Mirrors client/llb/definition.go, v0.32.2. Differs: an input that the definition does not hold is an error when the
graph is marshalled, where Go crashes.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING

from pybuildkit.client.llb._constraints import Constraints, MarshalResult, OpMetadata
from pybuildkit.client.llb._errors import LLBError
from pybuildkit.client.llb._sourcemap import SourceLocation, SourceMap
from pybuildkit.client.llb._state import new_state
from pybuildkit.client.llb._vertex import Input, OpOutput, digest_of
from pybuildkit.golang.errors import wrap
from pybuildkit.solver.pb import UnmarshalError, ops_pb2, spec, unmarshal

if TYPE_CHECKING:
    from pybuildkit.client.llb._vertex import Output


class _Graph:
    """What all the vertices of one definition share."""

    __slots__ = ("data", "metadata", "ops", "sources", "vertices")

    def __init__(self) -> None:
        self.ops: dict[str, ops_pb2.Op] = {}
        self.data: dict[str, bytes] = {}
        self.metadata: dict[str, OpMetadata] = {}
        self.sources: dict[str, list[SourceLocation]] = {}
        self.vertices: dict[tuple[str, int], DefinitionOp] = {}


class DefinitionOp:
    """One op of a definition; also the output that the definition names."""

    def __init__(self, graph: _Graph, digest: str, index: int) -> None:
        self._graph = graph
        self._digest = digest
        self._index = index

    def __repr__(self) -> str:
        return f"<definition {self._digest or 'scratch'}>"

    def vertex(self, constraints: Constraints) -> DefinitionOp:
        """The op itself."""
        return self

    def to_input(self, constraints: Constraints) -> Input:
        """The edge to the op's output."""
        return Input(self.marshal(constraints).digest, self._index)

    def output(self) -> OpOutput | None:
        """The op's output with its platform; None for scratch."""
        if not self._digest:
            return None
        op = self._graph.ops.get(self._digest)
        platform = spec(op.platform) if op is not None and op.HasField("platform") else None
        return OpOutput(self, index=lambda: self._index, platform=platform)

    def inputs(self) -> Sequence[Output]:
        """The ops that this one is made from."""
        op = self._graph.ops.get(self._digest)
        return [self._vertex(edge.digest, edge.index) for edge in op.inputs] if op is not None else []

    def _vertex(self, digest: str, index: int) -> DefinitionOp:
        known = self._graph.vertices.get((digest, index))
        if known is None:
            known = self._graph.vertices[digest, index] = DefinitionOp(self._graph, digest, index)
        return known

    def validate(self, constraints: Constraints) -> None:
        """Raise LLBError for an op that the definition does not hold; scratch is valid."""
        if not self._digest:
            return
        graph = self._graph
        if not graph.ops or not graph.metadata:
            raise LLBError(f"invalid definition op with no ops {len(graph.ops)} {len(graph.metadata)}")
        if self._digest not in graph.ops:
            raise LLBError(f'invalid definition op with unknown op "{self._digest}"')
        if self._digest not in graph.metadata:
            raise LLBError(f'invalid definition op with unknown metas "{self._digest}"')
        if self._index < 0:
            raise LLBError("invalid definition op with invalid index")

    def marshal(self, constraints: Constraints) -> MarshalResult:
        """The op's bytes, as they were read."""
        if not self._digest:
            raise LLBError("cannot marshal empty definition op")
        self.validate(constraints)
        graph, digest = self._graph, self._digest
        return MarshalResult(digest, graph.data[digest], graph.metadata[digest].copy(), graph.sources.get(digest, []))


def new_definition_op(definition: ops_pb2.Definition | None) -> DefinitionOp:
    """The op that makes a definition's result; `new_state(op.output())` is the state.

    Raises:
        LLBError: there is no definition, or its source maps do not fit.
        WrappedError: of UnmarshalError, for bytes that are no op.
    """
    if definition is None or not definition.metadata:
        raise LLBError("invalid nil input definition to definition op")
    graph = _Graph()
    digest = ""
    for data in getattr(definition, "def"):
        try:
            op = unmarshal(ops_pb2.Op, data)
        except UnmarshalError as err:
            raise wrap(err, "failed to parse llb proto op") from err
        digest = digest_of(data)
        graph.ops[digest] = op
        graph.data[digest] = data
    graph.metadata = {key: OpMetadata.from_pb(value) for key, value in definition.metadata.items()}
    if definition.HasField("Source"):
        graph.sources = _read_sources(definition.Source)
    if not digest:
        return DefinitionOp(graph, "", 0)
    last = graph.ops[digest].inputs
    if not last:
        raise LLBError("invalid definition: the last op names no result")
    return DefinitionOp(graph, last[0].digest, last[0].index)


def _read_sources(source: ops_pb2.Source) -> dict[str, list[SourceLocation]]:
    maps = [_read_source_map(info) for info in source.infos]
    found: dict[str, list[SourceLocation]] = {}
    for digest, entry in source.locations.items():
        for location in entry.locations:
            if not 0 <= location.sourceIndex < len(maps):
                raise LLBError(f"failed to find source map with index {location.sourceIndex}")
            known = SourceLocation(maps[location.sourceIndex], list(location.ranges))
            found.setdefault(digest, []).append(known)
    return found


def _read_source_map(info: ops_pb2.SourceInfo) -> SourceMap:
    state = new_state(new_definition_op(info.definition)) if info.HasField("definition") else None
    return SourceMap(state, info.filename, info.language, info.data)
