"""Errors of the daemon on their way to a client.

A failed operation is wrapped in layers that carry typed details: the vertex, the lines of the source it comes from,
and for the gateway the operation with its inputs. `to_status` turns an error into the gRPC status that carries
them all.
"""

from __future__ import annotations

from pybuildkit.golang.errors import BuildkitError, error_text, find
from pybuildkit.rpc import Code, RpcError
from pybuildkit.solver.errdefs import SolveError, VertexError, errdefs_pb2, with_source
from pybuildkit.solver.pb import ops_pb2 as pb
from pybuildkit.util import grpcerrors


class OpError(BuildkitError):
    """An error with the operation that failed; its text is its cause's."""

    def __init__(self, cause: BaseException, op: pb.Op, description: dict[str, str]) -> None:
        super().__init__(cause)
        self.op = op
        self.description = description
        self.__cause__ = cause

    def __str__(self) -> str:
        return error_text(self.__cause__) if self.__cause__ is not None else ""


class ContentCacheError(BuildkitError):
    """An input whose content could not be read for the cache: `failed to compute cache key: REASON`."""

    def __init__(self, cause: BaseException, index: int) -> None:
        super().__init__(cause, index)
        self.index = index
        self.__cause__ = cause

    def __str__(self) -> str:
        return error_text(self.__cause__) if self.__cause__ is not None else ""


class UnsupportedError(BuildkitError):
    """Something that BuildKit can and this daemon cannot; the text says what."""

    grpc_code = Code.UNIMPLEMENTED


def with_definition_source(err: BaseException, definition: pb.Definition) -> BaseException:
    """The error with the source lines that the definition notes for the failed vertex."""
    vertex = find(err, VertexError)
    if vertex is None or not definition.HasField("Source"):
        return err
    locations = definition.Source.locations
    if vertex.detail.digest not in locations:
        return err
    for location in locations[vertex.detail.digest].locations:
        if 0 <= location.sourceIndex < len(definition.Source.infos):
            info = definition.Source.infos[location.sourceIndex]
            err = with_source(err, errdefs_pb2.Source(info=info, ranges=location.ranges))
    return err


def with_solve_error(err: BaseException) -> SolveError:
    """The error with the operation that failed and which part of it."""
    from fake_buildkitd.solver import FileActionError

    detail = errdefs_pb2.Solve()
    op = find(err, OpError)
    if op is not None:
        detail.op.CopyFrom(op.op)
        detail.description.update(op.description)
    action = find(err, FileActionError)
    if action is not None:
        detail.file.index = action.index
    content = find(err, ContentCacheError)
    if content is not None:
        detail.cache.index = content.index
    return SolveError(err, detail)


def to_status(err: BaseException) -> RpcError:
    """The status for an error that a handler raised; one that is a status itself is the answer as it stands."""
    return err if isinstance(err, RpcError) else grpcerrors.to_grpc(err)
