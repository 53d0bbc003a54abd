"""The grpcio servicers themselves, under grpcio-testing with its fake clock."""

from __future__ import annotations

from typing import Any

import grpc
import grpc_testing
import pytest
from google.protobuf.message import Message

from pybuildkit.api.services.control import control_pb2
from tests.interop.servicers import STREAMED, Known, Servicer, methods, sample, services

METHODS = methods()
CONTROL = control_pb2.DESCRIPTOR.services_by_name["Control"]


def _server(now: float = 0.0) -> tuple[Any, Any]:
    clock = grpc_testing.strict_fake_time(now)
    return grpc_testing.server_from_dictionary({s: Servicer(s) for s in services()}, clock), clock


def test_every_service_of_a_build_is_there() -> None:
    names = {service.full_name for service in services()}
    assert {
        "moby.buildkit.v1.Control",
        "moby.buildkit.v1.frontend.LLBBridge",
        "moby.filesync.v1.FileSync",
        "moby.filesync.v1.FileSend",
        "moby.filesync.v1.Auth",
        "moby.upload.v1.Upload",
        "moby.buildkit.secrets.v1.Secrets",
        "moby.sshforward.v1.SSH",
        "containerd.services.content.v1.Content",
    } <= names


def test_samples_have_every_field() -> None:
    for known in METHODS:
        for kind in (known.request, known.response):
            message = sample(kind)
            oneofs = {oneof.name for oneof in kind.DESCRIPTOR.oneofs}
            filled = {field.name for field, _ in message.ListFields()}
            plain = {field.name for field in kind.DESCRIPTOR.fields if field.containing_oneof is None}
            assert plain <= filled
            assert all(message.WhichOneof(name) for name in oneofs)
            assert kind.FromString(message.SerializeToString()) == message


@pytest.mark.parametrize("known", METHODS, ids=lambda known: known.path)
def test_the_sample_is_answered(known: Known) -> None:
    server, _ = _server()
    client_streaming, server_streaming = known.shape
    kind = f"{'stream' if client_streaming else 'unary'}_{'stream' if server_streaming else 'unary'}"
    invoke = getattr(server, f"invoke_{kind}")
    if client_streaming:
        rpc = invoke(known.descriptor, (), 10)
        for _ in range(STREAMED):
            rpc.send_request(sample(known.request))
        rpc.requests_closed()
    else:
        rpc = invoke(known.descriptor, (), sample(known.request), 10)
    answers: list[Message] = []
    if server_streaming:
        answers = [rpc.take_response() for _ in range(STREAMED)]
        _, code, _ = rpc.termination()
    else:
        answer, _, code, _ = rpc.termination()
        answers = [answer]
    assert code is grpc.StatusCode.OK
    assert answers == [sample(known.response)] * len(answers)


def test_another_request_is_refused() -> None:
    server, _ = _server()
    info = CONTROL.methods_by_name["ListWorkers"]
    rpc = server.invoke_unary_unary(info, (), control_pb2.ListWorkersRequest(filter=["other"]), 10)
    _, _, code, details = rpc.termination()
    assert code is grpc.StatusCode.INVALID_ARGUMENT
    assert details == "the request is not the sample"


def test_a_deadline_passes_by_the_fake_clock() -> None:
    server, clock = _server()
    status = CONTROL.methods_by_name["Session"]
    rpc = server.invoke_stream_stream(status, (), 5)
    clock.sleep_for(6)
    _, code, _ = rpc.termination()
    assert code is grpc.StatusCode.DEADLINE_EXCEEDED
