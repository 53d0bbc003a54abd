"""Makes the trees of operations, and notes which layers they are made of.

Mirrors Exec of the file, merge, diff and passthrough ops of solver/llbsolver/ops, v0.32.2. Everything here blocks.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence

from fake_buildkitd.solver._assembly import Assembly
from fake_buildkitd.solver._fileop import solve_file_op
from fake_buildkitd.solver._steps import diff_steps, merge_steps, tree_of_steps
from fake_buildkitd.store import Snapshot, Step, Store, empty_root, set_steps, steps_of
from pybuildkit.golang.errors import BuildkitError
from pybuildkit.solver.pb import ops_pb2 as pb

Trees = Sequence[Snapshot | None]


class Maker:
    """Makes trees for one build.

    Args:
        store: takes them.
        assembly: is told of merges and differences.
    """

    def __init__(self, store: Store, assembly: Assembly) -> None:
        self._store = store
        self._assembly = assembly
        self._nothing: Snapshot | None = None

    def make(self, op: pb.Op, name: str, inputs: Trees) -> list[Snapshot | None]:
        """The outputs of an operation on inputs, None for an empty tree.

        Args:
            name: the step's, by which its layers are described.

        Raises:
            BuildkitError: what went wrong.
        """
        if op.HasField("file"):
            return list(self._file(op.file, name, inputs))
        if op.HasField("passthrough"):
            return [inputs[index] for index in op.passthrough.outputs]
        known = self._known(op, inputs)
        if known is not None:
            return known
        steps = self._steps(op, name, inputs)
        made = self._store.commit(tree_of_steps(self._store, steps), name)
        set_steps(self._store, made, steps)
        self._assembly.postpone(op, inputs, steps, made)
        return [made]

    def _file(self, op: pb.FileOp, name: str, inputs: Trees) -> Iterator[Snapshot]:
        now = self._store.clock()
        roots = [tree.root if tree is not None else empty_root(now) for tree in inputs]
        made: dict[int, Snapshot] = {}
        for output in solve_file_op(self._store, op, roots):
            tree = inputs[output.base] if output.base != -1 else None
            for index, root in output.layers:
                below, steps = tree, steps_of(self._store, tree)
                tree = made.get(index)
                if tree is None:
                    tree = made[index] = self._store.commit(root, name)
                    set_steps(self._store, tree, [*steps, (below.id if below is not None else "", tree.id)])
            assert tree is not None
            yield tree

    @staticmethod
    def _known(op: pb.Op, inputs: Trees) -> list[Snapshot | None] | None:
        """The result of a merge or difference that needs no work: nothing at all, or a tree that is there."""
        if op.HasField("merge"):
            trees: list[Snapshot | None] = [tree for tree in inputs if tree is not None]
            return trees if len(trees) < 2 else None
        below, above = sides(op.diff, inputs)
        if below is None:
            return [above]
        return [None] if above is not None and below.id == above.id else None

    def _steps(self, op: pb.Op, name: str, inputs: Trees) -> list[Step]:
        """The layers of a merge or difference."""
        if op.HasField("merge"):
            return merge_steps(self._store, inputs)
        below, above = sides(op.diff, inputs)
        if above is None and below is not None:
            if self._nothing is None:
                self._nothing = self._store.commit(empty_root(), name, "internal")
            above = self._nothing
        return diff_steps(self._store, below, above)


def sides(op: pb.DiffOp, inputs: Trees) -> tuple[Snapshot | None, Snapshot | None]:
    """The lower and the upper tree of a difference: its inputs in order, whatever index it names.

    Raises:
        BuildkitError: there are too few.
    """
    rest = iter(inputs)
    found: list[Snapshot | None] = []
    for side, name in ((op.lower.input, "lower"), (op.upper.input, "upper")):
        try:
            found.append(next(rest) if side != -1 else None)
        except StopIteration:
            count = len(inputs)
            raise BuildkitError(f"invalid {name} input index {count} for diff op with {count} inputs") from None
    return found[0], found[1]
