"""The content service over stores. Mirrors plugins/services/content/contentserver, github.com/containerd/containerd
v2.3.3.

A call Write is a conversation: each request, which may append data, is answered by one response with the offset
reached; the first names the ingest, a COMMIT is the last. An end without COMMIT leaves the ingest to be resumed.

The stores' calls block, so each runs in a thread. Errors reach the other side with the code of their class.

Differs on purpose: the last response of a Write is sent once; what Go's client sends at its end is the same again.
An expected digest that is none fails the commit, and an update without a blob is an invalid argument: Go's client
crashes at both.
"""

from __future__ import annotations

import itertools
from collections.abc import Callable, Sequence
from typing import TYPE_CHECKING, TypeVar

from google.protobuf.empty_pb2 import Empty

from pybuildkit.golang import threads
from pybuildkit.golang.errors import BuildkitError, wrap
from pybuildkit.golang.strconv import quote
from pybuildkit.rpc import Code, RpcError, incoming_metadata
from pybuildkit.third_party.containerd.content import _methods as methods
from pybuildkit.third_party.containerd.content import content_pb2 as pb
from pybuildkit.third_party.containerd.content._content import check_digest
from pybuildkit.third_party.containerd.content._convert import info_from_pb, info_to_pb, status_to_pb, to_timestamp
from pybuildkit.third_party.containerd.errdefs import DataLossError, InvalidArgumentError, to_grpc
from pybuildkit.third_party.containerd.filters import FilterError

if TYPE_CHECKING:
    from pybuildkit.golang.context import Context
    from pybuildkit.rpc import Metadata, Server, ServerStream
    from pybuildkit.third_party.containerd.content._content import Info, ReaderAt, Store, Writer

_READ_CHUNK = 1 << 20
_LIST_CHUNK = 100

_Req = TypeVar("_Req")
_Resp = TypeVar("_Resp")
_Found = TypeVar("_Found")


class ContentServer:
    """The content service; an Attachable.

    Args:
        choose: the store for a call, given its metadata; raises what the caller shall see.
    """

    def __init__(self, choose: Callable[[Metadata], Store]) -> None:
        self._choose = choose

    def register(self, server: Server) -> None:
        """Offer the service on a server."""
        server.add_unary(methods.INFO, self.info)
        server.add_unary(methods.UPDATE, self.update)
        server.add_stream(methods.LIST, self.list)
        server.add_unary(methods.DELETE, self.delete)
        server.add_stream(methods.READ, self.read)
        server.add_unary(methods.STATUS, self.status)
        server.add_unary(methods.LIST_STATUSES, self.list_statuses)
        server.add_stream(methods.WRITE, self.write)
        server.add_unary(methods.ABORT, self.abort)

    def _store(self, ctx: Context) -> Store:
        return self._chosen(incoming_metadata(ctx))

    def _chosen(self, metadata: Metadata) -> Store:
        try:
            return self._choose(metadata)
        except BuildkitError as err:
            raise to_grpc(err) from err

    async def info(self, ctx: Context, request: pb.InfoRequest) -> pb.InfoResponse:
        """What is known of a blob."""
        _check(request.digest, f"{quote(request.digest)} failed validation")
        store = self._store(ctx)
        return pb.InfoResponse(info=info_to_pb(await _call(ctx, lambda: store.info(request.digest))))

    async def update(self, ctx: Context, request: pb.UpdateRequest) -> pb.UpdateResponse:
        """Change a blob's labels."""
        _check(request.info.digest, f"{quote(request.info.digest)} failed validation")
        store = self._store(ctx)
        wanted, paths = info_from_pb(request.info), list(request.update_mask.paths)
        return pb.UpdateResponse(info=info_to_pb(await _call(ctx, lambda: store.update(wanted, paths))))

    async def list(self, stream: ServerStream[pb.ListContentRequest, pb.ListContentResponse]) -> None:
        """Every blob that matches, in blocks."""
        request = await _one_request(stream)
        store = self._chosen(stream.metadata)
        filters = list(request.filters)
        walked = await _call(stream.ctx, lambda: iter(store.walk(filters)))

        def block() -> Sequence[Info]:
            return [*itertools.islice(walked, _LIST_CHUNK)]

        while infos := await _call(stream.ctx, block):
            await stream.send(pb.ListContentResponse(info=map(info_to_pb, infos)))

    async def delete(self, ctx: Context, request: pb.DeleteContentRequest) -> Empty:
        """Remove a blob."""
        _check(request.digest)
        store = self._store(ctx)
        await _call(ctx, lambda: store.delete(request.digest))
        return Empty()

    async def read(self, stream: ServerStream[pb.ReadContentRequest, pb.ReadContentResponse]) -> None:
        """A blob's content, or the part that is asked for."""
        request = await _one_request(stream)
        _check(request.digest, named=True)
        store = self._chosen(stream.metadata)
        await _call(stream.ctx, lambda: store.info(request.digest))
        reader = await _call(stream.ctx, lambda: store.open(request.digest))
        try:
            await _send_content(stream, reader, max(0, request.offset), request.size)
        finally:
            reader.close()

    async def status(self, ctx: Context, request: pb.StatusRequest) -> pb.StatusResponse:
        """What is known of an ingest."""
        store = self._store(ctx)
        text = f"could not get status for ref {quote(request.ref)}"
        status = await _call(ctx, lambda: store.status(request.ref), text)
        return pb.StatusResponse(status=status_to_pb(status))

    async def list_statuses(self, ctx: Context, request: pb.ListStatusesRequest) -> pb.ListStatusesResponse:
        """Every ingest that matches."""
        store = self._store(ctx)
        filters = list(request.filters)
        statuses = await _call(ctx, lambda: store.list_statuses(filters))
        return pb.ListStatusesResponse(statuses=map(status_to_pb, statuses))

    async def abort(self, ctx: Context, request: pb.AbortRequest) -> Empty:
        """Remove an ingest."""
        store = self._store(ctx)
        await _call(ctx, lambda: store.abort(request.ref))
        return Empty()

    async def write(self, stream: ServerStream[pb.WriteContentRequest, pb.WriteContentResponse]) -> None:
        """Write an ingest, and make a blob of it."""
        request = await _one_request(stream)
        if not request.ref:
            raise RpcError(Code.INVALID_ARGUMENT, "first message must have a reference")
        store = self._chosen(stream.metadata)
        conversation = _WriteConversation(stream.ctx, store, request)
        try:
            await conversation.open()
            while True:
                await stream.send(await conversation.answer(request))
                if request.action == pb.COMMIT:
                    return
                following = await stream.recv()
                if following is None:
                    return
                request = following
        finally:
            conversation.close()


class _WriteConversation:
    """One call Write: the ingest and what the requests have said of it so far."""

    def __init__(self, ctx: Context, store: Store, first: pb.WriteContentRequest) -> None:
        self._ctx = ctx
        self._store = store
        self._ref = first.ref
        self._total = first.total
        self._expected = first.expected
        self._writer: Writer | None = None

    async def open(self) -> None:
        self._writer = await _call(self._ctx, lambda: self._store.writer(self._ref, self._total, self._expected))

    def close(self) -> None:
        if self._writer is not None:
            self._writer.close()

    async def answer(self, request: pb.WriteContentRequest) -> pb.WriteContentResponse:
        writer = self._writer
        assert writer is not None
        if request.expected:
            self._expected = request.expected
            await self._refuse_existing()
        if request.total > 0:
            self._total = request.total
        status = writer.status()
        response = pb.WriteContentResponse(action=request.action, offset=status.offset)
        if request.action == pb.STAT:
            response.started_at.CopyFrom(to_timestamp(status.started_at))
            response.updated_at.CopyFrom(to_timestamp(status.updated_at))
            response.total = self._total
        elif request.action in (pb.WRITE, pb.COMMIT):
            response.offset = await _call(self._ctx, lambda: self._apply(writer, request))
        else:
            return response
        response.digest = writer.digest()
        return response

    async def _refuse_existing(self) -> None:
        try:
            await threads.call(self._ctx, lambda: self._store.info(self._expected))
        except (BuildkitError, OSError):
            return
        self.close()
        await _call(self._ctx, lambda: self._store.abort(self._ref))
        raise RpcError(Code.ALREADY_EXISTS, f"blob with expected digest {self._expected} exists")

    def _apply(self, writer: Writer, request: pb.WriteContentRequest) -> int:
        """Append the request's data and commit where it says so; the offset after that. Blocks."""
        offset = writer.status().offset
        if request.offset > 0 and request.offset != offset:
            raise RpcError(Code.OUT_OF_RANGE, f"write @{request.offset} must occur at current offset {offset}")
        if request.offset == 0 and offset > 0:
            writer.truncate(0)
        if request.data:
            writer.write(request.data)
        offset = writer.status().offset
        if request.action == pb.COMMIT:
            writer.commit(self._total, self._expected, dict(request.labels))
        return offset


def _check(digest: str, text: str = "", *, named: bool = False) -> None:
    """Refuse what is no digest, with the text or with what is wrong, after the digest where it is to be named."""
    try:
        check_digest(digest)
    except InvalidArgumentError as err:
        raise RpcError(Code.INVALID_ARGUMENT, text or (f"{digest}: {err.what}" if named else err.what)) from err


async def _call(ctx: Context, func: Callable[[], _Found], text: str = "") -> _Found:
    """What a blocking call of a store gives; its error as a status, with the text before it."""
    try:
        return await threads.call(ctx, func)
    except FilterError as err:
        # for the Control service it is no invalid argument
        raise to_grpc(InvalidArgumentError(str(err).removesuffix(f": {InvalidArgumentError.word}"))) from err
    except (BuildkitError, OSError) as err:
        raise to_grpc(wrap(err, text) if text else err) from err


async def _one_request(stream: ServerStream[_Req, _Resp]) -> _Req:
    request = await stream.recv()
    if request is None:
        raise BuildkitError("EOF")
    return request


async def _send_content(
    stream: ServerStream[pb.ReadContentRequest, pb.ReadContentResponse], reader: ReaderAt, offset: int, size: int
) -> None:
    if offset > reader.size:
        raise RpcError(Code.OUT_OF_RANGE, f"read past object length {reader.size} bytes")
    if size <= 0 or offset + size > reader.size:
        size = reader.size - offset
    sent = 0
    while sent < size:
        count, start = min(_READ_CHUNK, size - sent), offset + sent
        data = await _call(stream.ctx, lambda: reader.read_at(count, start))  # noqa: B023 - awaited at once
        if not data:
            raise DataLossError(f"blob ended at {start} of {reader.size} bytes")
        await stream.send(pb.ReadContentResponse(offset=sent, data=data))
        sent += len(data)
