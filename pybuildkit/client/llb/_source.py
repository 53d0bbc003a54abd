"""Source ops: trees that come from outside the graph.

Mirrors SourceOp of client/llb/source.go, v0.32.2.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import TYPE_CHECKING, Final

from pybuildkit.client.llb._constraints import Constraints, MarshalResult, marshal_constraints
from pybuildkit.client.llb._errors import LLBError
from pybuildkit.client.llb._vertex import OpOutput, encode_op, store
from pybuildkit.solver.pb import ATTR_LOCAL_SESSION_ID, ATTR_LOCAL_UNIQUE_ID, CAP_SOURCE_LOCAL_UNIQUE, ops_pb2

if TYPE_CHECKING:
    from pybuildkit.client.llb._vertex import Output

_OF_A_PLATFORM: Final = ("docker-image://", "oci-layout://")


class SourceOp:
    """A tree that comes from outside."""

    def __init__(
        self,
        id: str,
        attrs: dict[str, str],
        constraints: Constraints,
        *,
        error: Exception | None = None,
    ) -> None:
        self._id = id
        self._attrs = attrs
        self._constraints = constraints
        self._error = error
        self._output = OpOutput(self, platform=constraints.platform)

    def __repr__(self) -> str:
        return f"<{self._id}>"

    def output(self) -> OpOutput:
        """The tree."""
        return self._output

    def inputs(self) -> Sequence[Output]:
        """Nothing: a source has no inputs."""
        return ()

    def validate(self, constraints: Constraints) -> None:
        """Raise for a source that cannot be named."""
        if self._error is not None:
            raise self._error
        if not self._id:
            raise LLBError("source identifier can't be empty")

    def marshal(self, constraints: Constraints) -> MarshalResult:
        """The op's bytes."""
        self.validate(constraints)
        own = self._constraints
        attrs, caps = self._attrs, dict(own.metadata.caps or ())
        if self._id.startswith("local://") and ATTR_LOCAL_SESSION_ID not in attrs:
            attrs = {**attrs, ATTR_LOCAL_UNIQUE_ID: own.local_unique_id or constraints.local_unique_id}
            caps[CAP_SOURCE_LOCAL_UNIQUE] = True
        platform, filters, metadata = marshal_constraints(constraints, own)
        metadata.caps = caps or None
        body = ops_pb2.SourceOp(identifier=self._id, attrs=attrs)
        specific = platform if self._id.startswith(_OF_A_PLATFORM) else None
        return store(self, constraints, encode_op("source", body, (), specific, filters), metadata, own)


def new_source(id: str, attrs: dict[str, str], constraints: Constraints) -> SourceOp:
    """A source op by its identifier, such as "docker-image://docker.io/library/alpine:latest", and attributes."""
    return SourceOp(id, attrs, constraints)


class FileInfo:
    """What a source of a single file is told about that file."""

    __slots__ = ("filename", "gid", "perm", "uid")

    def __init__(self) -> None:
        self.filename = ""
        self.perm = 0
        self.uid = 0
        self.gid = 0


FileInfoChange = Callable[[FileInfo], None]
