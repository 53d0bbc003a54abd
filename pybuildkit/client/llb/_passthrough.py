"""Passthrough ops: outputs of the inputs, unchanged, ready only when all the inputs are.

Mirrors client/llb/passthrough.go, v0.32.2.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from functools import partial
from typing import TYPE_CHECKING

from pybuildkit.client.llb._constraints import (
    Constraints,
    ConstraintsOpt,
    MarshalResult,
    add_cap,
    constraints_of,
    marshal_constraints,
)
from pybuildkit.client.llb._errors import LLBError
from pybuildkit.client.llb._state import State, new_state
from pybuildkit.client.llb._vertex import Input, OpOutput, encode_op, store
from pybuildkit.solver.pb import CAP_PASSTHROUGH_OP, ops_pb2

if TYPE_CHECKING:
    from pybuildkit.client.llb._vertex import Output


@dataclass(frozen=True, kw_only=True, slots=True)
class PassthroughInput:
    """A tree that must be ready; with `output` it is also handed on."""

    state: State
    output: bool = False


class PassthroughOp:
    """Trees handed on when others are ready too."""

    def __init__(self, id: str, inputs: Sequence[PassthroughInput], *opts: ConstraintsOpt) -> None:
        self._id = id
        self._constraints = constraints_of(opts, "passthrough")
        add_cap(self._constraints, CAP_PASSTHROUGH_OP)
        self._inputs: list[Output] = []
        self._output_map: list[int] = []
        self._outputs: list[OpOutput] = []
        for each in inputs:
            out = each.state.output()
            if out is None:
                continue
            if each.output:
                self._outputs.append(OpOutput(self, index=partial(int, len(self._output_map))))
                self._output_map.append(len(self._inputs))
            self._inputs.append(out)

    def __repr__(self) -> str:
        return f"<passthrough {self._id}>"

    def output(self) -> OpOutput:
        """The first tree that is handed on."""
        return self.output_at(0)

    def output_at(self, index: int) -> OpOutput:
        """A tree that is handed on; one that is not there fails when it is marshalled."""
        if 0 <= index < len(self._outputs):
            return self._outputs[index]
        return OpOutput(self, error=f"invalid passthrough output {index}")

    def inputs(self) -> Sequence[Output]:
        """All the trees."""
        return self._inputs

    def validate(self, constraints: Constraints) -> None:
        """Raise LLBError without an input, an id or an output."""
        if not self._inputs:
            raise LLBError("passthrough must have at least one input")
        if not self._id:
            raise LLBError("passthrough requires an id")
        if not self._output_map:
            raise LLBError("passthrough must have at least one output")

    def marshal(self, constraints: Constraints) -> MarshalResult:
        """The op's bytes."""
        self.validate(constraints)
        edges: list[Input] = []
        for out in self._inputs:
            edge = out.to_input(constraints)
            if edge is None:
                raise LLBError("passthrough input must not be scratch")
            edges.append(edge)
        body = ops_pb2.PassthroughOp(id=self._id, outputs=self._output_map)
        _, filters, metadata = marshal_constraints(constraints, self._constraints)
        data = encode_op("passthrough", body, edges, None, filters)
        return store(self, constraints, data, metadata, self._constraints)


def new_passthrough_op(id: str, inputs: Sequence[PassthroughInput], *opts: ConstraintsOpt) -> PassthroughOp:
    """The op by itself, for one with several outputs."""
    return PassthroughOp(id, inputs, *opts)


def new_passthrough(id: str, inputs: Sequence[PassthroughInput], *opts: ConstraintsOpt) -> State:
    """The first tree with `output`, ready when all are.

    Args:
        id: names the op; part of its digest.
    """
    return new_state(PassthroughOp(id, inputs, *opts).output())
