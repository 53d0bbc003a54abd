"""A content store at the other end of a channel. Mirrors core/content/proxy, github.com/containerd/containerd v2.3.3.

Errors of the other side come back in the class that their code stands for (`errdefs.to_native`).
"""

from __future__ import annotations

from collections.abc import AsyncIterator, Awaitable, Mapping, Sequence
from typing import TYPE_CHECKING, TypeVar

from google.protobuf.field_mask_pb2 import FieldMask

from pybuildkit.golang.errors import BuildkitError, wrap
from pybuildkit.rpc import RpcError
from pybuildkit.third_party.containerd.content import _methods as methods
from pybuildkit.third_party.containerd.content import content_pb2 as pb
from pybuildkit.third_party.containerd.content._content import Info, Status
from pybuildkit.third_party.containerd.content._convert import (
    from_timestamp,
    info_from_pb,
    info_to_pb,
    status_from_pb,
)
from pybuildkit.third_party.containerd.errdefs import DataLossError, UnavailableError, to_native

if TYPE_CHECKING:
    from pybuildkit.golang.context import Context
    from pybuildkit.rpc import Channel, ClientStream, Metadata

T = TypeVar("T")

MAX_WRITE = 8 << 20
"""The most bytes of data in one message."""


async def _native(call: Awaitable[T]) -> T:
    try:
        return await call
    except RpcError as err:
        raise to_native(err) from err


class ProxyStore:
    """A store behind a channel.

    Args:
        channel: leads to a content service.
        metadata: sent with every call.
    """

    def __init__(self, channel: Channel, metadata: Metadata = ()) -> None:
        self._channel = channel
        self._metadata = tuple(metadata)

    def _context(self, ctx: Context) -> Context:
        return ctx

    async def info(self, ctx: Context, digest: str) -> Info:
        """What is known of a blob; raises NotFoundError."""
        request = pb.InfoRequest(digest=digest)
        call = self._channel.unary(self._context(ctx), methods.INFO, request, metadata=self._metadata)
        return info_from_pb((await _native(call)).info)

    async def update(self, ctx: Context, info: Info, fieldpaths: Sequence[str] = ()) -> Info:
        """Change a blob's labels."""
        request = pb.UpdateRequest(info=info_to_pb(info), update_mask=FieldMask(paths=fieldpaths))
        call = self._channel.unary(self._context(ctx), methods.UPDATE, request, metadata=self._metadata)
        return info_from_pb((await _native(call)).info)

    async def walk(self, ctx: Context, filters: Sequence[str] = ()) -> AsyncIterator[Info]:
        """Every blob that matches one of the filters, or every blob."""
        stream = await _native(self._channel.stream(self._context(ctx), methods.LIST, metadata=self._metadata))
        try:
            await _native(stream.send(pb.ListContentRequest(filters=filters)))
            await _native(stream.close_send())
            while (response := await _native(stream.recv())) is not None:
                for info in response.info:
                    yield info_from_pb(info)
        finally:
            stream.cancel()

    async def delete(self, ctx: Context, digest: str) -> None:
        """Remove a blob."""
        request = pb.DeleteContentRequest(digest=digest)
        await _native(self._channel.unary(self._context(ctx), methods.DELETE, request, metadata=self._metadata))

    async def read(self, ctx: Context, digest: str, offset: int = 0, size: int = 0) -> AsyncIterator[bytes]:
        """A blob's content from the offset on, in pieces; `size` bytes, or all for 0."""
        stream = await _native(self._channel.stream(self._context(ctx), methods.READ, metadata=self._metadata))
        try:
            await _native(stream.send(pb.ReadContentRequest(digest=digest, offset=offset, size=size)))
            await _native(stream.close_send())
            while (response := await _native(stream.recv())) is not None:
                yield response.data
        finally:
            stream.cancel()

    async def read_blob(self, ctx: Context, digest: str) -> bytes:
        """A blob's whole content, of the size that `info` tells.

        Raises:
            DataLossError: fewer bytes came.
        """
        size = (await self.info(ctx, digest)).size
        if size == 0:
            return b""
        data = b"".join([piece async for piece in self.read(ctx, digest)])
        if len(data) != size:
            raise DataLossError(f"got {len(data)} of {size} bytes of {digest}")
        return data

    async def status(self, ctx: Context, ref: str) -> Status:
        """What is known of an ingest; raises NotFoundError."""
        request = pb.StatusRequest(ref=ref)
        call = self._channel.unary(self._context(ctx), methods.STATUS, request, metadata=self._metadata)
        return status_from_pb((await _native(call)).status)

    async def list_statuses(self, ctx: Context, filters: Sequence[str] = ()) -> list[Status]:
        """Every ingest that matches one of the filters, or every ingest."""
        request = pb.ListStatusesRequest(filters=filters)
        call = self._channel.unary(self._context(ctx), methods.LIST_STATUSES, request, metadata=self._metadata)
        return [status_from_pb(status) for status in (await _native(call)).statuses]

    async def abort(self, ctx: Context, ref: str) -> None:
        """Remove an ingest."""
        request = pb.AbortRequest(ref=ref)
        await _native(self._channel.unary(self._context(ctx), methods.ABORT, request, metadata=self._metadata))

    async def writer(self, ctx: Context, ref: str, total: int = 0, expected: str = "") -> RemoteWriter:
        """Begin or resume an ingest; raises AlreadyExistsError, UnavailableError as a Store does."""
        stream = await _native(self._channel.stream(self._context(ctx), methods.WRITE, metadata=self._metadata))
        writer = RemoteWriter(ref, stream)
        try:
            await writer.negotiate(total, expected)
        except BaseException:
            stream.cancel()
            raise
        return writer


class RemoteWriter:
    """An ingest of a store behind a channel, being written."""

    def __init__(self, ref: str, stream: ClientStream[pb.WriteContentRequest, pb.WriteContentResponse]) -> None:
        self._ref = ref
        self._stream = stream
        self._digest = ""
        self.offset = 0

    async def _send(self, request: pb.WriteContentRequest) -> pb.WriteContentResponse:
        await _native(self._stream.send(request))
        response = await _native(self._stream.recv())
        if response is None:
            raise UnavailableError("the store ended the write")
        self._digest = response.digest or self._digest
        return response

    async def negotiate(self, total: int, expected: str) -> None:
        """Open the ingest, and learn where it goes on."""
        request = pb.WriteContentRequest(action=pb.STAT, ref=self._ref, total=total, expected=expected)
        self.offset = (await self._send(request)).offset

    async def status(self) -> Status:
        """What the store knows of the ingest; raises BuildkitError "error getting writer status: …"."""
        try:
            response = await self._send(pb.WriteContentRequest(action=pb.STAT))
        except BuildkitError as err:
            raise wrap(err, "error getting writer status") from err
        return Status(
            ref=self._ref,
            offset=response.offset,
            total=response.total,
            started_at=from_timestamp(response.started_at),
            updated_at=from_timestamp(response.updated_at),
        )

    def digest(self) -> str:
        """The digest of what the store had received at its last answer."""
        return self._digest

    async def write(self, data: bytes) -> int:
        """Append all of the data; raises BuildkitError "failed to send write: …"."""
        for start in range(0, len(data), MAX_WRITE):
            piece = data[start : start + MAX_WRITE]
            request = pb.WriteContentRequest(action=pb.WRITE, offset=self.offset, data=piece)
            try:
                response = await self._send(request)
            except BuildkitError as err:
                raise wrap(err, "failed to send write") from err
            written = response.offset - self.offset
            self.offset = response.offset
            if written != len(piece):
                raise DataLossError(f"short write: {written} of {len(piece)} bytes")
        return len(data)

    def truncate(self, size: int) -> None:
        """Go back to an offset; only 0 is accepted by the store, with the next write."""
        self.offset = size

    async def commit(self, size: int = 0, expected: str = "", labels: Mapping[str, str] | None = None) -> None:
        """Make a blob of what was written, and end the call in any case.

        Raises:
            BuildkitError: "commit failed: …", around AlreadyExistsError where the blob is there already.
        """
        request = pb.WriteContentRequest(
            action=pb.COMMIT, total=size, offset=self.offset, expected=expected, labels=labels or {}
        )
        try:
            response = await self._send(request)
        except BuildkitError as err:
            raise wrap(err, "commit failed") from err
        finally:
            await self.close()
        if size and response.offset != size:
            raise BuildkitError(f"unexpected size: {response.offset} != {size}")
        if expected and response.digest != expected:
            raise BuildkitError(f"unexpected digest: {response.digest} != {expected}")
        self.offset = response.offset

    async def close(self) -> None:
        """End the call; without a commit the ingest stays, to be resumed."""
        try:
            await self._stream.close_send()
            await self._stream.recv()
        except RpcError:
            pass  # the call is over, which is what was wanted
        finally:
            self._stream.cancel()
