"""The classes of errors that containerd's services share, and their gRPC codes.

Mirrors github.com/containerd/errdefs, v1.0.0, and its errgrpc. The text of an error is "WHAT: CLASS", for example
"content sha256:…: not found"; over the wire the code carries the class.
"""

from __future__ import annotations

from pybuildkit.golang import context
from pybuildkit.golang.errors import BuildkitError, error_text, find
from pybuildkit.rpc import Code, RpcError


class ContainerdError(BuildkitError):
    """An error of a class; made with what went wrong, prints "WHAT: CLASS".

    Args:
        what: what the class is about; empty for the class alone.
    """

    word = "unknown"
    grpc_code = Code.UNKNOWN

    def __init__(self, what: str = "") -> None:
        super().__init__(what)
        self.what = what

    def __str__(self) -> str:
        return f"{self.what}: {self.word}" if self.what else self.word


class InvalidArgumentError(ContainerdError):
    """An argument that cannot be."""

    word = "invalid argument"
    grpc_code = Code.INVALID_ARGUMENT


class NotFoundError(ContainerdError):
    """No such thing."""

    word = "not found"
    grpc_code = Code.NOT_FOUND


class AlreadyExistsError(ContainerdError):
    """It is there already."""

    word = "already exists"
    grpc_code = Code.ALREADY_EXISTS


class PermissionDeniedError(ContainerdError):
    """Not allowed."""

    word = "permission denied"
    grpc_code = Code.PERMISSION_DENIED


class FailedPreconditionError(ContainerdError):
    """Not in a state for this."""

    word = "failed precondition"
    grpc_code = Code.FAILED_PRECONDITION


class OutOfRangeError(ContainerdError):
    """Beyond the end."""

    word = "out of range"
    grpc_code = Code.OUT_OF_RANGE


class UnavailableError(ContainerdError):
    """Not now; perhaps later."""

    word = "unavailable"
    grpc_code = Code.UNAVAILABLE


class DataLossError(ContainerdError):
    """Data is lost or damaged."""

    word = "data loss"
    grpc_code = Code.DATA_LOSS


class NotImplementedYetError(ContainerdError):
    """The other side does not do this."""

    word = "not implemented"
    grpc_code = Code.UNIMPLEMENTED


_CLASSES: dict[Code, type[ContainerdError]] = {
    cls.grpc_code: cls
    for cls in (
        InvalidArgumentError,
        NotFoundError,
        AlreadyExistsError,
        PermissionDeniedError,
        FailedPreconditionError,
        OutOfRangeError,
        UnavailableError,
        DataLossError,
        NotImplementedYetError,
    )
}


def to_grpc(err: BaseException) -> RpcError:
    """The status of an error: the code of its class, Unknown where it has none, and its text."""
    if isinstance(err, RpcError):
        return err
    code = Code.UNKNOWN
    if (found := find(err, ContainerdError)) is not None:
        code = found.grpc_code
    elif find(err, context.CanceledError) is not None:
        code = Code.CANCELLED
    elif find(err, context.DeadlineExceededError) is not None:
        code = Code.DEADLINE_EXCEEDED
    return RpcError(code, error_text(err))


def to_native(err: RpcError) -> BuildkitError:
    """The error of a status, in the class that its code stands for; a status of no class stays as it is."""
    if err.code == Code.CANCELLED:
        return context.CanceledError()
    if err.code == Code.DEADLINE_EXCEEDED:
        return context.DeadlineExceededError()
    cls = _CLASSES.get(err.code)
    if cls is None:
        return err
    if err.message == cls.word:
        return cls()
    return cls(err.message.removesuffix(f": {cls.word}"))
