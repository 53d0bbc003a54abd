"""From a state to a definition: every op once, inputs before users.

The walk goes depth first through the inputs with a stack of its own, so that no graph is too deep, and keeps its
place when an asynchronous state has to be resolved first: `Marshaler.run` may be called again.

Mirrors State.Marshal and marshal in client/llb/state.go, v0.32.2.
"""

from __future__ import annotations

import contextlib
import gc
from collections.abc import Iterable, Iterator, Sequence
from typing import TYPE_CHECKING

from pybuildkit.client.llb._constraints import ConstraintsOpt, MarshalResult, OpMetadata, new_constraints
from pybuildkit.client.llb._definition import Definition
from pybuildkit.client.llb._errors import LLBError
from pybuildkit.client.llb._sourcemap import SourceMapCollector
from pybuildkit.client.llb._vertex import digest_of, encode_input
from pybuildkit.solver.pb import _caps as caps

if TYPE_CHECKING:
    from pybuildkit.client.llb._state import State
    from pybuildkit.client.llb._vertex import Output, Vertex


@contextlib.contextmanager
def _collector_paused() -> Iterator[None]:
    """No garbage collection meanwhile: a walk makes nothing but what stays, and looking through it takes longer."""
    enabled = gc.isenabled()
    gc.disable()
    try:
        yield
    finally:
        if enabled:
            gc.enable()


class _Frame:
    """A vertex on the stack, its inputs and how many of them are done."""

    __slots__ = ("done", "inputs", "vertex")

    def __init__(self, vertex: Vertex) -> None:
        self.vertex = vertex
        self.inputs: Sequence[Output] = vertex.inputs()
        self.done = 0


class Marshaler:
    """One `marshal` of a state."""

    def __init__(self, state: State, defaults: Iterable[ConstraintsOpt], opts: tuple[ConstraintsOpt, ...]) -> None:
        self._state = state
        self._opts = opts
        self._constraints = new_constraints(*defaults, *opts)
        self._definition = Definition(constraints=self._constraints)
        self._sources = SourceMapCollector()
        self._seen: dict[Vertex, bool] = {}
        self._digests: set[str] = set()
        self._stack: list[_Frame] = []
        self._finished = False

    def run(self) -> Definition:
        """The definition.

        Raises:
            PendingError: an asynchronous state must be resolved first; call again then.
            LLBError: an op cannot be marshalled.
        """
        out = self._state.output()
        root = out.vertex(self._constraints) if out is not None else None
        if out is None or root is None:
            return self._definition
        if not self._finished:
            with _collector_paused():
                self._walk(root)
            self._finish(out)
            self._finished = True
        self._marshal_source_maps()
        self._definition.source = self._sources.to_pb()
        self._constraints._results.clear()
        return self._definition

    def _walk(self, root: Vertex) -> None:
        constraints, seen, stack = self._constraints, self._seen, self._stack
        if root not in seen:
            self._enter(root)
        while stack:
            frame = stack[-1]
            if frame.done < len(frame.inputs):
                vertex = frame.inputs[frame.done].vertex(constraints)
                frame.done += 1
                if vertex is not None and vertex not in seen:
                    self._enter(vertex)
                elif vertex is not None and not seen[vertex]:
                    raise LLBError("the graph has a cycle")
                continue
            self._add(constraints._results.get(frame.vertex) or frame.vertex.marshal(constraints))
            seen[frame.vertex] = True
            stack.pop()

    def _enter(self, vertex: Vertex) -> None:
        self._stack.append(_Frame(vertex))
        self._seen[vertex] = False

    def _add(self, result: MarshalResult) -> None:
        digest, data, metadata, locations = result
        if metadata is not None:
            known = self._definition.metadata.get(digest)
            if known is None:
                metadata.description = dict(metadata.description) if metadata.description else None
                self._definition.metadata[digest] = metadata
            else:
                known.merge(metadata)
        self._sources.add(digest, locations)
        if digest not in self._digests:
            self._definition.def_.append(data)
            self._digests.add(digest)

    def _finish(self, out: Output) -> None:
        """Add the op that only names the result."""
        edge = out.to_input(self._constraints)
        assert edge is not None
        data = encode_input(edge)
        needed = {caps.CAP_CONSTRAINTS: True, caps.CAP_PLATFORM: True}
        for metadata in self._definition.metadata.values():
            if metadata.ignore_cache:
                needed[caps.CAP_META_IGNORE_CACHE] = True
            if metadata.description:
                needed[caps.CAP_META_DESCRIPTION] = True
            if metadata.export_cache is not None:
                needed[caps.CAP_META_EXPORT_CACHE] = True
        self._definition.def_.append(data)
        self._definition.metadata[digest_of(data)] = OpMetadata(caps=needed)

    def _marshal_source_maps(self) -> None:
        """Marshal the states that the source files come from; what is done stays done when one is pending."""
        for source_map in self._sources.maps:
            if source_map.definition is None and source_map.state is not None:
                source_map.definition = Marshaler(source_map.state, source_map.state.marshal_defaults, self._opts).run()
