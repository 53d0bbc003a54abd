"""Nested builds: a definition that a build makes is built in turn.

Mirrors client/llb/llbbuild/llbbuild.go, v0.32.2. Differs: without a source the build is an error when the graph is
marshalled, where Go crashes.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import TYPE_CHECKING

from pybuildkit.client.llb._constraints import Constraints, ConstraintsOpt, MarshalResult, marshal_constraints
from pybuildkit.client.llb._errors import LLBError, OptionError
from pybuildkit.client.llb._meta import StateOption
from pybuildkit.client.llb._option import describe
from pybuildkit.client.llb._vertex import Input, encode_op, store
from pybuildkit.solver import pb
from pybuildkit.solver.pb import ops_pb2

if TYPE_CHECKING:
    from pybuildkit.client.llb._state import State
    from pybuildkit.client.llb._vertex import Output

__all__ = ["BuildInfo", "BuildOp", "BuildOption", "build", "new_build_op", "with_constraints", "with_filename"]


class BuildInfo:
    """What the options of one `build` have said."""

    __slots__ = ("constraints", "definition_filename")

    def __init__(self) -> None:
        self.constraints = Constraints()
        self.definition_filename = ""


BuildOption = Callable[[BuildInfo], None]


class BuildOp:
    """A build of the definition that is found in a tree."""

    def __init__(self, source: Output | None, info: BuildInfo) -> None:
        self._source = source
        self._info = info

    def __repr__(self) -> str:
        return "<build>"

    def vertex(self, constraints: Constraints) -> BuildOp:
        """The op itself, which is also its output."""
        return self

    def to_input(self, constraints: Constraints) -> Input:
        """The edge to the built tree."""
        result = constraints._results.get(self) or self.marshal(constraints)
        return Input(result.digest, 0)

    def output(self) -> BuildOp:
        """The built tree."""
        return self

    def inputs(self) -> Sequence[Output]:
        """The tree with the definition."""
        return [self._source] if self._source is not None else []

    def validate(self, constraints: Constraints) -> None:
        """Raise LLBError without a tree."""
        if self._source is None:
            raise LLBError("build requires a source with a definition")

    def marshal(self, constraints: Constraints) -> MarshalResult:
        """The op's bytes."""
        self.validate(constraints)
        assert self._source is not None
        edge = self._source.to_input(constraints)
        if edge is None:
            raise LLBError("build requires a source with a definition")
        own = self._info.constraints
        body = ops_pb2.BuildOp(builder=pb.LLB_BUILDER)
        body.inputs[pb.LLB_DEFINITION_INPUT].input = 0
        if self._info.definition_filename:
            body.attrs[pb.ATTR_LLB_DEFINITION_FILENAME] = self._info.definition_filename
        platform, filters, metadata = marshal_constraints(constraints, own)
        metadata.caps = {**(own.metadata.caps or {}), pb.CAP_BUILD_OP_LLB_FILE_NAME: True}
        return store(self, constraints, encode_op("build", body, [edge], platform, filters), metadata, own)


def new_build_op(source: Output | None, *options: BuildOption) -> BuildOp:
    """The op by itself."""
    info = BuildInfo()
    for option in options:
        if not callable(option):
            raise OptionError(f"build() does not take {describe(option)}")
        option(info)
    return BuildOp(source, info)


def build(*options: BuildOption) -> StateOption:
    """A change to a state: build the definition that its tree holds, in the file `buildkit.llb.definition`."""

    def change(state: State) -> State:
        return state.with_output(new_build_op(state.output(), *options).output())

    return StateOption(change, "llbbuild.build(…)")


def with_filename(name: str) -> BuildOption:
    """The file that holds the definition."""

    def change(info: BuildInfo) -> None:
        info.definition_filename = name

    return change


def with_constraints(opt: ConstraintsOpt) -> BuildOption:
    """Constraints of the build op."""

    def change(info: BuildInfo) -> None:
        opt.set_constraints_option(info.constraints)

    return change
