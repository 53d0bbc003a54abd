"""The asyncio server: serves its methods on any byte stream."""

from __future__ import annotations

import socket
from collections.abc import AsyncIterator, Awaitable, Callable, Sequence
from typing import Generic, TypeVar, overload

from pybuildkit.golang.context import Context
from pybuildkit.rpc._code import RpcError
from pybuildkit.rpc._types import ByteStream, Metadata, Method, RawMethod, Req, Resp

Req_co = TypeVar("Req_co", covariant=True)
Resp_contra = TypeVar("Resp_contra", contravariant=True)


def incoming_metadata(ctx: Context) -> Metadata:
    """The metadata of the request that a handler's context belongs to."""
    raise NotImplementedError


class ServerStream(Generic[Req_co, Resp_contra]):
    """One call, from the server's side."""

    ctx: Context
    metadata: Metadata
    path: str

    async def recv(self) -> Req_co | None:
        raise NotImplementedError

    async def recv_many(self) -> list[Req_co]:
        raise NotImplementedError

    def __aiter__(self) -> AsyncIterator[Req_co]:
        raise NotImplementedError

    async def send(self, message: Resp_contra) -> None:
        raise NotImplementedError

    async def send_many(self, messages: Sequence[Resp_contra]) -> None:
        raise NotImplementedError

    async def send_header(self, metadata: Metadata) -> None:
        raise NotImplementedError

    def set_trailer(self, metadata: Metadata) -> None:
        raise NotImplementedError


class Server:
    """A set of methods that can be served on connections."""

    def __init__(
        self, *, to_status: Callable[[BaseException], RpcError] | None = None, max_recv_size: int = 16 << 20
    ) -> None:
        raise NotImplementedError

    def add_unary(self, method: Method[Req, Resp], handler: Callable[[Context, Req], Awaitable[Resp]]) -> None:
        raise NotImplementedError

    @overload
    def add_stream(
        self, method: RawMethod, handler: Callable[[ServerStream[bytes, object]], Awaitable[None]]
    ) -> None: ...
    @overload
    def add_stream(
        self, method: Method[Req, Resp], handler: Callable[[ServerStream[Req, Resp]], Awaitable[None]]
    ) -> None: ...
    def add_stream(self, method: object, handler: object) -> None:
        raise NotImplementedError

    def methods(self) -> list[str]:
        raise NotImplementedError

    async def serve(self, stream: ByteStream, ctx: Context) -> None:
        raise NotImplementedError

    async def serve_socket(self, sock: socket.socket, ctx: Context) -> None:
        raise NotImplementedError

    async def listen(self, sock: socket.socket, ctx: Context) -> None:
        raise NotImplementedError
