"""From a definition's bytes to a graph of vertices.

Mirrors solver/llbsolver/vertex.go and ops/opsutils/validate.go, v0.32.2.
"""

from __future__ import annotations

import hashlib
from collections.abc import Iterator
from dataclasses import dataclass, field

from pybuildkit.client._graph import Vertex as ClientVertex
from pybuildkit.golang.errors import BuildkitError, wrap
from pybuildkit.solver.pb import ops_pb2 as pb
from pybuildkit.solver.pb import unmarshal


class LoadError(BuildkitError):
    """A definition that is no graph."""


@dataclass(eq=False)
class Vertex:
    """One operation, with the vertices it needs and which of their outputs."""

    digest: str
    op: pb.Op
    name: str
    metadata: pb.OpMetadata
    inputs: list[tuple[Vertex, int]] = field(default_factory=list)

    @property
    def ignore_cache(self) -> bool:
        """Whether the operation runs even if its result is known."""
        return self.metadata.ignore_cache

    def client_vertex(self) -> ClientVertex:
        """The vertex as statuses show it."""
        group = self.metadata.progress_group if self.metadata.HasField("progress_group") else None
        return ClientVertex(
            digest=self.digest,
            inputs=[vertex.digest for vertex, _ in self.inputs],
            name=self.name,
            progress_group=group,
        )


@dataclass
class Edge:
    """The output of a vertex that a definition asks for."""

    vertex: Vertex
    index: int


def digest_of(data: bytes) -> str:
    """The digest of bytes in its usual form, `sha256:HEX`."""
    return f"sha256:{hashlib.sha256(data).hexdigest()}"


def load(definition: pb.Definition) -> Edge:
    """The graph of a definition; its last operation only names the result.

    Raises:
        LoadError: `failed to load LLB: REASON`.
    """
    try:
        return _Loader(definition).load()
    except BuildkitError as err:
        raise wrap(err, "failed to load LLB") from err


class _Loader:
    def __init__(self, definition: pb.Definition) -> None:
        self._definition = definition
        self._ops: dict[str, pb.Op] = {}
        self._done: dict[str, Vertex] = {}

    def load(self) -> Edge:
        data = list(getattr(self._definition, "def"))
        if not data:
            raise LoadError("invalid empty definition")
        last = ""
        for raw in data:
            op = self._parse(raw)
            last = digest_of(raw)
            self._ops[last] = op
        for op in self._ops.values():
            for edge in op.inputs:
                if edge.digest not in self._ops:
                    raise LoadError(f"invalid missing input digest {edge.digest}")
        if len(self._ops) < 2:
            raise LoadError(f"invalid LLB with {len(self._ops)} vertexes")
        head = self._ops.pop(last)
        if not head.inputs:
            raise LoadError("invalid LLB with no inputs on last vertex")
        return Edge(self._vertex(head.inputs[0].digest), head.inputs[0].index)

    def _parse(self, raw: bytes) -> pb.Op:
        try:
            op = unmarshal(pb.Op, raw)
        except BuildkitError as err:
            raise wrap(err, "failed to parse llb proto op") from err
        for position, edge in enumerate(op.inputs):
            if edge.index < 0:
                raise LoadError(f"invalid input {position} output index {edge.index}")
        return op

    def _vertex(self, wanted: str) -> Vertex:
        """Inputs first, without recursion: a graph may be thousands of operations deep."""
        stack = [wanted]
        while stack:
            digest = stack[-1]
            if digest in self._done:
                stack.pop()
                continue
            op = self._ops.get(digest)
            if op is None:
                raise LoadError(f"invalid missing input digest {digest}")
            missing = [edge.digest for edge in op.inputs if edge.digest not in self._done]
            if missing:
                stack += missing[::-1]
                continue
            self._done[digest] = self._make(digest, op)
            stack.pop()
        return self._done[wanted]

    def _make(self, digest: str, op: pb.Op) -> Vertex:
        validate(op)
        metadata = self._definition.metadata[digest] if digest in self._definition.metadata else pb.OpMetadata()
        inputs = [(self._done[edge.digest], edge.index) for edge in op.inputs]
        name = metadata.description.get("llb.customname", "") or op_name(op, [vertex for vertex, _ in inputs])
        return Vertex(digest, op, name, metadata, inputs)


def walk(edge: Edge) -> Iterator[Vertex]:
    """Every vertex of a graph once, users before what they need."""
    seen: set[str] = set()
    stack = [edge.vertex]
    while stack:
        vertex = stack.pop()
        if vertex.digest in seen:
            continue
        seen.add(vertex.digest)
        yield vertex
        stack += [below for below, _ in reversed(vertex.inputs)]


def op_name(op: pb.Op, inputs: list[Vertex]) -> str:
    """The name of an operation that has none of its own."""
    kind = op.WhichOneof("op")
    if kind == "source":
        return op.source.identifier
    if kind == "exec":
        return " ".join(op.exec.meta.args)
    if kind == "file":
        return ", ".join(filter(None, map(_action_name, op.file.actions)))
    if kind == "build":
        return "build"
    if kind == "merge":
        return f"merge ({', '.join(vertex.name for vertex in inputs)})"
    if kind == "diff":
        return f"diff {_side(op.diff.lower.input, inputs)} -> {_side(op.diff.upper.input, inputs)}"
    if kind == "passthrough":
        return f"passthrough {op.passthrough.id}"
    return "unknown"


def _side(index: int, inputs: list[Vertex]) -> str:
    if index == -1:
        return "scratch"
    if not 0 <= index < len(inputs):
        raise LoadError(f"invalid diff input index {index}")
    return f"({inputs[index].name})"


def _action_name(action: pb.FileAction) -> str:
    kind = action.WhichOneof("action")
    if kind == "mkdir":
        return f"mkdir {action.mkdir.path}"
    if kind == "mkfile":
        return f"mkfile {action.mkfile.path}"
    if kind == "symlink":
        return f"symlink {action.symlink.newpath} -> {action.symlink.oldpath}"
    if kind == "rm":
        return f"rm {action.rm.path}"
    if kind == "copy":
        return f"copy {action.copy.src} {action.copy.dest}"
    return ""


def validate(op: pb.Op) -> None:
    """Refuse an operation that lacks what its kind must have.

    Raises:
        LoadError: says what is missing.
    """
    kind = op.WhichOneof("op")
    if kind == "exec":
        _validate_exec(op.exec)
    elif kind == "file" and not op.file.actions:
        raise LoadError("invalid file op with no actions")
    elif kind == "diff" and not (op.diff.HasField("lower") and op.diff.HasField("upper")):
        raise LoadError("invalid diff op with nil lower or upper input")
    elif kind == "passthrough":
        if not op.passthrough.id:
            raise LoadError("invalid passthrough op with no id")
        if not op.passthrough.outputs:
            raise LoadError("invalid passthrough op with no outputs")
        for index in op.passthrough.outputs:
            if index < 0 or (op.inputs and index >= len(op.inputs)):
                raise LoadError(f"invalid passthrough output input index {index}")


def _validate_exec(op: pb.ExecOp) -> None:
    if not op.HasField("meta"):
        raise LoadError("invalid exec op with no meta")
    if not op.meta.args:
        raise LoadError("invalid exec op with no args")
    if not op.mounts:
        raise LoadError("invalid exec op with no mounts")
    if not any(mount.dest == "/" for mount in op.mounts):
        raise LoadError("invalid exec op with no rootfs")
