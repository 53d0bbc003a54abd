"""Conversion between exceptions and gRPC statuses with typed details.

Mirrors util/grpcerrors/grpcerrors.go, v0.32.2.

A detail is an `Any` whose type URL names a registered message (`github.com/moby/buildkit/errdefs.Source+json`)
and whose value is that message as JSON. `from_grpc` turns each known detail into a layer around the status
(`SourceError(VertexError(StatusError))`), so that a caller finds it with `errors.find`; unknown details stay on
the StatusError and travel on.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import TYPE_CHECKING

from pybuildkit.golang import context, errors
from pybuildkit.golang.errors import BuildkitError
from pybuildkit.rpc import Code, RpcError

if TYPE_CHECKING:
    from google.protobuf.any_pb2 import Any as AnyMessage
    from google.protobuf.message import Message

_PREFIX = "github.com/moby/buildkit/"


class StatusError(RpcError):
    """A status that a daemon answered; its text is `Code: message`, or the message alone for Unknown."""

    def __str__(self) -> str:
        if self.code in (Code.OK, Code.UNKNOWN):
            return self.message
        return f"{self.code.text}: {self.message}"


class TypedError(BuildkitError):
    """An error around another one that carries a typed detail; its text is the inner error's.

    Args:
        cause: the error inside, or None.
        detail: the message that describes the failure.
    """

    def __init__(self, cause: BaseException | None, detail: Message) -> None:
        super().__init__(cause, detail)
        self.detail = detail
        self.cause = cause
        self.__cause__ = cause

    def __str__(self) -> str:
        return errors.error_text(self.cause) if self.cause is not None else ""


class CodeError(BuildkitError):
    """An error with a gRPC code of its own; made by `wrap_code`."""

    def __init__(self, cause: BaseException, code: Code) -> None:
        super().__init__(cause)
        self.code = code
        self.cause = cause
        self.__cause__ = cause

    def __str__(self) -> str:
        return errors.error_text(self.cause)


def wrap_code(err: BaseException, code: Code) -> CodeError:
    """The error with a gRPC code for its way over the wire; the text stays."""
    return CodeError(err, code)


_Loader = Callable[[], tuple["type[Message]", "type[BuildkitError]"]]
_registry: dict[str, _Loader] = {}
_NAMES = {
    "errdefs.": "pybuildkit.solver.errdefs",
    "stack.": "pybuildkit.util.stack",
    "gatewayapi.": "pybuildkit.frontend.gateway.pb",
    "policysession.": "pybuildkit.sourcepolicy.policysession",
}


def register(name: str, load: _Loader) -> None:
    """Make a detail known.

    Args:
        name: the detail's name, such as "errdefs.Source+json".
        load: gives the message class and the exception class (called as `cls(cause, message)`).
    """
    _registry[name] = load


def _known(name: str) -> _Loader | None:
    if name not in _registry:
        for prefix, module in _NAMES.items():
            if name.startswith(prefix):
                from importlib import import_module

                import_module(f"{module}._register")
    return _registry.get(name)


def _decode(detail: AnyMessage) -> BuildkitError | Callable[[BaseException], BuildkitError] | None:
    """The exception class's constructor bound to the detail's message, or None for an unknown detail."""
    if not detail.type_url.startswith(_PREFIX):
        return None
    loader = _known(detail.type_url.removeprefix(_PREFIX))
    if loader is None:
        return None
    from google.protobuf import json_format

    message_class, error_class = loader()
    message = message_class()
    try:
        json_format.Parse(detail.value.decode(), message, ignore_unknown_fields=True, max_recursion_depth=200)
    except (json_format.ParseError, UnicodeDecodeError, RecursionError):
        return None
    return lambda cause: error_class(cause, message)


def from_grpc(err: RpcError) -> BuildkitError:
    """The exception for a status: a StatusError, with a layer around it for each detail that is known."""
    wrappers = []
    unknown = []
    for detail in err.details:
        wrapper = _decode(detail)
        if callable(wrapper):
            wrappers.append(wrapper)
        else:
            unknown.append(detail)
    result: BuildkitError = StatusError(err.code, err.message, unknown)
    if err.__cause__ is not None:
        result.__cause__ = err.__cause__
    for wrapper in wrappers:
        result = wrapper(result)
    return result


def _inner(err: BaseException) -> list[BaseException]:
    """What an error was made from; nothing for several errors at once, whose members are looked at by themselves."""
    if isinstance(err, errors.JoinedError):
        return []
    # A wrapped error is reached although "raise … from" has named another cause.
    return [inner for inner in (getattr(err, "cause", None), err.__cause__) if isinstance(inner, BaseException)]


def code(err: BaseException | None) -> Code:
    """The gRPC code of an error: that of the first layer that has one, else by kind, else Unknown.

    Of several errors at once it is the first code that says something.
    """
    return Code.OK if err is None else _code(err, set())


def _code(err: BaseException, seen: set[int]) -> Code:
    if id(err) in seen:  # an error that was raised from one made of it
        return Code.UNKNOWN
    seen.add(id(err))
    if isinstance(err, (CodeError, RpcError)):
        return err.code
    declared = getattr(err, "grpc_code", None)
    if isinstance(declared, Code):
        return declared
    if isinstance(err, context.CanceledError):
        return Code.CANCELLED
    if isinstance(err, context.DeadlineExceededError):
        return Code.DEADLINE_EXCEEDED
    members = err.errors if isinstance(err, errors.JoinedError) else _inner(err)
    found = (_code(member, seen) for member in members)
    return next((each for each in found if each not in (Code.OK, Code.UNKNOWN)), Code.UNKNOWN)


def as_grpc_status(err: BaseException) -> RpcError | None:
    """The first layer that is a gRPC status, or None.

    Several errors at once give the first member's status that is a failure, with the text of them all.
    """
    return _as_grpc_status(err, set())


def _as_grpc_status(err: BaseException, seen: set[int]) -> RpcError | None:
    if isinstance(err, RpcError):
        return err
    if id(err) in seen:
        return None
    seen.add(id(err))
    if isinstance(err, errors.JoinedError):
        for member in err.errors:
            status = _as_grpc_status(member, seen)
            if status is not None and status.code != Code.OK:
                return RpcError(status.code, errors.error_text(err), status.details)
        return None
    found = (_as_grpc_status(inner, seen) for inner in _inner(err))
    return next((status for status in found if status is not None), None)


def to_grpc(err: BaseException) -> RpcError:
    """The status that carries an error over the wire: its code, its text and its typed details.

    The text is the status' own where the error came over the wire with it, else the longer one of the two.
    """
    status = as_grpc_status(err)
    err_code = code(err)
    if err_code == Code.OK:
        err_code = Code.UNKNOWN
    text = errors.error_text(err)
    message = status.message if status is not None else text
    if len(text.encode("utf-8", "surrogateescape")) > len(message.encode("utf-8", "surrogateescape")):
        received = errors.find(err, StatusError)
        if received is None or (received.code, received.message) != (err_code, message):
            message = text
    details = list(status.details) if status is not None else []
    details += [_encode(layer) for layer in errors.layers(err) if isinstance(layer, TypedError)]
    return RpcError(err_code, message, details)


def _encode(err: TypedError) -> AnyMessage:
    from google.protobuf import any_pb2, json_format

    name = getattr(err, "detail_name", f"errdefs.{type(err.detail).__name__}+json")
    value = json_format.MessageToJson(err.detail, indent=None, preserving_proto_field_name=True)
    return any_pb2.Any(type_url=_PREFIX + name, value=value.encode())
