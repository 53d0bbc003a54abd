"""Definitions: a marshalled graph, as it is sent to a daemon and read back.

A definition is a list of ops, each the bytes of an `Op` message, inputs before users; the last one does nothing but
name the result. Beside it stand metadata by digest and the source maps.

Mirrors Definition, WriteTo and ReadFrom of client/llb/marshal.go, v0.32.2. Differs: metadata is written in the order
of the digests, so that equal definitions are equal bytes; Go's order is random.
"""

from __future__ import annotations

import json
from collections.abc import Iterator
from typing import TYPE_CHECKING, Protocol

from pybuildkit.client.llb._constraints import Constraints, OpMetadata
from pybuildkit.client.llb._vertex import digest_of
from pybuildkit.golang.errors import wrap
from pybuildkit.solver.pb import UnmarshalError, marshal, ops_pb2, to_json, unmarshal

if TYPE_CHECKING:
    from pybuildkit.solver.pb import Json


class Writer(Protocol):
    """What a definition is written to: a binary file."""

    def write(self, data: bytes, /) -> object:
        """Write all of the data."""


class Reader(Protocol):
    """What a definition is read from: a binary file."""

    def read(self) -> bytes:
        """Everything up to the end."""


class Definition:
    """A marshalled graph.

    Attributes:
        def_: the ops' bytes, inputs before users, the one that names the result last; empty for scratch.
        metadata: what is said about each op, by its digest.
        source: the source maps, or None.
        constraints: what the graph was marshalled with; None for a definition that was read.
    """

    __slots__ = ("constraints", "def_", "metadata", "source")

    def __init__(
        self,
        *,
        def_: list[bytes] | None = None,
        metadata: dict[str, OpMetadata] | None = None,
        source: ops_pb2.Source | None = None,
        constraints: Constraints | None = None,
    ) -> None:
        self.def_ = def_ if def_ is not None else []
        self.metadata = metadata if metadata is not None else {}
        self.source = source
        self.constraints = constraints

    def __repr__(self) -> str:
        return f"<Definition of {len(self.def_)} ops, head {self.head() or 'scratch'}>"

    def __len__(self) -> int:
        return len(self.def_)

    def __eq__(self, other: object) -> bool:
        if not isinstance(other, Definition):
            return NotImplemented
        return self.def_ == other.def_ and self.to_pb() == other.to_pb()

    __hash__ = None  # type: ignore[assignment]  # a mutable value, equal by content

    def to_pb(self) -> ops_pb2.Definition:
        """The definition as a message."""
        message = ops_pb2.Definition(Source=self.source)
        getattr(message, "def").extend(self.def_)
        for digest, metadata in self.metadata.items():
            message.metadata[digest].CopyFrom(metadata.to_pb())
        return message

    @classmethod
    def from_pb(cls, message: ops_pb2.Definition) -> Definition:
        """The definition that a message holds."""
        return cls(
            def_=list(getattr(message, "def")),
            metadata={digest: OpMetadata.from_pb(metadata) for digest, metadata in message.metadata.items()},
            source=message.Source if message.HasField("Source") else None,
        )

    def to_bytes(self) -> bytes:
        """The bytes that a daemon, or a command's standard input, takes."""
        return marshal(self.to_pb())

    @classmethod
    def from_bytes(cls, data: bytes) -> Definition:
        """The definition that the bytes hold.

        Raises:
            UnmarshalError: they hold none.
        """
        return cls.from_pb(unmarshal(ops_pb2.Definition, data))

    def head(self) -> str:
        """The digest of the op that makes the result, "" for scratch.

        Raises:
            UnmarshalError: the last op is no op.
        """
        if not self.def_:
            return ""
        op = unmarshal(ops_pb2.Op, self.def_[-1])
        return op.inputs[0].digest if op.inputs else ""

    def ops(self) -> Iterator[tuple[str, ops_pb2.Op]]:
        """Each op with its digest, in order.

        Raises:
            WrappedError: of UnmarshalError, for bytes that are no op.
        """
        for data in self.def_:
            try:
                yield digest_of(data), unmarshal(ops_pb2.Op, data)
            except UnmarshalError as err:
                raise wrap(err, "failed to parse llb proto op") from err

    def dump(self) -> str:
        """The ops in JSON, one object a line: digest, op and metadata. For reading; it is no form to build from."""
        lines = []
        for digest, op in self.ops():
            metadata = self.metadata.get(digest)
            line: dict[str, Json] = {"digest": digest, "op": to_json(op)}
            if metadata is not None:
                line["metadata"] = to_json(metadata.to_pb())
            lines.append(json.dumps(line))
        return "\n".join(lines) + "\n" if lines else ""


def write_to(definition: Definition, writer: Writer) -> None:
    """Write a definition to a binary file."""
    writer.write(definition.to_bytes())


def read_from(reader: Reader) -> Definition:
    """Read a definition from a binary file, to its end.

    Raises:
        UnmarshalError: what the file holds is none.
    """
    return Definition.from_bytes(reader.read())
