"""The build op: a definition that is found in an input's tree.

Mirrors solver/llbsolver/ops/build.go, v0.32.2. Differs on purpose: an empty definition is an error, where BuildKit's
daemon crashes, and so is a definition that leads back to its own build, where that daemon never ends.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable

from fake_buildkitd.solver._graph import Edge, LoadError, Vertex, load, walk
from fake_buildkitd.store import Node, PathError, Tree
from fake_buildkitd.store._tree import clean
from pybuildkit.golang.errors import BuildkitError, wrap
from pybuildkit.solver import pb
from pybuildkit.solver.pb import ops_pb2, unmarshal


class BuildOpError(BuildkitError):
    """A build op that cannot be, or a definition that leads back to it."""


def definition_input(op: ops_pb2.BuildOp, count: int) -> int:
    """Which input has the definition.

    Args:
        op: the operation.
        count: how many inputs it has.

    Raises:
        BuildOpError: none has.
    """
    if op.builder != pb.LLB_BUILDER:
        raise BuildOpError("only LLB builder is currently allowed")
    if pb.LLB_DEFINITION_INPUT not in op.inputs:
        raise BuildOpError(f"no llb definition input {pb.LLB_DEFINITION_INPUT} found")
    index = op.inputs[pb.LLB_DEFINITION_INPUT].input
    if not 0 <= index < count:
        raise BuildOpError(f"invalid index {index}")
    return int(index)


def nested_graph(op: ops_pb2.BuildOp, root: Node, get_blob: Callable[[bytes], bytes]) -> Edge:
    """The graph of the definition in a tree.

    Raises:
        BuildkitError: there is no such file, or it holds no graph.
    """
    name = op.attrs.get(pb.ATTR_LLB_DEFINITION_FILENAME, pb.LLB_DEFAULT_DEFINITION_FILE)
    path = clean(name.encode("utf-8", "surrogateescape"))
    tree = Tree(root)
    try:
        node = tree.stat(path)
        if node is None:
            raise PathError("open", path, 2)
    except PathError as err:
        raise wrap(err, f"failed to open {path.decode('utf-8', 'replace')}") from err
    if not node.is_regular():
        raise BuildOpError(f"{path.decode('utf-8', 'replace')} is not a regular file")
    return load(unmarshal(ops_pb2.Definition, get_blob(node.blob)))


class Nesting:
    """Which build ops lead to which, to find those that lead back to themselves."""

    def __init__(self) -> None:
        self._above: dict[str, frozenset[str]] = {}

    def enter(self, vertex: Vertex, graph: Edge) -> None:
        """Note that a build op asks for a graph.

        Raises:
            BuildOpError: the graph has the op itself, or one that led to it.
        """
        above = self._above.get(vertex.digest, frozenset()) | {vertex.digest}
        below = _builds(walk(graph))
        if any(each in above for each in below):
            raise BuildOpError("the definition of a nested build leads back to that build")
        for each in below:
            self._above[each] = self._above.get(each, frozenset()) | above


def _builds(vertices: Iterable[Vertex]) -> list[str]:
    return [vertex.digest for vertex in vertices if vertex.op.HasField("build")]


__all__ = ["BuildOpError", "LoadError", "Nesting", "definition_input", "nested_graph"]
