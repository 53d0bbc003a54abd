"""Vertices and outputs, the nodes and edges of a graph, and the bytes of an op.

A `Vertex` is one op. It marshals to bytes once its inputs have, because their digests stand in it. An `Output` is
one of the trees that a vertex makes; several states may share it. Results of a `marshal` are kept in its
constraints, so that an op that is used twice is marshalled once.

The bytes of an op are those of Go's protobuf library: fields in the order of their numbers, except that the op's
kind, a oneof, comes last. Python's library would write it where its number is, so the frame is put together here.

Mirrors Vertex and Output of client/llb/state.go, and client/llb/marshal.go, v0.32.2. Differs: vertices marshal
without changing themselves, and nothing is kept after `marshal` has returned.
"""

from __future__ import annotations

import functools
import hashlib
from collections.abc import Callable, Sequence
from typing import TYPE_CHECKING, Final, NamedTuple, Protocol

from pybuildkit.client.llb._constraints import Constraints, MarshalResult, OpMetadata
from pybuildkit.client.llb._errors import LLBError
from pybuildkit.solver.pb import ops_pb2
from pybuildkit.solver.pb._marshal import delimited, marshal
from pybuildkit.third_party.platforms import Platform

if TYPE_CHECKING:
    from google.protobuf.message import Message


class Input(NamedTuple):
    """An edge as it stands in an op: the digest of the vertex and the index of its output."""

    digest: str
    index: int  # type: ignore[assignment]  # the name hides tuple.index, which nobody needs here


class Output(Protocol):
    """A tree that some op makes."""

    def to_input(self, constraints: Constraints) -> Input | None:
        """The edge to this output; None where it turns out to be scratch."""
        ...

    def vertex(self, constraints: Constraints) -> Vertex | None:
        """The op that makes the tree; None where it turns out to be scratch."""
        ...


class Vertex(Protocol):
    """An op of the graph."""

    def validate(self, constraints: Constraints) -> None:
        """Raise LLBError where the op cannot be marshalled."""
        ...

    def marshal(self, constraints: Constraints) -> MarshalResult:
        """The op's bytes; its inputs must be marshalled before."""
        ...

    def output(self) -> Output | None:
        """The op's main output."""
        ...

    def inputs(self) -> Sequence[Output]:
        """What the op is made from, without repetition."""
        ...


class OpOutput:
    """An output of an op of this package."""

    __slots__ = ("_error", "_index", "_vertex", "platform")

    def __init__(
        self,
        vertex: Vertex,
        *,
        index: Callable[[], int] | None = None,
        error: str = "",
        platform: Platform | None = None,
    ) -> None:
        self._vertex = vertex
        self._index = index
        self._error = error
        self.platform = platform

    def __repr__(self) -> str:
        return f"<output of {self._vertex!r}>"

    def to_input(self, constraints: Constraints) -> Input:
        """The edge to this output."""
        if self._error:
            raise LLBError(self._error)
        index = self._index() if self._index is not None else 0
        result = constraints._results.get(self._vertex) or self._vertex.marshal(constraints)
        return Input(result.digest, index)

    def vertex(self, constraints: Constraints) -> Vertex:
        """The op."""
        return self._vertex


KINDS: Final = {
    name: field.number for name, field in ops_pb2.Op.DESCRIPTOR.fields_by_name.items() if field.containing_oneof
}
_LEN: Final = 2
_DIGEST_LEN: Final = len("sha256:") + 64
_INPUT_PREFIX: Final = bytes((0x0A, _DIGEST_LEN + 2, 0x0A, _DIGEST_LEN))
_NO_CONSTRAINTS: Final = bytes((11 << 3 | _LEN, 0))


def digest_of(data: bytes) -> str:
    """The digest of an op's bytes, `sha256:` and 64 hexadecimal digits."""
    return "sha256:" + hashlib.sha256(data).hexdigest()


def store(
    vertex: Vertex, constraints: Constraints, data: bytes, metadata: OpMetadata, own: Constraints
) -> MarshalResult:
    """Keep and return a vertex's result; `own` are the constraints that the op itself was given."""
    result = MarshalResult(digest_of(data), data, metadata, own.source_locations)
    constraints._results[vertex] = result
    return result


def encode_op(
    kind: str,
    body: Message,
    inputs: Sequence[Input],
    platform: Platform | None,
    filters: Sequence[str],
) -> bytes:
    """The bytes of an op.

    Args:
        kind: the name of the op's field in `Op`, such as "exec".
        body: what stands in it.
        platform: None for an op that is the same on all platforms.
        filters: what the worker must meet.

    Raises:
        LLBError: for a text that has no UTF-8 form.
    """
    parts = [encode_input(each) for each in inputs]
    if platform is not None:
        parts.append(_encode_platform(platform))
    if filters:
        parts.append(delimited(11, ops_pb2.WorkerConstraints(filter=filters).SerializeToString()))
    else:
        parts.append(_NO_CONSTRAINTS)
    parts.append(delimited(KINDS[kind], marshal(body)))
    return b"".join(parts)


def encode_input(edge: Input) -> bytes:
    """The bytes of an op's field for one input."""
    if edge.index == 0 and len(edge.digest) == _DIGEST_LEN:
        return _INPUT_PREFIX + edge.digest.encode()
    return delimited(1, ops_pb2.Input(digest=edge.digest, index=edge.index).SerializeToString())


@functools.lru_cache(maxsize=64)
def _encode_platform(platform: Platform) -> bytes:
    from pybuildkit.solver.pb import platform_from_spec

    return delimited(10, platform_from_spec(platform).SerializeToString(deterministic=True))
