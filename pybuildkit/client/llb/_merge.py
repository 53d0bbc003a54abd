"""Merge ops: trees laid over each other, the later ones on top.

Mirrors client/llb/merge.go, v0.32.2.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING

from pybuildkit.client.llb._constraints import (
    Constraints,
    ConstraintsOpt,
    MarshalResult,
    add_cap,
    constraints_of,
    marshal_constraints,
)
from pybuildkit.client.llb._errors import LLBError, OptionError
from pybuildkit.client.llb._option import describe
from pybuildkit.client.llb._state import State, scratch
from pybuildkit.client.llb._vertex import OpOutput, encode_op, store
from pybuildkit.solver.pb import CAP_MERGE_OP, ops_pb2

if TYPE_CHECKING:
    from pybuildkit.client.llb._vertex import Output


class MergeOp:
    """Trees laid over each other."""

    def __init__(self, inputs: Sequence[State], constraints: Constraints) -> None:
        self._inputs = [out for state in inputs if (out := state.output()) is not None]
        self._constraints = constraints
        self._output = OpOutput(self)

    def __repr__(self) -> str:
        return f"<merge of {len(self._inputs)}>"

    def output(self) -> OpOutput:
        """The merged tree."""
        return self._output

    def inputs(self) -> Sequence[Output]:
        """The trees."""
        return self._inputs

    def validate(self, constraints: Constraints) -> None:
        """Raise LLBError for fewer than two trees."""
        if len(self._inputs) < 2:
            raise LLBError("merge must have at least 2 inputs")

    def marshal(self, constraints: Constraints) -> MarshalResult:
        """The op's bytes."""
        self.validate(constraints)
        edges = [edge for out in self._inputs if (edge := out.to_input(constraints)) is not None]
        if len(edges) < 2:
            raise LLBError("merge must have at least 2 inputs")
        body = ops_pb2.MergeOp()
        for index in range(len(edges)):
            body.inputs.add(input=index)
        _, filters, metadata = marshal_constraints(constraints, self._constraints)
        return store(self, constraints, encode_op("merge", body, edges, None, filters), metadata, self._constraints)


def merge(inputs: Sequence[State], *opts: ConstraintsOpt) -> State:
    """Trees laid over each other; what is not the tree comes from the first that is not scratch.

    Args:
        inputs: the trees, the lowest first. Scratch counts for nothing; a single tree is the result itself.
    """
    if isinstance(inputs, State):
        raise OptionError(f"merge() takes a list of states, not {describe(inputs)}")
    filled = [state for state in inputs if state.output() is not None]
    if len(filled) < 2:
        return filled[0] if filled else scratch()
    constraints = constraints_of(opts, "merge")
    add_cap(constraints, CAP_MERGE_OP)
    return filled[0].with_output(MergeOp(filled, constraints).output())
