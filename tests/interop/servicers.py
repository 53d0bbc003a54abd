"""Every service that BuildKit's client speaks or serves, as grpcio servicers made from the messages' descriptors.

A servicer answers each method with samples: a request must be the sample of its type, and the answer is the sample of
the answer's type, so that every field of every message crosses the wire once in each direction.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import dataclass
from typing import Any

import grpc
from google.protobuf import message_factory
from google.protobuf.descriptor import FieldDescriptor, MethodDescriptor, ServiceDescriptor
from google.protobuf.message import Message

from pybuildkit.api.services.control import control_pb2
from pybuildkit.frontend.gateway.pb import gateway_pb2
from pybuildkit.golang.protofields import is_repeated
from pybuildkit.rpc import Method
from pybuildkit.session.auth import auth_pb2
from pybuildkit.session.exporter import exporter_pb2
from pybuildkit.session.filesync import filesync_pb2
from pybuildkit.session.secrets import secrets_pb2
from pybuildkit.session.sshforward import ssh_pb2
from pybuildkit.session.upload import upload_pb2
from pybuildkit.sourcepolicy.policysession import policysession_pb2
from pybuildkit.third_party.containerd.content import content_pb2

MODULES: tuple[Any, ...] = (
    control_pb2,
    gateway_pb2,
    auth_pb2,
    exporter_pb2,
    filesync_pb2,
    secrets_pb2,
    ssh_pb2,
    upload_pb2,
    policysession_pb2,
    content_pb2,
)
STREAMED = 3
_SCALARS: dict[int, object] = {
    FieldDescriptor.TYPE_STRING: "text ü",
    FieldDescriptor.TYPE_BYTES: b"\x00\xffbytes",
    FieldDescriptor.TYPE_BOOL: True,
    FieldDescriptor.TYPE_DOUBLE: 1.5,
    FieldDescriptor.TYPE_FLOAT: 0.25,
}


@dataclass(frozen=True)
class Known:
    """One method of a service."""

    descriptor: MethodDescriptor
    request: type[Message]
    response: type[Message]

    @property
    def path(self) -> str:
        """The path on the wire."""
        service = self.descriptor.containing_service
        assert service is not None
        return f"/{service.full_name}/{self.descriptor.name}"

    @property
    def shape(self) -> tuple[bool, bool]:
        """Whether the client, and the server, send many messages."""
        descriptor: Any = self.descriptor
        return bool(descriptor.client_streaming), bool(descriptor.server_streaming)

    def method(self) -> Method[Message, Message]:
        """The method as our channels and servers take it."""
        client_streaming, server_streaming = self.shape
        return Method.of(self.path, self.request, self.response, client_streaming, server_streaming)


def services() -> list[ServiceDescriptor]:
    """All services."""
    return [service for module in MODULES for service in module.DESCRIPTOR.services_by_name.values()]


def methods() -> list[Known]:
    """All methods of all services."""
    get = message_factory.GetMessageClass
    return [
        Known(method, get(method.input_type), get(method.output_type))
        for service in services()
        for method in service.methods
    ]


def sample(kind: type[Message], depth: int = 2) -> Message:
    """A message with every field set, nested ones to some depth."""
    message = kind()
    for field in message.DESCRIPTOR.fields:
        oneof = field.containing_oneof
        if oneof is not None and oneof.fields[0] is not field and oneof.fields[0].name != field.name:
            continue
        _fill(message, field, depth)
    return message


def _fill(message: Message, field: FieldDescriptor, depth: int) -> None:
    target: Any = getattr(message, field.name)
    if field.message_type is not None:
        if field.message_type.GetOptions().map_entry:
            _fill_map(target, field, depth)
        elif depth and is_repeated(field):
            target.add().CopyFrom(sample(message_factory.GetMessageClass(field.message_type), depth - 1))
        elif depth:
            target.CopyFrom(sample(message_factory.GetMessageClass(field.message_type), depth - 1))
    elif is_repeated(field):
        target.append(_scalar(field))
    else:
        setattr(message, field.name, _scalar(field))


def _fill_map(target: Any, field: FieldDescriptor, depth: int) -> None:
    key, value = field.message_type.fields_by_name["key"], field.message_type.fields_by_name["value"]
    if value.message_type is None:
        target[_scalar(key)] = _scalar(value)
    elif depth:
        target[_scalar(key)].CopyFrom(sample(message_factory.GetMessageClass(value.message_type), depth - 1))


def _scalar(field: FieldDescriptor) -> object:
    if field.enum_type is not None:
        return field.enum_type.values[-1].number
    return _SCALARS.get(field.type, 7)


class Servicer:
    """Answers the methods of one service with samples; grpcio calls the methods by their names."""

    def __init__(self, service: ServiceDescriptor) -> None:
        for known in methods():
            if known.descriptor.containing_service is service:
                setattr(self, known.descriptor.name, _behaviour(known))

    def __getattr__(self, name: str) -> Any:
        raise AttributeError(name)


def _behaviour(known: Known) -> Callable[[Any, Any], Any]:
    client_streaming, server_streaming = known.shape
    expected, answer = sample(known.request), sample(known.response)

    def check(requests: Any, context: Any) -> None:
        got = list(requests) if client_streaming else [requests]
        if got != [expected] * (STREAMED if client_streaming else 1):
            context.abort(grpc.StatusCode.INVALID_ARGUMENT, "the request is not the sample")

    def single(request: Any, context: Any) -> Message:
        check(request, context)
        return answer

    def stream(request: Any, context: Any) -> Iterator[Message]:
        check(request, context)
        yield from [answer] * STREAMED

    return stream if server_streaming else single


def generic_handlers() -> list[grpc.GenericRpcHandler]:
    """All services, for a grpcio server."""
    handlers = []
    for service in services():
        servicer = Servicer(service)
        table = {}
        for known in methods():
            if known.descriptor.containing_service is service:
                kinds = {
                    (False, False): grpc.unary_unary_rpc_method_handler,
                    (False, True): grpc.unary_stream_rpc_method_handler,
                    (True, False): grpc.stream_unary_rpc_method_handler,
                    (True, True): grpc.stream_stream_rpc_method_handler,
                }
                table[known.descriptor.name] = kinds[known.shape](
                    getattr(servicer, known.descriptor.name),
                    request_deserializer=known.request.FromString,
                    response_serializer=known.response.SerializeToString,
                )
        handlers.append(grpc.method_handlers_generic_handler(service.full_name, table))
    return handlers
