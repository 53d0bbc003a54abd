"""Exceptions to statuses and back; names of BuildKit's own tests where one is ported."""

from __future__ import annotations

import json

import pytest
from google.protobuf import any_pb2

from pybuildkit.golang import context, errors
from pybuildkit.golang.errors import BuildkitError
from pybuildkit.rpc import Code, RpcError
from pybuildkit.solver.errdefs import SolveError, SourceError, VertexError, sources, with_source, wrap_vertex
from pybuildkit.solver.errdefs.errdefs_pb2 import Source
from pybuildkit.solver.pb.ops_pb2 import SourceInfo
from pybuildkit.util import grpcerrors


def detail(name: str, value: object) -> any_pb2.Any:
    """A status detail as BuildKit's daemon makes it."""
    return any_pb2.Any(type_url=f"github.com/moby/buildkit/{name}", value=json.dumps(value).encode())


def test_from_grpc_preserve_unknown_types() -> None:
    unknown = any_pb2.Any(type_url="github.com/moby/buildkit/errdefs.Nothing+json", value=b"{}")
    foreign = any_pb2.Any(type_url="example.com/other", value=b"\x00")
    err = grpcerrors.from_grpc(RpcError(Code.UNKNOWN, "something", [unknown, foreign]))
    assert str(err) == "something"
    again = grpcerrors.to_grpc(err)
    assert [d.type_url for d in again.details] == [unknown.type_url, foreign.type_url]


def test_from_grpc_preserve_types() -> None:
    status = RpcError(
        Code.UNKNOWN,
        "process did not complete",
        [
            detail("errdefs.Vertex+json", {"digest": "sha256:1234"}),
            detail(
                "errdefs.Source+json",
                {"info": {"filename": "Dockerfile", "data": "YQpiCmM="}, "ranges": [{"start": {"line": 2}}]},
            ),
            detail("errdefs.Solve+json", {"inputIDs": ["a"], "op": {"exec": {"meta": {"args": ["x"]}}}}),
        ],
    )
    err = grpcerrors.from_grpc(status)
    assert str(err) == "process did not complete"
    vertex = errors.find(err, VertexError)
    assert vertex is not None
    assert vertex.detail.digest == "sha256:1234"
    assert [s.info.data for s in sources(err)] == [b"a\nb\nc"]
    solve = errors.find(err, SolveError)
    assert solve is not None
    assert list(solve.detail.op.exec.meta.args) == ["x"]
    kinds = {d.type_url.rpartition("/")[2] for d in grpcerrors.to_grpc(err).details}
    assert kinds == {"errdefs.Vertex+json", "errdefs.Source+json", "errdefs.Solve+json"}


def test_malformed_details_are_kept_as_they_are() -> None:
    broken = any_pb2.Any(type_url="github.com/moby/buildkit/errdefs.Vertex+json", value=b"\xff{")
    err = grpcerrors.from_grpc(RpcError(Code.INTERNAL, "text", [broken]))
    assert isinstance(err, grpcerrors.StatusError)
    assert list(err.details) == [broken]


@pytest.mark.parametrize(
    ("err", "code"),
    [
        (None, Code.OK),
        (BuildkitError("plain"), Code.UNKNOWN),
        (context.CanceledError(), Code.CANCELLED),
        (errors.wrap(context.DeadlineExceededError(), "more"), Code.DEADLINE_EXCEEDED),
        (RpcError(Code.NOT_FOUND, "x"), Code.NOT_FOUND),
        (errors.wrap(RpcError(Code.NOT_FOUND, "x"), "more"), Code.NOT_FOUND),
        (grpcerrors.wrap_code(RpcError(Code.NOT_FOUND, "x"), Code.ABORTED), Code.ABORTED),
        (errors.JoinedError([BuildkitError("a"), RpcError(Code.DATA_LOSS, "b")]), Code.DATA_LOSS),
        (errors.JoinedError([RpcError(Code.UNKNOWN, "a"), RpcError(Code.NOT_FOUND, "b")]), Code.NOT_FOUND),
        (errors.JoinedError([BuildkitError("a"), RpcError(Code.UNKNOWN, "b")]), Code.UNKNOWN),
    ],
)
def test_code(err: BaseException | None, code: Code) -> None:
    assert grpcerrors.code(err) == code


def test_as_grpc_status() -> None:
    inner = RpcError(Code.UNAVAILABLE, "gone")
    assert grpcerrors.as_grpc_status(errors.wrap(inner, "more")) is inner
    assert grpcerrors.as_grpc_status(BuildkitError("none")) is None


_BROKE = RpcError(Code.INTERNAL, "it broke")
_RAW = "rpc error: code = Internal desc = it broke"
_RECEIVED = grpcerrors.StatusError(Code.INTERNAL, "it broke")


# As BuildKit's own ToGRPC answers these, also when its answer is converted a second time.
@pytest.mark.parametrize(
    ("err", "code", "message"),
    [
        (BuildkitError("plain"), Code.UNKNOWN, "plain"),
        (wrap_vertex(errors.wrap(BuildkitError("plain"), "w"), "sha256:1"), Code.UNKNOWN, "w: plain"),
        (_BROKE, Code.INTERNAL, _RAW),
        (errors.wrap(_BROKE, "more"), Code.INTERNAL, f"more: {_RAW}"),
        (wrap_vertex(_BROKE, "sha256:1"), Code.INTERNAL, _RAW),
        (with_source(with_source(_BROKE, Source()), Source()), Code.INTERNAL, _RAW),
        (_RECEIVED, Code.INTERNAL, "it broke"),
        (errors.wrap(_RECEIVED, "more"), Code.INTERNAL, "it broke"),
        (wrap_vertex(errors.wrap(_RECEIVED, "more"), "sha256:1"), Code.INTERNAL, "it broke"),
        (errors.wrap(wrap_vertex(_RECEIVED, "sha256:1"), "more"), Code.INTERNAL, "it broke"),
        (grpcerrors.wrap_code(_BROKE, Code.NOT_FOUND), Code.NOT_FOUND, _RAW),
        (grpcerrors.wrap_code(_RECEIVED, Code.NOT_FOUND), Code.NOT_FOUND, "Internal: it broke"),
        (
            errors.wrap(grpcerrors.wrap_code(errors.wrap(_BROKE, "mid"), Code.NOT_FOUND), "top"),
            Code.NOT_FOUND,
            f"top: mid: {_RAW}",
        ),
        (errors.JoinedError([BuildkitError("a"), _BROKE]), Code.INTERNAL, f"a\n{_RAW}"),
        (errors.JoinedError([BuildkitError("a"), _RECEIVED]), Code.INTERNAL, "a\nInternal: it broke"),
        (errors.wrap(errors.JoinedError([BuildkitError("a"), _BROKE]), "w"), Code.INTERNAL, f"w: a\n{_RAW}"),
        (errors.wrap(context.CanceledError(), "w"), Code.CANCELLED, "w: context canceled"),
        (errors.wrap(grpcerrors.StatusError(Code.UNKNOWN, "u"), "w"), Code.UNKNOWN, "u"),
    ],
)
def test_to_grpc_message(err: BaseException, code: Code, message: str) -> None:
    status = grpcerrors.to_grpc(err)
    assert (status.code, status.message) == (code, message)
    again = grpcerrors.to_grpc(grpcerrors.from_grpc(status))
    assert (again.code, again.message) == (code, message)


def test_texts_of_typed_errors_do_not_grow_on_their_way() -> None:
    """A frontend's error comes from the daemon, goes back to it, and is what the build ends with."""
    status = RpcError(
        Code.UNIMPLEMENTED, "unsupported frontend capability x", [detail("errdefs.FrontendCap+json", {"name": "x"})]
    )
    err = grpcerrors.from_grpc(status)
    text = "unsupported frontend capability x: Unimplemented: unsupported frontend capability x"
    assert str(err) == text
    assert str(grpcerrors.from_grpc(grpcerrors.to_grpc(err))) == text


def test_status_text_names_the_code_unless_unknown() -> None:
    assert str(grpcerrors.StatusError(Code.CANCELLED, "context canceled")) == "Canceled: context canceled"
    assert str(grpcerrors.StatusError(Code.UNKNOWN, "text")) == "text"


def test_source_error_keeps_the_text() -> None:
    err = SourceError(BuildkitError("inner"), Source())
    assert str(err) == "inner"


def test_several_sources_all_arrive_and_change_their_order_at_each_hop() -> None:
    """A detail becomes the layer around those before it, and layers are told from the outermost on."""
    err: BaseException = RpcError(Code.INVALID_ARGUMENT, "bad")
    for name in ("one", "two", "three"):
        err = with_source(err, Source(info=SourceInfo(filename=name)))
    for order in (["three", "two", "one"], ["one", "two", "three"]):
        err = grpcerrors.from_grpc(grpcerrors.to_grpc(err))
        assert [each.info.filename for each in sources(err)] == order
        assert grpcerrors.code(err) == Code.INVALID_ARGUMENT


def test_an_error_raised_from_one_made_of_it() -> None:
    inner = BuildkitError("inner")
    outer = errors.wrap(inner, "outer")
    inner.__cause__ = outer
    assert grpcerrors.code(outer) == Code.UNKNOWN
    assert grpcerrors.as_grpc_status(outer) is None
    assert grpcerrors.to_grpc(outer).message == "outer: inner"
