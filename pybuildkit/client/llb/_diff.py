"""Diff ops: what one tree has changed against another.

Mirrors client/llb/diff.go, v0.32.2.
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
from pybuildkit.client.llb._state import State, scratch
from pybuildkit.client.llb._vertex import Input, OpOutput, encode_op, store
from pybuildkit.solver.pb import CAP_DIFF_OP, EMPTY, ops_pb2

if TYPE_CHECKING:
    from pybuildkit.client.llb._vertex import Output


class DiffOp:
    """What one tree has changed against another."""

    def __init__(self, lower: State, upper: State, constraints: Constraints) -> None:
        add_cap(constraints, CAP_DIFF_OP)
        self._lower = lower.output()
        self._upper = upper.output()
        self._constraints = constraints
        self._output = OpOutput(self)

    def __repr__(self) -> str:
        return "<diff>"

    def output(self) -> OpOutput:
        """The changes as a tree."""
        return self._output

    def inputs(self) -> Sequence[Output]:
        """Both trees, without scratch."""
        return [out for out in (self._lower, self._upper) if out is not None]

    def validate(self, constraints: Constraints) -> None:
        """Any two trees have a difference."""

    def marshal(self, constraints: Constraints) -> MarshalResult:
        """The op's bytes."""
        edges: list[Input] = []
        indexes = []
        for out in (self._lower, self._upper):
            edge = out.to_input(constraints) if out is not None else None
            indexes.append(EMPTY if edge is None else len(edges))
            if edge is not None:
                edges.append(edge)
        body = ops_pb2.DiffOp(
            lower=ops_pb2.LowerDiffInput(input=indexes[0]), upper=ops_pb2.UpperDiffInput(input=indexes[1])
        )
        _, filters, metadata = marshal_constraints(constraints, self._constraints)
        return store(self, constraints, encode_op("diff", body, edges, None, filters), metadata, self._constraints)


def diff(lower: State, upper: State, *opts: ConstraintsOpt) -> State:
    """What `upper` has changed against `lower`, as a tree to merge; the whole of it where `lower` is scratch."""
    if lower.output() is None:
        return scratch() if upper.output() is None else upper
    return lower.with_output(DiffOp(lower, upper, constraints_of(opts, "diff")).output())
