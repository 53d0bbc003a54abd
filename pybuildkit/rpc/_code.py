"""gRPC status codes and the error that carries one.

Mirrors google.golang.org/grpc/codes and status, v1.82.1.
"""

from __future__ import annotations

import enum
from collections.abc import Sequence
from typing import TYPE_CHECKING

from pybuildkit.golang.errors import BuildkitError

if TYPE_CHECKING:
    from google.protobuf import any_pb2
    from google.rpc import status_pb2


class Code(enum.IntEnum):
    """A gRPC status code."""

    OK = 0
    CANCELLED = 1
    UNKNOWN = 2
    INVALID_ARGUMENT = 3
    DEADLINE_EXCEEDED = 4
    NOT_FOUND = 5
    ALREADY_EXISTS = 6
    PERMISSION_DENIED = 7
    RESOURCE_EXHAUSTED = 8
    FAILED_PRECONDITION = 9
    ABORTED = 10
    OUT_OF_RANGE = 11
    UNIMPLEMENTED = 12
    INTERNAL = 13
    UNAVAILABLE = 14
    DATA_LOSS = 15
    UNAUTHENTICATED = 16

    @property
    def text(self) -> str:
        """Go's word for the code: "NotFound", "Canceled", …"""
        return _TEXTS[self]


_TEXTS = (
    "OK",
    "Canceled",
    "Unknown",
    "InvalidArgument",
    "DeadlineExceeded",
    "NotFound",
    "AlreadyExists",
    "PermissionDenied",
    "ResourceExhausted",
    "FailedPrecondition",
    "Aborted",
    "OutOfRange",
    "Unimplemented",
    "Internal",
    "Unavailable",
    "DataLoss",
    "Unauthenticated",
)


class RpcError(BuildkitError):
    """A call that ended with a status other than OK; prints as grpc-go's status error.

    Args:
        code: the status code (a number outside the known ones is kept as `raw_code`, `code` is then UNKNOWN).
        message: the status message.
        details: typed details, as the peer packed them.
    """

    def __init__(self, code: int, message: str, details: Sequence[any_pb2.Any] = ()) -> None:
        super().__init__(code, message)
        self.raw_code = int(code)
        self.code = Code(code) if 0 <= code <= 16 else Code.UNKNOWN
        self.message = message
        self.details = tuple(details)

    def __str__(self) -> str:
        name = self.code.text if self.raw_code == self.code else f"Code({self.raw_code})"
        return f"rpc error: code = {name} desc = {self.message}"

    def status_proto(self) -> status_pb2.Status:
        """The error as a `google.rpc.Status` message; bytes that are no UTF-8 become U+FFFD."""
        from google.rpc import status_pb2

        message = self.message.encode("utf-8", "surrogateescape").decode("utf-8", "replace")
        return status_pb2.Status(code=self.raw_code, message=message, details=self.details)


class StreamEndedError(BuildkitError):
    """A message was sent on a stream whose call had already ended with OK (Go's `io.EOF` of SendMsg)."""

    def __str__(self) -> str:
        return "EOF"
